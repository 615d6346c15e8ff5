//! Stacks as they are in use: compiled, with the row that answers for most classes and the
//! entries of those that differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::policy::Direction;
use tortie_dataplane::flat::{ClassId, EntryKey, L4ClassId, L4Key, Levels, Op, StackChain, StackId, Verdict};
use tortie_dataplane::policy::{Family, Member, PolicyId, SetId, Stack};

use crate::classes::Classes;
use crate::compile::Compiled;
use crate::l4::L4;
use crate::paths::Paths;
use crate::row::{Row, RowMaker};

/// What makes two endpoints' directions one stack: the same policies, and the same memberships of
/// the own address as far as rules speak of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StackKey {
    /// The policies.
    pub stack: Arc<Stack>,
    /// Whose packets.
    pub direction: Direction,
    /// Of which family.
    pub family: Family,
    /// The own address's memberships in sets that the rules name on its side.
    pub own: Box<[Member]>,
}

/// A stack in use.
#[derive(Debug)]
pub struct Live {
    /// What it was made of.
    pub key: StackKey,
    /// Its rules as one list.
    pub compiled: Compiled,
    /// How a driver holds it.
    pub chain: StackChain,
    /// Answers for every class without entries.
    base: Row,
    /// Whether the base isn't the row of an address in no set, so that every class is looked at.
    every_class: bool,
    /// The entries by class.
    entries: BTreeMap<ClassId, Vec<(L4Key, Verdict)>>,
}

impl Live {
    /// Works out a stack's table for all classes there are.
    ///
    /// The base is the row of an address in no set, unless another row, common to many classes,
    /// more than halves the number of entries.
    pub fn new(key: StackKey, compiled: Compiled, classes: &Classes, l4: &L4, paths: &mut Paths) -> Self {
        let none = Row::new(&compiled, &[], l4, paths);
        let touched: FxHashSet<ClassId> = compiled
            .sets
            .iter()
            .flat_map(|set| classes.within(*set))
            .filter(|id| classes.get(*id).is_some_and(|class| class.family == compiled.family))
            .collect();
        let mut maker = RowMaker::new(&compiled, l4, paths);
        let rows: BTreeMap<ClassId, Row> = touched
            .iter()
            .filter_map(|id| classes.get(*id).map(|class| (*id, maker.row(&class.members))))
            .collect();
        let others: Vec<ClassId> = classes
            .iter()
            .filter(|(id, class)| class.family == compiled.family && !touched.contains(id))
            .map(|(id, _)| id)
            .collect();
        let base = common_row(&none, &rows, others.len() + 1);
        let every_class = base != none;
        let mut entries: BTreeMap<ClassId, Vec<(L4Key, Verdict)>> = rows
            .iter()
            .map(|(id, row)| (*id, row.beside(&base)))
            .filter(|(_, entries)| !entries.is_empty())
            .collect();
        if every_class {
            let of_none = none.beside(&base);
            entries.extend(others.into_iter().chain([ClassId::NONE]).map(|id| (id, of_none.clone())));
        }
        entries.insert(ClassId::ANY, base.as_base());
        let chain = StackChain {
            direction: compiled.direction,
            family: compiled.family,
            levels: Levels {
                any_l4: !base.l4.is_empty(),
                any_protocol: !base.protocols.is_empty(),
                ..compiled.levels(!every_class)
            },
            default: base.any,
        };
        let live = Self { key, compiled, chain, base, every_class, entries };
        live.hold(paths);
        live
    }

    /// The policies that it names.
    pub fn policies(&self) -> impl Iterator<Item = PolicyId> {
        let Stack { tiers, profiles } = &*self.key.stack;
        tiers.iter().flat_map(|tier| tier.policies.iter().copied()).chain(profiles.iter().copied())
    }

    /// The sets that it names.
    pub fn sets(&self) -> impl Iterator<Item = SetId> {
        self.compiled.sets.iter().copied()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.values().map(Vec::len).sum()
    }

    /// All entries as a driver holds them.
    pub fn entries(&self, id: StackId) -> impl Iterator<Item = (EntryKey, Verdict)> {
        self.entries.iter().flat_map(move |(class, entries)| {
            entries
                .iter()
                .map(move |(l4, verdict)| (EntryKey { stack: id, class: *class, l4: *l4 }, *verdict))
        })
    }

    /// A class came: writes its entries, if it has any.
    pub fn grow(
        &mut self,
        id: StackId,
        class: ClassId,
        members: &[Member],
        l4: &L4,
        paths: &mut Paths,
        ops: &mut Vec<Op>,
    ) {
        if !self.every_class && !self.compiled.touches(members) {
            return;
        }
        let row = Row::new(&self.compiled, members, l4, paths);
        let entries = row.beside(&self.base);
        for (l4, verdict) in &entries {
            paths.hold(verdict.path);
            ops.push(Op::AddEntry(EntryKey { stack: id, class, l4: *l4 }, *verdict));
        }
        if !entries.is_empty() {
            self.entries.insert(class, entries);
        }
    }

    /// An L4 class was cut out of an older one: copies what it says of that.
    pub fn split(
        &mut self,
        id: StackId,
        new: L4ClassId,
        old: L4ClassId,
        paths: &mut Paths,
        ops: &mut Vec<Op>,
    ) {
        self.base.split(new, old);
        for (class, entries) in &mut self.entries {
            let copied = entries.iter().find(|(l4, _)| *l4 == L4Key::Class(old)).map(|(_, verdict)| *verdict);
            if let Some(verdict) = copied {
                let l4 = L4Key::Class(new);
                entries.push((l4, verdict));
                paths.hold(verdict.path);
                ops.push(Op::AddEntry(EntryKey { stack: id, class: *class, l4 }, verdict));
            }
        }
    }

    /// A class went: takes its entries away.
    pub fn shrink(&mut self, id: StackId, class: ClassId, paths: &mut Paths, ops: &mut Vec<Op>) {
        for (l4, verdict) in self.entries.remove(&class).unwrap_or_default() {
            paths.drop_one(verdict.path);
            ops.push(Op::RemoveEntry(EntryKey { stack: id, class, l4 }));
        }
    }

    /// Lets go of its paths, when it is itself taken away.
    pub fn let_go(&self, paths: &mut Paths) {
        paths.drop_one(self.chain.default.path);
        for (_, verdict) in self.entries.values().flatten() {
            paths.drop_one(verdict.path);
        }
    }

    fn hold(&self, paths: &mut Paths) {
        paths.hold(self.chain.default.path);
        for (_, verdict) in self.entries.values().flatten() {
            paths.hold(verdict.path);
        }
    }
}

/// The row that answers for most classes; `others` classes have the row of none.
fn common_row(none: &Row, rows: &BTreeMap<ClassId, Row>, others: usize) -> Row {
    let mut count = FxHashMap::<&Row, usize>::default();
    for row in rows.values().filter(|row| *row != none) {
        *count.entry(row).or_default() += 1;
    }
    let cost = |base: &Row| {
        let of_rows: usize = count.iter().map(|(row, times)| row.beside(base).len() * times).sum();
        let same_as_none = rows.values().filter(|row| *row == none).count() + others;
        of_rows + none.beside(base).len() * same_as_none
    };
    // With few classes it isn't worth a second look, and a base of its own costs lookups.
    let Some((row, times)) = count.iter().max_by_key(|(row, times)| (**times, row.any)) else {
        return none.clone();
    };
    if *times >= 16 && cost(row) * 2 < cost(none) { (*row).clone() } else { none.clone() }
}
