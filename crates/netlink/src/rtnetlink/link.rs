//! Links: read, create (veth pair, bridge), change, delete.
//!
//! A veth pair is made in one request, its peer directly in the other namespace with its final name, address
//! and MTU, so that no half-named interface is ever seen. Each end has one queue each way.

use super::{Rtnetlink, family};
use crate::attribute::Attributes;
use crate::message::{NLM_F_CREATE, NLM_F_EXCL};
use crate::{Encoder, Error, Result};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IFINFOMSG: usize = 16;
const IFF_UP: u32 = libc::IFF_UP as u32;
const IFF_LOWER_UP: u32 = libc::IFF_LOWER_UP as u32;
/// RFC 2863 as uapi/linux/if.h numbers it. IFF_RUNNING says less: it is also set as long as the state is unknown.
const IF_OPER_UP: u8 = 6;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::str::FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::Invalid {
            field: "MAC address",
            found: text.into(),
            expected: "six hex bytes, as ee:ee:ee:ee:ee:ee",
        };
        let mut parts = text.split([':', '-']);
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() { Err(invalid()) } else { Ok(Mac(bytes)) }
    }
}

/// How a link is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRef<'a> {
    /// By interface index.
    Index(u32),
    /// By name, at most 15 bytes.
    Name(&'a str),
}

impl fmt::Display for LinkRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkRef::Index(index) => write!(f, "link {index}"),
            LinkRef::Name(name) => write!(f, "link {name}"),
        }
    }
}

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index, unique in its namespace.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Hardware address, where it has six bytes.
    pub mac: Option<Mac>,
    /// Bytes of payload per frame.
    pub mtu: u32,
    /// Set up by the administrator.
    pub up: bool,
    /// Carrier is there (a veth's peer is up too).
    pub running: bool,
    /// The kernel has taken the carrier in: packets to it are sent, not discarded. Comes a moment after the carrier;
    /// never for a driver without a state, as loopback's.
    pub operational: bool,
    /// `ip link set alias`.
    pub alias: Option<String>,
    /// Driver kind: `veth`, `bridge`, ...; none for loopback.
    pub kind: Option<String>,
    /// Index of the peer or lower link, in its own namespace.
    pub peer_index: Option<u32>,
    /// Index of the bridge it is a port of.
    pub master: Option<u32>,
}

/// What to change on a link; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct LinkChange<'a> {
    /// New name (the link must be down).
    pub name: Option<&'a str>,
    /// New hardware address.
    pub mac: Option<Mac>,
    /// New MTU in bytes.
    pub mtu: Option<u32>,
    /// Up or down.
    pub up: Option<bool>,
    /// New alias.
    pub alias: Option<&'a str>,
    /// Become a port of this bridge.
    pub master: Option<u32>,
    /// Move into this namespace.
    pub namespace: Option<BorrowedFd<'a>>,
}

/// One end of a veth pair to create.
#[derive(Clone, Debug, Default)]
pub struct VethEnd<'a> {
    /// Interface name, at most 15 bytes.
    pub name: &'a str,
    /// Hardware address; random if none.
    pub mac: Option<Mac>,
    /// Where it is created; the socket's namespace if none.
    pub namespace: Option<BorrowedFd<'a>>,
}

/// A veth pair to create.
#[derive(Clone, Debug, Default)]
pub struct VethPair<'a> {
    /// The end that the request names first (a pod's host side).
    pub near: VethEnd<'a>,
    /// Its peer.
    pub far: VethEnd<'a>,
    /// MTU of both ends in bytes; the kernel's 1500 if none.
    pub mtu: Option<u32>,
    /// The near end is up from the first moment. (The far end can't be: the kernel sets flags before it joins
    /// the two. Set it up from its own namespace.)
    pub near_up: bool,
}

impl Rtnetlink {
    /// The link, or `None` when there is none.
    pub fn link(&mut self, link: LinkRef<'_>) -> Result<Option<Link>> {
        let found = self.socket.get(libc::RTM_GETLINK, 0, &format!("read {link}"), |message| {
            put_question(message, link);
        });
        match found {
            Ok(replies) => replies.iter().next().map(|(_, payload)| parse(payload)).transpose(),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A link that has to be there.
    pub fn existing(&mut self, link: LinkRef<'_>) -> Result<Link> {
        self.link(link)?.ok_or_else(|| missing(link))
    }

    /// The index of a link that has to be there.
    pub fn index_of(&mut self, name: &str) -> Result<u32> {
        Ok(self.existing(LinkRef::Name(name))?.index)
    }

    /// All links of the namespace, by index.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let replies = self.socket.dump(libc::RTM_GETLINK, "list links", |message| {
            message.fixed(&header(LinkRef::Index(0), 0, 0));
            message.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        })?;
        replies.iter().map(|(_, payload)| parse(payload)).collect()
    }

    /// Creates a veth pair; the error `is_exists` when one of the names is taken.
    pub fn create_veth(&mut self, pair: &VethPair<'_>) -> Result<()> {
        let VethPair { near, far, mtu, near_up } = pair;
        let attempt = format!("create veth {} with peer {}", near.name, far.name);
        self.socket.request(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &attempt, |message| {
            put_end(message, near, *mtu, if *near_up { IFF_UP } else { 0 });
            message.nested(IFLA_LINKINFO, |info| {
                info.put_text(IFLA_INFO_KIND, "veth");
                info.nested(IFLA_INFO_DATA, |data| {
                    data.nested(VETH_INFO_PEER, |peer| put_end(peer, far, *mtu, 0));
                });
            });
        })
    }

    /// Creates a bridge, up.
    pub fn create_bridge(&mut self, name: &str) -> Result<()> {
        let attempt = format!("create bridge {name}");
        self.socket.request(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &attempt, |message| {
            message.fixed(&header(LinkRef::Index(0), IFF_UP, IFF_UP));
            message.put_text(IFLA_IFNAME, name);
            message.nested(IFLA_LINKINFO, |info| info.put_text(IFLA_INFO_KIND, "bridge"));
        })
    }

    /// Changes a link; all in one request.
    pub fn set_link(&mut self, link: LinkRef<'_>, change: &LinkChange<'_>) -> Result<()> {
        let LinkChange { name, mac, mtu, up, alias, master, namespace } = change;
        let flags = if *up == Some(true) { IFF_UP } else { 0 };
        let mask = if up.is_some() { IFF_UP } else { 0 };
        self.socket.request(libc::RTM_SETLINK, 0, &format!("change {link}"), |message| {
            message.fixed(&header(link, flags, mask));
            match (link, name) {
                (LinkRef::Name(old), _) if name.is_none() => message.put_text(IFLA_IFNAME, old),
                (_, Some(new)) => message.put_text(IFLA_IFNAME, new),
                _ => {}
            }
            if let Some(mac) = mac {
                message.put(IFLA_ADDRESS, &mac.0);
            }
            if let Some(mtu) = mtu {
                message.put_u32(IFLA_MTU, *mtu);
            }
            if let Some(alias) = alias {
                message.put(IFLA_IFALIAS, alias.as_bytes());
            }
            if let Some(master) = master {
                message.put_u32(IFLA_MASTER, *master);
            }
            if let Some(namespace) = namespace {
                put_namespace(message, *namespace);
            }
        })
    }

    /// Sets a link up.
    pub fn set_up(&mut self, link: LinkRef<'_>) -> Result<()> {
        self.set_link(link, &LinkChange { up: Some(true), ..LinkChange::default() })
    }

    /// Renames a link that is down.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<()> {
        self.set_link(LinkRef::Index(index), &LinkChange { name: Some(name), ..LinkChange::default() })
    }

    /// Moves a link into another namespace.
    pub fn move_link(&mut self, link: LinkRef<'_>, namespace: BorrowedFd<'_>) -> Result<()> {
        self.set_link(link, &LinkChange { namespace: Some(namespace), ..LinkChange::default() })
    }

    /// Deletes a link (with a veth's peer). `false`: there was none.
    pub fn delete_link(&mut self, link: LinkRef<'_>) -> Result<bool> {
        let deleted = self.socket.request(libc::RTM_DELLINK, 0, &format!("delete {link}"), |message| {
            message.fixed(&header(link, 0, 0));
            put_reference(message, link);
        });
        match deleted {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The error for a link that has to be there and isn't.
pub(super) fn missing(link: LinkRef<'_>) -> Error {
    Error::Kernel { attempt: format!("read {link}"), errno: libc::ENODEV, message: None, offset: None }
}

/// Reads an RTM_NEWLINK or RTM_DELLINK payload.
pub(super) fn parse(payload: &[u8]) -> Result<Link> {
    let word =
        |at: usize| payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let (Some(index), Some(flags)) = (word(4), word(8)) else {
        return Err(Error::Malformed {
            what: "link".into(),
            expected: format!("a header of {IFINFOMSG} bytes"),
            found: format!("{}", payload.len()),
        });
    };
    let mut link = Link {
        index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: flags & IFF_UP != 0,
        running: flags & IFF_LOWER_UP != 0,
        operational: false,
        alias: None,
        kind: None,
        peer_index: None,
        master: None,
    };
    for attribute in Attributes::after(payload, IFINFOMSG) {
        match attribute.kind {
            IFLA_IFNAME => attribute.text()?.clone_into(&mut link.name),
            IFLA_ADDRESS => link.mac = attribute.bytes().ok().map(Mac),
            IFLA_MTU => link.mtu = attribute.u32()?,
            IFLA_IFALIAS => link.alias = Some(attribute.text()?.to_owned()),
            IFLA_LINK => link.peer_index = Some(attribute.u32()?),
            IFLA_MASTER => link.master = Some(attribute.u32()?),
            IFLA_OPERSTATE => link.operational = attribute.u8()? == IF_OPER_UP,
            IFLA_LINKINFO => {
                let kind = attribute.nested().find_kind(IFLA_INFO_KIND);
                link.kind = kind.map(|kind| kind.text().map(str::to_owned)).transpose()?;
            }
            _ => {}
        }
    }
    Ok(link)
}

/// `struct ifinfomsg`.
fn header(link: LinkRef<'_>, flags: u32, change: u32) -> [u8; IFINFOMSG] {
    let index = if let LinkRef::Index(index) = link { index } else { 0 };
    let mut bytes = [0; IFINFOMSG];
    bytes[0] = family::UNSPEC;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn put_reference(message: &mut Encoder, link: LinkRef<'_>) {
    if let LinkRef::Name(name) = link {
        message.put_text(IFLA_IFNAME, name);
    }
}

/// Asks for one link.
pub(super) fn put_question(message: &mut Encoder, link: LinkRef<'_>) {
    message.fixed(&header(link, 0, 0));
    message.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    put_reference(message, link);
}

/// What every link that is made has.
pub(super) fn put_identity(message: &mut Encoder, name: &str, mac: Mac, mtu: u32) {
    message.put_text(IFLA_IFNAME, name);
    message.put(IFLA_ADDRESS, &mac.0);
    message.put_u32(IFLA_MTU, mtu);
}

fn put_namespace(message: &mut Encoder, namespace: BorrowedFd<'_>) {
    message.put(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
}

fn put_end(message: &mut Encoder, end: &VethEnd<'_>, mtu: Option<u32>, flags: u32) {
    let VethEnd { name, mac, namespace } = end;
    message.fixed(&header(LinkRef::Index(0), flags, flags));
    message.put_text(IFLA_IFNAME, name);
    if let Some(mac) = mac {
        message.put(IFLA_ADDRESS, &mac.0);
    }
    if let Some(mtu) = mtu {
        message.put_u32(IFLA_MTU, mtu);
    }
    // Unasked the kernel makes a queue for each processor, and then takes all but one out of use, which takes an RCU grace
    // period.
    message.put_u32(IFLA_NUM_TX_QUEUES, 1);
    message.put_u32(IFLA_NUM_RX_QUEUES, 1);
    if let Some(namespace) = namespace {
        put_namespace(message, *namespace);
    }
}
