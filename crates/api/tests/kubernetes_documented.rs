//! What the documentation of Kubernetes' policies promises, sentence by sentence in our own
//! words, asked of the converted policy by a small judge of rules that knows nothing of how
//! the conversion works.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tortie_api::kubernetes::{
    ConversionError, KubernetesClusterNetworkPolicy, KubernetesNetworkPolicy, RuleFault,
};
use tortie_api::policy::{Direction, EntityRule, NetworkPolicySpec, Rule};
use tortie_api::selector::Selector;
use tortie_api::value::{Port, Protocol};

/// Someone who sends or receives: an address, and a pod if there are labels.
struct Peer {
    address: &'static str,
    namespace: &'static str,
    labels: BTreeMap<String, &'static str>,
}

fn pod(namespace: &'static str, labels: &[(&str, &'static str)]) -> Peer {
    let mut all: BTreeMap<String, &str> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
    all.insert("projectcalico.org/orchestrator".to_owned(), "k8s");
    all.insert("projectcalico.org/namespace".to_owned(), namespace);
    all.insert("pcns.kubernetes.io/metadata.name".to_owned(), namespace);
    Peer { address: "10.65.0.7", namespace, labels: all }
}

fn outside(address: &'static str) -> Peer {
    Peer { address, namespace: "", labels: BTreeMap::new() }
}

fn side_matches(side: &EntityRule, peer: &Peer, own_namespace: &str) -> bool {
    let within = |net: &String| {
        let net: ipnet::IpNet = net.parse().unwrap();
        net.contains(&peer.address.parse::<std::net::IpAddr>().unwrap())
    };
    let same_family = |net: &String| net.contains(':') == peer.address.contains(':');
    if !side.nets.is_empty() && !side.nets.iter().any(within) {
        return false;
    }
    if side.not_nets.iter().any(within) || side.not_nets.iter().any(|net| !same_family(net)) {
        return false;
    }
    let selects = !side.selector.is_empty() || !side.namespace_selector.is_empty();
    if selects && peer.labels.is_empty() {
        return false;
    }
    let namespace_matches = match side.namespace_selector.as_str() {
        "" => !selects || peer.namespace == own_namespace,
        text => Selector::parse(text).unwrap().in_rule_namespaces().matches(&peer.labels),
    };
    namespace_matches && Selector::parse(&side.selector).unwrap().matches(&peer.labels)
}

fn rule_matches(rule: &Rule, peer: &Peer, direction: Direction, protocol: &str, port: u16) -> bool {
    let side = match direction {
        Direction::Ingress => &rule.source,
        Direction::Egress => &rule.destination,
    };
    let wanted = rule.protocol.as_ref().is_none_or(|wanted| *wanted == Protocol::Name(protocol.into()));
    let ports = &rule.destination.ports;
    let port_matches = ports.is_empty()
        || ports.iter().any(|wanted| match wanted {
            Port::Range(first, last) => (*first..=*last).contains(&port),
            Port::Named(name) => &**name == "http" && protocol == "TCP" && port == 8080,
        });
    wanted && port_matches && side_matches(side, peer, "shop")
}

fn convert(spec: Value) -> NetworkPolicySpec {
    let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
    let policy: KubernetesNetworkPolicy = serde_json::from_value(policy).unwrap();
    let conversion = policy.convert().unwrap();
    assert_eq!(conversion.error(), None);
    conversion.spec
}

/// Whether a pod that the policy selects may receive that; TCP to port 80.
fn receives(spec: &NetworkPolicySpec, from: &Peer) -> bool {
    allows(spec, from, Direction::Ingress, "TCP", 80)
}

fn allows(spec: &NetworkPolicySpec, peer: &Peer, direction: Direction, protocol: &str, port: u16) -> bool {
    if !spec.types.iter().any(|name| name == direction.name()) {
        return true;
    }
    let rules = match direction {
        Direction::Ingress => &spec.ingress,
        Direction::Egress => &spec.egress,
    };
    rules.iter().any(|rule| {
        assert_eq!(rule.action, "Allow", "a NetworkPolicy only ever allows");
        rule_matches(rule, peer, direction, protocol, port)
    })
}

fn applies_to(spec: &NetworkPolicySpec, peer: &Peer) -> bool {
    peer.namespace == "shop" && Selector::parse(&spec.selector).unwrap().matches(&peer.labels)
}

#[test]
fn an_empty_pod_selector_selects_every_pod_of_the_namespace() {
    // podSelector: if it is empty, the policy is for all pods of its namespace.
    let spec = convert(json!({"podSelector": {}}));
    assert!(applies_to(&spec, &pod("shop", &[("app", "web")])));
    assert!(applies_to(&spec, &pod("shop", &[])));
    assert!(!applies_to(&spec, &pod("bank", &[])));
    // It never speaks of what is no pod, a host's own interface for one.
    assert!(!applies_to(&spec, &Peer { namespace: "shop", ..outside("10.0.0.1") }));
}

#[test]
fn labels_and_expressions_must_all_hold() {
    // matchLabels and matchExpressions: their requirements are joined by "and".
    let spec = convert(json!({"podSelector": {
        "matchLabels": {"app": "web", "tier": "front"},
        "matchExpressions": [
            {"key": "env", "operator": "In", "values": ["prod", "staging"]},
            {"key": "zone", "operator": "NotIn", "values": ["us"]},
            {"key": "team", "operator": "Exists"},
            {"key": "legacy", "operator": "DoesNotExist"},
        ],
    }}));
    let good = [("app", "web"), ("tier", "front"), ("env", "prod"), ("team", "")];
    assert!(applies_to(&spec, &pod("shop", &good)));
    for (key, value) in [("app", "api"), ("tier", "back"), ("env", "dev"), ("zone", "us"), ("legacy", "")] {
        let mut labels: Vec<_> = good.iter().copied().filter(|(good, _)| *good != key).collect();
        labels.push((key, value));
        assert!(!applies_to(&spec, &pod("shop", &labels)), "{key}");
    }
    for key in ["app", "env", "team"] {
        let labels: Vec<_> = good.iter().copied().filter(|(good, _)| *good != key).collect();
        assert!(!applies_to(&spec, &pod("shop", &labels)), "{key} missing");
    }
}

#[test]
fn policy_types_say_which_direction_is_closed() {
    // policyTypes: a direction that isn't listed isn't restricted by this policy. Default deny
    // is a policy that lists a direction and has no rules for it.
    let deny_all = convert(json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let peer = pod("shop", &[]);
    assert!(!allows(&deny_all, &peer, Direction::Ingress, "TCP", 80));
    assert!(!allows(&deny_all, &peer, Direction::Egress, "TCP", 80));
    let deny_egress = convert(json!({"podSelector": {}, "policyTypes": ["Egress"]}));
    assert!(allows(&deny_egress, &peer, Direction::Ingress, "TCP", 80));
    assert!(!allows(&deny_egress, &peer, Direction::Egress, "TCP", 80));
    // The order in which they are listed means nothing.
    let turned = convert(json!({"podSelector": {}, "policyTypes": ["Egress", "Ingress"]}));
    assert_eq!(turned, deny_all);
    // The API server fills the field in; without it only ingress is closed, as in Calico.
    let unsaid = convert(json!({"podSelector": {}, "egress": [{}]}));
    assert_eq!(unsaid.types, ["Ingress"]);
}

#[test]
fn a_rule_without_peers_or_ports_allows_all_of_them() {
    // from: if it is empty or missing, the rule matches all sources; ports: if it is empty or
    // missing, the rule matches all traffic, not restricted by port.
    for rule in [json!({}), json!({"from": [], "ports": []}), json!({"from": null, "ports": null})] {
        let spec = convert(json!({"podSelector": {}, "ingress": [rule]}));
        for peer in [pod("shop", &[]), pod("bank", &[]), outside("192.0.2.9"), outside("2001:db8::1")] {
            assert!(allows(&spec, &peer, Direction::Ingress, "SCTP", 1), "{}", peer.address);
            assert!(allows(&spec, &peer, Direction::Ingress, "ICMP", 0), "{}", peer.address);
        }
    }
}

#[test]
fn one_entry_with_two_selectors_means_both_and_two_entries_mean_either() {
    // The documentation warns of the hyphen: one element of `from` with namespaceSelector and
    // podSelector is pods in those namespaces, two elements are either of them.
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "bank"}});
    let pods = json!({"matchLabels": {"app": "web"}});
    let both = convert(json!({"podSelector": {}, "ingress": [
        {"from": [{"namespaceSelector": namespace, "podSelector": pods}]},
    ]}));
    let either = convert(json!({"podSelector": {}, "ingress": [
        {"from": [{"namespaceSelector": namespace}, {"podSelector": pods}]},
    ]}));
    for (peer, in_both, in_either) in [
        (pod("bank", &[("app", "web")]), true, true),
        (pod("bank", &[("app", "api")]), false, true),
        (pod("shop", &[("app", "web")]), false, true),
        (pod("shop", &[("app", "api")]), false, false),
        (pod("ops", &[("app", "web")]), false, false),
        (outside("10.65.0.7"), false, false),
    ] {
        assert_eq!(receives(&both, &peer), in_both, "{} {:?}", peer.namespace, peer.labels);
        assert_eq!(receives(&either, &peer), in_either, "{} {:?}", peer.namespace, peer.labels);
    }
}

#[test]
fn a_pod_selector_alone_stays_in_its_namespace_and_an_empty_namespace_selector_means_all() {
    // podSelector without namespaceSelector selects pods of the policy's namespace;
    // namespaceSelector, present but empty, selects all namespaces.
    let own = convert(json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}));
    let all = convert(json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}]}));
    for (peer, in_own, in_all) in [
        (pod("shop", &[]), true, true),
        (pod("bank", &[]), false, true),
        // Addresses that belong to no pod are in no namespace.
        (outside("10.65.0.7"), false, false),
    ] {
        assert_eq!(receives(&own, &peer), in_own, "{}", peer.namespace);
        assert_eq!(receives(&all, &peer), in_all, "{}", peer.namespace);
    }
}

#[test]
fn an_ip_block_is_its_network_without_its_exceptions() {
    // ipBlock: cidr is a range that is allowed, except a list of ranges inside of it that aren't.
    let spec = convert(json!({"podSelector": {}, "ingress": [{"from": [
        {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.64/26", "192.0.2.200/32"]}},
        {"ipBlock": {"cidr": "2001:db8::/32"}},
    ]}]}));
    for (address, allowed) in [
        ("192.0.2.1", true),
        ("192.0.2.64", false),
        ("192.0.2.127", false),
        ("192.0.2.128", true),
        ("192.0.2.200", false),
        ("198.51.100.1", false),
        ("2001:db8:1::1", true),
        ("2001:db9::1", false),
    ] {
        assert_eq!(receives(&spec, &outside(address)), allowed, "{address}");
    }
    // The bits of a host in a network mean nothing.
    let spec = convert(json!({"podSelector": {}, "ingress": [{"from": [
        {"ipBlock": {"cidr": "192.0.2.77/24", "except": ["192.0.2.99/26"]}},
    ]}]}));
    assert_eq!(spec.ingress[0].source.nets, ["192.0.2.0/24"]);
    assert_eq!(spec.ingress[0].source.not_nets, ["192.0.2.64/26"]);
}

#[test]
fn ports_are_numbers_rows_or_names_of_a_protocol_that_is_tcp_unless_said() {
    // port: a number or the name of a pod's port; protocol: TCP, UDP or SCTP, TCP if missing;
    // endPort: the policy is for the ports from port to endPort, both included.
    let spec = convert(json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [
        {"port": 53, "protocol": "UDP"},
        {"port": 32000, "endPort": 32768},
        {"port": "http"},
        {"protocol": "SCTP"},
    ]}]}));
    let peer = outside("192.0.2.1");
    for (protocol, port, allowed) in [
        ("UDP", 53, true),
        ("TCP", 53, false),
        ("UDP", 54, false),
        ("TCP", 31999, false),
        ("TCP", 32000, true),
        ("TCP", 32768, true),
        ("TCP", 32769, false),
        ("UDP", 32000, false),
        ("TCP", 8080, true),
        // A port that is not named matches every port of its protocol.
        ("SCTP", 1, true),
        ("SCTP", 65535, true),
        ("ICMP", 0, false),
    ] {
        assert_eq!(allows(&spec, &peer, Direction::Egress, protocol, port), allowed, "{protocol} {port}");
    }
}

#[test]
fn a_rule_needs_both_a_peer_and_a_port_to_match_and_rules_add_up() {
    // A rule allows what matches both its from and its ports; what any rule allows is allowed.
    let spec = convert(json!({"podSelector": {}, "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 80}]},
        {"from": [{"podSelector": {"matchLabels": {"app": "api"}}}], "ports": [{"port": 81}]},
    ]}));
    for (app, port, allowed) in [("web", 80, true), ("web", 81, false), ("api", 80, false), ("api", 81, true)]
    {
        let peer = pod("shop", &[("app", app)]);
        assert_eq!(allows(&spec, &peer, Direction::Ingress, "TCP", port), allowed, "{app} {port}");
    }
}

#[test]
fn ports_that_touch_become_one_range_and_all_ports_of_a_protocol_swallow_the_rest() {
    let ports = |ports: Value| {
        let spec = convert(json!({"podSelector": {}, "ingress": [{"ports": ports}]}));
        let rules = spec.ingress.iter().map(|rule| {
            let ports: Vec<String> = rule.destination.ports.iter().map(ToString::to_string).collect();
            let protocol = rule.protocol.as_ref().map_or("any".to_owned(), ToString::to_string);
            format!("{protocol} {}", ports.join(","))
        });
        rules.collect::<Vec<String>>()
    };
    assert_eq!(ports(json!([{"port": 82}, {"port": 80}, {"port": 81}, {"port": 90}])), ["TCP 80:82,90"]);
    assert_eq!(ports(json!([{"port": 80, "endPort": 90}, {"port": 85, "endPort": 99}])), ["TCP 80:99"]);
    assert_eq!(ports(json!([{"port": 80}, {"port": "http"}])), ["TCP 80,http"]);
    assert_eq!(ports(json!([{"port": 80}, {"port": 80}, {"port": "http"}])), ["TCP http,80"]);
    assert_eq!(
        ports(json!([{"port": 80}, {}, {"port": 90}, {"port": 1, "protocol": "UDP"}])),
        ["TCP ", "UDP 1"]
    );
    assert_eq!(ports(json!([{"port": 65535}, {"port": 0, "endPort": 65534}])), ["TCP 0:65535"]);
    assert_eq!(ports(json!([{"port": "443"}])), ["TCP 443"]);
}

fn faults(spec: Value) -> (NetworkPolicySpec, Vec<RuleFault>, String) {
    let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
    let policy: KubernetesNetworkPolicy = serde_json::from_value(policy).unwrap();
    let conversion = policy.convert().unwrap();
    let error = conversion.error().unwrap();
    (conversion.spec, conversion.faults, error)
}

#[test]
fn a_rule_that_cannot_be_read_allows_nothing_and_is_named_with_its_reason() {
    for (rule, reason) in [
        (json!({"ports": [{"port": 70000}]}), "invalid port 70000"),
        (json!({"ports": [{"port": 90, "endPort": 80}]}), "is greater than maximum port number (80)"),
        (json!({"ports": [{"port": "http", "endPort": 80}]}), "invalid name for named port (http:80)"),
        (json!({"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}), "invalid CIDR address: 10.0.0.0"),
        (json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["x"]}}]}), "invalid CIDR address: x"),
        (json!({"from": [{"podSelector": {"matchLabels": {"a b": "c"}}}]}), "invalid label name \"a b\""),
        (
            json!({"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]}),
            "invalid operator \"Near\"",
        ),
        (
            json!({"from": [{"podSelector": {"matchLabels": {"a": "b' || has(\"c\") || d == 'e"}}}]}),
            "invalid label value",
        ),
    ] {
        let (spec, faults, error) =
            faults(json!({"podSelector": {}, "ingress": [{"ports": [{"port": 1}]}, rule]}));
        assert_eq!(spec.ingress.len(), 1, "{rule}");
        assert_eq!((faults.len(), faults[0].index, faults[0].direction), (1, 1, Direction::Ingress));
        assert!(error.starts_with("policy: p: error with rule ingress[1] (k8s rule couldn't be"), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    let bad = json!({"ports": [{"port": 70000}]});
    let (_, faults, error) = faults(json!({"podSelector": {}, "ingress": [bad], "egress": [bad]}));
    assert_eq!(faults.len(), 2);
    assert!(error.starts_with("policy: p: error with the following rules:\n-  ingress[0] ("), "{error}");
}

#[test]
fn a_value_with_a_quote_is_a_value_and_no_operator() {
    let spec = convert(json!({"podSelector": {"matchLabels": {"a": "b' || all() || c == 'd"}}}));
    assert!(!applies_to(&spec, &pod("shop", &[("a", "b")])));
    assert!(applies_to(&spec, &pod("shop", &[("a", "b' || all() || c == 'd")])));
}

fn cluster(spec: Value) -> KubernetesClusterNetworkPolicy {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

#[test]
fn a_cluster_policy_speaks_only_of_directions_that_it_has_rules_for() {
    // Policies without ingress rules do not affect ingress traffic; so for egress.
    let subject = json!({"namespaces": {}});
    for (rules, types) in [
        (json!({}), &[][..]),
        (json!({"ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}), &["Ingress"]),
        (json!({"egress": [{"action": "Deny", "to": [{"namespaces": {}}]}]}), &["Egress"]),
    ] {
        let mut spec = json!({"tier": "Admin", "priority": 3, "subject": subject});
        spec.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
        let spec = cluster(spec).convert().unwrap().spec;
        assert_eq!(spec.types, types);
        assert_eq!((spec.tier.as_str(), spec.order), ("kube-admin", Some(3.0)));
    }
}

#[test]
fn a_cluster_rule_of_a_newer_api_fails_closed() {
    // A peer with no field set was written for a newer version: an Accept then matches nothing,
    // a Deny or a Pass becomes a Deny of everything.
    for (action, in_place) in
        [("Accept", None), ("Deny", Some("Deny")), ("Pass", Some("Deny")), ("Drop", None)]
    {
        for (peer, reason) in [
            (json!({"newer": {}}), "none of supported fields in 'To' is set."),
            (json!({"nodes": {}}), "none of supported fields in 'To' is set."),
            (json!({"domainNames": ["example.com."]}), "none of supported fields in 'To' is set."),
            (json!({"networks": ["10.0.0.1"]}), "invalid CIDR address: 10.0.0.1"),
        ] {
            let policy = cluster(json!({
                "tier": "Baseline", "priority": 1, "subject": {"pods": {}},
                "egress": [{"name": "n", "action": action, "to": [{"namespaces": {}}, peer]}],
            }));
            let conversion = policy.convert().unwrap();
            let rules = &conversion.spec.egress;
            match in_place {
                None => assert!(rules.is_empty(), "{action}: {rules:?}"),
                Some(action) => {
                    let everything = Rule { action: action.to_owned(), ..Rule::default() };
                    assert_eq!(*rules, [everything]);
                }
            }
            let error = conversion.error().unwrap();
            let expected =
                if action == "Drop" { "unsupported cluster network policy action Drop" } else { reason };
            assert!(error.contains("egress[0]") && error.contains(expected), "{error}");
        }
    }
}

#[test]
fn a_cluster_policy_whose_subject_or_tier_cannot_be_told_is_an_error() {
    let policy = cluster(json!({"tier": "Admin", "subject": {}}));
    assert!(matches!(policy.convert(), Err(ConversionError::Subject { .. })));
    let policy = cluster(json!({"tier": "Middle", "subject": {"namespaces": {}}}));
    let Err(error) = policy.convert() else { panic!("converted") };
    assert_eq!(
        error.to_string(),
        "KubernetesClusterNetworkPolicy(p): spec.tier is \"Middle\", expected Admin or Baseline"
    );
    let policy = cluster(json!({"tier": "Admin", "subject": {"namespaces": {"matchLabels": {"": "x"}}}}));
    assert!(matches!(policy.convert(), Err(ConversionError::Selector { .. })));
}

#[test]
fn a_misspelled_condition_is_refused_in_a_policy_and_in_a_staged_one() {
    for head in [
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy",
        "apiVersion: projectcalico.org/v3\nkind: StagedKubernetesNetworkPolicy",
    ] {
        let text = |list: &str| {
            format!(
                "{head}\nmetadata: {{name: p, namespace: shop}}\nspec:\n  podSelector: {{}}\n  ingress:\n  \
                 - {list}: [{{podSelector: {{matchLabels: {{app: web}}}}}}]\n"
            )
        };
        let right = tortie_api::decode::decode(&text("from")).into_objects().unwrap();
        assert_eq!(
            right[0].json["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]["app"],
            "web"
        );
        let faults = tortie_api::decode::decode(&text("form")).into_objects().unwrap_err();
        let [fault] = faults.as_slice() else { panic!("{faults:?}") };
        assert_eq!((fault.field.as_str(), fault.line, fault.column), ("spec.ingress[0].form", 7, 5));
    }
}
