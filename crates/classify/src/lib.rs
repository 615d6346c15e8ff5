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
//!                        item      a rule as one side of a packet sees it
//!                        compile   a stack's rules as one list
//!                        row       the verdicts of one class under one stack
//!                        table     those of all classes, as they are written down
//!                        edit      a stack becomes another in place
//!                        paths     counters
//!                        intervals nested prefixes as disjoint intervals
//! ```
//! The next hop is a driver (`nft`), by way of `agent`. [`lookup`] is the same tables read by hand.

mod census;
mod classes;
mod classifier;
mod compile;
mod edit;
mod ids;
mod intervals;
mod item;
mod l4;
pub mod lookup;
mod paths;
mod row;
mod stacks;
mod table;

pub use classifier::{Change, Classifier, Error, Sizes};
