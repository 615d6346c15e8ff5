//! What policy means, case by case: each is easily got wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Node, Packet, mk_account, mk_global, mk_namespace, mk_pod, mk_policy, mk_set, mk_tier};
use serde_json::{Value, json};
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::Direction::{self, Egress, Ingress};
use tortie_api::resource::Resource;
use tortie_dataplane::policy::{Member, Update};

const WEB: &str = "10.0.0.1";
const DB: &str = "10.0.0.2";
const BANK: &str = "10.0.0.3";
const OUTSIDE: &str = "192.0.2.7";
const LISTED: &str = "198.51.100.9";

/// Namespaces shop (web, db) and bank, and a global network set.
fn cluster() -> Vec<Event> {
    vec![
        mk_namespace("shop", json!({"team": "red"})),
        mk_namespace("bank", json!({"team": "blue"})),
        mk_account("shop", "default", json!({"role": "till"})),
        mk_pod("shop", "web", "10.0.0.1/32", json!({"app": "web"})),
        mk_pod("shop", "db", "10.0.0.2/32", json!({"app": "db"})),
        mk_pod("bank", "safe", "10.0.0.3/32", json!({"app": "web"})),
        mk_set("", "partners", json!({"app": "partner"}), json!(["198.51.100.0/24"])),
    ]
}

fn judged(
    events: impl IntoIterator<Item = Event>,
    endpoint: &str,
    way: Direction,
    packet: &Packet,
) -> String {
    let mut node = Node::new("n1");
    node.apply(cluster().into_iter().chain(events));
    node.judge(endpoint, way, packet).short()
}

/// Who of web, bank, a listed and an unknown address may reach db by a policy of shop with this source.
fn reach(namespace: &str, source: Value) -> Vec<bool> {
    let spec = json!({"selector": "app == 'db'", "ingress": [{"action": "Allow", "source": source}]});
    let policy = if namespace.is_empty() { mk_global("p", spec) } else { mk_policy(namespace, "p", spec) };
    [WEB, BANK, LISTED, OUTSIDE]
        .map(|from| {
            judged([policy.clone()], "shop/db", Ingress, &Packet::tcp(from, DB, 80)).starts_with("Allow")
        })
        .into()
}

#[test]
fn policies_of_equal_order_go_by_the_text_of_name_namespace_and_kind() {
    let policy = |name, action| mk_policy("shop", name, json!({"order": 5, "ingress": [{"action": action}]}));
    let packet = Packet::tcp(WEB, DB, 80);
    let found = judged([policy("a", "Deny"), policy("a-b", "Allow")], "shop/db", Ingress, &packet);
    assert_eq!(found, "Allow NetworkPolicy(shop/a-b) 0");
}

#[test]
fn a_missing_order_goes_last_and_a_tier_without_one_after_the_default_tier() {
    let packet = Packet::tcp(WEB, DB, 80);
    let last = mk_policy("shop", "a", json!({"ingress": [{"action": "Deny"}]}));
    let first = mk_policy("shop", "z", json!({"order": 1e15, "ingress": [{"action": "Allow"}]}));
    assert_eq!(judged([last, first], "shop/db", Ingress, &packet), "Allow NetworkPolicy(shop/z) 0");
    let late = mk_policy("shop", "a", json!({"tier": "late", "ingress": [{"action": "Allow"}]}));
    let events = [mk_tier("late", json!({})), late, mk_policy("shop", "b", json!({"ingress": []}))];
    assert_eq!(judged(events, "shop/db", Ingress, &packet), "Deny NetworkPolicy(shop/b) -1");
}

#[test]
fn a_tier_counts_for_the_directions_that_its_policies_are_for() {
    let out_only = mk_policy("shop", "out", json!({"egress": [{"action": "Allow"}]}));
    let packet = Packet::tcp(WEB, DB, 80);
    assert_eq!(judged([out_only.clone()], "shop/db", Ingress, &packet), "Allow Profile(kns.shop) 0");
    assert_eq!(judged([out_only], "shop/web", Egress, &packet), "Allow NetworkPolicy(shop/out) 0");
    let none = mk_policy("shop", "none", json!({}));
    assert_eq!(judged([none.clone()], "shop/db", Ingress, &packet), "Deny NetworkPolicy(shop/none) -1");
    assert_eq!(judged([none], "shop/web", Egress, &packet), "Allow Profile(kns.shop) 0");
}

#[test]
fn pass_and_the_end_of_a_passing_tier_lead_on_to_the_profiles() {
    let packet = Packet::tcp(WEB, DB, 80);
    let pass = mk_policy("shop", "p", json!({"ingress": [{"action": "Pass"}]}));
    assert_eq!(judged([pass], "shop/db", Ingress, &packet), "Allow Profile(kns.shop) 0");
    let tier = mk_tier("soft", json!({"order": 1, "defaultAction": "Pass"}));
    let soft = mk_policy("shop", "p", json!({"tier": "soft", "ingress": []}));
    assert_eq!(judged([tier, soft], "shop/db", Ingress, &packet), "Allow Profile(kns.shop) 0");
}

#[test]
fn a_missing_profile_denies_by_rule_0_even_before_one_that_allows() {
    let mut node = Node::new("n1");
    node.apply(cluster());
    let namespace = ResourceKey::cluster(Kind::Namespace, "shop");
    node.apply([Event::Delete(namespace)]);
    let verdict = node.judge("shop/db", Ingress, &Packet::tcp(WEB, DB, 80));
    assert_eq!(verdict.short(), "Deny Profile(kns.shop) 0");
}

#[test]
fn a_namespaced_peer_is_of_its_namespace_as_soon_as_anything_selects_it() {
    assert_eq!(reach("shop", json!({})), [true, true, true, true]);
    assert_eq!(reach("shop", json!({"selector": "app == 'web'"})), [true, false, false, false]);
    assert_eq!(reach("shop", json!({"notSelector": "app == 'none'"})), [true, false, false, false]);
    assert_eq!(
        reach("shop", json!({"serviceAccounts": {"names": ["default"]}})),
        [true, false, false, false]
    );
    assert_eq!(
        reach("shop", json!({"selector": "all()", "namespaceSelector": "all()"})),
        [true, true, false, false]
    );
    assert_eq!(reach("shop", json!({"namespaceSelector": "global()"})), [false, false, true, false]);
    assert_eq!(reach("shop", json!({"namespaceSelector": "team == 'blue'"})), [false, true, false, false]);
}

#[test]
fn a_global_peer_may_be_anyone_and_not_selector_matches_unknown_addresses() {
    assert_eq!(reach("", json!({"selector": "all()"})), [true, true, true, false]);
    assert_eq!(reach("", json!({"notSelector": "app == 'web'"})), [false, false, true, true]);
    assert_eq!(reach("", json!({"serviceAccounts": {"names": ["default"]}})), [true, true, false, false]);
    assert_eq!(
        reach("", json!({"serviceAccounts": {"selector": "role == 'till'"}})),
        [true, false, false, false]
    );
    assert_eq!(reach("", json!({"selector": "app != 'web'"})), [false, false, true, false]);
}

#[test]
fn an_endpoints_own_labels_cannot_speak_for_its_namespace_or_its_service_account() {
    let spoof = mk_pod(
        "bank",
        "safe",
        "10.0.0.3/32",
        json!({"pcns.team": "red", "projectcalico.org/namespace": "shop"}),
    );
    let spec = json!({"selector": "app == 'db'", "ingress": [
        {"action": "Allow", "source": {"namespaceSelector": "team == 'red'"}},
        {"action": "Allow", "source": {"selector": "projectcalico.org/namespace == 'shop'"}},
    ]});
    let found = judged([spoof, mk_global("p", spec)], "shop/db", Ingress, &Packet::tcp(BANK, DB, 80));
    assert_eq!(found, "Deny GlobalNetworkPolicy(p) -1");
}

#[test]
fn own_labels_go_before_a_profiles_and_the_first_profile_that_has_a_label_wins() {
    let profile = |name: &str, value: &str| {
        let spec = json!({"labelsToApply": {"app": value, "zone": value}});
        common::mk(Kind::Profile, "", name, json!({}), spec)
    };
    let spec = json!({
        "node": "n2", "ipNetworks": ["10.0.0.9/32"], "profiles": ["one", "two"], "orchestrator": "k8s",
    });
    let pod = common::mk(Kind::WorkloadEndpoint, "shop", "p", json!({"app": "own"}), spec);
    let policy = |selector: &str| {
        mk_global(
            "p",
            json!({"selector": "app == 'db'", "ingress": [{"action": "Allow", "source": {"selector": selector}}]}),
        )
    };
    for (selector, matches) in [
        ("app == 'own'", true),
        ("app == 'first'", false),
        ("zone == 'first'", true),
        ("zone == 'second'", false),
    ] {
        let events = [profile("two", "second"), profile("one", "first"), pod.clone(), policy(selector)];
        let found = judged(events, "shop/db", Ingress, &Packet::tcp("10.0.0.9", DB, 80));
        assert_eq!(found.starts_with("Allow"), matches, "{selector}: {found}");
    }
}

#[test]
fn nets_of_one_family_and_icmp_by_name_keep_the_rule_to_that_family() {
    let rule = |rule: Value| mk_policy("shop", "p", json!({"egress": [rule]}));
    let v6 = Packet::icmp("fd00::1", "fd00::9", 58, 128, 0);
    let v4 = Packet::icmp(WEB, OUTSIDE, 1, 8, 0);
    for (what, packet, matches) in [
        (json!({"action": "Allow", "destination": {"notNets": ["9.9.9.9/32"]}}), v6, false),
        (json!({"action": "Allow", "destination": {"notNets": ["9.9.9.9/32"]}}), v4, true),
        (json!({"action": "Allow", "protocol": "ICMPv6"}), v6, true),
        (json!({"action": "Allow", "notProtocol": "ICMP"}), v6, true),
        (json!({"action": "Allow", "protocol": "ICMP", "icmp": {"type": 8}}), v4, true),
        (json!({"action": "Allow", "protocol": "ICMP", "notICMP": {"type": 8, "code": 0}}), v4, false),
        (json!({"action": "Allow", "protocol": "ICMP", "notICMP": {"type": 8, "code": 1}}), v4, true),
    ] {
        let found = judged([rule(what.clone())], "shop/web", Egress, &packet);
        assert_eq!(found.starts_with("Allow"), matches, "{what}: {found}");
    }
}

#[test]
fn named_ports_are_the_ports_of_those_that_the_selector_picks() {
    let destination = |destination: Value| {
        mk_global(
            "p",
            json!({"egress": [{"action": "Allow", "protocol": "TCP", "destination": destination}]}),
        )
    };
    for (what, to, port, matches) in [
        (json!({"ports": ["http"]}), DB, 8080, true),
        (json!({"ports": ["http"]}), DB, 80, false),
        (json!({"ports": ["http", 80]}), DB, 80, true),
        (json!({"ports": ["http"], "selector": "app == 'db'"}), BANK, 8080, false),
        (json!({"ports": ["http", 80], "selector": "app == 'db'"}), BANK, 80, false),
        (json!({"notPorts": ["http"], "selector": "app == 'db'"}), DB, 8080, false),
        (json!({"notPorts": ["http"], "selector": "app == 'db'"}), DB, 81, true),
    ] {
        let found = judged([destination(what.clone())], "shop/web", Egress, &Packet::tcp(WEB, to, port));
        assert_eq!(found.starts_with("Allow"), matches, "{what} {to} {port}: {found}");
    }
}

/// As ClusterNetworkPolicy asks for it.
#[test]
fn a_port_by_its_name_alone_is_one_of_tcp_and_a_number_alone_denies() {
    let rules = |ports: Value| {
        mk_global(
            "p",
            json!({"egress": [{"action": "Allow", "destination": {"ports": ports}}, {"action": "Pass"}]}),
        )
    };
    let found = |ports, packet: &Packet| judged([rules(ports)], "shop/web", Egress, packet);
    assert!(found(json!(["http"]), &Packet::tcp(WEB, DB, 8080)).starts_with("Allow"));
    let other = Packet { protocol: 17, ..Packet::tcp(WEB, DB, 8080) };
    for packet in [other, Packet::tcp(WEB, DB, 80)] {
        assert_eq!(found(json!(["http"]), &packet), found(json!(["unheard-of"]), &packet));
    }
    assert!(found(json!(["http", 80]), &Packet::tcp(WEB, DB, 8080)).starts_with("Deny"));
}

#[test]
fn an_address_with_two_owners_is_in_the_sets_of_both_and_in_those_around_it() {
    let mut node = Node::new("n1");
    let rule = |source: Value| json!({"action": "Allow", "source": source});
    let spec = json!({"ingress": [
        rule(json!({"selector": "app == 'web'"})), rule(json!({"selector": "app == 'partner'"})), rule(json!({"nets": ["10.0.0.0/8"]})),
    ]});
    node.apply(
        cluster().into_iter().chain([
            mk_global("p", spec),
            mk_set("", "same", json!({"app": "partner"}), json!(["10.0.0.1"])),
        ]),
    );
    assert_eq!(node.graph.memberships(WEB.parse().unwrap()).len(), 3);
    assert_eq!(node.graph.memberships(DB.parse().unwrap()).len(), 1, "db is within the net");
    let updates = node.apply([Event::Delete(ResourceKey::cluster(Kind::GlobalNetworkSet, "same"))]);
    let [Update::Address { members, .. }] = updates.as_slice() else { unreachable!("{updates:?}") };
    assert!(members.len() == 2 && members.iter().all(|member| matches!(member, Member::Of(_))));
}

fn mk_slice(name: &str, service: &str, address: &str, ports: &Value) -> Event {
    let metadata =
        json!({"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service}});
    let object = json!({"metadata": metadata, "addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": ports});
    Event::Upsert(Resource::from_json(Kind::EndpointSlice, object.to_string().as_bytes()).unwrap())
}

#[test]
fn a_service_is_met_at_the_addresses_and_ports_of_its_slices() {
    let to = json!({"action": "Allow", "destination": {"services": {"name": "db"}}});
    let from = json!({"action": "Allow", "source": {"services": {"name": "db", "namespace": "shop"}}});
    let spec = json!({"selector": "app == 'web'", "types": ["Ingress", "Egress"], "egress": [to], "ingress": [from]});
    let mut node = Node::new("n1");
    node.apply(cluster().into_iter().chain([mk_policy("shop", "p", spec)]));
    let allowed = |node: &Node, from: &str, to: &str, port: u16| {
        let way = if from == WEB { Egress } else { Ingress };
        node.judge("shop/web", way, &Packet::tcp(from, to, port)).short().starts_with("Allow")
    };
    assert!(!allowed(&node, WEB, DB, 5432), "a service that isn't there is nobody");
    let ports = json!([{"port": 5432}, {"port": 5432, "protocol": "UDP"}, {"name": "any"}]);
    node.apply([mk_slice("db-1", "db", DB, &ports), mk_slice("other", "other", OUTSIDE, &ports)]);
    assert!(allowed(&node, WEB, DB, 5432));
    assert!(!allowed(&node, WEB, DB, 80), "another port");
    assert!(!allowed(&node, WEB, OUTSIDE, 5432), "another service");
    assert!(allowed(&node, DB, WEB, 80), "a source has no port");
    node.apply([mk_slice("db-2", "db", OUTSIDE, &json!([{"port": 80, "protocol": "TCP"}]))]);
    assert!(
        allowed(&node, WEB, OUTSIDE, 80)
            && !allowed(&node, WEB, OUTSIDE, 5432)
            && allowed(&node, WEB, DB, 5432)
    );
    node.apply([mk_slice("db-1", "other", DB, &ports)]);
    assert!(!allowed(&node, WEB, DB, 5432), "its slice is another's now");
    node.apply([Event::Delete(ResourceKey::namespaced(Kind::EndpointSlice, "shop", "db-2"))]);
    assert!(!allowed(&node, WEB, OUTSIDE, 80));
    assert!(node.graph.memberships(OUTSIDE.parse().unwrap()).is_empty());
}

#[test]
fn what_is_not_enforced_yet_or_unreadable_denies_in_its_place_for_its_types() {
    for rule in [
        json!({"action": "Allow", "protocol": "TCP", "destination": {"services": {"name": "web"}, "ports": [80]}}),
        json!({"action": "Allow", "protocol": "TCP", "source": {"ports": [53]}}),
        json!({"action": "Allow", "http": {"methods": ["GET"]}}),
        json!({"action": "Allow", "source": {"selector": "app =="}}),
    ] {
        let policy = mk_policy("shop", "p", json!({"selector": "app == 'db'", "ingress": [rule.clone()]}));
        let mut node = Node::new("n1");
        node.apply(cluster().into_iter().chain([policy]));
        let (to_db, to_web) = (Packet::tcp(WEB, DB, 80), Packet::tcp(DB, WEB, 80));
        let verdict = node.judge("shop/db", Ingress, &to_db);
        assert_eq!(
            (verdict.short().as_str(), verdict.enforced),
            ("Deny NetworkPolicy(shop/p) 0", false),
            "{rule}"
        );
        assert_eq!(node.judge("shop/web", Ingress, &to_web).short(), "Allow Profile(kns.shop) 0");
        assert_eq!(node.judge("shop/db", Egress, &to_web).short(), "Allow Profile(kns.shop) 0");
        assert_eq!(node.graph.problems().count(), 1, "{rule}");
    }
}

#[test]
fn an_unreadable_policy_denies_what_it_selects_as_far_as_that_can_be_read() {
    let unreadable = |spec: Value| Event::Unreadable {
        key: ResourceKey::namespaced(Kind::NetworkPolicy, "shop", "p"),
        json: Some(json!({"spec": spec})),
        error: "spec.ingress[0].action: found 7".into(),
    };
    let to = |name: &str, spec: Value| {
        let (from, to) = if name == "shop/db" { (WEB, DB) } else { (DB, WEB) };
        judged([unreadable(spec)], name, Ingress, &Packet::tcp(from, to, 80)).starts_with("Deny")
    };
    let by_label = json!({"selector": "app == 'db'", "types": ["Ingress"]});
    assert_eq!((to("shop/db", by_label.clone()), to("shop/web", by_label)), (true, false));
    let illegible = json!({"selector": "app ==", "types": ["Ingress"]});
    assert_eq!((to("shop/db", illegible.clone()), to("shop/web", illegible)), (true, true));
    assert!(!to("shop/db", json!({"types": ["Egress"]})), "it is for egress only");
}

#[test]
fn policies_before_connection_tracking_or_translation_are_not_for_workloads() {
    for field in ["doNotTrack", "preDNAT"] {
        let policy =
            mk_global("p", json!({field: true, "applyOnForward": true, "ingress": [{"action": "Deny"}]}));
        let found = judged([policy], "shop/db", Ingress, &Packet::tcp(WEB, DB, 80));
        assert_eq!(found, "Allow Profile(kns.shop) 0");
    }
}

#[test]
fn nothing_is_told_before_all_that_existed_was_listed() {
    let mut graph = tortie_calc::Graph::new(tortie_calc::Config { node: "n1".into() });
    graph.apply_batch(&cluster().into_iter().collect::<Vec<_>>());
    let mut told = 0;
    graph.flush(&mut |_| told += 1);
    assert_eq!(told, 0);
    graph.apply(&Event::InSync);
    graph.flush(&mut |_| told += 1);
    assert_eq!(told, 3 + 4, "three endpoints; two namespaces' profiles, two service accounts'");
}

#[test]
fn an_endpoint_is_local_by_its_node_and_once_it_has_an_interface() {
    let pod = |node: &str, interface: &str| {
        let spec = json!({"node": node, "interfaceName": interface, "ipNetworks": ["10.0.0.9/32"]});
        common::mk(Kind::WorkloadEndpoint, "shop", "p", json!({}), spec)
    };
    let mut node = Node::new("n1");
    for (event, endpoints) in
        [(pod("n2", "cali9"), 0), (pod("n1", ""), 0), (pod("n1", "cali9"), 1), (pod("n2", "cali9"), 0)]
    {
        node.apply([event]);
        assert_eq!(node.view.endpoints.len(), endpoints);
    }
}
