//! The agent without its edges: what to do next, given what was heard and what the time is.
//!
//! - Nothing is written before the store is in sync: the closed table that [`crate::run`] put up
//!   stands until then.
//! - What comes while a step is carried out goes into the next commit; nothing waits in order to
//!   be gathered.
//! - A commit's Grow and Switch steps go at once; its Shrink step waits for the grace period and
//!   for nothing else.
//! - Whatever goes wrong, the way back is one: work the tables out anew and install them beside
//!   what is there ([`Action::Install`]).
//!
//! Next hop: `nft::Flat`, by way of `run`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tortie_api::event::Event;
use tortie_api::kind::ResourceKey;
use tortie_calc::{Config, Graph, NotEnforced, not_enforced};
use tortie_classify::{Change, Classifier};
use tortie_dataplane::flat::{GRACE, Phase, Step, Tables};

/// For how long a failed installation rests before the next attempt; doubles up to [`LONGEST_REST`].
const SHORTEST_REST: Duration = Duration::from_millis(100);
/// The longest rest between two attempts to install.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What the core hears.
#[derive(Debug)]
pub enum Input {
    /// The store says so, or will say so in a moment (a CNI plugin has just written it).
    Event(Event),
    /// Tell me when everything heard so far is in the kernel.
    Wait(Ticket),
    /// Somebody else changed or deleted the table, or a check found that it isn't what it should be.
    Drift,
}

/// Whom to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Put all of this in place; see [`tortie_dataplane::flat`].
    Install(Tables),
    /// Carry out a step.
    Apply(Step),
    /// All that these waited for is in the kernel.
    Ready(Vec<Ticket>),
}

/// How an [`Action::Install`] or [`Action::Apply`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the kernel.
    Done,
    /// It isn't; what the kernel holds is not known.
    Failed,
}

/// An object that can't be read, for the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Why, in words.
    pub error: String,
}

/// What is asked for but not given out yet.
#[derive(Debug, Default)]
struct Later {
    /// Steps that go at once, in order.
    now: VecDeque<Step>,
    /// Shrink steps with the time from which they may go, and the numbers that they free.
    shrink: VecDeque<(Instant, Change)>,
    /// A shrink whose switch hasn't gone yet.
    behind: Option<Change>,
}

/// Where the core is with an action that it gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Install,
    Step,
    Shrink,
}

/// See the module.
pub struct Core {
    graph: Graph,
    classifier: Classifier,
    in_sync: bool,
    /// Whether the kernel holds what the classifier thinks it does.
    installed: bool,
    dirty: bool,
    follow_up: Option<Instant>,
    later: Later,
    doing: Doing,
    waiting: Vec<Ticket>,
    /// Waited for by the steps that are on their way.
    boarded: Vec<Ticket>,
    not_before: Option<Instant>,
    rest: Duration,
    unreadable: BTreeMap<ResourceKey, Unreadable>,
    not_enforced: BTreeMap<ResourceKey, NotEnforced>,
    counts: Counts,
}

/// What the core has done, for metrics. All since the process's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events heard.
    pub events: u64,
    /// Commits worked out.
    pub commits: u64,
    /// Whole tables given out.
    pub installs: u64,
    /// Drifts heard of.
    pub drifts: u64,
    /// Actions that failed.
    pub failures: u64,
}

impl Core {
    /// A core that has heard nothing.
    pub fn new(config: Config) -> Self {
        Self {
            graph: Graph::new(config),
            classifier: Classifier::new(),
            in_sync: false,
            installed: false,
            dirty: false,
            follow_up: None,
            later: Later::default(),
            doing: Doing::Nothing,
            waiting: Vec::new(),
            boarded: Vec::new(),
            not_before: None,
            rest: SHORTEST_REST,
            unreadable: BTreeMap::new(),
            not_enforced: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Takes in what was heard. Cheap: the work is done in [`Self::next`].
    pub fn on_input(&mut self, input: Input) {
        match input {
            Input::Event(event) => {
                self.counts.events += 1;
                self.note(&event);
                self.in_sync |= event == Event::InSync;
                self.graph.apply(&event);
                self.dirty = true;
            }
            Input::Wait(ticket) => self.waiting.push(ticket),
            Input::Drift => {
                self.counts.drifts += 1;
                self.installed = false;
                self.not_before = None;
            }
        }
    }

    /// What to do now; `None` until the next input or [`Self::deadline`]. After an install or a
    /// step, [`Self::on_done`] must come before the next call.
    pub fn next(&mut self, now: Instant) -> Option<Action> {
        if !self.in_sync {
            return None;
        }
        if !self.installed {
            return self.next_install(now);
        }
        loop {
            if let Some(step) = self.later.now.pop_front() {
                self.doing = Doing::Step;
                return Some(Action::Apply(step));
            }
            if let Some(change) = self.later.behind.take() {
                self.later.shrink.push_back((now + GRACE, change));
            }
            if !self.boarded.is_empty() {
                return Some(Action::Ready(std::mem::take(&mut self.boarded)));
            }
            if self.dirty || !self.waiting.is_empty() || self.follow_up.is_some_and(|due| due <= now) {
                if !self.commit(now) {
                    return self.next_install(now);
                }
                continue;
            }
            let (due, change) = self.later.shrink.front_mut()?;
            if *due > now {
                return None;
            }
            if change.steps.is_empty() {
                let (_, change) = self.later.shrink.pop_front()?;
                self.classifier.release(change.freed);
                continue;
            }
            self.doing = Doing::Shrink;
            return Some(Action::Apply(change.steps.remove(0)));
        }
    }

    /// How many paths [`Self::next`] will probably give to install, if that is the first time: a driver can make their
    /// counters meanwhile.
    pub fn expected_paths(&mut self) -> u32 {
        if !self.in_sync || self.counts.installs > 0 {
            return 0;
        }
        self.flush();
        u32::try_from(self.classifier.rules()).unwrap_or(0)
    }

    /// How the last action went.
    pub fn on_done(&mut self, now: Instant, outcome: Outcome) {
        let doing = std::mem::replace(&mut self.doing, Doing::Nothing);
        match (doing, outcome) {
            (_, Outcome::Failed) => {
                self.counts.failures += 1;
                self.installed = false;
                self.not_before = Some(now + self.rest);
                self.rest = (self.rest * 2).min(LONGEST_REST);
                // They wait on: for the installation that brings all of it.
                self.waiting.append(&mut self.boarded);
            }
            (Doing::Install, Outcome::Done) => {
                self.installed = true;
                self.rest = SHORTEST_REST;
                self.not_before = None;
            }
            (Doing::Step | Doing::Shrink | Doing::Nothing, Outcome::Done) => {}
        }
    }

    /// When [`Self::next`] should be called even if nothing is heard.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.in_sync {
            return None;
        }
        if !self.installed {
            return self.not_before;
        }
        let shrink = self.later.shrink.front().map(|(due, _)| *due);
        [shrink, self.follow_up].into_iter().flatten().min()
    }

    /// Whether policy is in force: the store was read, and the kernel holds what follows from it.
    pub fn is_ready(&self) -> bool {
        self.in_sync && self.installed
    }

    /// Whether the store's first listing is complete.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// What is in force.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The calculation behind it.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Objects that can't be read, and why.
    pub fn unreadable(&self) -> &BTreeMap<ResourceKey, Unreadable> {
        &self.unreadable
    }

    /// Objects that aren't enforced as they are written, and why.
    pub fn not_enforced(&self) -> &BTreeMap<ResourceKey, NotEnforced> {
        &self.not_enforced
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Upsert(resource) => {
                let key = resource.key();
                self.unreadable.remove(&key);
                let Some(found) = not_enforced(resource) else {
                    self.not_enforced.remove(&key);
                    return;
                };
                if self.not_enforced.get(&key) != Some(&found) {
                    tracing::warn!(object = %key, effect = %found.effect, "{}", found.reason);
                    self.not_enforced.insert(key, found);
                }
            }
            Event::Delete(key) => {
                self.unreadable.remove(key);
                self.not_enforced.remove(key);
            }
            Event::Unreadable { key, error, .. } => {
                self.not_enforced.remove(key);
                self.unreadable.insert(key.clone(), Unreadable { error: error.clone() });
            }
            Event::InSync => {}
        }
    }

    fn flush(&mut self) {
        let classifier = &mut self.classifier;
        self.graph.flush(&mut |update| classifier.apply(update));
        self.dirty = false;
    }

    /// Works out the next steps; false if the tables can't be brought there step by step.
    fn commit(&mut self, now: Instant) -> bool {
        self.flush();
        self.follow_up = None;
        self.boarded.append(&mut self.waiting);
        self.counts.commits += 1;
        match self.classifier.commit() {
            Ok(mut change) => {
                if change.follow_up {
                    self.follow_up = Some(now + GRACE);
                }
                let shrink = change.steps.iter().position(|step| step.phase == Phase::Shrink);
                let rest = change.steps.split_off(shrink.unwrap_or(change.steps.len()));
                self.later.now.extend(std::mem::replace(&mut change.steps, rest));
                self.later.behind = Some(change);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the tables cannot hold this; what was enforced stays enforced");
                self.counts.failures += 1;
                self.installed = false;
                self.waiting.append(&mut self.boarded);
                false
            }
        }
    }

    fn next_install(&mut self, now: Instant) -> Option<Action> {
        if self.not_before.is_some_and(|due| due > now) {
            return None;
        }
        self.flush();
        self.follow_up = None;
        self.later = Later::default();
        self.boarded.append(&mut self.waiting);
        self.counts.installs += 1;
        match self.classifier.rebuild() {
            Ok(tables) => {
                self.doing = Doing::Install;
                Some(Action::Install(tables))
            }
            Err(error) => {
                tracing::error!(%error, "the tables cannot hold this; what was enforced stays enforced");
                self.counts.failures += 1;
                self.waiting.append(&mut self.boarded);
                self.not_before = Some(now + self.rest);
                self.rest = (self.rest * 2).min(LONGEST_REST);
                None
            }
        }
    }
}

/// The node's name and what else the calculation has to know.
pub fn graph_config(node: &Arc<str>) -> Config {
    Config { node: Arc::clone(node) }
}
