//! The tables of the embedded datastore: files of version 1, revisions that never come again, values that are packed.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::{Change, Datastore, Error, List, Revision};

/// What a program of version 1 left behind: `/k/0` to `/k/3` and `/k/big` written and written again, `/k/1` deleted,
/// compacted at revision 7, and then revisions 8 to 12 (see the test), the newest of which deletes `/k/3`.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/version1.db");

fn options(directory: &tempfile::TempDir) -> Options {
    Options { durability: Durability::Normal, ..Options::new(directory.path().join("tortie.db")) }
}

fn version_1(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("tortie.db");
    std::fs::copy(VERSION_1, &path).unwrap();
    path
}

fn raw(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

fn one(path: &Path, query: &str) -> i64 {
    raw(path).query_row(query, [], |row| row.get(0)).unwrap()
}

/// As in the file; longer than a page.
fn big() -> Vec<u8> {
    b"{\"attributes\":{\"node\":\"worker-1\"}},".repeat(200)
}

fn values(store: &Embedded, at: Option<Revision>) -> Vec<(String, Vec<u8>, u64, u64)> {
    let items = store.list(&List { at, ..List::prefix("/") }).unwrap().items;
    items.into_iter().map(|kv| (kv.key, kv.value, kv.revision.0, kv.create_revision.0)).collect()
}

#[test]
fn a_file_of_version_1_is_taken_over_with_its_values_revisions_and_history() {
    let directory = tempfile::tempdir().unwrap();
    let path = version_1(&directory);
    let store = Embedded::open(options(&directory)).unwrap();
    let item = |key: &str, value: &[u8], rev, create| (format!("/k/{key}"), value.to_vec(), rev, create);
    let changed = [big(), b"changed".to_vec()].concat();
    let now = [item("0", b"third", 8, 1), item("2", b"again", 11, 11), item("big", &changed, 9, 6)];
    assert_eq!(store.revision().unwrap(), Revision(12));
    assert_eq!(values(&store, None), now);
    let then = [
        item("0", b"second", 5, 1),
        item("2", b"value 2", 3, 3),
        item("3", b"value 3", 4, 4),
        item("big", &big(), 6, 6),
    ];
    assert_eq!(values(&store, Some(Revision(7))), then);
    let outcome = store.list(&List { at: Some(Revision(6)), ..List::prefix("/") });
    assert!(matches!(outcome, Err(Error::Compacted { oldest: Revision(7), .. })), "{outcome:?}");
    let mut watch = store.watch("/", Revision(7)).unwrap();
    let changes = watch.next(std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(changes.iter().map(|change| change.revision().0).collect::<Vec<_>>(), [8, 9, 10, 11, 12]);
    assert!(matches!(changes[2], Change::Delete { .. }));
    assert_eq!(store.put("/k/0", b"fourth").unwrap(), Revision(13));
    store.check().unwrap();
    drop(store);
    assert_eq!(one(&path, "PRAGMA user_version"), 2);
    assert_eq!(one(&path, "SELECT count(*) FROM sqlite_schema WHERE name = 'log'"), 0);
    assert_eq!(Embedded::open(options(&directory)).unwrap().revision().unwrap(), Revision(13));
}

#[test]
fn version_1_may_have_dropped_its_newest_entry() {
    let directory = tempfile::tempdir().unwrap();
    let path = version_1(&directory);
    // As its compaction at revision 12 would have done, but for the older entries.
    raw(&path).execute_batch("DELETE FROM log WHERE rev = 12; DELETE FROM cur WHERE rev = 12;").unwrap();
    let store = Embedded::open(options(&directory)).unwrap();
    assert_eq!(store.revision().unwrap(), Revision(12));
    assert_eq!(store.put("/k/0", b"fourth").unwrap(), Revision(13));
}

#[test]
fn a_takeover_that_fails_leaves_version_1_as_it_was_and_can_be_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = version_1(&directory);
    // In the way of the last but one step, which is for a file whose newest entry is gone.
    let no = "CREATE TRIGGER no BEFORE UPDATE ON meta BEGIN SELECT raise(ABORT, 'no'); END;";
    raw(&path).execute_batch(&format!("DELETE FROM log WHERE rev = 12; {no}")).unwrap();
    let error = Embedded::open(options(&directory)).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert_eq!(one(&path, "PRAGMA user_version"), 1);
    assert_eq!(one(&path, "SELECT count(*) FROM log"), 8);
    assert_eq!(one(&path, "SELECT count(*) FROM sqlite_schema WHERE name = 'history'"), 0);
    raw(&path).execute_batch("DROP TRIGGER no").unwrap();
    assert_eq!(Embedded::open(options(&directory)).unwrap().revision().unwrap(), Revision(12));
}

#[test]
fn many_who_open_a_file_of_version_1_at_once_all_find_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    version_1(&directory);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let options = options(&directory);
            scope.spawn(move || {
                let store = Embedded::open(options).unwrap();
                assert_eq!(store.get("/k/2").unwrap().unwrap().value, b"again");
                store.create(&format!("/new/{number}"), b"").unwrap();
            });
        }
    });
    assert_eq!(Embedded::open(options(&directory)).unwrap().revision().unwrap(), Revision(20));
}

#[test]
fn a_revision_never_comes_again_after_the_newest_entry_is_compacted_and_the_file_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(options(&directory)).unwrap();
    store.create("/k", b"v").unwrap();
    store.delete("/k", None).unwrap();
    assert_eq!(store.compact(Revision(2)).unwrap(), 2);
    assert_eq!(one(store.path(), "SELECT count(*) FROM history"), 0);
    assert_eq!(store.revision().unwrap(), Revision(2));
    drop(store);
    let store = Embedded::open(options(&directory)).unwrap();
    assert_eq!(store.revision().unwrap(), Revision(2));
    let mut watch = store.watch("/", Revision(2)).unwrap();
    assert_eq!(store.create("/k", b"v").unwrap(), Revision(3));
    assert_eq!(watch.next(std::time::Duration::from_secs(60)).unwrap()[0].revision(), Revision(3));
}

#[test]
fn long_values_that_repeat_themselves_take_little_room_and_come_back_by_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(options(&directory)).unwrap();
    let long = big();
    let first = store.create("/k/long", &long).unwrap();
    store.put("/k/long", b"short").unwrap();
    store.create("/k/other", &long).unwrap();
    let stored = one(store.path(), "SELECT max(length(value)) FROM history");
    assert!(stored < 200, "{stored} bytes for {}", long.len());
    assert_eq!(store.get("/k/other").unwrap().unwrap().value, long);
    assert_eq!(values(&store, None)[1].1, long);
    assert_eq!(values(&store, Some(first))[0].1, long);
    let changes = store.watch("/", Revision(0)).unwrap().next(std::time::Duration::from_secs(60)).unwrap();
    assert!(matches!(&changes[0], Change::Put(kv) if kv.value == long));
    assert_eq!(store.delete("/k/other", None).unwrap().value, long);
    raw(store.path()).execute_batch("UPDATE history SET value = x'ff' WHERE rev = 1").unwrap();
    let error = store.list(&List { at: Some(first), ..List::prefix("/") }).unwrap_err().to_string();
    assert!(error.contains("packed value"), "{error}");
}
