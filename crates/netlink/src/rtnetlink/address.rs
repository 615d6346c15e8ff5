//! Interface addresses: add (idempotent), delete, list.

use super::{Rtnetlink, family, family_of};
use crate::attribute::Attributes;
use crate::message::{NLM_F_CREATE, NLM_F_REPLACE};
use crate::{Error, Result};
use ipnet::IpNet;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFADDRMSG: usize = 8;
/// No duplicate address detection: the address is usable at once.
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_TENTATIVE: u32 = 0x40;

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Interface index.
    pub index: u32,
    /// Address and prefix length.
    pub net: IpNet,
    /// Kernel scope (0 global, 253 link, 254 host).
    pub scope: u8,
    /// Duplicate address detection still runs (IPv6).
    pub tentative: bool,
}

impl Rtnetlink {
    /// Adds an address, or changes it if it is there; IPv6 without duplicate detection.
    pub fn add_address(&mut self, index: u32, net: IpNet) -> Result<()> {
        let attempt = format!("add address {net} to link {index}");
        self.socket.request(libc::RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &attempt, |message| {
            message.fixed(&header(index, net));
            message.put_address(IFA_LOCAL, net.addr());
            message.put_address(IFA_ADDRESS, net.addr());
            if net.addr().is_ipv6() {
                message.put_u32(IFA_FLAGS, IFA_F_NODAD);
            }
        })
    }

    /// Deletes an address. `false`: it was not there.
    pub fn delete_address(&mut self, index: u32, net: IpNet) -> Result<bool> {
        let attempt = format!("delete address {net} of link {index}");
        let deleted = self.socket.request(libc::RTM_DELADDR, 0, &attempt, |message| {
            message.fixed(&header(index, net));
            message.put_address(IFA_LOCAL, net.addr());
        });
        match deleted {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All addresses of the namespace, of both families.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let replies = self.socket.dump(libc::RTM_GETADDR, "list addresses", |message| {
            message.fixed(&[family::UNSPEC, 0, 0, 0, 0, 0, 0, 0]);
        })?;
        replies.iter().filter_map(|(_, payload)| parse(payload).transpose()).collect()
    }
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
fn header(index: u32, net: IpNet) -> [u8; IFADDRMSG] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family_of(net.addr()), net.prefix_len(), 0, 0, a, b, c, d]
}

/// `None` for families other than IP.
pub(super) fn parse(payload: &[u8]) -> Result<Option<Address>> {
    let Some(&[family, prefix_len, flags, scope, a, b, c, d]) = payload.first_chunk::<IFADDRMSG>() else {
        return Err(Error::Malformed {
            what: "interface address".into(),
            expected: format!("a header of {IFADDRMSG} bytes"),
            found: format!("{}", payload.len()),
        });
    };
    if family != family::IPV4 && family != family::IPV6 {
        return Ok(None);
    }
    let attributes = Attributes::after(payload, IFADDRMSG);
    let found = attributes.find_kind(IFA_LOCAL).or_else(|| attributes.find_kind(IFA_ADDRESS));
    let Some(found) = found else { return Ok(None) };
    let net = IpNet::new(found.address()?, prefix_len).map_err(|_| Error::Malformed {
        what: "interface address".into(),
        expected: "a prefix length that fits".into(),
        found: prefix_len.to_string(),
    })?;
    let flags = attributes.find_kind(IFA_FLAGS).map_or(Ok(u32::from(flags)), |flags| flags.u32())?;
    let index = u32::from_ne_bytes([a, b, c, d]);
    Ok(Some(Address { index, net, scope, tentative: flags & IFA_F_TENTATIVE != 0 }))
}
