//! Netlink messages as bytes: writing one or many into one buffer, and walking what was received.
//!
//! An [`Encoder`] appends: header, fixed family header, attributes, nested attributes; lengths are patched when
//! a closure ends. One buffer may hold a whole nf_tables transaction. Next hop: [`crate::Socket`].

use crate::attribute::NLA_F_NESTED;
use crate::{Error, Result};
use std::net::IpAddr;

/// Bytes of `struct nlmsghdr`.
pub const HEADER: usize = 16;
/// It is a request (uapi/linux/netlink.h).
pub const NLM_F_REQUEST: u16 = 1;
/// Part of a multi-part answer.
pub const NLM_F_MULTI: u16 = 2;
/// Answer with an acknowledgement.
pub const NLM_F_ACK: u16 = 4;
/// The dump was not consistent.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// Return all that matches.
pub const NLM_F_DUMP: u16 = 0x300;
/// Replace what exists.
pub const NLM_F_REPLACE: u16 = 0x100;
/// Fail if it exists.
pub const NLM_F_EXCL: u16 = 0x200;
/// Create if missing.
pub const NLM_F_CREATE: u16 = 0x400;
/// Add to the end of a list.
pub const NLM_F_APPEND: u16 = 0x800;

/// Rounds up to the netlink alignment of 4 bytes.
#[must_use]
pub const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// The fields of `struct nlmsghdr` that a reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// The request's number, 0 for notifications.
    pub sequence: u32,
    /// The requesting socket's port.
    pub port: u32,
}

/// Appends messages and attributes to one growing buffer.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    too_long: Option<(u16, usize)>,
}

impl Encoder {
    /// Starts from an allocation that may be used again; its contents are cleared.
    #[must_use]
    pub fn reuse(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Encoder { bytes, too_long: None }
    }

    /// Appends a message of type `kind`; `fill` writes what follows the header. `NLM_F_REQUEST` is added.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, fill: impl FnOnce(&mut Encoder)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    /// Appends a fixed structure (the family header), padded.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// Appends bytes that are attributes already, e.g. copied from an answer.
    pub fn raw(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
        self.pad();
    }

    /// Appends an attribute with these payload bytes.
    pub fn put(&mut self, kind: u16, payload: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(payload);
        self.close(start, kind);
    }

    /// One byte.
    pub fn put_u8(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    /// Two bytes in the machine's order.
    pub fn put_u16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Four bytes in the machine's order.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Two bytes in network order.
    pub fn put_be16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Four bytes in network order.
    pub fn put_be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Eight bytes in network order.
    pub fn put_be64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Text with a closing NUL.
    pub fn put_text(&mut self, kind: u16, text: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.close(start, kind);
    }

    /// An address of 4 or 16 bytes.
    pub fn put_address(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.put(kind, &address.octets()),
            IpAddr::V6(address) => self.put(kind, &address.octets()),
        }
    }

    /// An attribute that holds attributes; sets `NLA_F_NESTED`.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Encoder)) {
        let start = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(start, kind);
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The finished buffer, or [`Error::TooLong`] when an attribute outgrew its 16-bit length.
    pub fn finish(self) -> Result<Vec<u8>> {
        match self.too_long {
            Some((kind, length)) => Err(Error::TooLong { kind, length }),
            None => Ok(self.bytes),
        }
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize, kind: u16) {
        let length = self.bytes.len() - start;
        match u16::try_from(length) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_long = self.too_long.or(Some((kind, length))),
        }
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(align(self.bytes.len()), 0);
    }
}

/// The messages of a received datagram, header and payload; ends at the first that is cut short.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Messages that fill `bytes` from its beginning.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Messages { rest: bytes }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = (Header, &'a [u8]);

    fn next(&mut self) -> Option<(Header, &'a [u8])> {
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(self.rest.get(at..at + 4)?.try_into().ok()?))
        };
        let half = |at: usize| -> Option<u16> {
            Some(u16::from_ne_bytes(self.rest.get(at..at + 2)?.try_into().ok()?))
        };
        let length = usize::try_from(word(0)?).ok()?;
        let header = Header { kind: half(4)?, flags: half(6)?, sequence: word(8)?, port: word(12)? };
        let payload = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        Some((header, payload))
    }
}
