//! Arithmetic on addresses and blocks. A block is an [`IpNet`] without host bits; an ordinal is an address's place in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// 4 or 6.
    pub fn number(self) -> u8 {
        match self {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }

    /// Bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// Prefix length of a pool's blocks if the pool doesn't say.
    pub fn default_block_size(self) -> u8 {
        match self {
            Family::V4 => 26,
            Family::V6 => 122,
        }
    }
}

/// How many addresses a block has. Blocks are small: 1 to 4096.
pub fn size(block: &IpNet) -> u32 {
    1 << (block.max_prefix_len() - block.prefix_len()).min(31)
}

/// The block of prefix length `block_size` that `address` is in. A length that is too long is taken as the longest.
pub fn block_of(address: IpAddr, block_size: u8) -> IpNet {
    let prefix = block_size.min(Family::of(address).bits());
    IpNet::new(address, prefix).expect("the prefix is no longer than an address").trunc()
}

/// The place of `address` in `block`; `None` if it is elsewhere.
pub fn ordinal(block: &IpNet, address: IpAddr) -> Option<u32> {
    if !block.contains(&address) {
        return None;
    }
    u32::try_from(distance(block.network(), address)).ok()
}

/// The address at a place of `block`.
pub fn nth(block: &IpNet, ordinal: u32) -> IpAddr {
    plus(block.network(), u128::from(ordinal))
}

/// `to - from`, for addresses of one family with `from <= to`; 0 for others.
pub(crate) fn distance(from: IpAddr, to: IpAddr) -> u128 {
    number(to).saturating_sub(number(from))
}

/// `address + count`, in the address's family.
pub(crate) fn plus(address: IpAddr, count: u128) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().wrapping_add(count as u32))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().wrapping_add(count))),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
