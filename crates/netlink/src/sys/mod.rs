//! The system calls that neither `std` nor `nix` offer safely: netlink sockets with their options.
//!
//! The only `unsafe` of this crate. Every function is one call, returns `io::Result`, and keeps no state.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Opens a raw netlink socket, close-on-exec, and binds it to a port that the kernel chooses.
/// Returns the socket and its port.
pub fn netlink_socket(protocol: i32) -> io::Result<(OwnedFd, u32)> {
    // SAFETY: no pointers; the result is checked before use.
    let fd = check(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: `fd` was just returned by socket() and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: sockaddr_nl is plain integers, all-zero is a valid value (port 0: the kernel chooses).
    let mut address: libc::sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `address`, which outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
    // SAFETY: as above; the kernel writes at most `length` bytes.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut length) })?;
    Ok((fd, address.nl_pid))
}

/// Sets an integer socket option.
pub fn set_option(fd: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), length) })?;
    Ok(())
}

/// Asks for a socket option that is a structure as long as `value`, whose beginning says what is meant.
pub fn get_option(fd: BorrowedFd<'_>, level: i32, option: i32, value: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the pointer and length describe `value`, exclusively borrowed; the kernel writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &raw mut length)
    };
    check(result).map(drop)
}

/// Sends one datagram to the kernel. A transaction is executed inside this call.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and length describe `bytes`.
        let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => retry_interrupted(io::Error::last_os_error())?,
        }
    }
}

/// Receives one datagram into the buffer's capacity; what was in it goes. Returns the datagram's whole length, which is above
/// the capacity when it was cut, and the sender's port (0 is the kernel). `WouldBlock` when `wait` is false and nothing is there.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, wait: bool) -> io::Result<(usize, u32)> {
    let flags = libc::MSG_TRUNC | if wait { 0 } else { libc::MSG_DONTWAIT };
    buffer.clear();
    loop {
        let room = buffer.spare_capacity_mut();
        // SAFETY: sockaddr_nl is plain integers, all-zero is a valid value.
        let mut address: libc::sockaddr_nl = unsafe { zeroed() };
        let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: both pointers describe live, exclusively borrowed memory of the given lengths; it is only written.
        let got = unsafe {
            libc::recvfrom(
                fd.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
                flags,
                (&raw mut address).cast(),
                &raw mut length,
            )
        };
        match usize::try_from(got) {
            Ok(got) => {
                let written = got.min(room.len());
                // SAFETY: the kernel has just written the first `written` bytes of the capacity.
                unsafe { buffer.set_len(written) };
                return Ok((got, address.nl_pid));
            }
            Err(_) => retry_interrupted(io::Error::last_os_error())?,
        }
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn retry_interrupted(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}
