//! Leading: the thread that keeps the record, and the guard that lets writes through only meanwhile.
//!
//! What counts is [`Authority`]: until when this process may act, by its own clock. It is put forward by each renewal, and ends
//! by itself when there is none, whatever the thread is waiting for. A write that was sent just before may still arrive; all of
//! the controllers' writes name the revision that they change, so another leader's work is never undone by one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use tortie_store::{Datastore, Error as StoreError, Layer};

use crate::lease::Candidate;
use crate::pulse::Pulse;
use crate::seat::Seat;
use crate::time::clock;
use crate::{Error, Result};

/// How soon a thread sees that it has been asked to stop.
const NOTICE: Duration = Duration::from_millis(100);

/// Until when this process may act.
#[derive(Debug, Clone, Default)]
pub struct Authority(Arc<Mutex<Option<Instant>>>);

impl Authority {
    /// Whether it may act now.
    pub fn holds(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// Keeps the record of `seat` for the candidate until `stop`, and gives it back then.
///
/// # Errors
/// If there is no thread for it.
pub fn keep(
    seat: Seat,
    candidate: Candidate,
    pulse: Pulse,
    stop: Arc<AtomicBool>,
) -> Result<(Authority, JoinHandle<()>)> {
    let authority = Authority::default();
    let ours = authority.clone();
    let thread = std::thread::Builder::new()
        .name("lease".to_owned())
        .spawn(move || Keeper { seat, candidate, pulse, authority: ours, told: None }.run(&stop))
        .map_err(|source| Error::Thread { name: "lease", source })?;
    Ok((authority, thread))
}

struct Keeper {
    seat: Seat,
    candidate: Candidate,
    pulse: Pulse,
    authority: Authority,
    /// What was logged last, so that it is logged once.
    told: Option<String>,
}

impl Keeper {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.pulse.beat();
            match self.turn() {
                Ok(()) => {}
                Err(error) => self.tell(format!("{}: {error}", self.seat.describe()), true),
            }
            let until = Instant::now() + self.candidate.timing().retry;
            while Instant::now() < until && !stop.load(Ordering::Relaxed) {
                sleep(NOTICE.min(self.candidate.timing().retry));
            }
        }
        // First nothing is done any more, then another one may.
        self.authority.set(None);
        let resigned =
            self.seat.read().and_then(|(found, version)| match self.candidate.resign(&clock(), found) {
                Some(record) => self.seat.write(&record, version).map(drop),
                None => Ok(()),
            });
        if let Err(error) = resigned {
            tracing::info!(%error, "the lease is not given back: it runs out");
        }
    }

    fn turn(&mut self) -> Result<(), StoreError> {
        // The time before the record is asked for: what is written later stands longer than is thought here.
        let begin = Instant::now();
        let (found, version) = self.seat.read()?;
        let holder = found.as_ref().map(|found| found.holder.clone()).unwrap_or_default();
        match self.candidate.decide(begin, &clock(), found) {
            None => {
                self.authority.set(None);
                self.tell(format!("{holder} leads ({})", self.seat.describe()), false);
            }
            Some(record) => {
                if self.seat.write(&record, version)? {
                    self.authority.set(Some(begin + self.candidate.timing().renew));
                    self.tell(
                        format!("leading as {} ({})", self.candidate.name(), self.seat.describe()),
                        false,
                    );
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, what: String, is_trouble: bool) {
        if self.told.as_ref() != Some(&what) {
            match is_trouble {
                true => tracing::warn!("{what}"),
                false => tracing::info!("{what}"),
            }
            self.told = Some(what);
        }
    }
}

/// A datastore that is only written while the authority holds. Each call is a sign of life: whoever makes one has got there.
pub struct Guard {
    below: Arc<dyn Datastore>,
    authority: Authority,
    pulse: Arc<Pulse>,
}

impl Guard {
    /// `below`, guarded.
    pub fn new(below: Arc<dyn Datastore>, authority: Authority, pulse: Arc<Pulse>) -> Self {
        Guard { below, authority, pulse }
    }
}

impl Layer for Guard {
    fn below(&self) -> &dyn Datastore {
        self.pulse.beat();
        &*self.below
    }

    fn may_write(&self, attempt: &str, key: &str) -> Result<(), StoreError> {
        match self.authority.holds() {
            true => Ok(()),
            false => Err(StoreError::Refused {
                attempt: format!("{attempt} {key}"),
                cause: "this process doesn't lead any more".to_owned(),
            }),
        }
    }
}
