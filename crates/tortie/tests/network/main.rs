//! Nodes on one fabric, each with its own agent, and pods that reach each other across them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;
mod kube;
mod outside;
mod ports;
mod stream;
mod subnet;
mod tunnel;
