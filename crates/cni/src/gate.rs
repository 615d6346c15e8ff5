//! What stands between wiring a pod and letting it talk: closed before the first route, open when its policy holds.
//!
//! The agent's gate knows its own table and waits for its own commit. Without an agent, [`ClosedTable`] makes sure that
//! a table stands which drops what is not judged yet; the pod then waits for its judge.

use tortie_api::endpoint::WorkloadEndpoint;
use tortie_api::kind::ResourceKey;
use tortie_nft::flat::{Closed, Flat, Ownership, Settings};

/// Returns when the policy of an endpoint is in the kernel.
///
/// # Errors
/// In words for the runtime; the attachment is undone then.
pub type Judging<'a> = Box<dyn FnOnce() -> Result<(), String> + 'a>;

/// Called by [`crate::execute`] in this order: `close`, then the kernel and the store are written, then `judge`.
pub trait Gate: Sync {
    /// Returns when packets of an interface that nobody has judged yet are dropped.
    ///
    /// # Errors
    /// In words for the runtime; nothing is wired then.
    fn close(&self) -> Result<(), String>;

    /// The endpoint is stored as it is given, and its interface is there: its policy is on its way into the kernel. What is
    /// returned waits for it, so that the caller may do something else meanwhile.
    ///
    /// # Errors
    /// In words for the runtime; the attachment is undone then.
    fn judge(&self, endpoint: WorkloadEndpoint) -> Result<Judging<'_>, String>;

    /// The endpoint and its interface are gone. Needs not wait.
    fn gone(&self, endpoint: &ResourceKey, interface: &str);
}

/// The gate of a process that is no agent, in its own network namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClosedTable;

impl Gate for ClosedTable {
    fn close(&self) -> Result<(), String> {
        // Never owned: the table has to outlive this process and be the agent's afterwards.
        let settings = Settings { owned: Ownership::Never, ..Settings::default() };
        let closed = Flat::open(settings).and_then(|mut flat| flat.install_closed());
        match closed.map_err(|error| error.to_string())? {
            Closed::Installed => tracing::warn!(
                "no policy table stood: new connections of all workloads are dropped until the agent starts"
            ),
            Closed::Judging => tracing::debug!("a policy table stands"),
            Closed::Beside => {
                tracing::warn!(
                    "the rules that Calico's agent has left judge: they know no new workload, and drop what is its"
                );
            }
        }
        Ok(())
    }

    fn judge(&self, endpoint: WorkloadEndpoint) -> Result<Judging<'_>, String> {
        let interface = endpoint.spec.interface_name;
        tracing::info!(interface, "attached without an agent: closed until the agent judges it");
        Ok(Box::new(|| Ok(())))
    }

    fn gone(&self, _endpoint: &ResourceKey, _interface: &str) {}
}
