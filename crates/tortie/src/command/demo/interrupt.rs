//! Ctrl-C and SIGTERM: the work stops between two steps and everything is removed on the way out.
//!
//! The signals are blocked in all threads; one thread waits for them and raises a flag, which the work looks at. So
//! nothing is created behind the back of what removes it. A second signal removes what can be found and exits.

use std::fmt;
use std::io::Write as _;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use tortie_lab::sweep;

/// The exit status of a program that SIGINT ended.
pub const EXIT: u8 = 130;

/// Whether the user wants it to end.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

/// The user wanted it to end.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupt {
    /// Listens from now on. To be called before other threads are started.
    ///
    /// # Errors
    /// If signals can't be blocked or no thread can be started.
    pub fn listen() -> anyhow::Result<Self> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().context("block signals")?;
        let flag = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&flag);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            while signals.wait().is_ok() {
                if raised.swap(true, Ordering::Relaxed) {
                    drop(sweep::remove_own());
                    process::exit(EXIT.into());
                }
                drop(writeln!(std::io::stderr(), "\nInterrupted: removing the lab."));
            }
        })?;
        Ok(Self(flag))
    }

    /// To be called between steps.
    ///
    /// # Errors
    /// [`Interrupted`]: go back and remove everything.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }
}
