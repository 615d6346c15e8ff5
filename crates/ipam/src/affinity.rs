//! Claims and settings by command: blocks claimed or given up for a range, for a host that is removed, and the settings.

use std::sync::Arc;

use ipnet::IpNet;

use crate::claim::{ATTEMPTS, Claimant, NotClaimed, NotReleased, ReleaseOnly, release_claim};
use crate::error::Error;
use crate::key::{Key, Owner, Prefix};
use crate::machine::{Io, Machine};
use crate::net::{self, Family};
use crate::pool::{Pool, View};
use crate::record::{Config, Record};
use crate::time::Now;

/// What a claim of a range gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedRange {
    /// Blocks that are the owner's now.
    pub claimed: Vec<IpNet>,
    /// Blocks that are others'.
    pub failed: Vec<IpNet>,
}

/// Claims all blocks of a range for an owner. The range must be in an enabled pool and no smaller than a block.
pub fn claim_range(
    view: Arc<View>,
    now: Now,
    range: IpNet,
    owner: Owner,
) -> Machine<Result<ClaimedRange, Error>> {
    Machine::new((view, range, owner), move |io, (view, range, owner)| async move {
        let pool = pool_of_range(&view, &range)?;
        let claimant = Claimant { io: &io, owner: &owner, ends: None, now };
        let mut result = ClaimedRange::default();
        for cidr in blocks_of(&range, pool.block_size) {
            match claim_block(&claimant, cidr).await? {
                true => result.claimed.push(cidr),
                false => result.failed.push(cidr),
            }
        }
        Ok(result)
    })
}

/// False if the block is another's.
async fn claim_block(claimant: &Claimant<'_>, cidr: IpNet) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        match claimant.claim(cidr).await {
            Ok(_) => return Ok(true),
            Err(NotClaimed::Taken) => return Ok(false),
            Err(NotClaimed::Refused) => {}
        }
    }
    Err(Error::Retries)
}

/// Whether blocks with addresses in use may be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// They may: they are nobody's then, and deleted when they are emptied.
    GiveUp,
    /// They may not; for a range that is [`Error::BlockNotEmpty`].
    Keep,
}

/// Gives up an owner's blocks in a range; blocks of others are left alone.
pub fn release_range(
    view: Arc<View>,
    range: IpNet,
    owner: Owner,
    in_use: InUse,
) -> Machine<Result<(), Error>> {
    Machine::new((view, range, owner), move |io, (view, range, owner)| async move {
        let pool = pool_of_range(&view, &range)?;
        for cidr in blocks_of(&range, pool.block_size) {
            release_block(&io, &owner, cidr, in_use).await?;
        }
        Ok(())
    })
}

/// Gives up one block of an owner. A block that isn't his is left alone.
pub fn release_block_of(owner: Owner, cidr: IpNet, in_use: InUse) -> Machine<Result<(), Error>> {
    Machine::new(owner, move |io, owner| async move { release_block(&io, &owner, cidr, in_use).await })
}

/// Gives up all blocks of an owner, for example of a host that is removed. Addresses in use stay assigned. Goes on after
/// an error; the result is the last.
pub fn release_owner(owner: Owner, in_use: InUse) -> Machine<Result<(), Error>> {
    Machine::new(owner, move |io, owner| async move {
        let mut result = Ok(());
        for family in [Family::V4, Family::V6] {
            let (claims, _) = io.list(Prefix::Claims(owner.clone(), family), true).await;
            for (key, _, _) in claims {
                if let Key::Affinity(owner, cidr) = key
                    && let Err(error) = release_block(&io, &owner, cidr, in_use).await
                {
                    result = Err(error);
                }
            }
        }
        result
    })
}

/// Gives up all blocks in a pool that goes, whoever has them. Addresses in use stay assigned: their blocks are nobody's
/// then, and deleted when they are emptied. Goes on after an error; the result is the last.
pub fn release_pool(pool: IpNet) -> Machine<Result<(), Error>> {
    Machine::new((), move |io, ()| async move {
        let mut result = Ok(());
        for prefix in [Prefix::HostClaims, Prefix::VirtualClaims] {
            let (claims, _) = io.list(prefix, true).await;
            for (key, _, _) in claims {
                if let Key::Affinity(owner, cidr) = key
                    && pool.contains(&cidr)
                    && let Err(error) = release_block(&io, &owner, cidr, InUse::GiveUp).await
                {
                    result = Err(error);
                }
            }
        }
        result
    })
}

async fn release_block(io: &Io, owner: &Owner, cidr: IpNet, in_use: InUse) -> Result<(), Error> {
    let only = ReleaseOnly { if_empty: in_use == InUse::Keep, if_sequence: None };
    for _ in 0..ATTEMPTS {
        match release_claim(io, owner, cidr, only).await {
            Ok(()) | Err(NotReleased::NoClaim | NotReleased::OtherOwner) => return Ok(()),
            Err(NotReleased::NotEmpty) => return Err(Error::BlockNotEmpty(cidr)),
            Err(NotReleased::Refused) => {}
        }
    }
    Err(Error::Retries)
}

fn pool_of_range<'a>(view: &'a View, range: &IpNet) -> Result<&'a Pool, Error> {
    let pool = view.enabled_pool_of(range.network()).ok_or(Error::RangeNotInPool(*range))?;
    if range.prefix_len() > pool.block_size {
        return Err(Error::RangeTooSmall(*range));
    }
    Ok(pool)
}

fn blocks_of(range: &IpNet, block_size: u8) -> impl Iterator<Item = IpNet> {
    let first = range.network();
    let (address_bits, blocks) =
        (range.max_prefix_len() - block_size, 1_u128 << (block_size - range.prefix_len()).min(127));
    (0..blocks).map(move |index| net::block_of(net::plus(first, index << address_bits), block_size))
}

/// The settings in force.
pub fn read_settings() -> Machine<Config> {
    Machine::new((), |io, ()| async move { io.config().await })
}

/// Stores settings. The result is an error if they leave no way to assign an address, or limit blocks without strict
/// affinity. They may be changed while addresses are in use.
pub fn write_settings(wanted: Config) -> Machine<Result<(), Error>> {
    change_settings(move |config| *config = wanted.clone())
}

/// As [`write_settings`], from what is stored: for callers that know some of the settings.
pub fn change_settings(change: impl Fn(&mut Config) + Send + Sync + 'static) -> Machine<Result<(), Error>> {
    Machine::new(Arc::new(change), |io, change| async move {
        for _ in 0..ATTEMPTS {
            let stored = io.stored_config().await;
            let mut wanted = stored.as_ref().map(|stored| stored.record.clone()).unwrap_or_default();
            change(&mut wanted);
            if stored.as_ref().is_some_and(|stored| stored.record == wanted)
                || (stored.is_none() && wanted == Config::default())
            {
                return Ok(());
            }
            check_settings(&wanted)?;
            let record = Record::Config(wanted);
            let written = match stored {
                Some(stored) => io.update(Key::Config, record, stored.revision).await,
                None => io.create(Key::Config, record).await,
            };
            if written.is_ok() {
                return Ok(());
            }
        }
        Err(Error::Retries)
    })
}

/// Whether settings can be stored.
///
/// # Errors
/// [`Error::NoWayToAssign`] and [`Error::LimitNeedsStrictAffinity`].
pub fn check_settings(wanted: &Config) -> Result<(), Error> {
    if !wanted.strict_affinity && !wanted.auto_allocate_blocks {
        return Err(Error::NoWayToAssign);
    }
    if wanted.max_blocks_per_host > 0 && !wanted.strict_affinity {
        return Err(Error::LimitNeedsStrictAffinity);
    }
    Ok(())
}

/// Takes the settings away, so that the defaults hold.
pub fn reset_settings() -> Machine<Result<(), Error>> {
    Machine::new((), |io, ()| async move {
        for _ in 0..ATTEMPTS {
            let Some(stored) = io.stored_config().await else { return Ok(()) };
            if io.delete(Key::Config, stored.revision).await.is_ok() {
                return Ok(());
            }
        }
        Err(Error::Retries)
    })
}
