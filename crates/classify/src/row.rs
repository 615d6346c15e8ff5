//! The verdicts of one class under one stack, for every protocol and port.

use rustc_hash::FxHashMap;
use tortie_dataplane::flat::{L4ClassId, L4Key, Outcome, Path, RuleRef, Verdict};
use tortie_dataplane::policy::{Member, PortRange};

use crate::compile::{Compiled, Place};
use crate::item::{Item, Then};
use crate::l4::{Atom, L4, Sample};
use crate::paths::Paths;

/// A row in its shortest form: two rows are equal exactly if they judge every packet alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// Protocols that no rule names.
    pub any: Verdict,
    /// Protocols whose verdict differs from `any`, in order.
    pub protocols: Box<[(u8, Verdict)]>,
    /// L4 classes whose verdict differs from their protocol's, in order.
    pub l4: Box<[(L4ClassId, Verdict)]>,
}

impl Row {
    /// Asks a stack for a class with these memberships.
    pub fn new(stack: &Compiled, members: &[Member], l4: &L4, paths: &mut Paths) -> Self {
        Self::of(stack, &stack.candidates(members), members, l4, paths)
    }

    fn of(
        stack: &Compiled,
        candidates: &[(Place, &Item)],
        members: &[Member],
        l4: &L4,
        paths: &mut Paths,
    ) -> Self {
        let mut judge = |sample| {
            let (outcome, path) = walk(stack, candidates, sample, members);
            Verdict { outcome, path: paths.intern(path) }
        };
        let any = judge(Sample::Other);
        let mut protocols: Vec<(u8, Verdict)> =
            stack.census.protocols().map(|protocol| (protocol, judge(Sample::Protocol(protocol)))).collect();
        let by_class = relevant(candidates, members, l4)
            .into_iter()
            .filter_map(|class| l4.sample(class).map(|sample| (class, judge(sample))))
            .filter(|(class, found)| value(&protocols, class.protocol).unwrap_or(any) != *found)
            .collect();
        protocols.retain(|(_, found)| *found != any);
        Self { any, protocols: protocols.into(), l4: by_class }
    }

    /// The verdict of a protocol of which nothing more is known.
    fn protocol(&self, protocol: u8) -> Verdict {
        value(&self.protocols, protocol).unwrap_or(self.any)
    }

    fn class(&self, class: L4ClassId) -> Verdict {
        value(&self.l4, class).unwrap_or_else(|| self.protocol(class.protocol))
    }

    /// What must be written down for a class with this row where `base` answers for all others.
    /// See the order of lookups in [`tortie_dataplane::flat`].
    pub fn beside(&self, base: &Self) -> Vec<(L4Key, Verdict)> {
        if self.any != base.any {
            // Hides everything of the base: the whole row is written.
            return [(L4Key::Any, self.any)].into_iter().chain(self.narrow()).collect();
        }
        let mut entries = Vec::with_capacity(self.protocols.len() + self.l4.len());
        let mut hidden = Vec::new();
        for protocol in keys_of_both(&self.protocols, &base.protocols) {
            if self.protocol(protocol) != base.protocol(protocol) {
                entries.push((L4Key::Protocol(protocol), self.protocol(protocol)));
                hidden.push(protocol);
            }
        }
        for class in keys_of_both(&self.l4, &base.l4) {
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
        self.narrow().collect()
    }

    /// All but `any`.
    fn narrow(&self) -> impl Iterator<Item = (L4Key, Verdict)> {
        let protocols = self.protocols.iter().map(|(protocol, found)| (L4Key::Protocol(*protocol), *found));
        protocols.chain(self.l4.iter().map(|(class, found)| (L4Key::Class(*class), *found)))
    }

    /// A class was cut out of an older one: what held for that holds for it.
    pub fn split(&mut self, new: L4ClassId, old: L4ClassId) {
        if let Some(verdict) = value(&self.l4, old) {
            let mut l4 = std::mem::take(&mut self.l4).into_vec();
            match l4.binary_search_by_key(&new, |(class, _)| *class) {
                Ok(place) => l4[place].1 = verdict,
                Err(place) => l4.insert(place, (new, verdict)),
            }
            self.l4 = l4.into();
        }
    }
}

/// What a sorted list says of a key.
fn value<K: Ord + Copy>(list: &[(K, Verdict)], key: K) -> Option<Verdict> {
    list.binary_search_by_key(&key, |(key, _)| *key).ok().map(|place| list[place].1)
}

/// The keys of two sorted lists, in order, each once.
fn keys_of_both<K: Ord + Copy>(one: &[(K, Verdict)], other: &[(K, Verdict)]) -> Vec<K> {
    let mut keys: Vec<K> = one.iter().chain(other).map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Makes the rows of many classes under one stack, each different one only once.
pub struct RowMaker<'a> {
    stack: &'a Compiled,
    l4: &'a L4,
    paths: &'a mut Paths,
    rows: Vec<Row>,
    made: FxHashMap<Box<[Place]>, usize>,
    /// Of the class that was asked for last.
    places: Vec<Place>,
}

impl<'a> RowMaker<'a> {
    /// For one stack.
    pub fn new(stack: &'a Compiled, l4: &'a L4, paths: &'a mut Paths) -> Self {
        Self { stack, l4, paths, rows: Vec::new(), made: FxHashMap::default(), places: Vec::new() }
    }

    /// The row of a class with these memberships, by its place among all [rows](Self::rows). Classes that can match the
    /// same items have the same row, unless an item asks for a named port: its number depends on the class.
    pub fn row(&mut self, members: &[Member]) -> usize {
        let candidates = self.stack.candidates(members);
        if self.stack.census.names_ports() {
            return self.make(&candidates, members);
        }
        self.places.clear();
        self.places.extend(candidates.iter().map(|(place, _)| *place));
        if let Some(known) = self.made.get(self.places.as_slice()) {
            return *known;
        }
        let row = self.make(&candidates, members);
        self.made.insert(self.places.as_slice().into(), row);
        row
    }

    fn make(&mut self, candidates: &[(Place, &Item)], members: &[Member]) -> usize {
        self.rows.push(Row::of(self.stack, candidates, members, self.l4, self.paths));
        self.rows.len() - 1
    }

    /// All that were made.
    pub fn rows(self) -> Vec<Row> {
        self.rows
    }
}

/// The L4 classes that any of the items can tell from the rest of their protocol, in order.
fn relevant(candidates: &[(Place, &Item)], members: &[Member], l4: &L4) -> Vec<L4ClassId> {
    let mut classes = Vec::new();
    for (_, item) in candidates {
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
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Goes down the list as a packet would.
fn walk(
    stack: &Compiled,
    candidates: &[(Place, &Item)],
    sample: Sample,
    members: &[Member],
) -> (Outcome, Path) {
    let mut passed = Vec::new();
    let mut logged = Vec::new();
    let mut from = None;
    let mut end = (Outcome::Deny, RuleRef::NoProfile { direction: stack.direction });
    for (at, item) in candidates {
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
