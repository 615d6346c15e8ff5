//! Hosts, pods and traffic in network namespaces, for tests, the demo and benchmarks.
//!
//! A [`Lab`] is a fabric (a bridge in a namespace of its own), hosts on it and pod namespaces; everything has a
//! name `tt-<pid>-<n>-...` and goes with the value, after a panic too. What wires pods (the CNI plugin) and
//! judges packets (the agent) is the caller's: the lab runs commands and closures inside the namespaces.
//!
//! Traffic is real, by this process's own sockets: [`probe`] for connections as programs make them, [`raw`] for
//! any packet, [`flows`] for a steady stream. That a packet was dropped is known by a sentinel that follows on
//! the same path and is always allowed, never by waiting; see [`probe`] for why the order holds.

pub mod error;
pub mod fabric;
pub mod flows;
pub mod matrix;
pub mod packet;
pub mod probe;
pub mod raw;
pub mod respond;
pub mod sweep;
pub mod sys;

pub use error::Error;
pub use fabric::{Host, Lab, Pod, Role};
pub use matrix::{Matrix, Party};
pub use probe::{Outcome, Sentinel, Service};
pub use respond::Responder;

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
