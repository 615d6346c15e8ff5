//! Who leads: one of several processes, by a record that all of them see and that its holder renews.
//!
//! Clocks of different machines are never compared: whoever waits measures, by his own clock, for how long the record hasn't
//! changed. Pure; the record is read and written by [`crate::seat`], and [`crate::leader`] does both as time goes on. Next hop:
//! the guard that every write of a controller passes.

use std::time::{Duration, Instant};

/// How long things take. The defaults are those of Kubernetes' own controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For how long the record must not have changed before another one may take it.
    pub lease: Duration,
    /// For how long its holder acts without having renewed it; shorter, so that he has ended before another one begins.
    pub renew: Duration,
    /// How often it is renewed, or looked at.
    pub retry: Duration,
}

impl Timing {
    /// Of a lease of so many seconds: acting ends after two thirds of it, and five renewals fall into that time.
    pub fn of_seconds(seconds: u32) -> Self {
        let lease = Duration::from_secs(u64::from(seconds));
        Timing { lease, renew: lease * 2 / 3, retry: lease * 2 / 15 }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Timing::of_seconds(15)
    }
}

/// The record. Times are texts for people; only that they change counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Who leads; empty if nobody.
    pub holder: String,
    /// For how many seconds the record stands without being renewed.
    pub seconds: u32,
    /// Since when this holder leads.
    pub acquired: String,
    /// When he said so last.
    pub renewed: String,
    /// How often it went to another one.
    pub transitions: u32,
}

/// One who would lead.
#[derive(Debug)]
pub struct Candidate {
    name: String,
    timing: Timing,
    /// What was seen last, and since when it hasn't changed.
    seen: Option<(Record, Instant)>,
}

impl Candidate {
    /// One of this name, which no other process has.
    pub fn new(name: String, timing: Timing) -> Self {
        Candidate { name, timing, seen: None }
    }

    /// His name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long things take.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// The record that is to be written in the place of what was found, at `now`, which is `clock` to people. `None` if
    /// another one leads.
    pub fn decide(&mut self, now: Instant, clock: &str, found: Option<Record>) -> Option<Record> {
        let seconds = u32::try_from(self.timing.lease.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut wanted = Record {
            holder: self.name.clone(),
            seconds,
            acquired: clock.to_owned(),
            renewed: clock.to_owned(),
            transitions: 0,
        };
        let Some(found) = found else {
            self.seen = None;
            return Some(wanted);
        };
        if found.holder == self.name {
            wanted.acquired = found.acquired;
            wanted.transitions = found.transitions;
            return Some(wanted);
        }
        let since = match &self.seen {
            Some((seen, since)) if *seen == found => *since,
            _ => now,
        };
        let lasts = Duration::from_secs(u64::from(found.seconds)).max(self.timing.lease);
        let is_free = found.holder.is_empty() || now.saturating_duration_since(since) >= lasts;
        wanted.transitions = found.transitions + 1;
        self.seen = Some((found, since));
        is_free.then_some(wanted)
    }

    /// The record by which a holder says that he leads no more, so that nobody has to wait; `None` if he doesn't hold it.
    pub fn resign(&self, clock: &str, found: Option<Record>) -> Option<Record> {
        let found = found.filter(|found| found.holder == self.name)?;
        Some(Record { holder: String::new(), seconds: 1, renewed: clock.to_owned(), ..found })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// The record that several see, and a clock.
    struct Table {
        record: Option<Record>,
        now: Instant,
        ticks: u32,
    }

    impl Table {
        fn new() -> Self {
            Table { record: None, now: Instant::now(), ticks: 0 }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        /// Whether the candidate holds the record after his turn.
        fn turn(&mut self, candidate: &mut Candidate) -> bool {
            self.ticks += 1;
            let clock = format!("tick {}", self.ticks);
            if let Some(record) = candidate.decide(self.now, &clock, self.record.clone()) {
                self.record = Some(record);
            }
            self.record.as_ref().unwrap().holder == candidate.name
        }
    }

    fn two() -> (Candidate, Candidate) {
        let of = |name: &str| Candidate::new(name.to_owned(), Timing::default());
        (of("one"), of("two"))
    }

    #[test]
    fn the_first_leads_and_the_other_waits_as_long_as_he_says_so() {
        let (mut one, mut two) = two();
        let mut table = Table::new();
        assert!(table.turn(&mut one));
        for _ in 0..100 {
            table.pass(2);
            assert!(table.turn(&mut one) && !table.turn(&mut two));
        }
        let record = table.record.unwrap();
        assert_eq!((record.acquired.as_str(), record.transitions), ("tick 1", 0));
    }

    #[test]
    fn who_is_silent_for_a_lease_has_lost_it_and_has_stopped_before() {
        let (mut one, mut two) = two();
        let mut table = Table::new();
        table.turn(&mut one);
        let written = table.now;
        table.pass(8);
        assert!(!table.turn(&mut two), "seen for the first time: the clock begins now");
        table.pass(14);
        assert!(!table.turn(&mut two));
        table.pass(1);
        assert!(table.turn(&mut two));
        assert!(table.now - written > one.timing.renew, "the first one had stopped");
        assert_eq!(table.record.as_ref().unwrap().transitions, 1);
        assert!(!table.turn(&mut one), "the first one comes back, and waits");
    }

    #[test]
    fn a_record_that_says_it_stands_longer_is_waited_for_longer() {
        let (_, mut two) = two();
        let mut table = Table::new();
        table.record = Some(Record { holder: "other".into(), seconds: 60, ..Record::default() });
        assert!(!table.turn(&mut two));
        table.pass(59);
        assert!(!table.turn(&mut two));
        table.pass(1);
        assert!(table.turn(&mut two));
    }

    #[test]
    fn who_resigns_is_followed_at_once() {
        let (mut one, mut two) = two();
        let mut table = Table::new();
        table.turn(&mut one);
        assert!(!table.turn(&mut two));
        assert_eq!(two.resign("now", table.record.clone()), None, "only the holder can");
        table.record = one.resign("now", table.record.clone());
        assert!(table.turn(&mut two));
        assert_eq!(table.record.unwrap().transitions, 1);
    }
}
