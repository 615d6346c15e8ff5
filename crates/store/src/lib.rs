//! Datastores: where Tortie's objects live, behind one trait.
//!
//! [`Datastore`] is keys, bytes and revisions (what etcd is); [`embedded`] is the backend that needs no server: an SQLite
//! file that agent, commands and CNI plugin open side by side. Keys and values are Calico's (see [`keys`]), so moving
//! from one machine to an etcd cluster is a copy. What a value means is not known below [`resources`].
//!
//! ```text
//! command, CNI -> resources -> Datastore -> embedded (SQLite)
//!                     agent <- sync <- Watch <-'
//! ```

pub mod conformance;
mod datastore;
pub mod embedded;
mod error;
pub mod ipam;
pub mod json;
pub mod keys;
pub mod resources;
pub mod sync;

pub use datastore::{Change, Datastore, KeyValue, List, Listing, Revision, Watch};
pub use error::{Error, InvalidField, Result};
