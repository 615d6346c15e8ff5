//! Tests on the running kernel, each in network namespaces of its own. They need root and the `nft` program.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod changes;
mod encoder;
mod install;
mod outgoing;
mod ports;
mod support;
mod verdicts;
