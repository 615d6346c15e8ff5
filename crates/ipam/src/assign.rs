//! Automatic assignment: addresses for a host, from its own blocks, from new ones, or borrowed.
//!
//! ```text
//! the host's blocks in usable pools --full--> a new block --none left--> other hosts' blocks (unless strict)
//!                                                 '--limit reached--> error, with what was assigned so far
//! ```
//! An address is assigned by two writes, the handle's and then the block's. What is asked for and can't be had is no error:
//! the result says how much there is and why.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ipnet::IpNet;

use crate::claim::{ATTEMPTS, Claimant, NotClaimed, NotReleased, ReleaseOnly, release_claim, write_block};
use crate::error::Error;
use crate::index::Counted;
use crate::key::{HandleId, Key, Owner, Prefix};
use crate::machine::{Io, Machine, Stored};
use crate::net::Family;
use crate::pool::{Labels, Pool, Use, View};
use crate::record::{Block, Claim, Config, Record, ReservedEnds};
use crate::time::Now;
use crate::walk::Walk;

/// A host may have so many blocks if nothing says otherwise.
const DEFAULT_BLOCKS: u32 = 20;
/// Seconds for which an empty block is left to the host that claimed it, so that two don't take it from each other.
const RECLAIM_AGE: u64 = 60;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct AutoAssign {
    /// IPv4 addresses; usually 0 or 1.
    pub v4: u32,
    /// IPv6 addresses; usually 0 or 1.
    pub v6: u32,
    /// Whose blocks they come from. Load balancer addresses belong to a virtual owner of this name.
    pub host: String,
    /// The name under which they are released.
    pub handle: Option<HandleId>,
    /// Stored with the addresses: `pod`, `namespace`, `node`, `timestamp`.
    pub attributes: BTreeMap<String, String>,
    /// IPv4 pools to use, in this order; empty for those that select host and namespace.
    pub v4_pools: Vec<IpNet>,
    /// IPv6 pools to use.
    pub v6_pools: Vec<IpNet>,
    /// Labels of the pod's namespace; empty where there is none.
    pub namespace_labels: Labels,
    /// What the addresses are for.
    pub intended_use: Use,
    /// Blocks that the host may have; 0 for the settings' limit.
    pub max_blocks: u32,
    /// Addresses that are left out at the ends of new IPv4 blocks.
    pub v4_ends: Option<ReservedEnds>,
    /// The same for IPv6.
    pub v6_ends: Option<ReservedEnds>,
}

impl AutoAssign {
    /// One workload's IPv4 address on `host`; change what differs.
    pub fn workload(host: &str) -> Self {
        AutoAssign {
            v4: 1,
            v6: 0,
            host: host.to_owned(),
            handle: None,
            attributes: BTreeMap::new(),
            v4_pools: Vec::new(),
            v6_pools: Vec::new(),
            namespace_labels: Labels::new(),
            intended_use: Use::Workload,
            max_blocks: 0,
            v4_ends: None,
            v6_ends: None,
        }
    }

    fn owner(&self) -> Owner {
        match self.intended_use {
            Use::LoadBalancer => Owner::Virtual(self.host.clone()),
            Use::Workload | Use::Tunnel => Owner::Host(self.host.clone()),
        }
    }
}

/// What one family got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignments {
    /// The family.
    pub family: Family,
    /// How many addresses were asked for.
    pub requested: u32,
    /// The addresses, each with its block's prefix length (`10.0.0.5/26`).
    pub addresses: Vec<IpNet>,
    /// Why there are fewer.
    pub messages: Vec<String>,
    /// The handle of the reserved ends, for the message.
    reserved_handle: Option<String>,
}

impl Assignments {
    /// What to tell the user if there are fewer addresses than were asked for.
    pub fn shortage(&self) -> Option<String> {
        if self.addresses.len() >= self.requested as usize {
            return None;
        }
        let mut text = format!(
            "Assigned {} out of {} requested IPv{} addresses",
            self.addresses.len(),
            self.requested,
            self.family.number()
        );
        for message in &self.messages {
            text.push_str("; ");
            text.push_str(message);
        }
        if let Some(handle) = &self.reserved_handle {
            text.push_str("; HostReservedAttr: ");
            text.push_str(handle);
        }
        Some(text)
    }

    fn missing(&self) -> u32 {
        self.requested.saturating_sub(self.addresses.len() as u32)
    }

    fn say(&mut self, message: String) {
        if !self.messages.contains(&message) {
            self.messages.push(message);
        }
    }
}

/// What an automatic assignment gave. An error doesn't take back what was assigned before: release it by its handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoAssigned {
    /// IPv4, if any were asked for.
    pub v4: Option<Assignments>,
    /// IPv6, if any were asked for and IPv4 had no error.
    pub v6: Option<Assignments>,
    /// What went wrong.
    pub error: Option<Error>,
}

/// Assigns addresses.
pub fn auto_assign(view: Arc<View>, now: Now, wanted: AutoAssign) -> Machine<AutoAssigned> {
    Machine::new((view, wanted), move |io, (view, wanted)| async move {
        let mut result = AutoAssigned { v4: None, v6: None, error: None };
        if wanted.v4 > 0 {
            let families = (Family::V4, wanted.v4, &wanted.v4_pools, wanted.v4_ends.as_ref());
            (result.v4, result.error) = family(&io, &view, now, &wanted, families).await;
        }
        if wanted.v6 > 0 && result.error.is_none() {
            let families = (Family::V6, wanted.v6, &wanted.v6_pools, wanted.v6_ends.as_ref());
            (result.v6, result.error) = family(&io, &view, now, &wanted, families).await;
        }
        result
    })
}

/// The block a host has, or a new one: nothing is assigned. Done only for families with reserved ends.
pub fn ensure_block(view: Arc<View>, now: Now, wanted: AutoAssign) -> Machine<Result<EnsuredBlocks, Error>> {
    Machine::new((view, wanted), move |io, (view, wanted)| async move {
        let mut blocks = EnsuredBlocks { v4: None, v6: None };
        let families = [
            (Family::V4, 0, &wanted.v4_pools, wanted.v4_ends.as_ref()),
            (Family::V6, 0, &wanted.v6_pools, wanted.v6_ends.as_ref()),
        ];
        for one in families.into_iter().filter(|(_, _, _, ends)| ends.is_some()) {
            let mut work = Work::begin(&io, &view, now, &wanted, one).await?;
            let block = work.next_block(0).await.map_err(|stop| stop.error())?;
            match one.0 {
                Family::V4 => blocks.v4 = Some(block.record.cidr),
                Family::V6 => blocks.v6 = Some(block.record.cidr),
            }
        }
        Ok(blocks)
    })
}

/// The blocks that a host has for sure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsuredBlocks {
    /// IPv4.
    pub v4: Option<IpNet>,
    /// IPv6.
    pub v6: Option<IpNet>,
}

/// Family, number of addresses, requested pools, reserved ends.
type Wanted<'a> = (Family, u32, &'a Vec<IpNet>, Option<&'a ReservedEnds>);

async fn family(
    io: &Io,
    view: &View,
    now: Now,
    wanted: &AutoAssign,
    one: Wanted<'_>,
) -> (Option<Assignments>, Option<Error>) {
    let mut work = match Work::begin(io, view, now, wanted, one).await {
        Ok(work) => work,
        Err(error) => return (None, Some(error)),
    };
    let mut got = Assignments {
        family: one.0,
        requested: one.1,
        addresses: Vec::new(),
        messages: Vec::new(),
        reserved_handle: one.3.map(|ends| ends.handle.clone()),
    };
    while got.missing() > 0 {
        match work.next_block(1).await {
            Ok(block) => work.assign_from(block, &mut got, work.config.strict_affinity).await,
            Err(Stop::NoFreeBlocks) => {
                if work.config.strict_affinity {
                    got.say("No more free affine blocks and strict affinity enabled".to_owned());
                }
                break;
            }
            Err(Stop::Error(error)) => {
                if error == Error::BlockLimit {
                    got.say(format!(
                        "Need to allocate an IPAM block but could not - limit of {} blocks reached for this node",
                        work.limit
                    ));
                }
                return (Some(got), Some(error));
            }
        }
    }
    if got.missing() > 0 && !work.config.strict_affinity {
        work.borrow(&mut got).await;
    }
    (Some(got), None)
}

/// Why there is no next block.
enum Stop {
    /// Every block of the pools is somebody's.
    NoFreeBlocks,
    /// Anything else.
    Error(Error),
}

impl Stop {
    fn error(self) -> Error {
        match self {
            Stop::NoFreeBlocks => Error::NoFreeBlocks,
            Stop::Error(error) => error,
        }
    }
}

/// An assignment of one family on its way.
struct Work<'a> {
    io: &'a Io,
    view: &'a View,
    now: Now,
    wanted: &'a AutoAssign,
    family: Family,
    ends: Option<&'a ReservedEnds>,
    owner: Owner,
    pools: Vec<&'a Pool>,
    config: Config,
    /// Blocks that the host may have.
    limit: u32,
    /// Blocks that it has, in usable pools.
    owned: u32,
    /// Its blocks that weren't looked at yet.
    remaining: std::vec::IntoIter<(IpNet, Stored<Claim>)>,
    /// Whether something that was looked at was remembered and not read.
    from_memory: bool,
}

impl<'a> Work<'a> {
    async fn begin(
        io: &'a Io,
        view: &'a View,
        now: Now,
        wanted: &'a AutoAssign,
        (family, _, requested, ends): Wanted<'a>,
    ) -> Result<Work<'a>, Error> {
        if requested.iter().any(|pool| Family::of(pool.addr()) != family) {
            return Err(Error::pool_family(family));
        }
        let owner = wanted.owner();
        let node = view.labels(&owner)?;
        let selecting = view.selecting(family, requested, &node, &wanted.namespace_labels, ends)?;
        if selecting.is_empty() {
            return Err(Error::NoPoolForNode(wanted.host.clone()));
        }
        let mut pools = selecting.clone();
        pools.retain(|pool| pool.allows(wanted.intended_use));
        if pools.is_empty() {
            return Err(Error::NoPoolForUse(wanted.intended_use));
        }
        let config = io.config().await;
        let limit = match (wanted.max_blocks, config.max_blocks_per_host) {
            (0, 0) => DEFAULT_BLOCKS,
            (0, limit) | (limit, 0) => limit,
            (wanted, limit) => wanted.min(limit),
        };
        let mut work = Work {
            io,
            view,
            now,
            wanted,
            family,
            ends,
            owner,
            pools,
            config,
            limit,
            owned: 0,
            remaining: Vec::new().into_iter(),
            from_memory: false,
        };
        work.look_up_claims(false).await;
        Ok(work)
    }

    /// Lists the owner's claims, and gives up empty blocks whose pool no longer selects the host.
    async fn look_up_claims(&mut self, fresh: bool) {
        let prefix = Prefix::Claims(self.owner.clone(), self.family);
        let (claims, cached) = self.io.list(prefix, fresh).await;
        self.from_memory = cached;
        let mut blocks = Vec::new();
        for (key, record, revision) in claims {
            let (Key::Affinity(_, cidr), Record::Claim(record)) = (key, record) else { continue };
            if self.pools.iter().any(|pool| pool.cidr.contains(&cidr)) {
                blocks.push((cidr, Stored { record, revision, cached: cached && !fresh }));
            } else if !cached {
                give_up_if_unselected(self.io, self.view, &self.owner, cidr).await;
            }
        }
        self.owned = blocks.len() as u32;
        self.remaining = blocks.into_iter();
    }

    fn claimant(&self) -> Claimant<'_> {
        Claimant { io: self.io, owner: &self.owner, ends: self.ends, now: self.now }
    }

    /// A block of the owner's with at least `free` free addresses: one it has, or a new one.
    async fn next_block(&mut self, free: u32) -> Result<Stored<Arc<Block>>, Stop> {
        loop {
            while let Some((cidr, claim)) = self.remaining.next() {
                if let Some(block) = self.look_at(cidr, claim, free).await {
                    return Ok(block);
                }
            }
            if self.owned < self.limit && self.config.auto_allocate_blocks {
                break;
            }
            if !self.from_memory {
                let full = self.owned >= self.limit;
                return Err(Stop::Error(if full { Error::BlockLimit } else { Error::NoBlock }));
            }
            // Memory has no free address left; the store may.
            self.look_up_claims(true).await;
        }
        self.new_block(free).await.inspect(|_| self.owned += 1)
    }

    async fn look_at(&mut self, cidr: IpNet, listed: Stored<Claim>, free: u32) -> Option<Stored<Arc<Block>>> {
        if self.view.reservations.covering(&cidr).is_some() {
            return None;
        }
        let mut claim = listed;
        for _ in 0..ATTEMPTS {
            match self.claimant().block_of(cidr, claim).await {
                Ok(block) => {
                    self.from_memory |= block.cached;
                    let block = self.collected(block);
                    return (block.record.free(&self.view.reservations) >= free).then_some(block);
                }
                Err(NotClaimed::Refused) => claim = self.io.claim(&self.owner, cidr, true).await?,
                Err(NotClaimed::Taken) => return None,
            }
        }
        None
    }

    /// The block with what has cooled down free again; stored only together with an assignment.
    fn collected(&self, mut block: Stored<Arc<Block>>) -> Stored<Arc<Block>> {
        let cooling = block.record.attributes.list().iter().any(|attribute| attribute.released_at.is_some());
        if cooling {
            Arc::make_mut(&mut block.record).collect(self.now, self.config.ip_cooldown_seconds);
        }
        block
    }

    async fn new_block(&self, free: u32) -> Result<Stored<Arc<Block>>, Stop> {
        for _ in 0..ATTEMPTS {
            let cidr = self.find_new_block().await.ok_or(Stop::NoFreeBlocks)?;
            for _ in 0..ATTEMPTS {
                match self.claimant().claim(cidr).await {
                    Ok(block) => {
                        let block = self.collected(block);
                        let found = block.record.free(&self.view.reservations);
                        // Others of this host may have filled it since it was chosen; then another is.
                        if found == 0 && !block.record.is_empty() {
                            break;
                        }
                        let cidr = block.record.cidr;
                        let too_few = Error::TooFewFree { block: cidr, free: found, wanted: free };
                        return if found < free { Err(Stop::Error(too_few)) } else { Ok(block) };
                    }
                    Err(NotClaimed::Refused) => {}
                    Err(NotClaimed::Taken) => break,
                }
            }
        }
        Err(Stop::Error(Error::Retries))
    }

    async fn all_blocks(&self) -> HashMap<IpNet, Arc<Block>> {
        let (items, _) = self.io.list(Prefix::Blocks(self.family), true).await;
        let block = |(_, record, _)| match record {
            Record::Block(block) => Some((block.cidr, block)),
            _ => None,
        };
        items.into_iter().filter_map(block).collect()
    }

    /// The first block on the host's walk that isn't made yet, or is the host's own and has room; else one that another
    /// host claimed and doesn't use.
    async fn find_new_block(&self) -> Option<IpNet> {
        let existing = self.all_blocks().await;
        let reservations = &self.view.reservations;
        if self.from_memory {
            // What memory believed to be full may have room.
            let mut ours: Vec<&Arc<Block>> =
                existing.values().filter(|block| block.is_of(&self.owner)).collect();
            ours.sort_by_key(|block| block.cidr);
            let usable = |block: &&Arc<Block>| self.pools.iter().any(|pool| pool.cidr.contains(&block.cidr));
            let room = |block: &&Arc<Block>| block.free(reservations) > 0 && usable(block);
            if let Some(block) = ours.into_iter().find(room) {
                return Some(block.cidr);
            }
        }
        let mut unused = Vec::new();
        for pool in &self.pools {
            let mut walk = self.walk(pool);
            while let Some(cidr) = walk.next() {
                if let Some(reserved) = reservations.covering(&cidr) {
                    walk.skip_within(reserved);
                    continue;
                }
                let Some(block) = existing.get(&cidr) else { return Some(cidr) };
                if block.free(reservations) == 0 {
                    continue;
                }
                if block.is_of(&self.owner) {
                    return Some(cidr);
                }
                if block.is_empty() {
                    unused.push(block);
                }
            }
        }
        for block in unused {
            let age = block.affinity_claim_time.map_or(u64::MAX, |since| since.age(self.now));
            let Some(owner) = block.owner() else { continue };
            if age < RECLAIM_AGE {
                continue;
            }
            // Only as it was read: between two who want it, the second must not take it from the first.
            let only = ReleaseOnly { if_empty: true, if_sequence: Some(block.sequence_number) };
            if release_claim(self.io, &owner, block.cidr, only).await.is_ok() {
                return Some(block.cidr);
            }
        }
        None
    }

    fn walk(&self, pool: &Pool) -> Walk {
        Walk::new(pool.cidr, pool.block_size, &self.wanted.host, self.now.0)
    }

    /// Assigns from a block as much as is missing and there is; reads it again when somebody else wrote it.
    async fn assign_from(&self, block: Stored<Arc<Block>>, got: &mut Assignments, strict: bool) {
        let mut next = Some(block);
        for _ in 0..ATTEMPTS {
            let Some(block) = next else { return };
            let cidr = block.record.cidr;
            match self.try_assign(block, got.missing(), strict).await {
                Ok(addresses) => {
                    let prefix = |address| IpNet::new(address, cidr.prefix_len());
                    got.addresses.extend(addresses.into_iter().filter_map(|address| prefix(address).ok()));
                    return;
                }
                Err(NotAssigned::Refused) => {
                    next = self.io.block(cidr, true).await.map(|block| self.collected(block));
                }
                Err(NotAssigned::No) => {
                    got.say("Failed to assign IPs in newly allocated block".to_owned());
                    return;
                }
            }
        }
    }

    async fn try_assign(
        &self,
        block: Stored<Arc<Block>>,
        count: u32,
        strict: bool,
    ) -> Result<Vec<std::net::IpAddr>, NotAssigned> {
        if strict && !block.record.is_of(&self.owner) {
            return Err(NotAssigned::No);
        }
        let (revision, mut block) = (block.revision, Arc::unwrap_or_clone(block.record));
        let handle = self.wanted.handle.as_ref();
        let given = block.give(count, handle, &self.wanted.attributes, &self.view.reservations);
        if given.is_empty() {
            return Ok(given);
        }
        let cidr = block.cidr;
        // Calico counts what was asked for, though the block may have had less: too many is safe, and equal to the eye
        // of whoever compares the two.
        let counted = match handle {
            Some(handle) => {
                Some(Counted::add(self.io, handle, &cidr, count).await.map_err(|_| NotAssigned::No)?)
            }
            None => None,
        };
        if write_block(self.io, block, revision).await.is_err() {
            if let Some(counted) = counted {
                counted.subtract(self.io, &cidr, count).await;
            }
            return Err(NotAssigned::Refused);
        }
        Ok(given)
    }

    /// Assigns from blocks that others have, in the order of the host's walk.
    async fn borrow(&self, got: &mut Assignments) {
        let existing = self.all_blocks().await;
        let mut exhausted = Vec::new();
        for pool in &self.pools {
            let walk = self.walk(pool);
            let mut blocks: Vec<(u128, IpNet)> =
                existing.keys().filter_map(|cidr| Some((walk.position(cidr)?, *cidr))).collect();
            blocks.sort_unstable();
            for (_, cidr) in blocks {
                if got.missing() == 0 {
                    break;
                }
                let free = existing[&cidr].attributes.list().iter().any(|one| one.released_at.is_some())
                    || existing[&cidr].free(&self.view.reservations) > 0;
                if free && let Some(block) = self.io.block(cidr, true).await {
                    self.assign_from(self.collected(block), got, false).await;
                }
            }
            if got.missing() > 0 {
                exhausted.push(pool.cidr.to_string());
            }
        }
        if !exhausted.is_empty() {
            got.say(format!("No IPs available in pools: [{}]", exhausted.join(" ")));
        }
    }
}

/// Why a block gave nothing.
enum NotAssigned {
    /// Somebody wrote it in between.
    Refused,
    /// It may not.
    No,
}

/// Gives up an owner's claim to a block that is empty, if its pool is enabled and no longer selects the owner's node.
pub(crate) async fn give_up_if_unselected(io: &Io, view: &View, owner: &Owner, cidr: IpNet) {
    let Some(pool) = view.enabled_pool_of(cidr.addr()) else { return };
    let Ok(labels) = view.labels(owner) else { return };
    if pool.selects_node(&labels) {
        return;
    }
    let only = ReleaseOnly { if_empty: true, if_sequence: None };
    for _ in 0..ATTEMPTS {
        match release_claim(io, owner, cidr, only).await {
            Err(NotReleased::Refused) => {}
            Ok(()) | Err(NotReleased::NoClaim | NotReleased::OtherOwner | NotReleased::NotEmpty) => return,
        }
    }
}
