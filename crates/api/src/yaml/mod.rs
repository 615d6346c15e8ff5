//! YAML as Calico's users know it: read with positions, written as `calicoctl -o yaml` writes.
//!
//! Calico's tools speak YAML 1.1 through Go's libraries: a bare `no` is a bool, `012` is ten, and
//! every text that could be taken for another type is quoted when it is written. [`scalar`] knows
//! those types, [`tree`] reads text into nodes that remember line, column and style, and
//! [`to_string`] writes. Nothing here knows a kind; the next hop is `decode`.

pub mod scalar;
pub mod tree;
mod write;

pub use write::{to_string, write_at};
