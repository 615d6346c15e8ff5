//! Claims: how an owner comes by a block and gives it up.
//!
//! ```text
//! claim:   create claim (pending) -> create block -> confirm claim
//! release: claim (pendingDeletion) -> delete block, or take the owner off it -> delete claim
//! ```
//! Each arrow is a compare-and-swap, and whoever finds a claim half-way finishes or removes it. The block alone decides
//! whose it is; claims let an owner find its blocks and routes be told.

use std::sync::Arc;

use ipnet::IpNet;

use crate::key::{Key, Owner};
use crate::machine::{Io, Refused, Revision, Stored};
use crate::record::{Block, Claim, ClaimState, Record, ReservedEnds};
use crate::time::Now;

/// Attempts before an operation gives up against others that keep being faster.
pub(crate) const ATTEMPTS: usize = 100;

/// Why a block can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotClaimed {
    /// Somebody changed a record in between: read again.
    Refused,
    /// The block is another owner's; our claim is gone.
    Taken,
}

impl From<Refused> for NotClaimed {
    fn from(_: Refused) -> Self {
        NotClaimed::Refused
    }
}

/// Who claims, and how new blocks are made.
pub(crate) struct Claimant<'a> {
    pub(crate) io: &'a Io,
    pub(crate) owner: &'a Owner,
    pub(crate) ends: Option<&'a ReservedEnds>,
    pub(crate) now: Now,
}

impl Claimant<'_> {
    /// Claims a block, whatever has happened to it before, and returns it.
    pub(crate) async fn claim(&self, cidr: IpNet) -> Result<Stored<Arc<Block>>, NotClaimed> {
        let key = Key::Affinity(self.owner.clone(), cidr);
        let claim = match self.io.create(key, Record::Claim(Claim::pending())).await {
            Ok(revision) => Stored { record: Claim::pending(), revision, cached: false },
            Err(Refused) => self.io.claim(self.owner, cidr, true).await.ok_or(Refused)?,
        };
        self.block_of(cidr, claim).await
    }

    /// The block of a claim that is stored: made if it isn't there, confirmed if the claim isn't yet.
    pub(crate) async fn block_of(
        &self,
        cidr: IpNet,
        claim: Stored<Claim>,
    ) -> Result<Stored<Arc<Block>>, NotClaimed> {
        let Some(block) = self.io.block(cidr, !claim.cached).await else {
            return self.make_block(cidr, claim).await;
        };
        if !block.record.is_of(self.owner) {
            return self.withdraw(cidr, &claim).await;
        }
        if claim.record.state == ClaimState::Confirmed {
            return Ok(block);
        }
        // Somebody stopped half-way, or is at it. Writing the block makes whoever read it before lose.
        let claim = self.set_state(cidr, claim, ClaimState::Pending).await?;
        let block = self.touch(block).await?;
        self.set_state(cidr, claim, ClaimState::Confirmed).await?;
        Ok(block)
    }

    async fn make_block(&self, cidr: IpNet, claim: Stored<Claim>) -> Result<Stored<Arc<Block>>, NotClaimed> {
        let claim = self.set_state(cidr, claim, ClaimState::Pending).await?;
        let block = Arc::new(Block::new(cidr, self.owner, self.ends, self.now));
        match self.io.create(Key::Block(cidr), Record::Block(block.clone())).await {
            Ok(revision) => {
                self.set_state(cidr, claim, ClaimState::Confirmed).await?;
                Ok(Stored { record: block, revision, cached: false })
            }
            // Another was faster: perhaps one on this host, whose block is ours too.
            Err(Refused) => {
                let block = self.io.block(cidr, true).await.ok_or(Refused)?;
                if !block.record.is_of(self.owner) {
                    return self.withdraw(cidr, &claim).await;
                }
                self.set_state(cidr, claim, ClaimState::Confirmed).await?;
                Ok(block)
            }
        }
    }

    /// Deletes our claim to a block that is another's.
    async fn withdraw<T>(&self, cidr: IpNet, claim: &Stored<Claim>) -> Result<T, NotClaimed> {
        match self.io.delete(Key::Affinity(self.owner.clone(), cidr), claim.revision).await {
            Ok(()) => Err(NotClaimed::Taken),
            Err(Refused) => Err(NotClaimed::Refused),
        }
    }

    /// Writes a claim's state if it has another.
    async fn set_state(
        &self,
        cidr: IpNet,
        claim: Stored<Claim>,
        state: ClaimState,
    ) -> Result<Stored<Claim>, Refused> {
        if claim.record.state == state {
            return Ok(claim);
        }
        let record = Claim { state, ..claim.record };
        let key = Key::Affinity(self.owner.clone(), cidr);
        let revision = self.io.update(key, Record::Claim(record.clone()), claim.revision).await?;
        Ok(Stored { record, revision, cached: false })
    }

    async fn touch(&self, block: Stored<Arc<Block>>) -> Result<Stored<Arc<Block>>, Refused> {
        let revision = write_block(self.io, Arc::unwrap_or_clone(block.record), block.revision).await?;
        Ok(Stored { record: revision.1, revision: revision.0, cached: false })
    }
}

/// Writes a block back under the revision it was read at, with the next sequence number.
pub(crate) async fn write_block(
    io: &Io,
    mut block: Block,
    read: Revision,
) -> Result<(Revision, Arc<Block>), Refused> {
    block.sequence_number += 1;
    let key = Key::Block(block.cidr);
    let block = Arc::new(block);
    let revision = io.update(key, Record::Block(block.clone()), read).await?;
    Ok((revision, block))
}

/// Why a claim wasn't given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReleased {
    /// Somebody changed a record in between: read again.
    Refused,
    /// The owner has no claim to the block.
    NoClaim,
    /// The block is another owner's (a claim that says otherwise is gone).
    OtherOwner,
    /// The block has addresses in use.
    NotEmpty,
}

impl From<Refused> for NotReleased {
    fn from(_: Refused) -> Self {
        NotReleased::Refused
    }
}

/// When a claim may be given up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReleaseOnly {
    /// Only if nobody has an address of the block.
    pub(crate) if_empty: bool,
    /// Only if the block has this sequence number.
    pub(crate) if_sequence: Option<u64>,
}

/// Gives up an owner's claim. An empty block is deleted, another is left to nobody.
pub(crate) async fn release_claim(
    io: &Io,
    owner: &Owner,
    cidr: IpNet,
    only: ReleaseOnly,
) -> Result<(), NotReleased> {
    let key = Key::Affinity(owner.clone(), cidr);
    let claim = io.claim(owner, cidr, true).await.ok_or(NotReleased::NoClaim)?;
    let block = io.block(cidr, true).await;
    if let Some(block) = &block {
        if only.if_sequence.is_some_and(|wanted| wanted != block.record.sequence_number) {
            return Err(NotReleased::Refused);
        }
        if block.record.affinity.is_some() && !block.record.is_of(owner) {
            io.delete(key, claim.revision).await?;
            return Err(NotReleased::OtherOwner);
        }
        if only.if_empty && !block.record.is_empty() {
            return Err(NotReleased::NotEmpty);
        }
    }
    let before = Record::Claim(claim.record.clone());
    let record = Record::Claim(Claim { state: ClaimState::PendingDeletion, ..claim.record });
    let revision = io.update(key.clone(), record, claim.revision).await?;
    let written = match block {
        Some(block) if block.record.is_empty() => io.delete(Key::Block(cidr), block.revision).await,
        Some(block) => {
            let mut left = Arc::unwrap_or_clone(block.record);
            left.affinity = None;
            left.affinity_claim_time = None;
            write_block(io, left, block.revision).await.map(drop)
        }
        // What is left of a claim or a release that stopped half-way.
        None => Ok(()),
    };
    if written.is_err() && io.block(cidr, true).await.is_some() {
        // Somebody uses it: it remains as it was. If this is refused too, somebody else is at it.
        let _ = io.update(key, before, revision).await;
        return Err(NotReleased::Refused);
    }
    io.delete(key, revision).await?;
    Ok(())
}
