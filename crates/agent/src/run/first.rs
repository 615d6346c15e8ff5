//! What a start needs of the datastore, in a thread: the loop answers and can be stopped meanwhile, and what is in the kernel
//! judges.
//!
//! ```text
//! settings, unless they were known before the table was closed -- others than those in use --> Heard::Anew
//!     `-> the store's monitor -> pools, what every store holds, this node ---------------> Heard::Begun
//! ```
//! A datastore that can't be reached is waited for. What it refuses ends the agent; but one that has just come back may refuse
//! for a moment whom it will know.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::Error as StoreError;
use tortie_store::resources::Client;

use super::Heard;
use crate::config::{Environment, LIVE, Stored, Told};
use crate::kubernetes::{Machine, refer};
use crate::monitors::{self, spawn};
use crate::{Error, Result, pools};

/// How long is waited before the next attempt.
pub const REST: Duration = Duration::from_millis(250);

/// How long a datastore may refuse us that could not be reached before. An API server answers before it has read all
/// accounts and roles.
const ACQUAINTANCE: Duration = Duration::from_secs(10);

/// What the thread is started with.
pub struct First {
    /// The datastore.
    pub client: Client,
    /// What the agent was started with.
    pub environment: Environment,
    /// The node in Kubernetes, if there is a cluster.
    pub machine: Option<Machine>,
    /// The settings in use, if they are those of the environment alone because the datastore didn't answer.
    pub unsure: Option<Vec<Told>>,
    /// The loop.
    pub heard: Sender<Heard>,
}

impl First {
    /// Takes all steps, in a thread.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn take(self) -> Result<()> {
        if self.unsure.is_none() {
            // Reads while the closed table is made.
            self.listen()?;
        }
        spawn("first", move || {
            let ended = match self.steps() {
                Ok(ended) => ended,
                Err(error) => Heard::Failed(error),
            };
            drop(self.heard.send(ended));
        })?;
        Ok(())
    }

    fn listen(&self) -> Result<()> {
        monitors::store(Arc::clone(self.client.store()), self.heard.clone()).map(drop)
    }

    fn steps(&self) -> Result<Heard> {
        let mut wait = Wait::new(self.unsure.is_some());
        if let Some(in_use) = &self.unsure {
            let read = || Ok(Stored::read(&self.client, self.environment.node())?);
            if self.is_other(in_use, &wait.until(read)?) {
                return Ok(Heard::Anew);
            }
            self.listen()?;
        }
        let (pools, _) = pools::read(|name| self.environment.get(name).map(str::to_owned));
        wait.until(|| pools::make(&self.client, &pools))?;
        wait.until(|| self.register())?;
        if let Some(machine) = &self.machine {
            wait.until(|| refer(&self.client, self.environment.node(), machine.name()))?;
        }
        Ok(Heard::Begun)
    }

    /// Whether what is stored makes settings other ones that are fixed at the start. The others follow by events.
    fn is_other(&self, in_use: &[Told], stored: &Stored) -> bool {
        let wanted = self.environment.resolve(stored).told;
        in_use
            .iter()
            .zip(&wanted)
            .any(|(used, wanted)| used.value != wanted.value && !LIVE.contains(&used.name))
    }

    /// Makes sure that the store holds what every store holds, and this node, which a cluster's API must know already.
    fn register(&self) -> Result<()> {
        let (client, node) = (&self.client, self.environment.node());
        client.ensure_initialized()?;
        match client.ensure_described(self.environment.get("CLUSTER_TYPE").unwrap_or_default()) {
            // Roles of before may not allow it, and nothing of ours needs it.
            Err(error @ StoreError::Refused { .. }) => {
                tracing::warn!(%error, "what Calico's users find in every cluster is missing");
            }
            done => done?,
        }
        if client.store().knows_pods() {
            client.get(&ResourceKey::cluster(Kind::Node, node))?;
            return Ok(());
        }
        let object = json!({
            "apiVersion": Kind::Node.api().version(),
            "kind": Kind::Node.name(),
            "metadata": {"name": node},
            "spec": {},
        });
        match client.create(object) {
            Ok(_) => tracing::info!(node, "this node is new to the store"),
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Tries again, and says once that it waits, and once that it doesn't any more.
struct Wait {
    is_lost: bool,
    /// Since when it is refused what can't be refused for good.
    refused: Option<Instant>,
    /// Whether it couldn't be reached at some time.
    was_lost: bool,
}

impl Wait {
    fn new(is_lost: bool) -> Self {
        Self { is_lost, refused: None, was_lost: is_lost }
    }

    /// Does it until it is done, or fails for good.
    fn until<T>(&mut self, mut step: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            let error = match step() {
                Ok(done) => {
                    if std::mem::take(&mut self.is_lost) {
                        tracing::info!("the datastore answers");
                    }
                    self.refused = None;
                    return Ok(done);
                }
                Err(error) => error,
            };
            if matches!(error, Error::Store(StoreError::Refused { .. })) && self.was_lost {
                if self.refused.get_or_insert_with(Instant::now).elapsed() > ACQUAINTANCE {
                    return Err(error);
                }
            } else if !error.passes() {
                return Err(error);
            } else {
                self.refused = None;
            }
            if !std::mem::replace(&mut self.is_lost, true) {
                tracing::warn!(%error, "the datastore does not answer; what is in the kernel judges until it does");
            }
            self.was_lost = true;
            sleep(REST);
        }
    }
}
