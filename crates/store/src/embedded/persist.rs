//! Waiting for the disk, once for all who wait.
//!
//! A commit appends to the write-ahead log and can be read at once; that it outlives a power failure needs an `fsync` of
//! that file. SQLite would do it inside each transaction, in the writers' turn (`synchronous = FULL`). Here connections
//! are `NORMAL`, and whoever needs it waits after the turn: one `fsync` covers all that was committed before it began, so
//! many writers, or many writes of one, share it. What is lost with the power is always the newest end of the log, and
//! never a write before one that is kept: frames behind a missing one are not valid.
//!
//! A log that began anew or is gone was taken into the database file first, and SQLite syncs both at that.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// The write-ahead log of one database, and how far it is on the disk.
pub struct Persist {
    path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

/// Commits of this process, counted.
#[derive(Default)]
struct State {
    committed: u64,
    persisted: u64,
    /// Somebody is at it.
    running: bool,
    /// Why the disk refused. The kernel drops what it could not write and says so once, so nothing behind it can be
    /// relied on before the database is opened again.
    broken: Option<String>,
}

impl Persist {
    /// For the write-ahead log at `path`, which need not be there.
    pub fn new(path: PathBuf) -> Persist {
        Persist { path, state: Mutex::default(), changed: Condvar::new() }
    }

    /// A transaction has been committed.
    pub fn committed(&self) {
        self.state().committed += 1;
    }

    /// Returns when all that was committed before this call is on the disk.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: what was written since the last success may be lost with the power.
    pub fn wait(&self) -> Result<()> {
        let mut state = self.state();
        let wanted = state.committed;
        while state.persisted < wanted {
            if let Some(cause) = &state.broken {
                return Err(Error::unavailable(format!("sync {}", self.path.display()), cause));
            }
            if state.running {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let covered = state.committed;
            state.running = true;
            drop(state);
            let outcome = self.sync();
            state = self.state();
            state.running = false;
            match outcome {
                Ok(()) => state.persisted = covered,
                Err(error) => state.broken = Some(error.to_string()),
            }
            // Those whose commits are covered go; of the others one syncs next.
            self.changed.notify_all();
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opened each time: the file comes and goes with the database's connections.
    fn sync(&self) -> std::io::Result<()> {
        match File::open(&self.path) {
            Ok(file) => file.sync_data(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn one_wait_covers_all_that_was_committed_before() {
        let directory = tempfile::tempdir().unwrap();
        let persist = Persist::new(directory.path().join("wal"));
        // Nothing to sync: the database has taken it in.
        persist.committed();
        persist.wait().unwrap();
        std::fs::write(directory.path().join("wal"), "frames").unwrap();
        (0..3).for_each(|_| persist.committed());
        persist.wait().unwrap();
        assert_eq!(persist.state().persisted, 4);
    }

    #[test]
    fn those_who_wait_together_all_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let persist = Persist::new(directory.path().join("wal"));
        std::fs::write(directory.path().join("wal"), "frames").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        persist.committed();
                        persist.wait().unwrap();
                    }
                });
            }
        });
        assert_eq!(persist.state().persisted, 400);
    }

    #[test]
    fn a_disk_that_refused_once_is_not_believed_again() {
        let directory = tempfile::tempdir().unwrap();
        let (file, wal) = (directory.path().join("file"), directory.path().join("file/wal"));
        std::fs::write(&file, "in the way").unwrap();
        let persist = Persist::new(wal.clone());
        persist.wait().unwrap();
        persist.committed();
        let first = persist.wait().unwrap_err().to_string();
        assert!(first.contains(&wal.display().to_string()), "{first}");
        std::fs::remove_file(&file).unwrap();
        persist.committed();
        assert_eq!(persist.wait().unwrap_err().to_string(), first);
    }
}
