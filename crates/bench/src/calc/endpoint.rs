//! One new endpoint at a time, against selectors that share a term.

use std::time::Instant;

use serde_json::{Map, json};
use tortie_api::event::Event;
use tortie_api::kind::Kind;
use tortie_calc::{Config, Graph};

use super::objects::{labels, object};
use super::{NODE, cpu_seconds, expect};
use crate::rounds::Figures;

/// How many endpoints come, one after the other.
const ENDPOINTS: u32 = 20_000;

/// An endpoint on another node that one selector in all picks.
pub fn endpoint(number: u32) -> anyhow::Result<Event> {
    let spec = json!({
        "orchestrator": "k8s", "node": "host", "workload": format!("wep-{number}"), "endpoint": "eth0",
        "ipNetworks": [format!("10.0.{}.{}/32", number / 256 % 256, number % 256)],
        "profiles": [format!("namespace-{number}")],
    });
    let labels = labels([("alpha", "beta".to_owned()), ("ipset-1", "true".to_owned())]);
    object(Kind::WorkloadEndpoint, "default", &format!("host-k8s-wep--{number}-eth0"), labels, &spec)
}

/// An endpoint of this node, so that policies are in use.
pub fn local_endpoint() -> anyhow::Result<Event> {
    let spec = json!({
        "orchestrator": "k8s", "node": NODE, "endpoint": "eth0", "ipNetworks": ["192.0.2.1/32"],
        "interfaceName": "cali0",
    });
    object(Kind::WorkloadEndpoint, "default", "local", Map::new(), &spec)
}

/// A policy in use whose rule names a selector.
pub fn policy(name: &str, selector: &str) -> anyhow::Result<Event> {
    let spec = json!({
        "selector": "!has(alpha)", "types": ["Ingress"],
        "ingress": [{"action": "Allow", "source": {"selector": selector}}],
    });
    object(Kind::GlobalNetworkPolicy, "", name, Map::new(), &spec)
}

/// A graph in sync with one local endpoint, given these events.
pub fn graph(events: impl IntoIterator<Item = anyhow::Result<Event>>) -> anyhow::Result<Graph> {
    let mut graph = Graph::new(Config { node: NODE.into() });
    graph.apply(&local_endpoint()?);
    for event in events {
        graph.apply(&event?);
    }
    graph.apply(&Event::InSync);
    graph.flush(&mut |_| {});
    Ok(graph)
}

/// 10, 100, 1,000 and 10,000 selectors.
///
/// # Errors
/// If the answer isn't the known one.
pub fn run() -> anyhow::Result<Figures> {
    let input: Vec<Event> = (0..ENDPOINTS).map(endpoint).collect::<Result<_, _>>()?;
    let mut figures = Figures::new();
    for selectors in [10, 100, 1_000, 10_000] {
        let policies = (0..selectors).map(|number| {
            policy(&format!("policy-{number}"), &format!("alpha == \"beta\" && has(ipset-{number})"))
        });
        let mut graph = graph(policies)?;
        let mut told = 0;
        let (start, cpu) = (Instant::now(), cpu_seconds());
        for event in &input {
            graph.apply(event);
            graph.flush(&mut |_| told += 1);
        }
        let microseconds = start.elapsed().as_secs_f64() * 1e6 / f64::from(ENDPOINTS);
        let cpu_microseconds = (cpu_seconds() - cpu) * 1e6 / f64::from(ENDPOINTS);
        expect("updates", told, ENDPOINTS)?;
        expect("sets", graph.stats().sets, selectors)?;
        expect("members", graph.stats().set_sizes, vec![ENDPOINTS as usize])?;
        figures.push((format!("calc_workload_update_us_{selectors}"), microseconds));
        figures.push((format!("calc_workload_update_cpu_us_{selectors}"), cpu_microseconds));
    }
    Ok(figures)
}
