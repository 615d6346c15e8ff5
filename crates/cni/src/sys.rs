//! The one unsafe step of passing a descriptor: owning what was received.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Owns a descriptor that `recvmsg` has just handed to this process.
pub fn own(received: RawFd) -> OwnedFd {
    // SAFETY: SCM_RIGHTS gave this process a new descriptor that nobody else in it knows; the caller passes each once.
    unsafe { OwnedFd::from_raw_fd(received) }
}
