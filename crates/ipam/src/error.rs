//! What can go wrong in an operation, in Calico's words where Calico has some.

use ipnet::IpNet;

use crate::key::Owner;
use crate::net::Family;
use crate::pool::Use;

/// Why an operation didn't do what was asked. Callers show it; only [`Error::Conflict`] is worth a new attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A release named a handle or sequence number that isn't the stored one.
    #[error("update conflict: {identifier}")]
    Conflict {
        /// The address.
        identifier: String,
    },
    /// The address is taken.
    #[error("resource already exists: {identifier} with error: {reason}")]
    Exists {
        /// The address.
        identifier: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A handle, node or assignment isn't there.
    #[error("resource does not exist: {identifier} with error: {}", .reason.unwrap_or("<nil>"))]
    DoesNotExist {
        /// Calico's name of the key, or the address.
        identifier: String,
        /// More about it.
        reason: Option<&'static str>,
    },
    /// The host has as many blocks as it may have.
    #[error("cannot allocate new block due to per host block limit")]
    BlockLimit,
    /// No pool is enabled.
    #[error("cannot find a qualified ippool")]
    NoQualifiedPool,
    /// Pools there are, but none for this use.
    #[error("cannot find a qualified ippool, no pools match the required use ({0})")]
    NoPoolForUse(Use),
    /// No pool selects the host and the namespace.
    #[error("no configured Calico pools for node {0}")]
    NoPoolForNode(String),
    /// A pool that was asked for by name isn't enabled.
    #[error("the given pool ({0}) does not exist, or is not enabled")]
    PoolNotEnabled(String),
    /// A pool of the other family was asked for.
    #[error("provided IPv{0} IPPools list contains one or more IPv{1} IPPools")]
    PoolFamily(u8, u8),
    /// A requested address is in no enabled pool.
    #[error("The provided IP address is not in a configured pool\n")]
    NotInPool,
    /// A requested address is in a pool that isn't for this use.
    #[error("the pool ({pool}) of the provided IP address does not allow the use {intended}")]
    UseNotAllowed {
        /// The pool's addresses.
        pool: IpNet,
        /// What the address was for.
        intended: Use,
    },
    /// Strict affinity, and the block is another host's.
    #[error("Block host affinity does not match")]
    OtherHostsBlock,
    /// Strict affinity, and the block is nobody's.
    #[error("Attempt to assign from block {0} with no affinity")]
    BlockWithoutAffinity(IpNet),
    /// A range is in no enabled pool.
    #[error("The requested CIDR ({0}) is not within any configured pools.")]
    RangeNotInPool(IpNet),
    /// A range is smaller than a block.
    #[error("The requested CIDR ({0}) is smaller than the minimum.")]
    RangeTooSmall(IpNet),
    /// The settings forbid new blocks.
    #[error("failed to find or claim a block")]
    NoBlock,
    /// A block has fewer free addresses than were wanted when it was claimed.
    #[error("Block '{block}' has {free} free ips which is less than {wanted} ips required.")]
    TooFewFree {
        /// The block.
        block: IpNet,
        /// Free addresses in it.
        free: u32,
        /// Free addresses wanted.
        wanted: u32,
    },
    /// Nothing is free in any pool; only for operations that must end with a block.
    #[error("No Free Blocks")]
    NoFreeBlocks,
    /// The block has addresses in use.
    #[error("block '{0}' is not empty")]
    BlockNotEmpty(IpNet),
    /// Others were faster a hundred times.
    #[error("Max retries hit - excessive concurrent IPAM requests")]
    Retries,
    /// More addresses at the ends of a block are to be reserved than a block has.
    #[error("HostReservedAttr has wrong parameters")]
    Reservation,
    /// Settings that would leave no way to assign an address.
    #[error("Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time")]
    NoWayToAssign,
    /// A limit of blocks would only lead to borrowing.
    #[error("MaxBlocksPerHost requires StrictAffinity to be enabled")]
    LimitNeedsStrictAffinity,
}

impl Error {
    pub(crate) fn missing_handle(id: &str) -> Self {
        Error::DoesNotExist { identifier: format!("IPAMHandleKey(id={id})"), reason: None }
    }

    pub(crate) fn missing_block(block: &IpNet) -> Self {
        Error::DoesNotExist { identifier: format!("BlockKey(cidr={block})"), reason: None }
    }

    pub(crate) fn missing_node(owner: &Owner) -> Self {
        Error::DoesNotExist { identifier: format!("Node({})", owner.name()), reason: None }
    }

    pub(crate) fn pool_family(wanted: Family) -> Self {
        Error::PoolFamily(wanted.number(), if wanted == Family::V4 { 6 } else { 4 })
    }
}
