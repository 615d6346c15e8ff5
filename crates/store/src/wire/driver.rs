//! The runtime under a backend's calls, without a thread of its own: whoever calls drives it, so a command starts nothing that it
//! doesn't need. When the first task is to run beside the calls a thread takes over, and connections are looked after between
//! calls too.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::{Error, Result};

/// See the module.
pub struct Driver {
    name: &'static str,
    runtime: Arc<Runtime>,
    driven: AtomicBool,
    stop: Arc<Notify>,
}

impl Driver {
    /// For calls to the service `name`, which is the thread's name too.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the system has no descriptors left.
    pub fn new(name: &'static str) -> Result<Driver> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::unavailable(format!("prepare to speak with {name}"), error))?;
        Ok(Driver { name, runtime: Arc::new(runtime), driven: AtomicBool::new(false), stop: Arc::default() })
    }

    /// Wait for `future` on this thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Whether there is a thread.
    pub fn is_driven(&self) -> bool {
        self.driven.load(Ordering::Relaxed)
    }

    /// Run `task` beside everything else, on a thread that drives the runtime from now on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there can be no more threads.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<AbortHandle> {
        if !self.driven.swap(true, Ordering::Relaxed) {
            let (runtime, stop) = (Arc::clone(&self.runtime), Arc::clone(&self.stop));
            let thread = std::thread::Builder::new().name(self.name.to_owned());
            thread.spawn(move || runtime.block_on(stop.notified())).map_err(|error| {
                self.driven.store(false, Ordering::Relaxed);
                Error::unavailable(format!("start the thread that speaks with {}", self.name), error)
            })?;
        }
        Ok(self.runtime.spawn(task).abort_handle())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}
