//! The writers' queue: one lock file beside the database, on which all writers of this machine wait their turn.
//!
//! SQLite's own busy handler sleeps and tries again, so under load one writer in some hundred waits for a second. The
//! kernel wakes a waiter of a file lock at once. The lock is held for one transaction and goes with the process. It is
//! only for order: what keeps the database right is SQLite's own lock.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::{Error, Result};

/// The place in the queue; dropping it lets the next one in.
pub struct Turn<'a> {
    lock: Option<Flock<File>>,
    place: Place<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Who waits in this process finds the file free. If it can't be unlocked it is closed.
        self.place.0.places().file = self.lock.take().and_then(|lock| lock.unlock().ok());
    }
}

/// The place among the threads of this process, which wait for each other and only one of them for the file.
struct Place<'a>(&'a Queue);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.0.places();
        places.taken = false;
        if places.waiting > 0 {
            self.0.free.notify_one();
        }
    }
}

#[derive(Default)]
struct Places {
    taken: bool,
    waiting: usize,
    /// The lock file, open and not locked, if somebody had it before.
    file: Option<File>,
}

/// The queue of one database.
pub struct Queue {
    path: PathBuf,
    patience: Duration,
    places: Mutex<Places>,
    free: Condvar,
}

impl Queue {
    /// The queue at lock file `path`, in which nobody waits longer than `patience`.
    pub fn new(path: PathBuf, patience: Duration) -> Queue {
        Queue { path, patience, places: Mutex::default(), free: Condvar::new() }
    }

    /// Wait for the turn.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it did not come in time (a writer was stopped while it held the lock), or the lock file
    /// cannot be opened.
    pub fn enter(&self) -> Result<Turn<'_>> {
        let place = self.place()?;
        let failed = |cause: &dyn Display| self.failed(cause);
        let file = self.places().file.take();
        let file = file.map_or_else(|| open(&self.path), Ok).map_err(|error| failed(&error))?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Turn { lock: Some(lock), place }),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(failed(&errno)),
        };
        // A file lock has no timeout, so a thread waits for it; if nobody wants it any more it is dropped on arrival.
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut file = file;
            let outcome = loop {
                match Flock::lock(file, FlockArg::LockExclusive) {
                    Ok(lock) => break Ok(lock),
                    Err((back, Errno::EINTR)) => file = back,
                    Err((_, errno)) => break Err(errno),
                }
            };
            drop(sender.send(outcome));
        });
        match receiver.recv_timeout(self.patience) {
            Ok(Ok(lock)) => Ok(Turn { lock: Some(lock), place }),
            Ok(Err(errno)) => Err(failed(&errno)),
            Err(_) => Err(self.held()),
        }
    }

    fn place(&self) -> Result<Place<'_>> {
        let mut places = self.places();
        places.waiting += 1;
        let waited = self.free.wait_timeout_while(places, self.patience, |places| places.taken);
        let (mut places, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        places.waiting -= 1;
        if waited.timed_out() {
            return Err(self.held());
        }
        places.taken = true;
        Ok(Place(self))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Error {
        self.failed(&format!("another writer has held it for {:?}", self.patience))
    }

    fn failed(&self, cause: &dyn Display) -> Error {
        Error::unavailable(format!("take the writers' lock {}", self.path.display()), cause)
    }
}

/// Open a file for writing, made with mode 0600 if it isn't there.
pub fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
