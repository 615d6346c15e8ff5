//! CHECK and STATUS: only looking.

use super::Context;
use super::add::{CALICO_IPAM, configured_routes, delegated_config, pair, wiring};
use crate::endpoint::{addresses_of, lead_ports};
use crate::request::{Command, Request};
use crate::{Error, Result, delegate};
use tortie_dataplane::network::HostPort;
use tortie_netlink::Namespace;

/// Is the container still attached as ADD left it?
pub(super) fn check(context: &Context<'_>, request: &Request, pod: &Namespace) -> Result<()> {
    context.ready()?;
    let identity = context.identity(request);
    let Some(found) = context.stored(&identity)? else {
        return Err(Error::Check { faults: vec![format!("{} is not stored", identity.endpoint_key())] });
    };
    let mut faults = Vec::new();
    if found.spec.container_id != identity.container_id {
        faults.push(format!(
            "{} is of container {}, not {}",
            identity.endpoint_key(),
            found.spec.container_id,
            identity.container_id
        ));
    }
    let addresses = addresses_of(&found);
    let ours = request.config.ipam.plugin_type == CALICO_IPAM;
    let routes = configured_routes(request, &addresses)?;
    faults.extend(wiring(request, pair(context, request, &identity)?, &addresses, routes).faults(pod)?);
    let leading = HostPort::of(&found);
    let mut all = found.clone();
    lead_ports(&mut all, &request.config)?;
    let missing = HostPort::of(&all).into_iter().filter(|port| !leading.contains(port));
    faults.extend(missing.map(|port| format!("host port {port} does not lead to {}", port.to)));
    if !ours {
        let raw = delegated_config(context, request, &identity.node)?;
        delegate::call(request, &raw, Command::Check)?;
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Check { faults }) }
}

/// Could an ADD succeed?
pub(super) fn status(context: &Context<'_>, request: &Request) -> Result<()> {
    context.ready().map_err(|error| Error::NotAvailable(error.to_string()))?;
    let node = context.node_of(request);
    if request.config.ipam.plugin_type != CALICO_IPAM {
        // Plugins older than 1.1 don't know STATUS; that they are there is all that can be asked.
        return Ok(());
    }
    let view = context.view(&node).map_err(|error| Error::NotAvailable(error.to_string()))?;
    if !view.nodes.contains_key(&node) {
        return Err(Error::NotAvailable(format!("resource does not exist: Node({node}) with error: <nil>")));
    }
    if !view.pools().iter().any(|pool| pool.enabled) {
        return Err(Error::NotAvailable("cannot find a qualified ippool".into()));
    }
    Ok(())
}
