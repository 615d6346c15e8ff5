//! Release of addresses, one by one or all of a handle.
//!
//! The handle is read, the block written, then the handle. A block that is nobody's is deleted when it is emptied; one whose pool no
//! longer selects its host is given up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::assign::give_up_if_unselected;
use crate::claim::{ATTEMPTS, write_block};
use crate::error::Error;
use crate::index::Counted;
use crate::key::{HandleId, Key, Prefix};
use crate::machine::{Io, Machine, Refused, Revision};
use crate::net::{self, Family};
use crate::pool::View;
use crate::record::{Block, Record};
use crate::time::Now;

/// An address to release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The address.
    pub address: IpAddr,
    /// Only if this handle has it.
    pub handle: Option<HandleId>,
    /// Only if it was given under this sequence number: it might have been given anew since the caller looked.
    pub sequence_number: Option<u64>,
}

impl Release {
    /// Whoever has it.
    pub fn address(address: IpAddr) -> Self {
        Release { address, handle: None, sequence_number: None }
    }
}

/// What a release did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// Addresses that nobody had.
    pub unallocated: Vec<IpAddr>,
    /// What is released now, also what nobody had before.
    pub released: Vec<Release>,
    /// What went wrong first. A block with a fault is left alone as a whole; others are done.
    pub error: Option<Error>,
}

/// Releases addresses, block by block.
pub fn release(view: Arc<View>, now: Now, releases: Vec<Release>) -> Machine<Released> {
    Machine::new((view, releases), move |io, (view, releases)| async move {
        let mut result = Released::default();
        let mut by_block: BTreeMap<IpNet, Vec<Release>> = BTreeMap::new();
        for release in releases {
            match block_of(&io, &view, release.address).await {
                Some(cidr) => by_block.entry(cidr).or_default().push(release),
                None => result.unallocated.push(release.address),
            }
        }
        for (cidr, releases) in by_block {
            match release_from_block(&io, &view, now, cidr, &releases).await {
                Ok(unallocated) => {
                    result.unallocated.extend(unallocated);
                    result.released.extend(releases);
                }
                Err(error) => {
                    result.error.get_or_insert(error);
                }
            }
        }
        result
    })
}

/// The block that an address is in; where no pool tells, by looking at all blocks.
pub(crate) async fn block_of(io: &Io, view: &View, address: IpAddr) -> Option<IpNet> {
    if let Some(pool) = view.pool_of(address) {
        return Some(net::block_of(address, pool.block_size));
    }
    let (items, _) = io.list(Prefix::Blocks(Family::of(address)), true).await;
    items.into_iter().find_map(|(key, _, _)| match key {
        Key::Block(cidr) if cidr.contains(&address) => Some(cidr),
        _ => None,
    })
}

async fn release_from_block(
    io: &Io,
    view: &View,
    now: Now,
    cidr: IpNet,
    releases: &[Release],
) -> Result<Vec<IpAddr>, Error> {
    let config = io.config().await;
    for _ in 0..ATTEMPTS {
        let Some(stored) = io.block(cidr, true).await else {
            return Ok(releases.iter().map(|release| release.address).collect());
        };
        let (revision, mut block) = (stored.revision, Arc::unwrap_or_clone(stored.record));
        let (ordinals, unallocated) = to_release(&block, releases)?;
        if ordinals.is_empty() {
            return Ok(unallocated);
        }
        let taken = block.release(&ordinals, now, config.ip_cooldown_seconds);
        let owner = block.owner();
        let mut handles = Vec::new();
        for (handle, count) in taken.by_handle {
            handles.extend(Counted::read(io, &handle).await.map(|counted| (counted, count)));
        }
        if write_or_delete(io, block, revision).await.is_err() {
            continue;
        }
        for (counted, count) in handles {
            counted.subtract(io, &cidr, count).await;
        }
        if let Some(owner) = owner {
            give_up_if_unselected(io, view, &owner, cidr).await;
        }
        return Ok(unallocated);
    }
    Err(Error::Retries)
}

/// The ordinals that somebody has, and the addresses that nobody has.
fn to_release(block: &Block, releases: &[Release]) -> Result<(Vec<u32>, Vec<IpAddr>), Error> {
    let (mut ordinals, mut unallocated) = (Vec::new(), Vec::new());
    // Of several for one address the last counts.
    let by_address: BTreeMap<IpAddr, &Release> =
        releases.iter().map(|release| (release.address, release)).collect();
    for (address, release) in by_address {
        let conflict = || Error::Conflict { identifier: address.to_string() };
        let ordinal = net::ordinal(&block.cidr, address).expect("releases were sorted by block");
        if let Some(wanted) = release.sequence_number
            && block.sequence_number_for_allocation.get(ordinal).unwrap_or(0) != wanted
        {
            return Err(conflict());
        }
        let Some(holder) = block.holder(ordinal) else {
            unallocated.push(address);
            continue;
        };
        if release.handle.is_some() && release.handle != holder.handle() {
            return Err(conflict());
        }
        ordinals.push(ordinal);
    }
    Ok((ordinals, unallocated))
}

/// Releases all addresses of a handle. The result is an error only if there is no such handle ([`Error::DoesNotExist`])
/// or others were faster a hundred times.
///
/// Also takes back what a crash left: a handle that names blocks in which it has nothing is deleted too.
pub fn release_by_handle(view: Arc<View>, now: Now, id: HandleId) -> Machine<Result<(), Error>> {
    Machine::new((view, id), move |io, (view, id)| async move {
        let config = io.config().await;
        let mut found = false;
        for _ in 0..ATTEMPTS {
            let Some(known) = io.handle(&id).await else {
                return if found { Ok(()) } else { Err(Error::missing_handle(id.as_str())) };
            };
            found = true;
            let mut emptied = Vec::new();
            for cidr in known.record.blocks() {
                let owner =
                    release_handle_from_block(&io, now, cidr, &id, config.ip_cooldown_seconds).await?;
                emptied.extend(owner.map(|owner| (owner, cidr)));
            }
            // All its blocks were written after the handle was read: whoever is about to assign under this handle will
            // find his block changed and count anew. So the handle goes whole, whatever it counts.
            let done = io.delete(Key::Handle(id.clone()), known.revision).await.is_ok();
            for (owner, cidr) in emptied {
                give_up_if_unselected(&io, &view, &owner, cidr).await;
            }
            if done {
                return Ok(());
            }
        }
        Err(Error::Retries)
    })
}

/// Releases what a handle has in a block, and writes the block even if that is nothing. Returns the block's owner if an
/// address was released.
async fn release_handle_from_block(
    io: &Io,
    now: Now,
    cidr: IpNet,
    id: &HandleId,
    cooldown: u32,
) -> Result<Option<crate::key::Owner>, Error> {
    for _ in 0..ATTEMPTS {
        let Some(stored) = io.block(cidr, true).await else { return Ok(None) };
        let (revision, mut block) = (stored.revision, Arc::unwrap_or_clone(stored.record));
        let ordinals = block.of_handle(id);
        let taken = block.release(&ordinals, now, cooldown);
        let owner = block.owner().filter(|_| taken.count > 0);
        if write_or_delete(io, block, revision).await.is_ok() {
            return Ok(owner);
        }
    }
    Err(Error::Retries)
}

/// Writes a block after a release: deletes it if it is nobody's and empty.
async fn write_or_delete(io: &Io, block: Block, revision: Revision) -> Result<(), Refused> {
    if block.affinity.is_none() && block.is_empty() {
        io.delete(Key::Block(block.cidr), revision).await
    } else {
        write_block(io, block, revision).await.map(drop)
    }
}

/// The addresses that a handle has, in the order of its blocks. The result is an error if there is no such handle.
pub fn addresses_of_handle(id: HandleId) -> Machine<Result<Vec<IpAddr>, Error>> {
    Machine::new(id, |io, id| async move {
        let known = io.handle(&id).await.ok_or_else(|| Error::missing_handle(id.as_str()))?;
        let mut addresses = Vec::new();
        for cidr in known.record.blocks() {
            if let Some(block) = io.block(cidr, true).await {
                let ordinals = block.record.of_handle(&id);
                addresses.extend(ordinals.into_iter().map(|ordinal| net::nth(&cidr, ordinal)));
            }
        }
        Ok(addresses)
    })
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The handle.
    pub handle: Option<HandleId>,
    /// What was stored with it.
    pub attributes: BTreeMap<String, String>,
    /// The owner to be, while a virtual machine moves.
    pub alternate_attributes: BTreeMap<String, String>,
    /// To release exactly this assignment.
    pub sequence_number: Option<u64>,
}

/// Looks an address up. The result is an error if it is in no enabled pool, its block isn't there, or nobody has it.
pub fn assignment_of(view: Arc<View>, address: IpAddr) -> Machine<Result<Assignment, Error>> {
    Machine::new(view, move |io, view| async move {
        let missing = |reason| Error::DoesNotExist { identifier: address.to_string(), reason: Some(reason) };
        let pool = view.enabled_pool_of(address).ok_or_else(|| missing("No valid IPPool"))?;
        let cidr = net::block_of(address, pool.block_size);
        let block = io.block(cidr, true).await.ok_or_else(|| Error::missing_block(&cidr))?.record;
        let ordinal = net::ordinal(&cidr, address).expect("a block holds the address that it was made from");
        let holder = block.holder(ordinal).ok_or_else(|| missing("IP is unassigned"))?;
        Ok(Assignment {
            handle: holder.handle(),
            attributes: holder.owner.clone(),
            alternate_attributes: holder.alternate_owner.clone(),
            sequence_number: block.sequence_number_for_allocation.get(ordinal),
        })
    })
}

/// All blocks, by family and address.
pub(crate) async fn all_blocks(io: &Io) -> Vec<Arc<Block>> {
    let mut blocks = Vec::new();
    for family in [Family::V4, Family::V6] {
        let (items, _) = io.list(Prefix::Blocks(family), true).await;
        blocks.extend(items.into_iter().filter_map(|(_, record, _)| match record {
            Record::Block(block) => Some(block),
            _ => None,
        }));
    }
    blocks
}
