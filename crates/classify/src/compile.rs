//! A stack as one list: tiers, policies and profiles laid end to end, with what speaks of the
//! endpoint's own side already decided.
//!
//! What is left of each rule is a condition on the other side's memberships and on layer 4.
//! The next hop is `row`, which asks the list for one class.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::policy::{Action, Direction};
use tortie_dataplane::flat::{Levels, RuleRef};
use tortie_dataplane::policy::{
    Family, IcmpMatch, Member, Policy, PolicyId, PortRange, Ports, Rule, Side, Stack, TierEnd,
};

use crate::l4::{Atom, Sample};

/// What an item of the list does with a packet that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Allow it.
    Allow,
    /// Deny it.
    Deny,
    /// Count and log it, then go on with the next item.
    Log,
    /// Count it, then go on at this item.
    Skip(u32),
}

/// A rule's condition on layer 4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer4 {
    protocol: Option<u8>,
    not_protocol: Option<u8>,
    /// Any of these; empty for all. Ports or an ICMP match.
    any: Box<[Atom]>,
    /// ... or, where there is a named port, any port that the address has in these sets.
    any_named: Box<[SetOfPorts]>,
    none: Box<[Atom]>,
    none_named: Box<[SetOfPorts]>,
    /// Whether `any` and `any_named` are a condition at all.
    restricted: bool,
}

/// A named port's set.
pub type SetOfPorts = tortie_dataplane::policy::SetId;

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
        let named = |sets: &[SetOfPorts]| {
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
}

impl Layer4 {
    /// The atoms that the condition names, with their protocol.
    pub fn atoms(&self) -> impl Iterator<Item = (u8, Atom)> {
        let protocol = self.protocol;
        self.any.iter().chain(&self.none).filter_map(move |atom| protocol.map(|protocol| (protocol, *atom)))
    }

    /// The named ports' sets that it names.
    pub fn named(&self) -> impl Iterator<Item = &SetOfPorts> {
        self.any_named.iter().chain(&self.none_named)
    }
}

/// One item of the list.
#[derive(Debug, Clone)]
pub struct Item {
    /// The rule that it stands for.
    pub rule: RuleRef,
    /// What it does.
    pub then: Then,
    /// The other side is in all of these.
    pub within: Box<[SetOfPorts]>,
    /// ... and in none of these.
    pub without: Box<[SetOfPorts]>,
    /// ... and the packet is so.
    pub layer4: Layer4,
}

/// A stack as one list, and indexes over it.
#[derive(Debug)]
pub struct Compiled {
    /// Whose packets.
    pub direction: Direction,
    /// Of which family.
    pub family: Family,
    /// In order; the last always decides.
    pub items: Vec<Item>,
    /// Items that ask for no membership, in order.
    universal: Vec<u32>,
    /// Items by one of the sets that they ask for.
    by_set: FxHashMap<SetOfPorts, Vec<u32>>,
    /// Every set that an item names: a class in none of them is judged like one in no set at all.
    pub sets: FxHashSet<SetOfPorts>,
    /// Every protocol that an item names.
    pub protocols: Vec<u8>,
    /// Whether an item asks for a named port of the other side.
    pub names_ports: bool,
}

impl Compiled {
    /// Lays a stack's policies end to end.
    ///
    /// `own` are the memberships of the endpoint's own address; a policy that isn't known denies
    /// all, because nothing may be allowed by a rule that was lost.
    pub fn new(
        stack: &Stack,
        direction: Direction,
        family: Family,
        own: &[Member],
        policies: &FxHashMap<PolicyId, Arc<Policy>>,
    ) -> Self {
        let mut items = Vec::new();
        let Stack { tiers, profiles } = stack;
        for tier in tiers {
            let first = items.len();
            for id in &tier.policies {
                push_policy(&mut items, *id, direction, family, own, policies);
            }
            if let Some(policy) = tier.policies.first() {
                let rule = RuleRef::TierEnd { policy: *policy, direction };
                let then = match tier.end {
                    TierEnd::Deny => Then::Deny,
                    // Falls through to the next item, which is the next tier's first.
                    TierEnd::Pass => Then::Skip(position(items.len() + 1)),
                };
                items.push(Item {
                    rule,
                    then,
                    within: [].into(),
                    without: [].into(),
                    layer4: Layer4::default(),
                });
            }
            let next = position(items.len());
            for item in items.iter_mut().skip(first) {
                if let Then::Skip(to) = &mut item.then {
                    *to = next;
                }
            }
        }
        for id in profiles {
            let first = items.len();
            push_policy(&mut items, *id, direction, family, own, policies);
            let next = position(items.len());
            for item in items.iter_mut().skip(first) {
                // There is no tier after the profiles: a Pass rule there passes on to the next profile.
                if let Then::Skip(to) = &mut item.then {
                    *to = next;
                }
            }
        }
        items.push(Item {
            rule: RuleRef::NoProfile { direction },
            then: Then::Deny,
            within: [].into(),
            without: [].into(),
            layer4: Layer4::default(),
        });
        Self::index(direction, family, items)
    }

    fn index(direction: Direction, family: Family, items: Vec<Item>) -> Self {
        let mut compiled = Self {
            direction,
            family,
            items: Vec::new(),
            universal: Vec::new(),
            by_set: FxHashMap::default(),
            sets: FxHashSet::default(),
            protocols: Vec::new(),
            names_ports: items.iter().any(|item| item.layer4.named().next().is_some()),
        };
        for (at, item) in items.iter().enumerate() {
            let at = position(at);
            let Layer4 { protocol, not_protocol, any_named, none_named, .. } = &item.layer4;
            compiled.sets.extend(item.within.iter().chain(&item.without).chain(any_named).chain(none_named));
            compiled.protocols.extend(protocol.iter().chain(not_protocol));
            match item.within.first() {
                Some(set) => compiled.by_set.entry(*set).or_default().push(at),
                None => compiled.universal.push(at),
            }
        }
        compiled.protocols.sort_unstable();
        compiled.protocols.dedup();
        compiled.items = items;
        compiled
    }

    /// The items that a packet of a class can match, in order. Layer 4 isn't looked at.
    pub fn candidates(&self, members: &[Member]) -> Vec<u32> {
        let is_in = |set: &SetOfPorts| members.binary_search(&Member::Of(*set)).is_ok();
        let mut found: Vec<u32> = Vec::with_capacity(self.universal.len() + 8);
        let fits = |at: &u32| {
            let item = &self.items[*at as usize];
            item.within.iter().all(is_in) && !item.without.iter().any(is_in)
        };
        found.extend(self.universal.iter().filter(|at| fits(at)));
        for member in members {
            if let Member::Of(set) = member
                && let Some(items) = self.by_set.get(set)
            {
                found.extend(items.iter().filter(|at| fits(at)));
            }
        }
        found.sort_unstable();
        found
    }

    /// Whether a class with these memberships can be judged otherwise than one with none.
    pub fn touches(&self, members: &[Member]) -> bool {
        members.iter().any(|member| match member {
            Member::Of(set) | Member::Port { set, .. } => self.sets.contains(set),
        })
    }

    /// Whether membership only ever adds packets that are allowed, and none is cut out of what a shorter key allows:
    /// all ports but one, written down, are "the protocol: allow" and "that port: deny".
    pub fn is_monotone(&self) -> bool {
        self.items.iter().all(|item| {
            let Layer4 { protocol: _, not_protocol, any: _, any_named: _, none, none_named, restricted: _ } =
                &item.layer4;
            item.without.is_empty()
                && not_protocol.is_none()
                && none.is_empty()
                && none_named.is_empty()
                && match item.then {
                    Then::Allow => true,
                    Then::Deny => item.within.is_empty() && item.layer4 == Layer4::default(),
                    Then::Log | Then::Skip(_) => false,
                }
        })
    }

    /// The lookups that entries of this stack can need, whatever classes come; those of
    /// [`tortie_dataplane::flat::ClassId::ANY`] are left to the caller, who knows its entries.
    ///
    /// `base_is_none` says that entries are what differs from the row of an address in no set.
    pub fn levels(&self, base_is_none: bool) -> Levels {
        let names_set = |item: &Item| {
            !item.within.is_empty()
                || !item.without.is_empty()
                || !item.layer4.any_named.is_empty()
                || !item.layer4.none_named.is_empty()
        };
        let has_atoms = |item: &Item| {
            let Layer4 { any, any_named, none, none_named, .. } = &item.layer4;
            !(any.is_empty() && any_named.is_empty() && none.is_empty() && none_named.is_empty())
        };
        let by_protocol = |item: &Item| {
            item.layer4.not_protocol.is_some() || item.layer4.protocol.is_some() && !item.layer4.restricted
        };
        let class_any =
            self.items.iter().any(|item| names_set(item) && item.layer4.protocol.is_none()) || !base_is_none;
        let class_protocol =
            self.items.iter().any(|item| by_protocol(item) && (names_set(item) || class_any));
        let class_l4 =
            self.items.iter().any(|item| has_atoms(item) && (names_set(item) || class_any || class_protocol));
        Levels {
            class_l4,
            class_protocol,
            class_any,
            any_l4: false,
            any_protocol: false,
            allow: self.items.iter().any(|item| item.then == Then::Allow),
            deny: !(base_is_none && self.is_monotone()),
            log: self.items.iter().any(|item| item.then == Then::Log),
        }
    }
}

/// A place in the list. A stack holds at most some ten million rules, so it always fits.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The sets that a stack's rules name on the endpoint's own side.
pub fn own_sets(
    stack: &Stack,
    direction: Direction,
    policies: &FxHashMap<PolicyId, Arc<Policy>>,
) -> FxHashSet<SetOfPorts> {
    let mut sets = FxHashSet::default();
    let ids = stack.tiers.iter().flat_map(|tier| &tier.policies).chain(&stack.profiles);
    for policy in ids.filter_map(|id| policies.get(id)) {
        for rule in rules_of(policy, direction) {
            let Side { within, without, ports, not_ports } = sides(rule, direction).0;
            sets.extend(within.iter().chain(without).chain(&ports.named).chain(&not_ports.named));
        }
    }
    sets
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

fn push_policy(
    items: &mut Vec<Item>,
    id: PolicyId,
    direction: Direction,
    family: Family,
    own: &[Member],
    policies: &FxHashMap<PolicyId, Arc<Policy>>,
) {
    let Some(policy) = policies.get(&id) else {
        let rule = RuleRef::Rule { policy: id, direction, index: 0 };
        items.push(Item {
            rule,
            then: Then::Deny,
            within: [].into(),
            without: [].into(),
            layer4: Layer4::default(),
        });
        return;
    };
    items
        .extend(rules_of(policy, direction).iter().filter_map(|rule| item(rule, id, direction, family, own)));
}

/// A rule without its own side, or nothing if the own side, or the family, never matches.
fn item(rule: &Rule, policy: PolicyId, direction: Direction, of: Family, own: &[Member]) -> Option<Item> {
    let Rule { index, action, family, protocol, not_protocol, icmp, not_icmp, source, destination } = rule;
    let reference = RuleRef::Rule { policy, direction, index: *index };
    if !source.ports.is_empty() || !source.not_ports.is_empty() {
        // `calc` replaces such a policy by one that denies; should one come all the same, it denies here.
        return Some(Item {
            rule: reference,
            then: Then::Deny,
            within: [].into(),
            without: [].into(),
            layer4: Layer4::default(),
        });
    }
    let (own_side, other_side) = sides(rule, direction);
    let is_in = |set: &SetOfPorts| own.binary_search(&Member::Of(*set)).is_ok();
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
            Action::Pass => Then::Skip(0),
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
fn ports(ports: &Ports, own: Option<&[Member]>, protocol: Option<u8>) -> (Vec<Atom>, Box<[SetOfPorts]>) {
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
