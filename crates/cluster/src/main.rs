//! `tortie-cluster`: what Tortie must hold in a real cluster, tried and measured in that of `kube-lab/`.
//!
//! `test` fails with the first thing that isn't so; `bench` prints `name=value` lines. Traffic is sent by this process from within
//! the pods' network namespaces, so it is as fast and as exact as in the tests without Kubernetes; pods, nodes and policies come by
//! kubectl, kubelet and containerd. Needs root and a cluster that is up (`make cluster`).

mod bench;
mod calico;
mod first;
mod kube;
mod outages;
mod pods;
mod policy;
mod ports;
mod restarts;
mod stage;
mod streams;
mod ways;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use kube::Kube;

#[derive(Parser)]
#[command(name = "tortie-cluster", about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try what must hold.
    Test {
        /// Cases: pods, tunnel, services, ports, policy, calico, agent, upgrade, node, api, cut, first; all if none is named.
        cases: Vec<String>,
        /// How many pods `first` starts.
        #[arg(long, default_value_t = 1000)]
        pods: u16,
    },
    /// Measure.
    Bench,
}

const CASES: [&str; 12] = [
    "pods", "tunnel", "services", "ports", "policy", "calico", "agent", "upgrade", "node", "api", "cut",
    "first",
];

fn main() -> Result<()> {
    let kube = Kube::open()?;
    match Arguments::parse().command {
        Command::Bench => bench::run(&kube),
        Command::Test { cases, pods } => {
            let cases = if cases.is_empty() { CASES.map(str::to_owned).to_vec() } else { cases };
            for case in cases {
                let began = Instant::now();
                println!("{case}");
                run(&kube, &case, pods).with_context(|| format!("case {case}"))?;
                println!("  held, {:.1} s", began.elapsed().as_secs_f64());
            }
            Ok(())
        }
    }
}

fn run(kube: &Kube, case: &str, pods: u16) -> Result<()> {
    match case {
        "pods" => pods::come_and_go(kube),
        "policy" => policy::holds(kube, 15).map(|figures| figures.print("policy")),
        "tunnel" => ways::tunnel(kube),
        "services" => ways::services(kube),
        "ports" => ports::lead(kube),
        "calico" => calico::holds(kube),
        "agent" => restarts::agent(kube),
        "upgrade" => restarts::upgrade(kube),
        "node" => restarts::node(kube),
        "api" => outages::api(kube),
        "cut" => outages::cut(kube),
        "first" => first::run(kube, pods),
        _ => bail!("{case:?} is no case; expected one of {CASES:?}"),
    }
}

/// Prints a median and a 99th percentile.
fn print_percentiles(name: &str, unit: &str, samples: &[f64]) {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    println!("{name}_p50_{unit}={:.1}", at(0.5));
    println!("{name}_p99_{unit}={:.1}", at(0.99));
}
