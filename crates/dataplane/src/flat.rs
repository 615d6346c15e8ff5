//! From `classify` to a driver: classes, stacks and verdicts.
//!
//! A packet's way through the tables, for each side that has an endpoint (`egress` of the
//! sender's interface first, then `ingress` of the receiver's):
//!
//! ```text
//!  other side's address --Address, else Net--> class (0: none)
//!  protocol, port       --Port / Icmp, else PortRange, else Protocol--> L4 class (none)
//!  interface            --Endpoint--> stack (by own address where they differ)
//!
//!  entry(stack, class, L4 class)     first hit wins
//!  entry(stack, class, protocol)     |
//!  entry(stack, class, any)          |
//!  entry(stack, ANY,   L4 class)     |
//!  entry(stack, ANY,   protocol)     V
//!  the stack's default
//! ```
//! A driver omits a lookup that no entry of the stack can hit: [`Levels`] says which can.
//!
//! A change comes as [`Step`]s. Each step is one transaction or, in a step that
//! [may be cut](Phase::may_be_cut), several; a driver carries them out in order, and the
//! agent lets [`GRACE`] go by before the first step of [`Phase::Shrink`]. Ids are not given
//! again before the shrink that freed them is done. A [`Tables`] as a whole is put in place
//! side by side with the old one under names of its own (a *generation*), and one
//! transaction leads the hooks from the old to the new: so at start, after drift, and when a
//! sized map must grow.
//!
//! A packet sees no snapshot: each lookup reads the tables anew. Grow and Shrink therefore touch only what nothing leads to.
//! A Switch leads packets elsewhere, or changes a stack in place: its chain ([`Op::AddStack`] of one that is there; packets
//! in it go on by the old rules), its default and its entries; and then only so that a packet under way meets the outcome of
//! before or of after, whichever of its lookups first sees the change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tortie_api::policy::Direction;

use crate::policy::{Family, PolicyId};

/// For how long a packet may still see what a switch took away.
pub const GRACE: Duration = Duration::from_millis(50);

/// Addresses that no rule can tell apart. One space for both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub u16);

impl ClassId {
    /// The class of an address that is in no set; what a miss in the class maps means.
    pub const NONE: Self = Self(0);
    /// In an entry: every class that has no entry of its own.
    pub const ANY: Self = Self(0xffff);
}

/// The compiled stack of an endpoint's direction and family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub u16);

/// Ports, or ICMP types and codes, of one protocol that no rule can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct L4ClassId {
    /// The IP protocol's number.
    pub protocol: u8,
    /// From 1, within the protocol.
    pub index: u16,
}

/// The layer-4 part of an entry's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum L4Key {
    /// One class of ports or of ICMP types and codes.
    Class(L4ClassId),
    /// All of a protocol that has no entry of its own.
    Protocol(u8),
    /// All that has no entry of its own. Not in an entry of [`ClassId::ANY`]: that is the stack's default.
    Any,
}

/// The key of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// The stack.
    pub stack: StackId,
    /// The other side's class.
    pub class: ClassId,
    /// Protocol and port.
    pub l4: L4Key,
}

/// A list of rules that packets went through; has a counter of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathId(pub u32);

/// A rule of a policy, or what stands for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleRef {
    /// A rule by its index.
    Rule {
        /// The policy or profile.
        policy: PolicyId,
        /// Which list.
        direction: Direction,
        /// From 0.
        index: u32,
    },
    /// The end of a tier, told as rule -1 of its first policy that applies.
    TierEnd {
        /// That policy.
        policy: PolicyId,
        /// Which list.
        direction: Direction,
    },
    /// No profile had a matching rule, or there was none.
    NoProfile {
        /// Which list.
        direction: Direction,
    },
}

/// What a packet that met this verdict went through.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The Log and Pass rules met on the way, and the ends of tiers that passed it on, in order.
    pub passed: Box<[RuleRef]>,
    /// Those of them that log, in order.
    pub logged: Box<[RuleRef]>,
    /// Who decided.
    pub decided: RuleRef,
}

/// Allow or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Go on: the other side is asked, then the packet passes.
    Allow,
    /// Drop.
    Deny,
}

/// What happens to a packet, and which counter says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Verdict {
    /// Allow or deny.
    pub outcome: Outcome,
    /// The way that led there.
    pub path: PathId,
}

/// Which lookups of a stack can hit at all: `classify` sets a flag for all that a later class may need. A stack that is
/// changed in place may get more of them, never less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Levels {
    /// (class, L4 class)
    pub class_l4: bool,
    /// (class, protocol)
    pub class_protocol: bool,
    /// (class, any)
    pub class_any: bool,
    /// (ANY, L4 class)
    pub any_l4: bool,
    /// (ANY, protocol)
    pub any_protocol: bool,
    /// Whether any entry, now or later, allows.
    pub allow: bool,
    /// Whether any entry, now or later, denies.
    pub deny: bool,
    /// Whether any entry, now or later, or the default logs.
    pub log: bool,
}

/// A stack as a driver holds it, without its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackChain {
    /// Which side's address is looked up: the source for ingress, the destination for egress.
    pub direction: Direction,
    /// The family.
    pub family: Family,
    /// The lookups that are needed.
    pub levels: Levels,
    /// The verdict of what has no entry.
    pub default: Verdict,
}

/// Where packets of an interface, one direction and one family are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dispatch {
    /// By one stack.
    Stack(StackId),
    /// By the endpoint's own address (the destination of ingress); addresses not listed are dropped.
    ByAddress(Box<[(IpAddr, StackId)]>),
    /// There is no address of this family: all are dropped.
    Drop,
}

/// An endpoint as a driver holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPorts {
    /// Its addresses: a packet from its interface must have one of them as source.
    pub addresses: Box<[IpAddr]>,
    /// ... or one within these.
    pub allowed_sources: Box<[IpNet]>,
    /// IPv4 packets to it.
    pub ingress_v4: Dispatch,
    /// IPv6 packets to it.
    pub ingress_v6: Dispatch,
    /// IPv4 packets from it.
    pub egress_v4: Dispatch,
    /// IPv6 packets from it.
    pub egress_v6: Dispatch,
}

/// What an L4 class is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum L4Match {
    /// One destination port of TCP, UDP, SCTP or UDPLite.
    Port {
        /// The protocol.
        protocol: u8,
        /// The port.
        port: u16,
    },
    /// Destination ports from the first to the last; disjoint from every other and from every `Port`.
    PortRange {
        /// The protocol.
        protocol: u8,
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// An ICMP (1) or ICMPv6 (58) type and code.
    Icmp {
        /// The protocol.
        protocol: u8,
        /// The type.
        icmp_type: u8,
        /// The code.
        code: u8,
    },
    /// All codes of an ICMP type that have no `Icmp` of their own.
    IcmpType {
        /// The protocol.
        protocol: u8,
        /// The type.
        icmp_type: u8,
    },
}

/// One change of a [`Tables`]. Adding what is there with another value replaces it.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A counter for a path.
    AddPath(PathId, Arc<Path>),
    /// It is no longer used. The driver reads its last value first.
    RemovePath(PathId),
    /// A stack, empty as yet; or another chain or default for one that is there.
    AddStack(StackId, StackChain),
    /// It and all its entries are no longer led to.
    RemoveStack(StackId),
    /// A verdict.
    AddEntry(EntryKey, Verdict),
    /// It is no longer led to.
    RemoveEntry(EntryKey),
    /// An address's class.
    SetAddress(IpAddr, ClassId),
    /// It is in no set any more.
    RemoveAddress(IpAddr),
    /// The class of an interval of addresses that have no entry of their own; intervals never overlap.
    AddNet(AddressRange, ClassId),
    /// The interval is gone. Comes in the same step as the intervals that replace it.
    RemoveNet(AddressRange),
    /// The class of a port, a range of ports or an ICMP type.
    SetL4(L4Match, L4ClassId),
    /// It is told apart by nothing any more.
    RemoveL4(L4Match),
    /// An endpoint by its interface.
    SetEndpoint(Arc<str>, Arc<EndpointPorts>),
    /// It is gone; its interface's packets are dropped.
    RemoveEndpoint(Arc<str>),
}

/// From the first address to the last, both included and of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Writes what nothing leads to yet.
    Grow,
    /// Leads packets to what was written; must not be cut.
    Switch,
    /// Takes away what nothing leads to any more.
    Shrink,
}

impl Phase {
    /// Whether the step is safe in several transactions.
    pub const fn may_be_cut(self) -> bool {
        !matches!(self, Self::Switch)
    }
}

/// Changes that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What they do.
    pub phase: Phase,
    /// In order.
    pub ops: Vec<Op>,
}

/// All that a node holds: what a driver puts in place as a generation, and what it reads back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// Counters.
    pub paths: BTreeMap<PathId, Arc<Path>>,
    /// Stacks.
    pub stacks: BTreeMap<StackId, StackChain>,
    /// Verdicts.
    pub entries: BTreeMap<EntryKey, Verdict>,
    /// Classes of single addresses.
    pub addresses: BTreeMap<IpAddr, ClassId>,
    /// Classes of intervals.
    pub nets: BTreeMap<AddressRange, ClassId>,
    /// L4 classes.
    pub l4: BTreeMap<L4Match, L4ClassId>,
    /// Endpoints by interface.
    pub endpoints: BTreeMap<Arc<str>, Arc<EndpointPorts>>,
}

impl Tables {
    /// Carries out one change.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::AddPath(id, path) => {
                self.paths.insert(*id, Arc::clone(path));
            }
            Op::RemovePath(id) => {
                self.paths.remove(id);
            }
            Op::AddStack(id, stack) => {
                self.stacks.insert(*id, stack.clone());
            }
            Op::RemoveStack(id) => {
                self.stacks.remove(id);
                self.entries.retain(|key, _| key.stack != *id);
            }
            Op::AddEntry(key, verdict) => {
                self.entries.insert(*key, *verdict);
            }
            Op::RemoveEntry(key) => {
                self.entries.remove(key);
            }
            Op::SetAddress(address, class) => {
                self.addresses.insert(*address, *class);
            }
            Op::RemoveAddress(address) => {
                self.addresses.remove(address);
            }
            Op::AddNet(range, class) => {
                self.nets.insert(*range, *class);
            }
            Op::RemoveNet(range) => {
                self.nets.remove(range);
            }
            Op::SetL4(matched, class) => {
                self.l4.insert(*matched, *class);
            }
            Op::RemoveL4(matched) => {
                self.l4.remove(matched);
            }
            Op::SetEndpoint(interface, ports) => {
                self.endpoints.insert(Arc::clone(interface), Arc::clone(ports));
            }
            Op::RemoveEndpoint(interface) => {
                self.endpoints.remove(interface);
            }
        }
    }
}
