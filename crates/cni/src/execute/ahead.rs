//! What a call is going to read of the store, in one request: a round trip costs as much as a hundred keys. In an agent an ADD
//! that reads what an earlier one has read relies on that instead; its write says whether that was right.

use super::Context;
use super::add::{CALICO_IPAM, asks_for_any_address};
use crate::Result;
use crate::identity::{Identity, Workload};
use crate::request::{Command, Plugin, Request};
use crate::wiring::index_on_host;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::ahead::Ahead;
use tortie_store::keys::{IPAM_CONFIG, ipam_handle, kind_prefix, resource};
use tortie_store::resources::Client;
use tortie_store::{Datastore, Read, Seen};

/// What a call supposes without having read it.
pub struct Guess {
    seen: Vec<Seen>,
    is_confirmed: AtomicBool,
}

impl Guess {
    /// What the first write has to compare.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.clone()
    }

    /// A write has compared it: it was so.
    pub(crate) fn confirm(&self) {
        self.is_confirmed.store(true, Ordering::Relaxed);
    }

    /// Whether a write has compared it. Until then nothing is written, and what was decided may be wrong.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.is_confirmed.load(Ordering::Relaxed)
    }
}

/// For an ADD that needs nothing but an address and was not made before, as far as can be seen here: what is remembered, in place of
/// what [`read`] reads. None if something isn't remembered, or another call is asked for.
pub(super) fn recall(context: &Context<'_>, request: &Request) -> Option<(Client, Guess)> {
    let memory = context.memory?;
    context.allocator?;
    let is_plain = (request.plugin, request.command) == (Plugin::Network, Command::Add)
        && request.config.ipam.plugin_type == CALICO_IPAM
        && asks_for_any_address(request);
    let identity = context.identity(request);
    // A container's interface stays as it is if it is added again: nothing may be guessed of that.
    let is_new = || matches!(index_on_host(&identity.interface()), Ok(None));
    if !is_plain || identity.workload == Workload::Container || !is_new() {
        return None;
    }
    let own = own(&identity);
    let (own, shared): (Vec<Read>, Vec<Read>) =
        on_add(&identity).into_iter().partition(|read| own.contains(read));
    let mut seen = memory.recall(&shared)?;
    seen.extend(own.into_iter().map(Seen::absent));
    let ahead: Arc<dyn Datastore> = Arc::new(Ahead::knowing(deferred(context), seen.clone()));
    Some((Client::new(ahead), Guess { seen, is_confirmed: AtomicBool::new(false) }))
}

/// The call's own client: its writes are deferred where that is possible, and what it reads first is read already.
pub(super) fn read(context: &Context<'_>, request: &Request) -> Result<Client> {
    let store = deferred(context);
    let identity = context.identity(request);
    let reads = match request.command {
        Command::Add => on_add(&identity),
        Command::Del => on_del(&identity),
        Command::Check | Command::Status | Command::Gc | Command::Version => return Ok(Client::new(store)),
    };
    let found = store.read_all(&reads)?;
    let seen: Vec<Seen> = reads.into_iter().zip(found).map(|(read, found)| Seen { read, found }).collect();
    if let Some(memory) = context.memory {
        let own = own(&identity);
        memory.learn(seen.iter().filter(|one| !own.contains(&one.read)).cloned());
    }
    let ahead: Arc<dyn Datastore> = Arc::new(Ahead::knowing(store, seen));
    Ok(Client::new(ahead))
}

fn deferred(context: &Context<'_>) -> Arc<dyn Datastore> {
    let store = context.client.store();
    store.deferred().unwrap_or_else(|| Arc::clone(store))
}

/// What only this container's calls read.
fn own(identity: &Identity) -> [Read; 3] {
    [
        key(&identity.endpoint_key()),
        Read::Key(ipam_handle(identity.handle().as_str())),
        Read::Key(ipam_handle(identity.old_handle().as_str())),
    ]
}

fn on_add(identity: &Identity) -> Vec<Read> {
    let mut reads = on_both(identity);
    reads.push(key(&ResourceKey::cluster(Kind::Namespace, identity.namespace())));
    if identity.workload == Workload::Container {
        reads.push(key(&ResourceKey::cluster(Kind::Profile, &identity.network)));
    }
    reads
}

fn on_del(identity: &Identity) -> Vec<Read> {
    let mut reads = on_both(identity);
    reads.push(Read::Key(ipam_handle(identity.old_handle().as_str())));
    reads
}

fn on_both(identity: &Identity) -> Vec<Read> {
    vec![
        key(&ResourceKey::cluster(Kind::ClusterInformation, "default")),
        key(&identity.endpoint_key()),
        key(&ResourceKey::cluster(Kind::Node, &identity.node)),
        Read::Key(ipam_handle(identity.handle().as_str())),
        Read::Key(IPAM_CONFIG.to_owned()),
        Read::Prefix(kind_prefix(Kind::IPPool)),
        Read::Prefix(kind_prefix(Kind::IPReservation)),
    ]
}

fn key(object: &ResourceKey) -> Read {
    Read::Key(resource(object))
}
