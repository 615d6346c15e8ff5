//! The objects of nf_tables, each a value that is written to a message and read back from a listing.
//!
//! Names are as the kernel has them; nothing here knows what Tortie puts into them ([`crate::flat`] does).
//! Next hop: [`crate::Batch`] and [`crate::Client`].

mod chain;
mod counter;
mod element;
mod rule;
mod set;
mod table;

pub use chain::{Chain, ChainKind, Hook, HookPoint};
pub use counter::Counter;
pub use element::{Element, Value};
pub use rule::{ListedRule, Rule};
pub use set::{Data, Field, ListedSet, Set};
pub use table::{Family, Table, TableId};
