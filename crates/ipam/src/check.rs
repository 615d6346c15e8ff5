//! How full the pools are, and whether the records agree with each other: what crashes left, who has addresses without
//! being known, and the repair.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::claim::{ATTEMPTS, Claimant, NotClaimed, NotReleased, ReleaseOnly, release_claim};
use crate::error::Error;
use crate::index;
use crate::key::{HandleId, Key, Owner, Prefix};
use crate::machine::{Io, Machine, Revision};
use crate::net;
use crate::pool::View;
use crate::record::{Block, Claim, ClaimState, Handle, Record};
use crate::release::all_blocks;
use crate::time::Now;

/// How full a block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockUse {
    /// Its addresses.
    pub cidr: IpNet,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Addresses in all.
    pub capacity: u32,
    /// Addresses that can be given now.
    pub free: u32,
    /// Free addresses that are reserved, and so aren't given by themselves.
    pub reserved: u32,
    /// Addresses that somebody has, or had until a moment ago.
    pub in_use: u32,
    /// Those of them that were released and cool down.
    pub cooling: u32,
}

/// How full a pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUse {
    /// The pool's name; `None` for the blocks that are in no pool.
    pub pool: Option<String>,
    /// The pool's addresses.
    pub cidr: Option<IpNet>,
    /// Its blocks, by address.
    pub blocks: Vec<BlockUse>,
}

/// How full each pool is, by name; at the end the blocks without a pool, if there are any.
pub fn utilization(view: Arc<View>) -> Machine<Vec<PoolUse>> {
    Machine::new(view, |io, view| async move {
        let pools = view.pools().iter();
        let mut uses: Vec<PoolUse> = pools
            .map(|pool| PoolUse { pool: Some(pool.name.clone()), cidr: Some(pool.cidr), blocks: Vec::new() })
            .collect();
        let mut orphans = PoolUse { pool: None, cidr: None, blocks: Vec::new() };
        for block in all_blocks(&io).await {
            let free = block.free(&view.reservations);
            let one = BlockUse {
                cidr: block.cidr,
                owner: block.owner(),
                capacity: net::size(&block.cidr),
                free,
                reserved: block.unallocated.len() as u32 - free,
                in_use: block.allocations.iter().flatten().count() as u32,
                cooling: block.cooling(),
            };
            let of_pool =
                uses.iter_mut().find(|pool| pool.cidr.is_some_and(|cidr| cidr.contains(&block.cidr)));
            of_pool.unwrap_or(&mut orphans).blocks.push(one);
        }
        if !orphans.blocks.is_empty() {
            uses.push(orphans);
        }
        uses
    })
}

/// Something that isn't as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// An address is given under a handle that isn't among those in use: its user is gone.
    Leaked {
        /// The address.
        address: IpAddr,
        /// The handle.
        handle: HandleId,
    },
    /// A handle counts other than the block does. Too many is what an assignment that stopped half-way leaves.
    Counts {
        /// The handle.
        handle: HandleId,
        /// The block.
        block: IpNet,
        /// Addresses in the handle.
        counted: i64,
        /// Addresses in the block.
        held: u32,
    },
    /// A handle without any block.
    EmptyHandle(HandleId),
    /// A claim that isn't confirmed, or whose block isn't there or is another's.
    StaleClaim {
        /// Whose claim.
        owner: Owner,
        /// To which block.
        block: IpNet,
    },
    /// A block says whose it is, but that owner has no claim and so won't find it.
    UnclaimedBlock {
        /// Whose block.
        owner: Owner,
        /// The block.
        block: IpNet,
    },
    /// A block that is nobody's and has no address in use.
    EmptyBlock(IpNet),
    /// A block that is in no pool.
    BlockWithoutPool(IpNet),
}

/// What to do about findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing is written.
    Report,
    /// What a crash left is taken back: claims, counts, empty blocks. Safe while others assign and release. Addresses
    /// stay assigned; leaked ones are for the caller to release, by handle, after a time of grace.
    Settle,
}

/// Compares all records with each other, and with the handles in use if they are given. Findings are sorted; with
/// [`Repair::Settle`] they are what was found before. While others work, a finding may be what they are at.
pub fn check(
    view: Arc<View>,
    now: Now,
    in_use: Option<BTreeSet<HandleId>>,
    repair: Repair,
) -> Machine<Result<Vec<Finding>, Error>> {
    Machine::new((view, in_use), move |io, (view, in_use)| async move {
        // Handles first: a handle that is written later than this can't be found to count too few.
        let (handles, _) = io.list(Prefix::Handles, true).await;
        let mut claims = io.list(Prefix::HostClaims, true).await.0;
        claims.extend(io.list(Prefix::VirtualClaims, true).await.0);
        let blocks: BTreeMap<IpNet, Arc<Block>> =
            all_blocks(&io).await.into_iter().map(|block| (block.cidr, block)).collect();
        let mut findings = find_counts(handles, &blocks);
        findings.extend(find_claims(claims, &blocks));
        for (cidr, block) in &blocks {
            if block.affinity.is_none() && block.is_empty() {
                findings.push(Finding::EmptyBlock(*cidr));
            }
            if view.pool_of(cidr.network()).is_none() {
                findings.push(Finding::BlockWithoutPool(*cidr));
            }
            if let Some(in_use) = &in_use {
                findings.extend(find_leaked(block, in_use));
            }
        }
        findings.sort();
        if repair == Repair::Settle {
            for finding in &findings {
                settle(&io, now, finding).await?;
            }
        }
        Ok(findings)
    })
}

fn find_counts(handles: Vec<(Key, Record, Revision)>, blocks: &BTreeMap<IpNet, Arc<Block>>) -> Vec<Finding> {
    let mut held: BTreeMap<(HandleId, IpNet), u32> = BTreeMap::new();
    for (cidr, block) in blocks {
        for ordinal in 0..net::size(cidr) {
            if let Some(handle) = block.holder(ordinal).and_then(|holder| holder.handle())
                && !is_reservation(&handle)
            {
                *held.entry((handle, *cidr)).or_insert(0) += 1;
            }
        }
    }
    let mut findings = Vec::new();
    for (key, record, _) in handles {
        let (Key::Handle(handle), Record::Handle(Handle { block: counts, .. })) = (key, record) else {
            continue;
        };
        if counts.is_empty() {
            findings.push(Finding::EmptyHandle(handle.clone()));
        }
        for (name, counted) in counts {
            let Ok(block) = name.parse::<IpNet>() else { continue };
            let held = held.remove(&(handle.clone(), block)).unwrap_or(0);
            if counted != i64::from(held) {
                findings.push(Finding::Counts { handle: handle.clone(), block, counted, held });
            }
        }
    }
    let unknown = |((handle, block), held)| Finding::Counts { handle, block, counted: 0, held };
    findings.extend(held.into_iter().map(unknown));
    findings
}

/// Reserved ends of blocks have a handle in the block only.
fn is_reservation(handle: &HandleId) -> bool {
    handle.as_str().eq_ignore_ascii_case(crate::record::WINDOWS_RESERVED)
}

fn find_claims(claims: Vec<(Key, Record, Revision)>, blocks: &BTreeMap<IpNet, Arc<Block>>) -> Vec<Finding> {
    let mut unclaimed: BTreeMap<IpNet, Owner> =
        blocks.iter().filter_map(|(cidr, block)| Some((*cidr, block.owner()?))).collect();
    let mut findings = Vec::new();
    for (key, record, _) in claims {
        let (Key::Affinity(owner, cidr), Record::Claim(Claim { state, .. })) = (key, record) else {
            continue;
        };
        let ours = unclaimed.get(&cidr) == Some(&owner);
        if ours {
            unclaimed.remove(&cidr);
        }
        if !ours || state != ClaimState::Confirmed {
            findings.push(Finding::StaleClaim { owner, block: cidr });
        }
    }
    findings.extend(unclaimed.into_iter().map(|(block, owner)| Finding::UnclaimedBlock { owner, block }));
    findings
}

fn find_leaked(block: &Block, in_use: &BTreeSet<HandleId>) -> Vec<Finding> {
    let leaked = |ordinal| {
        let handle = block.holder(ordinal)?.handle()?;
        let gone = !in_use.contains(&handle) && !is_reservation(&handle);
        gone.then(|| Finding::Leaked { address: net::nth(&block.cidr, ordinal), handle })
    };
    (0..net::size(&block.cidr)).filter_map(leaked).collect()
}

async fn settle(io: &Io, now: Now, finding: &Finding) -> Result<(), Error> {
    match finding {
        Finding::Leaked { .. } | Finding::BlockWithoutPool(_) => Ok(()),
        Finding::Counts { handle, block, .. } => index::settle(io, handle, &[*block]).await.map(drop),
        Finding::EmptyHandle(handle) => index::settle(io, handle, &[]).await.map(drop),
        Finding::StaleClaim { owner, block } => settle_claim(io, now, owner, *block).await,
        Finding::UnclaimedBlock { owner, block } => {
            let claimant = Claimant { io, owner, ends: None, now };
            for _ in 0..ATTEMPTS {
                match claimant.claim(*block).await {
                    Ok(_) | Err(NotClaimed::Taken) => return Ok(()),
                    Err(NotClaimed::Refused) => {}
                }
            }
            Err(Error::Retries)
        }
        Finding::EmptyBlock(cidr) => {
            if let Some(block) = io.block(*cidr, true).await
                && block.record.affinity.is_none()
                && block.record.is_empty()
            {
                // Refused: somebody uses it.
                let _ = io.delete(Key::Block(*cidr), block.revision).await;
            }
            Ok(())
        }
    }
}

/// Confirms a claim whose block is the owner's, and gives up any other.
async fn settle_claim(io: &Io, now: Now, owner: &Owner, cidr: IpNet) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        let Some(claim) = io.claim(owner, cidr, true).await else { return Ok(()) };
        let ours = io.block(cidr, true).await.is_some_and(|block| block.record.is_of(owner));
        let refused = if ours && claim.record.state != ClaimState::PendingDeletion {
            let claimant = Claimant { io, owner, ends: None, now };
            matches!(claimant.block_of(cidr, claim).await, Err(NotClaimed::Refused))
        } else {
            let released = release_claim(io, owner, cidr, ReleaseOnly::default()).await;
            matches!(released, Err(NotReleased::Refused))
        };
        if !refused {
            return Ok(());
        }
    }
    Err(Error::Retries)
}
