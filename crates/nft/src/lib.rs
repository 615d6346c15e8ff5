//! The nftables driver: our own netlink encoder and the flat table.
//!
//! ```text
//!  flat::Step --[flat::Flat]--> Batch --[Client]--> kernel
//!                    ^                                |
//!                    +---- Contents <---- listings ---+
//! ```
//! [`object`] and [`expression`] are nf_tables' objects as values, [`Batch`] a transaction of them, [`Client`] the
//! socket; these know nothing of Tortie. [`flat`] turns the classifier's tables into them. The `nft` program is never
//! run; that it can list what we write, and load the listing again, is tested.

mod batch;
mod client;
mod error;
pub mod expression;
pub mod flat;
mod kernel;
mod monitor;
pub mod object;
mod userdata;
mod verdict;

pub use batch::{Batch, Place};
pub use client::{Client, Features};
pub use error::Error;
pub use kernel::{NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST};
pub use monitor::{ForeignChange, Monitor};
pub use userdata::COMMENT_MAXIMUM;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
