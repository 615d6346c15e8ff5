//! The policies of Kubernetes, converted by the `api` and judged here.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use serde_json::{Value, json};
use tortie_api::kubernetes::{KubernetesClusterNetworkPolicy, KubernetesNetworkPolicy};
use tortie_api::resource::Resource;

use crate::support::World;

fn network_policy(world: World, name: &str, spec: Value) -> World {
    let (namespace, name) = name.split_once('/').unwrap();
    let json = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
    let policy: KubernetesNetworkPolicy = serde_json::from_value(json).unwrap();
    world.with(Resource::KubernetesNetworkPolicy(Arc::new(policy.convert().unwrap())))
}

fn cluster_policy(world: World, name: &str, spec: Value) -> World {
    let json = json!({"metadata": {"name": name}, "spec": spec});
    let policy: KubernetesClusterNetworkPolicy = serde_json::from_value(json).unwrap();
    world.with(Resource::KubernetesClusterNetworkPolicy(Arc::new(policy.convert().unwrap())))
}

/// A pod that no NetworkPolicy selects is not isolated; one that is selected takes only what some rule allows.
#[test]
fn selected_pods_are_isolated() {
    let world = network_policy(
        World::new(),
        "shop/p",
        json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}),
    );
    assert_eq!(world.ingress("shop/web -> shop/db tcp/1"), "allow shop/p#0");
    assert_eq!(world.ingress("shop/cache -> shop/db tcp/1"), "deny shop/p#-1");
    assert_eq!(world.ingress("bank/teller -> shop/db tcp/1"), "deny shop/p#-1");
    assert_eq!(world.ingress("8.8.8.8 -> shop/cache tcp/1"), "allow kns.shop#0");
    let kind = world.judge("shop/web -> shop/db tcp/1").ingress.map(|side| side.by.kind());
    assert_eq!(kind, Some("KubernetesNetworkPolicy"));
}

/// `policyTypes` not given: Ingress, and Egress if there are egress rules; as Calico converts it, Ingress alone.
#[test]
fn policy_types_not_given() {
    let world = network_policy(
        World::new(),
        "shop/p",
        json!({"podSelector": {}, "egress": [{"ports": [{"port": 1}]}]}),
    );
    assert_eq!(world.ingress("8.8.8.8 -> shop/db tcp/1"), "deny shop/p#-1");
    assert_eq!(world.egress("shop/db -> 8.8.8.8 tcp/2"), "allow kns.shop#0");
}

/// `namespaceSelector` selects all pods of such namespaces; with `podSelector`, those that it selects there.
#[test]
fn namespaces_and_pods_as_peers() {
    let peer = |peer: Value| {
        network_policy(World::new(), "shop/p", json!({"podSelector": {}, "ingress": [{"from": [peer]}]}))
    };
    let dev = json!({"matchLabels": {"env": "dev"}});
    assert_eq!(
        peer(json!({"namespaceSelector": dev})).ingress("bank/teller -> shop/db tcp/1"),
        "allow shop/p#0"
    );
    assert_eq!(
        peer(json!({"namespaceSelector": dev})).ingress("shop/web -> shop/db tcp/1"),
        "deny shop/p#-1"
    );
    let both = json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}});
    assert_eq!(peer(both.clone()).ingress("bank/teller -> shop/db tcp/1"), "allow shop/p#0");
    assert_eq!(peer(both.clone()).ingress("shop/cache -> shop/db tcp/1"), "deny shop/p#-1");
    assert_eq!(peer(both).ingress("8.8.8.8 -> shop/db tcp/1"), "deny shop/p#-1");
}

/// `ipBlock` with `except`; `endPort`; a port without protocol is TCP.
#[test]
fn blocks_and_port_ranges() {
    let world = network_policy(
        World::new(),
        "shop/p",
        json!({"podSelector": {}, "ingress": [{
            "from": [{"ipBlock": {"cidr": "8.0.0.0/8", "except": ["8.8.0.0/16"]}}],
            "ports": [{"port": 100, "endPort": 200}, {"port": 53, "protocol": "UDP"}],
        }]}),
    );
    for (flow, expected) in [
        ("8.9.0.1 -> shop/db tcp/100", true),
        ("8.9.0.1 -> shop/db tcp/200", true),
        ("8.9.0.1 -> shop/db tcp/201", false),
        ("8.9.0.1 -> shop/db udp/53", true),
        ("8.9.0.1 -> shop/db udp/100", false),
        ("8.8.0.1 -> shop/db tcp/100", false),
        ("9.9.0.1 -> shop/db tcp/100", false),
    ] {
        assert_eq!(world.ingress(flow).starts_with("allow"), expected, "{flow}");
    }
}

/// A NetworkPolicy stands at order 1000 of the default tier.
#[test]
fn a_network_policy_has_an_order() {
    let base = || network_policy(World::new(), "shop/k", json!({"podSelector": {}}));
    let allow = |order: f64| json!({"order": order, "ingress": [{"action": "Allow"}]});
    assert_eq!(base().policy("shop/z", allow(999.0)).ingress("8.8.8.8 -> shop/db tcp/1"), "allow shop/z#0");
    // Neither denies by itself: the first of the tier is named at its end.
    let deny = json!({"order": 1001, "ingress": [{"action": "Deny", "protocol": "UDP"}]});
    assert_eq!(base().policy("shop/a", deny).ingress("8.8.8.8 -> shop/db tcp/1"), "deny shop/k#-1");
}

/// A ClusterNetworkPolicy of tier Admin goes before NetworkPolicies, one of tier Baseline after; what neither
/// matches goes on; the lower priority value goes first.
#[test]
fn cluster_policies_surround() {
    let rule = |action: &str, port: u16| json!({"action": action, "from": [{"namespaces": {}}], "protocols": [{"tcp": {"destinationPort": {"number": port}}}]});
    let spec = |tier: &str, priority: i64, rule: Value| json!({"tier": tier, "priority": priority, "subject": {"namespaces": {}}, "ingress": [rule]});
    let world = cluster_policy(World::new(), "admin", spec("Admin", 5, rule("Deny", 1)));
    let world = cluster_policy(world, "admin-first", spec("Admin", 4, rule("Accept", 4)));
    let world = cluster_policy(world, "base", spec("Baseline", 5, rule("Deny", 2)));
    let passed = "pass admin-first#-1, ";
    assert_eq!(world.ingress("shop/web -> bank/teller tcp/1"), "deny admin#0");
    assert_eq!(world.ingress("shop/web -> bank/teller tcp/4"), "allow admin-first#0");
    assert_eq!(world.ingress("shop/web -> bank/teller tcp/2"), format!("{passed}deny base#0"));
    assert_eq!(
        world.ingress("shop/web -> bank/teller tcp/3"),
        format!("{passed}pass base#-1, allow kns.bank#0")
    );
    let world =
        network_policy(world, "bank/k", json!({"podSelector": {}, "ingress": [{"ports": [{"port": 2}]}]}));
    assert_eq!(world.ingress("shop/web -> bank/teller tcp/2"), format!("{passed}allow bank/k#0"));
}
