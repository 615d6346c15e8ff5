//! A profile that appears, and a new selector, against many endpoints.

use std::time::Instant;

use serde_json::{Map, json};
use tortie_api::event::Event;
use tortie_api::kind::Kind;
use tortie_calc::Graph;

use super::endpoint::{endpoint, graph, policy};
use super::expect;
use super::objects::object;
use crate::rounds::Figures;

const SIZES: [u32; 4] = [100, 1_000, 10_000, 100_000];
const OPERATIONS: u32 = 100;

/// Both, with 100 to 100,000 endpoints.
///
/// # Errors
/// If the answer isn't the known one.
pub fn run() -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for size in SIZES {
        figures.push((format!("calc_parent_update_us_{size}"), parents(size)?));
        figures.push((format!("calc_selector_update_us_{size}"), selectors(size)?));
    }
    Ok(figures)
}

/// Microseconds an event, each flushed.
fn time(graph: &mut Graph, events: Vec<Event>) -> (f64, usize) {
    let (count, mut told) = (events.len(), 0);
    let start = Instant::now();
    for event in &events {
        graph.apply(event);
        graph.flush(&mut |_| told += 1);
    }
    (start.elapsed().as_secs_f64() * 1e6 / count as f64, told)
}

fn parents(size: u32) -> anyhow::Result<f64> {
    let policies = (0..100).map(|number| {
        let selector = format!("projectcalico.org/name == \"namespace-{number}\"");
        policy(&format!("policy-{number}"), &selector)
    });
    let mut graph = graph(policies.chain((0..size).map(endpoint)))?;
    let profile = |number: u32| {
        let labels = json!({
            "projectcalico.org/name": format!("namespace-{number}"),
            "update-idx": number.to_string(), "something-shared": "foo",
        });
        object(
            Kind::Profile,
            "",
            &format!("namespace-{number}"),
            Map::new(),
            &json!({"labelsToApply": labels}),
        )
    };
    let events = (0..size).map(profile).collect::<Result<_, _>>()?;
    let (microseconds, _) = time(&mut graph, events);
    expect("members", graph.stats().set_sizes.iter().sum::<usize>(), 100)?;
    Ok(microseconds)
}

fn selectors(size: u32) -> anyhow::Result<f64> {
    let mut graph = graph((0..size).map(endpoint))?;
    let event = |number: u32| {
        let selector = format!("alpha == \"beta\" && has(ipset-{}) && !has(set-{number})", number % 10);
        policy(&format!("policy-{number}"), &selector)
    };
    let events = (0..OPERATIONS).map(event).collect::<Result<_, _>>()?;
    let (microseconds, _) = time(&mut graph, events);
    let endpoints = size.min(65_536) as usize;
    expect("members", graph.stats().set_sizes.iter().sum::<usize>(), endpoints * OPERATIONS as usize / 10)?;
    Ok(microseconds)
}
