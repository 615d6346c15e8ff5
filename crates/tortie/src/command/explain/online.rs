//! `tortie explain` of a running machine: the store's objects through `analysis`, and the kernel's
//! tables through the agent. They must agree; if they don't, that is said loudly.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tortie_agent::protocol::{Question, Reply, SideVerdict, TableVerdict, ask};
use tortie_agent::status::Status;
use tortie_analysis::{
    Answer, Cluster, Decision, Enforcement, Flow, Request, Step, Transport, Unreadable, judge,
};
use tortie_api::event::Event;
use tortie_api::kind::ResourceKey;
use tortie_store::Datastore;
use tortie_store::sync::Feed;

use crate::settings;

/// How long one read of the store may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of one flow.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// What `analysis` says of the store's objects.
    #[serde(flatten)]
    pub answer: Answer,
    /// What the agent's tables say of the sides that are on this machine.
    pub tables: TableVerdict,
    /// Whether both say the same of each side that is on this machine.
    pub agree: bool,
    /// The cluster and the flow, for the story.
    #[serde(skip)]
    pub told: (Cluster, Flow),
}

/// How often, and how long apart, both are asked again when they differ: the agent hears of a write a moment later.
const ATTEMPTS: usize = 20;
/// See [`ATTEMPTS`].
const APART: Duration = Duration::from_millis(50);

/// Explains one flow, as a line of a file of flows.
///
/// # Errors
/// If the store can't be read, the agent doesn't answer, or the flow can't be understood.
pub fn explain(config: &Path, line: &str) -> anyhow::Result<Explained> {
    let mut explained = once(config, line)?;
    for _ in 1..ATTEMPTS {
        if explained.agree {
            break;
        }
        std::thread::sleep(APART);
        explained = once(config, line)?;
    }
    Ok(explained)
}

fn once(config: &Path, line: &str) -> anyhow::Result<Explained> {
    let client = settings::client(config, None)?;
    let socket = settings::agent_socket();
    let hint = "is the agent running? (`tortie agent`; or give -f DIR to explain files)";
    let Reply::Settled = ask(&socket, &Question::Settle).context(hint)? else {
        bail!("the agent's tables are not settled")
    };
    let Reply::Status(status) = ask(&socket, &Question::Status).context(hint)? else {
        bail!("the agent did not say its status")
    };
    let cluster = read(Arc::clone(client.store()), &status)?;
    let flow = Request::parse(line)?.resolve(&cluster)?;
    let answer = judge(&cluster, &flow);
    let packet = flow.packet;
    let (port, icmp) = match packet.transport {
        Transport::Ports { destination, .. } => (Some(destination), None),
        Transport::Icmp { icmp_type, code } => (None, Some((icmp_type, code))),
        Transport::Other => (None, None),
    };
    let (source, destination, protocol) = (packet.source, packet.destination, packet.protocol);
    let question = Question::Judge { source, destination, protocol, port, icmp };
    let Reply::Verdict(tables) = ask(&socket, &question).context(hint)? else {
        bail!("the agent did not judge the flow")
    };
    let agree = [(&answer.egress, &tables.egress), (&answer.ingress, &tables.ingress)].into_iter().all(
        |(meant, held)| {
            held.as_ref().is_none_or(|held| meant.as_ref().is_some_and(|meant| same(meant, held)))
        },
    );
    Ok(Explained { answer, tables: *tables, agree, told: (cluster, flow) })
}

/// The store's objects, with what the agent can't enforce as it enforces it.
fn read(store: Arc<dyn Datastore>, status: &Status) -> anyhow::Result<Cluster> {
    let mut feed = Feed::new(store);
    let mut resources = Vec::new();
    let mut enforcement = Enforcement { without_hosts: true, ..Enforcement::default() };
    loop {
        for event in feed.next(PATIENCE)? {
            match event {
                Event::Upsert(resource) => resources.push(resource),
                Event::Unreadable { key, json, .. } if key.kind.is_policy() => {
                    enforcement.unreadable.push(Unreadable { key, json });
                }
                Event::Unreadable { .. } | Event::Delete(_) => {}
                Event::InSync => {
                    enforcement.denied = denied(status);
                    return Ok(Cluster::with(resources, &enforcement));
                }
            }
        }
    }
}

fn denied(status: &Status) -> BTreeSet<ResourceKey> {
    let faults = status.faults.iter().filter_map(|fault| {
        let (namespace, name) = fault.name.split_once('/').unwrap_or(("", &fault.name));
        Some(ResourceKey { kind: fault.kind.parse().ok()?, namespace: namespace.into(), name: name.into() })
    });
    faults.filter(|key| key.kind.is_policy()).collect()
}

/// Whether a decision and a verdict are one by the names that users see.
fn same(meant: &Decision, held: &SideVerdict) -> bool {
    let Decision { outcome, by, path } = meant;
    let met = path.iter().map(|step| match step {
        Step::Log(by) | Step::Pass(by) => (by.policy(), by.rule()),
    });
    outcome.name() == held.action
        && (by.policy(), by.rule()) == (held.rule.policy.clone(), held.rule.rule)
        && met.eq(held.passed.iter().map(|rule| (rule.policy.clone(), rule.rule)))
}
