//! Tests of address management against a store in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod behaviour;
mod explore;
mod interleavings;
mod random;
mod replay;
mod support;
mod transactions;
mod wave;
