//! The plugin on a real kernel and a real store, in namespaces of the tests' own. Needs root, the `nft` program as the
//! referee and the `host-local` plugin (Debian: `containernetworking-plugins`).

#![expect(clippy::unwrap_used, reason = "tests")]

mod attach;
mod etcd;
mod host;
mod plugin;
mod recorded;
