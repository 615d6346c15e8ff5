//! Who the other side is: nets, selectors, namespaces, service accounts.

use serde_json::{Value, json};
use tortie_api::kind::Kind;

use crate::support::World;

/// A world with sets: shop/s (192.0.2.0/24), global g (198.51.100.0/24), both kind=set.
fn world() -> World {
    World::new()
        .add(Kind::NetworkSet, "shop/s", "kind=set", json!({"nets": ["192.0.2.0/24", "2001:db8::/32"]}))
        .add(Kind::GlobalNetworkSet, "g", "kind=set", json!({"nets": ["198.51.100.0/24", "203.0.113.9"]}))
}

const SENDERS: [(&str, &str); 6] = [
    ("web", "shop/web"),
    ("cache", "shop/cache"),
    ("teller", "bank/teller"),
    ("set", "192.0.2.7"),
    ("global", "198.51.100.7"),
    ("unknown", "8.8.8.8"),
];

/// Which of the senders an Allow with that source matches, in shop/db's ingress.
fn sources(world: World, source: Value) -> String {
    let matched: Vec<&str> = SENDERS
        .into_iter()
        .filter(|(_, from)| world.ingress(&format!("{from} -> shop/db tcp/1")).starts_with("allow"))
        .map(|(name, _)| name)
        .collect();
    let cluster = world.cluster();
    assert_eq!(cluster.faults(), [], "{source}");
    matched.join(" ")
}

fn namespaced(source: Value) -> String {
    let rule = json!({"selector": "app == 'db'", "ingress": [{"action": "Allow", "source": source}]});
    sources(world().policy("shop/p", rule), source)
}

fn global(source: Value) -> String {
    let rule = json!({"selector": "app == 'db'", "ingress": [{"action": "Allow", "source": source}]});
    sources(world().global("p", rule), source)
}

/// An entity without fields is anyone.
#[test]
fn nothing_said_is_anyone() {
    let all = "web cache teller set global unknown";
    assert_eq!(namespaced(json!({})), all);
    assert_eq!(global(json!({})), all);
}

/// `nets`: any of the CIDRs contains the address; a bare address is one too.
#[test]
fn nets_contain_the_address() {
    assert_eq!(namespaced(json!({"nets": ["10.0.0.0/24"]})), "web cache");
    assert_eq!(namespaced(json!({"nets": ["10.0.0.1", "8.0.0.0/7"]})), "web unknown");
    assert_eq!(namespaced(json!({"nets": ["0.0.0.0/0"]})), "web cache teller set global unknown");
    assert_eq!(namespaced(json!({"nets": ["10.0.0.77/24"]})), "web cache");
}

/// `notNets`: none of the CIDRs contains the address.
#[test]
fn not_nets_do_not_contain_the_address() {
    assert_eq!(namespaced(json!({"notNets": ["10.0.0.0/24", "8.8.8.8/32"]})), "teller set global");
    assert_eq!(namespaced(json!({"nets": ["10.0.0.0/8"], "notNets": ["10.0.0.0/24"]})), "teller");
}

/// Nets of one family alone, even in `notNets`, keep the rule from the other family.
#[test]
fn nets_of_one_family_keep_the_rule_to_it() {
    let allowed = |rule: Value, flow: &str| {
        let world = World::new().policy("shop/p", json!({"selector": "app == 'db'", "ingress": [rule]}));
        world.ingress(flow) == "allow shop/p#0"
    };
    let not_v4 = json!({"action": "Allow", "source": {"notNets": ["9.9.9.9/32"]}});
    assert!(allowed(not_v4.clone(), "shop/web -> shop/db tcp/1 v4"));
    assert!(!allowed(not_v4, "shop/web -> shop/db tcp/1 v6"));
    let to_v6 = json!({"action": "Allow", "destination": {"notNets": ["2001:db8::/32"]}});
    assert!(allowed(to_v6.clone(), "shop/web -> shop/db tcp/1 v6"));
    assert!(!allowed(to_v6, "shop/web -> shop/db tcp/1 v4"));
    let both =
        json!({"action": "Allow", "source": {"notNets": ["9.9.9.9/32"]}, "destination": {"nets": ["::/0"]}});
    assert!(!allowed(both.clone(), "shop/web -> shop/db tcp/1 v6"));
    assert!(!allowed(both, "shop/web -> shop/db tcp/1 v4"));
}

/// `selector` in a NetworkPolicy: endpoints and network sets of the own namespace.
#[test]
fn a_selector_in_a_namespaced_policy_stays_in_the_namespace() {
    assert_eq!(namespaced(json!({"selector": "app == 'web'"})), "web");
    assert_eq!(namespaced(json!({"selector": "kind == 'set'"})), "set");
    assert_eq!(namespaced(json!({"selector": "all()"})), "web cache set");
}

/// `selector` in a GlobalNetworkPolicy: endpoints and network sets of all namespaces and of none.
#[test]
fn a_selector_in_a_global_policy_selects_everywhere() {
    assert_eq!(global(json!({"selector": "app == 'web'"})), "web teller");
    assert_eq!(global(json!({"selector": "kind == 'set'"})), "set global");
    assert_eq!(global(json!({"selector": "all()"})), "web cache teller set global");
}

/// `!=`, `not in` and `!has` match what doesn't have the label; `==` and `in` don't.
#[test]
fn a_label_that_is_not_there() {
    assert_eq!(global(json!({"selector": "app != 'web'"})), "cache set global");
    assert_eq!(global(json!({"selector": "app not in {'web', 'x'}"})), "cache set global");
    assert_eq!(global(json!({"selector": "!has(app)"})), "set global");
    assert_eq!(global(json!({"selector": "gone == ''"})), "");
    assert_eq!(global(json!({"selector": "app in {}"})), "");
    assert_eq!(global(json!({"selector": "app contains ''"})), "web cache teller");
}

/// `notSelector`: who isn't selected. In a GlobalNetworkPolicy unknown addresses too; in a NetworkPolicy it ties the
/// peer to the namespace, so that others and unknown addresses don't match.
#[test]
fn not_selector_alone() {
    assert_eq!(global(json!({"notSelector": "app == 'web'"})), "cache set global unknown");
    assert_eq!(namespaced(json!({"notSelector": "app == 'web'"})), "cache set");
    assert_eq!(global(json!({"selector": "has(app)", "notSelector": "app == 'web'"})), "cache");
}

/// `namespaceSelector`: endpoints and sets in namespaces with such labels, and by itself all of those.
#[test]
fn namespace_selector_selects_by_the_namespaces_labels() {
    assert_eq!(namespaced(json!({"namespaceSelector": "env == 'dev'"})), "teller");
    assert_eq!(namespaced(json!({"namespaceSelector": "env == 'prod'"})), "web cache set");
    assert_eq!(global(json!({"namespaceSelector": "env == 'prod'", "selector": "app == 'web'"})), "web");
    assert_eq!(global(json!({"namespaceSelector": "projectcalico.org/name == 'bank'"})), "teller");
}

/// `namespaceSelector: all()` is whatever has a namespace, `global()` what has none, in larger expressions too.
#[test]
fn all_and_global_namespaces() {
    assert_eq!(namespaced(json!({"namespaceSelector": "all()"})), "web cache teller set");
    assert_eq!(namespaced(json!({"namespaceSelector": "global()"})), "global");
    assert_eq!(namespaced(json!({"namespaceSelector": "env == 'dev' || global()"})), "teller global");
    assert_eq!(namespaced(json!({"namespaceSelector": "all() && env != 'dev'"})), "web cache set");
    assert_eq!(global(json!({"namespaceSelector": "global()", "selector": "kind == 'set'"})), "global");
}

/// A negative test of a namespace's labels matches what has no namespace.
#[test]
fn a_namespace_label_that_is_not_there() {
    assert_eq!(global(json!({"namespaceSelector": "env != 'dev'"})), "web cache set global");
}

/// A host endpoint has no namespace; its `expectedIPs` are its addresses in selectors.
#[test]
fn a_host_endpoint_is_a_peer_without_namespace() {
    let world = |source: Value| {
        world()
            .add(
                Kind::HostEndpoint,
                "h",
                "kind=host",
                json!({"node": "node1", "interfaceName": "eth0", "expectedIPs": ["172.16.0.1"]}),
            )
            .policy(
                "shop/p",
                json!({"selector": "app == 'db'", "ingress": [{"action": "Allow", "source": source}]}),
            )
    };
    let from_host = "172.16.0.1 -> shop/db tcp/1";
    assert_eq!(world(json!({"namespaceSelector": "global()"})).ingress(from_host), "allow shop/p#0");
    assert_eq!(world(json!({"selector": "kind == 'host'"})).ingress(from_host), "deny shop/p#-1");
}

/// A network set has the labels of its namespace.
#[test]
fn a_set_is_in_its_namespace() {
    assert_eq!(global(json!({"selector": "kind == 'set' && pcns.env == 'prod'"})), "set");
    assert_eq!(namespaced(json!({"selector": "kind == 'set'", "namespaceSelector": "env == 'prod'"})), "set");
}

/// `serviceAccounts.names`: endpoints with one of these accounts, in a GlobalNetworkPolicy of any namespace.
#[test]
fn service_accounts_by_name() {
    assert_eq!(namespaced(json!({"serviceAccounts": {"names": ["web"]}})), "web");
    assert_eq!(namespaced(json!({"serviceAccounts": {"names": ["default", "web"]}})), "web cache");
    assert_eq!(global(json!({"serviceAccounts": {"names": ["default"]}})), "cache teller");
}

/// `serviceAccounts.selector`: endpoints whose account has such labels; names and selector must both hold.
#[test]
fn service_accounts_by_labels() {
    assert_eq!(namespaced(json!({"serviceAccounts": {"selector": "trust == 'high'"}})), "web");
    assert_eq!(global(json!({"serviceAccounts": {"selector": "has(trust)"}})), "web teller");
    assert_eq!(
        global(json!({"serviceAccounts": {"names": ["default"], "selector": "has(trust)"}})),
        "teller"
    );
    assert_eq!(
        global(json!({"selector": "app == 'web'", "serviceAccounts": {"selector": "trust == 'low'"}})),
        "teller"
    );
}

/// Nets and selector must both hold.
#[test]
fn nets_and_selector_must_both_hold() {
    assert_eq!(global(json!({"nets": ["10.0.0.0/24"], "selector": "app == 'web'"})), "web");
}

/// The same fields of the destination, seen from the sender.
#[test]
fn a_destination_is_chosen_like_a_source() {
    let world = world().policy(
        "shop/p",
        json!({"egress": [{"action": "Allow", "destination": {"selector": "kind == 'set'", "namespaceSelector": "global()"}}]}),
    );
    assert_eq!(world.egress("shop/web -> 198.51.100.1 tcp/1"), "allow shop/p#0");
    assert_eq!(world.egress("shop/web -> 203.0.113.9 tcp/1"), "allow shop/p#0");
    assert_eq!(world.egress("shop/web -> 192.0.2.1 tcp/1"), "deny shop/p#-1");
}

/// An ingress rule that names the destination speaks of the endpoint itself.
#[test]
fn an_ingress_rule_can_name_its_own_side() {
    let world = World::new().policy(
        "shop/p",
        json!({"ingress": [{"action": "Allow", "destination": {"selector": "app == 'db'", "nets": ["10.0.0.2/32"]}}]}),
    );
    assert_eq!(world.ingress("8.8.8.8 -> shop/db tcp/1"), "allow shop/p#0");
    assert_eq!(world.ingress("8.8.8.8 -> shop/web tcp/1"), "deny shop/p#-1");
}

/// Network sets and endpoints are selected alike; an address in several has the memberships of all.
#[test]
fn an_address_belongs_to_all_that_contain_it() {
    let world = World::new()
        .add(Kind::GlobalNetworkSet, "wide", "size=wide", json!({"nets": ["10.0.0.0/8"]}))
        .add(Kind::GlobalNetworkSet, "narrow", "size=narrow", json!({"nets": ["10.0.0.0/24"]}));
    for (selector, expected) in [
        ("size == 'wide'", true),
        ("size == 'narrow'", true),
        ("app == 'web'", true),
        ("size == 'other'", false),
    ] {
        let world = World(world.0.clone()).global(
            "p",
            json!({"selector": "app == 'db'", "ingress": [{"action": "Allow", "source": {"selector": selector}}]}),
        );
        assert_eq!(world.ingress("shop/web -> shop/db tcp/1") == "allow p#0", expected, "{selector}");
    }
}

/// A policy's `selector`: the endpoints that it applies to, in its namespace; without one, all of them.
#[test]
fn a_namespaced_policy_applies_in_its_namespace() {
    let world = World::new().policy("shop/p", json!({}));
    assert_eq!(world.ingress("8.8.8.8 -> shop/cache tcp/1"), "deny shop/p#-1");
    assert_eq!(world.ingress("8.8.8.8 -> bank/teller tcp/1"), "allow kns.bank#0");
    let world = World::new().policy("shop/p", json!({"selector": "app == 'web'"}));
    assert_eq!(world.ingress("8.8.8.8 -> shop/web tcp/1"), "deny shop/p#-1");
    assert_eq!(world.ingress("8.8.8.8 -> bank/teller tcp/1"), "allow kns.bank#0");
}

/// A GlobalNetworkPolicy's `namespaceSelector` and both kinds' `serviceAccountSelector` choose by inherited labels.
#[test]
fn a_policy_can_choose_namespaces_and_accounts() {
    let denied = |world: &World| {
        let receivers = ["shop/web", "shop/db", "bank/teller"];
        let denied = receivers
            .into_iter()
            .filter(|to| world.ingress(&format!("8.8.8.8 -> {to} tcp/1")).starts_with("deny"));
        denied.collect::<Vec<_>>().join(" ")
    };
    for (spec, expected) in [
        (json!({"namespaceSelector": "env == 'dev'"}), "bank/teller"),
        (json!({"namespaceSelector": "env == 'prod'", "selector": "app == 'web'"}), "shop/web"),
        (json!({"serviceAccountSelector": "trust == 'low'"}), "bank/teller"),
        (json!({"serviceAccountSelector": "all()"}), "shop/web shop/db bank/teller"),
        (json!({"namespaceSelector": "all()"}), "shop/web shop/db bank/teller"),
    ] {
        assert_eq!(denied(&World::new().global("p", spec.clone())), expected, "{spec}");
    }
    let world = World::new().policy("shop/p", json!({"serviceAccountSelector": "trust == 'high'"}));
    assert_eq!(denied(&world), "shop/web");
}
