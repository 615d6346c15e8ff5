//! `tortie-bench`: what Tortie costs, measured.
//!
//! A subcommand a subject, a file a benchmark. What is compared takes turns in one run, and what is
//! printed is the median with its 95 % interval: `name=value`, `name_low=value`, `name_high=value`.
//! A benchmark that doesn't come to the known answer ends with an error: a fast wrong answer is no
//! figure. `calc` is pure; the others need root, and stay in network namespaces of their own.

mod agent;
mod apply;
mod calc;
mod calicoctl;
mod cni;
mod figures;
mod flat;
mod ipam;
mod kubernetes;
mod node;
mod objects;
mod rounds;
mod sys;
mod town;

use std::process::Command;

use anyhow::bail;
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

#[derive(Parser)]
#[command(name = "tortie-bench", about, version)]
struct Arguments {
    /// What is measured; everything if nothing is named.
    #[command(subcommand)]
    subject: Option<Subject>,
}

#[derive(Subcommand)]
enum Subject {
    /// The calculation: from objects to stacks and memberships.
    Calc(calc::Arguments),
    /// The flat table: connections a second and nanoseconds a flow, beside Calico's shape.
    Flat(flat::Arguments),
    /// From the create of a policy until packets are judged by it.
    Apply(apply::Arguments),
    /// calicoctl on a thousand policies, on etcd and embedded.
    Calicoctl(calicoctl::Arguments),
    /// ADD and DEL of the CNI plugin.
    Cni(cni::Arguments),
    /// Addresses a second, on both datastores.
    Ipam(ipam::Arguments),
    /// The agent: starts, memory, idle processor time.
    Agent(agent::Arguments),
    /// A Kubernetes API: memory with many pods, addresses a second.
    Kubernetes(kubernetes::Arguments),
    /// All of them, each as it is by default, in processes of their own.
    All,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().subject.unwrap_or(Subject::All) {
        Subject::Calc(arguments) => calc::run(&arguments),
        Subject::Flat(arguments) => flat::run(&arguments),
        Subject::Apply(arguments) => apply::run(&arguments),
        Subject::Calicoctl(arguments) => calicoctl::run(&arguments),
        Subject::Cni(arguments) => cni::run(&arguments),
        Subject::Ipam(arguments) => ipam::run(&arguments),
        Subject::Agent(arguments) => agent::run(&arguments),
        Subject::Kubernetes(arguments) => kubernetes::run(&arguments),
        Subject::All => all(),
    }
}

/// A process each, so that none begins with what another left in memory; one that fails doesn't hide the others.
fn all() -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let mut failed = Vec::new();
    for subject in ["flat", "apply", "calicoctl", "cni", "ipam", "agent", "kubernetes", "calc"] {
        if !Command::new(&program).arg(subject).status()?.success() {
            failed.push(subject);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}
