//! Benchmarks of the calculation: snapshots of clusters, many customers, one endpoint at a time.
//!
//! The input exists as decoded objects before the clock starts, and stays: what is measured is
//! the time until the last update was told to somebody who only counts, and the heap above it.

mod customers;
mod endpoint;
mod objects;
mod selector;
mod snapshot;

use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use tortie_api::event::Event;
use tortie_api::kind::ResourceKey;
use tortie_calc::{Config, Graph};
use tortie_dataplane::policy::{Endpoint, Policy, PolicyId, Update};

use crate::rounds::{self, Figures};
use crate::sys;

/// The arguments of `tortie-bench calc`.
#[derive(Args)]
pub struct Arguments {
    /// How many rounds of each case.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// Only this case.
    #[arg(long)]
    case: Option<Case>,
    /// One round in this process, without statistics.
    #[arg(long, requires = "case")]
    once: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { rounds: ROUNDS, case: None, once: false }
    }
}

/// How many rounds make an interval that is narrower than all that was seen.
const ROUNDS: usize = 9;

/// What is measured.
#[derive(Clone, Copy, ValueEnum)]
enum Case {
    /// 250,000 endpoints, 10,000 policies by label; then the local endpoints go.
    Snapshot,
    /// 10,000 endpoints, 1,000 network sets with a policy each.
    Netsets1000,
    /// 10,000 endpoints, 10,000 network sets with a policy each.
    Netsets10000,
    /// 1,000 namespaces with a policy and a pod each.
    Customers1000,
    /// 10,000 namespaces.
    Customers10000,
    /// 100,000 namespaces.
    Customers100000,
    /// A new endpoint against 10 to 10,000 selectors.
    Endpoint,
    /// A profile's labels, or a new selector, against 100 to 100,000 endpoints.
    Selector,
}

/// Runs the benchmarks.
///
/// # Errors
/// If a round fails or doesn't come to the known answer.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { rounds, case, once } = arguments;
    if let (Some(case), true) = (case, once) {
        rounds::report(&case.round()?);
        return Ok(());
    }
    let names: Vec<String> = Case::value_variants()
        .iter()
        .filter(|variant| case.is_none_or(|case| variant.name() == case.name()))
        .map(Case::name)
        .collect();
    let cases: Vec<Vec<&str>> =
        names.iter().map(|name| vec!["calc", "--once", "--case", name.as_str()]).collect();
    rounds::interleave(&cases, *rounds)
}

impl Case {
    fn name(&self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn round(self) -> anyhow::Result<Figures> {
        match self {
            Self::Snapshot => snapshot::by_label(),
            Self::Netsets1000 => snapshot::by_network_set(1_000),
            Self::Netsets10000 => snapshot::by_network_set(10_000),
            Self::Customers1000 => customers::run(1_000),
            Self::Customers10000 => customers::run(10_000),
            Self::Customers100000 => customers::run(100_000),
            Self::Endpoint => endpoint::run(),
            Self::Selector => selector::run(),
        }
    }
}

/// The node whose graph is measured.
const NODE: &str = "localhost";

/// Takes updates and counts.
#[derive(Default)]
struct Counter {
    policies: Vec<(PolicyId, Arc<Policy>)>,
    endpoints: Vec<(ResourceKey, Arc<Endpoint>)>,
    addresses: usize,
    gone: usize,
}

impl Counter {
    fn take(&mut self, update: Update) {
        match update {
            Update::Policy { id, policy } => self.policies.push((id, policy)),
            Update::Endpoint { key, endpoint } => self.endpoints.push((key, endpoint)),
            Update::Address { .. } => self.addresses += 1,
            Update::PolicyRemoved { .. } | Update::EndpointRemoved { .. } => self.gone += 1,
        }
    }
}

/// A graph that was given a whole cluster.
struct Loaded {
    graph: Graph,
    counter: Counter,
    seconds: f64,
    /// Of these, how long the processor worked for this thread.
    cpu_seconds: f64,
    /// The most heap above the input at any time, and the heap above it at the end.
    peak_bytes: usize,
    bytes: usize,
}

/// Gives a new graph a whole cluster, by the clock. Whoever calls keeps the input.
fn load(input: &[Event]) -> Loaded {
    let before = sys::allocated();
    sys::forget_peak();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut graph = Graph::new(Config { node: NODE.into() });
    let mut counter = Counter::default();
    graph.apply_batch(input);
    graph.apply(&Event::InSync);
    graph.flush(&mut |update| counter.take(update));
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds() - cpu;
    Loaded {
        graph,
        counter,
        seconds,
        cpu_seconds,
        peak_bytes: sys::peak() - before,
        bytes: sys::allocated() - before,
    }
}

/// How long the processor has worked for this thread: tells a busy machine from slow code. Not a
/// number where the kernel doesn't say.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// Fails unless the two are equal.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> anyhow::Result<()> {
    anyhow::ensure!(found == expected, "{what}: found {found:?}, expected {expected:?}");
    Ok(())
}
