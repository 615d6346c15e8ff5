//! Neighbours: permanent ARP and ND entries, and proxied addresses.

use super::{Mac, Rtnetlink, family, family_of};
use crate::attribute::Attributes;
use crate::message::{NLM_F_CREATE, NLM_F_REPLACE};
use crate::{Encoder, Error, Result};
use std::net::IpAddr;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDMSG: usize = 12;
const NUD_PERMANENT: u16 = 0x80;
const NTF_PROXY: u8 = 0x08;

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Interface index.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address; none while unresolved, and for proxy entries.
    pub mac: Option<Mac>,
    /// Never expires and is never probed.
    pub permanent: bool,
    /// This host answers for the address on this interface.
    pub proxy: bool,
}

impl Rtnetlink {
    /// Writes a permanent entry, replacing what is there.
    pub fn replace_neighbour(&mut self, index: u32, address: IpAddr, mac: Mac) -> Result<()> {
        let attempt = format!("add neighbour {address} to link {index}");
        self.socket.request(libc::RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &attempt, |message| {
            put(message, index, address, NUD_PERMANENT, 0);
            message.put(NDA_LLADDR, &mac.0);
        })
    }

    /// Makes this host answer for `address` on the interface (`proxy_arp` or `proxy_ndp` must be set).
    pub fn add_proxy(&mut self, index: u32, address: IpAddr) -> Result<()> {
        let attempt = format!("add proxy neighbour {address} to link {index}");
        self.socket.request(libc::RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &attempt, |message| {
            put(message, index, address, NUD_PERMANENT, NTF_PROXY);
        })
    }

    /// Deletes an entry. `false`: it was not there.
    pub fn delete_neighbour(&mut self, index: u32, address: IpAddr) -> Result<bool> {
        let attempt = format!("delete neighbour {address} of link {index}");
        match self
            .socket
            .request(libc::RTM_DELNEIGH, 0, &attempt, |message| put(message, index, address, 0, 0))
        {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All entries of both families, proxy entries too.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>> {
        let mut neighbours = Vec::new();
        for flags in [0, NTF_PROXY] {
            let replies = self.socket.dump(libc::RTM_GETNEIGH, "list neighbours", |message| {
                let mut header = [0; NDMSG];
                header[10] = flags;
                message.fixed(&header);
            })?;
            for (_, payload) in replies.iter() {
                neighbours.extend(parse(payload)?);
            }
        }
        Ok(neighbours)
    }
}

/// `struct ndmsg` and the destination.
fn put(message: &mut Encoder, index: u32, address: IpAddr, state: u16, flags: u8) {
    let mut header = [0; NDMSG];
    header[0] = family_of(address);
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&state.to_ne_bytes());
    header[10] = flags;
    message.fixed(&header);
    message.put_address(NDA_DST, address);
}

/// `None` for families other than IP.
fn parse(payload: &[u8]) -> Result<Option<Neighbour>> {
    let Some(&[family, _, _, _, a, b, c, d, low, high, flags, _]) = payload.first_chunk::<NDMSG>() else {
        return Err(Error::Malformed {
            what: "neighbour".into(),
            expected: format!("a header of {NDMSG} bytes"),
            found: format!("{}", payload.len()),
        });
    };
    let attributes = Attributes::after(payload, NDMSG);
    let known = family == family::IPV4 || family == family::IPV6;
    let Some(destination) = attributes.find_kind(NDA_DST).filter(|_| known) else { return Ok(None) };
    Ok(Some(Neighbour {
        index: u32::from_ne_bytes([a, b, c, d]),
        address: destination.address()?,
        mac: attributes.find_kind(NDA_LLADDR).and_then(|found| found.bytes().ok()).map(Mac),
        permanent: u16::from_ne_bytes([low, high]) & NUD_PERMANENT != 0,
        proxy: flags & NTF_PROXY != 0,
    }))
}
