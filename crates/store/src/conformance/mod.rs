//! What every [`Datastore`] has to do: one suite for all backends, run by their test programs.
//!
//! A backend implements [`Backend`] and calls [`main`] from a test with `harness = false`. Some checks need other
//! processes: the suite starts the same program again with a role in its environment (see [`workers`]).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test suite: a failed check is a panic")]

mod history;
mod processes;
mod values;
mod watches;
mod workers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::{Change, Datastore, Revision, Watch};

/// A kind of datastore that can be made, and opened from several processes.
pub trait Backend: Sync {
    /// A new, empty datastore, by the name under which [`Backend::open`] finds it. It lives as long as the backend does.
    fn fresh(&self) -> String;

    /// Open a datastore, in this process or another one.
    fn open(&self, place: &str) -> Box<dyn Datastore>;

    /// Whether the datastore is whole, after its writers were killed. For backends that can tell.
    fn verify(&self, _place: &str) {}

    /// What it has that not every datastore has.
    fn nature(&self) -> Nature {
        Nature { is_alone: true, tells_creation: true, forgets_when_told: true, rewrites: true }
    }
}

/// What not every datastore has.
#[derive(Debug, Clone, Copy)]
pub struct Nature {
    /// Nobody else writes to it, so that its revisions are counted by one's own writes.
    pub is_alone: bool,
    /// A key's first revision is told.
    pub tells_creation: bool,
    /// Writing the value again that is there is a write.
    pub rewrites: bool,
    /// History is forgotten when [`Datastore::compact`] says so.
    pub forgets_when_told: bool,
}

impl Nature {
    /// Checks that `later` is the revision `writes` writes after `earlier`.
    fn follows(self, earlier: Revision, later: Revision, writes: u64) {
        let expected = Revision(earlier.0 + writes);
        assert!(
            later == expected || (!self.is_alone && later > expected),
            "{later} came {writes} writes after {earlier}"
        );
    }

    /// Checks that nothing was written since `before`, as far as that can be known.
    fn untouched(self, store: &dyn Datastore, before: Revision) {
        let now = store.revision().unwrap();
        assert!(now == before || (!self.is_alone && now > before), "at {now}, was at {before}");
    }

    /// The first revision of a key as it is told.
    fn created(self, revision: Revision) -> Revision {
        if self.tells_creation { revision } else { Revision::ZERO }
    }

    /// A revision that lies ahead of `current`.
    fn ahead(self, current: Revision) -> Revision {
        Revision(current.0 + if self.is_alone { 1 } else { 1_000_000 })
    }
}

type Check = (&'static str, fn(&dyn Backend));

/// Everything that is checked; the names are sentences.
const CHECKS: &[&[Check]] = &[values::CHECKS, history::CHECKS, watches::CHECKS, processes::CHECKS];

/// How long a check waits for what must come. It bounds a hang and measures nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Run the suite as a test program: an argument selects checks by a part of their name. In a worker process, work.
pub fn main(backend: &dyn Backend) -> ExitCode {
    if workers::run(backend) {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let listing = arguments.iter().any(|argument| argument == "--list");
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, check) in CHECKS.iter().copied().flatten() {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        if listing {
            println!("{name}: test");
            continue;
        }
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| check(backend))) {
            Ok(()) => {
                println!("test {name} ... ok ({:.2} s)", start.elapsed().as_secs_f64());
                passed += 1;
            }
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(*name);
            }
        }
    }
    if !listing {
        let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
        println!("test result: {verdict}. {passed} passed; {} failed {failed:?}", failed.len());
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether this process is a worker that the suite has started.
pub fn is_worker() -> bool {
    workers::role().is_some()
}

/// Read from `watch` until a change of `key` has come, which is included.
fn read_until(watch: &mut dyn Watch, key: &str) -> Vec<Change> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen: Vec<Change> = Vec::new();
    while !seen.iter().any(|change| change.key() == key) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{key} never came; seen: {seen:?}");
        seen.extend(watch.next(left).unwrap());
    }
    seen
}

/// That revisions rise strictly: nothing twice, nothing out of order.
fn assert_rising(changes: &[Change]) {
    for pair in changes.windows(2) {
        assert!(pair[0].revision() < pair[1].revision(), "{:?} came before {:?}", pair[0], pair[1]);
    }
}

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }
}
