//! The flat table: classes, stacks and verdicts as one nftables table, whose cost does not depend on the number of
//! rules.
//!
//! ```text
//!  Step   --[driver, follow]--> Changes --[change]--> transactions
//!  Tables --[driver, whole]---------------------------> transactions
//!      keys: values to elements | open: what is open to everyone | layout: the maps | chains, stack: the rules | phrases: their text
//!  kernel --[check]--> Drift
//! ```
//! See DESIGN.md of this crate for the invariants.

mod chains;
mod change;
mod check;
mod driver;
mod follow;
mod host_ports;
mod keys;
mod layout;
mod open;
mod outgoing;
mod phrases;
mod retire;
mod settings;
mod stack;
mod whole;

pub use chains::{
    COUNTERS, DROPPED_CLOSED, DROPPED_INVALID, DROPPED_SPOOFED, DROPPED_TO_HOST, DROPPED_UNKNOWN,
};
pub use check::{Cursor, Drift};
pub use driver::{Applied, Closed, Count, Flat};
pub use settings::{EndpointToHost, LogTarget, Ownership, Settings, TABLE_COMMENT};
