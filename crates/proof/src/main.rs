//! Runs the random comparison for as long as one likes: `tortie-proof --packets 10000000`.

use anyhow::bail;
use clap::Parser;
use tortie_proof::check::Fault;
use tortie_proof::{Plan, search};

/// Compares calc and classify with analysis on random clusters, edits and packets.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Stop after this many packets, each compared on every side that the node judges.
    #[arg(long, default_value_t = 10_000_000)]
    packets: u64,
    /// The first cluster's seed; each next cluster has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let Arguments { packets, seed } = Arguments::parse();
    let plan = Plan { seed, ..Plan::default() };
    let clusters = packets / plan.packets_per_cluster();
    let (cover, found) = search(plan, clusters.max(1), Fault::default());
    println!("packets={} clusters={}", clusters * plan.packets_per_cluster(), clusters);
    for (name, share) in cover.shares() {
        println!("{share:6.2} %  {name}");
    }
    if let Some(report) = found {
        bail!("{report}");
    }
    println!("no difference");
    Ok(())
}
