//! Small clusters and the routes that one of their nodes should have.

use serde_json::{Value, json};

use super::*;

fn event(kind: Kind, name: &str, spec: Value) -> Event {
    let object = json!({"metadata": {"name": name}, "spec": spec});
    Event::Upsert(Resource::from_value(kind, &object).expect("it is one"))
}

fn node(name: &str, v4: &str, v6: &str) -> Event {
    event(Kind::Node, name, json!({"bgp": {"ipv4Address": v4, "ipv6Address": v6}}))
}

fn pool(name: &str, cidr: &str, vxlan: &str, ipip: &str) -> Event {
    event(Kind::IPPool, name, json!({"cidr": cidr, "vxlanMode": vxlan, "ipipMode": ipip}))
}

fn block(cidr: &str, host: Option<&str>, elsewhere: &[(&str, &str)]) -> Holding {
    let elsewhere = elsewhere.iter().map(|(address, node)| (address.parse().expect("one"), Arc::from(*node)));
    Holding {
        cidr: cidr.parse().expect("a block"),
        host: host.map(Arc::from),
        elsewhere: elsewhere.collect(),
    }
}

/// `a` and `b` are neighbours, `far` is on another subnet.
fn mk_topology(blocks: Vec<Holding>) -> Topology {
    let mut topology = Topology::new("a".into());
    for event in [
        node("a", "192.168.77.11/24", "fd77::11/64"),
        node("b", "192.168.77.12/24", "fd77::12/64"),
        node("far", "192.168.78.12/24", "fd78::12/64"),
        pool("plain", "10.65.0.0/16", "Never", "Never"),
        pool("plain6", "fd65::/64", "", ""),
        pool("ipip", "10.66.0.0/16", "Never", "Always"),
        pool("cross", "10.67.0.0/16", "Never", "CrossSubnet"),
    ] {
        assert!(topology.on_event(&event));
        assert!(!topology.on_event(&event), "said twice it is no news");
    }
    assert!(topology.set_blocks(blocks.clone()));
    assert!(!topology.set_blocks(blocks));
    topology
}

fn told(topology: &Topology) -> Vec<String> {
    let network = topology.network();
    let line = |(destination, hop): (&IpNet, &Hop)| match hop {
        Hop::Blackhole => format!("{destination} blackhole"),
        Hop::Node { address, own } => format!("{destination} via {address} from {own}"),
        Hop::Tunnel { peer } => format!("{destination} in vxlan to {peer}"),
    };
    let routes = network.routes.iter().map(line);
    routes.chain((network.unreached > 0).then(|| format!("unreached {}", network.unreached))).collect()
}

#[test]
fn a_neighbours_block_is_by_its_address_and_ones_own_is_a_blackhole() {
    let topology = mk_topology(vec![
        block("10.65.0.0/26", Some("a"), &[]),
        block("10.65.0.64/26", Some("b"), &[]),
        block("fd65::40/122", Some("b"), &[]),
        block("10.65.0.128/26", Some("far"), &[]),
        block("10.65.0.192/26", Some("nobody"), &[]),
        block("10.99.0.0/26", Some("b"), &[]),
    ]);
    assert_eq!(
        told(&topology),
        [
            "10.65.0.0/26 blackhole",
            "10.65.0.64/26 via 192.168.77.12 from 192.168.77.11",
            "fd65::40/122 via fd77::12 from fd77::11",
            "unreached 2",
        ]
    );
}

#[test]
fn a_borrowed_address_is_where_its_borrower_is() {
    let topology = mk_topology(vec![
        block("10.65.0.0/26", Some("a"), &[("10.65.0.5", "b")]),
        block("10.65.0.64/26", Some("b"), &[("10.65.0.70", "a"), ("10.65.0.71", "far")]),
        block("10.65.0.128/26", None, &[("10.65.0.130", "b"), ("10.65.0.131", "a")]),
        block("10.65.1.0/32", Some("a"), &[]),
        block("10.65.1.1/32", Some("b"), &[]),
    ]);
    assert_eq!(
        told(&topology),
        [
            "10.65.0.0/26 blackhole",
            "10.65.0.5/32 via 192.168.77.12 from 192.168.77.11",
            "10.65.0.64/26 via 192.168.77.12 from 192.168.77.11",
            "10.65.0.130/32 via 192.168.77.12 from 192.168.77.11",
            "10.65.1.1/32 via 192.168.77.12 from 192.168.77.11",
            "unreached 1",
        ]
    );
}

#[test]
fn what_has_to_be_wrapped_is_not_sent_as_it_is() {
    let topology = mk_topology(vec![
        block("10.66.0.0/26", Some("b"), &[]),
        block("10.67.0.0/26", Some("b"), &[]),
        block("10.67.0.64/26", Some("far"), &[]),
    ]);
    assert_eq!(told(&topology), ["10.67.0.0/26 via 192.168.77.12 from 192.168.77.11", "unreached 2"]);
}

#[test]
fn routes_follow_nodes_pools_and_blocks() {
    let mut topology = mk_topology(vec![block("10.65.0.64/26", Some("b"), &[])]);
    assert!(topology.on_event(&node("b", "192.168.77.99/24", "")));
    assert_eq!(told(&topology), ["10.65.0.64/26 via 192.168.77.99 from 192.168.77.11"]);
    let unreadable = Event::Unreadable {
        key: ResourceKey::cluster(Kind::Node, "b"),
        json: None,
        error: "no JSON".to_owned(),
    };
    assert!(!topology.on_event(&unreadable), "what was true stays true");
    assert!(topology.on_event(&Event::Delete(ResourceKey::cluster(Kind::Node, "b"))));
    assert_eq!(told(&topology), ["unreached 1"]);
    assert!(topology.on_event(&node("b", "192.168.77.12/24", "")));
    assert!(!topology.put_block(block("10.65.0.64/26", Some("b"), &[])), "a pod came: no news");
    assert!(topology.put_block(block("10.65.0.64/26", Some("a"), &[])));
    assert_eq!(told(&topology), ["10.65.0.64/26 blackhole"]);
    assert!(topology.remove_block(&"10.65.0.64/26".parse().expect("a block")));
    assert!(topology.on_event(&Event::Delete(ResourceKey::cluster(Kind::IPPool, "plain"))));
    assert_eq!(told(&topology), [""; 0]);
    // The address as some write it: without a subnet it has no neighbours.
    assert!(topology.on_event(&node("a", "192.168.77.11", "")));
    assert_eq!(topology.own(Family::V4), Some("192.168.77.11/32".parse().expect("one")));
    assert_eq!(topology.own(Family::V6), None);
}

#[test]
fn vxlan_leads_to_all_or_to_those_that_are_no_neighbours_as_the_pool_says() {
    let mut topology = mk_topology(vec![
        block("10.70.0.0/26", Some("a"), &[]),
        block("10.70.0.64/26", Some("b"), &[("10.70.0.70", "far")]),
        block("10.71.0.64/26", Some("b"), &[]),
        block("10.71.0.128/26", Some("far"), &[]),
        block("fd70::40/122", Some("b"), &[]),
    ]);
    topology.on_event(&pool("always", "10.70.0.0/16", "Always", "Never"));
    topology.on_event(&pool("sometimes", "10.71.0.0/16", "CrossSubnet", "Never"));
    topology.on_event(&pool("always6", "fd70::/64", "Always", "Never"));
    let net = |text: &str| text.parse::<IpNet>().expect("one");
    assert_eq!(topology.tunnel_pools(Family::V4), [net("10.70.0.0/16"), net("10.71.0.0/16")]);
    assert_eq!(topology.tunnel_pools(Family::V6), [net("fd70::/64")]);
    // No node has a device's address yet.
    assert_eq!(
        told(&topology),
        ["10.70.0.0/26 blackhole", "10.71.0.64/26 via 192.168.77.12 from 192.168.77.11", "unreached 4"]
    );
    assert!(topology.network().tunnels.is_empty());
    for (name, address, v4, v6) in [
        ("a", 11, "10.70.0.1", "fd70::1"),
        ("b", 12, "10.70.0.65", "fd70::41"),
        ("far", 112, "10.71.0.129", ""),
    ] {
        topology.on_event(&event(
            Kind::Node,
            name,
            json!({
                "bgp": {"ipv4Address": format!("192.168.77.{address}/27"), "ipv6Address": format!("fd77::{address}/64")},
                "ipv4VXLANTunnelAddr": v4, "ipv6VXLANTunnelAddr": v6,
                "vxlanTunnelMACAddr": if name == "far" { "66:00:00:00:00:01" } else { "" },
            }),
        ));
    }
    assert_eq!(
        told(&topology),
        [
            "10.70.0.0/26 blackhole",
            "10.70.0.64/26 in vxlan to 10.70.0.65",
            "10.70.0.70/32 in vxlan to 10.71.0.129",
            "10.71.0.64/26 via 192.168.77.12 from 192.168.77.11",
            "10.71.0.128/26 in vxlan to 10.71.0.129",
            "fd70::40/122 in vxlan to fd70::41",
        ]
    );
    let tunnels = topology.network().tunnels;
    let (v4, v6) = (&tunnels[&Family::V4], &tunnels[&Family::V6]);
    assert_eq!((v4.own.to_string(), v4.address.to_string()), ("192.168.77.11".into(), "10.70.0.1".into()));
    let peers: Vec<String> =
        v4.peers.iter().map(|(address, peer)| format!("{address} {:02x?} {}", peer.mac, peer.host)).collect();
    // printf b | sha1sum
    assert_eq!(
        peers,
        [
            "10.70.0.65 [66, e9, d7, 1f, 5e, e7] 192.168.77.12",
            "10.71.0.129 [66, 00, 00, 00, 00, 01] 192.168.77.112",
        ]
    );
    assert_eq!(v6.peers.len(), 1);
    assert_ne!(v6.mac, v4.mac, "the two devices of a node are two");
}
