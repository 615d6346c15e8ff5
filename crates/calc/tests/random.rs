//! What a graph comes to after any edits is what a new graph makes of the last state.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::{Meaning, Node, mk};
use fastrand::Rng;
use serde_json::{Value, json};
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};

const NAMESPACES: [&str; 3] = ["shop", "bank", "ops"];

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    rng.choice(from).unwrap()
}

fn labels(rng: &mut Rng) -> Value {
    let mut labels = serde_json::Map::new();
    for key in ["app", "tier", "env", "pcns.team"] {
        if rng.u8(..) < 128 {
            labels.insert(key.into(), pick(rng, &["web", "db", "prod", "dev", ""]).into());
        }
    }
    labels.into()
}

fn selector(rng: &mut Rng) -> String {
    let atom = |rng: &mut Rng| {
        let key = pick(rng, &["app", "tier", "env", "inherited", "pcns.team", "projectcalico.org/namespace"]);
        let value = pick(rng, &["web", "db", "prod", "dev", "", "shop"]);
        match rng.u8(..9) {
            0 => "all()".to_owned(),
            1 => format!("has({key})"),
            2 => format!("!has({key})"),
            3 => format!("{key} != '{value}'"),
            4 => format!("{key} in {{'{value}', 'web'}}"),
            5 => format!("{key} not in {{'{value}'}}"),
            6 => format!("{key} contains '{value}'"),
            _ => format!("{key} == '{value}'"),
        }
    };
    match rng.u8(..6) {
        0 => format!("{} && {}", atom(rng), atom(rng)),
        1 => format!("({} || {}) && {}", atom(rng), atom(rng), atom(rng)),
        2 => format!("!({} || {})", atom(rng), atom(rng)),
        3 if rng.u8(..10) == 0 => "app ==".into(),
        _ => atom(rng),
    }
}

fn nets(rng: &mut Rng) -> Value {
    let all = [
        "10.0.0.0/8",
        "10.0.0.0/30",
        "10.0.0.4/31",
        "0.0.0.0/0",
        "10.0.0.3/32",
        "fd00::/64",
        "fd00::3",
        "::/0",
    ];
    (0..rng.usize(1..3)).map(|_| pick(rng, &all)).collect::<Vec<_>>().into()
}

fn side(rng: &mut Rng, is_destination: bool) -> Value {
    let mut side = serde_json::Map::new();
    let mut maybe = |rng: &mut Rng, chance: u8, key: &str, value: Value| {
        if rng.u8(..100) < chance {
            side.insert(key.into(), value);
        }
    };
    let (one, other) = (selector(rng), selector(rng));
    maybe(rng, 40, "selector", one.into());
    maybe(rng, 15, "notSelector", other.into());
    let namespaces = pick(rng, &["all()", "global()", "team == 'web'", "has(team)"]);
    maybe(rng, 15, "namespaceSelector", namespaces.into());
    let (inside, outside) = (nets(rng), nets(rng));
    maybe(rng, 20, "nets", inside);
    maybe(rng, 15, "notNets", outside);
    maybe(rng, 10, "serviceAccounts", json!({"names": ["default"]}));
    maybe(rng, 5, "serviceAccounts", json!({"selector": "role == 'web'"}));
    maybe(rng, 2, "services", json!({"name": "web"}));
    if is_destination {
        maybe(rng, 30, "ports", json!([80, "http", "1000:2000"]));
        maybe(rng, 10, "ports", json!(["http"]));
        maybe(rng, 10, "notPorts", json!(["dns", 8080]));
    } else {
        maybe(rng, 2, "ports", json!([53]));
    }
    side.into()
}

fn rules(rng: &mut Rng) -> Value {
    let rules: Vec<Value> = (0..rng.usize(..4))
        .map(|_| {
            json!({
                "action": pick(rng, &["Allow", "Allow", "Deny", "Log", "Pass"]),
                "protocol": pick(rng, &["TCP", "UDP"]),
                "source": side(rng, false),
                "destination": side(rng, true),
            })
        })
        .collect();
    rules.into()
}

fn policy_spec(rng: &mut Rng) -> Value {
    let mut spec = json!({
        "selector": selector(rng), "ingress": rules(rng), "egress": rules(rng),
        "tier": pick(rng, &["", "default", "first", "second", "third"]),
    });
    if rng.bool() {
        spec["order"] = json!(rng.u8(..4));
    }
    if rng.u8(..4) == 0 {
        spec["types"] = json!([pick(rng, &["Ingress", "Egress"])]);
    }
    if rng.u8(..6) == 0 {
        spec["serviceAccountSelector"] = json!("role == 'web'");
    }
    spec
}

/// One random object.
fn event(rng: &mut Rng) -> Event {
    let number = rng.u8(..10);
    let namespace = pick(rng, &NAMESPACES);
    let own = labels(rng);
    match rng.u8(..20) {
        0..5 => {
            let addresses =
                json!([format!("10.0.0.{}/32", rng.u8(..8)), format!("fd00::{}/128", rng.u8(..8))]);
            let count = rng.usize(..3);
            let mut profiles = vec![format!("kns.{namespace}"), format!("ksa.{namespace}.default")];
            profiles.extend((rng.u8(..3) == 0).then(|| format!("p{}", rng.u8(..3))));
            let spec = json!({
                "node": pick(rng, &["n1", "n1", "n2"]), "interfaceName": format!("cali{number}"), "orchestrator": "k8s",
                "ipNetworks": addresses.as_array().unwrap()[..count], "profiles": profiles,
                "serviceAccountName": pick(rng, &["", "default", "other"]),
                "ports": [{"name": pick(rng, &["http", "dns"]), "protocol": "TCP", "port": rng.u16(80..83)}],
            });
            mk(Kind::WorkloadEndpoint, namespace, &format!("pod-{number}"), own, spec)
        }
        5..9 => mk(Kind::NetworkPolicy, namespace, &format!("np-{number}"), json!({}), policy_spec(rng)),
        9..12 => {
            let mut spec = policy_spec(rng);
            if rng.u8(..4) == 0 {
                spec["namespaceSelector"] = pick(rng, &["team == 'web'", "all()"]).into();
            }
            if rng.u8(..20) == 0 {
                spec["doNotTrack"] = true.into();
            }
            mk(Kind::GlobalNetworkPolicy, "", &format!("gnp-{number}"), json!({}), spec)
        }
        12 => {
            let spec = json!({"order": rng.u8(..3), "defaultAction": pick(rng, &["Pass", "Deny"])});
            mk(Kind::Tier, "", pick(rng, &["first", "second", "default"]), json!({}), spec)
        }
        13 => {
            mk(Kind::NetworkSet, namespace, &format!("set-{}", number % 3), own, json!({"nets": nets(rng)}))
        }
        14 => mk(Kind::GlobalNetworkSet, "", &format!("set-{}", number % 3), own, json!({"nets": nets(rng)})),
        15 => mk(Kind::Namespace, "", namespace, json!({"team": pick(rng, &["web", "db"])}), json!({})),
        16 => mk(
            Kind::ServiceAccount,
            namespace,
            "default",
            json!({"role": pick(rng, &["web", "db"])}),
            json!({}),
        ),
        17 => {
            let spec =
                json!({"labelsToApply": {"inherited": pick(rng, &["web", "db"])}, "ingress": rules(rng)});
            mk(Kind::Profile, "", pick(rng, &["p0", "p1", "kns.shop"]), json!({}), spec)
        }
        18 => {
            let spec = json!({"node": "n1", "interfaceName": "eth0", "expectedIPs": [format!("10.0.0.{}", rng.u8(..8))]});
            mk(Kind::HostEndpoint, "", &format!("host-{}", number % 2), own, spec)
        }
        _ => {
            let key = ResourceKey::namespaced(Kind::NetworkPolicy, namespace, &format!("np-{number}"));
            let json = (rng.bool())
                .then(|| json!({"spec": {"selector": selector(rng), "order": 1, "ingress": [1]}}));
            Event::Unreadable { key, json, error: "spec.ingress: expected a rule".into() }
        }
    }
}

fn key(event: &Event) -> ResourceKey {
    match event {
        Event::Upsert(resource) => resource.key(),
        Event::Delete(key) | Event::Unreadable { key, .. } => key.clone(),
        Event::InSync => ResourceKey::cluster(Kind::Node, ""),
    }
}

fn run(seed: u64, edits: usize) {
    let mut rng = Rng::with_seed(seed);
    let mut node = Node::new("n1");
    let mut state: BTreeMap<ResourceKey, Event> = BTreeMap::new();
    for edit in 0..edits {
        for _ in 0..*rng.choice(&[1, 1, 1, 2, 5, 40]).unwrap() {
            if rng.u8(..4) == 0 && !state.is_empty() {
                let gone = state.keys().nth(rng.usize(..state.len())).unwrap().clone();
                state.remove(&gone);
                node.graph.apply(&Event::Delete(gone));
            } else {
                let event = event(&mut rng);
                node.graph.apply(&event);
                state.insert(key(&event), event);
            }
        }
        node.flush();
        assert_eq!(node.flush(), [], "seed {seed}, edit {edit}: a second flush tells nothing");
        if edit % 7 == 0 || edit + 1 == edits {
            let mut fresh = Node::new("n1");
            fresh.apply(state.values().cloned());
            let (now, anew) = (Meaning::of(&node.view), Meaning::of(&fresh.view));
            assert_eq!(now.difference(&anew), [""; 0], "seed {seed}, edit {edit}");
            let stats = (node.graph.stats(), fresh.graph.stats());
            assert_eq!(stats.0, stats.1, "seed {seed}, edit {edit}: nothing is left behind");
        }
    }
    node.apply(state.into_keys().map(Event::Delete));
    assert!(
        node.view.policies.is_empty() && node.view.endpoints.is_empty() && node.view.addresses.is_empty()
    );
    let stats = node.graph.stats();
    assert_eq!(
        (stats.items, stats.policies, stats.selectors, stats.texts, stats.sets),
        (0, 0, 0, 0, 0),
        "seed {seed}"
    );
}

#[test]
fn after_any_edits_a_graph_says_what_a_new_graph_says_of_the_last_state() {
    let runs: u64 = std::env::var("TORTIE_CALC_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(25);
    for seed in 0..runs {
        run(seed, 60);
    }
}
