//! The store as address management sees it: its machines ask, this carries out.

use tortie_ipam::Machine;
use tortie_ipam::backend::{self, Backend, RunError, Versioned};
use tortie_ipam::machine::Revision as IpamRevision;

use crate::{Datastore, Error, Result, Revision};

/// A datastore for [`tortie_ipam::backend::run`].
pub struct OnStore<'a>(pub &'a dyn Datastore);

impl Backend for OnStore<'_> {
    type Error = Error;

    fn get(&self, key: &str) -> Result<Option<Versioned>> {
        Ok(self.0.get(key)?.map(|found| (found.value, IpamRevision(found.revision.0))))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>> {
        let found = self.0.list_all(prefix)?.items.into_iter();
        Ok(found.map(|item| (item.key, (item.value, IpamRevision(item.revision.0)))).collect())
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Option<IpamRevision>> {
        refused(self.0.create(key, value))
    }

    fn update(&self, key: &str, value: &[u8], revision: IpamRevision) -> Result<Option<IpamRevision>> {
        refused(self.0.update(key, value, Revision(revision.0)))
    }

    fn delete(&self, key: &str, revision: IpamRevision) -> Result<bool> {
        match self.0.delete(key, Some(Revision(revision.0))) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. } | Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn refused(written: Result<Revision>) -> Result<Option<IpamRevision>> {
    match written {
        Ok(revision) => Ok(Some(IpamRevision(revision.0))),
        Err(Error::Exists { .. } | Error::NotFound { .. } | Error::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Carries an operation out.
///
/// # Errors
/// Those of the datastore, and [`Error::Unreadable`] for a record that isn't one.
pub fn run<T>(store: &dyn Datastore, machine: Machine<T>) -> Result<T> {
    backend::run(machine, &OnStore(store)).map_err(|error| match error {
        RunError::Store(error) => error,
        RunError::Value { key, reason } => Error::Unreadable { key, cause: reason.to_string() },
    })
}
