//! A rule as one side of a packet sees it: what speaks of the endpoint's own side is decided, what is
//! left is a condition on the other side's memberships and on layer 4.
//!
//! The next hop is `compile`, which lays items end to end.

use std::sync::Arc;

use tortie_api::policy::{Action, Direction};
use tortie_dataplane::flat::RuleRef;
use tortie_dataplane::policy::{
    Family, IcmpMatch, Member, Policy, PolicyId, PortRange, Ports, Rule, SetId, Side,
};

use crate::l4::{Atom, Sample};

/// What an item does with a packet that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Allow it.
    Allow,
    /// Deny it.
    Deny,
    /// Count and log it, then go on with the next item.
    Log,
    /// Count it, then go on with the next item: the end of a tier that passes on.
    GoOn,
    /// Count it, then go on behind the end of the tier.
    PassTier,
    /// Count it, then go on with the next profile: there is no tier after the profiles.
    PassProfile,
}

/// A rule's condition on layer 4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer4 {
    protocol: Option<u8>,
    not_protocol: Option<u8>,
    /// Any of these; empty for all. Ports or an ICMP match.
    any: Box<[Atom]>,
    /// ... or, where there is a named port, any port that the address has in these sets.
    any_named: Box<[SetId]>,
    none: Box<[Atom]>,
    none_named: Box<[SetId]>,
    /// Whether `any` and `any_named` are a condition at all.
    restricted: bool,
}

impl Layer4 {
    /// Whether the condition holds for a packet to or from an address with these memberships.
    pub fn holds(&self, sample: Sample, members: &[Member]) -> bool {
        let Self { protocol, not_protocol, any, any_named, none, none_named, restricted } = self;
        if protocol.is_some() && *protocol != sample.protocol() {
            return false;
        }
        if not_protocol.is_some() && *not_protocol == sample.protocol() {
            return false;
        }
        let named = |sets: &[SetId]| {
            sets.iter().any(|wanted| {
                members.iter().any(|member| match (*member, sample) {
                    (Member::Port { set, protocol, port }, Sample::Port(of, number)) => {
                        set == *wanted && protocol == of && port == number
                    }
                    _ => false,
                })
            })
        };
        (!restricted || any.iter().any(|atom| sample.within(*atom)) || named(any_named))
            && !none.iter().any(|atom| sample.within(*atom))
            && !named(none_named)
    }

    /// The atoms that the condition names, with their protocol.
    pub fn atoms(&self) -> impl Iterator<Item = (u8, Atom)> {
        let protocol = self.protocol;
        self.any.iter().chain(&self.none).filter_map(move |atom| protocol.map(|protocol| (protocol, *atom)))
    }

    /// The named ports' sets that it names.
    pub fn named(&self) -> impl Iterator<Item = &SetId> {
        self.any_named.iter().chain(&self.none_named)
    }

    /// The protocols that it names.
    pub fn protocols(&self) -> impl Iterator<Item = u8> {
        self.protocol.into_iter().chain(self.not_protocol)
    }

    /// Whether it matches packets of one protocol only.
    pub fn has_protocol(&self) -> bool {
        self.protocol.is_some()
    }

    /// Whether it tells one protocol from all others, whatever the port.
    pub fn is_whole_protocol(&self) -> bool {
        self.not_protocol.is_some() || self.protocol.is_some() && !self.restricted
    }

    /// Whether it says what a packet must not be.
    pub fn excludes(&self) -> bool {
        self.not_protocol.is_some() || !self.none.is_empty() || !self.none_named.is_empty()
    }
}

/// One item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The rule that it stands for.
    pub rule: RuleRef,
    /// What it does.
    pub then: Then,
    /// The other side is in all of these.
    pub within: Box<[SetId]>,
    /// ... and in none of these.
    pub without: Box<[SetId]>,
    /// ... and the packet is so.
    pub layer4: Layer4,
}

impl Item {
    /// One that matches every packet.
    pub fn always(rule: RuleRef, then: Then) -> Self {
        Self { rule, then, within: [].into(), without: [].into(), layer4: Layer4::default() }
    }

    /// Every set that it names.
    pub fn sets(&self) -> impl Iterator<Item = SetId> {
        self.within.iter().chain(&self.without).chain(self.layer4.named()).copied()
    }
}

/// Whose eyes a rule is seen with.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Packets to or from the endpoint.
    pub direction: Direction,
    /// Of which family.
    pub family: Family,
    /// The memberships of the endpoint's own address.
    pub own: &'a [Member],
}

/// The items of a policy or profile; `pass` is what its Pass rules do. One that isn't known denies all,
/// because nothing may be allowed by a rule that was lost.
pub fn items_of(id: PolicyId, policy: Option<&Policy>, sight: &Sight<'_>, pass: Then) -> Arc<[Item]> {
    let direction = sight.direction;
    match policy {
        Some(policy) => {
            rules_of(policy, direction).iter().filter_map(|rule| item(rule, id, sight, pass)).collect()
        }
        None => Arc::new([Item::always(RuleRef::Rule { policy: id, direction, index: 0 }, Then::Deny)]),
    }
}

/// The sets that a policy's rules name on the endpoint's own side.
pub fn own_sets_of(policy: &Policy, direction: Direction) -> Box<[SetId]> {
    let mut sets: Vec<SetId> = Vec::new();
    for rule in rules_of(policy, direction) {
        let Side { within, without, ports, not_ports } = sides(rule, direction).0;
        sets.extend(within.iter().chain(without).chain(&ports.named).chain(&not_ports.named));
    }
    sets.sort_unstable();
    sets.dedup();
    sets.into()
}

/// The rules of a policy for a direction.
pub fn rules_of(policy: &Policy, direction: Direction) -> &[Rule] {
    match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    }
}

/// A rule's own side and other side.
fn sides(rule: &Rule, direction: Direction) -> (&Side, &Side) {
    match direction {
        Direction::Ingress => (&rule.destination, &rule.source),
        Direction::Egress => (&rule.source, &rule.destination),
    }
}

/// A rule without its own side, or nothing if the own side, or the family, never matches.
fn item(rule: &Rule, policy: PolicyId, sight: &Sight<'_>, pass: Then) -> Option<Item> {
    let Sight { direction, family: of, own } = *sight;
    let Rule { index, action, family, protocol, not_protocol, icmp, not_icmp, source, destination } = rule;
    let reference = RuleRef::Rule { policy, direction, index: *index };
    if !source.ports.is_empty() || !source.not_ports.is_empty() {
        // `calc` replaces such a policy by one that denies; should one come all the same, it denies here.
        return Some(Item::always(reference, Then::Deny));
    }
    let (own_side, other_side) = sides(rule, direction);
    let is_in = |set: &SetId| own.binary_search(&Member::Of(*set)).is_ok();
    if family.is_some_and(|family| family != of)
        || !own_side.within.iter().all(is_in)
        || own_side.without.iter().any(is_in)
    {
        return None;
    }
    let own_ports = direction == Direction::Ingress;
    let (any, any_named) = ports(&destination.ports, own_ports.then_some(own), *protocol);
    let (none, none_named) = ports(&destination.not_ports, own_ports.then_some(own), *protocol);
    let any: Vec<Atom> = any.into_iter().chain(icmp.map(Atom::Icmp)).collect();
    let none: Vec<Atom> = none.into_iter().chain(not_icmp.map(Atom::Icmp)).collect();
    let restricted = !destination.ports.is_empty() || icmp.is_some();
    if restricted && any.is_empty() && any_named.is_empty() {
        return None;
    }
    Some(Item {
        rule: reference,
        then: match action {
            Action::Allow => Then::Allow,
            Action::Deny => Then::Deny,
            Action::Log => Then::Log,
            Action::Pass => pass,
        },
        within: other_side.within.clone(),
        without: other_side.without.clone(),
        layer4: Layer4 {
            protocol: *protocol,
            not_protocol: *not_protocol,
            any: any.into(),
            any_named,
            none: none.into(),
            none_named,
            restricted,
        },
    })
}

/// Ports as atoms; named ones resolved if they are the endpoint's own, else left as sets.
fn ports(ports: &Ports, own: Option<&[Member]>, protocol: Option<u8>) -> (Vec<Atom>, Box<[SetId]>) {
    let Ports { ranges, named } = ports;
    let mut atoms: Vec<Atom> = ranges.iter().map(|range| Atom::Ports(*range)).collect();
    let Some(own) = own else { return (atoms, named.clone()) };
    for member in own {
        if let Member::Port { set, protocol: of, port } = member
            && named.contains(set)
            && Some(*of) == protocol
        {
            atoms.push(Atom::Ports(PortRange { first: *port, last: *port }));
        }
    }
    (atoms, [].into())
}

/// The atoms that a policy's rules name, with their protocols; for [`crate::l4::L4::add`].
pub fn atoms_of(policy: &Policy) -> impl Iterator<Item = (u8, Atom)> {
    policy.ingress.iter().chain(&policy.egress).flat_map(|rule| {
        let protocol = rule.protocol;
        let ports = [&rule.destination.ports, &rule.destination.not_ports];
        let ports = ports.into_iter().flat_map(|ports| ports.ranges.iter().map(|range| Atom::Ports(*range)));
        let icmp = [rule.icmp, rule.not_icmp].into_iter().flatten();
        let icmp = icmp.map(|IcmpMatch { icmp_type, code }| Atom::Icmp(IcmpMatch { icmp_type, code }));
        ports.chain(icmp).filter_map(move |atom| protocol.map(|protocol| (protocol, atom)))
    })
}
