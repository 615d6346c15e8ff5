//! etcd's own: what can happen to a server, to the way to it, and to those who ask it. Each test has a server of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod certificates;
mod discovery;
mod faults;
mod help;
mod identity;
mod members;
