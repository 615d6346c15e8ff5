//! Writes that go along with those of address management: a pod's endpoint with its address.
//!
//! An operation that relies on what is remembered has that compared with its first write; if it has changed that is
//! [`crate::Error::Stale`], and nothing is written.
//!
//! They go along once. If that transaction is refused, nobody asks which write was the reason: the next one is without them,
//! and who wanted them writes them himself, and hears what is wrong.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tortie_ipam::backend::{self, Backend, Versioned};
use tortie_ipam::machine::Revision as IpamRevision;

use super::{OnStore, as_write, unless_refused};
use crate::{Datastore, MOST_WRITES, Result, Revision, Seen, Write};

/// What an operation wants to be written along, and what came of it.
#[derive(Default)]
pub struct Beside {
    /// Known when the operation is at its end, and before its writes are sent.
    pub wanted: Mutex<Option<Write>>,
    /// The revision, if it was written.
    pub written: Mutex<Option<Revision>>,
    /// What the operation relies on.
    pub seen: Vec<Seen>,
}

/// A datastore that writes along.
pub struct Along<'a> {
    store: OnStore<'a>,
    beside: Vec<Arc<Beside>>,
    is_refused: Cell<bool>,
    /// What the next write has to compare.
    seen: RefCell<Vec<Seen>>,
}

impl<'a> Along<'a> {
    /// What `beside` wants goes along with what is written to `store`.
    pub fn new(store: &'a dyn Datastore, beside: Vec<Arc<Beside>>) -> Self {
        let mut seen: Vec<Seen> = Vec::new();
        for one in beside.iter().flat_map(|beside| &beside.seen) {
            if !seen.contains(one) {
                seen.push(one.clone());
            }
        }
        Along { store: OnStore(store), beside, is_refused: Cell::new(false), seen: RefCell::new(seen) }
    }

    /// Writes, if what is relied on still stands, which is so from then on: it was decided by that.
    fn write(&self, writes: &[Write]) -> Result<Option<Vec<Revision>>> {
        let written = unless_refused(self.store.0.write_if(&self.seen.borrow(), writes))?;
        if written.is_some() {
            self.seen.borrow_mut().clear();
        }
        Ok(written)
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

    fn write_all(&self, writes: Vec<backend::Write>) -> Result<Option<Vec<IpamRevision>>> {
        let along: Vec<(&Beside, Write)> = match self.is_refused.get() {
            true => Vec::new(),
            false => self.beside.iter().filter_map(|one| Some((&**one, lock(&one.wanted).take()?))).collect(),
        };
        let count = writes.len();
        let mut all: Vec<Write> = writes.into_iter().map(as_write).collect();
        let fits = count + along.len() <= MOST_WRITES;
        let (beside, along): (Vec<&Beside>, Vec<Write>) = along.into_iter().filter(|_| fits).unzip();
        all.extend(along);
        let Some(mut revisions) = self.write(&all)? else {
            self.is_refused.set(!beside.is_empty());
            return Ok(None);
        };
        for (one, revision) in beside.into_iter().zip(revisions.split_off(count)) {
            *lock(&one.written) = Some(revision);
        }
        Ok(Some(revisions.into_iter().map(|revision| IpamRevision(revision.0)).collect()))
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
