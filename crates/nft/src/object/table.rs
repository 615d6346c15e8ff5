//! Tables: the name space that holds everything else.

use crate::kernel::*;
use crate::userdata;
use std::fmt;
use tortie_netlink::{Attributes, Encoder};

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = NFPROTO_INET,
    /// IPv4 only.
    Ipv4 = NFPROTO_IPV4,
    /// IPv6 only.
    Ipv6 = NFPROTO_IPV6,
}

/// A table's identity in a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableId {
    /// Its family.
    pub family: Family,
    /// Its name, at most 255 bytes.
    pub name: String,
}

impl TableId {
    /// The table `name` for both IP versions.
    #[must_use]
    pub fn inet(name: &str) -> Self {
        TableId { family: Family::Inet, name: name.into() }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Inet => "inet",
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        };
        write!(formatter, "{family} {}", self.name)
    }
}

/// A table's attributes beside its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `NFT_TABLE_F_*`.
    pub flags: u32,
    /// Comment in its userdata; this is how our table is told from another of the same name.
    pub comment: Option<String>,
    /// Number that the kernel gave it; it differs after the table was removed and made again.
    pub handle: u64,
    /// How many chains, sets, maps and counters are in it.
    pub objects: u32,
    /// Netlink port of the owning socket, with [`NFT_TABLE_F_OWNER`].
    pub owner: Option<u32>,
}

impl Table {
    pub(crate) fn write(encoder: &mut Encoder, name: &str, flags: u32, comment: &str) {
        encoder.put_text(NFTA_TABLE_NAME, name);
        encoder.put_be32(NFTA_TABLE_FLAGS, flags);
        encoder.put(NFTA_TABLE_USERDATA, &userdata::comment(comment));
    }

    pub(crate) fn read(attributes: Attributes<'_>) -> Option<(String, Table)> {
        let mut name = None;
        let mut table = Table { flags: 0, comment: None, handle: 0, objects: 0, owner: None };
        for attribute in attributes {
            match attribute.kind {
                NFTA_TABLE_NAME => name = Some(attribute.text().ok()?.to_owned()),
                NFTA_TABLE_FLAGS => table.flags = attribute.be32().ok()?,
                NFTA_TABLE_USE => table.objects = attribute.be32().ok()?,
                NFTA_TABLE_HANDLE => table.handle = attribute.be64().ok()?,
                NFTA_TABLE_USERDATA => table.comment = userdata::read_comment(attribute.payload),
                NFTA_TABLE_OWNER => table.owner = Some(attribute.be32().ok()?),
                _ => {}
            }
        }
        Some((name?, table))
    }
}
