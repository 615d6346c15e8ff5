//! Machines whose writes go out as one: all of them or none.
//!
//! ```text
//! machines one after the other, over a stage --all done--> everything staged in one write --taken--> results count
//!     ^                                                            '--refused--> read what was in the way --.
//!     '--------------------------- again, from their beginning --------------------------------------------'
//! ```
//! This saves requests: an address costs one instead of two, and many that are wanted at the same time share it. It does
//! no I/O; [`crate::backend::transact`] drives it. Why it may: see DESIGN.md, "Transactions".

use std::collections::HashMap;

use crate::cache::Cache;
use crate::key::Key;
use crate::machine::{Machine, Outcome, Request, Revision, Step};
use crate::record::Record;
use crate::stage::Stage;
pub use crate::stage::Write;

/// How many keys are written at once at most: what etcd takes.
pub const MOST_KEYS: usize = 128;

/// About how many bytes are written at once at most: a third of what etcd takes.
const MOST_BYTES: usize = 512 * 1024;

/// So often others may be faster before every write is sent by itself.
const REFUSALS: usize = 5;

/// A machine of any result.
pub trait Job {
    /// Goes on to the next request; `None` at its end. As [`Machine::step`].
    fn step(&mut self, outcome: Option<Outcome>) -> Option<Request>;

    /// As [`Machine::restart`].
    fn restart(&mut self);
}

/// A machine and, at its end, its result.
pub struct Task<T> {
    machine: Machine<T>,
    result: Option<T>,
}

impl<T> Task<T> {
    /// The machine must not have been stepped.
    pub fn new(machine: Machine<T>) -> Self {
        Task { machine, result: None }
    }

    /// What is going to come of it, at its end.
    pub fn result(&self) -> Option<&T> {
        self.result.as_ref()
    }

    /// What came of it. It counts when its transaction has ended, and not before.
    pub fn into_result(self) -> Option<T> {
        self.result
    }
}

impl<T> Job for Task<T> {
    fn step(&mut self, outcome: Option<Outcome>) -> Option<Request> {
        match self.machine.step(outcome) {
            Step::Ask(request) => Some(request),
            Step::Done(result) => {
                self.result = Some(result);
                None
            }
        }
    }

    fn restart(&mut self) {
        self.result = None;
        self.machine.restart();
    }
}

/// What a transaction wants of the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// A read, or after trouble a single write. [`Told::One`].
    One(Request),
    /// The values of keys. [`Told::Read`].
    ReadAll(Vec<Key>),
    /// All of it or nothing. [`Told::Written`] or [`Told::Refused`].
    WriteAll(Vec<Write>),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The outcome of one request.
    One(Outcome),
    /// What stands at the keys, in their order.
    Read(Vec<Option<(Record, Revision)>>),
    /// Each key's new revision; anything for those that are deleted.
    Written(Vec<Revision>),
    /// Somebody else was there; nothing is written.
    Refused,
}

/// How it goes on.
#[derive(Debug)]
pub enum Next {
    /// Do this and step again with what came of it.
    Ask(Ask),
    /// All results count.
    Done,
    /// It can't be done together, and nothing is written: run each job in a transaction of its own.
    Apart,
}

/// Where it is.
#[derive(Debug)]
enum Phase {
    Begin,
    /// The job of this number waits for the outcome of a request.
    Running(usize, Request),
    /// What was staged is sent; the request of a single job that comes next, if it was sent in the middle of it.
    Writing(Option<Request>),
    /// What was in the way is read.
    Reading(Vec<Key>),
}

/// A transaction of some jobs, which are the same at each step.
pub struct Transaction {
    phase: Phase,
    stage: Stage,
    sent: Vec<(Write, Revision)>,
    refusals: usize,
    /// Each write goes out by itself; only with a single job.
    direct: bool,
    /// By provisional revision: what was sent before the writes went out by themselves.
    confirmed: HashMap<Revision, Revision>,
}

impl Default for Transaction {
    fn default() -> Self {
        Transaction {
            phase: Phase::Begin,
            stage: Stage::default(),
            sent: Vec::new(),
            refusals: 0,
            direct: false,
            confirmed: HashMap::new(),
        }
    }
}

impl Transaction {
    /// A transaction of a single job whose writes go out one by one: for stores without transactions.
    pub fn one_by_one() -> Transaction {
        Transaction { direct: true, ..Transaction::default() }
    }

    /// Goes on with what came of the last [`Ask`]; `None` at the first step. After a failure of the store it ends: drop
    /// it, and [`Cache::clear`], since what was sent may have been done.
    pub fn step(&mut self, jobs: &mut [&mut dyn Job], cache: &mut Cache, told: Option<Told>) -> Next {
        match (std::mem::replace(&mut self.phase, Phase::Begin), told) {
            (Phase::Running(at, request), Some(Told::One(mut outcome))) => {
                cache.learn(&request, &outcome);
                if !self.direct {
                    self.see(&request, &mut outcome);
                }
                self.advance(jobs, cache, at, Some(outcome))
            }
            (Phase::Writing(next), Some(Told::Written(revisions))) => {
                for ((write, provisional), revision) in
                    std::mem::take(&mut self.sent).into_iter().zip(revisions)
                {
                    self.confirmed.insert(provisional, revision);
                    cache.wrote(write, revision);
                }
                match next {
                    None => Next::Done,
                    Some(mut request) => {
                        self.direct = true;
                        match self.answer(cache, &mut request) {
                            Some(outcome) => self.advance(jobs, cache, 0, Some(outcome)),
                            None => self.ask(0, request),
                        }
                    }
                }
            }
            (Phase::Writing(_), Some(Told::Refused)) => {
                self.refusals += 1;
                let keys: Vec<Key> =
                    std::mem::take(&mut self.sent).into_iter().map(|(write, _)| write.key).collect();
                keys.iter().for_each(|key| cache.forget(key));
                if self.refusals < REFUSALS {
                    self.phase = Phase::Reading(keys.clone());
                    return Next::Ask(Ask::ReadAll(keys));
                }
                if jobs.len() > 1 {
                    return Next::Apart;
                }
                self.direct = true;
                self.again(jobs, cache)
            }
            (Phase::Reading(keys), Some(Told::Read(found))) => {
                for (key, found) in keys.into_iter().zip(found) {
                    self.stage.see(&key, found.as_ref().map(|(_, revision)| *revision));
                    cache.read(&key, found);
                }
                self.again(jobs, cache)
            }
            _ => self.advance(jobs, cache, 0, None),
        }
    }

    fn again(&mut self, jobs: &mut [&mut dyn Job], cache: &mut Cache) -> Next {
        jobs.iter_mut().for_each(|job| job.restart());
        self.advance(jobs, cache, 0, None)
    }

    fn advance(
        &mut self,
        jobs: &mut [&mut dyn Job],
        cache: &mut Cache,
        first: usize,
        mut outcome: Option<Outcome>,
    ) -> Next {
        let alone = jobs.len() == 1;
        for (at, job) in jobs.iter_mut().enumerate().skip(first) {
            while let Some(mut request) = job.step(outcome.take()) {
                if !self.direct
                    && self.is_full()
                    && !matches!(request, Request::Get { .. } | Request::List { .. })
                {
                    if !alone {
                        return Next::Apart;
                    }
                    return self.send(Some(request));
                }
                match self.answer(cache, &mut request) {
                    Some(known) => outcome = Some(known),
                    None => return self.ask(at, request),
                }
            }
        }
        self.send(None)
    }

    fn ask(&mut self, at: usize, request: Request) -> Next {
        self.phase = Phase::Running(at, request.clone());
        Next::Ask(Ask::One(request))
    }

    /// Sends what is staged, which is everything that was written so far and so never a part that came later than another.
    fn send(&mut self, next: Option<Request>) -> Next {
        self.sent = self.stage.take();
        if self.sent.is_empty() && next.is_none() {
            return Next::Done;
        }
        self.phase = Phase::Writing(next);
        Next::Ask(Ask::WriteAll(self.sent.iter().map(|(write, _)| write.clone()).collect()))
    }

    fn is_full(&self) -> bool {
        let (keys, bytes) = self.stage.load();
        keys >= MOST_KEYS || bytes >= MOST_BYTES
    }

    /// The outcome of a request, if it can be told without the store. In a request for the store revisions are the store's.
    fn answer(&mut self, cache: &Cache, request: &mut Request) -> Option<Outcome> {
        if self.direct {
            self.translate(request);
            return cache.answer(request);
        }
        if let Some(outcome) = self.stage.answer(request) {
            return Some(outcome);
        }
        let mut outcome = cache.answer(request)?;
        if let (Request::List { prefix, .. }, Outcome::Listed { items, .. }) = (request, &mut outcome) {
            self.stage.overlay(prefix, items);
        }
        Some(outcome)
    }

    fn see(&mut self, request: &Request, outcome: &mut Outcome) {
        match (request, outcome) {
            (Request::Get { key, .. }, Outcome::Found { revision, .. }) => {
                self.stage.see(key, Some(*revision))
            }
            (Request::Get { key, .. }, _) => self.stage.see(key, None),
            (Request::List { prefix, .. }, Outcome::Listed { items, .. }) => {
                self.stage.overlay(prefix, items)
            }
            _ => {}
        }
    }

    fn translate(&self, request: &mut Request) {
        if let Request::Update { revision, .. } | Request::Delete { revision, .. } = request
            && let Some(stored) = self.confirmed.get(revision)
        {
            *revision = *stored;
        }
    }
}
