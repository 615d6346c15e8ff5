//! The trait that every datastore implements: ordered keys, bytes, revisions, watches.
//!
//! The model is etcd's. The datastore has one revision, which grows by one with every write and never goes back; each
//! key carries the revision that wrote it last. (Keys that are written together may share one.) The calls block; agent and commands use threads. Nothing here knows what
//! a key or a value means: that is `keys` and `resources`. Next hop of a write: a [`Watch`] in another process.

use std::fmt;
use std::num::ParseIntError;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::Result;

/// A point in the datastore's history; an empty datastore is at 0, or at 1 if it is etcd. [`Revision::ZERO`] is before everything.
///
/// It is what the API shows as `resourceVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first write.
    pub const ZERO: Revision = Revision(0);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Revision, ParseIntError> {
        text.parse().map(Revision)
    }
}

/// A key, its value, and where in the history they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, for example `/calico/resources/v3/projectcalico.org/tiers/default`.
    pub key: String,
    /// The value, JSON for everything that Calico stores; usually below 2 kB.
    pub value: Vec<u8>,
    /// The write that set this value.
    pub revision: Revision,
    /// The write that created the key; a delete and a create start anew. [`Revision::ZERO`] where that isn't told.
    pub create_revision: Revision,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// Keys that begin with this; the empty string is everything. It is compared byte by byte, so a directory ends in `/`.
    pub prefix: String,
    /// The state at this revision; `None` is the current one. Later pages pass the revision of the first.
    pub at: Option<Revision>,
    /// Begin behind this key: the last one of the page before.
    pub after: Option<String>,
    /// At most so many items; `None` is all.
    pub limit: Option<usize>,
}

impl List {
    /// All of `prefix`, as of now, in one page.
    pub fn prefix(prefix: impl Into<String>) -> List {
        List { prefix: prefix.into(), ..List::default() }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The revision of which this is the state. A watch from here misses nothing and repeats nothing.
    pub revision: Revision,
    /// What was found, sorted by key.
    pub items: Vec<KeyValue>,
    /// Whether there are more items behind the last.
    pub more: bool,
}

/// What to read, of several things at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// A key.
    Key(String),
    /// All keys that begin with this.
    Prefix(String),
}

/// How many keys [`Datastore::write_all`] writes at most, anywhere: what etcd takes in one transaction.
pub const MOST_WRITES: usize = 128;

/// How many keys one request of [`Datastore::get_all`] reads, and prefixes one of [`Datastore::read_all`], where reads are requests.
pub const MOST_READS: usize = 128;

/// What must stand at a key for it to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever; what is deleted must be there all the same.
    Anything,
    /// Nothing.
    Absent,
    /// Something.
    Present,
    /// What was written then.
    At(Revision),
}

/// One of several writes that are made together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: String,
    /// What to write; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// What must be there.
    pub expect: Expect,
}

impl Write {
    /// As [`Datastore::create`].
    pub fn create(key: &str, value: &[u8]) -> Write {
        Write { key: key.to_owned(), value: Some(value.to_vec()), expect: Expect::Absent }
    }

    /// As [`Datastore::update`].
    pub fn update(key: &str, value: &[u8], expected: Revision) -> Write {
        Write { key: key.to_owned(), value: Some(value.to_vec()), expect: Expect::At(expected) }
    }

    /// As [`Datastore::put`].
    pub fn put(key: &str, value: &[u8]) -> Write {
        Write { key: key.to_owned(), value: Some(value.to_vec()), expect: Expect::Anything }
    }

    /// As [`Datastore::delete`].
    pub fn delete(key: &str, expected: Option<Revision>) -> Write {
        Write { key: key.to_owned(), value: None, expect: expected.map_or(Expect::Present, Expect::At) }
    }

    /// Why this can't be written when the key stands at revision `found`, or nothing is there.
    pub fn fault(&self, found: Option<Revision>) -> Option<crate::Error> {
        let key = self.key.clone();
        match (self.expect, found) {
            (Expect::Absent, Some(found)) => Some(crate::Error::Exists { key, found }),
            (Expect::Anything, None) if self.value.is_none() => Some(crate::Error::NotFound { key }),
            (Expect::Present | Expect::At(_), None) => Some(crate::Error::NotFound { key }),
            (Expect::At(expected), Some(found)) if expected != found => {
                Some(crate::Error::Conflict { key, expected, found })
            }
            (Expect::Anything, _) | (Expect::Absent, None) | (Expect::Present | Expect::At(_), Some(_)) => {
                None
            }
        }
    }
}

/// What a watch reports. Changes come in the order of their revisions, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key was created or changed; it was created if both revisions are equal (where that is told).
    Put(KeyValue),
    /// A key was deleted.
    Delete {
        /// The key that is no more.
        key: String,
        /// The write that deleted it.
        revision: Revision,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Change::Put(kv) => &kv.key,
            Change::Delete { key, .. } => key,
        }
    }

    /// The write that changed it.
    pub fn revision(&self) -> Revision {
        match self {
            Change::Put(kv) => kv.revision,
            Change::Delete { revision, .. } => *revision,
        }
    }
}

/// A running watch. Dropping it ends it.
pub trait Watch: Send {
    /// The next changes, at most about a thousand, or none when `timeout` has passed.
    ///
    /// # Errors
    /// [`crate::Error::Compacted`] when the watch fell behind what is kept: list again and watch from there. After
    /// [`crate::Error::Unavailable`] the same call may be repeated; nothing is lost.
    fn next(&mut self, timeout: Duration) -> Result<Vec<Change>>;

    /// A descriptor that polls readable whenever [`Watch::next`] with a timeout of zero should be called (which then may
    /// still find nothing). For event loops.
    fn fd(&self) -> BorrowedFd<'_>;
}

/// A datastore.
pub trait Datastore: Send + Sync {
    /// The value of `key`, or `None` if there is none.
    fn get(&self, key: &str) -> Result<Option<KeyValue>>;

    /// The values of many keys, in the order of `keys`, with as few requests as there may be. Each is as of some moment during
    /// the call.
    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Keys and prefixes, with as few requests as there may be; a list each, in the order of `reads` and sorted by key. For
    /// prefixes with few keys: there are no pages.
    fn read_all(&self, reads: &[Read]) -> Result<Vec<Listing>> {
        let read = |read: &Read| match read {
            Read::Prefix(prefix) => self.list_all(prefix),
            Read::Key(key) => {
                let revision = self.revision()?;
                Ok(Listing { revision, items: self.get(key)?.into_iter().collect(), more: false })
            }
        };
        reads.iter().map(read).collect()
    }

    /// A page of the keys with a prefix.
    ///
    /// # Errors
    /// [`crate::Error::Compacted`] and [`crate::Error::Future`] for a revision that cannot be read: begin again without one.
    fn list(&self, list: &List) -> Result<Listing>;

    /// The changes of keys with `prefix` after revision `after`, past ones first.
    ///
    /// # Errors
    /// [`crate::Error::Compacted`] if some of them are gone, here or from [`Watch::next`].
    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>>;

    /// Write a key that must not exist.
    ///
    /// # Errors
    /// [`crate::Error::Exists`].
    fn create(&self, key: &str, value: &[u8]) -> Result<Revision>;

    /// Write a key that must stand at revision `expected`.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] and [`crate::Error::Conflict`].
    fn update(&self, key: &str, value: &[u8], expected: Revision) -> Result<Revision>;

    /// Write a key, whatever is there. Writing the same value again is a write too (not on Kubernetes).
    fn put(&self, key: &str, value: &[u8]) -> Result<Revision>;

    /// Delete a key, which must stand at revision `expected` if one is given. Returns what was deleted, with the revision
    /// that it had.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] and [`crate::Error::Conflict`].
    fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue>;

    /// How many keys [`Datastore::write_all`] writes at once: one, where there are no transactions.
    fn most_writes(&self) -> usize {
        MOST_WRITES
    }

    /// Whether workload endpoints are pods that others make: there before they are wired, and all but their addresses told by
    /// the pod.
    fn knows_pods(&self) -> bool {
        false
    }

    /// Write several keys together: all if each is as its [`Expect`] says, or none. Each key once, and at most
    /// [`Datastore::most_writes`].
    /// Returns each key's new revision; they may be the same.
    ///
    /// # Errors
    /// [`crate::Error::Exists`], [`crate::Error::NotFound`] or [`crate::Error::Conflict`], of the first that isn't.
    fn write_all(&self, writes: &[Write]) -> Result<Vec<Revision>>;

    /// One write by [`Datastore::write_all`].
    ///
    /// # Errors
    /// The same.
    fn write_one(&self, write: Write) -> Result<Revision> {
        Ok(self.write_all(&[write])?.pop().unwrap_or_default())
    }

    /// Several writes, each by itself and in no order, side by side where that is faster: each key's new revision, or why it
    /// isn't written. Each key once.
    fn write_each(&self, writes: &[Write]) -> Vec<Result<Revision>> {
        writes.iter().map(|write| self.write_one(write.clone())).collect()
    }

    /// The current revision.
    fn revision(&self) -> Result<Revision>;

    /// Forget the history before `upto`: lists at and watches from older revisions then fail. Current values stay.
    /// Returns the number of versions that were dropped, where that is not told of the revisions that were.
    fn compact(&self, upto: Revision) -> Result<u64>;

    /// Forget the history before `upto` if that of `since` can still be read: for many who do so now and then, of whom one is
    /// enough. Whether it was done; a datastore that forgets by itself does nothing.
    fn trim(&self, since: Revision, upto: Revision) -> Result<bool> {
        let _ = (since, upto);
        Ok(false)
    }

    /// The same datastore for callers that write several times and wait for the disk once: writes through it can be read at
    /// once, by everybody, but may be lost with the power until [`Datastore::persist`]; then always the newest are, never
    /// one before another that is kept. `None` if each write waits by itself.
    fn deferred(&self) -> Option<Arc<dyn Datastore>> {
        None
    }

    /// Returns when all that was written here before has outlived what the datastore promises; see
    /// [`Datastore::deferred`]. Those who wait at the same time share the wait.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`]: it is not known what outlives a power failure.
    fn persist(&self) -> Result<()> {
        Ok(())
    }

    /// All of `prefix` at one revision, read in pages, so that no page holds up a writer or costs much memory twice. If the
    /// history under a slow reader goes away it begins again.
    fn list_all(&self, prefix: &str) -> Result<Listing> {
        const PAGE: usize = 5_000;
        'again: loop {
            let mut list = List { limit: Some(PAGE), ..List::prefix(prefix) };
            let mut all = self.list(&list)?;
            while all.more {
                list.at = Some(all.revision);
                list.after = all.items.last().map(|kv| kv.key.clone());
                match self.list(&list) {
                    Ok(page) => {
                        all.items.extend(page.items);
                        all.more = page.more;
                    }
                    Err(crate::Error::Compacted { .. }) => continue 'again,
                    Err(error) => return Err(error),
                }
            }
            return Ok(all);
        }
    }
}
