//! A policy by kubectl holds on both nodes within a second.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::kube::Kube;
use crate::print_percentiles;
use crate::stage::{Stage, door};
use crate::streams::{ASKED, Stream};

/// How long a policy may take from the end of kubectl's apply.
pub const LIMIT: Duration = Duration::from_secs(1);

/// Milliseconds from the start of kubectl.
#[derive(Default)]
pub struct Figures {
    /// Until kubectl has ended.
    pub kubectl: Vec<f64>,
    /// Until the last packet was judged by the old policy, on the sender's node and on the other.
    pub near: Vec<f64>,
    /// See [`Figures::near`].
    pub far: Vec<f64>,
    /// From kubectl's end until both hold; 0 if they do before.
    pub after: Vec<f64>,
}

impl Figures {
    pub fn print(&self, name: &str) {
        print_percentiles(&format!("{name}_kubectl"), "ms", &self.kubectl);
        print_percentiles(&format!("{name}_enforced_near"), "ms", &self.near);
        print_percentiles(&format!("{name}_enforced_far"), "ms", &self.far);
        print_percentiles(&format!("{name}_enforced_after_kubectl"), "ms", &self.after);
    }
}

/// Shuts and opens the door so many times.
///
/// # Errors
/// If a change is in force later than [`LIMIT`] after kubectl's end.
pub fn holds(kube: &Kube, rounds: usize) -> Result<Figures> {
    let stage = Stage::build(kube)?;
    let every = Duration::from_millis(1);
    let streams = [&stage.near, &stage.far].map(|to| Stream::start(&stage.client, to, ASKED, every));
    let [near, far] = streams;
    let (near, far) = (near?, far?);
    near.go_on(200)?;
    let mut changes = Vec::new();
    for _ in 0..rounds {
        for open in [false, true] {
            let began = Instant::now();
            kube.apply(&door(open))?;
            let applied = Instant::now();
            near.go_on(u32::try_from(LIMIT.as_millis())?)?;
            changes.push((open, began, applied, Instant::now()));
        }
    }
    let (near, far) = (near.stop()?, far.stop()?);
    let mut figures = Figures::default();
    for (open, began, applied, end) in changes {
        let settled = |seen: &crate::streams::Seen, whose| {
            seen.settled(began, end, open)
                .with_context(|| format!("a change does not hold {whose} after a second"))
        };
        let [near, far] = [settled(&near, "on the sender's node")?, settled(&far, "on the other node")?];
        let kubectl = applied - began;
        let after = near.max(far).saturating_sub(kubectl);
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
        figures.kubectl.push(milliseconds(kubectl));
        figures.near.push(milliseconds(near));
        figures.far.push(milliseconds(far));
        figures.after.push(milliseconds(after));
    }
    stage.strike(kube)?;
    Ok(figures)
}
