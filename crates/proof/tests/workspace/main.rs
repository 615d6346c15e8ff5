//! The rules of the repository as a whole, held by tests: layers, what comes in from outside, and what files say.
//!
//! They read `cargo metadata` and `git ls-files`, change nothing and need no network. The layers are drawn in
//! DESIGN.md, which is checked against the table here; what may come in stands in deny.toml.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod deny;
mod files;
mod layers;
mod metadata;
mod pure;
mod readme;
