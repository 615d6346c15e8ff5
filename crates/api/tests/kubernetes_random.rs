//! Random policies of Kubernetes, most of them nonsense: the conversion never panics, and what
//! it makes can be read.
#![expect(clippy::unwrap_used, reason = "tests")]

use fastrand::Rng;
use serde_json::{Map, Value, json};
use tortie_api::kubernetes::{KubernetesClusterNetworkPolicy, KubernetesNetworkPolicy};
use tortie_api::policy::{EntityRule, Rule};
use tortie_api::selector::Selector;

/// Makes a value of some kind.
type Maker = fn(&mut Rng) -> Value;

/// A text for any place: sometimes right, sometimes not.
fn mk_text(rng: &mut Rng) -> &'static str {
    const TEXTS: [&str; 24] = [
        "",
        "a",
        "app",
        "web",
        "example.com/team",
        "it's",
        "say \"hi\"",
        "both ' and \"",
        "a b",
        "ü",
        "In",
        "NotIn",
        "Exists",
        "Allow",
        "Accept",
        "Deny",
        "Pass",
        "TCP",
        "udp",
        "10.0.0.0/8",
        "::/0",
        "10.0.0.0/33",
        "80:90",
        "all()",
    ];
    rng.choice(TEXTS).unwrap()
}

fn mk_list(rng: &mut Rng, most: usize, item: Maker) -> Value {
    (0..rng.usize(0..=most)).map(|_| item(rng)).collect()
}

/// Of all fields each is there or not, and now and then null.
fn mk_object(rng: &mut Rng, fields: &[(&str, Maker)]) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        match rng.usize(0..10) {
            0..4 => {}
            4 => drop(object.insert((*name).to_owned(), Value::Null)),
            _ => drop(object.insert((*name).to_owned(), value(rng))),
        }
    }
    Value::Object(object)
}

fn text(rng: &mut Rng) -> Value {
    json!(mk_text(rng))
}

fn texts(rng: &mut Rng) -> Value {
    mk_list(rng, 3, text)
}

fn number(rng: &mut Rng) -> Value {
    let number = *rng.choice(&[0, 1, 80, 81, 443, 65535, 65536, -1, i64::MAX, i64::MIN]).unwrap();
    json!(number)
}

fn number_or_text(rng: &mut Rng) -> Value {
    if rng.bool() { number(rng) } else { text(rng) }
}

fn one_of(rng: &mut Rng, right: &[&'static str]) -> Value {
    if rng.usize(0..8) == 0 { text(rng) } else { json!(rng.choice(right).unwrap()) }
}

fn requirement(rng: &mut Rng) -> Value {
    let operator = |rng: &mut Rng| one_of(rng, &["In", "NotIn", "Exists", "DoesNotExist"]);
    let key = |rng: &mut Rng| one_of(rng, &["app", "tier", "example.com/team"]);
    mk_object(rng, &[("key", key), ("operator", operator), ("values", texts)])
}

fn labels(rng: &mut Rng) -> Value {
    fn map(rng: &mut Rng) -> Value {
        let keys = ["app", "tier", "a b"];
        (0..rng.usize(0..3)).map(|_| ((*rng.choice(&keys).unwrap()).to_owned(), text(rng))).collect()
    }
    mk_object(rng, &[("matchLabels", map), ("matchExpressions", |rng| mk_list(rng, 2, requirement))])
}

fn network(rng: &mut Rng) -> Value {
    one_of(rng, &["10.0.0.0/8", "192.0.2.7/24", "2001:db8::/32", "::ffff:10.0.0.1/120"])
}

fn mk_network_policy(rng: &mut Rng) -> Value {
    fn peer(rng: &mut Rng) -> Value {
        let except = |rng: &mut Rng| mk_list(rng, 2, network);
        let block: Maker = if rng.bool() { |rng| json!({"cidr": network(rng)}) } else { |_| Value::Null };
        let mut peer =
            mk_object(rng, &[("podSelector", labels), ("namespaceSelector", labels), ("ipBlock", block)]);
        if let Some(block) = peer.get_mut("ipBlock").and_then(Value::as_object_mut) {
            block.insert("except".to_owned(), except(rng));
        }
        peer
    }
    fn port(rng: &mut Rng) -> Value {
        let protocol = |rng: &mut Rng| one_of(rng, &["TCP", "UDP", "SCTP"]);
        mk_object(rng, &[("protocol", protocol), ("port", number_or_text), ("endPort", number)])
    }
    fn ports(rng: &mut Rng) -> Value {
        mk_list(rng, 3, port)
    }
    fn peers(rng: &mut Rng) -> Value {
        mk_list(rng, 3, peer)
    }
    let ingress = |rng: &mut Rng| mk_list(rng, 3, |rng| mk_object(rng, &[("from", peers), ("ports", ports)]));
    let egress = |rng: &mut Rng| mk_list(rng, 3, |rng| mk_object(rng, &[("to", peers), ("ports", ports)]));
    mk_object(
        rng,
        &[
            ("podSelector", labels),
            ("ingress", ingress),
            ("egress", egress),
            ("policyTypes", |rng| mk_list(rng, 2, |rng| one_of(rng, &["Ingress", "Egress"]))),
        ],
    )
}

fn mk_cluster_policy(rng: &mut Rng) -> Value {
    fn pods(rng: &mut Rng) -> Value {
        mk_object(rng, &[("namespaceSelector", labels), ("podSelector", labels)])
    }
    fn peer(rng: &mut Rng) -> Value {
        let networks = |rng: &mut Rng| mk_list(rng, 2, network);
        let names: [(&str, Maker); 5] = [
            ("namespaces", labels),
            ("pods", pods),
            ("networks", networks),
            ("nodes", labels),
            ("domainNames", texts),
        ];
        let two = [*rng.choice(&names).unwrap(), *rng.choice(&names).unwrap()];
        mk_object(rng, &two)
    }
    fn protocol(rng: &mut Rng) -> Value {
        let range = |rng: &mut Rng| mk_object(rng, &[("start", number), ("end", number)]);
        let port = mk_object(rng, &[("number", number), ("range", range)]);
        let name = *rng.choice(&["tcp", "udp", "sctp", "destinationNamedPort", "newer"]).unwrap();
        match name {
            "destinationNamedPort" => json!({name: mk_text(rng)}),
            name => json!({name: {"destinationPort": port}}),
        }
    }
    fn rule(rng: &mut Rng) -> Value {
        let peers = |rng: &mut Rng| mk_list(rng, 2, peer);
        let action = |rng: &mut Rng| one_of(rng, &["Accept", "Deny", "Pass"]);
        let protocols = |rng: &mut Rng| mk_list(rng, 3, protocol);
        mk_object(
            rng,
            &[("name", text), ("action", action), ("from", peers), ("to", peers), ("protocols", protocols)],
        )
    }
    let rules = |rng: &mut Rng| mk_list(rng, 3, rule);
    let subject = |rng: &mut Rng| mk_object(rng, &[("namespaces", labels), ("pods", pods)]);
    let mut spec = mk_object(
        rng,
        &[
            ("tier", |rng| one_of(rng, &["Admin", "Baseline"])),
            ("priority", number),
            ("subject", subject),
            ("ingress", rules),
            ("egress", rules),
        ],
    );
    // A policy that is refused as a whole says nothing of its rules.
    if rng.usize(0..4) > 0 {
        spec["tier"] = json!("Admin");
        spec["subject"] = json!({"namespaces": {}});
    }
    spec
}

/// All that a rule says can be read by whoever enforces it.
fn assert_readable(rules: &[Rule]) {
    for rule in rules {
        assert!(["Allow", "Deny", "Pass"].contains(&rule.action.as_str()), "{rule:?}");
        for EntityRule { nets, not_nets, selector, namespace_selector, .. } in
            [&rule.source, &rule.destination]
        {
            for net in nets.iter().chain(not_nets) {
                let read: ipnet::IpNet = net.parse().unwrap();
                assert_eq!(read, read.trunc(), "{net}");
            }
            for text in [selector, namespace_selector] {
                Selector::parse(text).unwrap_or_else(|error| unreachable!("{text}: {error}"));
            }
        }
        let again: Rule = serde_json::from_value(serde_json::to_value(rule).unwrap()).unwrap();
        assert_eq!(again, *rule);
    }
}

#[test]
fn no_network_policy_makes_the_conversion_panic_or_write_what_cannot_be_read() {
    let mut rng = Rng::with_seed(30);
    let (mut whole, mut in_part, mut refused) = (0, 0, 0);
    for _ in 0..20_000 {
        let spec = mk_network_policy(&mut rng);
        let policy = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        let policy: KubernetesNetworkPolicy = serde_json::from_value(policy).unwrap();
        let Ok(conversion) = policy.convert() else {
            refused += 1;
            continue;
        };
        let spec = &conversion.spec;
        assert_readable(&spec.ingress);
        assert_readable(&spec.egress);
        Selector::parse(&spec.selector).unwrap();
        assert!(spec.ingress.iter().chain(&spec.egress).all(|rule| rule.action == "Allow"));
        *(if conversion.faults.is_empty() { &mut whole } else { &mut in_part }) += 1;
        assert_eq!(conversion.error().is_some(), !conversion.faults.is_empty());
    }
    assert!(whole > 3_000 && in_part > 1_000 && refused > 1_000, "{whole} {in_part} {refused}");
}

#[test]
fn no_cluster_policy_makes_the_conversion_panic_or_write_what_cannot_be_read() {
    let mut rng = Rng::with_seed(31);
    let (mut whole, mut in_part, mut refused) = (0, 0, 0);
    for _ in 0..20_000 {
        let policy = json!({"metadata": {"name": "p"}, "spec": mk_cluster_policy(&mut rng)});
        let policy: KubernetesClusterNetworkPolicy = serde_json::from_value(policy).unwrap();
        let Ok(conversion) = policy.convert() else {
            refused += 1;
            continue;
        };
        let spec = &conversion.spec;
        assert_readable(&spec.ingress);
        assert_readable(&spec.egress);
        Selector::parse(&spec.selector).unwrap();
        Selector::parse(&spec.namespace_selector).unwrap();
        let named = |name: &str| spec.types.iter().any(|known| known == name);
        assert_eq!(named("Ingress"), !spec.ingress.is_empty());
        assert_eq!(named("Egress"), !spec.egress.is_empty());
        *(if conversion.faults.is_empty() { &mut whole } else { &mut in_part }) += 1;
        for fault in &conversion.faults {
            let rules = [&policy.spec.ingress.len(), &policy.spec.egress.len()];
            assert!(rules.iter().any(|count| fault.index < **count), "{fault}");
        }
    }
    assert!(whole > 1_000 && in_part > 1_000 && refused > 1_000, "{whole} {in_part} {refused}");
}
