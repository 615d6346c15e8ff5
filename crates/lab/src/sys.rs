//! The one system call that neither `std` nor `nix` offers safely: a socket of any family and protocol.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Opens a socket, close-on-exec, in the calling thread's namespace.
pub fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked before use.
    let fd = unsafe { nix::libc::socket(family, kind | nix::libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just returned by socket() and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
