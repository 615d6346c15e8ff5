//! The store as address management sees it: its machines ask, this carries out.
//!
//! A process that lives on has one [`Allocator`]; [`run`] is for one operation. Both write what belongs together in one
//! transaction.

mod allocator;
mod along;

use tortie_ipam::Machine;
use tortie_ipam::backend::{self, Backend, RunError, Versioned};
use tortie_ipam::cache::Cache;
use tortie_ipam::machine::Revision as IpamRevision;

use crate::datastore::{Expect, Write};
use crate::{Datastore, Error, KeyValue, Result, Revision};
pub use allocator::Allocator;

/// A datastore for the drivers of [`tortie_ipam::backend`].
pub struct OnStore<'a>(pub &'a dyn Datastore);

impl Backend for OnStore<'_> {
    type Error = Error;

    fn get(&self, key: &str) -> Result<Option<Versioned>> {
        Ok(self.0.get(key)?.map(versioned))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>> {
        let found = self.0.list_all(prefix)?.items.into_iter();
        Ok(found.map(|item| (item.key, (item.value, IpamRevision(item.revision.0)))).collect())
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>> {
        Ok(self.0.get_all(keys)?.into_iter().map(|found| found.map(versioned)).collect())
    }

    fn has_transactions(&self) -> bool {
        self.0.most_writes() > 1
    }

    fn write_all(&self, writes: Vec<backend::Write>) -> Result<Option<Vec<IpamRevision>>> {
        let writes: Vec<Write> = writes.into_iter().map(as_write).collect();
        let written = unless_refused(self.0.write_all(&writes))?;
        Ok(written.map(|revisions| revisions.into_iter().map(|revision| IpamRevision(revision.0)).collect()))
    }

    fn write_each(&self, writes: Vec<backend::Write>) -> Result<Vec<Option<IpamRevision>>> {
        let writes: Vec<Write> = writes.into_iter().map(as_write).collect();
        let written = self.0.write_each(&writes).into_iter();
        written.map(|one| Ok(unless_refused(one)?.map(|revision| IpamRevision(revision.0)))).collect()
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Option<IpamRevision>> {
        Ok(unless_refused(self.0.create(key, value))?.map(|revision| IpamRevision(revision.0)))
    }

    fn update(&self, key: &str, value: &[u8], revision: IpamRevision) -> Result<Option<IpamRevision>> {
        let written = unless_refused(self.0.update(key, value, Revision(revision.0)))?;
        Ok(written.map(|revision| IpamRevision(revision.0)))
    }

    fn delete(&self, key: &str, revision: IpamRevision) -> Result<bool> {
        Ok(unless_refused(self.0.delete(key, Some(Revision(revision.0))))?.is_some())
    }
}

fn as_write(write: backend::Write) -> Write {
    let backend::Write { key, value, expected } = write;
    let expect = expected.map_or(Expect::Absent, |revision| Expect::At(Revision(revision.0)));
    Write { key, value, expect }
}

fn versioned(found: KeyValue) -> Versioned {
    (found.value, IpamRevision(found.revision.0))
}

fn unless_refused<T>(written: Result<T>) -> Result<Option<T>> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(Error::Exists { .. } | Error::NotFound { .. } | Error::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Carries an operation out.
///
/// # Errors
/// Those of the datastore, and [`Error::Unreadable`] for a record that isn't one.
pub fn run<T>(store: &dyn Datastore, machine: Machine<T>) -> Result<T> {
    backend::transact(machine, &OnStore(store), &mut Cache::new()).map_err(failed)
}

fn failed(error: RunError<Error>) -> Error {
    match error {
        RunError::Store(error) => error,
        RunError::Value { key, reason } => Error::Unreadable { key, cause: reason.to_string() },
    }
}
