//! A watch: reads the log behind the last revision it has seen, whenever a writer touches the notify file.
//!
//! The notify file is written after the commit, so a wake-up finds the change. (The write-ahead log would wake too early,
//! before the change can be read.) A timer looks once a second all the same, for a writer that died between commit and
//! notification. Reads are short, so a watch never holds up a checkpoint.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::{Shared, log};
use crate::{Change, Error, Result, Revision, Watch};

/// How late a change is at most, if its writer died before it could tell.
const POLL: Duration = Duration::from_secs(1);

/// How many changes one call returns at most.
const BATCH: usize = 1_000;

/// A watch on one prefix of the embedded datastore.
pub struct EmbeddedWatch {
    shared: Arc<Shared>,
    prefix: String,
    /// All up to here has been reported.
    position: Revision,
    inotify: Inotify,
    timer: TimerFd,
    /// Readable if one of the two is.
    epoll: Epoll,
}

impl EmbeddedWatch {
    /// Watch `prefix` for what comes after `after`.
    pub fn start(shared: Arc<Shared>, prefix: &str, after: Revision) -> Result<EmbeddedWatch> {
        let made = (|| {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            inotify.add_watch(&shared.notify_path, AddWatchFlags::IN_MODIFY)?;
            let timer =
                TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            epoll.add(&inotify, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
            epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
            Ok((inotify, timer, epoll))
        })();
        let (inotify, timer, epoll) = made.map_err(|errno: Errno| {
            Error::unavailable(format!("watch {}", shared.notify_path.display()), errno)
        })?;
        let watch =
            EmbeddedWatch { shared, prefix: prefix.to_owned(), position: after, inotify, timer, epoll };
        watch.shared.read("watch", |connection| {
            let (current, oldest) = (log::revision(connection)?, log::compacted(connection)?);
            if after > current {
                return Err(Error::Future { asked: after, current }.into());
            }
            if after < oldest {
                return Err(Error::Compacted { asked: after, oldest }.into());
            }
            Ok(())
        })?;
        // What lies in the past is reported at once.
        watch.look_again(Duration::from_nanos(1))?;
        Ok(watch)
    }

    /// Let the timer fire after `first`, and then once a second.
    fn look_again(&self, first: Duration) -> Result<()> {
        let expiration = Expiration::IntervalDelayed(TimeSpec::from(first), TimeSpec::from(POLL));
        self.timer
            .set(expiration, TimerSetTimeFlags::empty())
            .map_err(|errno| Error::unavailable("set the timer of a watch", errno))
    }

    /// Take back all wake-ups so far; what they were for is read afterwards.
    fn drain(&self) -> Result<()> {
        let failed = |errno| Error::unavailable("read the wake-ups of a watch", errno);
        loop {
            match self.inotify.read_events() {
                Ok(_) => {}
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        loop {
            match self.timer.wait() {
                Ok(()) => self.shared.still_there()?,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Read on behind the position.
    fn read(&mut self) -> Result<Vec<Change>> {
        let (prefix, after) = (&self.prefix, self.position);
        let (changes, current) = self.shared.read("watch", |connection| {
            let (current, oldest) = (log::revision(connection)?, log::compacted(connection)?);
            if after < oldest {
                return Err(Error::Compacted { asked: after, oldest }.into());
            }
            if after > current {
                return Err(Error::Future { asked: after, current }.into());
            }
            if after == current {
                return Ok((Vec::new(), current));
            }
            Ok((log::changes(connection, prefix, after, current, BATCH)?, current))
        })?;
        match changes.last() {
            Some(last) if changes.len() == BATCH => {
                // There may be more, for which nobody wakes us.
                self.look_again(Duration::from_nanos(1))?;
                self.position = last.revision();
            }
            _ => self.position = current,
        }
        Ok(changes)
    }
}

impl Watch for EmbeddedWatch {
    fn next(&mut self, timeout: Duration) -> Result<Vec<Change>> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            self.drain()?;
            let changes = self.read()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            let left = deadline.map_or(POLL, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(changes);
            }
            // Whole milliseconds, rounded up, or the last one would be spent spinning.
            let wait = left.min(POLL) + Duration::from_micros(999);
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::unavailable("wait for a change", errno)),
            }
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}
