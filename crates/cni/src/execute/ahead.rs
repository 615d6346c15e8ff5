//! What a call is going to read of the store, in one request: a round trip costs as much as a hundred keys.

use super::Context;
use crate::Result;
use crate::identity::{Identity, Workload};
use crate::request::{Command, Request};
use std::sync::Arc;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::ahead::Ahead;
use tortie_store::keys::{IPAM_CONFIG, ipam_handle, kind_prefix, resource};
use tortie_store::resources::Client;
use tortie_store::{Datastore, Read};

/// The call's own client: its writes are deferred where that is possible, and what it reads first is read already.
pub(super) fn read(context: &Context<'_>, request: &Request) -> Result<Client> {
    let store = context.client.store();
    let store = store.deferred().unwrap_or_else(|| Arc::clone(store));
    let reads = match request.command {
        Command::Add => {
            let identity = context.identity(request);
            let mut reads = on_add(&identity);
            reads.extend(super::pods::key(&identity).filter(|_| store.knows_pods()).map(|pod| key(&pod)));
            reads
        }
        Command::Del => on_del(&context.identity(request)),
        Command::Check | Command::Status | Command::Gc | Command::Version => return Ok(Client::new(store)),
    };
    let ahead: Arc<dyn Datastore> = Arc::new(Ahead::of(store, reads)?);
    Ok(Client::new(ahead))
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
