//! Stacks as they are in use: what each was made of, its list, its verdicts, and how a driver holds it.

use std::sync::Arc;

use tortie_api::policy::Direction;
use tortie_dataplane::flat::{ClassId, EntryKey, L4ClassId, L4Key, Op, StackChain, StackId, Verdict};
use tortie_dataplane::policy::{Family, Member, PolicyId, SetId, Stack};

use crate::classes::Classes;
use crate::compile::Compiled;
use crate::l4::L4;
use crate::paths::Paths;
use crate::table::Table;

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
    /// Its verdicts.
    pub table: Table,
}

impl Live {
    /// Works out a stack's table for all classes there are.
    pub fn new(key: StackKey, compiled: Compiled, classes: &Classes, l4: &L4, paths: &mut Paths) -> Self {
        let mut table = Table::new(&compiled, classes, l4, paths);
        table.hold(paths);
        let chain = StackChain {
            direction: compiled.direction,
            family: compiled.family,
            levels: table.levels(&compiled),
            default: table.base.any,
        };
        Self { key, compiled, chain, table }
    }

    /// The policies that it names.
    pub fn policies(&self) -> impl Iterator<Item = PolicyId> {
        policies(&self.key.stack)
    }

    /// The sets that it names.
    pub fn sets(&self) -> impl Iterator<Item = SetId> {
        self.compiled.census.sets()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.table.entries.values().map(Vec::len).sum()
    }

    /// All entries as a driver holds them.
    pub fn entries(&self, id: StackId) -> impl Iterator<Item = (EntryKey, Verdict)> {
        self.table.entries.iter().flat_map(move |(class, entries)| {
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
        let entries = self.table.entries_for(&self.compiled, members, l4, paths);
        for (l4, verdict) in &entries {
            self.table.hold_entry(*verdict, paths);
            ops.push(Op::AddEntry(EntryKey { stack: id, class, l4: *l4 }, *verdict));
        }
        if !entries.is_empty() {
            self.table.entries.insert(class, entries);
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
        for (class, verdict) in self.table.split(new, old) {
            self.table.hold_entry(verdict, paths);
            ops.push(Op::AddEntry(EntryKey { stack: id, class, l4: L4Key::Class(new) }, verdict));
        }
    }

    /// A class went: takes its entries away.
    pub fn shrink(&mut self, id: StackId, class: ClassId, paths: &mut Paths, ops: &mut Vec<Op>) {
        for (l4, verdict) in self.table.entries.remove(&class).unwrap_or_default() {
            paths.drop_one(verdict.path);
            ops.push(Op::RemoveEntry(EntryKey { stack: id, class, l4 }));
        }
    }
}

/// The policies and profiles of a stack.
pub fn policies(stack: &Stack) -> impl Iterator<Item = PolicyId> {
    let Stack { tiers, profiles } = stack;
    tiers.iter().flat_map(|tier| tier.policies.iter().copied()).chain(profiles.iter().copied())
}
