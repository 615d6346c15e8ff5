//! Reading netlink attributes: `[length u16][type u16][payload][padding to 4]`, nested at will.
//!
//! The counterpart of the writing half in [`crate::message::Encoder`]. Knows no attribute's meaning; each
//! reader in `route`, `conntrack`, `nflog` (and `tortie-nft`) matches on [`Attribute::kind`].

use crate::{Error, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Set on the type of an attribute that holds attributes (uapi/linux/netlink.h).
pub const NLA_F_NESTED: u16 = 0x8000;
/// Flag bits that are not part of the type.
const NLA_FLAGS: u16 = 0xc000;

/// One attribute of a message, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The type, without the nested and byte-order flags.
    pub kind: u16,
    /// The payload, without padding.
    pub payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The payload as `N` bytes.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        self.payload.try_into().map_err(|_| self.malformed(&format!("{N} bytes")))
    }

    /// One byte.
    pub fn u8(&self) -> Result<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    /// Two bytes in the machine's order.
    pub fn u16(&self) -> Result<u16> {
        self.bytes().map(u16::from_ne_bytes)
    }

    /// Four bytes in the machine's order.
    pub fn u32(&self) -> Result<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    /// Two bytes in network order.
    pub fn be16(&self) -> Result<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    /// Four bytes in network order.
    pub fn be32(&self) -> Result<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// Eight bytes in network order.
    pub fn be64(&self) -> Result<u64> {
        self.bytes().map(u64::from_be_bytes)
    }

    /// Text up to the first NUL.
    pub fn text(&self) -> Result<&'a str> {
        let end = self.payload.iter().position(|byte| *byte == 0).unwrap_or(self.payload.len());
        std::str::from_utf8(&self.payload[..end]).map_err(|_| self.malformed("UTF-8 text"))
    }

    /// An IPv4 (4 bytes) or IPv6 (16 bytes) address.
    pub fn address(&self) -> Result<IpAddr> {
        match self.payload.len() {
            4 => self.bytes::<4>().map(|octets| Ipv4Addr::from(octets).into()),
            16 => self.bytes::<16>().map(|octets| Ipv6Addr::from(octets).into()),
            _ => Err(self.malformed("an address of 4 or 16 bytes")),
        }
    }

    /// The attributes inside.
    #[must_use]
    pub fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.payload)
    }

    fn malformed(&self, expected: &str) -> Error {
        Error::Malformed {
            what: format!("netlink attribute {}", self.kind),
            expected: expected.into(),
            found: format!("{} bytes", self.payload.len()),
        }
    }
}

/// The attributes of a payload in order; ends at the first header that does not fit, as the kernel's own
/// `nla_for_each_attr` does.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Attributes that fill `bytes` from its beginning.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Attributes { rest: bytes }
    }

    /// Attributes that follow a fixed header of `header` bytes.
    #[must_use]
    pub fn after(bytes: &'a [u8], header: usize) -> Self {
        Attributes { rest: bytes.get(crate::message::align(header)..).unwrap_or_default() }
    }

    /// The first attribute of this type.
    #[must_use]
    pub fn find_kind(&self, kind: u16) -> Option<Attribute<'a>> {
        self.clone().find(|attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16::from_ne_bytes(self.rest.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.rest.get(2..4)?.try_into().ok()?) & !NLA_FLAGS;
        let payload = self.rest.get(4..length)?;
        self.rest = self.rest.get(crate::message::align(length)..).unwrap_or_default();
        Some(Attribute { kind, payload })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::Encoder;

    #[test]
    fn what_the_encoder_writes_the_reader_reads() {
        let mut encoder = Encoder::default();
        encoder.message(7, 1, 3, |message| {
            message.fixed(&[9; 3]);
            message.put_u8(1, 2);
            message.put_be32(2, 0x0102_0304);
            message.nested(3, |inner| {
                inner.put_text(1, "veth0");
                inner.put(2, &[]);
            });
            message.put_address(4, "fd00::1".parse().unwrap());
        });
        let bytes = encoder.finish().unwrap();
        let mut messages = crate::Messages::new(&bytes);
        let (header, payload) = messages.next().unwrap();
        assert_eq!((header.kind, header.flags, header.sequence), (7, 1, 3));
        assert!(messages.next().is_none());
        let all: Vec<_> = Attributes::after(payload, 3).collect();
        assert_eq!(all.iter().map(|attribute| attribute.kind).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(all[0].u8().unwrap(), 2);
        assert_eq!(all[1].payload, [1, 2, 3, 4]);
        assert_eq!(all[2].nested().find_kind(1).unwrap().text().unwrap(), "veth0");
        assert_eq!(all[2].nested().find_kind(2).unwrap().payload, b"");
        assert_eq!(all[3].address().unwrap(), "fd00::1".parse::<IpAddr>().unwrap());
        assert!(all[3].u32().is_err());
    }

    #[test]
    fn a_cut_attribute_ends_the_list_and_is_not_read() {
        let whole = [8u8, 0, 1, 0, 1, 2, 3, 4, 9, 0, 2, 0, 5, 6];
        let kinds: Vec<_> = Attributes::new(&whole).map(|attribute| attribute.kind).collect();
        assert_eq!(kinds, [1]);
    }

    #[test]
    fn an_attribute_above_64_kib_is_an_error_and_not_a_wrapped_length() {
        let mut encoder = Encoder::default();
        encoder.message(1, 0, 0, |message| message.nested(5, |inner| inner.put(1, &[0; 65_000])));
        assert!(encoder.finish().is_ok());
        let mut encoder = Encoder::default();
        encoder.message(1, 0, 0, |message| {
            message.nested(5, |inner| {
                inner.put(1, &[0; 40_000]);
                inner.put(1, &[0; 40_000]);
            });
        });
        assert!(matches!(encoder.finish(), Err(Error::TooLong { kind: 5, .. })));
    }
}
