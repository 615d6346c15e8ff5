//! Which connections leave with the node's address: those from pools that say so to what is in no pool; and which addresses
//! lead to workloads of the node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_api::endpoint::IpNat;
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::resource::Resource;
use tortie_dataplane::network::Outgoing;
use tortie_dataplane::policy::Family;

use super::host::Host;

/// Pools, and the nodes between which their packets travel, by name.
#[derive(Debug, Default)]
pub struct Pools {
    pools: BTreeMap<Arc<str>, Pooled>,
    nodes: BTreeMap<Arc<str>, Host>,
    /// This node, if floating addresses are wanted.
    floats_on: Option<Arc<str>>,
    /// Those of its workloads, outside and inside.
    floating: BTreeMap<ResourceKey, Vec<(IpAddr, IpAddr)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pooled {
    cidr: IpNet,
    /// Whether their connections leave with the node's address.
    leaves: bool,
    /// Whether their packets travel in VXLAN.
    vxlan: bool,
}

impl Pools {
    /// Nothing yet, for a node on which floating addresses lead to its workloads.
    pub fn with_floating(node: &str) -> Pools {
        Pools { floats_on: Some(node.into()), ..Pools::default() }
    }

    /// Takes in what is said of a pool or node; whether anything depends on it. Of one that can't be read any more, what was read
    /// last stays true.
    pub fn on_event(&mut self, event: &Event) -> bool {
        match event {
            Event::Upsert(Resource::IPPool(pool)) => {
                let Ok(cidr) = pool.spec.cidr.parse() else { return false };
                let vxlan = matches!(&*pool.spec.vxlan_mode, "Always" | "CrossSubnet");
                let pooled = Pooled { cidr, leaves: pool.spec.nat_outgoing, vxlan };
                self.pools.insert(pool.key().name, pooled) != Some(pooled)
            }
            Event::Delete(ResourceKey { kind: Kind::IPPool, name, .. }) => self.pools.remove(name).is_some(),
            Event::Upsert(Resource::Node(node)) => {
                let host = Host::of(node);
                self.nodes.insert(node.key().name, host.clone()) != Some(host)
            }
            Event::Delete(ResourceKey { kind: Kind::Node, name, .. }) => self.nodes.remove(name).is_some(),
            Event::Upsert(Resource::WorkloadEndpoint(endpoint)) => {
                let Some(node) = &self.floats_on else { return false };
                let own =
                    if endpoint.spec.node == **node { floating(&endpoint.spec.ip_nats) } else { Vec::new() };
                let key = || endpoint.key();
                match own.is_empty() {
                    true => !self.floating.is_empty() && self.floating.remove(&key()).is_some(),
                    false => self.floating.insert(key(), own.clone()) != Some(own),
                }
            }
            Event::Delete(key) if key.kind == Kind::WorkloadEndpoint => self.floating.remove(key).is_some(),
            _ => false,
        }
    }

    /// What follows from them.
    pub fn outgoing(&self) -> Outgoing {
        let mut inside: Vec<IpNet> = self.pools.values().map(|pool| pool.cidr.trunc()).collect();
        let mut from: Vec<IpNet> =
            self.pools.values().filter(|pool| pool.leaves).map(|pool| pool.cidr.trunc()).collect();
        inside.sort();
        from.sort();
        let vxlan = self.pools.values().any(|pool| pool.vxlan).then(|| self.node_addresses());
        // Of two that want the same address the first has it.
        let mut floating: BTreeMap<IpAddr, IpAddr> = BTreeMap::new();
        for (external, internal) in self.floating.values().flatten() {
            floating.entry(*external).or_insert(*internal);
        }
        Outgoing { from, inside, vxlan, floating: floating.into_iter().collect() }
    }

    fn node_addresses(&self) -> Vec<IpAddr> {
        let of = |host: &Host| [Family::V4, Family::V6].map(|family| host.address(family));
        let mut addresses: Vec<IpAddr> =
            self.nodes.values().flat_map(of).flatten().map(|net| net.addr()).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}

/// Those that can be read, and lead to an address of their family.
fn floating(nats: &[IpNat]) -> Vec<(IpAddr, IpAddr)> {
    let read = |nat: &IpNat| -> Option<(IpAddr, IpAddr)> {
        Some((nat.external_ip.parse().ok()?, nat.internal_ip.parse().ok()?))
    };
    let of_one_family = |(external, internal): &(IpAddr, IpAddr)| external.is_ipv4() == internal.is_ipv4();
    nats.iter().filter_map(read).filter(of_one_family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pools_that_say_so_leave_with_the_nodes_address_except_to_pools() {
        let mut pools = Pools::default();
        let mut put = |name: &str, cidr: &str, leaves: bool, disabled: bool| {
            let vxlan = if name == "a" { "CrossSubnet" } else { "Never" };
            let spec = json!({"cidr": cidr, "natOutgoing": leaves, "disabled": disabled, "vxlanMode": vxlan});
            let object = json!({"metadata": {"name": name}, "spec": spec});
            let event = Event::Upsert(Resource::from_value(Kind::IPPool, &object).expect("a pool"));
            assert!(pools.on_event(&event));
            assert!(!pools.on_event(&event), "said twice it is no news");
        };
        put("b", "10.66.0.0/16", false, false);
        put("a", "10.65.0.0/16", true, false);
        put("six", "fd65::/64", true, true);
        let net = |text: &str| text.parse::<IpNet>().expect("one");
        let (four, other, six) = (net("10.65.0.0/16"), net("10.66.0.0/16"), net("fd65::/64"));
        assert_eq!(
            pools.outgoing(),
            Outgoing {
                from: vec![four, six],
                inside: vec![four, other, six],
                vxlan: Some(vec![]),
                floating: vec![]
            }
        );
        let bgp = json!({"ipv4Address": "192.168.77.11/24", "ipv6Address": "fd77::11/64"});
        let node = json!({"metadata": {"name": "one"}, "spec": {"bgp": bgp}});
        let node = Event::Upsert(Resource::from_value(Kind::Node, &node).expect("a node"));
        assert!(pools.on_event(&node) && !pools.on_event(&node));
        let addresses = ["192.168.77.11", "fd77::11"].map(|text| text.parse().expect("one"));
        assert_eq!(pools.outgoing().vxlan, Some(addresses.to_vec()));
        assert!(pools.on_event(&Event::Delete(ResourceKey::cluster(Kind::IPPool, "a"))));
        assert_eq!(
            pools.outgoing(),
            Outgoing { from: vec![six], inside: vec![other, six], vxlan: None, floating: vec![] }
        );
    }
    #[test]
    fn floating_addresses_lead_to_workloads_of_the_node() {
        let endpoint = |name: &str, node: &str, nats: &[(&str, &str)]| {
            let nats: Vec<_> = nats
                .iter()
                .map(|(external, internal)| json!({"externalIP": external, "internalIP": internal}))
                .collect();
            let object = json!({
                "metadata": {"name": name, "namespace": "shop"}, "spec": {"node": node, "ipNATs": nats},
            });
            Event::Upsert(Resource::from_value(Kind::WorkloadEndpoint, &object).expect("an endpoint"))
        };
        let pair = |external: &str, internal: &str| -> (IpAddr, IpAddr) {
            (external.parse().expect("one"), internal.parse().expect("one"))
        };
        let mut pools = Pools::with_floating("one");
        let nats =
            [("203.0.113.9", "10.65.0.1"), ("fd99::9", "fd65::1"), ("fd99::8", "10.65.0.1"), ("x", "y")];
        assert!(
            pools.on_event(&endpoint("a", "one", &nats)) && !pools.on_event(&endpoint("a", "one", &nats))
        );
        assert!(!pools.on_event(&endpoint("b", "two", &nats)), "another node's");
        assert!(pools.on_event(&endpoint(
            "c",
            "one",
            &[("203.0.113.9", "10.65.0.3"), ("203.0.113.4", "10.65.0.3")]
        )));
        let own =
            [pair("203.0.113.4", "10.65.0.3"), pair("203.0.113.9", "10.65.0.1"), pair("fd99::9", "fd65::1")];
        assert_eq!(pools.outgoing().floating, own);
        assert!(pools.on_event(&endpoint("a", "one", &[])));
        let gone = ResourceKey::namespaced(Kind::WorkloadEndpoint, "shop", "c");
        assert!(pools.on_event(&Event::Delete(gone)));
        assert_eq!(pools.outgoing().floating, []);
        assert!(!Pools::default().on_event(&endpoint("a", "one", &nats)), "they aren't wanted");
    }
}
