//! How the process holds its heap: the only unsafe code of the agent.
//!
//! The store's thread reads objects, the loop takes them apart and drops them. In an arena of its own, as glibc gives
//! each thread, what the one has allocated stays with the process although nobody uses it; in one for all, these two wait
//! for each other at every start.

/// All threads that start from now on allocate from one heap beside the loop's.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers, and glibc locks its own state. That it may refuse changes nothing but memory.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives the kernel back what was freed, also between what is in use.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, and glibc locks its own state.
    unsafe {
        libc::malloc_trim(0);
    }
}
