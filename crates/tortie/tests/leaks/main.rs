//! Leaks: a new flow every millisecond through everything that happens to a node, and the real agent's repairs.
//!
//! Each test first sends its flows with no table of ours in the kernel and must see those that policy denies arrive;
//! with it, none may, and none that policy allows may be lost. What was dropped is known by sentinels that policy
//! allows, sent behind the last flow from every processor. Needs root and the `nft` program; everything happens in
//! namespaces `tt-...`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod agent;
mod driver;
mod faults;
mod pods;
mod stage;
mod streams;
