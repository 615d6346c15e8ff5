//! What a command on many objects does when they can't be written together, or the datastore is lost: what the user is
//! told, and that a second run finishes.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::resources::{Client, Labels};
use tortie_store::{Datastore, KeyValue, List, Listing, MOST_WRITES, Result, Revision, Watch, Write};

use super::*;

/// A real datastore that answers so many writes and then no more.
struct Failing {
    store: Embedded,
    left: AtomicUsize,
    /// It writes one key at a time.
    is_plain: bool,
}

impl Failing {
    fn write<T>(&self, done: Result<T>) -> Result<T> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let lost = || Error::Unknown { attempt: "write".to_owned(), cause: "connection closed".to_owned() };
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
    fn most_writes(&self) -> usize {
        if self.is_plain { 1 } else { MOST_WRITES }
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

fn failing(writes: usize) -> (tempfile::TempDir, Arc<Failing>) {
    made(writes, false)
}

fn made(writes: usize, is_plain: bool) -> (tempfile::TempDir, Arc<Failing>) {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options { durability: Durability::Normal, ..Options::new(directory.path().join("tortie.db")) };
    let store = Embedded::open(options).unwrap();
    (directory, Arc::new(Failing { store, left: AtomicUsize::new(writes), is_plain }))
}

fn tier(name: &str) -> Item {
    let json = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": { "name": name }, "spec": { "order": 1 },
    });
    Item { kind: Kind::Tier, json, source: None }
}

fn common() -> Common {
    Common {
        filename: None,
        recursive: false,
        skip_empty: false,
        store: Store { config: "none".into(), context: None, allow_version_mismatch: false },
        namespace: None,
    }
}

fn apply(client: &Client, items: &Items) -> Result<(), Failure> {
    let outcome = for_each(&common(), client, items.clone(), false, |client, item| {
        Ok(client.apply(validated(item)?, Labels::Merge)?)
    });
    outcome.summary(&Verb { present: "apply", past: "applied", style: Style::Summary })
}

fn tiers(client: &Client) -> usize {
    client.list(Kind::Tier, None).unwrap().items.len()
}

#[test]
fn a_datastore_that_is_lost_ends_the_command_which_says_what_is_done_and_what_is_not_known() {
    let (_directory, store) = failing(2);
    let client = Client::new(store.clone());
    let items: Items = (0..350).map(|number| tier(&format!("t{number}"))).collect();
    let Err(Failure::Command(told)) = apply(&client, &items) else { unreachable!("the datastore was lost") };
    assert_eq!(
        told,
        "hit error: [not known whether it was done: write: connection closed]\n  applied: 200 of 350; Tier(t200) to Tier(t299) may be or not, all 100 or none; not tried: 50. Run it again to finish."
    );
    assert_eq!(tiers(&client), 300);
    store.left.store(100, Ordering::SeqCst);
    assert!(apply(&client, &items).is_ok());
    assert_eq!(tiers(&client), 350);
}

#[test]
fn of_a_datastore_without_transactions_that_is_lost_each_object_that_is_not_known_is_named() {
    let (_directory, store) = made(148, true);
    let client = Client::new(store.clone());
    let items: Items = (0..250).map(|number| tier(&format!("t{number:03}"))).collect();
    let Err(Failure::Command(told)) = apply(&client, &items) else { unreachable!("the datastore was lost") };
    let unknown: Vec<String> = (148..200).map(|number| format!("Tier(t{number})")).collect();
    assert_eq!(
        told,
        format!(
            "hit error: [not known whether it was done: write: connection closed]\n  applied: 148 of 250; each of {} may be or not; not tried: 50. Run it again to finish.",
            unknown.join(", ")
        )
    );
    store.left.store(100, Ordering::SeqCst);
    assert!(apply(&client, &items).is_ok());
    assert_eq!(tiers(&client), 250);
}

#[test]
fn one_that_is_refused_does_not_hold_up_those_it_came_with() {
    [false, true].into_iter().for_each(refused_among_others);
}

fn refused_among_others(is_plain: bool) {
    let (_directory, store) = made(usize::MAX, is_plain);
    let client = Client::new(store.clone());
    let mut faulty = tier("t1");
    faulty.json["spec"]["order"] = json!("x");
    let stale = {
        let mut stored = client.create(tier("t2").json).unwrap();
        stored["metadata"]["resourceVersion"] = json!("1000000");
        Item { json: stored, ..tier("t2") }
    };
    let items: Items = [tier("t0"), faulty, stale, tier("t3")].into_iter().collect();
    let Err(Failure::Command(told)) = apply(&client, &items) else { unreachable!("two were refused") };
    assert!(told.contains("update conflict: Tier(t2)"), "{told}");
    assert_eq!(tiers(&client), 3, "{told}");
}

#[test]
fn what_names_an_object_twice_is_done_twice_in_order() {
    [false, true].into_iter().for_each(named_twice);
}

fn named_twice(is_plain: bool) {
    let (_directory, store) = made(usize::MAX, is_plain);
    let client = Client::new(store.clone());
    let mut later = tier("t0");
    later.json["spec"]["order"] = json!(2);
    let items: Items = [tier("t0"), tier("t1"), later].into_iter().collect();
    assert!(apply(&client, &items).is_ok());
    let stored = client.get(&ResourceKey::cluster(Kind::Tier, "t0")).unwrap();
    assert_eq!((stored["spec"]["order"].as_f64(), tiers(&client)), (Some(2.0), 2));
}

#[test]
fn what_another_writes_meanwhile_is_not_lost() {
    [false, true].into_iter().for_each(changed_meanwhile);
}

fn changed_meanwhile(is_plain: bool) {
    let (_directory, store) = made(usize::MAX, is_plain);
    let client = Client::new(store.clone());
    let items: Items = (0..3).map(|number| tier(&format!("t{number}"))).collect();
    apply(&client, &items).unwrap_or_else(|_| unreachable!("nothing is there yet"));
    let mut label = tier("t1").json;
    label["metadata"]["labels"] = json!({ "by": "another" });
    let changed = (0..3).map(|number| {
        let mut item = tier(&format!("t{number}"));
        item.json["spec"]["order"] = json!(7);
        item
    });
    let mut first = true;
    let outcome = for_each(&common(), &client, changed.collect::<Items>(), false, |on, item| {
        // After the batch has read what is there, before it writes.
        if std::mem::take(&mut first) {
            client.apply(label.clone(), Labels::Merge)?;
        }
        Ok(on.apply(validated(item)?, Labels::Merge)?)
    });
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    let stored = client.get(&ResourceKey::cluster(Kind::Tier, "t1")).unwrap();
    assert_eq!(stored["metadata"]["labels"]["by"], "another");
    assert_eq!(stored["spec"]["order"].as_f64(), Some(7.0));
}

#[test]
fn what_is_as_it_should_be_is_not_written_again() {
    let (_directory, store) = failing(usize::MAX);
    let client = Client::new(store.clone());
    let items: Items = (0..150).map(|number| tier(&format!("t{number}"))).collect();
    apply(&client, &items).unwrap_or_else(|_| unreachable!("nothing is there yet"));
    let before = store.revision().unwrap();
    apply(&client, &items).unwrap_or_else(|_| unreachable!("nothing has changed"));
    assert_eq!(store.revision().unwrap(), before);
}

/// Applies a file of so many tiers with `end` behind them, while it is read.
fn apply_file(store: &Arc<Failing>, count: usize, end: &str) -> std::result::Result<(), Failure> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let text: String =
        (0..count).map(|number| format!("---\n{}\n", tier(&format!("t{number}")).json)).collect();
    std::fs::write(file.path(), text + end).unwrap();
    let common = Common { filename: Some(file.path().to_owned()), ..common() };
    let outcome = while_reading(&common, |coming, gate| {
        let client = gate.before(&Client::new(store.clone()));
        Ok(for_each(&common, &client, coming, false, |client, item| {
            Ok(client.apply(validated(item)?, Labels::Merge)?)
        }))
    });
    outcome?.summary(&Verb { present: "apply", past: "applied", style: Style::Summary })
}

#[test]
fn nothing_is_written_of_files_that_have_a_fault_at_their_end() {
    for (writes, end) in [(usize::MAX, "---\nkind: Nonsense\n"), (usize::MAX, "---\n[\n"), (0, "---\n[\n")] {
        let (_directory, store) = failing(writes);
        let failure = apply_file(&store, 450, end);
        assert!(matches!(failure, Err(Failure::File { .. })), "{failure:?}");
        assert_eq!(store.revision().unwrap(), Revision::ZERO);
    }
}

#[test]
fn files_that_are_read_meanwhile_are_written_whole_and_told_of_as_others() {
    let (_directory, store) = failing(2);
    let Err(Failure::Command(told)) = apply_file(&store, 350, "") else {
        unreachable!("the datastore was lost")
    };
    assert!(told.contains("applied: 200 of 350; Tier(t200) to Tier(t299)"), "{told}");
    assert!(told.ends_with("not tried: 50. Run it again to finish."), "{told}");
    store.left.store(100, Ordering::SeqCst);
    assert!(apply_file(&store, 350, "").is_ok());
    assert_eq!(tiers(&Client::new(store)), 350);
}
