//! Handles: the index from a user to its blocks.
//!
//! A handle is written before the block when an address is given, and after it when one is released, so that it may name
//! too many blocks but never too few: who releases by handle misses no address. What a crash leaves too much is taken
//! back by [`settle`].

use std::sync::Arc;

use ipnet::IpNet;

use crate::claim::{ATTEMPTS, write_block};
use crate::error::Error;
use crate::key::{HandleId, Key};
use crate::machine::{Io, Refused, Revision, Stored};
use crate::record::{Handle, Record};

/// A handle at a revision: what an operation saw or wrote before it wrote a block.
pub(crate) struct Counted {
    id: HandleId,
    handle: Handle,
    revision: Revision,
}

impl Counted {
    /// Counts `number` addresses more in `block`, which is written next.
    pub(crate) async fn add(io: &Io, id: &HandleId, block: &IpNet, number: u32) -> Result<Counted, Error> {
        let key = Key::Handle(id.clone());
        for _ in 0..ATTEMPTS {
            // A new handle is the rule.
            let mut handle = Handle::default();
            handle.add(block, number);
            if let Ok(revision) = io.create(key.clone(), Record::Handle(handle.clone())).await {
                return Ok(Counted { id: id.clone(), handle, revision });
            }
            let Some(Stored { record: mut handle, revision, .. }) = io.handle(id).await else { continue };
            handle.add(block, number);
            if let Ok(revision) = io.update(key.clone(), Record::Handle(handle.clone()), revision).await {
                return Ok(Counted { id: id.clone(), handle, revision });
            }
        }
        Err(Error::Retries)
    }

    /// Reads a handle before addresses of it are taken from a block. `None` if there is none.
    pub(crate) async fn read(io: &Io, id: &HandleId) -> Option<Counted> {
        let Stored { record: handle, revision, .. } = io.handle(id).await?;
        Some(Counted { id: id.clone(), handle, revision })
    }

    /// Counts `number` addresses fewer in `block`; a handle without blocks is deleted. If somebody else wrote the handle
    /// since, he may have corrected it, and it is counted anew. The block is right already, so that an error here is no
    /// more than a handle that counts too many.
    pub(crate) async fn subtract(self, io: &Io, block: &IpNet, number: u32) {
        let Counted { id, mut handle, revision } = self;
        handle.subtract(block, number);
        if replace(io, &id, handle, revision).await.is_err() {
            let _ = settle(io, &id, &[*block]).await;
        }
    }
}

/// Writes a handle back, or deletes it if it has no blocks.
async fn replace(io: &Io, id: &HandleId, handle: Handle, revision: Revision) -> Result<(), Refused> {
    let key = Key::Handle(id.clone());
    if handle.block.is_empty() {
        io.delete(key, revision).await
    } else {
        io.update(key, Record::Handle(handle), revision).await.map(drop)
    }
}

/// Makes a handle's counts those of its blocks and of `also`. Returns whether it had to be written.
///
/// Somebody may be between writing the handle and writing the block. So the handle is read first, then each block is
/// written (which makes that somebody lose, and count anew), then the handle under the revision that was read.
pub(crate) async fn settle(io: &Io, id: &HandleId, also: &[IpNet]) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        let known = io.handle(id).await;
        let mut blocks = known.as_ref().map(|known| known.record.blocks()).unwrap_or_default();
        blocks.extend(also);
        blocks.sort();
        blocks.dedup();
        let mut counted = Handle { block: Default::default(), ..known_fields(&known) };
        let mut refused = false;
        for cidr in blocks {
            let Some(block) = io.block(cidr, true).await else { continue };
            let held = block.record.of_handle(id).len() as u32;
            let recorded =
                known.as_ref().and_then(|known| known.record.block.get(&cidr.to_string()).copied());
            if held > 0 {
                counted.add(&cidr, held);
            }
            if recorded.unwrap_or(0) != i64::from(held) {
                refused |= write_block(io, Arc::unwrap_or_clone(block.record), block.revision).await.is_err();
            }
        }
        if refused {
            continue;
        }
        let done = match known {
            Some(known) if known.record == counted => return Ok(false),
            Some(known) => replace(io, id, counted, known.revision).await.is_ok(),
            None if counted.block.is_empty() => return Ok(false),
            None => io.create(Key::Handle(id.clone()), Record::Handle(counted)).await.is_ok(),
        };
        if done {
            return Ok(true);
        }
    }
    Err(Error::Retries)
}

fn known_fields(known: &Option<Stored<Handle>>) -> Handle {
    known.as_ref().map(|known| known.record.clone()).unwrap_or_default()
}
