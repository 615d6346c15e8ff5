//! The incremental calculation: from resources to stacks and memberships of one node.
//!
//! ```text
//!  Event --[Graph::apply]--> Graph --[Graph::flush]--> dataplane::policy::Update
//! ```
//! `store` tells the events, `classify` takes the updates. Beside it, for the same node and by itself: the routes to the
//! other nodes' pods ([`network`]). Pure: no sockets, files, clocks or
//! threads. Not here: what a packet meets (`classify`), and what policy means (`analysis`, which
//! says the same in another way and is never seen from here).

mod ahead;
mod book;
mod compile;
mod complaint;
mod enforced;
mod error;
mod expression;
mod graph;
mod index;
mod inheritance;
mod intake;
mod item;
mod label;
mod local;
mod members;
mod membership;
pub mod network;
mod parse;
mod policy;
mod postings;
mod prefixes;
mod profile;
mod rule;
mod selection;
mod services;
mod sets;
pub mod settings;
mod stack;
mod stats;
mod symbol;
mod tier;

pub use complaint::complaint;
pub use enforced::{Effect, NotEnforced, not_enforced};
pub use error::{Fault, PolicyFault};
pub use graph::{Config, Graph};
pub use stats::Stats;
