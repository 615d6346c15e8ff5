//! The CNI plugin: one call per pod.
//!
//! The plugin process parses its call, passes it and the pod's network namespace to the agent's socket and prints the
//! answer. The agent runs [`execute::execute`]; without an agent the plugin runs it itself, on the same store.
//!
//! ```text
//! runtime -> plugin::run -> transport --socket--> agent -> execute
//!                 '------------- no agent --------------------'
//! execute: request, config -> address (IPAM) -> wiring (kernel) -> endpoint (store) -> gate (policy is in the kernel)
//! ```
//! Formats are those of the CNI specification 1.1; names, profiles, messages and wiring are Calico's.

pub mod address;
pub mod annotations;
pub mod config;
pub mod delegate;
pub mod endpoint;
pub mod error;
pub mod execute;
pub mod gate;
pub mod identity;
pub mod loopback;
pub mod mend;
pub mod output;
pub mod plugin;
pub mod request;
mod sys;
pub mod transport;
pub mod wiring;

pub use error::Error;
pub use execute::{Context, Reply, execute};
pub use gate::{ClosedTable, Gate, Judging};
pub use request::{Command, Plugin, Request};

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
