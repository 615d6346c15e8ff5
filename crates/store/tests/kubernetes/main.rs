//! The Kubernetes API as datastore, on a real kube-apiserver: what the suite of all datastores doesn't ask.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod endpoints;
mod faults;
mod help;
mod programs;
mod quiet;
mod reports;
mod settings;
