//! Writes that machines believe to be done and that aren't sent yet, laid over what the store has.
//!
//! A staged write is under the revision that its machine read, and is answered with a provisional one; a later write of
//! the same key replaces it and keeps what the first expected. So all of it can be sent as one, and one comparison for each
//! key says whether everything that was believed is true.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use crate::key::{Key, Prefix};
use crate::machine::{Outcome, Request, Revision};
use crate::record::Record;

/// Provisional revisions begin here, where no store comes to.
const PROVISIONAL: u64 = 1 << 63;

/// A key's write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// What to write; `None` deletes.
    pub record: Option<Record>,
    /// The revision at which the key must stand; `None`: it must not exist.
    pub expected: Option<Revision>,
}

struct Staged {
    write: Write,
    revision: Revision,
    /// Its place among the keys.
    place: usize,
}

/// The writes that wait.
#[derive(Default)]
pub(crate) struct Stage {
    staged: HashMap<Key, Staged, FxBuildHasher>,
    /// What the store said last of keys, for writes that can't succeed.
    seen: HashMap<Key, Option<Revision>, FxBuildHasher>,
    given: u64,
    bytes: usize,
}

impl Stage {
    /// How many keys wait, and about how many bytes.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.staged.len(), self.bytes)
    }

    /// The outcome of a request, if it can be told without the store: all writes, and reads of what is staged.
    pub(crate) fn answer(&mut self, request: &Request) -> Option<Outcome> {
        match request {
            Request::Get { key, .. } => self.staged.get(key).map(|staged| match &staged.write.record {
                Some(record) => {
                    Outcome::Found { record: record.clone(), revision: staged.revision, cached: false }
                }
                None => Outcome::Missing,
            }),
            Request::List { .. } => None,
            Request::Create { key, record } => Some(self.create(key, record)),
            Request::Update { key, record, revision } => Some(self.replace(key, Some(record), *revision)),
            Request::Delete { key, revision } => Some(self.replace(key, None, *revision)),
        }
    }

    /// Notes what the store says of a key.
    pub(crate) fn see(&mut self, key: &Key, stands: Option<Revision>) {
        self.seen.insert(key.clone(), stands);
    }

    /// Lays what is staged over a list.
    pub(crate) fn overlay(&self, prefix: &Prefix, items: &mut Vec<(Key, Record, Revision)>) {
        let mut changed = false;
        for (key, staged) in self.staged.iter().filter(|(key, _)| prefix.holds(key)) {
            items.retain(|(known, _, _)| known != key);
            if let Some(record) = &staged.write.record {
                items.push((key.clone(), record.clone(), staged.revision));
                changed = true;
            }
        }
        if changed {
            items.sort_by_cached_key(|(key, _, _)| key.to_string());
        }
    }

    fn create(&mut self, key: &Key, record: &Record) -> Outcome {
        let revision = self.next_revision();
        match self.staged.get_mut(key) {
            Some(staged) if staged.write.record.is_some() => return Outcome::Refused,
            Some(staged) => {
                staged.write.record = Some(record.clone());
                staged.revision = revision;
            }
            None if matches!(self.seen.get(key), Some(Some(_))) => return Outcome::Refused,
            None => self.add(key, Some(record), None, revision),
        }
        Outcome::Written(revision)
    }

    fn replace(&mut self, key: &Key, record: Option<&Record>, read: Revision) -> Outcome {
        let revision = self.next_revision();
        match self.staged.get_mut(key) {
            Some(staged) if staged.revision != read || staged.write.record.is_none() => {
                return Outcome::Refused;
            }
            Some(staged) => {
                staged.write.record = record.cloned();
                staged.revision = revision;
            }
            None if self.seen.get(key).is_some_and(|stands| *stands != Some(read)) => {
                return Outcome::Refused;
            }
            None => self.add(key, record, Some(read), revision),
        }
        if record.is_some() { Outcome::Written(revision) } else { Outcome::Deleted }
    }

    fn add(&mut self, key: &Key, record: Option<&Record>, expected: Option<Revision>, revision: Revision) {
        let place = self.staged.len();
        self.bytes += record.map_or(0, Record::usual_length);
        let write = Write { key: key.clone(), record: record.cloned(), expected };
        self.staged.insert(key.clone(), Staged { write, revision, place });
    }

    fn next_revision(&mut self) -> Revision {
        self.given += 1;
        Revision(PROVISIONAL + self.given)
    }

    /// Takes what is to be sent, in the order of first writes, each with its provisional revision. What was made and
    /// deleted again isn't.
    pub(crate) fn take(&mut self) -> Vec<(Write, Revision)> {
        let mut all: Vec<Staged> = std::mem::take(&mut self.staged).into_values().collect();
        all.retain(|staged| staged.write.record.is_some() || staged.write.expected.is_some());
        all.sort_unstable_by_key(|staged| staged.place);
        self.bytes = 0;
        all.into_iter().map(|staged| (staged.write, staged.revision)).collect()
    }
}
