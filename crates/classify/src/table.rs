//! A stack's verdicts as they are written down: the row that answers for most classes, and the entries of those that
//! differ.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use tortie_dataplane::flat::{ClassId, L4ClassId, L4Key, Levels, Outcome, Verdict};
use tortie_dataplane::policy::Member;

use crate::classes::Classes;
use crate::compile::Compiled;
use crate::l4::L4;
use crate::paths::Paths;
use crate::row::{Row, RowMaker};

/// One class's entries: few, in no order.
pub type Entries = Vec<(L4Key, Verdict)>;

/// The verdicts of a stack. Holds the paths that they lead to once [`Self::hold`] was called.
#[derive(Debug)]
pub struct Table {
    /// Answers for every class without entries; its own entries are those of [`ClassId::ANY`].
    pub base: Row,
    /// Whether the base isn't the row of an address in no set, so that every class is looked at.
    pub every_class: bool,
    /// The entries by class.
    pub entries: BTreeMap<ClassId, Entries>,
    /// Whether an end of a tier may be on the path of an entry, the default aside.
    pub ends_tiers: bool,
}

impl Table {
    /// Works out the verdicts for all classes there are.
    ///
    /// The base is the row of an address in no set, unless another row, common to many classes,
    /// more than halves the number of entries.
    pub fn new(compiled: &Compiled, classes: &Classes, l4: &L4, paths: &mut Paths) -> Self {
        let none = Row::new(compiled, &[], l4, paths);
        let touched: FxHashSet<ClassId> = compiled
            .census
            .sets()
            .flat_map(|set| classes.within(set))
            .filter(|id| classes.get(*id).is_some_and(|class| class.family == compiled.family))
            .collect();
        let mut maker = RowMaker::new(compiled, l4, paths);
        let of_classes: Vec<(ClassId, usize)> = touched
            .iter()
            .filter_map(|id| classes.get(*id).map(|class| (*id, maker.row(&class.members))))
            .collect();
        let rows = maker.rows();
        let others: Vec<ClassId> = classes
            .iter()
            .filter(|(id, class)| class.family == compiled.family && !touched.contains(id))
            .map(|(id, _)| id)
            .collect();
        let base = common_row(&none, of_classes.iter().map(|(_, row)| &rows[*row]), others.len() + 1);
        let every_class = base != none;
        let beside: Vec<Entries> = rows.iter().map(|row| row.beside(&base)).collect();
        let mut entries: BTreeMap<ClassId, Entries> = of_classes
            .into_iter()
            .filter(|(_, row)| !beside[*row].is_empty())
            .map(|(id, row)| (id, beside[row].clone()))
            .collect();
        if every_class {
            let of_none = none.beside(&base);
            entries.extend(others.into_iter().chain([ClassId::NONE]).map(|id| (id, of_none.clone())));
        }
        let of_base = base.as_base();
        if !of_base.is_empty() {
            entries.insert(ClassId::ANY, of_base);
        }
        Self { base, every_class, entries, ends_tiers: false }
    }

    /// What a class's memberships make of it beside the base.
    pub fn entries_for(
        &self,
        compiled: &Compiled,
        members: &[Member],
        l4: &L4,
        paths: &mut Paths,
    ) -> Entries {
        if !self.every_class && !compiled.touches(members) {
            return Entries::new();
        }
        Row::new(compiled, members, l4, paths).beside(&self.base)
    }

    /// The lookups that packets need.
    pub fn levels(&self, compiled: &Compiled) -> Levels {
        Levels {
            any_l4: !self.base.l4.is_empty(),
            any_protocol: !self.base.protocols.is_empty(),
            ..compiled.census.levels(!self.every_class)
        }
    }

    /// An L4 class was cut out of an older one: copies what is said of that. Gives what came.
    pub fn split(&mut self, new: L4ClassId, old: L4ClassId) -> Vec<(ClassId, Verdict)> {
        self.base.split(new, old);
        let mut copied = Vec::new();
        for (class, entries) in &mut self.entries {
            let of_old = entries.iter().find(|(l4, _)| *l4 == L4Key::Class(old)).map(|(_, verdict)| *verdict);
            if let Some(verdict) = of_old {
                entries.push((L4Key::Class(new), verdict));
                copied.push((*class, verdict));
            }
        }
        copied
    }

    /// What happens to a packet of a class and of what `l4` stands for.
    pub fn outcome(&self, class: ClassId, l4: L4Key) -> Outcome {
        let of = |class| found(self.entries(class), l4);
        of(class).or_else(|| of(ClassId::ANY)).unwrap_or(self.base.any).outcome
    }

    /// A class's entries.
    pub fn entries(&self, class: ClassId) -> &[(L4Key, Verdict)] {
        self.entries.get(&class).map_or(&[], Vec::as_slice)
    }

    /// All verdicts, the default too.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.entries.values().flatten().map(|(_, verdict)| *verdict).chain([self.base.any])
    }

    /// Holds the paths of all verdicts.
    pub fn hold(&mut self, paths: &mut Paths) {
        self.verdicts().for_each(|verdict| paths.hold(verdict.path));
        self.look_for_ends(paths);
    }

    /// Finds out whether an end of a tier is on the path of an entry.
    pub fn look_for_ends(&mut self, paths: &Paths) {
        let mut entries = self.entries.values().flatten();
        self.ends_tiers = entries.any(|(_, verdict)| paths.ends_tier(verdict.path));
    }

    /// One entry more, whose path is held.
    pub fn hold_entry(&mut self, verdict: Verdict, paths: &mut Paths) {
        paths.hold(verdict.path);
        self.ends_tiers |= paths.ends_tier(verdict.path);
    }

    /// Lets go of them.
    pub fn let_go(&self, paths: &mut Paths) {
        self.verdicts().for_each(|verdict| paths.drop_one(verdict.path));
    }
}

/// The first hit among one class's entries.
pub fn found(entries: &[(L4Key, Verdict)], l4: L4Key) -> Option<Verdict> {
    let at = |key: L4Key| entries.iter().find(|(of, _)| *of == key).map(|(_, verdict)| *verdict);
    let protocol = match l4 {
        L4Key::Class(class) => Some(class.protocol),
        L4Key::Protocol(protocol) => Some(protocol),
        L4Key::Any => None,
    };
    at(l4).or_else(|| protocol.and_then(|protocol| at(L4Key::Protocol(protocol)))).or_else(|| at(L4Key::Any))
}

/// The row that answers for most classes; `others` classes have the row of none.
fn common_row<'r>(none: &Row, rows: impl Iterator<Item = &'r Row>, others: usize) -> Row {
    let mut count = FxHashMap::<&Row, usize>::default();
    rows.for_each(|row| *count.entry(row).or_default() += 1);
    let same_as_none = count.remove(none).unwrap_or(0) + others;
    let cost = |base: &Row| {
        let of_rows: usize = count.iter().map(|(row, times)| row.beside(base).len() * times).sum();
        of_rows + none.beside(base).len() * same_as_none
    };
    // With few classes it isn't worth a second look, and a base of its own costs lookups.
    let Some((row, times)) = count.iter().max_by_key(|(row, times)| (**times, row.any)) else {
        return none.clone();
    };
    if *times >= 16 && cost(row) * 2 < cost(none) { (*row).clone() } else { none.clone() }
}
