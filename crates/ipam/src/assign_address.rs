//! Assignment of one given address (the pod's annotation `ipAddrs`): its block is claimed if nobody has it, and borrowed
//! from if somebody does, unless affinity is strict.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::claim::{ATTEMPTS, Claimant, write_block};
use crate::error::Error;
use crate::index::Counted;
use crate::key::{HandleId, Owner};
use crate::machine::Machine;
use crate::net;
use crate::pool::{Use, View};
use crate::record::ReservedEnds;
use crate::time::Now;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct AssignAddress {
    /// The address. It may be reserved: reservations only bind automatic assignment.
    pub address: IpAddr,
    /// Who claims the block if nobody has.
    pub host: String,
    /// The name under which it is released.
    pub handle: Option<HandleId>,
    /// Stored with the address.
    pub attributes: BTreeMap<String, String>,
    /// What it is for; `None` for anything.
    pub intended_use: Option<Use>,
    /// Addresses that are left out at the ends of a new block.
    pub ends: Option<ReservedEnds>,
}

/// Assigns the address.
///
/// The result is an error if it is taken ([`Error::Exists`]), in no enabled pool, in a pool for other uses, or in another
/// host's block under strict affinity.
pub fn assign_address(view: Arc<View>, now: Now, wanted: AssignAddress) -> Machine<Result<(), Error>> {
    Machine::new((view, wanted), move |io, (view, wanted)| async move {
        let AssignAddress { address, host, handle, attributes, intended_use, ends } = wanted;
        let pool = view.enabled_pool_of(address).ok_or(Error::NotInPool)?;
        if let Some(intended) = intended_use.filter(|intended| !pool.allows(*intended)) {
            return Err(Error::UseNotAllowed { pool: pool.cidr, intended });
        }
        let owner = match intended_use {
            Some(Use::LoadBalancer) => Owner::Virtual(host),
            Some(Use::Workload | Use::Tunnel) | None => Owner::Host(host),
        };
        let config = io.config().await;
        let cidr = net::block_of(address, pool.block_size);
        let ordinal = net::ordinal(&cidr, address).expect("a block holds the address that it was made from");
        let claimant = Claimant { io: &io, owner: &owner, ends: ends.as_ref(), now };
        for _ in 0..ATTEMPTS {
            let block = match io.block(cidr, true).await {
                Some(block) => block,
                None => match claimant.claim(cidr).await {
                    Ok(block) => block,
                    Err(_) => continue,
                },
            };
            if config.strict_affinity {
                match block.record.affinity {
                    None => return Err(Error::BlockWithoutAffinity(cidr)),
                    Some(_) if !block.record.is_of(&owner) => return Err(Error::OtherHostsBlock),
                    Some(_) => {}
                }
            }
            let (revision, mut block) = (block.revision, Arc::unwrap_or_clone(block.record));
            block.collect(now, config.ip_cooldown_seconds);
            if !block.give_one(ordinal, handle.as_ref(), &attributes) {
                let identifier = address.to_string();
                return Err(Error::Exists { identifier, reason: "Address already assigned in block" });
            }
            let counted = match &handle {
                Some(handle) => Some(Counted::add(&io, handle, &cidr, 1).await?),
                None => None,
            };
            if write_block(&io, block, revision).await.is_ok() {
                return Ok(());
            }
            if let Some(counted) = counted {
                counted.subtract(&io, &cidr, 1).await;
            }
        }
        Err(Error::Retries)
    })
}
