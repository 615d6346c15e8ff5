//! Tries all interleavings of two operations, and a crash of either at each of its requests.
//!
//! A state is the store, and for each operation what it has been told so far (which is all that it can depend on). Equal
//! states are visited once.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tortie_ipam::cache::Cache;
use tortie_ipam::key::Key;
use tortie_ipam::machine::{Machine, Outcome, Request, Revision, Step};
use tortie_ipam::record::Record;
use tortie_ipam::transaction::{Ask, Job, Next, Task, Told, Transaction, Write};

use crate::wave::{self, Order};

/// A store in which a revision counts the writes of its key, so that writes of different keys commute.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub live: BTreeMap<Key, (Record, Revision)>,
    writes: BTreeMap<Key, u64>,
    /// A fault for tests of the test: revisions aren't compared.
    pub blind: bool,
    /// Of everything that was ever written, in any order.
    digest: u64,
}

/// A digest of anything that can be printed.
fn digest(of: impl std::fmt::Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{of:?}").hash(&mut hasher);
    hasher.finish()
}

impl Store {
    fn write(&mut self, key: &Key, record: &Record) -> Outcome {
        let writes = self.writes.entry(key.clone()).or_insert(0);
        *writes += 1;
        self.digest ^= digest((key, &*writes, record));
        self.live.insert(key.clone(), (record.clone(), Revision(*writes)));
        Outcome::Written(Revision(*writes))
    }

    fn delete(&mut self, key: &Key) -> Outcome {
        self.live.remove(key);
        let writes = self.writes.entry(key.clone()).or_insert(0);
        *writes += 1;
        self.digest ^= digest((key, &*writes, "deleted"));
        Outcome::Deleted
    }

    fn stands_at(&self, key: &Key, revision: Revision) -> bool {
        self.live.get(key).is_some_and(|(_, known)| *known == revision || self.blind)
    }

    pub fn perform(&mut self, request: &Request) -> Outcome {
        match request {
            Request::Get { key, .. } => match self.live.get(key).cloned() {
                Some((record, revision)) => Outcome::Found { record, revision, cached: false },
                None => Outcome::Missing,
            },
            Request::List { prefix, .. } => {
                let of_prefix = self.live.iter().filter(|(key, _)| prefix.holds(key));
                let items =
                    of_prefix.map(|(key, (record, revision))| (key.clone(), record.clone(), *revision));
                Outcome::Listed { items: items.collect(), cached: false }
            }
            Request::Create { key, record } if !self.live.contains_key(key) => self.write(key, record),
            Request::Update { key, record, revision } if self.stands_at(key, *revision) => {
                self.write(key, record)
            }
            Request::Delete { key, revision } if self.stands_at(key, *revision) => self.delete(key),
            Request::Create { .. } | Request::Update { .. } | Request::Delete { .. } => Outcome::Refused,
        }
    }

    /// The same for whole transactions: a write of many keys is one step.
    pub fn answer(&mut self, ask: &Ask) -> Told {
        match ask {
            Ask::One(request) => Told::One(self.perform(request)),
            Ask::ReadAll(keys) => Told::Read(keys.iter().map(|key| self.live.get(key).cloned()).collect()),
            Ask::WriteAll(writes) => {
                let as_expected = |write: &Write| match write.expected {
                    Some(revision) => self.stands_at(&write.key, revision),
                    None => !self.live.contains_key(&write.key),
                };
                if !writes.iter().all(as_expected) {
                    return Told::Refused;
                }
                let revisions = writes.iter().map(|Write { key, record, .. }| match record {
                    Some(record) => match self.write(key, record) {
                        Outcome::Written(revision) => revision,
                        other => panic!("{other:?}"),
                    },
                    None => {
                        self.delete(key);
                        Revision(0)
                    }
                });
                Told::Written(revisions.collect())
            }
        }
    }

    /// Runs an operation to its end, undisturbed.
    pub fn run<T>(&mut self, machine: Machine<T>) -> T {
        self.run_cached(machine, &mut Cache::new())
    }

    /// The same with a memory.
    pub fn run_cached<T>(&mut self, mut machine: Machine<T>, cache: &mut Cache) -> T {
        let mut outcome = None;
        loop {
            match machine.step(outcome.take()) {
                Step::Done(result) => return result,
                Step::Ask(request) => {
                    outcome = Some(cache.answer(&request).unwrap_or_else(|| {
                        let outcome = self.perform(&request);
                        cache.learn(&request, &outcome);
                        outcome
                    }))
                }
            }
        }
    }
}

/// How an operation stands.
#[derive(Debug, Clone)]
pub enum Status<R> {
    Asks(Ask),
    Finished(R),
    Crashed,
}

/// How an operation's requests go to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// One by one.
    Singly,
    /// All writes in one transaction.
    Together,
    /// In a wave, for stores without transactions; what goes side by side comes in this order.
    Wave(Order),
}

type Running<R> = Box<dyn FnMut(Option<Told>) -> Status<R>>;

/// Where an operation stands that goes this way and has been told this.
type After<R> = Box<dyn Fn(Way, &[Told]) -> Status<R>>;

/// An operation that can be begun again and again.
pub struct Operation<R> {
    after: After<R>,
    pub way: Way,
    ways: &'static [Way],
}

impl<R: 'static> Operation<R> {
    pub fn new<T: 'static>(begin: impl Fn() -> Machine<T> + 'static, result: fn(T) -> R) -> Self {
        Self::of(None, begin, result)
    }

    /// An operation of a process that remembers `cache`.
    pub fn remembering<T: 'static>(
        cache: Cache,
        begin: impl Fn() -> Machine<T> + 'static,
        result: fn(T) -> R,
    ) -> Self {
        Self::of(Some(cache), begin, result)
    }

    fn of<T: 'static>(
        cache: Option<Cache>,
        begin: impl Fn() -> Machine<T> + 'static,
        result: fn(T) -> R,
    ) -> Self {
        let after = move |way, told: &[Told]| match way {
            Way::Singly => replay(singly(begin(), cache.clone(), result), told),
            _ => {
                let result = move |mut all: Vec<T>| result(all.remove(0));
                replay(together(vec![begin()], cache.clone().unwrap_or_default(), result), told)
            }
        };
        Operation { after: Box::new(after), way: Way::Singly, ways: &[Way::Singly, Way::Together] }
    }

    /// Operations that share one transaction, or a wave.
    pub fn together<T: 'static>(
        begin: impl Fn() -> Vec<Machine<T>> + 'static,
        result: impl Fn(Vec<T>) -> R + Copy + 'static,
    ) -> Self {
        let after = move |way, told: &[Told]| match way {
            Way::Wave(order) => wave::after(begin(), Cache::new(), order, told, result),
            _ => replay(together(begin(), Cache::new(), result), told),
        };
        let ways = &[Way::Together, Way::Wave(Order::Forwards), Way::Wave(Order::Backwards)];
        Operation { after: Box::new(after), way: Way::Together, ways }
    }

    /// The ways to try.
    pub fn ways(&self) -> &'static [Way] {
        self.ways
    }

    /// Where the operation stands when it has been told `history`.
    fn after(&self, history: &[Told]) -> Status<R> {
        (self.after)(self.way, history)
    }
}

fn replay<R>(mut running: Running<R>, told: &[Told]) -> Status<R> {
    let mut status = running(None);
    for outcome in told {
        status = running(Some(outcome.clone()));
    }
    status
}

fn singly<T: 'static, R: 'static>(
    mut machine: Machine<T>,
    mut cache: Option<Cache>,
    result: fn(T) -> R,
) -> Running<R> {
    let mut last = None::<Request>;
    Box::new(move |told| {
        let mut outcome = told.map(|told| match told {
            Told::One(outcome) => outcome,
            other => panic!("{other:?} of a single request"),
        });
        if let (Some(cache), Some(request), Some(outcome)) = (&mut cache, last.take(), &outcome) {
            cache.learn(&request, outcome);
        }
        loop {
            match machine.step(outcome.take()) {
                Step::Done(done) => return Status::Finished(result(done)),
                Step::Ask(request) => match cache.as_ref().and_then(|cache| cache.answer(&request)) {
                    Some(known) => outcome = Some(known),
                    None => {
                        last = Some(request.clone());
                        return Status::Asks(Ask::One(request));
                    }
                },
            }
        }
    })
}

fn together<T: 'static, R: 'static>(
    machines: Vec<Machine<T>>,
    mut cache: Cache,
    result: impl Fn(Vec<T>) -> R + 'static,
) -> Running<R> {
    let mut tasks: Vec<Task<T>> = machines.into_iter().map(Task::new).collect();
    let (mut transaction, mut alone) = (Transaction::default(), None::<usize>);
    Box::new(move |mut told| {
        loop {
            let of_now = match alone {
                None => &mut tasks[..],
                Some(at) => &mut tasks[at..=at],
            };
            let mut jobs: Vec<&mut dyn Job> = of_now.iter_mut().map(|task| task as &mut dyn Job).collect();
            match transaction.step(&mut jobs, &mut cache, told.take()) {
                Next::Ask(ask) => return Status::Asks(ask),
                Next::Apart => {
                    tasks.iter_mut().for_each(Job::restart);
                    alone = Some(0);
                }
                Next::Done if alone.is_some_and(|at| at + 1 < tasks.len()) => alone = alone.map(|at| at + 1),
                Next::Done => {
                    let done = std::mem::take(&mut tasks).into_iter().map(|task| task.into_result().unwrap());
                    return Status::Finished(result(done.collect()));
                }
            }
            transaction = Transaction::default();
        }
    })
}

/// A state of both operations and the store.
#[derive(Clone)]
pub struct State<R> {
    pub store: Store,
    histories: [Vec<Told>; 2],
    /// Digests of the histories.
    told: [u64; 2],
    pub status: [Status<R>; 2],
    schedule: Vec<Turn>,
}

/// Whose turn it was, and what he did.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Stepped(usize),
    Crashed(usize),
}

impl<R: Clone + 'static> State<R> {
    fn new(store: Store, operations: &[Operation<R>; 2]) -> Self {
        let status = operations.each_ref().map(|operation| operation.after(&[]));
        State { store, histories: Default::default(), told: [0; 2], status, schedule: Vec::new() }
    }

    fn digest(&self) -> u64 {
        let crashed = self.status.each_ref().map(|status| matches!(status, Status::Crashed));
        digest((self.store.digest, self.told, crashed))
    }

    fn step(&self, one: usize, ask: &Ask, operation: &Operation<R>) -> Self {
        let mut next = self.clone();
        let outcome = next.store.answer(ask);
        next.told[one] = digest((next.told[one], &outcome));
        next.histories[one].push(outcome);
        next.status[one] = operation.after(&next.histories[one]);
        next.schedule.push(Turn::Stepped(one));
        next
    }

    fn crash(&self, one: usize) -> Self {
        let mut next = self.clone();
        next.status[one] = Status::Crashed;
        // What it was told before it crashed no longer matters.
        next.histories[one].clear();
        next.told[one] = 0;
        next.schedule.push(Turn::Crashed(one));
        next
    }

    /// Against each other, two may fail for ever. Their hundred attempts would only repeat what the first show.
    fn is_cut(&self) -> bool {
        let is_refused = |told: &&Told| matches!(told, Told::Refused | Told::One(Outcome::Refused));
        let refused = |history: &Vec<Told>| history.iter().filter(is_refused).count();
        self.histories.iter().map(refused).sum::<usize>() > REFUSALS
    }

    /// How it came to this, for a failed test.
    fn print(&self, mut store: Store, operations: &[Operation<R>; 2]) {
        let mut told: [Vec<Told>; 2] = Default::default();
        for turn in &self.schedule {
            match turn {
                Turn::Crashed(one) => println!("{one}: crashed"),
                Turn::Stepped(one) => {
                    let Status::Asks(ask) = operations[*one].after(&told[*one]) else { continue };
                    let outcome = store.answer(&ask);
                    println!("{one}: {ask:?} -> {outcome:?}");
                    told[*one].push(outcome);
                }
            }
        }
    }
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Tried {
    pub states: usize,
    pub ends: usize,
    pub crashes: usize,
    /// States that were not followed since the two had refused each other too often.
    pub cut: usize,
}

/// So many refused writes of both together are followed.
const REFUSALS: usize = 6;

/// Whether operations crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crashes {
    Never,
    Everywhere,
}

/// Visits every state that can be reached from `store`, and shows every end (both finished or crashed) to `at_end`. If that
/// panics, the way there is printed.
pub fn explore<R: Clone + 'static>(
    store: &Store,
    operations: &[Operation<R>; 2],
    crashes: Crashes,
    mut at_end: impl FnMut(&State<R>),
) -> Tried {
    let mut pending = vec![State::new(store.clone(), operations)];
    let (mut seen, mut tried) = (HashSet::new(), Tried::default());
    while let Some(state) = pending.pop() {
        if !seen.insert(state.digest()) {
            continue;
        }
        tried.states += 1;
        if state.is_cut() {
            tried.cut += 1;
            continue;
        }
        let mut at_an_end = true;
        for (one, operation) in operations.iter().enumerate() {
            let Status::Asks(ask) = &state.status[one] else { continue };
            at_an_end = false;
            pending.push(state.step(one, ask, operation));
            let other_crashed = matches!(state.status[1 - one], Status::Crashed);
            if crashes == Crashes::Everywhere && !other_crashed {
                pending.push(state.crash(one));
                tried.crashes += 1;
            }
        }
        if at_an_end {
            tried.ends += 1;
            if let Err(fault) = catch_unwind(AssertUnwindSafe(|| at_end(&state))) {
                state.print(store.clone(), operations);
                resume_unwind(fault);
            }
        }
    }
    tried
}
