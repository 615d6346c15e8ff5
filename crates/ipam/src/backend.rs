//! The driver for callers with a store: carries out a machine's requests one after the other.
//!
//! A failure of the store ends the operation at once, wherever it is. That is what a crash does too, and what it leaves
//! behind a release by the same handle or a check gets back; whether the failed write was done isn't known anyway.

use crate::cache::Cache;
use crate::key::Key;
use crate::machine::{Machine, Outcome, Request, Revision, Step};
use crate::record::Record;
use crate::transaction::{self, Ask, Job, Next, Task, Told, Transaction};
use crate::waves::{self, Came};

/// A value and the revision that set it.
pub type Versioned = (Vec<u8>, Revision);

/// One of several writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: String,
    /// What to write; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// The revision at which the key must stand; `None`: it must not exist.
    pub expected: Option<Revision>,
}

impl From<transaction::Write> for Write {
    fn from(write: transaction::Write) -> Write {
        let transaction::Write { key, record, expected } = write;
        Write { key: key.to_string(), value: record.map(|record| record.encode()), expected }
    }
}

/// A store of keys and bytes with compare-and-swap. Implement it over the datastore at hand.
pub trait Backend {
    /// What the store's failures are.
    type Error;

    /// The value of a key.
    ///
    /// # Errors
    /// The store's.
    fn get(&self, key: &str) -> Result<Option<Versioned>, Self::Error>;

    /// All keys that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// The store's.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Self::Error>;

    /// The values of many keys, in their order.
    ///
    /// # Errors
    /// The store's.
    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, Self::Error>;

    /// Whether [`Backend::write_all`] may be asked.
    fn has_transactions(&self) -> bool {
        true
    }

    /// Makes all writes or none, each key once and at most [`crate::transaction::MOST_KEYS`]; `None` if one isn't as expected. Of a deleted
    /// key the revision is anything.
    ///
    /// # Errors
    /// The store's.
    fn write_all(&self, writes: Vec<Write>) -> Result<Option<Vec<Revision>>, Self::Error>;

    /// Makes each write that is as expected, in no order: their revisions, `None` of those that aren't, anything of deleted keys.
    ///
    /// # Errors
    /// The store's; some may be done.
    fn write_each(&self, writes: Vec<Write>) -> Result<Vec<Option<Revision>>, Self::Error> {
        let write = |Write { key, value, expected }| match (value, expected) {
            (Some(value), None) => self.create(&key, &value),
            (Some(value), Some(expected)) => self.update(&key, &value, expected),
            (None, Some(expected)) => Ok(self.delete(&key, expected)?.then_some(expected)),
            (None, None) => Ok(Some(Revision(0))),
        };
        writes.into_iter().map(write).collect()
    }

    /// Writes a key that must not exist; `None` if it does.
    ///
    /// # Errors
    /// The store's.
    fn create(&self, key: &str, value: &[u8]) -> Result<Option<Revision>, Self::Error>;

    /// Writes a key that must stand at `revision`; `None` if it doesn't, or isn't there.
    ///
    /// # Errors
    /// The store's.
    fn update(&self, key: &str, value: &[u8], revision: Revision) -> Result<Option<Revision>, Self::Error>;

    /// Deletes a key that must stand at `revision`; false if it doesn't, or isn't there.
    ///
    /// # Errors
    /// The store's.
    fn delete(&self, key: &str, revision: Revision) -> Result<bool, Self::Error>;
}

/// Why an operation was not carried to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E> {
    /// The store failed.
    #[error("{0}")]
    Store(E),
    /// A stored value isn't what it should be.
    #[error("{key}: {reason}")]
    Value {
        /// Its key.
        key: String,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
}

/// Drives a machine to its result.
///
/// # Errors
/// See [`RunError`].
pub fn run<T, B: Backend>(machine: Machine<T>, backend: &B) -> Result<T, RunError<B::Error>> {
    drive(machine, |request| perform(backend, request))
}

/// The same with a memory: what the cache knows isn't read again, what is written is remembered. Writes go to the store
/// under the remembered revision, so that a stale memory costs an attempt and nothing else.
///
/// # Errors
/// See [`RunError`].
pub fn run_cached<T, B: Backend>(
    machine: Machine<T>,
    backend: &B,
    cache: &mut Cache,
) -> Result<T, RunError<B::Error>> {
    drive(machine, |request| match cache.answer(request) {
        Some(outcome) => Ok(outcome),
        None => {
            let outcome = perform_knowing(backend, cache, request)?;
            cache.learn(request, &outcome);
            Ok(outcome)
        }
    })
}

/// As [`run_cached`], with all writes in one transaction, as a rule. This is how to run an operation.
///
/// # Errors
/// See [`RunError`]. What the cache knew is forgotten then.
pub fn transact<T, B: Backend>(
    machine: Machine<T>,
    backend: &B,
    cache: &mut Cache,
) -> Result<T, RunError<B::Error>> {
    let mut task = Task::new(machine);
    transact_all(&mut [&mut task], backend, cache)?;
    Ok(task.into_result().expect("a transaction of one job ends with the job"))
}

/// Whether jobs were done together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// They are done.
    Done,
    /// They can't be done together and nothing is written; each alone can, when it was restarted.
    Apart,
}

/// Carries out jobs with all their writes in one transaction; without transactions only as far as [`waves`] go.
///
/// # Errors
/// See [`RunError`]. What the cache knew is forgotten then.
pub fn transact_all<B: Backend>(
    jobs: &mut [&mut dyn Job],
    backend: &B,
    cache: &mut Cache,
) -> Result<Together, RunError<B::Error>> {
    let has_transactions = backend.has_transactions();
    let mut transaction = match jobs.len() {
        0 | 1 if !has_transactions => Transaction::one_by_one(),
        _ => Transaction::default(),
    };
    let mut told = None;
    loop {
        let ask = match transaction.step(jobs, cache, told.take()) {
            Next::Done => return Ok(Together::Done),
            Next::Apart => return Ok(Together::Apart),
            Next::Ask(ask) => ask,
        };
        let came = match ask {
            Ask::WriteAll(writes) if !has_transactions => {
                waves::write(backend, writes).map_err(RunError::Store).map(|came| match came {
                    Came::Written(revisions) => Some(Told::Written(revisions)),
                    Came::Refused => Some(Told::Refused),
                    Came::Apart => None,
                })
            }
            ask => answer(backend, cache, ask).map(Some),
        };
        match came.inspect_err(|_| cache.clear())? {
            Some(came) => told = Some(came),
            None => return Ok(Together::Apart),
        }
    }
}

fn answer<B: Backend>(backend: &B, cache: &Cache, ask: Ask) -> Result<Told, RunError<B::Error>> {
    Ok(match ask {
        Ask::One(request) => Told::One(perform_knowing(backend, cache, &request)?),
        Ask::ReadAll(keys) => {
            let names: Vec<String> = keys.iter().map(Key::to_string).collect();
            let found = backend.get_all(&names).map_err(RunError::Store)?;
            let read = keys.iter().zip(names).zip(found).map(|((key, name), found)| {
                found
                    .map(|(value, revision)| Ok((decode(cache, name, key, (&value, revision))?, revision)))
                    .transpose()
            });
            Told::Read(read.collect::<Result<_, _>>()?)
        }
        Ask::WriteAll(writes) => {
            let writes = writes.into_iter().map(Write::from).collect();
            let written = backend.write_all(writes).map_err(RunError::Store)?;
            written.map_or(Told::Refused, Told::Written)
        }
    })
}

fn drive<T, E>(
    mut machine: Machine<T>,
    mut carry_out: impl FnMut(&Request) -> Result<Outcome, E>,
) -> Result<T, E> {
    let mut outcome = None;
    loop {
        match machine.step(outcome.take()) {
            Step::Done(result) => return Ok(result),
            Step::Ask(request) => outcome = Some(carry_out(&request)?),
        }
    }
}

/// Carries out one request on a store.
///
/// # Errors
/// See [`RunError`].
pub fn perform<B: Backend>(backend: &B, request: &Request) -> Result<Outcome, RunError<B::Error>> {
    perform_knowing(backend, &Cache::new(), request)
}

/// The same; what the cache knows as it is stored isn't decoded.
fn perform_knowing<B: Backend>(
    backend: &B,
    cache: &Cache,
    request: &Request,
) -> Result<Outcome, RunError<B::Error>> {
    let written = |revision: Option<Revision>| revision.map_or(Outcome::Refused, Outcome::Written);
    Ok(match request {
        Request::Get { key, .. } => {
            let name = key.to_string();
            match backend.get(&name).map_err(RunError::Store)? {
                Some((value, revision)) => Outcome::Found {
                    record: decode(cache, name, key, (&value, revision))?,
                    revision,
                    cached: false,
                },
                None => Outcome::Missing,
            }
        }
        Request::List { prefix, .. } => {
            let mut items = Vec::new();
            for (name, (value, revision)) in backend.list(&prefix.to_string()).map_err(RunError::Store)? {
                if let Some(key) = Key::parse(&name) {
                    let record = decode(cache, name, &key, (&value, revision))?;
                    items.push((key, record, revision));
                }
            }
            Outcome::Listed { items, cached: false }
        }
        Request::Create { key, record } => {
            written(backend.create(&key.to_string(), &record.encode()).map_err(RunError::Store)?)
        }
        Request::Update { key, record, revision } => {
            written(backend.update(&key.to_string(), &record.encode(), *revision).map_err(RunError::Store)?)
        }
        Request::Delete { key, revision } => {
            match backend.delete(&key.to_string(), *revision).map_err(RunError::Store)? {
                true => Outcome::Deleted,
                false => Outcome::Refused,
            }
        }
    })
}

fn decode<E>(
    cache: &Cache,
    name: String,
    key: &Key,
    (value, revision): (&[u8], Revision),
) -> Result<Record, RunError<E>> {
    match cache.known(key, revision) {
        Some(record) => Ok(record),
        None => Record::decode(key, value).map_err(|reason| RunError::Value { key: name, reason }),
    }
}
