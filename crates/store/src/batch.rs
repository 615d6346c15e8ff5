//! Writes that wait for each other: a datastore over another that keeps what is written until it goes out together.
//!
//! ```text
//! Batch::read(keys) -> get, create, update, delete on what was read -> commit: all of it or none
//!                                                                   '-> commit_each: where there are no transactions
//! ```
//! For commands on hundreds of objects: two requests for a hundred of them instead of two for each. Nothing is written
//! before [`Batch::commit`], so that whoever is refused there does all of it again, on the datastore itself, and every
//! rule and message is that of single writes. Revisions of what waits aren't known yet; they read as zero.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::datastore::{Datastore, Expect, KeyValue, List, Listing, MOST_WRITES, Revision, Watch, Write};
use crate::{Error, Result};

/// Writes that wait, over the datastore that they are for.
pub struct Batch {
    below: Arc<dyn Datastore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was read, or will stand there.
    known: HashMap<String, Option<KeyValue>>,
    writes: Vec<Write>,
    /// Something was asked for that can't be answered before what waits is written.
    is_spoiled: bool,
}

impl Batch {
    /// A batch that begins with these keys read, in one request.
    ///
    /// # Errors
    /// Those of the datastore.
    pub fn read(below: Arc<dyn Datastore>, keys: Vec<String>) -> Result<Batch> {
        let found = below.get_all(&keys)?;
        let known = keys.into_iter().zip(found).collect();
        Ok(Batch { below, state: Mutex::new(State { known, ..State::default() }) })
    }

    /// How many writes wait.
    pub fn len(&self) -> usize {
        self.state().writes.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// Nothing is written then, unless it is [`Error::Unknown`]. [`Error::Together`] if what was asked for can't be done
    /// in one write.
    pub fn commit(&self) -> Result<()> {
        let state = self.state();
        if state.is_spoiled {
            return Err(Error::Together);
        }
        self.below.write_all(&state.writes).map(drop)
    }

    /// Makes each write that waits by itself, side by side: what came of them, in the order in which they came to wait.
    ///
    /// # Errors
    /// [`Error::Together`] as for [`Batch::commit`]; nothing is written then.
    pub fn commit_each(&self) -> Result<Vec<Result<Revision>>> {
        let state = self.state();
        match state.is_spoiled {
            true => Err(Error::Together),
            false => Ok(self.below.write_each(&state.writes)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a write wait that can be done as far as is known; returns what stands at its key.
    fn stage(&self, write: Write) -> Result<Option<KeyValue>> {
        let before = self.get(&write.key)?;
        let mut state = self.state();
        let waits = state.writes.iter().any(|other| other.key == write.key);
        if waits || state.writes.len() == MOST_WRITES {
            state.is_spoiled = true;
            return Err(Error::Together);
        }
        let found = before.as_ref().map(|before| before.revision);
        if let Some(fault) = write.fault(found) {
            return Err(fault);
        }
        let after = write.value.clone().map(|value| KeyValue {
            key: write.key.clone(),
            value,
            revision: Revision::ZERO,
            create_revision: Revision::ZERO,
        });
        state.known.insert(write.key.clone(), after);
        // What is deleted is what was read, or nothing.
        let expect = match (write.expect, &write.value, found) {
            (Expect::Present | Expect::Anything, None, Some(found)) => Expect::At(found),
            (expect, ..) => expect,
        };
        state.writes.push(Write { expect, ..write });
        Ok(before)
    }

    fn put_off(&self, write: Write) -> Result<Revision> {
        self.stage(write).map(|_| Revision::ZERO)
    }

    /// Refuses to look below at keys of which some wait to be written.
    fn only_written(&self, prefix: &str) -> Result<()> {
        let mut state = self.state();
        if state.writes.iter().any(|write| write.key.starts_with(prefix)) {
            state.is_spoiled = true;
            return Err(Error::Together);
        }
        Ok(())
    }
}

impl Datastore for Batch {
    fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        if let Some(known) = self.state().known.get(key) {
            return Ok(known.clone());
        }
        let found = self.below.get(key)?;
        self.state().known.insert(key.to_owned(), found.clone());
        Ok(found)
    }

    fn list(&self, list: &List) -> Result<Listing> {
        self.only_written(&list.prefix)?;
        self.below.list(list)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>> {
        self.below.watch(prefix, after)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.put_off(Write::create(key, value))
    }

    fn update(&self, key: &str, value: &[u8], expected: Revision) -> Result<Revision> {
        self.put_off(Write::update(key, value, expected))
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.put_off(Write::put(key, value))
    }

    fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue> {
        let gone = self.stage(Write::delete(key, expected))?;
        gone.ok_or_else(|| Error::NotFound { key: key.to_owned() })
    }

    fn knows_pods(&self) -> bool {
        self.below.knows_pods()
    }

    fn most_writes(&self) -> usize {
        self.below.most_writes()
    }

    fn write_all(&self, writes: &[Write]) -> Result<Vec<Revision>> {
        let put_off: Result<Vec<Revision>> =
            writes.iter().cloned().map(|write| self.put_off(write)).collect();
        // All of them or none: some may wait already.
        self.state().is_spoiled |= put_off.is_err() && writes.len() > 1;
        put_off
    }

    fn revision(&self) -> Result<Revision> {
        self.below.revision()
    }

    fn compact(&self, upto: Revision) -> Result<u64> {
        self.below.compact(upto)
    }

    fn persist(&self) -> Result<()> {
        self.below.persist()
    }
}
