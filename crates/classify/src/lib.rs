//! Rules to classes and verdicts.
//!
//! Two addresses are in one class when no rule in use can tell them apart; ports likewise.
//! A stack of policies then is a table from (class, L4 class) to a verdict, of which only what
//! differs from the stack's most common row is written down.
//!
//! ```text
//!   policy::Update --> Classifier::apply   remembers
//!                      Classifier::commit  --> flat::Step, in an order no packet sees half of
//!                        classes   which class an address is in
//!                        l4        which class a port is in
//!                        compile   a stack's rules as one list
//!                        row       the verdicts of one class under one stack
//!                        paths     counters
//!                        intervals nested prefixes as disjoint intervals
//! ```
//! The next hop is a driver (`nft`), by way of `agent`. [`lookup`] is the same tables read by hand.

mod classes;
mod classifier;
mod compile;
mod ids;
mod intervals;
mod l4;
pub mod lookup;
mod paths;
mod row;
mod stacks;

pub use classifier::{Change, Classifier, Error, Sizes};
