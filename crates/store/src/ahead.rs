//! A datastore that has read ahead: what a call is going to ask is read in one request, and answered from there.
//!
//! Each answer is given once, so whoever asks again (because a write was refused) hears what stands in the datastore by then.
//! Everything else, and all writes, go to the datastore itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Datastore, KeyValue, Layer, List, Listing, Read, Result};

/// See the module.
pub struct Ahead {
    store: Arc<dyn Datastore>,
    read: Mutex<BTreeMap<Read, Listing>>,
}

impl Ahead {
    /// Reads what is going to be asked of `store`.
    ///
    /// # Errors
    /// Those of the datastore.
    pub fn of(store: Arc<dyn Datastore>, reads: Vec<Read>) -> Result<Ahead> {
        let found = store.read_all(&reads)?;
        Ok(Ahead { store, read: Mutex::new(reads.into_iter().zip(found).collect()) })
    }

    fn take(&self, read: &Read) -> Option<Listing> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).remove(read)
    }
}

impl Layer for Ahead {
    fn below(&self) -> &dyn Datastore {
        &*self.store
    }

    fn find(&self, key: &str) -> Result<Option<KeyValue>> {
        match self.take(&Read::Key(key.to_owned())) {
            Some(found) => Ok(found.items.into_iter().next()),
            None => self.store.get(key),
        }
    }

    fn find_all(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>> {
        let known: Option<Vec<Listing>> =
            keys.iter().map(|key| self.take(&Read::Key(key.to_owned()))).collect();
        match known {
            Some(known) => Ok(known.into_iter().map(|found| found.items.into_iter().next()).collect()),
            None => self.store.get_all(keys),
        }
    }

    fn page(&self, list: &List) -> Result<Listing> {
        // Whole lists are what is read ahead; a limit that isn't reached is none.
        let whole = list.at.is_none() && list.after.is_none();
        let found = if whole { self.take(&Read::Prefix(list.prefix.clone())) } else { None };
        match found {
            Some(found) if list.limit.is_none_or(|limit| found.items.len() <= limit) => Ok(found),
            _ => self.store.list(list),
        }
    }

    fn over(&self, deferred: Arc<dyn Datastore>) -> Option<Arc<dyn Datastore>> {
        Some(deferred)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::embedded::{Durability, Embedded, Options};

    #[test]
    fn what_was_read_ahead_is_answered_once_and_then_the_datastore_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let options =
            Options { durability: Durability::Normal, ..Options::new(directory.path().join("tortie.db")) };
        let store: Arc<dyn Datastore> = Arc::new(Embedded::open(options).unwrap());
        store.put("/a", b"1").unwrap();
        store.put("/list/a", b"1").unwrap();
        let reads = vec![Read::Key("/a".into()), Read::Key("/b".into()), Read::Prefix("/list/".into())];
        let ahead = Ahead::of(Arc::clone(&store), reads).unwrap();
        for key in ["/a", "/b", "/list/b"] {
            store.put(key, b"2").unwrap();
        }
        let see = || {
            let value = |key| ahead.get(key).unwrap().map(|kv| kv.value);
            (value("/a"), value("/b"), ahead.list_all("/list/").unwrap().items.len())
        };
        assert_eq!(see(), (Some(b"1".to_vec()), None, 1));
        assert_eq!(see(), (Some(b"2".to_vec()), Some(b"2".to_vec()), 2));
    }

    #[test]
    fn keys_asked_together_are_answered_from_what_was_read_ahead_if_all_of_them_were() {
        let directory = tempfile::tempdir().unwrap();
        let options =
            Options { durability: Durability::Normal, ..Options::new(directory.path().join("tortie.db")) };
        let store: Arc<dyn Datastore> = Arc::new(Embedded::open(options).unwrap());
        let ahead = |keys: &[&str]| {
            store.put("/a", b"1").unwrap();
            let reads = keys.iter().map(|key| Read::Key((*key).to_owned())).collect();
            let ahead = Ahead::of(Arc::clone(&store), reads).unwrap();
            store.put("/a", b"2").unwrap();
            ahead
        };
        let see = |ahead: &Ahead| -> Vec<Option<Vec<u8>>> {
            let found = ahead.get_all(&["/a".to_owned(), "/b".to_owned()]).unwrap();
            found.into_iter().map(|kv| kv.map(|kv| kv.value)).collect()
        };
        let all = ahead(&["/b", "/a"]);
        assert_eq!(see(&all), [Some(b"1".to_vec()), None]);
        assert_eq!(see(&all), [Some(b"2".to_vec()), None]);
        assert_eq!(see(&ahead(&["/a"])), [Some(b"2".to_vec()), None]);
    }
}
