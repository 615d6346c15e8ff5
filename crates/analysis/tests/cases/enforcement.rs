//! What can't be understood or enforced: one Deny in its place, for its types.

use serde_json::{Value, json};
use tortie_analysis::{Enforcement, Outcome, Unreadable, judge};
use tortie_api::kind::{Kind, ResourceKey};

use crate::support::{World, flow, on_db, side};

const TO_DB: &str = "shop/web -> shop/db tcp/1";

fn ingress(world: &World, enforcement: &Enforcement, text: &str) -> String {
    let cluster = world.enforced(enforcement);
    side(judge(&cluster, &flow(&cluster, text)).ingress.as_ref())
}

/// A rule that can't be understood makes its policy one Deny, and the fault says field and value.
#[test]
fn a_policy_that_cannot_be_understood_denies_in_its_place() {
    let bad =
        |rule: Value| json!({"order": 5, "selector": "app == 'db'", "ingress": [{"action": "Allow"}, rule]});
    for (rule, field) in [
        (json!({"action": "Perhaps"}), "spec.ingress[1].action"),
        (json!({"action": "Allow", "ipVersion": 5}), "spec.ingress[1].ipVersion"),
        (json!({"action": "Allow", "protocol": "quic"}), "spec.ingress[1].protocol"),
        (json!({"action": "Allow", "notProtocol": "quic"}), "spec.ingress[1].notProtocol"),
        (json!({"action": "Allow", "icmp": {"type": 300}}), "spec.ingress[1].icmp.type"),
        (json!({"action": "Allow", "notICMP": {"code": -1}}), "spec.ingress[1].notICMP.code"),
        (json!({"action": "Allow", "icmp": {"code": 1}}), "spec.ingress[1].icmp.code"),
        (json!({"action": "Allow", "source": {"nets": ["10.0.0.0/33"]}}), "spec.ingress[1].source.nets"),
        (
            json!({"action": "Allow", "destination": {"notNets": ["x"]}}),
            "spec.ingress[1].destination.notNets",
        ),
        (json!({"action": "Allow", "source": {"selector": "a =="}}), "spec.ingress[1].source.selector"),
        (json!({"action": "Allow", "source": {"notSelector": "("}}), "spec.ingress[1].source.notSelector"),
        (
            json!({"action": "Allow", "source": {"namespaceSelector": "("}}),
            "spec.ingress[1].source.namespaceSelector",
        ),
        (
            json!({"action": "Allow", "source": {"serviceAccounts": {"selector": "("}}}),
            "spec.ingress[1].source.serviceAccounts.selector",
        ),
    ] {
        let world = World::new()
            .policy("shop/first", json!({"order": 1, "selector": "app == 'db'", "ingress": [{"action": "Allow", "protocol": "UDP"}]}))
            .policy("shop/bad", bad(rule.clone()))
            .policy("shop/last", json!({"order": 9, "selector": "app == 'db'", "ingress": [{"action": "Allow"}]}));
        assert_eq!(world.ingress(TO_DB), "deny shop/bad#0", "{rule}");
        assert_eq!(world.ingress("shop/web -> shop/db udp/1"), "allow shop/first#0", "{rule}");
        assert_eq!(world.ingress("shop/web -> shop/cache tcp/1"), "allow kns.shop#0", "{rule}");
        assert_eq!(world.egress("shop/db -> shop/web tcp/1"), "allow kns.shop#0", "{rule}");
        let cluster = world.cluster();
        let [fault] = cluster.faults() else { unreachable!("{rule}") };
        assert!(fault.to_string().starts_with(&format!("NetworkPolicy(shop/bad): {field}")), "{fault}");
    }
}

/// A policy whose selector can't be read applies to its namespace, one without namespace to all workloads and no host.
#[test]
fn a_selector_that_cannot_be_read_selects_widely() {
    let host = |world: World| {
        world.add(Kind::HostEndpoint, "h", "", json!({"node": "n", "interfaceName": "e", "expectedIPs": ["172.16.0.1"], "profiles": ["projectcalico-default-allow"]}))
    };
    let world =
        World::new().policy("shop/bad", json!({"selector": "a ==", "ingress": [{"action": "Allow"}]}));
    assert_eq!(world.ingress("8.8.8.8 -> shop/cache tcp/1"), "deny shop/bad#0");
    assert_eq!(world.ingress("8.8.8.8 -> bank/teller tcp/1"), "allow kns.bank#0");
    let world = host(World::new())
        .global("bad", json!({"namespaceSelector": "a ==", "ingress": [{"action": "Allow"}]}));
    assert_eq!(world.ingress("8.8.8.8 -> bank/teller tcp/1"), "deny bad#0");
    assert_eq!(world.ingress("8.8.8.8 -> host:n tcp/1"), "allow projectcalico-default-allow#0");
}

/// A policy that the dataplane can't enforce is a Deny in its place, for its types and its endpoints.
#[test]
fn a_policy_that_cannot_be_enforced_denies_in_its_place() {
    let world = World::new()
        .policy("shop/p", on_db(json!({"action": "Allow"})))
        .policy("shop/z", on_db(json!({"action": "Allow"})));
    let denied = [ResourceKey::namespaced(Kind::NetworkPolicy, "shop", "p")].into();
    let enforcement = Enforcement { denied, ..Enforcement::default() };
    assert_eq!(ingress(&world, &enforcement, TO_DB), "deny shop/p#0");
    assert_eq!(ingress(&world, &enforcement, "shop/db -> shop/web tcp/1"), "allow kns.shop#0");
    assert_eq!(ingress(&world, &Enforcement::default(), TO_DB), "allow shop/p#0");
}

/// A stored policy that can't be decoded denies what its selector, or else its scope, says, where its order says.
#[test]
fn a_policy_that_cannot_be_decoded_denies() {
    let key = |name| ResourceKey::namespaced(Kind::NetworkPolicy, "shop", name);
    let allow = |order: f64| json!({"order": order, "ingress": [{"action": "Allow"}]});
    let world = World::new().policy("shop/five", allow(5.0));
    let with = |json: Option<Value>| Enforcement {
        unreadable: vec![Unreadable { key: key("bad"), json }],
        ..Enforcement::default()
    };
    let spec = |spec: Value| Some(json!({"spec": spec}));
    for (json, to_db, to_cache) in [
        (None, "deny shop/bad#0", "deny shop/bad#0"),
        (
            spec(json!({"order": 4, "selector": "app == 'db'", "ingress": 7})),
            "deny shop/bad#0",
            "allow shop/five#0",
        ),
        (spec(json!({"order": 6, "ingress": 7})), "allow shop/five#0", "allow shop/five#0"),
        (spec(json!({"order": "x"})), "deny shop/bad#0", "deny shop/bad#0"),
        (spec(json!({"ingress": 7})), "allow shop/five#0", "allow shop/five#0"),
        (spec(json!({"order": 1, "types": ["Egress"]})), "allow shop/five#0", "allow shop/five#0"),
    ] {
        let enforcement = with(json.clone());
        assert_eq!(ingress(&world, &enforcement, "8.8.8.8 -> shop/db tcp/1"), to_db, "{json:?}");
        assert_eq!(ingress(&world, &enforcement, "8.8.8.8 -> shop/cache tcp/1"), to_cache, "{json:?}");
        assert_eq!(
            ingress(&world, &enforcement, "8.8.8.8 -> bank/teller tcp/1"),
            "allow kns.bank#0",
            "{json:?}"
        );
    }
}

/// Where the dataplane leaves hosts untouched, host endpoints are as if they weren't there.
#[test]
fn hosts_can_be_left_out() {
    let world = World::new().add(
        Kind::HostEndpoint,
        "h",
        "",
        json!({"node": "n", "interfaceName": "e", "expectedIPs": ["172.16.0.1"]}),
    );
    assert_eq!(
        ingress(&world, &Enforcement::default(), "8.8.8.8 -> 172.16.0.1 tcp/1"),
        "deny __PROFILE__#-1"
    );
    let without = Enforcement { without_hosts: true, ..Enforcement::default() };
    assert_eq!(ingress(&world, &without, "8.8.8.8 -> 172.16.0.1 tcp/1"), "none");
}

/// A profile with a rule that can't be understood is one Deny.
#[test]
fn a_profile_that_cannot_be_understood_denies() {
    let world = World::new().pod("shop/x", "10.0.0.50", "", json!({"profiles": ["bad", "kns.shop"]})).add(
        Kind::Profile,
        "bad",
        "",
        json!({"ingress": [{"action": "Allow", "source": {"nets": ["x"]}}]}),
    );
    assert_eq!(world.ingress("8.8.8.8 -> shop/x tcp/1"), "deny bad#0");
}

/// Types that can't be read are both; types that aren't given follow from the rules, also of what can't be decoded.
#[test]
fn types_that_cannot_be_read_are_both() {
    let world =
        World::new().policy("shop/p", json!({"types": ["Sideways"], "ingress": [{"action": "Allow"}]}));
    assert_eq!(world.ingress(TO_DB), "deny shop/p#0");
    assert_eq!(world.egress(TO_DB), "deny shop/p#0");
    let sides = |spec: Value| {
        let key = ResourceKey::namespaced(Kind::NetworkPolicy, "shop", "p");
        let unreadable = vec![Unreadable { key, json: Some(json!({"spec": spec})) }];
        let cluster = World::new().enforced(&Enforcement { unreadable, ..Enforcement::default() });
        let answer = judge(&cluster, &flow(&cluster, TO_DB));
        [answer.ingress, answer.egress].map(|side| side.is_some_and(|side| side.outcome == Outcome::Deny))
    };
    for (spec, expected) in [
        (json!({"types": ["Egress"]}), [false, true]),
        (json!({"types": ["Sideways"]}), [true, true]),
        (json!({"types": 7}), [true, true]),
        (json!({}), [true, false]),
        (json!({"ingress": [{}]}), [true, false]),
        (json!({"egress": [{}]}), [false, true]),
        (json!({"egress": 7, "ingress": []}), [false, true]),
        (json!({"egress": [{}], "ingress": [{}]}), [true, true]),
    ] {
        assert_eq!(sides(spec.clone()), expected, "{spec}");
    }
}

/// An endpoint or a network set with an address that can't be read is not there, and that is a fault.
#[test]
fn what_has_no_readable_address_is_not_there() {
    let world = World::new()
        .pod("shop/x", "10.0.0.50 10.0.0.300", "", json!({}))
        .add(Kind::GlobalNetworkSet, "s", "", json!({"nets": ["192.0.2.0/24", "192.0.2.0/33"]}))
        .add(Kind::HostEndpoint, "h", "", json!({"node": "n", "expectedIPs": ["172.16.0"]}));
    let cluster = world.cluster();
    assert_eq!(cluster.endpoints().count(), World::new().cluster().endpoints().count());
    let faults: Vec<String> = cluster.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "HostEndpoint(h): spec.expectedIPs: \"172.16.0\": expected an address or a CIDR",
            "WorkloadEndpoint(shop/node1-k8s-x-eth0): spec.ipNetworks: \"10.0.0.300\": expected an address or a CIDR",
            "GlobalNetworkSet(s): spec.nets: \"192.0.2.0/33\": expected an address or a CIDR",
        ]
    );
}
