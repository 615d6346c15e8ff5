//! `tortie-bench apply`: from the store's create of a policy until real packets are judged by it.
//!
//! A hundred local endpoints are closed to a port; the policy opens it. The clock runs from before the create until
//! packets have reached the first and the last endpoint; then all hundred are checked. The agent is the real one,
//! the database its own file, by default with full durability: the create waits for the disk. Beside it stands what of
//! the time the calculation takes.

use std::time::Instant;

use tortie_api::event::Event;
use tortie_api::kind::ResourceKey;
use tortie_calc::{Config, Graph};
use tortie_classify::Classifier;

use crate::node::{Node, durability};
use crate::objects::NODE;
use crate::town::{ENDPOINTS, Town, opening, remote, standing};
use crate::{figures, objects, town};

/// How much is measured.
#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    /// Changes for each number of standing policies.
    #[arg(long, default_value_t = 300)]
    pub changes: u16,
    /// Numbers of standing policies.
    #[arg(long, value_delimiter = ',', default_value = "0,1000,10000")]
    pub policies: Vec<usize>,
    /// Endpoints of other nodes.
    #[arg(long, default_value_t = 1000)]
    pub remote: u32,
}

/// Ports of the measured policies.
const FIRST_PORT: u16 = 20_000;

/// Measures and prints. The numbers of policies take turns, ten changes each.
///
/// # Errors
/// If something can't be set up, or a policy doesn't come into force.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { changes, policies, remote: elsewhere } = arguments;
    println!("apply_durability={}", durability());
    let mut cases = Vec::new();
    for count in policies {
        let mut node = Node::create()?;
        let town = Town::build(&mut node)?;
        node.put(&remote(*elsewhere))?;
        node.put(&standing(*count))?;
        node.start()?;
        cases.push((*count, node, town, Vec::new(), Vec::new()));
    }
    let mut done = 0;
    while done < *changes {
        let batch = 10.min(changes - done);
        for (_, node, town, times, creates) in &mut cases {
            for port in FIRST_PORT + done..FIRST_PORT + done + batch {
                let (create, whole) = change(node, town, port)?;
                creates.push(create);
                times.push(whole);
            }
        }
        done += batch;
    }
    for (count, _, _, times, creates) in &cases {
        figures::median(&format!("apply_p50_ms_{count}"), times);
        figures::quantile(&format!("apply_p99_ms_{count}"), times, 0.99);
        figures::median(&format!("apply_create_p50_ms_{count}"), creates);
        where_it_goes(*count, *elsewhere)?;
    }
    Ok(())
}

/// How often the pure part is done.
const PURE_CHANGES: u16 = 20;

/// The part of a change that is calculation: the agent's work without store and kernel, and how many changes of
/// the kernel's tables come of it.
fn where_it_goes(count: usize, elsewhere: u32) -> anyhow::Result<()> {
    let mut graph = Graph::new(Config { node: NODE.into() });
    let mut classifier = Classifier::new();
    for (key, object) in town::endpoints().iter().chain(&remote(elsewhere)).chain(&standing(count)) {
        graph.apply(&objects::read(key, object)?);
    }
    graph.apply(&Event::InSync);
    graph.flush(&mut |update| classifier.apply(update));
    classifier.rebuild()?;
    let (mut calc, mut classify, mut operations) = (Vec::new(), Vec::new(), Vec::new());
    for port in FIRST_PORT..FIRST_PORT + PURE_CHANGES {
        let (key, object) = opening(port);
        for (coming, event) in [(true, objects::read(&key, &object)?), (false, Event::Delete(key))] {
            let since = Instant::now();
            graph.apply(&event);
            let mut updates = Vec::new();
            graph.flush(&mut |update| updates.push(update));
            let calculated = since.elapsed();
            updates.into_iter().for_each(|update| classifier.apply(update));
            let change = classifier.commit()?;
            let whole = since.elapsed();
            if coming {
                calc.push(calculated.as_secs_f64() * 1e3);
                classify.push((whole - calculated).as_secs_f64() * 1e3);
                operations.push(change.steps.iter().map(|step| step.ops.len()).sum::<usize>() as f64);
            }
            classifier.release(change.freed);
        }
    }
    figures::median(&format!("apply_calc_ms_{count}"), &calc);
    figures::median(&format!("apply_classify_ms_{count}"), &classify);
    figures::median(&format!("apply_table_changes_{count}"), &operations);
    Ok(())
}

/// One policy; how many milliseconds the create alone took, and until packets were judged.
fn change(node: &Node, town: &mut Town, port: u16) -> anyhow::Result<(f64, f64)> {
    let (key, object): (ResourceKey, _) = opening(port);
    let since = Instant::now();
    node.client.create(object)?;
    let created = since.elapsed();
    let whole = town.until_open(&[0, ENDPOINTS - 1], port, since)?;
    town.all_open(port)?;
    node.client.delete(&key, None)?;
    node.settle()?;
    Ok((created.as_secs_f64() * 1e3, whole.as_secs_f64() * 1e3))
}
