//! Host endpoints that are made by themselves: one for all interfaces of each node. Pure; [`crate::write`] writes them.
//!
//! Ours are known by a label, which is Calico's; others are never touched. When they are switched off they go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use tortie_api::endpoint::{HostEndpoint, HostEndpointSpec, Node};
use tortie_api::meta::ObjectMeta;
use tortie_store::resources::DEFAULT_ALLOW_PROFILE;

/// The label by which they are known.
const CREATED_BY: (&str, &str) = ("projectcalico.org/created-by", "calico-kube-controllers");

/// Whether a host endpoint is one of those.
pub fn is_ours(endpoint: &HostEndpoint) -> bool {
    endpoint.metadata.labels.get(CREATED_BY.0).is_some_and(|by| by == CREATED_BY.1)
}

/// The host endpoint of a node.
pub fn of_node(node: &Node) -> HostEndpoint {
    let mut labels = node.metadata.labels.clone();
    labels.insert(CREATED_BY.0.to_owned(), CREATED_BY.1.to_owned());
    HostEndpoint {
        metadata: ObjectMeta {
            name: format!("{}-auto-hep", node.metadata.name),
            labels,
            ..ObjectMeta::default()
        },
        spec: HostEndpointSpec {
            node: node.metadata.name.clone(),
            interface_name: "*".to_owned(),
            expected_ips: addresses(node),
            profiles: vec![DEFAULT_ALLOW_PROFILE.to_owned()],
            ..HostEndpointSpec::default()
        },
        ..HostEndpoint::default()
    }
}

/// All addresses by which a node is known: its own, its tunnels', and those that Kubernetes calls internal; each once.
fn addresses(node: &Node) -> Vec<String> {
    let spec = &node.spec;
    let bgp =
        spec.bgp.iter().flat_map(|bgp| [&bgp.ipv4_address, &bgp.ipv6_address, &bgp.ipv4_ipip_tunnel_addr]);
    let wireguard = spec.wireguard.iter().map(|wireguard| &wireguard.interface_ipv4_address);
    let own = bgp.chain([&spec.ipv4_vxlan_tunnel_addr]).chain(wireguard);
    let internal = spec.addresses.iter().filter(|address| address.address_type == "InternalIP");
    let mut found: Vec<String> = Vec::new();
    for text in own.chain(internal.map(|address| &address.address)) {
        let address =
            text.parse::<IpAddr>().ok().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()));
        if let Some(address) =
            address.map(|address| address.to_string()).filter(|address| !found.contains(address))
        {
            found.push(address);
        }
    }
    found
}

/// What is to be written for one host endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// This is to be there.
    Put(Box<HostEndpoint>),
    /// The one of this name is to go.
    Delete(String),
}

/// What makes of the host endpoints that are there those that should be.
pub fn changes<'a>(
    is_on: bool,
    nodes: impl Iterator<Item = &'a Node>,
    there: impl Iterator<Item = &'a HostEndpoint>,
) -> Vec<Change> {
    let wanted: BTreeMap<String, HostEndpoint> = match is_on {
        true => nodes.map(of_node).map(|endpoint| (endpoint.metadata.name.clone(), endpoint)).collect(),
        false => BTreeMap::new(),
    };
    let there: BTreeMap<&str, &HostEndpoint> =
        there.map(|endpoint| (endpoint.metadata.name.as_str(), endpoint)).collect();
    let gone =
        there.values().filter(|endpoint| is_ours(endpoint) && !wanted.contains_key(&endpoint.metadata.name));
    let mut changes: Vec<Change> =
        gone.map(|endpoint| Change::Delete(endpoint.metadata.name.clone())).collect();
    for (name, wanted) in &wanted {
        let is_right = there.get(name.as_str()).is_some_and(|there| {
            // Somebody's own of that name is his.
            !is_ours(there)
                || (there.metadata.labels == wanted.metadata.labels
                    && there.spec.expected_ips == wanted.spec.expected_ips
                    && there.spec.interface_name == wanted.spec.interface_name)
        });
        if !is_right {
            changes.push(Change::Put(Box::new(wanted.clone())));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde_json::json;

    fn node(name: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"rack": "b12"}},
            "spec": {
                "bgp": {"ipv4Address": "192.168.0.1/24", "ipv6Address": "fd00::1"},
                "ipv4VXLANTunnelAddr": "10.65.0.0",
                "addresses": [
                    {"address": "192.168.0.1/24", "type": "CalicoNodeIP"},
                    {"address": "192.168.0.1", "type": "InternalIP"},
                    {"address": "172.16.0.1", "type": "InternalIP"},
                    {"address": "1.2.3.4", "type": "ExternalIP"},
                ],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_node_has_one_with_its_labels_and_each_of_its_addresses_once() {
        let endpoint = of_node(&node("n1"));
        assert_eq!(endpoint.metadata.name, "n1-auto-hep");
        assert_eq!(endpoint.metadata.labels["rack"], "b12");
        assert!(is_ours(&endpoint));
        assert_eq!(endpoint.spec.expected_ips, ["192.168.0.1", "fd00::1", "10.65.0.0", "172.16.0.1"]);
        assert_eq!(endpoint.spec.profiles, ["projectcalico-default-allow"]);
        assert_eq!((endpoint.spec.node.as_str(), endpoint.spec.interface_name.as_str()), ("n1", "*"));
    }

    #[test]
    fn what_is_right_stays_what_differs_is_written_and_what_has_no_node_goes() {
        let nodes = [node("n1"), node("n2"), node("n3")];
        let right = of_node(&nodes[0]);
        let mut old = of_node(&nodes[1]);
        old.metadata.labels.remove("rack");
        let gone = of_node(&node("n9"));
        let mut another = of_node(&node("n3"));
        another.metadata.labels.clear();
        let there = [right.clone(), old, gone, another];
        let found = changes(true, nodes.iter(), there.iter());
        assert_eq!(
            found,
            [Change::Delete("n9-auto-hep".to_owned()), Change::Put(Box::new(of_node(&nodes[1])))],
            "n1's is right, n3's name is somebody's own"
        );
        let off = changes(false, nodes.iter(), there.iter());
        let names = ["n1-auto-hep", "n2-auto-hep", "n9-auto-hep"].map(|name| Change::Delete(name.to_owned()));
        assert_eq!(off, names);
    }
}
