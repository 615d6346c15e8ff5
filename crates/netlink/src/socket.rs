//! A netlink socket of one family: requests with extended acknowledgement, dumps, notifications.
//!
//! Belongs to the network namespace of the thread that opened it (see [`crate::Namespace::run`]), wherever it
//! is used later. Not shared: one owner, one request at a time. Answers to older requests are skipped by their
//! sequence number, so an abandoned dump does no harm.

use crate::attribute::Attributes;
use crate::message::{Encoder, HEADER, Header, Messages, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, align};
use crate::{Error, Result, sys};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Flags of the error message (uapi/linux/netlink.h).
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_CAP_ACK: i32 = 10;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_GET_STRICT_CHK: i32 = 12;
/// Bytes of one receive; the kernel's largest dump datagram is 32 KiB, nflog's 128 KiB. Untouched pages cost nothing.
const RECEIVE_BYTES: usize = 128 << 10;
/// Bytes of the socket's buffers; above the system's limit, by CAP_NET_ADMIN.
const SOCKET_BYTES: i32 = 32 << 20;
const DUMP_TRIES: u32 = 10;

/// A netlink family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes, neighbours.
    Route,
    /// nf_tables, connection tracking, nflog.
    Netfilter,
}

/// An open netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What a non-blocking receive found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing is waiting.
    Nothing,
    /// One datagram; walk it with [`Messages`].
    Datagram(&'a [u8]),
}

/// The messages of an answer, in one allocation.
#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    messages: Vec<(Header, Range<usize>)>,
}

impl Replies {
    /// The messages in the order received, without headers and control messages.
    pub fn iter(&self) -> impl Iterator<Item = (Header, &[u8])> {
        self.messages.iter().map(|(header, range)| (*header, &self.bytes[range.clone()]))
    }

    /// How many messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// No message came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn push(&mut self, header: Header, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.messages.push((header, start..self.bytes.len()));
    }
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace, with extended acknowledgements and large
    /// buffers (as large as the process's rights allow).
    pub fn open(protocol: Protocol) -> Result<Self> {
        let number = match protocol {
            Protocol::Route => libc::NETLINK_ROUTE,
            Protocol::Netfilter => libc::NETLINK_NETFILTER,
        };
        let failed = |source| Error::system(format!("open a netlink socket ({protocol:?})"), source);
        let (fd, port) = sys::netlink_socket(number).map_err(failed)?;
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK] {
            sys::set_option(fd.as_fd(), libc::SOL_NETLINK, option, 1).map_err(failed)?;
        }
        if protocol == Protocol::Route {
            sys::set_option(fd.as_fd(), libc::SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1).map_err(failed)?;
        }
        for (force, plain) in
            [(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF), (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)]
        {
            if sys::set_option(fd.as_fd(), libc::SOL_SOCKET, force, SOCKET_BYTES).is_err() {
                sys::set_option(fd.as_fd(), libc::SOL_SOCKET, plain, SOCKET_BYTES).map_err(failed)?;
            }
        }
        Ok(Socket { fd, port, sequence: 0, buffer: Vec::new() })
    }

    /// Subscribes to a multicast group (by number, not mask); notifications come through [`Socket::try_receive`].
    pub fn join(&self, group: u32) -> Result<()> {
        let value = i32::try_from(group).unwrap_or(i32::MAX);
        sys::set_option(self.fd.as_fd(), libc::SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, value)
            .map_err(|source| Error::system(format!("join netlink group {group}"), source))
    }

    /// The next sequence number; for callers that build their own batches.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// The socket's own port, as it appears in answers.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Sends a finished buffer as one datagram; the kernel works through it before this returns.
    pub fn send(&self, bytes: &[u8], attempt: &str) -> Result<()> {
        let sent = sys::send(self.fd.as_fd(), bytes).map_err(|source| Error::system(attempt, source))?;
        if sent == bytes.len() {
            return Ok(());
        }
        Err(Error::Malformed {
            what: attempt.into(),
            expected: format!("{} bytes sent", bytes.len()),
            found: format!("{sent}"),
        })
    }

    /// Takes a datagram that is there already, without waiting. [`Error::Overrun`]: notifications were lost.
    pub fn try_receive(&mut self, attempt: &str) -> Result<Received<'_>> {
        match self.fill(false, attempt)? {
            None => Ok(Received::Nothing),
            Some(length) => Ok(Received::Datagram(&self.buffer[..length])),
        }
    }

    /// Waits for a datagram.
    pub fn receive(&mut self, attempt: &str) -> Result<&[u8]> {
        loop {
            if let Some(length) = self.fill(true, attempt)? {
                return Ok(&self.buffer[..length]);
            }
        }
    }

    /// Sends one request and waits for its acknowledgement. `attempt` is for the error's text.
    pub fn request(
        &mut self,
        kind: u16,
        flags: u16,
        attempt: &str,
        fill: impl FnOnce(&mut Encoder),
    ) -> Result<()> {
        let sequence = self.post(kind, flags | NLM_F_ACK, attempt, fill)?;
        self.collect(sequence, attempt).map(|_| ())
    }

    /// Sends one request and returns what it is answered with (usually one message).
    pub fn get(
        &mut self,
        kind: u16,
        flags: u16,
        attempt: &str,
        fill: impl FnOnce(&mut Encoder),
    ) -> Result<Replies> {
        let sequence = self.post(kind, flags | NLM_F_ACK, attempt, fill)?;
        self.collect(sequence, attempt).map(|(replies, _)| replies)
    }

    /// Dumps; again from the beginning when the kernel says that its tables changed meanwhile, ten times at most.
    pub fn dump(&mut self, kind: u16, attempt: &str, fill: impl Fn(&mut Encoder)) -> Result<Replies> {
        for _ in 0..DUMP_TRIES {
            let sequence = self.post(kind, NLM_F_DUMP, attempt, &fill)?;
            match self.collect(sequence, attempt) {
                Ok((replies, false)) => return Ok(replies),
                Ok((_, true)) | Err(Error::Overrun { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::DumpInterrupted { attempt: attempt.into(), tries: DUMP_TRIES })
    }

    fn post(&mut self, kind: u16, flags: u16, attempt: &str, fill: impl FnOnce(&mut Encoder)) -> Result<u32> {
        let sequence = self.next_sequence();
        let mut encoder = Encoder::default();
        encoder.message(kind, flags, sequence, fill);
        self.send(&encoder.finish()?, attempt)?;
        Ok(sequence)
    }

    /// Reads the answer to `sequence` up to its end; the flag says that the dump was interrupted.
    fn collect(&mut self, sequence: u32, attempt: &str) -> Result<(Replies, bool)> {
        let mut replies = Replies::default();
        let mut interrupted = false;
        loop {
            let datagram = self.receive(attempt)?;
            for (header, payload) in Messages::new(datagram) {
                if header.sequence != sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.kind {
                    NLMSG_ERROR => {
                        acknowledge(header, payload, attempt)?;
                        return Ok((replies, interrupted));
                    }
                    NLMSG_DONE => {
                        check_done(header, payload, attempt)?;
                        return Ok((replies, interrupted));
                    }
                    _ => replies.push(header, payload),
                }
            }
        }
    }

    /// Receives into the buffer; `None`: nothing there, or not from the kernel.
    fn fill(&mut self, wait: bool, attempt: &str) -> Result<Option<usize>> {
        self.buffer.clear();
        self.buffer.reserve_exact(RECEIVE_BYTES);
        match sys::receive(self.fd.as_fd(), &mut self.buffer, wait) {
            Ok((_, sender)) if sender != 0 => Ok(None),
            Ok((length, _)) if length > self.buffer.len() => Err(Error::Malformed {
                what: attempt.into(),
                expected: format!("a datagram of at most {} bytes", self.buffer.capacity()),
                found: format!("{length}"),
            }),
            Ok((length, _)) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                Err(Error::Overrun { attempt: attempt.into() })
            }
            Err(error) => Err(Error::system(attempt, error)),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads an `NLMSG_ERROR` message: `Ok` for an acknowledgement, else the kernel's errno and words. Public for
/// callers that send batches and read the answers themselves.
pub fn acknowledge(header: Header, payload: &[u8], attempt: &str) -> Result<()> {
    let errno = leading_errno(payload, attempt)?;
    if errno == 0 {
        return Ok(());
    }
    // struct nlmsgerr: errno, then the request's header, then (unless capped) its payload, then attributes.
    let mut at = 4 + HEADER;
    if header.flags & NLM_F_CAPPED == 0 {
        let request = payload.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
        at = 4 + align(usize::try_from(request).unwrap_or(usize::MAX - 8));
    }
    let attributes =
        if header.flags & NLM_F_ACK_TLVS == 0 { &[] } else { payload.get(at..).unwrap_or_default() };
    Err(kernel_error(errno, attributes, attempt))
}

/// The kind of an error or acknowledgement message.
pub const ERROR_KIND: u16 = NLMSG_ERROR;

fn check_done(header: Header, payload: &[u8], attempt: &str) -> Result<()> {
    if payload.is_empty() {
        return Ok(());
    }
    let errno = leading_errno(payload, attempt)?;
    if errno == 0 {
        return Ok(());
    }
    let attributes =
        if header.flags & NLM_F_ACK_TLVS == 0 { &[] } else { payload.get(4..).unwrap_or_default() };
    Err(kernel_error(errno, attributes, attempt))
}

fn leading_errno(payload: &[u8], attempt: &str) -> Result<i32> {
    let bytes =
        payload.get(0..4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| Error::Malformed {
            what: attempt.into(),
            expected: "an errno of 4 bytes".into(),
            found: format!("{} bytes", payload.len()),
        })?;
    Ok(i32::from_ne_bytes(bytes).saturating_neg())
}

fn kernel_error(errno: i32, attributes: &[u8], attempt: &str) -> Error {
    let attributes = Attributes::new(attributes);
    let message =
        attributes.find_kind(NLMSGERR_ATTR_MSG).and_then(|found| found.text().ok().map(str::to_owned));
    let offset = attributes.find_kind(NLMSGERR_ATTR_OFFS).and_then(|found| found.u32().ok());
    Error::Kernel { attempt: attempt.into(), errno, message, offset }
}
