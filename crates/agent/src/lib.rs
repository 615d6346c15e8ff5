//! The node agent: one per machine, the only writer of its policy tables.
//!
//! ```text
//!  store::Sync ----> Event --.                        .--> nft::Flat   (Action::Install, Action::Apply)
//!  CNI socket  ----> Event ---> core::Core --Action--+
//!  monitors    ----> Input --'   calc, classify       '--> whoever waits (Action::Ready)
//! ```
//! Beside them a thread keeps the routes to other nodes' pods (`network`).
//! [`core`] knows no socket, clock or thread: inputs and the time go in, actions come out.
//! [`run`] is the loop around it; [`server`] and [`http`] are what others ask it by.

pub mod config;
pub mod core;
mod error;
mod history;
pub mod http;
pub mod kubeconfig;
pub mod kubernetes;
pub mod ledger;
mod log;
mod monitors;
mod network;
pub mod pools;
pub mod protocol;
pub mod run;
pub mod server;
pub mod status;
mod sys;

pub use error::{Error, Result};
pub use network::{PROTOCOL as ROUTE_PROTOCOL, devices as tunnel_devices};
