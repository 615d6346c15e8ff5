//! A datastore that is lost in the middle of a command: what the user is told, and that a second run finishes.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::resources::Labels;
use tortie_store::{Datastore, KeyValue, List, Listing, Result, Revision, Watch, Write};

use super::*;

/// A real datastore that answers so many writes and then no more.
struct Failing {
    store: Embedded,
    left: AtomicUsize,
}

impl Failing {
    fn write<T>(&self, done: Result<T>) -> Result<T> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let lost =
            || Error::Unavailable { attempt: "write".to_owned(), cause: "connection refused".to_owned() };
        left.map_err(|_| lost()).and(done)
    }
}

impl Datastore for Failing {
    fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        self.store.get(key)
    }
    fn list(&self, list: &List) -> Result<Listing> {
        self.store.list(list)
    }
    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>> {
        self.store.watch(prefix, after)
    }
    fn create(&self, key: &str, value: &[u8]) -> Result<Revision> {
        // The write is done; its answer may be what is lost.
        self.write(self.store.create(key, value))
    }
    fn update(&self, key: &str, value: &[u8], expected: Revision) -> Result<Revision> {
        self.write(self.store.update(key, value, expected))
    }
    fn put(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.write(self.store.put(key, value))
    }
    fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue> {
        self.write(self.store.delete(key, expected))
    }
    fn write_all(&self, writes: &[Write]) -> Result<Vec<Revision>> {
        self.write(self.store.write_all(writes))
    }
    fn revision(&self) -> Result<Revision> {
        self.store.revision()
    }
    fn compact(&self, upto: Revision) -> Result<u64> {
        self.store.compact(upto)
    }
}

#[test]
fn a_datastore_that_is_lost_ends_the_command_which_says_what_is_done_and_what_is_not_known() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options { durability: Durability::Normal, ..Options::new(directory.path().join("tortie.db")) };
    let store = Arc::new(Failing { store: Embedded::open(options).unwrap(), left: AtomicUsize::new(3) });
    let client = Client::new(store.clone());
    let item = |number: usize| Item {
        kind: Kind::Tier,
        json: json!({
            "apiVersion": "projectcalico.org/v3", "kind": "Tier",
            "metadata": { "name": format!("t{number}") }, "spec": { "order": number },
        }),
        source: None,
    };
    let items: Vec<Item> = (0..10).map(item).collect();
    let common = Common {
        filename: None,
        recursive: false,
        skip_empty: false,
        store: Store { config: "none".into(), context: None, allow_version_mismatch: false },
        namespace: None,
    };
    let verb = Verb { present: "apply", past: "applied", style: Style::Summary };
    let apply = || {
        for_each(&common, &client, items.clone(), false, |client, item| {
            Ok(client.apply(validated(item)?, Labels::Merge)?)
        })
    };
    let Err(Failure::Command(told)) = apply().summary(&verb) else { unreachable!("the datastore was lost") };
    assert_eq!(
        told,
        "hit error: [datastore unavailable: write: connection refused]\n  applied: 3 of 10; Tier(t3) may be or not; not tried: 6. Run it again to finish."
    );
    assert_eq!(client.list(Kind::Tier, None).unwrap().items.len(), 4);
    store.left.store(100, Ordering::SeqCst);
    assert!(apply().summary(&verb).is_ok());
    assert_eq!(client.list(Kind::Tier, None).unwrap().items.len(), 10);
}
