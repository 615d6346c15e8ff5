//! What goes with a node: its endpoints and their addresses, its blocks, and what is for it alone.
//!
//! In Calico's order: addresses before the endpoints that name them, all of it before the node, so that a deletion that
//! stops half-way is completed by the next.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_ipam::{InUse, Now, Owner, Release, View};

use super::Client;
use crate::{Error, Result, ipam};

/// Where a node's object names addresses of its own that come from pools.
const TUNNELS: [&str; 5] = [
    "/spec/bgp/ipv4IPIPTunnelAddr",
    "/spec/ipv4VXLANTunnelAddr",
    "/spec/ipv6VXLANTunnelAddr",
    "/spec/wireguard/interfaceIPv4Address",
    "/spec/wireguard/interfaceIPv6Address",
];

/// Deletes what belongs to a node, whether its object is there or not.
///
/// # Errors
/// Those of the datastore; what is done stays done.
pub fn empty(client: &Client, id: &ResourceKey) -> Result<()> {
    let of_node = |kind: Kind| -> Result<Vec<Value>> {
        let mut items = client.list(kind, None)?.items;
        items.retain(|item| text(item, "/spec/node") == &*id.name);
        Ok(items)
    };
    let endpoints = of_node(Kind::WorkloadEndpoint)?;
    let networks = endpoints.iter().filter_map(|endpoint| endpoint.pointer("/spec/ipNetworks")?.as_array());
    let mut addresses: Vec<IpAddr> =
        networks.flatten().filter_map(Value::as_str).filter_map(address).collect();
    match client.get(id) {
        Ok(node) => addresses.extend(TUNNELS.iter().filter_map(|path| address(text(&node, path)))),
        Err(Error::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now = Now(u64::try_from(since).unwrap_or(u64::MAX));
    let releases = addresses.into_iter().map(Release::address).collect();
    // Without pools: the blocks themselves say which holds an address.
    let view = Arc::new(View::default());
    let released = ipam::run(&**client.store(), tortie_ipam::release(view, now, releases))?;
    if let Some(error) = released.error {
        return Err(error.into());
    }
    delete_all(client, endpoints)?;
    let owner = Owner::host(&id.name);
    ipam::run(&**client.store(), tortie_ipam::release_owner(owner, InUse::GiveUp))??;
    delete_all(client, of_node(Kind::BGPPeer)?)?;
    for kind in [Kind::FelixConfiguration, Kind::BGPConfiguration] {
        delete(client, &ResourceKey::cluster(kind, &format!("node.{}", id.name)))?;
    }
    delete_all(client, of_node(Kind::HostEndpoint)?)
}

fn delete_all(client: &Client, objects: Vec<Value>) -> Result<()> {
    objects.iter().try_for_each(|object| delete(client, &Client::key_of(object)?))
}

fn delete(client: &Client, id: &ResourceKey) -> Result<()> {
    match client.delete(id, None) {
        Ok(_) | Err(Error::Missing { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The address of `10.0.0.1` and of `10.0.0.1/32`.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))
}
