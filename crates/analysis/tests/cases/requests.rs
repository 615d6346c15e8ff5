//! What a program may ask, and the answer's form.

use serde_json::{Value, json};
use tortie_analysis::{Cluster, FlowError, Request, judge};
use tortie_api::kind::Kind;

use crate::support::World;

fn cluster() -> Cluster {
    World::new()
        .pod("shop/only6", "fd00::6", "", json!({}))
        .add(
            Kind::HostEndpoint,
            "b",
            "",
            json!({"node": "n", "interfaceName": "eth1", "expectedIPs": ["172.16.0.2"]}),
        )
        .add(Kind::HostEndpoint, "a", "", json!({"node": "n", "interfaceName": "eth0"}))
        .add(Kind::Node, "n", "", json!({"bgp": {"ipv4Address": "172.16.0.9/24"}}))
        .add(Kind::Node, "bare", "", json!({"addresses": [{"address": "172.16.0.8"}]}))
        .cluster()
}

fn ask(request: Value) -> Result<(String, Value), FlowError> {
    let cluster = cluster();
    let flow = Request::parse(&request.to_string())?.resolve(&cluster)?;
    let answer = serde_json::to_value(judge(&cluster, &flow)).expect("an answer is JSON");
    Ok((format!("{:?}", flow.packet), answer))
}

fn packet(request: Value) -> String {
    ask(request.clone()).map_or_else(|error| format!("{request}: {error}"), |(packet, _)| packet)
}

/// Names are those of endpoints or of pods; ports, ICMP and the family have defaults.
#[test]
fn requests_have_defaults() {
    let by_name =
        packet(json!({"from": "shop/node1-k8s-web-eth0", "to": "shop/db", "protocol": "tcp", "port": 5}));
    assert_eq!(
        by_name,
        "Packet { source: 10.0.0.1, destination: 10.0.0.2, protocol: 6, transport: Ports { source: 40000, destination: 5 } }"
    );
    let echo = packet(json!({"from": "shop/web", "to": "shop/db", "protocol": "ICMP"}));
    assert!(echo.contains("protocol: 1, transport: Icmp { icmp_type: 8, code: 0 }"), "{echo}");
    let echo6 = packet(json!({"from": "shop/web", "to": "shop/db", "protocol": 58, "ipVersion": 6}));
    assert!(echo6.contains("fd00::2, protocol: 58, transport: Icmp { icmp_type: 128, code: 0 }"), "{echo6}");
    let only6 = packet(json!({"from": "shop/web", "to": "shop/only6", "protocol": 47}));
    assert!(
        only6.contains("source: fd00::1, destination: fd00::6, protocol: 47, transport: Other"),
        "{only6}"
    );
}

/// A host is its first host endpoint by name, or one by name or interface; its addresses are those of the node too.
#[test]
fn hosts_are_found_by_name() {
    let from = |host: Value| packet(json!({"from": host, "to": "shop/db", "protocol": "udp", "port": 1}));
    assert!(from(json!({"host": "n"})).contains("source: 172.16.0.9"));
    assert!(from(json!({"host": "n", "hep": "b"})).contains("source: 172.16.0.2"));
    assert!(from(json!({"host": "n", "hep": "eth1"})).contains("source: 172.16.0.2"));
    let (_, answer) = ask(json!({"from": {"host": "bare"}, "to": "8.8.8.8", "protocol": "udp", "port": 1}))
        .expect("a flow");
    assert_eq!(answer["egress"], Value::Null);
}

/// An address that an endpoint owns is that endpoint; others are nobody.
#[test]
fn addresses_are_their_owners() {
    let (_, answer) =
        ask(json!({"from": "10.0.0.1", "to": "8.8.8.8", "protocol": "tcp", "port": 1})).expect("a flow");
    assert_eq!(
        answer["egress"],
        json!({"action": "allow", "tier": "__PROFILE__", "kind": "Profile", "policy": "kns.shop", "rule": 0})
    );
    assert_eq!(answer["ingress"], Value::Null);
    assert_eq!(answer["forward"], Value::Null);
    assert_eq!(answer["verdict"], "allow");
}

/// What can't be read says why.
#[test]
fn what_cannot_be_asked_is_an_error() {
    for (request, error) in [
        (json!({"to": "shop/db", "protocol": "tcp", "port": 1}), "missing field `from`"),
        (json!({"from": "shop/gone", "to": "shop/db", "protocol": "tcp", "port": 1}), "from: \"shop/gone\""),
        (json!({"from": "shop/web", "to": "10.0.0", "protocol": "tcp", "port": 1}), "to: \"10.0.0\""),
        (json!({"from": "shop/web", "to": "shop/db", "protocol": "quic", "port": 1}), "protocol: \"quic\""),
        (json!({"from": "shop/web", "to": "shop/db", "protocol": 256}), "256"),
        (json!({"from": "shop/web", "to": "shop/db", "protocol": "tcp"}), "port: none found"),
        (json!({"from": "shop/web", "to": "shop/db", "protocol": "tcp", "port": 65536}), "65536"),
        (json!({"from": "shop/web", "to": "shop/db", "protocol": 47, "ipVersion": 5}), "ipVersion: 5"),
        (json!({"from": "shop/cache", "to": "shop/only6", "protocol": 47}), "no address family in common"),
        (
            json!({"from": "shop/cache", "to": "shop/db", "protocol": 47, "ipVersion": 6}),
            "from: no IPv6 address",
        ),
        (
            json!({"from": {"host": "gone"}, "to": "shop/db", "protocol": 47}),
            "no host endpoint \"any\" on host \"gone\"",
        ),
        (
            json!({"from": {"host": "n", "hep": "c"}, "to": "shop/db", "protocol": 47}),
            "no host endpoint \"c\"",
        ),
        (
            json!({"from": "8.8.8.8", "to": "shop/db", "protocol": 47, "via": {"host": "bare"}}),
            "via: no host endpoint",
        ),
    ] {
        let found = ask(request.clone()).expect_err(&request.to_string()).to_string();
        assert!(found.contains(error), "{request}: {found}");
    }
}

/// The path stands beside the decision, in the same form.
#[test]
fn the_path_is_part_of_the_answer() {
    let world = World::new().policy(
        "shop/p",
        json!({"selector": "app == 'db'", "ingress": [{"action": "Log"}, {"action": "Pass"}]}),
    );
    let answer = serde_json::to_value(world.judge("shop/web -> shop/db tcp/1")).expect("JSON");
    assert_eq!(
        answer["ingress"]["path"],
        json!([
            {"action": "log", "tier": "default", "kind": "NetworkPolicy", "policy": "shop/p", "rule": 0},
            {"action": "pass", "tier": "default", "kind": "NetworkPolicy", "policy": "shop/p", "rule": 1},
        ])
    );
}
