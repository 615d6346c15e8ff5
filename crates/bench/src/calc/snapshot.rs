//! A cluster at once: endpoints of one large cluster, policies by label or by network set.
//!
//! The input is that of Felix's own benchmarks, and so are the answers that are checked: sets,
//! members, sizes, references. Ours has what a node needs beside it: local endpoints have an
//! interface, and policies say that they are for both directions (Felix takes no types as both).

use std::time::Instant;

use serde_json::{Map, json};
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};

use super::objects::{address, labels, object};
use super::{Loaded, NODE, expect, load, megabytes};
use crate::rounds::Figures;

/// One of these labels is on each endpoint. Two names are there twice.
const MARKERS: [&str; 31] = [
    "FOO_BAR",
    "FOO_BAR",
    "BIFF_BOP",
    "calico/FizzBuzz",
    "calico/BoffBip",
    "calico/Bazzle",
    "calico/Razzle",
    "calico/DoopDeeDoo",
    "calico/SOME_LABEL",
    "calico/BORED_NOW",
    "MyMarkerLabel",
    "xFOO_BAR",
    "xBIFF_BOP",
    "xcalico/FizzBuzz",
    "xcalico/BoffBip",
    "xcalico/Bazzle",
    "xcalico/Razzle",
    "xcalico/DoopDeeDoo",
    "xcalico/SOME_LABEL",
    "xcalico/BORED_NOW",
    "yxMyMarkerLabel",
    "yxFOO_BAR",
    "yxBIFF_BOP",
    "yxcalico/FizzBuzz",
    "yxcalico/BoffBip",
    "yxcalico/Bazzle",
    "yxcalico/Razzle",
    "yxcalico/DoopDeeDoo",
    "yxcalico/SOME_LABEL",
    "yxcalico/BORED_NOW",
    "yxMyMarkerLabel",
];

const LOCAL: u32 = 200;
/// The number of the address before the first.
const FIRST_ADDRESS: u32 = 0x0a00_0000;
const NAMESPACE: &str = "default";

fn marker(number: u32) -> &'static str {
    MARKERS[number as usize % MARKERS.len()]
}

fn endpoint(number: u32, nth: u32, host: &str) -> anyhow::Result<Event> {
    let mut pairs: Vec<(String, String)> = [10, 11, 20, 30, 40]
        .map(|period| (format!("one-in-{period}"), format!("value-{}", number % period)))
        .into();
    pairs.push((marker(number).to_owned(), "true".to_owned()));
    let spec = json!({
        "orchestrator": "k8s", "node": host, "workload": format!("wep-{nth}"), "endpoint": "eth0",
        "ipNetworks": [format!("{}/32", address(FIRST_ADDRESS + number))],
        "profiles": [format!("kns.namespace-{}", nth % 100)],
        "interfaceName": if host == NODE { format!("cali{nth}") } else { String::new() },
    });
    object(Kind::WorkloadEndpoint, NAMESPACE, &endpoint_name(host, nth), labels(pairs), &spec)
}

fn endpoint_name(host: &str, nth: u32) -> String {
    format!("{host}-k8s-wep--{nth}-eth0")
}

fn policy(name: &str, selector: &str, sources: &[String]) -> anyhow::Result<Event> {
    let ingress: Vec<_> =
        sources.iter().map(|source| json!({"action": "Allow", "source": {"selector": source}})).collect();
    let spec = json!({"selector": selector, "types": ["Ingress", "Egress"], "ingress": ingress});
    object(Kind::GlobalNetworkPolicy, "", name, Map::new(), &spec)
}

fn profiles() -> impl Iterator<Item = anyhow::Result<Event>> {
    (0..100).map(|number| {
        let spec = json!({"labelsToApply": {"pcns.projectcalico.org/name": format!("namespace-{number}")}});
        object(Kind::Profile, "", &format!("kns.namespace-{number}"), Map::new(), &spec)
    })
}

fn remote(count: u32) -> impl Iterator<Item = anyhow::Result<Event>> {
    (1..=count).map(|number| endpoint(number, number - 1, "remotehost"))
}

fn local(remote: u32) -> impl Iterator<Item = anyhow::Result<Event>> {
    (0..LOCAL).map(move |nth| endpoint(remote + 1 + nth, nth, NODE))
}

/// 250,000 endpoints, 10,000 policies by label.
///
/// # Errors
/// If the answer isn't the known one.
pub fn by_label() -> anyhow::Result<Figures> {
    let remotes = 250_000;
    let policies = (0..10_000).map(|number| {
        let sources: Vec<String> = (0..5).map(|rule| format!("has({})", marker(number + rule))).collect();
        policy(&format!("tag-pol-{number}"), &format!("has({})", marker(number)), &sources)
    });
    let input: Vec<Event> =
        policies.chain(profiles()).chain(remote(remotes)).chain(local(remotes)).collect::<Result<_, _>>()?;
    let mut loaded = load(&input);
    let stats = loaded.graph.stats();
    let mut sizes = vec![8_071; 27];
    sizes.extend([16_141, 16_142]);
    expect("sets", stats.sets, 29)?;
    expect("sizes of the sets", stats.set_sizes, sizes)?;
    expect("addresses told", loaded.counter.addresses, 250_200)?;
    expect("references", stats.references, 145_786)?;
    expect("policies and profiles told", loaded.counter.policies.len(), 10_000 + 100)?;
    expect("endpoints told", loaded.counter.endpoints.len(), 200)?;
    expect_first_endpoint(&loaded, 323, &["tag-pol-1009", "tag-pol-1040", "tag-pol-1071", "tag-pol-110"])?;
    let mut figures: Figures = vec![
        ("calc_snapshot_s".into(), loaded.seconds),
        ("calc_snapshot_cpu_s".into(), loaded.cpu_seconds),
        ("calc_snapshot_mb".into(), megabytes(loaded.peak_bytes)),
        ("calc_snapshot_kept_mb".into(), megabytes(loaded.bytes)),
    ];
    figures.push(("calc_delete_s".into(), delete(&mut loaded, 10_000 + 100 + 200)?));
    Ok(figures)
}

/// 10,000 endpoints, so many network sets and a policy for each.
///
/// # Errors
/// If the answer isn't the known one.
pub fn by_network_set(sets: u32) -> anyhow::Result<Figures> {
    let remotes = 10_000;
    let mut next = FIRST_ADDRESS;
    let mut input: Vec<Event> = profiles().chain(remote(remotes)).collect::<Result<_, _>>()?;
    for number in 0..sets {
        let size = [1, 1, 1, 1, 2, 3, 4, 5, 100, 1000][number as usize % 10];
        let nets: Vec<String> = (next + 1..=next + size).map(address).collect();
        next += size;
        let name = format!("network-set-{number}");
        let pairs = [("network-set-name", name.clone())];
        input.push(object(Kind::GlobalNetworkSet, "", &name, labels(pairs), &json!({"nets": nets}))?);
        let source = format!("network-set-name == '{name}'");
        input.push(policy(&format!("network-set-pol-{number}"), "all()", &[source])?);
    }
    for event in local(remotes) {
        input.push(event?);
    }
    let mut loaded = load(&input);
    let stats = loaded.graph.stats();
    let count = sets as usize;
    let tenth = |size: usize| vec![size; count / 10];
    let mut sizes = vec![1; count / 10 * 4];
    sizes.extend([2, 3, 4, 5, 100, 1000].into_iter().flat_map(tenth));
    expect("sets", stats.sets, count)?;
    expect("members", stats.set_sizes.iter().sum::<usize>(), count / 1000 * 111_800)?;
    expect("sizes of the sets", stats.set_sizes, sizes)?;
    expect("references", stats.references, count * 400)?;
    expect("policies and profiles told", loaded.counter.policies.len(), count + 100)?;
    expect_first_endpoint(&loaded, count, &["network-set-pol-0"])?;
    let name = |what: &str| format!("calc_netsets_{sets}_{what}");
    let mut figures: Figures = vec![
        (name("s"), loaded.seconds),
        (name("cpu_s"), loaded.cpu_seconds),
        (name("mb"), megabytes(loaded.peak_bytes)),
    ];
    figures.push((name("delete_s"), delete(&mut loaded, count + 100 + 200)?));
    Ok(figures)
}

/// How many policies the first local endpoint has each way, and which come first.
fn expect_first_endpoint(loaded: &Loaded, count: usize, first: &[&str]) -> anyhow::Result<()> {
    let key = ResourceKey::namespaced(Kind::WorkloadEndpoint, NAMESPACE, &endpoint_name(NODE, 0));
    let endpoint = loaded.counter.endpoints.iter().find(|(other, _)| *other == key);
    let Some((_, endpoint)) = endpoint else { anyhow::bail!("{key} wasn't told") };
    for stack in [&endpoint.ingress, &endpoint.egress] {
        let ids: Vec<_> = stack.tiers.iter().flat_map(|tier| tier.policies.iter().copied()).collect();
        expect("policies of the first endpoint", ids.len(), count)?;
        let name = |id| {
            let policy = loaded.counter.policies.iter().find(|(other, _)| *other == id);
            policy.map(|(_, policy)| policy.key.name.to_string()).unwrap_or_default()
        };
        let names: Vec<String> = ids.into_iter().take(first.len()).map(name).collect();
        expect(
            "the first policies of the first endpoint",
            names,
            first.iter().map(|name| (*name).to_owned()).collect(),
        )?;
    }
    Ok(())
}

/// The local endpoints go, and with them all that was told: by the clock.
fn delete(loaded: &mut Loaded, told: usize) -> anyhow::Result<f64> {
    let Loaded { graph, counter, .. } = loaded;
    let keys: Vec<Event> = (0..LOCAL)
        .map(|nth| {
            let name = endpoint_name(NODE, nth);
            Event::Delete(ResourceKey::namespaced(Kind::WorkloadEndpoint, NAMESPACE, &name))
        })
        .collect();
    let start = Instant::now();
    graph.apply_batch(&keys);
    graph.flush(&mut |update| counter.take(update));
    let seconds = start.elapsed().as_secs_f64();
    expect("policies, profiles and endpoints removed", counter.gone, told)?;
    expect("prefixes left", graph.stats().prefixes, 0)?;
    Ok(seconds)
}
