//! What only the embedded datastore has: files, a queue, a notify file, history that is dropped by itself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tortie_store::embedded::{Durability, Embedded, Options, Retention};
use tortie_store::{Change, Datastore, Error, List, Revision};

/// A bound against hanging; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

fn mk_options(directory: &tempfile::TempDir) -> Options {
    Options { durability: Durability::Normal, ..Options::new(directory.path().join("tortie.db")) }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn directories_are_made_and_files_are_for_the_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/tortie.db");
    let store = Embedded::open(Options::new(&path)).unwrap();
    store.put("/k", b"v").unwrap();
    for suffix in ["", "-wal", "-shm", "-lock", "-notify"] {
        let mode = std::fs::metadata(beside(&path, suffix)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "tortie.db{suffix}");
    }
}

#[test]
fn the_settings_say_where_and_how_durable() {
    let with = |pairs: &'static [(&str, &str)]| {
        Options::from_settings(|name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let default = with(&[("TORTIE_DATABASE", "")]).unwrap();
    assert_eq!(default.path, Path::new("/var/lib/tortie/tortie.db"));
    assert_eq!(default.durability, Durability::Full);
    let options = with(&[("TORTIE_DATABASE", "/x/y.db"), ("TORTIE_DATABASE_SYNC", "Normal")]).unwrap();
    assert_eq!((options.path.as_path(), options.durability), (Path::new("/x/y.db"), Durability::Normal));
    let error = with(&[("TORTIE_DATABASE_SYNC", "off")]).unwrap_err().to_string();
    assert_eq!(error, "TORTIE_DATABASE_SYNC: found \"off\", expected \"full\" or \"normal\"");
}

#[test]
fn a_path_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    for path in [directory.path().join("file/tortie.db"), directory.path().to_path_buf()] {
        let error = Embedded::open(Options::new(&path)).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let options = mk_options(&directory);
    let text = "this is not a database, but somebody's notes; ".repeat(20);
    std::fs::write(&options.path, &text).unwrap();
    let error = Embedded::open(options.clone()).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&options.path).unwrap(), text);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = mk_options(&directory);
    drop(Embedded::open(options.clone()).unwrap());
    let raw = rusqlite::Connection::open(&options.path).unwrap();
    raw.pragma_update(None, "user_version", 3).unwrap();
    let outcome = Embedded::open(options).map(|_| ());
    assert!(matches!(outcome, Err(Error::Schema { found: 3, known: 2, .. })), "{outcome:?}");
}

#[test]
fn a_symbolic_link_leads_to_the_same_store_queue_and_notifications() {
    let directory = tempfile::tempdir().unwrap();
    let options = mk_options(&directory);
    let store = Embedded::open(options.clone()).unwrap();
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&options.path, &link).unwrap();
    let mut watch = store.watch("/", Revision::ZERO).unwrap();
    Embedded::open(Options::new(&link)).unwrap().put("/k", b"v").unwrap();
    assert_eq!(watch.next(PATIENCE).unwrap().len(), 1);
    assert!(!beside(&link, "-lock").exists());
}

#[test]
fn a_writer_that_died_between_commit_and_notification_is_seen_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let options = mk_options(&directory);
    let store = Embedded::open(options.clone()).unwrap();
    let mut watch = store.watch("/", Revision::ZERO).unwrap();
    let raw = rusqlite::Connection::open(&options.path).unwrap();
    raw.execute_batch(
        "BEGIN IMMEDIATE;
         INSERT INTO history VALUES (1, '/k', 0, 0, 0, 0, 0, x'76');
         INSERT INTO cur VALUES ('/k', 1, 1, 0);
         COMMIT;",
    )
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while seen.is_empty() && Instant::now() < deadline {
        seen = watch.next(PATIENCE).unwrap();
    }
    assert!(matches!(seen.as_slice(), [Change::Put(kv)] if kv.key == "/k" && kv.value == b"v"), "{seen:?}");
}

#[test]
fn a_writer_that_is_stopped_in_its_turn_makes_others_fail_and_not_hang() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { patience: Duration::from_millis(50), ..mk_options(&directory) };
    let store = Embedded::open(options.clone()).unwrap();
    store.put("/k", b"before").unwrap();
    let file = std::fs::File::options().write(true).open(beside(&options.path, "-lock")).unwrap();
    let turn = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let outcome = store.put("/k", b"never");
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    assert_eq!(store.get("/k").unwrap().unwrap().value, b"before", "readers are not held up");
    drop(turn);
    // Whoever gave up does not keep the queue shut.
    let patient = Embedded::open(Options { patience: PATIENCE, ..options }).unwrap();
    patient.put("/k", b"after").unwrap();
    assert_eq!(store.get("/k").unwrap().unwrap().value, b"after");
}

#[test]
fn a_database_that_was_replaced_under_a_watch_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let options = mk_options(&directory);
    let store = Embedded::open(options.clone()).unwrap();
    let mut watch = store.watch("/", Revision::ZERO).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(beside(&options.path, suffix)).unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match watch.next(PATIENCE) {
            Err(Error::Replaced { path }) => {
                assert!(path.ends_with("tortie.db"));
                break;
            }
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    }
}

#[test]
fn old_history_goes_by_itself_and_what_is_kept_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { revisions: 300, age: Duration::ZERO, most_revisions: 1_000 };
    let store = Embedded::open(Options { retention, ..mk_options(&directory) }).unwrap();
    for number in 0..1_500_u32 {
        store.put(&format!("/k/{}", number % 10), &number.to_le_bytes()).unwrap();
        if number % 10 == 9 {
            store.delete("/k/9", None).unwrap();
        }
    }
    let current = store.revision().unwrap();
    let oldest = match store.list(&List { at: Some(Revision(1)), ..List::prefix("/") }) {
        Err(Error::Compacted { oldest, .. }) => oldest,
        other => panic!("revision 1 is still there: {:?}", other.map(|listing| listing.items.len())),
    };
    let kept = current.0 - oldest.0;
    assert!((300..300 + 2 * 128).contains(&kept), "{kept} revisions are kept");
    assert_eq!(store.list(&List { at: Some(oldest), ..List::prefix("/") }).unwrap().revision, oldest);
    assert_eq!(store.list(&List::prefix("/")).unwrap().items.len(), 9);
    let raw = rusqlite::Connection::open(store.path()).unwrap();
    let rows: i64 = raw.query_row("SELECT count(*) FROM history", [], |row| row.get(0)).unwrap();
    assert!(rows <= i64::try_from(kept).unwrap() + 10, "{rows} rows for {kept} revisions");
    store.check().unwrap();
}

#[test]
fn young_history_stays_up_to_the_bound() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { revisions: 10, age: Duration::from_secs(3_600), most_revisions: 500 };
    let store = Embedded::open(Options { retention, ..mk_options(&directory) }).unwrap();
    for number in 0..400_u32 {
        store.put("/k", &number.to_le_bytes()).unwrap();
    }
    store.list(&List { at: Some(Revision(1)), ..List::prefix("/") }).unwrap();
    for number in 0..600_u32 {
        store.put("/k", &number.to_le_bytes()).unwrap();
    }
    let outcome = store.list(&List { at: Some(Revision(1)), ..List::prefix("/") });
    assert!(
        matches!(outcome, Err(Error::Compacted { oldest, .. }) if oldest >= Revision(300)),
        "{outcome:?}"
    );
}

#[test]
fn many_keys_are_written_at_once_in_the_order_given() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(mk_options(&directory)).unwrap();
    store.create("/k/1", b"old").unwrap();
    let last = store.put_many([("/k/2", &b"a"[..]), ("/k/1", b"b"), ("/k/2", b"c")]).unwrap();
    assert_eq!(last, Revision(4));
    let items = store.list(&List::prefix("/k/")).unwrap().items;
    let found: Vec<(&str, &[u8], u64, u64)> = items
        .iter()
        .map(|kv| (kv.key.as_str(), kv.value.as_slice(), kv.revision.0, kv.create_revision.0))
        .collect();
    assert_eq!(found, [("/k/1", &b"b"[..], 3, 1), ("/k/2", b"c", 4, 2)]);
}

#[test]
fn the_write_ahead_log_does_not_grow_with_the_number_of_writes() {
    let directory = tempfile::tempdir().unwrap();
    let options = mk_options(&directory);
    let store = Embedded::open(options.clone()).unwrap();
    let _watch = store.watch("/", Revision::ZERO).unwrap();
    for number in 0..3_000_u32 {
        store.put(&format!("/k/{}", number % 100), &[7; 4_000]).unwrap();
    }
    let size = std::fs::metadata(beside(&options.path, "-wal")).unwrap().size();
    assert!(size < 16 << 20, "{size} bytes");
}
