//! Addresses and blocks go: what [`crate::collect`] has found is asked once more, and released.
//!
//! An address is released by its handle and sequence number, and its block is written under the revision that was read: an
//! assignment that comes in between has another number, and is never taken away. What a crash of anybody has left of claims,
//! handles and empty blocks is settled once in a time of grace, which is safe while others assign.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tortie_api::pool::IpPoolSpec;
use tortie_ipam::{
    InUse, Now, Owner, Pool, Repair, Reservations, View, check, release, release_block_of, release_owner,
};
use tortie_store::ipam;
use tortie_store::resources::Client;

use crate::Result;
use crate::collect::{Collector, Findings, Leak};
use crate::truth::{Asked, Cluster, Known};
use crate::world::World;

/// How many addresses are released at once.
const AT_ONCE: usize = 1_000;

/// The time of address management.
fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// What collects.
#[derive(Debug, Default)]
pub struct Collecting {
    collector: Collector,
    settled: Option<Instant>,
}

/// What a round came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// When to look again though nothing has changed.
    pub due: Option<Instant>,
    /// Whether something could not be done and is to be tried again.
    pub is_left: bool,
}

impl Collecting {
    /// Looks, and releases what nobody has.
    ///
    /// # Errors
    /// Those of the datastore; what is done stays done.
    pub fn round(
        &mut self,
        world: &World,
        cluster: &Cluster,
        client: &Client,
        grace: Option<Duration>,
    ) -> Result<Collected> {
        let begin = Instant::now();
        let known = Known::new(world, cluster);
        let findings = self.collector.look(begin, grace, world.blocks.items.values(), &known);
        let Findings { leaks, nodes, empty, suspects, due } = findings;
        if suspects > 0 {
            tracing::debug!(suspects, "addresses whose pods are not there: they are waited for");
        }
        let mut is_left = self.release(leaks, cluster, client)?;
        for node in nodes {
            match ipam::run(&**client.store(), release_owner(Owner::host(&node), InUse::Keep))? {
                Ok(()) => tracing::info!(node, "the node is gone: its blocks are given up"),
                // Somebody else's address is in one of them, or it came just now.
                Err(error) => {
                    tracing::debug!(node, %error, "blocks of a node that is gone stay for now");
                    is_left = true;
                }
            }
        }
        for (node, block) in empty {
            match ipam::run(&**client.store(), release_block_of(Owner::host(&node), block, InUse::Keep))? {
                Ok(()) => tracing::info!(node, %block, "given up: it was empty, and the node has others"),
                Err(error) => tracing::debug!(node, %block, %error, "the block stays"),
            }
        }
        if let Some(grace) = grace
            && self.settled.is_none_or(|settled| begin.saturating_duration_since(settled) >= grace)
        {
            self.settled = Some(begin);
            self.settle(client)?;
        }
        Ok(Collected { due, is_left })
    }

    /// Releases what still is a leak when it is asked for. Whether something remains.
    fn release(&mut self, leaks: Vec<Leak>, cluster: &Cluster, client: &Client) -> Result<bool> {
        if leaks.is_empty() {
            return Ok(false);
        }
        let asked = Asked { client, cluster };
        let (mut confirmed, mut in_use) = (Vec::new(), HashSet::new());
        for leak in leaks {
            if asked.is_leaked(&leak)? {
                confirmed.push(leak);
            } else {
                tracing::info!(address = %leak.release.address, "an address that seemed leaked is in use");
                self.collector.acquit(&leak);
                in_use.insert(leak.release.handle.clone());
            }
        }
        confirmed.retain(|leak| leak.release.handle.is_none() || !in_use.contains(&leak.release.handle));
        let view = view(client)?;
        let mut is_left = false;
        for leaks in confirmed.chunks(AT_ONCE) {
            let releases = leaks.iter().map(|leak| leak.release.clone()).collect();
            let released = ipam::run(&**client.store(), release(Arc::clone(&view), now(), releases))?;
            for leak in leaks.iter().filter(|leak| released.released.contains(&leak.release)) {
                let pod = leak.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
                let (address, handle) =
                    (leak.release.address, leak.release.handle.as_ref().map(ToString::to_string));
                tracing::info!(%address, handle, node = leak.node, pod, "released an address that nobody has any more");
            }
            if let Some(error) = released.error {
                tracing::info!(%error, "some leaked addresses stay for now");
                is_left = true;
            }
        }
        Ok(is_left)
    }

    fn settle(&self, client: &Client) -> Result<()> {
        match ipam::run(&**client.store(), check(view(client)?, now(), None, Repair::Settle))? {
            Ok(_) => {}
            Err(error) => {
                tracing::info!(%error, "what crashes have left in address management stays for now")
            }
        }
        Ok(())
    }
}

/// The pools, for finding an address's block. Of nodes nothing is said, so no block is given up for its pool's selector.
fn view(client: &Client) -> Result<Arc<View>> {
    let pools = client.list_as::<IpPoolSpec>(None)?;
    let pools = pools.iter().filter_map(|pool| Pool::parse(pool).ok()).collect();
    Ok(Arc::new(View::new(pools, Reservations::default(), Default::default())))
}
