//! Many isolated customers: a namespace, a policy and a pod each; a hundred pods are local.

use serde_json::{Map, json};
use tortie_api::event::Event;
use tortie_api::kind::Kind;

use super::objects::{address, labels, object};
use super::{NODE, expect, load, megabytes};
use crate::rounds::Figures;

/// A text that looks random, of so many characters.
fn text(number: u64, length: usize) -> String {
    let mut value = number.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..length)
        .map(|_| {
            let character = char::from(b"abcdef0123456789"[(value % 16) as usize]);
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            character
        })
        .collect()
}

fn profile(number: u64) -> anyhow::Result<Event> {
    let labels = json!({
        "pcns.projectcalico.org/name": format!("customer-{number}"),
        "namespace-id": text(number, 20),
        "production": if number.is_multiple_of(2) { "true" } else { "false" },
    });
    object(
        Kind::Profile,
        "",
        &format!("kns.customer-{number}"),
        Map::new(),
        &json!({"labelsToApply": labels}),
    )
}

fn policy(number: u64) -> anyhow::Result<Event> {
    let own = format!("pcns.projectcalico.org/name == 'customer-{number}'");
    let spec = json!({
        "selector": own, "types": ["Ingress", "Egress"],
        "ingress": [{"action": "Allow", "source": {"selector": own}}],
        "egress": [
            {"action": "Allow", "destination": {"selector": own}},
            {"action": "Allow", "protocol": "UDP", "destination": {"nets": ["10.96.0.10/32"], "ports": [53]}},
        ],
    });
    object(Kind::NetworkPolicy, &format!("customer-{number}"), "isolation", Map::new(), &spec)
}

fn pod(number: u64, host: &str) -> anyhow::Result<Event> {
    let one_of = |names: &[&str]| names[number as usize % names.len()].to_owned();
    let bit = |shift: u64| (number / shift % 2).to_string();
    let pairs = [
        ("pod-id", text(5 * number, 20)),
        ("instance-id", text(5 * number + 1, 20)),
        ("short-id", text(5 * number + 2, 10)),
        ("config-hash", text(5 * number + 3, 20)),
        ("version-tag", text(5 * number + 4, 8)),
        ("enabled", bit(1)),
        ("debug", bit(2)),
        ("canary", bit(4)),
        ("managed", bit(8)),
        ("environment", one_of(&["dev", "staging", "prod"])),
        ("tier", one_of(&["frontend", "backend", "middleware", "data"])),
        ("region", one_of(&["us-east", "us-west", "eu-west", "ap-south"])),
        ("team", one_of(&["platform", "payments", "identity", "growth", "infra"])),
        ("managed-by", "saas-controller".to_owned()),
        ("tenant-id", text(number % 5000, 10)),
    ];
    let (x, y) = ((7 * number + 3) % (1 << 32), (17 * number + 5) % (1 << 16));
    let spec = json!({
        "orchestrator": "k8s", "node": host, "pod": format!("app-{x:09x}-{y:05x}"), "endpoint": "eth0",
        "ipNetworks": [format!("{}/32", address(0x0a00_0001 + number as u32))],
        "profiles": [format!("kns.customer-{number}")],
        "interfaceName": if host == NODE { format!("cali{number}") } else { String::new() },
    });
    let name = format!("{host}-k8s-app--{x:09x}--{y:05x}-eth0");
    object(Kind::WorkloadEndpoint, &format!("customer-{number}"), &name, labels(pairs), &spec)
}

/// So many customers.
///
/// # Errors
/// If the answer isn't the known one.
pub fn run(customers: u64) -> anyhow::Result<Figures> {
    let is_local = |number: &u64| number.is_multiple_of(customers / 100) && number / (customers / 100) < 100;
    let all = || 0..customers;
    let input: Vec<Event> = all()
        .map(policy)
        .chain(all().map(profile))
        .chain(all().filter(|number| !is_local(number)).map(|number| pod(number, "remotehost")))
        .chain(all().filter(is_local).map(|number| pod(number, NODE)))
        .collect::<Result<_, _>>()?;
    let mut loaded = load(&input);
    let stats = loaded.graph.stats();
    // The set of the name server's one address is the hundred and first.
    expect("sets", stats.sets, 101)?;
    expect("sizes of the sets", stats.set_sizes, vec![1; 101])?;
    expect("policies in use", stats.policies_in_use, 100)?;
    expect("profiles in use", stats.profiles_in_use, 100)?;
    expect("endpoints", stats.endpoints, 100)?;
    expect("references", stats.references, 200)?;
    for (_, policy) in
        loaded.counter.policies.iter().filter(|(_, policy)| policy.key.kind == Kind::NetworkPolicy)
    {
        expect("rules of a policy", (policy.ingress.len(), policy.egress.len()), (1, 2))?;
    }
    let mut figures: Figures = vec![
        (format!("calc_customers_{customers}_s"), loaded.seconds),
        (format!("calc_customers_{customers}_cpu_s"), loaded.cpu_seconds),
        (format!("calc_customers_{customers}_mb"), megabytes(loaded.peak_bytes)),
    ];
    if customers == 100_000 {
        figures.push(("calc_customers_s".into(), loaded.seconds));
    }
    Ok(figures)
}
