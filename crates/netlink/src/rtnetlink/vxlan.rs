//! VXLAN devices and the table that says behind which host each of their peers is.
//!
//! A device here learns nothing: whoever makes it writes its peers.

use super::Rtnetlink;
use super::link::{self, Link, LinkRef, Mac};
use crate::attribute::Attributes;
use crate::message::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use crate::{Encoder, Error, Result};
use std::net::IpAddr;

const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LINK: u16 = 3;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_LOCAL6: u16 = 17;
const KIND: &str = "vxlan";
const IFINFOMSG: usize = 16;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDMSG: usize = 12;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 0x02;
const AF_BRIDGE: u8 = libc::AF_BRIDGE as u8;

/// What makes a VXLAN device the one that it is; none of it can be changed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The network's number, 24 bits.
    pub id: u32,
    /// The UDP port of all its hosts.
    pub port: u16,
    /// This host's address, which packets leave with.
    pub local: Option<IpAddr>,
    /// The interface that they leave by.
    pub parent: Option<u32>,
    /// Whether it believes packets about which host their sender is behind.
    pub learning: bool,
}

/// An entry of a device's table: frames for `mac` go to the host `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forwarding {
    /// The peer's address on the VXLAN network.
    pub mac: Mac,
    /// The host that it is behind.
    pub host: IpAddr,
}

impl Rtnetlink {
    /// Creates a VXLAN device, down; the error `is_exists` when the name is taken.
    pub fn create_vxlan(&mut self, name: &str, mac: Mac, mtu: u32, vxlan: &Vxlan) -> Result<()> {
        let Vxlan { id, port, local, parent, learning } = *vxlan;
        let attempt = format!("create vxlan {name}");
        self.socket.request(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &attempt, |message| {
            message.fixed(&[0; IFINFOMSG]);
            link::put_identity(message, name, mac, mtu);
            message.nested(IFLA_LINKINFO, |info| {
                info.put_text(IFLA_INFO_KIND, KIND);
                info.nested(IFLA_INFO_DATA, |data| {
                    data.put_u32(IFLA_VXLAN_ID, id);
                    data.put_be16(IFLA_VXLAN_PORT, port);
                    data.put_u8(IFLA_VXLAN_LEARNING, learning.into());
                    match local {
                        Some(v4 @ IpAddr::V4(_)) => data.put_address(IFLA_VXLAN_LOCAL, v4),
                        Some(v6 @ IpAddr::V6(_)) => data.put_address(IFLA_VXLAN_LOCAL6, v6),
                        None => {}
                    }
                    if let Some(parent) = parent {
                        data.put_u32(IFLA_VXLAN_LINK, parent);
                    }
                });
            });
        })
    }

    /// The link of this name, and what it is if it is a VXLAN device; `None` when there is none.
    pub fn vxlan(&mut self, name: &str) -> Result<Option<(Link, Option<Vxlan>)>> {
        let found = self.socket.get(libc::RTM_GETLINK, 0, &format!("read link {name}"), |message| {
            link::put_question(message, LinkRef::Name(name));
        });
        let replies = match found {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let Some((_, payload)) = replies.iter().next() else { return Ok(None) };
        let info = Attributes::after(payload, IFINFOMSG).find_kind(IFLA_LINKINFO);
        let data = info.and_then(|info| info.nested().find_kind(IFLA_INFO_DATA));
        let link = link::parse(payload)?;
        let is_vxlan = link.kind.as_deref() == Some(KIND);
        let vxlan = data.filter(|_| is_vxlan).map(|data| read(data.nested())).transpose()?;
        Ok(Some((link, vxlan)))
    }

    /// Frames for a peer go to this host from now on, whatever host they went to before.
    pub fn replace_forwarding(&mut self, index: u32, entry: Forwarding) -> Result<()> {
        let attempt = format!("lead {} of link {index} to {}", entry.mac, entry.host);
        self.socket.request(libc::RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &attempt, |message| {
            put(message, index, entry);
        })
    }

    /// Deletes an entry. `false`: it was not there.
    pub fn delete_forwarding(&mut self, index: u32, entry: Forwarding) -> Result<bool> {
        let attempt = format!("delete {} of link {index} at {}", entry.mac, entry.host);
        match self.socket.request(libc::RTM_DELNEIGH, 0, &attempt, |message| put(message, index, entry)) {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The entries of a device's table that lead to hosts.
    pub fn forwarding(&mut self, index: u32) -> Result<Vec<Forwarding>> {
        let replies = self.socket.dump(libc::RTM_GETNEIGH, "list forwarding", |message| {
            let mut header = [0; NDMSG];
            header[0] = AF_BRIDGE;
            header[4..8].copy_from_slice(&index.to_ne_bytes());
            message.fixed(&header);
        })?;
        let mut entries = Vec::new();
        for (_, payload) in replies.iter() {
            let Some(&[_, _, _, _, a, b, c, d, ..]) = payload.first_chunk::<NDMSG>() else {
                return Err(Error::Malformed {
                    what: "forwarding entry".into(),
                    expected: format!("a header of {NDMSG} bytes"),
                    found: format!("{}", payload.len()),
                });
            };
            let attributes = Attributes::after(payload, NDMSG);
            let (mac, host) = (attributes.find_kind(NDA_LLADDR), attributes.find_kind(NDA_DST));
            if let (true, Some(mac), Some(host)) = (u32::from_ne_bytes([a, b, c, d]) == index, mac, host) {
                entries.push(Forwarding { mac: Mac(mac.bytes()?), host: host.address()? });
            }
        }
        Ok(entries)
    }
}

fn put(message: &mut Encoder, index: u32, entry: Forwarding) {
    let mut header = [0; NDMSG];
    header[0] = AF_BRIDGE;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
    header[10] = NTF_SELF;
    message.fixed(&header);
    message.put(NDA_LLADDR, &entry.mac.0);
    message.put_address(NDA_DST, entry.host);
}

fn read(data: Attributes<'_>) -> Result<Vxlan> {
    let mut vxlan = Vxlan { id: 0, port: 0, local: None, parent: None, learning: false };
    for attribute in data {
        match attribute.kind {
            IFLA_VXLAN_ID => vxlan.id = attribute.u32()?,
            IFLA_VXLAN_PORT => vxlan.port = attribute.be16()?,
            IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => vxlan.local = Some(attribute.address()?),
            IFLA_VXLAN_LINK => vxlan.parent = Some(attribute.u32()?).filter(|index| *index != 0),
            IFLA_VXLAN_LEARNING => vxlan.learning = attribute.u8()? != 0,
            _ => {}
        }
    }
    Ok(vxlan)
}
