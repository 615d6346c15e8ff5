//! What one node remembers of its own blocks, so that an address costs two writes and no read.
//!
//! A memory may be stale: every write is checked by the store, a refused one is forgotten here and read again, and before
//! an operation concludes that the host has no free address it asks afresh. An agent that watches the store may
//! [`Cache::forget`] what others changed, which only saves attempts. One owner: not shared between threads.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use crate::key::{Key, Prefix};
use crate::machine::{Outcome, Request, Revision};
use crate::net::Family;
use crate::record::Record;
use crate::stage::Write;

/// The memory. It holds the settings, the node's claims and the blocks that its operations touched: some 20 records.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    records: HashMap<Key, Option<(Record, Revision)>, FxBuildHasher>,
    claims: HashMap<Prefix, Vec<(Key, Record, Revision)>, FxBuildHasher>,
}

impl Cache {
    /// Knows nothing.
    pub fn new() -> Self {
        Cache::default()
    }

    /// Forgets a key that somebody else changed.
    pub fn forget(&mut self, key: &Key) {
        self.records.remove(key);
        if matches!(key, Key::Affinity(..)) {
            self.claims.clear();
        }
    }

    /// Forgets everything, for example when a watch was interrupted.
    pub fn clear(&mut self) {
        self.records.clear();
        self.claims.clear();
    }

    /// What is remembered of a request, for drivers of one's own: ask here first, then the store, then [`Cache::learn`].
    pub fn answer(&self, request: &Request) -> Option<Outcome> {
        match request {
            Request::Get { key, fresh: false } => Some(match self.records.get(key)? {
                Some((record, revision)) => {
                    Outcome::Found { record: record.clone(), revision: *revision, cached: true }
                }
                None => Outcome::Missing,
            }),
            Request::List { prefix, fresh: false } => {
                Some(Outcome::Listed { items: self.claims.get(prefix)?.clone(), cached: true })
            }
            _ => None,
        }
    }

    /// The record of a key, if it is remembered as of this revision: then it needn't be decoded again.
    pub(crate) fn known(&self, key: &Key, revision: Revision) -> Option<Record> {
        let (record, known) = self.records.get(key)?.as_ref()?;
        (*known == revision).then(|| record.clone())
    }

    /// Remembers what the store said.
    pub fn learn(&mut self, request: &Request, outcome: &Outcome) {
        match (request, outcome) {
            (Request::Get { key, .. }, Outcome::Found { record, revision, .. }) => {
                self.remember(key, Some((record.clone(), *revision)));
            }
            // That there are no settings is worth knowing; that a block isn't there is about to change.
            (Request::Get { key, .. }, _) => self.read(key, None),
            (Request::List { prefix: prefix @ Prefix::Claims(..), .. }, Outcome::Listed { items, .. }) => {
                self.claims.insert(prefix.clone(), items.clone());
            }
            (Request::List { .. }, _) => {}
            (
                Request::Create { key, record } | Request::Update { key, record, .. },
                Outcome::Written(revision),
            ) => self.write(key, Some(record.clone()), *revision),
            (Request::Delete { key, .. }, Outcome::Deleted) => self.write(key, None, Revision(0)),
            (Request::Create { key, .. } | Request::Update { key, .. } | Request::Delete { key, .. }, _) => {
                self.forget(key);
            }
        }
    }

    /// Remembers what stands at a key.
    pub(crate) fn read(&mut self, key: &Key, found: Option<(Record, Revision)>) {
        match found {
            Some(_) => self.remember(key, found),
            None if *key == Key::Config => self.remember(key, None),
            None => self.forget(key),
        }
    }

    /// Remembers what was written at a revision.
    pub(crate) fn wrote(&mut self, write: Write, revision: Revision) {
        self.write(&write.key, write.record, revision);
    }

    fn write(&mut self, key: &Key, record: Option<Record>, revision: Revision) {
        self.remember_claim(key, record.as_ref().map(|record| (record, revision)));
        match record {
            Some(record) => self.remember(key, Some((record, revision))),
            None => drop(self.records.remove(key)),
        }
    }

    /// Keeps the lists of claims up to date with what is written, in the order of a list: by the text of the key.
    fn remember_claim(&mut self, key: &Key, known: Option<(&Record, Revision)>) {
        let Key::Affinity(owner, block) = key else { return };
        let prefix = Prefix::Claims(owner.clone(), Family::of(block.addr()));
        let Some(list) = self.claims.get_mut(&prefix) else { return };
        list.retain(|(one, _, _)| one != key);
        if let Some((record, revision)) = known {
            let name = key.to_string();
            let at = list.partition_point(|(one, _, _)| one.to_string() < name);
            list.insert(at, (key.clone(), record.clone(), revision));
        }
    }

    /// Handles aren't remembered: each is written once and deleted once.
    fn remember(&mut self, key: &Key, known: Option<(Record, Revision)>) {
        if !matches!(key, Key::Handle(_)) {
            self.records.insert(key.clone(), known);
        }
    }
}
