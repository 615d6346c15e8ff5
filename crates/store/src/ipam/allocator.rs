//! Address management for a process that lives on: it remembers, and what is wanted at the same time is written together.
//!
//! Whoever comes while nobody writes, writes, for himself and all who have come until then; who comes meanwhile waits for
//! the next turn. So one caller waits for nobody, and eight share the store's transactions.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tortie_ipam::Machine;
use tortie_ipam::backend::{Together, transact_all};
use tortie_ipam::cache::Cache;
use tortie_ipam::key::Key;
use tortie_ipam::machine::{Outcome, Request, Revision as IpamRevision};
use tortie_ipam::record::Record;
use tortie_ipam::transaction::{Job, Task};

use super::along::{Along, Beside};
use super::failed;
use crate::{Datastore, Error, KeyValue, Result, Revision, Write};

/// So many operations share a transaction at most: each writes a handle, a block, and now and then a claim.
const MOST_TOGETHER: usize = 32;

/// So often a turn lets other threads go first, if others took part in the last one.
const MOMENTS: usize = 4;

/// Operations of address management on one store; threads share it. A process should have one: two would only refuse each
/// other's writes now and then.
pub struct Allocator {
    store: Arc<dyn Datastore>,
    cache: Mutex<Cache>,
    /// The settings as somebody has read them, for the next turn.
    settings: Mutex<Option<Outcome>>,
    waiting: Mutex<Queue>,
    turn: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn Work>>,
    /// Somebody is at it.
    busy: bool,
    /// How many wait for him.
    idle: usize,
    /// How many operations the last turn had.
    last: usize,
}

impl Allocator {
    /// An allocator that remembers nothing. What it says is done is as durable as what `store` says is written: with
    /// [`Datastore::deferred`] the caller has to [`Datastore::persist`] before he tells others.
    pub fn new(store: Arc<dyn Datastore>) -> Allocator {
        Allocator {
            store,
            cache: Mutex::default(),
            settings: Mutex::default(),
            waiting: Mutex::default(),
            turn: Condvar::new(),
        }
    }

    /// Carries an operation out. Blocks until its writes are made.
    ///
    /// # Errors
    /// Those of the datastore, and [`Error::Unreadable`] for a record that isn't one. As after any failure of the store the
    /// operation may be done, half or whole: release by its handle.
    pub fn run<T: Send + 'static>(&self, machine: Machine<T>) -> Result<T> {
        self.run_with(machine, |_| None).map(|(result, _)| result)
    }

    /// [`Allocator::run`], and what `along` makes of its result is written in the same transaction, as a rule: the key's
    /// new revision, or none if that was not possible, and the caller has to write it.
    ///
    /// # Errors
    /// The same.
    pub fn run_with<T: Send + 'static>(
        &self,
        machine: Machine<T>,
        along: impl Fn(&T) -> Option<Write> + Send + 'static,
    ) -> Result<(T, Option<Revision>)> {
        let (result, beside) = (Arc::new(Mutex::new(None)), Arc::new(Beside::default()));
        let mut queue = lock(&self.waiting);
        queue.waiting.push_back(Box::new(Waiting {
            task: Some(Task::new(machine)),
            along: Box::new(along),
            beside: Arc::clone(&beside),
            result: Arc::clone(&result),
        }));
        loop {
            if let Some(result) = lock(&result).take() {
                return result.map(|result| (result, *lock(&beside.written)));
            }
            if queue.busy {
                queue.idle += 1;
                queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
                continue;
            }
            queue.busy = true;
            let turn = Turn(self);
            self.work(self.those_who_come(queue));
            drop(turn);
            queue = lock(&self.waiting);
        }
    }

    /// Takes in the settings ([`crate::keys::IPAM_CONFIG`]) as they stand. What others change of blocks is noticed at the next
    /// write, but no write names the revision of the settings: who minds tells them before each operation.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn take_settings(&self, found: Option<KeyValue>) -> Result<()> {
        let outcome = match found {
            None => Outcome::Missing,
            Some(KeyValue { key, value, revision, .. }) => Outcome::Found {
                record: Record::decode(&Key::Config, &value)
                    .map_err(|error| Error::Unreadable { key, cause: error.to_string() })?,
                revision: IpamRevision(revision.0),
                cached: false,
            },
        };
        *lock(&self.settings) = Some(outcome);
        Ok(())
    }

    /// Forgets what is remembered, for example after the store was replaced. What others change is found out anyway.
    pub fn forget(&self) {
        lock(&self.cache).clear();
    }

    /// The operations of this turn. Those that the last turn has just served are about to come again, so there is a moment
    /// for them; a caller who is alone never waits.
    fn those_who_come<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> Vec<Box<dyn Work>> {
        for _ in 0..MOMENTS {
            if queue.waiting.len() >= queue.last {
                break;
            }
            drop(queue);
            std::thread::yield_now();
            queue = lock(&self.waiting);
        }
        let together = queue.waiting.len().min(MOST_TOGETHER);
        queue.last = together;
        queue.waiting.drain(..together).collect()
    }

    fn work(&self, mut works: Vec<Box<dyn Work>>) {
        let mut cache = lock(&self.cache);
        if let Some(settings) = lock(&self.settings).take() {
            cache.learn(&Request::Get { key: Key::Config, fresh: true }, &settings);
        }
        if works.len() > 1 {
            let store = Along::new(&*self.store, works.iter().map(|work| work.beside()).collect());
            let mut jobs: Vec<&mut dyn Job> = works.iter_mut().map(|work| work.job()).collect();
            match transact_all(&mut jobs, &store, &mut cache).map_err(failed) {
                Ok(Together::Done) => return works.into_iter().for_each(|work| work.end(Ok(()))),
                // One of them is the reason; the others can be done.
                Ok(Together::Apart) | Err(Error::Unreadable { .. }) => {}
                Err(error) => return works.into_iter().for_each(|work| work.end(Err(error.clone()))),
            }
            works.iter_mut().for_each(|work| work.job().restart());
        }
        for mut work in works {
            let store = Along::new(&*self.store, vec![work.beside()]);
            let done = transact_all(&mut [work.job()], &store, &mut cache).map_err(failed);
            work.end(done.map(drop));
        }
    }
}

/// Whose turn it is; dropping it gives the turn to another.
struct Turn<'a>(&'a Allocator);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.waiting);
        queue.busy = false;
        if queue.idle > 0 {
            self.0.turn.notify_all();
        }
    }
}

/// An operation of any result, and where that goes.
trait Work: Send {
    fn job(&mut self) -> &mut dyn Job;

    /// What it wants to be written along.
    fn beside(&self) -> Arc<Beside>;

    /// Tells the caller.
    fn end(self: Box<Self>, done: Result<()>);
}

/// Makes a write of a result.
type Making<T> = Box<dyn Fn(&T) -> Option<Write> + Send>;

struct Waiting<T> {
    task: Option<Task<T>>,
    along: Making<T>,
    beside: Arc<Beside>,
    result: Arc<Mutex<Option<Result<T>>>>,
}

impl<T: Send> Work for Waiting<T> {
    fn job(&mut self) -> &mut dyn Job {
        self
    }

    fn beside(&self) -> Arc<Beside> {
        Arc::clone(&self.beside)
    }

    fn end(mut self: Box<Self>, done: Result<()>) {
        let result = self.task.take().and_then(Task::into_result);
        *lock(&self.result) = Some(done.and_then(|()| result.ok_or_else(cut_short)));
    }
}

impl<T> Job for Waiting<T> {
    fn step(&mut self, outcome: Option<Outcome>) -> Option<Request> {
        let task = self.task.as_mut()?;
        let request = task.step(outcome);
        if request.is_none() {
            *lock(&self.beside.wanted) = task.result().and_then(&self.along);
        }
        request
    }

    fn restart(&mut self) {
        *lock(&self.beside.wanted) = None;
        if let Some(task) = &mut self.task {
            task.restart();
        }
    }
}

/// Whoever waits is told also when the thread that worked for him panicked.
impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        let mut result = lock(&self.result);
        if self.task.is_some() && result.is_none() {
            *result = Some(Err(cut_short()));
        }
    }
}

fn cut_short() -> Error {
    Error::Unknown {
        attempt: "assign or release addresses".to_owned(),
        cause: "the thread that was at it ended early".to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
