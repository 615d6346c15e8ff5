//! What one node should hold: the values that pass from the calculation to the drivers.
//!
//! ```text
//!  calc --[policy::Update]--> classify --[flat::Step]--> nft
//!  calc --[network::Network]-----------------> agent --> netlink
//! ```
//! [`policy`] speaks of policies, rules and which sets an address belongs to; [`flat`] of
//! classes, stacks and verdicts, as a driver holds them; [`network`] of the ways to other nodes' pods. Plain values, and what of an endpoint is one: no algorithm lives here.

pub mod flat;
pub mod network;
pub mod policy;
