//! What a process that lives on has read, for it to read nothing the next time.
//!
//! A memory may be stale at any moment and nobody tells it so. Who relies on it says so with his write
//! ([`crate::Datastore::write_if`]), which is refused if anything has changed; then he reads anew, and that is remembered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Listing, Read, Seen};

/// So many reads are remembered at most; with more it begins anew.
const MOST: usize = 1_000;

/// So many keys a write relies on at most, which is half of what a transaction compares.
const MOST_RELIED_ON: usize = 64;

/// See the module. Threads share it.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<Read, Listing>>);

impl Memory {
    /// Remembers what was read, unless something newer is remembered.
    pub fn learn(&self, seen: impl IntoIterator<Item = Seen>) {
        let mut known = self.known();
        if known.len() > MOST {
            known.clear();
        }
        for Seen { read, found } in seen {
            if known.get(&read).is_none_or(|known| known.revision <= found.revision) {
                known.insert(read, found);
            }
        }
    }

    /// What is remembered of all of `reads`; none if one of them isn't, or there is too much of it to rely on.
    pub fn recall(&self, reads: &[Read]) -> Option<Vec<Seen>> {
        let known = self.known();
        let seen =
            reads.iter().map(|read| Some(Seen { read: read.clone(), found: known.get(read)?.clone() }));
        let seen: Vec<Seen> = seen.collect::<Option<_>>()?;
        let keys: usize = seen.iter().map(|one| one.found.items.len().max(1)).sum();
        (keys <= MOST_RELIED_ON).then_some(seen)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Read, Listing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyValue, Revision};

    fn mk_seen(prefix: &str, count: u64, revision: u64) -> Seen {
        let items = (0..count).map(|number| KeyValue {
            key: format!("{prefix}{number}"),
            value: Vec::new(),
            revision: Revision(revision),
            create_revision: Revision(1),
        });
        let found = Listing { revision: Revision(revision), items: items.collect(), more: false };
        Seen { read: Read::Prefix(prefix.to_owned()), found }
    }

    #[test]
    fn what_was_read_later_is_remembered_and_only_all_or_nothing_is_told() {
        let (memory, a, b) = (Memory::default(), mk_seen("/a/", 2, 7), mk_seen("/b/", 1, 5));
        let both = [a.read.clone(), b.read.clone()];
        memory.learn([a.clone()]);
        assert_eq!(memory.recall(&both), None);
        memory.learn([b.clone(), mk_seen("/a/", 3, 6)]);
        assert_eq!(memory.recall(&both), Some(vec![a, b.clone()]));
        let newer = mk_seen("/a/", 3, 8);
        memory.learn([newer.clone()]);
        assert_eq!(memory.recall(&both), Some(vec![newer, b]));
    }

    #[test]
    fn what_one_transaction_could_not_compare_is_not_relied_on() {
        let memory = Memory::default();
        for (count, is_told) in [(64, true), (65, false)] {
            let many = mk_seen("/many/", count, count);
            let read = [many.read.clone()];
            memory.learn([many]);
            assert_eq!(memory.recall(&read).is_some(), is_told, "{count}");
        }
    }
}
