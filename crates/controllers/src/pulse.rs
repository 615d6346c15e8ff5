//! Signs of life: each loop gives one whenever it gets somewhere, and who is silent for too long hangs.
//!
//! A loop that waits for a datastore that doesn't answer gets somewhere: its calls end, by their own patience. So whoever is
//! silent for much longer than a call may take will not go on by itself. Next hop: [`crate::health`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The loops of a process.
#[derive(Debug, Clone)]
pub struct Pulses {
    limit: Duration,
    loops: Arc<Mutex<BTreeMap<u64, Loop>>>,
}

#[derive(Debug)]
struct Loop {
    name: String,
    last: Instant,
}

impl Pulses {
    /// None yet. A loop may be silent for `limit`.
    pub fn new(limit: Duration) -> Self {
        Pulses { limit, loops: Arc::default() }
    }

    /// A loop begins; it ends when what this returns is dropped, unless by a panic.
    pub fn begin(&self, name: impl Into<String>) -> Pulse {
        let mut loops = self.loops();
        let id = loops.last_key_value().map_or(0, |(id, _)| id + 1);
        loops.insert(id, Loop { name: name.into(), last: Instant::now() });
        Pulse { pulses: self.clone(), id }
    }

    /// The loops that have been silent for too long by now, with for how long.
    pub fn silent(&self) -> Vec<(String, Duration)> {
        let now = Instant::now();
        let silence = |of: &Loop| (of.name.clone(), now.saturating_duration_since(of.last));
        self.loops().values().map(silence).filter(|(_, silence)| *silence > self.limit).collect()
    }

    fn loops(&self) -> MutexGuard<'_, BTreeMap<u64, Loop>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One loop's.
#[derive(Debug)]
pub struct Pulse {
    pulses: Pulses,
    id: u64,
}

impl Pulse {
    /// The loop got somewhere.
    pub fn beat(&self) {
        if let Some(of) = self.pulses.loops().get_mut(&self.id) {
            of.last = Instant::now();
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.pulses.loops().remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_hangs_who_beats_does_not_and_who_has_ended_in_order_is_forgotten() {
        let pulses = Pulses::new(Duration::ZERO);
        let (first, second) = (pulses.begin("first"), pulses.begin("second"));
        let names = || pulses.silent().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        while names().len() < 2 {}
        drop(first);
        assert_eq!(names(), ["second"]);
        let patient = Pulses::new(Duration::from_secs(3600));
        let third = patient.begin("third");
        third.beat();
        assert!(patient.silent().is_empty());
        drop(second);
        assert!(pulses.silent().is_empty());
    }

    #[test]
    fn a_loop_that_ends_by_a_panic_is_missed() {
        let pulses = Pulses::new(Duration::ZERO);
        let pulse = pulses.begin("lost");
        let ended = std::thread::spawn(move || {
            let _pulse = pulse;
            std::panic::resume_unwind(Box::new("as a panic unwinds"));
        });
        assert!(ended.join().is_err());
        while pulses.silent().is_empty() {}
    }
}
