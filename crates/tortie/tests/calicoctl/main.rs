//! The real binary, called as `calicoctl` through a link: what it says on standard output and standard error, and how it
//! ends, byte for byte. Most tests run on both stores, the embedded one and an etcd of their own; those of a cluster on its API.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cluster;
mod convert;
mod fixture;
mod grammar;
mod input;
mod ipam;
mod kinds;
mod migrate;
mod node;
mod objects;
mod refused;
mod templates;
