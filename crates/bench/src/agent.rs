//! `tortie-bench agent`: starting, memory, idle processor time and the size of the binary.
//!
//! A start ends when all that the store holds is in the kernel and a packet was judged by it. A cold start finds no
//! table; a warm one finds that of an agent that was killed, and a policy that was written meanwhile.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::Signal;

use crate::figures;
use crate::node::Node;
use crate::town::{ENDPOINTS, Town, opening, remote, standing};

/// How much is measured.
#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    /// Starts of each kind.
    #[arg(long, default_value_t = 15)]
    pub starts: u16,
    /// Numbers of standing policies for starts.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    pub policies: Vec<usize>,
    /// Seconds over which idle processor time is taken.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
}

/// Ports of the policies that are written while no agent runs.
const FIRST_PORT: u16 = 20_000;
/// Remote endpoints that stand beside the policies.
const REMOTE: u32 = 1_000;

/// Measures and prints.
///
/// # Errors
/// If an agent doesn't start, or doesn't judge by what was written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    for count in &arguments.policies {
        starts(*count, arguments.starts)?;
    }
    idle(arguments.seconds)?;
    memory()
}

fn starts(count: usize, starts: u16) -> anyhow::Result<()> {
    let mut node = Node::create()?;
    let mut town = Town::build(&mut node)?;
    node.put(&remote(REMOTE))?;
    node.put(&standing(count))?;
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for start in 0..starts {
        for (times, signal) in [(&mut cold, None), (&mut warm, Some(Signal::SIGKILL))] {
            let port = FIRST_PORT + start * 2 + u16::from(signal.is_some());
            match signal {
                Some(signal) => node.stop(signal)?,
                None => node.forget_table()?,
            }
            node.client.create(opening(port).1)?;
            let since = Instant::now();
            node.start()?;
            let whole = town.until_open(&[0, ENDPOINTS - 1], port, since)?;
            times.push(whole.as_secs_f64());
            town.all_open(port)?;
        }
        node.stop(Signal::SIGTERM)?;
    }
    figures::median(&format!("agent_cold_start_s_{count}"), &cold);
    figures::median(&format!("agent_warm_start_s_{count}"), &warm);
    Ok(())
}

/// Nothing to do but to be there: one node without pods.
fn idle(seconds: u64) -> anyhow::Result<()> {
    let mut node = Node::create()?;
    node.start()?;
    let process = node.agent()?;
    figures::exact("agent_idle_mb", resident(process)?);
    let (before, since) = (processor_seconds(process)?, Instant::now());
    // What is measured is the time itself.
    std::thread::sleep(Duration::from_secs(seconds));
    let used = processor_seconds(process)? - before;
    figures::exact("agent_idle_cpu_percent", used / since.elapsed().as_secs_f64() * 100.0);
    let binary = std::fs::metadata(node.tortie())?.len();
    figures::exact("binary_mb", binary as f64 / 1e6);
    Ok(())
}

/// 5,000 endpoints elsewhere and 1,000 policies on 100 here.
fn memory() -> anyhow::Result<()> {
    let mut node = Node::create()?;
    let mut town = Town::build(&mut node)?;
    node.put(&remote(5_000))?;
    node.put(&standing(1_000))?;
    node.put(&[opening(FIRST_PORT)])?;
    node.start()?;
    town.all_open(FIRST_PORT)?;
    let process = node.agent()?;
    figures::exact("agent_5000_1000_mb", resident(process)?);
    figures::exact("agent_5000_1000_peak_mb", status(process, "VmHWM:")?);
    Ok(())
}

/// Megabytes (10^6) that the process has resident.
///
/// # Errors
/// If it isn't there.
pub fn resident(process: u32) -> anyhow::Result<f64> {
    status(process, "VmRSS:")
}

fn status(process: u32, field: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)).context("a line of the status")?;
    let kibibytes: f64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// Processor time of all the process's threads, by the scheduler's nanoseconds.
fn processor_seconds(process: u32) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let used: f64 = text.split(' ').next().context("the first number of schedstat")?.parse()?;
        nanoseconds += used;
    }
    Ok(nanoseconds / 1e9)
}
