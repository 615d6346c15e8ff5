//! Lists of memberships, each kept once.
//!
//! Thousands of addresses are in the same sets; they share one list, and the list is what is
//! told. Lists are counted; those that nobody holds stay until [`Lists::sweep`], so that numbers
//! are stable within a flush.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHasher};
use tortie_dataplane::policy::Member;

/// A list by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ListId(pub(crate) u32);

impl ListId {
    /// The list without members.
    pub(crate) const EMPTY: Self = Self(0);
}

/// All lists in use. The first is the empty one.
pub(crate) struct Lists {
    entries: Vec<Entry>,
    table: HashTable<u32>,
    free: Vec<u32>,
    idle: Vec<u32>,
    unions: FxHashMap<(ListId, ListId), ListId>,
}

struct Entry {
    members: Arc<[Member]>,
    holders: u32,
}

fn hash(members: &[Member]) -> u64 {
    let mut hasher = FxHasher::default();
    members.hash(&mut hasher);
    hasher.finish()
}

impl Default for Lists {
    fn default() -> Self {
        let mut lists = Self {
            entries: Vec::new(),
            table: HashTable::new(),
            free: Vec::new(),
            idle: Vec::new(),
            unions: FxHashMap::default(),
        };
        let empty = lists.intern(&[]);
        lists.hold(empty);
        lists
    }
}

impl Lists {
    /// The list of these members, which are sorted and without doubles. Not held yet.
    pub(crate) fn intern(&mut self, members: &[Member]) -> ListId {
        let hash_of = hash(members);
        let entries = &mut self.entries;
        if let Some(index) = self.table.find(hash_of, |index| *entries[*index as usize].members == *members) {
            return ListId(*index);
        }
        let entry = Entry { members: members.into(), holders: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                entries[index as usize] = entry;
                index
            }
            None => {
                entries.push(entry);
                u32::try_from(entries.len() - 1).expect("fewer than 2^32 lists fit in memory")
            }
        };
        self.table.insert_unique(hash_of, index, |index| hash(&entries[*index as usize].members));
        self.idle.push(index);
        ListId(index)
    }

    /// The members.
    pub(crate) fn members(&self, id: ListId) -> &Arc<[Member]> {
        &self.entries[id.0 as usize].members
    }

    /// The list of all members of both.
    pub(crate) fn union(&mut self, one: ListId, other: ListId) -> ListId {
        if one == other || other == ListId::EMPTY {
            return one;
        }
        if one == ListId::EMPTY {
            return other;
        }
        let pair = (one.min(other), one.max(other));
        if let Some(union) = self.unions.get(&pair) {
            return *union;
        }
        let mut members = [&**self.members(one), &**self.members(other)].concat();
        members.sort_unstable();
        members.dedup();
        let union = self.intern(&members);
        self.unions.insert(pair, union);
        union
    }

    /// Holds a list once more.
    pub(crate) fn hold(&mut self, id: ListId) {
        self.entries[id.0 as usize].holders += 1;
    }

    /// Gives a list back.
    pub(crate) fn drop(&mut self, id: ListId) {
        let entry = &mut self.entries[id.0 as usize];
        entry.holders -= 1;
        if entry.holders == 0 {
            self.idle.push(id.0);
        }
    }

    /// Holds the new list in place of the old one.
    pub(crate) fn swap(&mut self, slot: &mut ListId, id: ListId) {
        self.hold(id);
        let before = std::mem::replace(slot, id);
        self.drop(before);
    }

    /// All lists that somebody holds.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ListId, &Arc<[Member]>)> {
        self.entries.iter().enumerate().filter(|(_, entry)| entry.holders > 0).map(|(index, entry)| {
            (ListId(u32::try_from(index).expect("list numbers are 32 bits wide")), &entry.members)
        })
    }

    /// One more than the highest number of a list.
    pub(crate) fn bound(&self) -> usize {
        self.entries.len()
    }

    /// Frees what nobody holds.
    pub(crate) fn sweep(&mut self) {
        let Self { entries, table, free, idle, unions } = self;
        if idle.is_empty() {
            return;
        }
        unions.clear();
        idle.sort_unstable();
        idle.dedup();
        for index in idle.drain(..) {
            let entry = &mut entries[index as usize];
            if entry.holders > 0 {
                continue;
            }
            if let Ok(occupied) = table.find_entry(hash(&entry.members), |other| *other == index) {
                occupied.remove();
                entry.members = Arc::default();
                free.push(index);
            }
        }
    }
}
