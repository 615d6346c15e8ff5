//! What one process does for a whole cluster, as Calico's kube-controllers do: addresses of what is gone are released, nodes
//! get their host endpoints, and where policy is in etcd Kubernetes' objects are copied there.
//!
//! ```text
//! datastore, Kubernetes -> follow -> World -> settings, collect, hosts, copies (pure) -> write, collector -> Guard -> datastore
//!                                                                  lease (pure), seat, leader ---------------'
//! ```
//! Of several processes one leads ([`leader`]); only it listens and writes, and every write passes a guard that closes when its
//! time is over. Whatever is decided is decided again whenever something changes, from complete tables, so nothing is
//! remembered but since when something looks leaked. How the process is can be asked ([`health`]). Next hop: agents, by what is written.

pub mod collect;
pub mod collector;
pub mod copies;
mod error;
pub mod health;
pub mod hosts;
pub mod leader;
pub mod lease;
pub mod pulse;
pub mod run;
pub mod seat;
pub mod settings;
mod time;
mod truth;
mod world;
mod write;

pub use error::{Error, Result};
pub use run::{Asked, Options, Task, run};
pub use truth::Cluster;
