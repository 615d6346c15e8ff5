//! The tables read by hand, as a driver's packets read them: for `explain`, and to hold the
//! tables to `analysis` without a kernel.

use std::net::IpAddr;

use tortie_api::policy::Direction;
use tortie_dataplane::flat::{
    ClassId, Dispatch, EntryKey, L4ClassId, L4Key, L4Match, Levels, Outcome, StackId, Tables, Verdict,
};

/// A new packet, as far as one side's verdict depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The endpoint's own address.
    pub own: IpAddr,
    /// The address on the other side.
    pub other: IpAddr,
    /// The protocol.
    pub protocol: u8,
    /// Its port, or ICMP type and code.
    pub detail: Detail,
}

/// What layer 4 holds beside the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The destination port of TCP, UDP, SCTP or UDPLite.
    Port(u16),
    /// ICMP's or ICMPv6's type and code.
    Icmp {
        /// The type.
        icmp_type: u8,
        /// The code.
        code: u8,
    },
    /// Nothing that rules speak of.
    Nothing,
}

/// The verdict of an interface's stack on a packet, or `None` where the packet is dropped
/// unjudged: the interface isn't known, or the own address isn't its own.
pub fn judge(tables: &Tables, interface: &str, direction: Direction, packet: &Packet) -> Option<Verdict> {
    judge_across(tables, tables, 0, interface, direction, packet)
}

/// How many times a packet reads the tables, at most: the last cut of [`judge_across`].
pub const READS: usize = 8;

/// The verdict on a packet that reads the tables `cut` times before a change and then after it, as packets do that
/// are under way while a step is carried out.
pub fn judge_across(
    before: &Tables,
    after: &Tables,
    cut: usize,
    interface: &str,
    direction: Direction,
    packet: &Packet,
) -> Option<Verdict> {
    let at = |read: usize| if read < cut { before } else { after };
    let l4 = l4_class_of(at(0), packet);
    let ports = at(1).endpoints.get(interface)?;
    let dispatch = match (direction, packet.own) {
        (Direction::Ingress, IpAddr::V4(_)) => &ports.ingress_v4,
        (Direction::Ingress, IpAddr::V6(_)) => &ports.ingress_v6,
        (Direction::Egress, IpAddr::V4(_)) => &ports.egress_v4,
        (Direction::Egress, IpAddr::V6(_)) => &ports.egress_v6,
    };
    let stack = match dispatch {
        Dispatch::Stack(stack) => *stack,
        Dispatch::ByAddress(stacks) => stacks.iter().find(|(own, _)| *own == packet.own)?.1,
        Dispatch::Drop => return None,
    };
    let class = class_of(at(2), packet.other);
    verdict(at, stack, class, l4, packet.protocol)
}

/// The class of an address.
pub fn class_of(tables: &Tables, address: IpAddr) -> ClassId {
    tables.addresses.get(&address).copied().unwrap_or_else(|| {
        let holding = tables.nets.iter().rev().find(|(range, _)| {
            range.first.is_ipv4() == address.is_ipv4() && (range.first..=range.last).contains(&address)
        });
        holding.map_or(ClassId::NONE, |(_, class)| *class)
    })
}

/// The L4 class of a packet, if any rule names it closer than by protocol.
pub fn l4_class_of(tables: &Tables, packet: &Packet) -> Option<L4ClassId> {
    let protocol = packet.protocol;
    match packet.detail {
        Detail::Port(port) => tables.l4.get(&L4Match::Port { protocol, port }).copied().or_else(|| {
            tables
                .l4
                .range(L4Match::PortRange { protocol, first: 0, last: 0 }..)
                .take_while(|(matched, _)| matches!(matched, L4Match::PortRange { protocol: of, .. } if *of == protocol))
                .find(|(matched, _)| {
                    matches!(matched, L4Match::PortRange { first, last, .. } if (*first..=*last).contains(&port))
                })
                .map(|(_, class)| *class)
        }),
        Detail::Icmp { icmp_type, code } => tables
            .l4
            .get(&L4Match::Icmp { protocol, icmp_type, code })
            .or_else(|| tables.l4.get(&L4Match::IcmpType { protocol, icmp_type }))
            .copied(),
        Detail::Nothing => None,
    }
}

/// The verdict of a stack, in the order of lookups that [`tortie_dataplane::flat`] gives. A lookup
/// that the stack's levels leave out is left out here too, and so is an entry of an outcome that they leave out.
/// The chain stays what it was when the packet came into it.
fn verdict<'t>(
    at: impl Fn(usize) -> &'t Tables,
    stack: StackId,
    class: ClassId,
    l4: Option<L4ClassId>,
    protocol: u8,
) -> Option<Verdict> {
    let chain = at(1).stacks.get(&stack)?;
    let levels = chain.levels;
    let l4 = l4.map(L4Key::Class);
    let protocol = L4Key::Protocol(protocol);
    let order = [
        (levels.class_l4, class, l4),
        (levels.class_protocol, class, Some(protocol)),
        (levels.class_any, class, Some(L4Key::Any)),
        (levels.any_l4, ClassId::ANY, l4),
        (levels.any_protocol, ClassId::ANY, Some(protocol)),
    ];
    let found = (3..).zip(order).filter(|(_, (wanted, ..))| *wanted).find_map(|(read, (_, class, l4))| {
        let tables = at(read);
        let verdict = tables.entries.get(&EntryKey { stack, class, l4: l4? })?;
        asks_for(tables, levels, *verdict).then_some(*verdict)
    });
    let default = || {
        let default = at(READS).stacks.get(&stack)?.default;
        // The chain looks for the default where it was when the packet came.
        let kind = |tables: &Tables, verdict: Verdict| (verdict.outcome, logs(tables, verdict));
        (kind(at(1), chain.default) == kind(at(READS), default)).then_some(default)
    };
    found.or_else(default)
}

fn logs(tables: &Tables, verdict: Verdict) -> bool {
    tables.paths.get(&verdict.path).is_some_and(|path| !path.logged.is_empty())
}

/// Whether the stack looks where the driver keeps verdicts like this one.
fn asks_for(tables: &Tables, levels: Levels, verdict: Verdict) -> bool {
    if logs(tables, verdict) {
        return levels.log;
    }
    match verdict.outcome {
        Outcome::Allow => levels.allow,
        Outcome::Deny => levels.deny,
    }
}
