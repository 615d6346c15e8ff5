//! GC: what this node and network have stored for containers that the runtime no longer knows.
//!
//! Handles tell whose an endpoint is: `<network>.<container>`. Endpoints of other networks and nodes stay. A handle
//! without an endpoint (a crash between the two) goes if its addresses were given out by this node.

use super::Context;
use super::add::CALICO_IPAM;
use super::del::detach;
use crate::identity::{Identity, Workload};
use crate::request::Request;
use crate::{Error, Result, address};
use std::collections::BTreeSet;
use tortie_api::endpoint::{WorkloadEndpoint, WorkloadEndpointSpec};
use tortie_ipam::HandleId;

/// Removes what isn't in `cni.dev/valid-attachments`.
pub(super) fn gc(context: &Context<'_>, request: &Request) -> Result<()> {
    context.ready()?;
    let valid = request.config.valid_attachments.as_ref().ok_or_else(|| Error::Config {
        field: "cni.dev/valid-attachments",
        found: "nothing".into(),
        expected: "the list of attachments that stay",
    })?;
    let node = context.node_of(request);
    let known: BTreeSet<(&str, &str)> =
        valid.iter().map(|one| (one.container_id.as_str(), one.ifname.as_str())).collect();
    let containers: BTreeSet<&str> = known.iter().map(|(container, _)| *container).collect();
    let mut faults = Vec::new();
    for endpoint in context.client.list_as::<WorkloadEndpointSpec>(None)? {
        let spec = &endpoint.spec;
        if spec.node != node || known.contains(&(spec.container_id.as_str(), spec.endpoint.as_str())) {
            continue;
        }
        let identity = identity_of(&endpoint, request, &node);
        if is_of_network(context, request, &endpoint, &identity)? {
            tracing::info!(endpoint = %identity.endpoint_key(), container = identity.container_id, "collected");
            detach(context, request, &identity, None, &mut faults);
        }
    }
    if request.config.ipam.plugin_type == CALICO_IPAM {
        release_strays(context, request, &node, &containers, &mut faults);
    }
    faults.extend(context.persist().err());
    Error::of_teardown(faults)
}

fn identity_of(endpoint: &WorkloadEndpoint, request: &Request, node: &str) -> Identity {
    let spec = &endpoint.spec;
    let workload = if spec.pod.is_empty() {
        Workload::Container
    } else {
        Workload::Pod { namespace: endpoint.metadata.namespace.clone(), name: spec.pod.clone() }
    };
    Identity {
        workload,
        node: node.into(),
        container_id: spec.container_id.clone(),
        ifname: spec.endpoint.clone(),
        network: request.config.name.clone(),
    }
}

/// By its handle, or its network's profile; with another IPAM plugin every endpoint of the node is this network's.
fn is_of_network(
    context: &Context<'_>,
    request: &Request,
    endpoint: &WorkloadEndpoint,
    identity: &Identity,
) -> Result<bool> {
    if request.config.ipam.plugin_type != CALICO_IPAM || endpoint.spec.profiles.contains(&identity.network) {
        return Ok(true);
    }
    Ok(!address::held(context.addresses(), &identity.handle())?.is_empty())
}

fn release_strays(
    context: &Context<'_>,
    request: &Request,
    node: &str,
    containers: &BTreeSet<&str>,
    faults: &mut Vec<Error>,
) {
    let prefix = format!("{}.", request.config.name);
    let handles = match context.client.store().list_all(&tortie_store::keys::ipam_handle(&prefix)) {
        Ok(handles) => handles.items,
        Err(error) => return faults.push(error.into()),
    };
    let view = match context.view(node) {
        Ok(view) => view,
        Err(error) => return faults.push(error),
    };
    for item in handles {
        let Some(name) = item.key.rsplit('/').next() else { continue };
        let Some(container) = name.strip_prefix(&prefix) else { continue };
        if containers.contains(container) {
            continue;
        }
        let handle = HandleId::new(name);
        match address::is_of_node(context.addresses(), &view, &handle, node) {
            Ok(false) => {}
            Ok(true) => faults.extend(address::release(context.addresses(), &view, &handle).err()),
            Err(error) => faults.push(error),
        }
    }
}
