//! The real binary, called as `calicoctl` through a link: what it says on standard output and standard error, and how it
//! ends, byte for byte. Each test runs on both stores: the embedded one, and an etcd of its own.

#![expect(clippy::unwrap_used, reason = "tests")]

mod convert;
mod fixture;
mod grammar;
mod input;
mod ipam;
mod kinds;
mod node;
mod objects;
mod refused;
mod templates;
