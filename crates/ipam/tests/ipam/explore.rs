//! Tries all interleavings of two operations, and a crash of either at each of its requests.
//!
//! A state is the store, and for each operation what it has been told so far (which is all that it can depend on). Equal
//! states are visited once.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tortie_ipam::cache::Cache;
use tortie_ipam::key::{Key, Prefix};
use tortie_ipam::machine::{Machine, Outcome, Request, Revision, Step};
use tortie_ipam::record::Record;
use tortie_ipam::{Owner, net};

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
                let of_prefix = self.live.iter().filter(|(key, _)| is_of(key, prefix));
                let items =
                    of_prefix.map(|(key, (record, revision))| (key.clone(), record.clone(), *revision));
                Outcome::Listed { items: items.collect(), cached: false }
            }
            Request::Create { key, record } if !self.live.contains_key(key) => self.write(key, record),
            Request::Update { key, record, revision } if self.stands_at(key, *revision) => {
                self.write(key, record)
            }
            Request::Delete { key, revision } if self.stands_at(key, *revision) => {
                self.live.remove(key);
                let writes = self.writes.entry(key.clone()).or_insert(0);
                *writes += 1;
                self.digest ^= digest((key, &*writes, "deleted"));
                Outcome::Deleted
            }
            Request::Create { .. } | Request::Update { .. } | Request::Delete { .. } => Outcome::Refused,
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

fn is_of(key: &Key, prefix: &Prefix) -> bool {
    match (key, prefix) {
        (Key::Block(block), Prefix::Blocks(family)) => net::Family::of(block.addr()) == *family,
        (Key::Affinity(owner, block), Prefix::Claims(wanted, family)) => {
            owner == wanted && net::Family::of(block.addr()) == *family
        }
        (Key::Affinity(Owner::Host(_), _), Prefix::HostClaims) => true,
        (Key::Affinity(Owner::Virtual(_), _), Prefix::VirtualClaims) => true,
        (Key::Handle(_), Prefix::Handles) => true,
        _ => false,
    }
}

/// How an operation stands.
#[derive(Debug, Clone)]
pub enum Status<R> {
    Asks(Request),
    Finished(R),
    Crashed,
}

type Running<R> = Box<dyn FnMut(Option<Outcome>) -> Status<R>>;

/// An operation that can be begun again and again.
pub struct Operation<R>(Box<dyn Fn() -> Running<R>>);

impl<R: 'static> Operation<R> {
    pub fn new<T: 'static>(begin: impl Fn() -> Machine<T> + 'static, result: fn(T) -> R) -> Self {
        Operation(Box::new(move || {
            let mut machine = begin();
            Box::new(move |outcome| match machine.step(outcome) {
                Step::Ask(request) => Status::Asks(request),
                Step::Done(done) => Status::Finished(result(done)),
            })
        }))
    }

    /// An operation of a process that remembers `cache`.
    pub fn remembering<T: 'static>(
        cache: Cache,
        begin: impl Fn() -> Machine<T> + 'static,
        result: fn(T) -> R,
    ) -> Self {
        Operation(Box::new(move || {
            let (mut machine, mut cache, mut last) = (begin(), cache.clone(), None::<Request>);
            Box::new(move |mut outcome| {
                if let (Some(request), Some(outcome)) = (last.take(), &outcome) {
                    cache.learn(&request, outcome);
                }
                loop {
                    match machine.step(outcome.take()) {
                        Step::Done(done) => return Status::Finished(result(done)),
                        Step::Ask(request) => match cache.answer(&request) {
                            Some(known) => outcome = Some(known),
                            None => {
                                last = Some(request.clone());
                                return Status::Asks(request);
                            }
                        },
                    }
                }
            })
        }))
    }

    /// Where the operation stands when it has been told `history`.
    fn after(&self, history: &[Outcome]) -> Status<R> {
        let mut running = (self.0)();
        let mut status = running(None);
        for outcome in history {
            status = running(Some(outcome.clone()));
        }
        status
    }
}

/// A state of both operations and the store.
#[derive(Clone)]
pub struct State<R> {
    pub store: Store,
    histories: [Vec<Outcome>; 2],
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

    fn step(&self, one: usize, request: &Request, operation: &Operation<R>) -> Self {
        let mut next = self.clone();
        let outcome = next.store.perform(request);
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
        let refused = |history: &Vec<Outcome>| history.iter().filter(|one| **one == Outcome::Refused).count();
        self.histories.iter().map(refused).sum::<usize>() > REFUSALS
    }

    /// How it came to this, for a failed test.
    fn print(&self, mut store: Store, operations: &[Operation<R>; 2]) {
        let mut told: [Vec<Outcome>; 2] = Default::default();
        for turn in &self.schedule {
            match turn {
                Turn::Crashed(one) => println!("{one}: crashed"),
                Turn::Stepped(one) => {
                    let Status::Asks(request) = operations[*one].after(&told[*one]) else { continue };
                    let outcome = store.perform(&request);
                    println!("{one}: {request:?} -> {outcome:?}");
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
            let Status::Asks(request) = &state.status[one] else { continue };
            at_an_end = false;
            pending.push(state.step(one, request, operation));
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
