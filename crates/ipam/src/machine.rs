//! Operations as machines that do no I/O: a machine says which record it wants read or written, is told the outcome, and
//! goes on. Whoever drives it ([`crate::backend::run`], a test that tries all interleavings) does the rest.
//!
//! ```text
//!            Step::Ask(Request)
//! Machine ------------------------> driver -> store
//!         <------------------------
//!            Outcome
//! ```
//! An operation is written as straight code over [`Io`] (an `async fn`), and the compiler makes the state machine of it.
//! There is no runtime: [`Machine::step`] polls with a waker that does nothing. A machine that is dropped between two
//! steps leaves the store as a crash would.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use ipnet::IpNet;

use crate::key::{HandleId, Key, Owner, Prefix};
use crate::record::{Block, Claim, Config, Handle, Record};

/// What the store calls the write that set a value; compared, never computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What a machine wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Read a key. `Found` or `Missing`.
    Get {
        /// The key.
        key: Key,
        /// Whether the answer must come from the store itself, not from a [`crate::cache::Cache`].
        fresh: bool,
    },
    /// Read all keys of a prefix, sorted. `Listed`.
    List {
        /// Which.
        prefix: Prefix,
        /// As above.
        fresh: bool,
    },
    /// Write a key that must not exist. `Written` or `Refused`.
    Create {
        /// The key.
        key: Key,
        /// Its record.
        record: Record,
    },
    /// Write a key that must stand at a revision. `Written` or `Refused`.
    Update {
        /// The key.
        key: Key,
        /// Its record.
        record: Record,
        /// The revision that was read.
        revision: Revision,
    },
    /// Delete a key that must stand at a revision. `Deleted` or `Refused`.
    Delete {
        /// The key.
        key: Key,
        /// The revision that was read.
        revision: Revision,
    },
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The key's record.
    Found {
        /// The record.
        record: Record,
        /// Its revision.
        revision: Revision,
        /// Whether it is remembered rather than read.
        cached: bool,
    },
    /// There is no such key.
    Missing,
    /// All keys of a prefix.
    Listed {
        /// Keys, records, revisions.
        items: Vec<(Key, Record, Revision)>,
        /// Whether they are remembered rather than read.
        cached: bool,
    },
    /// Written, at this revision.
    Written(Revision),
    /// Deleted.
    Deleted,
    /// Somebody else was there: the key exists (create), or changed or went (update, delete).
    Refused,
}

/// What a step gave.
#[derive(Debug)]
pub enum Step<T> {
    /// Do this and step again with its outcome.
    Ask(Request),
    /// The result. The machine must not be stepped again.
    Done(T),
}

/// A running operation with a result of type `T`.
pub struct Machine<T> {
    begin: Box<dyn Fn(Io) -> Running<T> + Send>,
    running: Running<T>,
    exchange: Exchange,
}

type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Asked(Request),
    Answered(Outcome),
}

type Exchange = Arc<Mutex<Slot>>;

impl<T> Machine<T> {
    /// A machine that hasn't begun, of the code that `begin` gives for arguments. They are kept, to begin again with.
    pub(crate) fn new<A, F>(arguments: A, begin: impl Fn(Io, A) -> F + Send + 'static) -> Self
    where
        A: Clone + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let begin: Box<dyn Fn(Io) -> Running<T> + Send> =
            Box::new(move |io| Box::pin(begin(io, arguments.clone())));
        let exchange = Exchange::default();
        let running = begin(Io { exchange: exchange.clone() });
        Machine { begin, running, exchange }
    }

    /// Begins from the start, as if it had never been stepped. What it has written stays written, as after a crash: only a
    /// driver that has written nothing yet gets one operation's worth of writes from this.
    pub fn restart(&mut self) {
        self.exchange = Exchange::default();
        self.running = (self.begin)(Io { exchange: self.exchange.clone() });
    }

    /// Goes on to the next request or to the result. `outcome` is that of the last request, and `None` at the first step.
    pub fn step(&mut self, outcome: Option<Outcome>) -> Step<T> {
        *lock(&self.exchange) = outcome.map_or(Slot::Empty, Slot::Answered);
        match self.running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Step::Done(result),
            Poll::Pending => match std::mem::take(&mut *lock(&self.exchange)) {
                Slot::Asked(request) => Step::Ask(request),
                Slot::Empty | Slot::Answered(_) => {
                    unreachable!("a machine only waits in Io::ask, which leaves a request")
                }
            },
        }
    }
}

fn lock(exchange: &Exchange) -> std::sync::MutexGuard<'_, Slot> {
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Stored<T> {
    pub(crate) record: T,
    pub(crate) revision: Revision,
    pub(crate) cached: bool,
}

/// An operation's way to its driver.
pub(crate) struct Io {
    exchange: Exchange,
}

/// Somebody else wrote the record; read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl Io {
    async fn ask(&self, request: Request) -> Outcome {
        *lock(&self.exchange) = Slot::Asked(request);
        poll_fn(|_| {
            let mut slot = lock(&self.exchange);
            match std::mem::take(&mut *slot) {
                Slot::Answered(outcome) => Poll::Ready(outcome),
                other => {
                    *slot = other;
                    Poll::Pending
                }
            }
        })
        .await
    }

    async fn get(&self, key: Key, fresh: bool) -> Option<Stored<Record>> {
        match self.ask(Request::Get { key, fresh }).await {
            Outcome::Found { record, revision, cached } => Some(Stored { record, revision, cached }),
            _ => None,
        }
    }

    pub(crate) async fn config(&self) -> Config {
        match self.get(Key::Config, false).await {
            Some(Stored { record: Record::Config(config), .. }) => config,
            _ => Config::default(),
        }
    }

    pub(crate) async fn stored_config(&self) -> Option<Stored<Config>> {
        match self.get(Key::Config, true).await? {
            Stored { record: Record::Config(record), revision, cached } => {
                Some(Stored { record, revision, cached })
            }
            _ => None,
        }
    }

    pub(crate) async fn block(&self, cidr: IpNet, fresh: bool) -> Option<Stored<Arc<Block>>> {
        match self.get(Key::Block(cidr), fresh).await? {
            Stored { record: Record::Block(record), revision, cached } => {
                Some(Stored { record, revision, cached })
            }
            _ => None,
        }
    }

    pub(crate) async fn claim(&self, owner: &Owner, cidr: IpNet, fresh: bool) -> Option<Stored<Claim>> {
        match self.get(Key::Affinity(owner.clone(), cidr), fresh).await? {
            Stored { record: Record::Claim(record), revision, cached } => {
                Some(Stored { record, revision, cached })
            }
            _ => None,
        }
    }

    pub(crate) async fn handle(&self, id: &HandleId) -> Option<Stored<Handle>> {
        match self.get(Key::Handle(id.clone()), true).await? {
            Stored { record: Record::Handle(record), revision, cached } => {
                Some(Stored { record, revision, cached })
            }
            _ => None,
        }
    }

    /// The records of a prefix, and whether they are remembered.
    pub(crate) async fn list(&self, prefix: Prefix, fresh: bool) -> (Vec<(Key, Record, Revision)>, bool) {
        match self.ask(Request::List { prefix, fresh }).await {
            Outcome::Listed { items, cached } => (items, cached),
            _ => (Vec::new(), false),
        }
    }

    pub(crate) async fn create(&self, key: Key, record: Record) -> Result<Revision, Refused> {
        written(self.ask(Request::Create { key, record }).await)
    }

    pub(crate) async fn update(
        &self,
        key: Key,
        record: Record,
        revision: Revision,
    ) -> Result<Revision, Refused> {
        written(self.ask(Request::Update { key, record, revision }).await)
    }

    pub(crate) async fn delete(&self, key: Key, revision: Revision) -> Result<(), Refused> {
        match self.ask(Request::Delete { key, revision }).await {
            Outcome::Deleted => Ok(()),
            _ => Err(Refused),
        }
    }
}

fn written(outcome: Outcome) -> Result<Revision, Refused> {
    match outcome {
        Outcome::Written(revision) => Ok(revision),
        _ => Err(Refused),
    }
}
