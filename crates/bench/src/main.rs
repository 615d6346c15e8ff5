//! `tortie-bench`: what Tortie costs, measured.
//!
//! A subcommand a subject, a file a benchmark. Each round of a benchmark is a process of its own
//! (this program again), rounds of different benchmarks take turns, and what is printed is the
//! median with its 95 % interval: `name=value`, `name_low=value`, `name_high=value`. A benchmark
//! that doesn't come to the known answer ends with an error: a fast wrong answer is no figure.

mod calc;
mod rounds;
mod sys;

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
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().subject {
        Some(Subject::Calc(arguments)) => calc::run(&arguments),
        None => calc::run(&calc::Arguments::default()),
    }
}
