//! DEL: all of it gone, whatever is there.

use super::Context;
use super::add::{CALICO_IPAM, delegated_config};
use crate::endpoint::addresses_of;
use crate::identity::Identity;
use crate::request::{Command, Request};
use crate::{Error, Result, address, delegate, wiring};
use std::net::IpAddr;
use tortie_api::endpoint::WorkloadEndpoint;
use tortie_netlink::Namespace;

/// Detaches a container.
pub(super) fn del(context: &Context<'_>, request: &Request, pod: Option<&Namespace>) -> Result<()> {
    context.ready()?;
    let identity = context.identity(request);
    let mut faults = Vec::new();
    detach(context, request, &identity, pod, &mut faults);
    Error::of_teardown(faults)
}

/// Only addresses: we are `calico-ipam`.
pub(super) fn release_addresses(context: &Context<'_>, request: &Request) -> Result<()> {
    context.ready()?;
    let identity = context.identity(request);
    let mut faults = Vec::new();
    release(context, &identity, &mut faults);
    faults.extend(context.persist().err());
    Error::of_teardown(faults)
}

/// Everything of a container. Without its namespace the wires are found by its endpoint.
pub(super) fn detach(
    context: &Context<'_>,
    request: &Request,
    identity: &Identity,
    pod: Option<&Namespace>,
    faults: &mut Vec<Error>,
) {
    let stored = context.stored(identity).unwrap_or_else(|error| {
        faults.push(error);
        None
    });
    // Another container of the same pod may have taken over the endpoint: it keeps it, and its interface.
    let ours = stored.filter(|found| found.spec.container_id == identity.container_id);
    // By index: a newer container of the pod may get an interface of the same name while we work.
    let index = ours.as_ref().map_or(Ok(None), |found| wiring::index_on_host(&found.spec.interface_name));
    let index = index.unwrap_or_else(|error| {
        faults.push(error);
        None
    });
    // The store is written once nothing passes any more, while the kernel tidies up.
    let mut also = Vec::new();
    let mut then = || {
        forget(context, request, identity, ours.as_ref(), &mut also);
        also.extend(context.persist().err());
    };
    let removed = match (index, pod) {
        (Some(index), _) => wiring::take_away(index, &mut then),
        (None, pod) => {
            // No endpoint, or its interface is gone: what is inside is ours all the same.
            let removed = pod.map_or(Ok(false), |pod| wiring::remove(pod, &identity.ifname));
            then();
            removed.map(drop)
        }
    };
    faults.extend(removed.err());
    faults.append(&mut also);
}

/// What is stored of a container, and what the kernel remembers of its addresses.
fn forget(
    context: &Context<'_>,
    request: &Request,
    identity: &Identity,
    ours: Option<&WorkloadEndpoint>,
    faults: &mut Vec<Error>,
) {
    let mut addresses: Vec<IpAddr> = ours.map(addresses_of).unwrap_or_default();
    if let Some(found) = ours {
        context.gate.gone(&identity.endpoint_key(), &found.spec.interface_name);
    }
    if request.config.ipam.plugin_type == CALICO_IPAM && ours.is_none() {
        // Those of a container whose endpoint another one has taken over, or that never got one.
        match address::held(context.addresses(), &identity.handle()) {
            Ok(held) => addresses.extend(held),
            Err(error) => faults.push(error),
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    std::thread::scope(|scope| {
        let forgetting = scope.spawn(|| wiring::forget(&addresses));
        if let Some(found) = ours {
            // A pod is changed by many.
            let version = Some(found.metadata.resource_version.as_str());
            let version = version.filter(|_| !context.client.store().knows_pods());
            match context.client.delete(&identity.endpoint_key(), version) {
                Ok(_) | Err(tortie_store::Error::Missing { .. }) => {}
                Err(error) => faults.push(error.into()),
            }
        }
        faults.extend(wiring::forgotten(forgetting).err());
    });
    // Addresses last: they may be another's as soon as they are free.
    if request.config.ipam.plugin_type == CALICO_IPAM {
        release(context, identity, faults);
    } else {
        let raw = delegated_config(context, request, &identity.node);
        faults.extend(raw.and_then(|raw| delegate::call(request, &raw, Command::Del)).err());
    }
}

/// Both forms of the handle: today's and the one of old releases.
fn release(context: &Context<'_>, identity: &Identity, faults: &mut Vec<Error>) {
    let view = match context.view(&identity.node) {
        Ok(view) => view,
        Err(error) => return faults.push(error),
    };
    for handle in [identity.handle(), identity.old_handle()] {
        faults.extend(address::release(context.addresses(), &view, &handle).err());
    }
}
