//! The verdicts of one class under one stack, for every protocol and port.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use tortie_dataplane::flat::{L4ClassId, L4Key, Outcome, Path, RuleRef, Verdict};
use tortie_dataplane::policy::{Member, PortRange};

use crate::compile::{Compiled, Place};
use crate::item::Then;
use crate::l4::{Atom, L4, Sample};
use crate::paths::Paths;

/// A row in its shortest form: two rows are equal exactly if they judge every packet alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// Protocols that no rule names.
    pub any: Verdict,
    /// Protocols whose verdict differs from `any`.
    pub protocols: BTreeMap<u8, Verdict>,
    /// L4 classes whose verdict differs from their protocol's.
    pub l4: BTreeMap<L4ClassId, Verdict>,
}

impl Row {
    /// Asks a stack for a class with these memberships.
    pub fn new(stack: &Compiled, members: &[Member], l4: &L4, paths: &mut Paths) -> Self {
        Self::of(stack, &stack.candidates(members), members, l4, paths)
    }

    fn of(stack: &Compiled, candidates: &[Place], members: &[Member], l4: &L4, paths: &mut Paths) -> Self {
        let mut judge = |sample| {
            let (outcome, path) = walk(stack, candidates, sample, members);
            Verdict { outcome, path: paths.intern(path) }
        };
        let any = judge(Sample::Other);
        let mut protocols: BTreeMap<u8, Verdict> =
            stack.census.protocols().map(|protocol| (protocol, judge(Sample::Protocol(protocol)))).collect();
        let mut by_class: BTreeMap<L4ClassId, Verdict> = relevant(stack, candidates, members, l4)
            .into_iter()
            .filter_map(|class| l4.sample(class).map(|sample| (class, judge(sample))))
            .collect();
        by_class.retain(|class, found| protocols.get(&class.protocol).unwrap_or(&any) != found);
        protocols.retain(|_, found| *found != any);
        Self { any, protocols, l4: by_class }
    }

    /// The verdict of a protocol of which nothing more is known.
    fn protocol(&self, protocol: u8) -> Verdict {
        self.protocols.get(&protocol).copied().unwrap_or(self.any)
    }

    fn class(&self, class: L4ClassId) -> Verdict {
        self.l4.get(&class).copied().unwrap_or_else(|| self.protocol(class.protocol))
    }

    /// What must be written down for a class with this row where `base` answers for all others.
    /// See the order of lookups in [`tortie_dataplane::flat`].
    pub fn beside(&self, base: &Self) -> Vec<(L4Key, Verdict)> {
        let mut entries = Vec::new();
        if self.any != base.any {
            // Hides everything of the base: the whole row is written.
            entries.push((L4Key::Any, self.any));
            entries
                .extend(self.protocols.iter().map(|(protocol, found)| (L4Key::Protocol(*protocol), *found)));
            entries.extend(self.l4.iter().map(|(class, found)| (L4Key::Class(*class), *found)));
            return entries;
        }
        let protocols: BTreeSet<u8> = self.protocols.keys().chain(base.protocols.keys()).copied().collect();
        let mut hidden = BTreeSet::new();
        for protocol in protocols {
            if self.protocol(protocol) != base.protocol(protocol) {
                entries.push((L4Key::Protocol(protocol), self.protocol(protocol)));
                hidden.insert(protocol);
            }
        }
        let classes: BTreeSet<L4ClassId> = self.l4.keys().chain(base.l4.keys()).copied().collect();
        for class in classes {
            let instead = if hidden.contains(&class.protocol) {
                self.protocol(class.protocol)
            } else {
                base.class(class)
            };
            if self.class(class) != instead {
                entries.push((L4Key::Class(class), self.class(class)));
            }
        }
        entries
    }

    /// What must be written down for the base itself, beside the stack's default.
    pub fn as_base(&self) -> Vec<(L4Key, Verdict)> {
        let protocols = self.protocols.iter().map(|(protocol, found)| (L4Key::Protocol(*protocol), *found));
        protocols.chain(self.l4.iter().map(|(class, found)| (L4Key::Class(*class), *found))).collect()
    }

    /// A class was cut out of an older one: what held for that holds for it.
    pub fn split(&mut self, new: L4ClassId, old: L4ClassId) {
        if let Some(verdict) = self.l4.get(&old).copied() {
            self.l4.insert(new, verdict);
        }
    }
}

/// Makes the rows of many classes under one stack, each different one only once.
pub struct RowMaker<'a> {
    stack: &'a Compiled,
    l4: &'a L4,
    paths: &'a mut Paths,
    made: FxHashMap<Vec<Place>, Row>,
}

impl<'a> RowMaker<'a> {
    /// For one stack.
    pub fn new(stack: &'a Compiled, l4: &'a L4, paths: &'a mut Paths) -> Self {
        Self { stack, l4, paths, made: FxHashMap::default() }
    }

    /// The row of a class with these memberships. Classes that can match the same items have the
    /// same row, unless an item asks for a named port: its number depends on the class.
    pub fn row(&mut self, members: &[Member]) -> Row {
        let Self { stack, l4, paths, made } = self;
        let candidates = stack.candidates(members);
        if stack.census.names_ports() {
            return Row::of(stack, &candidates, members, l4, paths);
        }
        made.entry(candidates)
            .or_insert_with_key(|candidates| Row::of(stack, candidates, members, l4, paths))
            .clone()
    }
}

/// The L4 classes that any of the items can tell from the rest of their protocol.
fn relevant(stack: &Compiled, candidates: &[Place], members: &[Member], l4: &L4) -> BTreeSet<L4ClassId> {
    let mut classes = BTreeSet::new();
    for at in candidates {
        let Some(item) = stack.item(*at) else { continue };
        for (protocol, atom) in item.layer4.atoms() {
            classes.extend(l4.within(protocol, atom));
        }
        for set in item.layer4.named() {
            for member in members {
                if let Member::Port { set: of, protocol, port } = member
                    && of == set
                {
                    let atom = Atom::Ports(PortRange { first: *port, last: *port });
                    classes.extend(l4.within(*protocol, atom));
                }
            }
        }
    }
    classes
}

/// Goes down the list as a packet would.
fn walk(stack: &Compiled, candidates: &[Place], sample: Sample, members: &[Member]) -> (Outcome, Path) {
    let mut passed = Vec::new();
    let mut logged = Vec::new();
    let mut from = None;
    let mut end = (Outcome::Deny, RuleRef::NoProfile { direction: stack.direction });
    for at in candidates {
        let Some(item) = stack.item(*at) else { continue };
        if Some(*at) < from || !item.layer4.holds(sample, members) {
            continue;
        }
        match item.then {
            Then::Allow => {
                end = (Outcome::Allow, item.rule);
                break;
            }
            Then::Deny => {
                end = (Outcome::Deny, item.rule);
                break;
            }
            Then::Log => {
                passed.push(item.rule);
                logged.push(item.rule);
            }
            Then::GoOn => passed.push(item.rule),
            Then::PassTier => {
                passed.push(item.rule);
                from = Some(stack.behind_tier(*at));
            }
            Then::PassProfile => {
                passed.push(item.rule);
                from = Some(stack.behind_block(*at));
            }
        }
    }
    let (outcome, decided) = end;
    (outcome, Path { passed: passed.into(), logged: logged.into(), decided })
}
