//! A stack in use becomes another in place: writes only the verdicts that differ.
//!
//! A packet sees no snapshot: it may look for its first keys before the change and for the rest after it. So a change
//! is made in place only if such a packet, too, meets the outcome of before or of after:
//!
//! - Changes are one transaction. A packet goes from narrow keys to wide ones ([`level`]) and takes the first
//!   hit; what it has passed it doesn't see again. What it could get wrong is: to miss a narrow key because that comes
//!   only after it looked, and then to find a wide one that is changed, or not to find one that has gone
//!   ([`lets_slip`]).
//! - A packet may have looked its class up before that was changed in the same commit. Under the new verdicts its old
//!   class must lead to the outcome of before or of after, too ([`Moves::mislead`]).
//! - A rule that logs is another map in the driver: such verdicts don't change places in place.
//!
//! Where one of these doesn't hold, or where it isn't worth it, the stack gets a new number and all its entries are
//! written anew beside the old ones, as for a stack that never was.

use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};
use tortie_dataplane::flat::{
    ClassId, EntryKey, L4ClassId, L4Key, Levels, Op, Outcome, StackChain, StackId, Verdict,
};

use crate::classes::Classes;
use crate::compile::Effect;
use crate::l4::{L4, L4Change};
use crate::paths::Paths;
use crate::row::Row;
use crate::stacks::Live;
use crate::table::{Entries, Table, found};

/// A stack with more changes than this, and than half its entries, is written anew.
const FEW: usize = 256;
/// A change with more pairs of keys to compare than this isn't made in place.
const PAIRS: usize = 100_000;

/// What addresses and ports left for what in this commit, as packets meet it.
#[derive(Debug, Default)]
pub struct Moves {
    /// Classes, [`ClassId::NONE`] included.
    pub classes: FxHashSet<(ClassId, ClassId)>,
    /// L4 classes; from the protocol where there was none.
    ports: FxHashSet<(L4Key, L4Key)>,
}

impl Moves {
    /// The moves of ports.
    pub fn of_ports(change: &L4Change) -> Self {
        let L4Change { set, removed: _, split } = change;
        let cut: FxHashMap<L4ClassId, L4ClassId> = split.iter().copied().collect();
        let ports = set.iter().map(|(_, class)| {
            let before = cut.get(class).map_or(L4Key::Protocol(class.protocol), |old| L4Key::Class(*old));
            (before, L4Key::Class(*class))
        });
        Self { classes: FxHashSet::default(), ports: ports.collect() }
    }

    /// Whether a packet that looked its class or port up before they were changed could meet an outcome that is
    /// neither that of before nor that of after.
    fn mislead(&self, before: &Table, after: &Becomes, changed: &Changes) -> bool {
        let of_all =
            changed.contains_key(&ClassId::ANY) || before.base.any.outcome != after.default().outcome;
        let touched = |class: &ClassId| of_all || changed.contains_key(class);
        let mut classes: Vec<(ClassId, ClassId)> =
            self.classes.iter().filter(|(from, _)| touched(from)).copied().collect();
        let mut keys: Vec<L4Key> = changed.values().flatten().map(|change| change.l4).collect();
        keys.push(L4Key::Any);
        if !self.ports.is_empty() {
            keys.extend(self.ports.iter().flat_map(|(from, to)| [*from, *to]));
            classes.extend(changed.keys().map(|class| (*class, *class)));
            classes.push((ClassId::NONE, ClassId::NONE));
        }
        for (_, to) in &classes {
            keys.extend(after.entries(before, *to).iter().map(|(l4, _)| *l4));
        }
        keys.sort_unstable();
        keys.dedup();
        let ports: Vec<(L4Key, L4Key)> =
            keys.into_iter().map(|l4| (l4, l4)).chain(self.ports.iter().copied()).collect();
        if classes.len() * ports.len() > PAIRS {
            return true;
        }
        classes.iter().any(|(class, to)| {
            ports.iter().any(|(l4, as_l4)| {
                let was = before.outcome(*class, *l4);
                was == after.outcome(before, *to, *as_l4) && was != after.outcome(before, *class, *l4)
            })
        })
    }
}

/// What differs, by class.
type Changes = BTreeMap<ClassId, Vec<Change>>;

/// One key whose verdict is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    /// The lookup that finds the key: packets ask in this order.
    level: u8,
    l4: L4Key,
    before: Option<Verdict>,
    after: Option<Verdict>,
}

impl Change {
    fn outcomes(&self) -> (Option<Outcome>, Option<Outcome>) {
        (self.before.map(|verdict| verdict.outcome), self.after.map(|verdict| verdict.outcome))
    }

    /// Whether a packet can ask for both keys, if it can ask for both classes.
    fn meets(&self, other: &Self) -> bool {
        match (self.l4, other.l4) {
            (L4Key::Any, _) | (_, L4Key::Any) => true,
            (L4Key::Class(one), L4Key::Class(other)) => one == other,
            (L4Key::Protocol(one), L4Key::Protocol(other)) => one == other,
            (L4Key::Class(class), L4Key::Protocol(protocol))
            | (L4Key::Protocol(protocol), L4Key::Class(class)) => class.protocol == protocol,
        }
    }
}

const fn level(class: ClassId, l4: L4Key) -> u8 {
    let of_any = if class.0 == ClassId::ANY.0 { 3 } else { 0 };
    of_any
        + match l4 {
            L4Key::Class(_) => 0,
            L4Key::Protocol(_) => 1,
            L4Key::Any => 2,
        }
}

/// Whether a packet that misses `narrow`, which comes, can then meet with `wide` an outcome that is neither that of
/// before nor that of after.
fn lets_slip(narrow: &Change, wide: &Change) -> bool {
    let ((None, Some(wanted)), true) = (narrow.outcomes(), narrow.meets(wide)) else { return false };
    match wide.outcomes() {
        (before, Some(after)) => after != wanted && before != Some(after),
        (before, None) => before == Some(wanted),
    }
}

/// Whether any two of the changes do.
fn slips(changed: &Changes, of_default: &Change) -> bool {
    let of_any: Vec<&Change> = changed.get(&ClassId::ANY).into_iter().flatten().chain([of_default]).collect();
    let mut pairs = 0;
    changed.iter().any(|(class, changes)| {
        let narrow = changes.iter().filter(|change| change.before.is_none());
        narrow.into_iter().any(|narrow| {
            let here = changes.iter().filter(|wide| wide.level > narrow.level);
            let there =
                of_any.iter().copied().filter(|wide| *class != ClassId::ANY || wide.level > narrow.level);
            pairs += changes.len() + of_any.len();
            pairs > PAIRS || here.chain(there).any(|wide| lets_slip(narrow, wide))
        })
    })
}

/// What the verdicts become.
enum Becomes {
    /// The same but for these classes, and the default.
    Partly(Row, BTreeMap<ClassId, Entries>),
    /// These.
    Wholly(Table),
}

impl Becomes {
    fn default(&self) -> Verdict {
        match self {
            Self::Partly(base, _) => base.any,
            Self::Wholly(table) => table.base.any,
        }
    }

    /// A class's entries.
    fn entries<'a>(&'a self, before: &'a Table, class: ClassId) -> &'a [(L4Key, Verdict)] {
        match self {
            Self::Partly(_, entries) => {
                entries.get(&class).map_or_else(|| before.entries(class), Vec::as_slice)
            }
            Self::Wholly(table) => table.entries(class),
        }
    }

    fn outcome(&self, before: &Table, class: ClassId, l4: L4Key) -> Outcome {
        let of = |class| found(self.entries(before, class), l4);
        of(class).or_else(|| of(ClassId::ANY)).unwrap_or(self.default()).outcome
    }
}

/// What a driver does to follow.
#[derive(Debug, Default)]
pub struct Edit {
    /// Entries that come, where none was. In any order, and in parts, if they come before the rest.
    pub new: Vec<Op>,
    /// What is changed or goes: at once.
    pub other: Vec<Op>,
}

impl Edit {
    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.new.len() + self.other.len()
    }

    /// Takes in another stack's.
    pub fn append(&mut self, mut edit: Self) {
        self.new.append(&mut edit.new);
        self.other.append(&mut edit.other);
    }
}

/// What an edit sees.
pub struct Around<'a> {
    /// Classes as they are after the commit.
    pub classes: &'a Classes,
    /// L4 classes as they are after the commit.
    pub l4: &'a L4,
    /// How they came to that.
    pub moves: &'a Moves,
}

impl Live {
    /// Brings the verdicts to what the list says after `effect`. Gives at most `allowed` changes, or `None` if they
    /// can't be made in place: nothing is changed then.
    pub fn edit(
        &mut self,
        id: StackId,
        effect: &Effect,
        around: &Around<'_>,
        paths: &mut Paths,
        allowed: usize,
    ) -> Option<Edit> {
        let becomes = self.becomes(effect, around, paths);
        let changed = self.changed(&becomes);
        let count: usize = changed.values().map(Vec::len).sum();
        if count > allowed || count > FEW.max(self.len() / 2) {
            return None;
        }
        let default = becomes.default();
        let of_default = Change {
            level: level(ClassId::ANY, L4Key::Any),
            l4: L4Key::Any,
            before: Some(self.chain.default),
            after: Some(default),
        };
        let logs = |verdict: Verdict| paths.get(verdict.path).is_some_and(|path| !path.logged.is_empty());
        let turns_log = |change: &Change| {
            let (Some(before), Some(after)) = (change.before, change.after) else { return false };
            before.outcome == after.outcome && logs(before) != logs(after)
        };
        if changed.values().flatten().chain([&of_default]).any(turns_log) || slips(&changed, &of_default) {
            return None;
        }
        let levels = match &becomes {
            Becomes::Partly(..) => Levels {
                any_l4: self.chain.levels.any_l4,
                any_protocol: self.chain.levels.any_protocol,
                ..self.compiled.census.levels(true)
            },
            Becomes::Wholly(table) => table.levels(&self.compiled),
        };
        let levels = union(self.chain.levels, levels);
        let removes = changed.values().flatten().any(|change| change.after.is_none());
        // A packet that is in the old chain doesn't ask for what only the new one asks for, and asks for the default where
        // it was.
        let new_chain = levels != self.chain.levels || default.outcome != self.chain.default.outcome;
        if new_chain && removes || around.moves.mislead(&self.table, &becomes, &changed) {
            return None;
        }
        let chain = StackChain { levels, default, ..self.chain.clone() };
        Some(self.write(id, becomes, &changed, chain, paths))
    }

    /// Works out the new verdicts, as few of them as the effect allows.
    fn becomes(&self, effect: &Effect, around: &Around<'_>, paths: &mut Paths) -> Becomes {
        let Around { classes, l4, moves: _ } = around;
        let Effect { sets, all, renamed, went: _, came: _, named: _, unnamed: _ } = effect;
        let Table { base: old, every_class, entries: _, ends_tiers } = &self.table;
        let base = Row::new(&self.compiled, &[], l4, paths);
        let same_base = base.protocols == old.protocols
            && base.l4 == old.l4
            && (base.any == old.any || *renamed && base.any.outcome == old.any.outcome);
        if *every_class || *all || *renamed && *ends_tiers || !same_base {
            return Becomes::Wholly(Table::new(&self.compiled, classes, l4, paths));
        }
        let touched: BTreeSet<ClassId> = sets.iter().flat_map(|set| classes.within(*set)).collect();
        let touched = touched.into_iter().filter_map(|id| classes.get(id).map(|class| (id, class)));
        let of_family = touched.filter(|(_, class)| class.family == self.compiled.family);
        let entries = of_family
            .map(|(id, class)| (id, Row::new(&self.compiled, &class.members, l4, paths).beside(&base)))
            .collect();
        Becomes::Partly(base, entries)
    }

    fn changed(&self, becomes: &Becomes) -> Changes {
        let of = |class: ClassId, new: &Entries| (class, differences(class, self.table.entries(class), new));
        let changed: Changes = match becomes {
            Becomes::Partly(_, entries) => entries.iter().map(|(class, new)| of(*class, new)).collect(),
            Becomes::Wholly(table) => {
                let gone = self.table.entries.keys().filter(|class| !table.entries.contains_key(class));
                let gone = gone.map(|class| of(*class, &Entries::new()));
                gone.chain(table.entries.iter().map(|(class, new)| of(*class, new))).collect()
            }
        };
        changed.into_iter().filter(|(_, changes)| !changes.is_empty()).collect()
    }

    /// Puts the new verdicts in place, and says how a driver follows.
    fn write(
        &mut self,
        id: StackId,
        becomes: Becomes,
        changed: &Changes,
        chain: StackChain,
        paths: &mut Paths,
    ) -> Edit {
        let mut edit = Edit::default();
        paths.hold(chain.default.path);
        paths.drop_one(self.chain.default.path);
        if chain != self.chain {
            edit.other.push(Op::AddStack(id, chain.clone()));
            self.chain = chain;
        }
        match becomes {
            Becomes::Wholly(table) => {
                self.table = table;
                self.table.look_for_ends(paths);
            }
            Becomes::Partly(base, entries) => {
                self.table.base = base;
                for (class, new) in entries {
                    if new.is_empty() {
                        self.table.entries.remove(&class);
                    } else if changed.contains_key(&class) {
                        self.table.entries.insert(class, new);
                    }
                }
            }
        }
        for (class, changes) in changed {
            for Change { level: _, l4, before, after } in changes {
                let key = EntryKey { stack: id, class: *class, l4: *l4 };
                match after {
                    Some(verdict) => {
                        self.table.hold_entry(*verdict, paths);
                        let ops = if before.is_none() { &mut edit.new } else { &mut edit.other };
                        ops.push(Op::AddEntry(key, *verdict));
                    }
                    None => edit.other.push(Op::RemoveEntry(key)),
                }
                if let Some(verdict) = before {
                    paths.drop_one(verdict.path);
                }
            }
        }
        edit
    }
}

/// What is looked up by either.
fn union(one: Levels, other: Levels) -> Levels {
    let Levels { class_l4, class_protocol, class_any, any_l4, any_protocol, allow, deny, log } = other;
    Levels {
        class_l4: one.class_l4 || class_l4,
        class_protocol: one.class_protocol || class_protocol,
        class_any: one.class_any || class_any,
        any_l4: one.any_l4 || any_l4,
        any_protocol: one.any_protocol || any_protocol,
        allow: one.allow || allow,
        deny: one.deny || deny,
        log: one.log || log,
    }
}

/// How one class's entries become others.
fn differences(class: ClassId, old: &[(L4Key, Verdict)], new: &[(L4Key, Verdict)]) -> Vec<Change> {
    let sorted = |entries: &[(L4Key, Verdict)]| {
        let mut entries = entries.to_vec();
        entries.sort_unstable_by_key(|(l4, _)| *l4);
        entries
    };
    let (old, new) = (sorted(old), sorted(new));
    let at = |entries: &[(L4Key, Verdict)], key: L4Key| {
        entries.binary_search_by_key(&key, |(l4, _)| *l4).ok().map(|place| entries[place].1)
    };
    let change = |l4: L4Key, before, after| Change { level: level(class, l4), l4, before, after };
    let gone = old.iter().filter(|(l4, _)| at(&new, *l4).is_none());
    let gone = gone.map(|(l4, verdict)| change(*l4, Some(*verdict), None));
    let come = new.iter().map(|(l4, verdict)| change(*l4, at(&old, *l4), Some(*verdict)));
    gone.chain(come.filter(|change| change.before != change.after)).collect()
}
