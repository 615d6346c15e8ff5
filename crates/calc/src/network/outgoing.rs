//! Which connections leave with the node's address: those from pools that say so to what is in no pool; and which addresses
//! and ports of the node lead to its workloads.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tortie_api::endpoint::IpNat;
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::resource::Resource;
use tortie_dataplane::network::{HostPort, LeavesAs, Outgoing};
use tortie_dataplane::policy::Family;

use super::host::Host;

/// Pools, and the nodes between which their packets travel, by name.
#[derive(Debug, Default)]
pub struct Pools {
    pools: BTreeMap<Arc<str>, Pooled>,
    nodes: BTreeMap<Arc<str>, Host>,
    /// This node.
    node: Arc<str>,
    wants: Wants,
    /// Those of its workloads, outside and inside.
    floating: BTreeMap<ResourceKey, Vec<(IpAddr, IpAddr)>>,
    /// Ports of the node that lead to its workloads; who came when.
    ports: BTreeMap<ResourceKey, (u64, Vec<HostPort>)>,
    came: u64,
}

/// What is set of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// Whether floating addresses lead to their workloads.
    pub floating: bool,
    /// What connections to elsewhere leave with.
    pub leaves_as: LeavesAs,
    /// Whether connections to nodes keep their address, as those to pools do.
    pub keeps_to_nodes: bool,
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
    /// Nothing yet, for a node.
    pub fn new(node: &str, wants: Wants) -> Pools {
        Pools { node: node.into(), wants, ..Pools::default() }
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
                let here = endpoint.spec.node == *self.node;
                let nats =
                    if here && self.wants.floating { floating(&endpoint.spec.ip_nats) } else { Vec::new() };
                let ports = if here { HostPort::of(endpoint) } else { Vec::new() };
                // Nearly all have neither.
                let floats = !(nats.is_empty() && self.floating.is_empty())
                    && replace(&mut self.floating, endpoint.key(), nats);
                let leads = !(ports.is_empty() && self.ports.is_empty()) && self.lead(endpoint.key(), ports);
                floats | leads
            }
            Event::Delete(key) if key.kind == Kind::WorkloadEndpoint => {
                self.floating.remove(key).is_some() | self.ports.remove(key).is_some()
            }
            _ => false,
        }
    }

    /// Whether anything is new.
    fn lead(&mut self, key: ResourceKey, ports: Vec<HostPort>) -> bool {
        if ports.is_empty() {
            return self.ports.remove(&key).is_some();
        }
        self.came += 1;
        match self.ports.entry(key) {
            Entry::Occupied(known) if known.get().1 == ports => false,
            Entry::Occupied(mut known) => {
                known.get_mut().1 = ports;
                true
            }
            Entry::Vacant(new) => {
                new.insert((self.came, ports));
                true
            }
        }
    }

    /// Those who lead ports here, who came first first.
    fn leading(&self) -> Vec<(&ResourceKey, &[HostPort])> {
        let mut leading: Vec<_> = self.ports.iter().collect();
        leading.sort_by_key(|(_, (came, _))| *came);
        leading.into_iter().map(|(key, (_, ports))| (key, ports.as_slice())).collect()
    }

    /// A port that a workload wants and another one has, and which one that is.
    pub fn taken(&self, by: &ResourceKey) -> Option<(HostPort, ResourceKey)> {
        let (_, wanted) = self.ports.get(by)?;
        let before = self.leading().into_iter().take_while(|(key, _)| *key != by);
        let mut taken = before.flat_map(|(key, ports)| ports.iter().map(move |port| (port, key)));
        let (port, key) = taken.find(|(port, _)| wanted.iter().any(|wanted| wanted.is_same(port)))?;
        Some((*port, key.clone()))
    }

    /// What follows from them.
    pub fn outgoing(&self) -> Outgoing {
        let mut inside: Vec<IpNet> = self.pools.values().map(|pool| pool.cidr.trunc()).collect();
        let mut from: Vec<IpNet> =
            self.pools.values().filter(|pool| pool.leaves).map(|pool| pool.cidr.trunc()).collect();
        if self.wants.keeps_to_nodes {
            inside.extend(self.node_addresses().into_iter().map(IpNet::from));
        }
        inside.sort();
        from.sort();
        let vxlan = self.pools.values().any(|pool| pool.vxlan).then(|| self.node_addresses());
        // Of two that want the same address the first has it.
        let mut floating: BTreeMap<IpAddr, IpAddr> = BTreeMap::new();
        for (external, internal) in self.floating.values().flatten() {
            floating.entry(*external).or_insert(*internal);
        }
        let mut ports: Vec<HostPort> = Vec::new();
        for (_, wanted) in self.leading() {
            let free: Vec<HostPort> =
                wanted.iter().filter(|port| !ports.iter().any(|had| had.is_same(port))).copied().collect();
            ports.extend(free);
        }
        ports.sort();
        let leaves_as = self.wants.leaves_as;
        Outgoing { from, inside, leaves_as, vxlan, floating: floating.into_iter().collect(), ports }
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

/// Puts what is said of a workload, or takes it away if that is nothing; whether it is another.
fn replace<T: PartialEq + Clone>(
    all: &mut BTreeMap<ResourceKey, Vec<T>>,
    key: ResourceKey,
    own: Vec<T>,
) -> bool {
    match own.is_empty() {
        true => all.remove(&key).is_some(),
        false => all.insert(key, own.clone()) != Some(own),
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
                ..Outgoing::default()
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
            Outgoing { from: vec![six], inside: vec![other, six], ..Outgoing::default() }
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
        let mut pools = Pools::new("one", Wants { floating: true, ..Wants::default() });
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
        assert!(
            !Pools::new("one", Wants::default()).on_event(&endpoint("a", "one", &nats)),
            "they aren't wanted"
        );
    }

    #[test]
    fn a_port_of_the_node_leads_to_the_workload_that_asked_first_for_it_by_our_plugin() {
        let endpoint = |name: &str, node: &str, asked: &str, address: u8, ports: &[(&str, u16, &str)]| {
            let ports: Vec<_> = ports
                .iter()
                .map(|(protocol, port, ip)| {
                    json!({"name": "", "protocol": protocol, "port": 80, "hostPort": port, "hostIP": ip})
                })
                .collect();
            let object = json!({
                "metadata": {"name": name, "namespace": "shop", "annotations": {"tortie/host-ports": asked}},
                "spec": {"node": node, "containerID": name, "ports": ports, "ipNetworks":
                    [format!("10.65.0.{address}/32"), format!("fd65::{address}/128")]},
            });
            Event::Upsert(Resource::from_value(Kind::WorkloadEndpoint, &object).expect("an endpoint"))
        };
        let key = |name| ResourceKey::namespaced(Kind::WorkloadEndpoint, "shop", name);
        let told = |pools: &Pools| -> Vec<String> {
            pools.outgoing().ports.iter().map(|port| format!("{port} {}", port.to)).collect()
        };
        let mut pools = Pools::new("one", Wants::default());
        let first = endpoint("z", "one", "z", 1, &[("TCP", 8080, ""), ("UDP", 53, "192.168.77.11")]);
        assert!(pools.on_event(&first) && !pools.on_event(&first));
        assert!(!pools.on_event(&endpoint("b", "two", "b", 2, &[("TCP", 8080, "")])), "another node's");
        assert!(!pools.on_event(&endpoint("c", "one", "old", 3, &[("TCP", 81, "")])), "another container's");
        let own = ["8080/tcp 10.65.0.1:80", "8080/tcp [fd65::1]:80", "192.168.77.11:53/udp 10.65.0.1:80"];
        assert_eq!(told(&pools), own);
        // The same port of one family, and one that is another's since it is of one address.
        let second = [("tcp", 8080, "0.0.0.0"), ("TCP", 8080, "192.168.77.11"), ("SCTP", 9, "::")];
        assert!(pools.on_event(&endpoint("a", "one", "a", 4, &second)));
        let more = [own[0], own[1], "9/sctp [fd65::4]:80", "192.168.77.11:8080/tcp 10.65.0.4:80", own[2]];
        assert_eq!(told(&pools), more);
        let (port, holder) = pools.taken(&key("a")).expect("it is");
        assert_eq!((port.to_string(), holder), ("8080/tcp".to_owned(), key("z")));
        assert_eq!(pools.taken(&key("z")), None);
        assert!(pools.on_event(&Event::Delete(key("z"))));
        assert_eq!(pools.taken(&key("a")), None);
        assert_eq!(told(&pools)[0], "8080/tcp 10.65.0.4:80");
    }
}
