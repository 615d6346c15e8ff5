//! Where the records of address management are stored: Calico's etcd keys.

use std::fmt;

use ipnet::IpNet;

use crate::net::Family;

/// Whose a block is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A host, by its node's name.
    Host(String),
    /// Something that isn't a host, for example `load-balancer`.
    Virtual(String),
}

impl Owner {
    /// A host.
    pub fn host(name: &str) -> Self {
        Owner::Host(name.to_owned())
    }

    /// The name without the kind.
    pub fn name(&self) -> &str {
        match self {
            Owner::Host(name) | Owner::Virtual(name) => name,
        }
    }

    /// Reads the form that blocks hold: `host:NAME` or `virtual:NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("host", name) => Some(Owner::Host(name.to_owned())),
            ("virtual", name) => Some(Owner::Virtual(name.to_owned())),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Owner::Host(_) => "host",
            Owner::Virtual(_) => "virtual",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.name())
    }
}

/// The name under which one user's addresses are found again, for example `k8s-pod-network.CONTAINERID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(String);

impl HandleId {
    /// What follows a carriage return is dropped: old releases of Calico wrote handles with such a tail.
    pub fn new(text: &str) -> Self {
        HandleId(text.split('\r').next().unwrap_or_default().to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HandleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of one record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The settings.
    Config,
    /// A block of addresses: the truth about who has which.
    Block(IpNet),
    /// The claim of an owner to a block.
    Affinity(Owner, IpNet),
    /// An index entry: the blocks in which a user has addresses.
    Handle(HandleId),
}

const BLOCKS: &str = "/calico/ipam/v2/assignment/";
const HANDLES: &str = "/calico/ipam/v2/handle/";
const CONFIG: &str = "/calico/ipam/v2/config";
const ROOT: &str = "/calico/ipam/v2/";

impl Key {
    /// Reads a key of the store; `None` for keys that are none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text == CONFIG {
            return Some(Key::Config);
        }
        if let Some(id) = text.strip_prefix(HANDLES) {
            return Some(Key::Handle(HandleId::new(id)));
        }
        if let Some(rest) = text.strip_prefix(BLOCKS) {
            return parse_block(rest).map(Key::Block);
        }
        let (kind, rest) = text.strip_prefix(ROOT)?.split_once('/')?;
        let (name, rest) = rest.split_once('/')?;
        let owner = match kind {
            "host" => Owner::Host(name.to_owned()),
            "virtual" => Owner::Virtual(name.to_owned()),
            _ => return None,
        };
        Some(Key::Affinity(owner, parse_block(rest)?))
    }
}

/// `ipv4/block/10.0.0.0-26`
fn parse_block(text: &str) -> Option<IpNet> {
    let (_, name) = text.split_once("/block/")?;
    let (address, prefix) = name.rsplit_once('-')?;
    IpNet::new(address.parse().ok()?, prefix.parse().ok()?).ok()
}

fn write_block(f: &mut fmt::Formatter<'_>, block: &IpNet) -> fmt::Result {
    write!(f, "ipv{}/block/{}-{}", Family::of(block.addr()).number(), block.addr(), block.prefix_len())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Config => f.write_str(CONFIG),
            Key::Block(block) => {
                f.write_str(BLOCKS)?;
                write_block(f, block)
            }
            Key::Affinity(owner, block) => {
                write!(f, "{ROOT}{}/{}/", owner.kind(), owner.name())?;
                write_block(f, block)
            }
            Key::Handle(id) => write!(f, "{HANDLES}{id}"),
        }
    }
}

/// What is listed together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    /// All blocks of a family.
    Blocks(Family),
    /// An owner's claims in a family.
    Claims(Owner, Family),
    /// All hosts' claims.
    HostClaims,
    /// All claims of owners that aren't hosts.
    VirtualClaims,
    /// All handles.
    Handles,
}

impl Prefix {
    /// Whether a key is listed under it.
    pub fn holds(&self, key: &Key) -> bool {
        match (self, key) {
            (Prefix::Blocks(family), Key::Block(block)) => Family::of(block.addr()) == *family,
            (Prefix::Claims(wanted, family), Key::Affinity(owner, block)) => {
                owner == wanted && Family::of(block.addr()) == *family
            }
            (Prefix::HostClaims, Key::Affinity(owner, _)) => matches!(owner, Owner::Host(_)),
            (Prefix::VirtualClaims, Key::Affinity(owner, _)) => matches!(owner, Owner::Virtual(_)),
            (Prefix::Handles, Key::Handle(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prefix::Blocks(family) => write!(f, "{BLOCKS}ipv{}/block/", family.number()),
            Prefix::Claims(owner, family) => {
                write!(f, "{ROOT}{}/{}/ipv{}/block/", owner.kind(), owner.name(), family.number())
            }
            Prefix::HostClaims => write!(f, "{ROOT}host/"),
            Prefix::VirtualClaims => write!(f, "{ROOT}virtual/"),
            Prefix::Handles => f.write_str(HANDLES),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_are_calicos_and_are_read_back() {
        let table = [
            (Key::Config, "/calico/ipam/v2/config"),
            (
                Key::Block("10.10.0.160/28".parse().unwrap()),
                "/calico/ipam/v2/assignment/ipv4/block/10.10.0.160-28",
            ),
            (
                Key::Block("fd00:10::da40/122".parse().unwrap()),
                "/calico/ipam/v2/assignment/ipv6/block/fd00:10::da40-122",
            ),
            (
                Key::Affinity(Owner::host("node-a"), "10.10.0.160/28".parse().unwrap()),
                "/calico/ipam/v2/host/node-a/ipv4/block/10.10.0.160-28",
            ),
            (
                Key::Affinity(Owner::Virtual("load-balancer".into()), "fd00:10::/122".parse().unwrap()),
                "/calico/ipam/v2/virtual/load-balancer/ipv6/block/fd00:10::-122",
            ),
            (Key::Handle(HandleId::new("net.c1\r\neth0")), "/calico/ipam/v2/handle/net.c1"),
        ];
        for (key, text) in table {
            assert_eq!(key.to_string(), text);
            assert_eq!(Key::parse(text), Some(key));
        }
        assert_eq!(Key::parse("/calico/resources/v3/projectcalico.org/nodes/a"), None);
    }
}
