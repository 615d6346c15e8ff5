//! Address management: Calico's blocks, affinities and handles as sans-IO machines.
//!
//! An operation ([`auto_assign`], [`release_by_handle`], ...) is a [`Machine`]: it asks for records and is told what came of
//! it; [`backend::run`] drives it over any store with compare-and-swap. Time, randomness and what is known of the cluster
//! ([`View`]: pools, reservations, node labels) are arguments. Callers: the CNI plugin, the agent and the commands.
//!
//! ```text
//!   assign, assign_address, release, affinity, check        operations
//!        claim, index                                       a block's claim, a handle's counts
//!   walk, record, pool, net, time                           values
//!        machine <-> backend, cache                         requests and their drivers
//!   transaction, stage                                      many writes as one
//! ```
//! The block record alone says who has an address; claims and handles are indexes that may lag behind in one direction
//! only. DESIGN.md has the invariants.

mod affinity;
mod assign;
mod assign_address;
pub mod backend;
pub mod cache;
mod check;
mod choice;
mod claim;
mod error;
mod index;
pub mod key;
pub mod machine;
pub mod net;
mod pool;
pub mod record;
mod release;
mod stage;
mod time;
pub mod transaction;
pub mod walk;
mod waves;

pub use affinity::{
    ClaimedRange, InUse, change_settings, check_settings, claim_range, read_settings, release_block_of,
    release_owner, release_pool, release_range, reset_settings, write_settings,
};
pub use assign::{Assignments, AutoAssign, AutoAssigned, EnsuredBlocks, auto_assign, ensure_block};
pub use assign_address::{AssignAddress, assign_address};
pub use check::{BlockUse, Finding, PoolUse, Repair, check, utilization};
pub use choice::{ChoiceError, Sources, choose_pools};
pub use error::Error;
pub use key::{HandleId, Owner};
pub use machine::Machine;
pub use pool::{Labels, Pool, PoolError, Reservations, Use, View};
pub use release::{
    Assignment, Release, Released, addresses_of_handle, assignment_of, release, release_by_handle,
};
pub use time::{Now, Timestamp};
