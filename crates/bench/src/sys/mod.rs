//! An allocator that knows how much is allocated, and what a process took: the only unsafe code of the benchmarks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};

static CURRENT: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a counter of bytes. Exact while one thread allocates; it doesn't
/// lock the bus for each allocation, since that would be measured too.
pub struct Counting;

fn add(bytes: usize) {
    let current = CURRENT.load(Ordering::Relaxed).wrapping_add(bytes);
    CURRENT.store(current, Ordering::Relaxed);
    if current > PEAK.load(Ordering::Relaxed) {
        PEAK.store(current, Ordering::Relaxed);
    }
}

fn subtract(bytes: usize) {
    CURRENT.store(CURRENT.load(Ordering::Relaxed).wrapping_sub(bytes), Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract, and `System` asks for the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        subtract(layout.size());
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        subtract(layout.size());
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Bytes that are allocated now.
pub fn allocated() -> usize {
    CURRENT.load(Ordering::Relaxed)
}

/// The most bytes that were allocated at once since [`forget_peak`].
pub fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

/// Begins a new peak.
pub fn forget_peak() {
    PEAK.store(allocated(), Ordering::Relaxed);
}

/// Waits for a process; returns whether it succeeded, and the most memory that it had resident, in bytes.
///
/// # Errors
/// The kernel's.
pub fn wait(child: Child) -> io::Result<(bool, u64)> {
    let mut status = 0;
    // SAFETY: all zeros is a value of this struct of numbers.
    let mut usage: nix::libc::rusage = unsafe { std::mem::zeroed() };
    let id = i32::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: both pointers are to values that live until the call returns. The child is ours, and nobody else waits.
    let waited = unsafe { nix::libc::wait4(id, &mut status, 0, &mut usage) };
    if waited != id {
        return Err(io::Error::last_os_error());
    }
    Ok((status == 0, u64::try_from(usage.ru_maxrss).unwrap_or_default() << 10))
}
