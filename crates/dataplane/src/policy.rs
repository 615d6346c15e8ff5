//! From `calc` to `classify`: rules in terms of sets, addresses in terms of the sets they are in,
//! endpoints in terms of the policies that apply to them.
//!
//! Updates come in an order in which each names only what was told before it: policies before
//! the endpoints that use them; an endpoint's removal before that of its policies. Addresses may
//! come at any time: a set that no rule names changes no verdict.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_api::kind::ResourceKey;
use tortie_api::policy::Action;

/// The address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The family of a prefix.
    pub const fn of_net(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

/// A set of addresses that a rule names: what a selector picks, a list of nets, or the owners of
/// a named port. Given by `calc`; never used again for another set while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId(pub u32);

/// A policy or profile that is in use on this node. Given by `calc`; stable while the policy's
/// key lives, never used again for another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

/// That an address belongs to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// To a selector's or a list of nets' set.
    Of(SetId),
    /// To a named port's set, with the port that it has there. An address may have several.
    Port {
        /// The named port's set.
        set: SetId,
        /// The IP protocol's number.
        protocol: u8,
        /// The port.
        port: u16,
    },
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// An ICMP or ICMPv6 type, and a code if only that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IcmpMatch {
    /// The type.
    pub icmp_type: u8,
    /// The only code; none for every code.
    pub code: Option<u8>,
}

/// Ports of one side: any of the ranges, or any port that the address has in any of the sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ports {
    /// Numbers.
    pub ranges: Box<[PortRange]>,
    /// Named ports' sets ([`Member::Port`]).
    pub named: Box<[SetId]>,
}

impl Ports {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.named.is_empty()
    }
}

/// What one side of a packet must be. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Side {
    /// The address is in every one of these ([`Member::Of`]).
    pub within: Box<[SetId]>,
    /// ... and in none of these.
    pub without: Box<[SetId]>,
    /// ... and the port is any of these; empty for any port at all.
    pub ports: Ports,
    /// ... and none of these.
    pub not_ports: Ports,
}

/// What to do with which packets. Everything that a rule says is here or was resolved by `calc`:
/// nets of one family and ICMP by name have become [`Rule::family`], selectors have become sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Its place in `spec.ingress` or `spec.egress`, from 0.
    pub index: u32,
    /// What to do.
    pub action: Action,
    /// The only family that matches.
    pub family: Option<Family>,
    /// The only protocol that matches. Ports and ICMP need it; a rule with ports always has it.
    pub protocol: Option<u8>,
    /// The protocol that doesn't match.
    pub not_protocol: Option<u8>,
    /// The ICMP type and code that match; [`Rule::protocol`] is 1 or 58 then.
    pub icmp: Option<IcmpMatch>,
    /// The ICMP type and code that don't match; [`Rule::protocol`] is 1 or 58 then.
    pub not_icmp: Option<IcmpMatch>,
    /// The sender.
    pub source: Side,
    /// The receiver.
    pub destination: Side,
}

/// A policy or profile in use on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which one.
    pub key: ResourceKey,
    /// The tier's name; `__PROFILE__` for profiles.
    pub tier: Arc<str>,
    /// For packets to the endpoint, in order.
    pub ingress: Box<[Rule]>,
    /// For packets from the endpoint, in order.
    pub egress: Box<[Rule]>,
    /// Why the policy isn't enforced as written but denies in its place; shown in its status.
    pub not_enforced: Option<Box<str>>,
}

/// What happens at the end of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TierEnd {
    /// The packet is dropped.
    Deny,
    /// The next tier is asked.
    Pass,
}

/// The policies of one tier that apply to an endpoint in one direction. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StackTier {
    /// Its policies in order.
    pub policies: Box<[PolicyId]>,
    /// What happens when none of them decides; counted for the first policy, as rule -1.
    pub end: TierEnd,
}

/// The ordered list that applies to an endpoint in one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Tiers in order; only those with a policy for this direction.
    pub tiers: Box<[StackTier]>,
    /// Profiles in order, asked when no tier decides. A missing profile is here too, as a policy
    /// that denies by rule 0. No match in any denies.
    pub profiles: Box<[PolicyId]>,
}

/// A workload endpoint of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The host's interface, `cali...`.
    pub interface: Arc<str>,
    /// Its addresses.
    pub addresses: Box<[IpAddr]>,
    /// Prefixes that it may send from beside them.
    pub allowed_sources: Box<[IpNet]>,
    /// For packets to it.
    pub ingress: Arc<Stack>,
    /// For packets from it.
    pub egress: Arc<Stack>,
}

/// One change of what this node should hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The policy is in use and reads so. Its id stays the same when its rules change.
    Policy {
        /// Its id.
        id: PolicyId,
        /// What it says.
        policy: Arc<Policy>,
    },
    /// The policy is no longer in use.
    PolicyRemoved {
        /// Its id.
        id: PolicyId,
    },
    /// All the sets that a prefix is in: its own and those of every prefix around it, sorted,
    /// without doubles. Empty when it is in none, or when nothing names the prefix any more.
    Address {
        /// A single address (/32, /128) or a net.
        prefix: IpNet,
        /// Its memberships.
        members: Arc<[Member]>,
    },
    /// The endpoint exists and is so.
    Endpoint {
        /// Which one.
        key: ResourceKey,
        /// What it is.
        endpoint: Arc<Endpoint>,
    },
    /// The endpoint is gone.
    EndpointRemoved {
        /// Which one.
        key: ResourceKey,
    },
}
