//! Writes that go along with those of address management: a pod's endpoint with its address.
//!
//! They go along once. If that transaction is refused, nobody asks which write was the reason: the next one is without them,
//! and who wanted them writes them himself, and hears what is wrong.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tortie_ipam::backend::{self, Backend, Versioned};
use tortie_ipam::machine::Revision as IpamRevision;

use super::{OnStore, as_write, unless_refused};
use crate::{Datastore, MOST_WRITES, Result, Revision, Write};

/// What an operation wants to be written along, and what came of it.
#[derive(Default)]
pub struct Beside {
    /// Known when the operation is at its end, and before its writes are sent.
    pub wanted: Mutex<Option<Write>>,
    /// The revision, if it was written.
    pub written: Mutex<Option<Revision>>,
}

/// A datastore that writes along.
pub struct Along<'a> {
    store: OnStore<'a>,
    beside: Vec<Arc<Beside>>,
    is_refused: Cell<bool>,
}

impl<'a> Along<'a> {
    /// What `beside` wants goes along with what is written to `store`.
    pub fn new(store: &'a dyn Datastore, beside: Vec<Arc<Beside>>) -> Self {
        Along { store: OnStore(store), beside, is_refused: Cell::new(false) }
    }
}

impl Backend for Along<'_> {
    type Error = crate::Error;

    fn get(&self, key: &str) -> Result<Option<Versioned>> {
        self.store.get(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>> {
        self.store.list(prefix)
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>> {
        self.store.get_all(keys)
    }

    fn has_transactions(&self) -> bool {
        self.store.has_transactions()
    }

    fn write_all(&self, writes: Vec<backend::Write>) -> Result<Option<Vec<IpamRevision>>> {
        let along: Vec<(&Beside, Write)> = match self.is_refused.get() {
            true => Vec::new(),
            false => self.beside.iter().filter_map(|one| Some((&**one, lock(&one.wanted).take()?))).collect(),
        };
        if along.is_empty() || writes.len() + along.len() > MOST_WRITES {
            return self.store.write_all(writes);
        }
        let count = writes.len();
        let mut all: Vec<Write> = writes.into_iter().map(as_write).collect();
        let (beside, along): (Vec<&Beside>, Vec<Write>) = along.into_iter().unzip();
        all.extend(along);
        let Some(mut revisions) = unless_refused(self.store.0.write_all(&all))? else {
            self.is_refused.set(true);
            return Ok(None);
        };
        for (one, revision) in beside.into_iter().zip(revisions.split_off(count)) {
            *lock(&one.written) = Some(revision);
        }
        Ok(Some(revisions.into_iter().map(|revision| IpamRevision(revision.0)).collect()))
    }

    fn write_each(&self, writes: Vec<backend::Write>) -> Result<Vec<Option<IpamRevision>>> {
        self.store.write_each(writes)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Option<IpamRevision>> {
        self.store.create(key, value)
    }

    fn update(&self, key: &str, value: &[u8], revision: IpamRevision) -> Result<Option<IpamRevision>> {
        self.store.update(key, value, revision)
    }

    fn delete(&self, key: &str, revision: IpamRevision) -> Result<bool> {
        self.store.delete(key, revision)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
