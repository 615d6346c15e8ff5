//! How far something is, on the terminal of who waits, once it has taken two seconds.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// When something begins to take long.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the line is written anew.
const PAUSE: Duration = Duration::from_millis(200);

/// The line. It is removed when this is dropped.
pub struct Progress {
    what: &'static str,
    total: usize,
    next: Instant,
    shown: bool,
    watched: bool,
}

impl Progress {
    /// Nothing of `total` is done yet.
    pub fn new(what: &'static str, total: usize) -> Progress {
        let watched = std::io::stderr().is_terminal();
        Progress { what, total, next: Instant::now() + PATIENCE, shown: false, watched }
    }

    /// There are so many, as is known by now.
    pub fn of(&mut self, total: usize) {
        self.total = total;
    }

    /// So many are done.
    pub fn done(&mut self, count: usize) {
        if self.watched && Instant::now() >= self.next {
            self.next = Instant::now() + PAUSE;
            self.shown = true;
            eprint!("\r{}: {count} of {}", self.what, self.total);
            // A terminal that is gone needs no line.
            drop(std::io::stderr().flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
