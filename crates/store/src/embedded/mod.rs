//! The embedded datastore: one SQLite file in WAL mode, opened by agent, commands and CNI plugin alike.
//!
//! There is no server. Writers wait in a [`queue`], write the `log`, and then touch the notify file, on which the
//! [`watch`]es of all processes hold an inotify watch; last, they wait for the disk ([`persist`]). Opening is cheap, because a CNI plugin lives for a few
//! milliseconds. Every 128th write also drops some old history, so that nobody has to come by for it.
//!
//! Beside `tortie.db` lie `tortie.db-wal` and `-shm` (SQLite's), `-lock` (the queue) and `-notify`, all with mode 0600.
//! Local disks only. The `sqlite3` program of a distribution may have a bug that damages WAL files: open the file with
//! `mode=ro` there.

mod log;
mod options;
mod pack;
mod persist;
mod queue;
mod schema;
mod watch;

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, TransactionBehavior};

use crate::{Datastore, Error, KeyValue, List, Listing, Read, Result, Revision, Watch};
use log::{Head, Write, Writer};
pub use options::{DEFAULT_PATH, Durability, Options, Retention};
use persist::Persist;

/// Every how many writes old history is dropped, and how much at most: twice as much as is added.
const TRIM_EVERY: u64 = 128;
const TRIM_BATCH: usize = 256;

/// How many versions one transaction of a compaction drops, so that no writer waits long.
const COMPACT_BATCH: usize = 1_000;

/// How many idle connections are kept; more are opened when more threads read at once.
const IDLE_CONNECTIONS: usize = 4;

/// An open embedded datastore. Clones share it, as threads may.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
    /// Whether a write waits for what [`Durability`] promises, or its caller does.
    waits: bool,
}

/// What the clones and watches of one open datastore have in common.
struct Shared {
    path: PathBuf,
    options: Options,
    queue: queue::Queue,
    persist: Persist,
    notify_path: PathBuf,
    notify: File,
    /// The file that was opened, to see whether the path still leads to it.
    inode: (u64, u64),
    idle: Mutex<Vec<Connection>>,
}

/// What goes wrong inside a transaction: SQLite's fault or ours.
enum Failure {
    Sql(rusqlite::Error),
    Store(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

impl Failure {
    fn during(self, attempt: &str, path: &Path) -> Error {
        match self {
            Failure::Sql(error) => Error::unavailable(format!("{attempt} in {}", path.display()), error),
            Failure::Store(error) => error,
        }
    }
}

impl Embedded {
    /// Open the datastore, and make it if it isn't there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the path cannot be used, [`Error::Schema`] if a newer version wrote it.
    pub fn open(options: Options) -> Result<Embedded> {
        let failed =
            |error: std::io::Error| Error::unavailable(format!("open {}", options.path.display()), error);
        if let Some(directory) = options.path.parent()
            && !directory.as_os_str().is_empty()
        {
            DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
        }
        let file = queue::open(&options.path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        drop(file);
        let path = options.path.canonicalize().map_err(failed)?;
        let notify_path = beside(&path, "-notify");
        let shared = Shared {
            queue: queue::Queue::new(beside(&path, "-lock"), options.patience),
            persist: Persist::new(beside(&path, "-wal")),
            notify: queue::open(&notify_path).map_err(failed)?,
            notify_path,
            inode: (metadata.dev(), metadata.ino()),
            idle: Mutex::new(Vec::new()),
            path,
            options,
        };
        shared.put_back(shared.first_connection(metadata.len() == 0)?);
        Ok(Embedded { shared: Arc::new(shared), waits: true })
    }

    /// The database file, with symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Write many keys in one transaction, whatever is there: for imports and benchmarks. Either all are written or none.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn put_many<'a>(&self, items: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Revision> {
        self.write("write many keys", |writer| {
            for (key, value) in items {
                let head = log::head(writer.connection, key)?;
                writer.append(key, head, Write::Value(value))?;
            }
            Ok(writer.revision())
        })
    }

    /// Ask SQLite whether the file is whole: `Ok` if it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with SQLite's words.
    pub fn check(&self) -> Result<()> {
        let verdict: String = self.shared.read("check the database", |connection| {
            Ok(connection.query_row("PRAGMA quick_check", [], |row| row.get(0))?)
        })?;
        if verdict == "ok" { Ok(()) } else { Err(Error::unavailable("check the database", verdict)) }
    }

    /// Run `body` in a transaction in its turn; wait for the disk afterwards, unless the caller does.
    fn write<T>(
        &self,
        attempt: &str,
        body: impl FnOnce(&mut Writer<'_>) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let outcome = self.shared.write(attempt, body)?;
        if self.waits {
            self.shared.persist()?;
        }
        Ok(outcome)
    }

    /// One write of one key: `decide` sees what is there and says what to write.
    fn write_key<'a>(
        &self,
        attempt: &str,
        key: &str,
        decide: impl FnOnce(Option<Head>) -> Result<Write<'a>>,
    ) -> Result<Revision> {
        let revision = self.write(attempt, |writer| {
            let head = log::head(writer.connection, key)?;
            let write = decide(head.filter(|head| !head.deleted))?;
            Ok(writer.append(key, head, write)?)
        })?;
        self.shared.trim_after(revision);
        Ok(revision)
    }
}

impl Shared {
    /// Makes the tables if they aren't there. Only one process may turn an empty file into a WAL database.
    fn first_connection(&self, empty: bool) -> Result<Connection> {
        let turn = if empty { Some(self.queue.enter()?) } else { None };
        let mut connection = self.connect()?;
        if !schema::ready(&connection, &self.path)? {
            let _turn = if turn.is_some() { turn } else { Some(self.queue.enter()?) };
            schema::migrate(&mut connection, &self.path)?;
        }
        Ok(connection)
    }

    fn connect(&self) -> Result<Connection> {
        schema::connect(&self.path, self.options.patience)
    }

    /// Wait until all that this process has committed has outlived what [`Durability`] says.
    fn persist(&self) -> Result<()> {
        match self.options.durability {
            Durability::Full => self.persist.wait(),
            Durability::Normal => Ok(()),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> Result<Connection> {
        let idle = self.idle().pop();
        match idle {
            Some(connection) => Ok(connection),
            None => self.connect(),
        }
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }

    /// Run `body` on a snapshot.
    fn read<T>(
        &self,
        attempt: &str,
        body: impl FnOnce(&Connection) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        self.transaction(attempt, TransactionBehavior::Deferred, body)
    }

    /// Run `body`, which is one statement and so sees one state without a transaction around it.
    fn read_one<T>(&self, attempt: &str, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection = self.connection()?;
        let found = body(&connection).map_err(|error| Failure::Sql(error).during(attempt, &self.path))?;
        self.put_back(connection);
        Ok(found)
    }

    /// Run `body` in its turn; commit; tell the watches. Does not wait for the disk.
    fn write<T>(
        &self,
        attempt: &str,
        body: impl FnOnce(&mut Writer<'_>) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let _turn = self.queue.enter()?;
        let (outcome, revision) =
            self.transaction(attempt, TransactionBehavior::Immediate, |connection| {
                let mut writer = Writer::new(connection, now_ms())?;
                let outcome = body(&mut writer)?;
                Ok((outcome, writer.revision()))
            })?;
        self.persist.committed();
        // The write stands, told or not: who isn't told finds it with the next poll.
        if let Err(error) = self.notify.write_all_at(&revision.0.to_le_bytes(), 0) {
            tracing::warn!(path = %self.notify_path.display(), %error, "watches are late");
        }
        Ok(outcome)
    }

    fn transaction<T>(
        &self,
        attempt: &str,
        behavior: TransactionBehavior,
        body: impl FnOnce(&Connection) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut connection = self.connection()?;
        let outcome = (|| {
            let transaction = connection.transaction_with_behavior(behavior)?;
            let outcome = body(&transaction)?;
            transaction.commit()?;
            Ok(outcome)
        })();
        match outcome {
            Ok(outcome) => {
                self.put_back(connection);
                Ok(outcome)
            }
            Err(failure @ Failure::Sql(_)) => Err(failure.during(attempt, &self.path)),
            Err(Failure::Store(error)) => {
                self.put_back(connection);
                Err(error)
            }
        }
    }

    /// Drop a little old history after every so many writes. That the write stands does not hang on it.
    fn trim_after(&self, revision: Revision) {
        if revision.0.is_multiple_of(TRIM_EVERY)
            && let Err(error) = self.trim()
        {
            tracing::warn!(path = %self.path.display(), %error, "old history stays for now");
        }
    }

    /// Drop a little of what [`Retention`] does not keep.
    fn trim(&self) -> Result<()> {
        let Retention { revisions, age, most_revisions } = self.options.retention;
        self.write("drop old history", |writer| {
            let (connection, current) = (writer.connection, writer.revision().0);
            let may = Revision(current.saturating_sub(revisions));
            let must = Revision(current.saturating_sub(most_revisions));
            if may <= log::compacted(connection)? {
                return Ok(());
            }
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let old = log::older_than(connection, writer.at.saturating_sub(age), may, TRIM_BATCH)?;
            log::compact(connection, old.max(must), TRIM_BATCH)?;
            Ok(())
        })
    }

    /// Whether the path still leads to the file that was opened.
    fn still_there(&self) -> Result<()> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == self.inode => Ok(()),
            _ => Err(Error::Replaced { path: self.path.display().to_string() }),
        }
    }
}

impl Datastore for Embedded {
    fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        self.shared.read_one("get", |connection| log::get(connection, key))
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>> {
        self.shared.read("get", |connection| {
            Ok(keys.iter().map(|key| log::get(connection, key)).collect::<rusqlite::Result<_>>()?)
        })
    }

    fn read_all(&self, reads: &[Read]) -> Result<Vec<Listing>> {
        self.shared.read("read", |connection| {
            let revision = log::revision(connection)?;
            let read = |read: &Read| match read {
                Read::Key(key) => {
                    let items = log::get(connection, key)?.into_iter().collect();
                    Ok(Listing { revision, items, more: false })
                }
                Read::Prefix(prefix) => log::list(connection, &List::prefix(prefix.as_str()), revision),
            };
            Ok(reads.iter().map(read).collect::<rusqlite::Result<_>>()?)
        })
    }

    fn list(&self, list: &List) -> Result<Listing> {
        self.shared.read("list", |connection| {
            let current = log::revision(connection)?;
            let at = match list.at {
                None => current,
                Some(asked) if asked > current => return Err(Error::Future { asked, current }.into()),
                Some(asked) => {
                    let oldest = log::compacted(connection)?;
                    if asked < oldest {
                        return Err(Error::Compacted { asked, oldest }.into());
                    }
                    asked
                }
            };
            Ok(log::list(connection, list, at)?)
        })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>> {
        Ok(Box::new(watch::EmbeddedWatch::start(Arc::clone(&self.shared), prefix, after)?))
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.write_key("create", key, |head| match head {
            Some(head) => Err(Error::Exists { key: key.into(), found: head.revision() }),
            None => Ok(Write::Value(value)),
        })
    }

    fn update(&self, key: &str, value: &[u8], expected: Revision) -> Result<Revision> {
        self.write_key("update", key, |head| {
            check_revision(key, head, Some(expected))?;
            Ok(Write::Value(value))
        })
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.write_key("put", key, |_| Ok(Write::Value(value)))
    }

    fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue> {
        let (old, revision) = self.write("delete", |writer| {
            let head = log::head(writer.connection, key)?;
            check_revision(key, head.filter(|head| !head.deleted), expected)?;
            let old = log::get(writer.connection, key)?.ok_or_else(|| Error::NotFound { key: key.into() })?;
            let revision = writer.append(key, head, Write::Tombstone)?;
            Ok((old, revision))
        })?;
        self.shared.trim_after(revision);
        Ok(old)
    }

    fn write_all(&self, writes: &[crate::Write]) -> Result<Vec<Revision>> {
        let revisions = self.write("write several keys", |writer| {
            let mut revisions = Vec::with_capacity(writes.len());
            for write in writes {
                let head = log::head(writer.connection, &write.key)?;
                let found = head.filter(|head| !head.deleted).map(|head| head.revision());
                if let Some(fault) = write.fault(found) {
                    return Err(fault.into());
                }
                let value = write.value.as_deref().map_or(Write::Tombstone, Write::Value);
                revisions.push(writer.append(&write.key, head, value)?);
            }
            Ok(revisions)
        })?;
        revisions.iter().for_each(|revision| self.shared.trim_after(*revision));
        Ok(revisions)
    }

    fn revision(&self) -> Result<Revision> {
        self.shared.read_one("read the revision", log::revision)
    }

    fn deferred(&self) -> Option<Arc<dyn Datastore>> {
        Some(Arc::new(Embedded { shared: Arc::clone(&self.shared), waits: false }))
    }

    fn persist(&self) -> Result<()> {
        self.shared.persist()
    }

    fn compact(&self, upto: Revision) -> Result<u64> {
        let mut dropped = 0;
        loop {
            let (batch, done) = self.write("compact", |writer| {
                let current = writer.revision();
                if upto > current {
                    return Err(Error::Future { asked: upto, current }.into());
                }
                Ok(log::compact(writer.connection, upto, COMPACT_BATCH)?)
            })?;
            dropped += batch;
            if done {
                return Ok(dropped);
            }
        }
    }
}

/// That `key` is there, and at the revision that was expected, if one was.
fn check_revision(key: &str, head: Option<Head>, expected: Option<Revision>) -> Result<()> {
    let Some(head) = head else { return Err(Error::NotFound { key: key.into() }) };
    match expected {
        Some(expected) if expected != head.revision() => {
            Err(Error::Conflict { key: key.into(), expected, found: head.revision() })
        }
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Milliseconds since 1970. Only how long history is kept depends on it.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
