//! A datastore over another one: what it does itself is said, and all else goes to the one below.
//!
//! ```text
//! Layer (what differs) -> Datastore (each method, once, for every layer) -> below
//! ```
//! [`crate::ahead::Ahead`] answers reads from what it has read; others let writes through only while something holds
//! ([`Layer::may_write`]). Its methods have other names than [`Datastore`]'s, so that of a layer both can be called.

use std::sync::Arc;

use crate::{Datastore, KeyValue, List, Listing, Read, Result, Revision, Watch, Write};

/// What a layer does itself.
pub trait Layer: Send + Sync {
    /// The datastore below; asked for at the beginning of each call.
    fn below(&self) -> &dyn Datastore;

    /// Asked before anything is written or forgotten: `attempt` is to be done to `key`.
    ///
    /// # Errors
    /// Why it may not be.
    fn may_write(&self, attempt: &str, key: &str) -> Result<()> {
        let _ = (attempt, key);
        Ok(())
    }

    /// See [`Datastore::get`].
    ///
    /// # Errors
    /// The same.
    fn find(&self, key: &str) -> Result<Option<KeyValue>> {
        self.below().get(key)
    }

    /// See [`Datastore::get_all`].
    ///
    /// # Errors
    /// The same.
    fn find_all(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>> {
        self.below().get_all(keys)
    }

    /// See [`Datastore::list`].
    ///
    /// # Errors
    /// The same.
    fn page(&self, list: &List) -> Result<Listing> {
        self.below().list(list)
    }

    /// This layer over what [`Datastore::deferred`] is below; none if writes wait for the disk each by itself here.
    fn over(&self, deferred: Arc<dyn Datastore>) -> Option<Arc<dyn Datastore>> {
        let _ = deferred;
        None
    }
}

impl<L: Layer> Datastore for L {
    fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        self.find(key)
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>> {
        self.find_all(keys)
    }

    fn read_all(&self, reads: &[Read]) -> Result<Vec<Listing>> {
        self.below().read_all(reads)
    }

    fn list(&self, list: &List) -> Result<Listing> {
        self.page(list)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>> {
        self.below().watch(prefix, after)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.may_write("create", key)?;
        self.below().create(key, value)
    }

    fn update(&self, key: &str, value: &[u8], expected: Revision) -> Result<Revision> {
        self.may_write("update", key)?;
        self.below().update(key, value, expected)
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.may_write("put", key)?;
        self.below().put(key, value)
    }

    fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue> {
        self.may_write("delete", key)?;
        self.below().delete(key, expected)
    }

    fn most_writes(&self) -> usize {
        self.below().most_writes()
    }

    fn knows_pods(&self) -> bool {
        self.below().knows_pods()
    }

    fn write_all(&self, writes: &[Write]) -> Result<Vec<Revision>> {
        let Some(first) = writes.first() else { return Ok(Vec::new()) };
        self.may_write("write", &first.key)?;
        self.below().write_all(writes)
    }

    fn write_each(&self, writes: &[Write]) -> Vec<Result<Revision>> {
        let Some(first) = writes.first() else { return Vec::new() };
        match self.may_write("write", &first.key) {
            Ok(()) => self.below().write_each(writes),
            Err(error) => writes.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn revision(&self) -> Result<Revision> {
        self.below().revision()
    }

    fn compact(&self, upto: Revision) -> Result<u64> {
        self.may_write("forget", "the history")?;
        self.below().compact(upto)
    }

    fn trim(&self, since: Revision, upto: Revision) -> Result<bool> {
        self.may_write("forget", "the history")?;
        self.below().trim(since, upto)
    }

    fn deferred(&self) -> Option<Arc<dyn Datastore>> {
        self.over(self.below().deferred()?)
    }

    fn persist(&self) -> Result<()> {
        self.below().persist()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::Error;
    use crate::embedded::{Durability, Embedded, Options};

    /// Writes go side by side, as the Kubernetes API's, and none ends before two are under way.
    struct Parallel(Embedded, Barrier);

    impl Datastore for Parallel {
        fn get(&self, key: &str) -> Result<Option<KeyValue>> {
            self.0.get(key)
        }
        fn list(&self, list: &List) -> Result<Listing> {
            self.0.list(list)
        }
        fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>> {
            self.0.watch(prefix, after)
        }
        fn create(&self, key: &str, value: &[u8]) -> Result<Revision> {
            self.0.create(key, value)
        }
        fn update(&self, key: &str, value: &[u8], expected: Revision) -> Result<Revision> {
            self.0.update(key, value, expected)
        }
        fn put(&self, key: &str, value: &[u8]) -> Result<Revision> {
            self.0.put(key, value)
        }
        fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue> {
            self.0.delete(key, expected)
        }
        fn write_all(&self, writes: &[Write]) -> Result<Vec<Revision>> {
            self.1.wait();
            self.0.write_all(writes)
        }
        fn write_each(&self, writes: &[Write]) -> Vec<Result<Revision>> {
            std::thread::scope(|scope| {
                let one = |write: &Write| {
                    let write = write.clone();
                    scope.spawn(move || self.write_one(write))
                };
                let running: Vec<_> = writes.iter().map(one).collect();
                running.into_iter().map(|one| one.join().unwrap()).collect()
            })
        }
        fn revision(&self) -> Result<Revision> {
            self.0.revision()
        }
        fn compact(&self, upto: Revision) -> Result<u64> {
            self.0.compact(upto)
        }
    }

    struct Gate {
        below: Arc<dyn Datastore>,
        is_open: AtomicBool,
    }

    impl Layer for Gate {
        fn below(&self) -> &dyn Datastore {
            &*self.below
        }

        fn may_write(&self, attempt: &str, key: &str) -> Result<()> {
            match self.is_open.load(Ordering::Relaxed) {
                true => Ok(()),
                false => {
                    Err(Error::Refused { attempt: format!("{attempt} {key}"), cause: "closed".to_owned() })
                }
            }
        }
    }

    fn gate(below: impl Datastore + 'static) -> Gate {
        Gate { below: Arc::new(below), is_open: AtomicBool::new(true) }
    }

    fn embedded(directory: &tempfile::TempDir) -> Embedded {
        let path = directory.path().join("tortie.db");
        Embedded::open(Options { durability: Durability::Normal, ..Options::new(path) }).unwrap()
    }

    #[test]
    fn writes_that_go_side_by_side_below_go_side_by_side_through_a_layer() {
        let directory = tempfile::tempdir().unwrap();
        let store = gate(Parallel(embedded(&directory), Barrier::new(2)));
        let written = store.write_each(&[Write::create("/a", b"1"), Write::create("/b", b"2")]);
        assert!(written.iter().all(Result::is_ok), "{written:?}");
        assert_eq!(store.get("/b").unwrap().unwrap().value, b"2");
    }

    #[test]
    fn a_gate_that_is_closed_keeps_every_write_out_and_no_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = gate(embedded(&directory));
        store.put("/a", b"1").unwrap();
        let revision = store.get("/a").unwrap().unwrap().revision;
        store.is_open.store(false, Ordering::Relaxed);
        let write = || vec![Write::put("/a", b"2"), Write::put("/b", b"2")];
        let mut refused: Vec<Result<()>> = vec![
            store.create("/b", b"2").map(drop),
            store.update("/a", b"2", revision).map(drop),
            store.put("/a", b"2").map(drop),
            store.delete("/a", None).map(drop),
            store.write_all(&write()).map(drop),
            store.write_one(Write::put("/a", b"2")).map(drop),
            store.compact(revision).map(drop),
            store.trim(revision, revision).map(drop),
        ];
        refused.extend(store.write_each(&write()).into_iter().map(|written| written.map(drop)));
        assert!(refused.iter().all(|one| matches!(one, Err(Error::Refused { .. }))), "{refused:?}");
        assert!(store.deferred().is_none(), "no way around");
        assert_eq!(store.list_all("/").unwrap().items.len(), 1);
        assert_eq!(store.get("/a").unwrap().unwrap().value, b"1");
    }
}
