//! The queue between the task that reads a server's stream and the caller of a watch.
//!
//! The task stops reading while it is full. The caller hears of an outage once, behind what came before it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::Notify;

use crate::{Change, Error, Result};

/// How many changes one call returns at most.
const BATCH: usize = 1_000;

/// With so many changes in the queue no more are read.
const FULL: usize = 10_000;

/// What the task and the caller share.
pub struct Pipe {
    state: Mutex<State>,
    /// Readable when there is something in `state`.
    event: EventFd,
    /// Told when the caller has taken something.
    taken: Notify,
}

#[derive(Default)]
struct State {
    changes: VecDeque<Change>,
    /// What is reported when the changes are.
    error: Option<Error>,
}

impl Pipe {
    /// An empty one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the system has no descriptors left.
    pub fn new() -> Result<Arc<Pipe>> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| Error::unavailable("begin to watch", errno))?;
        Ok(Arc::new(Pipe { state: Mutex::default(), event, taken: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It can only be full, and is readable then.
        let _ = self.event.write(1);
    }

    /// Append changes.
    pub fn push(&self, changes: impl IntoIterator<Item = Change>) {
        self.lock().changes.extend(changes);
        self.wake();
    }

    /// Say what went wrong, behind the changes. What went wrong later is said instead of what went wrong before.
    pub fn fail(&self, error: Error) {
        self.lock().error = Some(error);
        self.wake();
    }

    /// Wait until it isn't full.
    pub async fn room(&self) {
        while self.lock().changes.len() >= FULL {
            self.taken.notified().await;
        }
    }

    fn take(&self) -> (Vec<Change>, Option<Error>) {
        let mut state = self.lock();
        let count = state.changes.len().min(BATCH);
        let changes: Vec<Change> = state.changes.drain(..count).collect();
        let error = if changes.is_empty() { state.error.take() } else { None };
        if !state.changes.is_empty() || state.error.is_some() {
            self.wake();
        }
        drop(state);
        self.taken.notify_one();
        (changes, error)
    }

    /// The next changes as `judge` passes them on, or none when `timeout` has passed; as [`crate::Watch::next`].
    pub fn next(
        &self,
        timeout: Duration,
        mut judge: impl FnMut(Vec<Change>, Option<Error>) -> Result<Vec<Change>>,
    ) -> Result<Vec<Change>> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            // Nothing to take back is no fault.
            let _ = self.event.read();
            let (changes, error) = self.take();
            let changes = judge(changes, error)?;
            let left =
                deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if !changes.is_empty() || left.is_zero() {
                return Ok(changes);
            }
            // Whole milliseconds, rounded up, or the last one would be spent spinning.
            let wait = left.min(Duration::from_secs(3600)) + Duration::from_micros(999);
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.event.as_fd(), PollFlags::POLLIN)], wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::unavailable("wait for a change", errno)),
            }
        }
    }

    /// Polls readable when there is something to take.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
