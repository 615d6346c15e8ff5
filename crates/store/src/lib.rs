//! Datastores: where Tortie's objects live, behind one trait.
//!
//! [`Datastore`] is keys, bytes and revisions (what etcd is); [`embedded`] is the backend that needs no server: an SQLite
//! file that agent, commands and CNI plugin open side by side; [`etcd`] is the one that many machines share; [`kubernetes`]
//! keeps them in a cluster's own API. Keys and values are
//! Calico's (see [`keys`]), so moving from one to the other is a copy. What a value means is not known below [`resources`].
//!
//! ```text
//! command, CNI -> resources -> Datastore -> embedded (SQLite), etcd, kubernetes
//!             agent <- sync, blocks <- Watch <-'      (controllers <- follow <- Watch)
//! ```

pub mod ahead;
mod batch;
pub mod blocks;
pub mod conformance;
mod datastore;
pub mod embedded;
mod error;
pub mod etcd;
pub mod follow;
pub mod ipam;
pub mod json;
pub mod keys;
pub mod kubernetes;
mod layer;
pub mod open;
pub mod resources;
pub mod sync;
mod wire;

pub use batch::Batch;
pub use datastore::{
    Change, Datastore, Expect, KeyValue, List, Listing, MOST_WRITES, Read, Revision, Watch, Write,
};
pub use error::{Error, InvalidField, Result};
pub use layer::Layer;
