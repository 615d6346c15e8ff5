//! What must be found: the same store, read by `analysis`, which shares no code with what is in the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tortie_agent::ledger::RuleName;
use tortie_analysis::{Answer, By, Cluster, Node, Outcome as Verdict, Packet, Step, ToHost, judge_at};
use tortie_api::event::Event;
use tortie_api::resource::Resource;
use tortie_lab::matrix::Place;
use tortie_lab::{Outcome, Party, Service};
use tortie_store::Datastore;
use tortie_store::sync::Feed;

use super::measure::{Measured, Probes};
use super::shop::NODE;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Stands for the port that the kernel chooses; no rule of the shop names source ports.
const SOURCE_PORT: u16 = 10_000;
/// How long the store may take to tell everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of a probe, and which rules count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Open or blocked.
    pub outcome: Outcome,
    /// The rules it meets, in order; the last one decides.
    pub rules: Vec<RuleName>,
}

/// What policy makes of the store's objects.
pub struct Oracle {
    cluster: Cluster,
    node: Node,
}

impl Oracle {
    /// Reads the store. A policy called `without` is overlooked: so a test sees that a wrong expectation is found out.
    pub fn read(
        store: Arc<dyn Datastore>,
        node_addresses: Vec<IpAddr>,
        without: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut feed = Feed::new(store);
        let mut resources = Vec::new();
        let mut in_sync = false;
        while !in_sync {
            for event in feed.next(PATIENCE)? {
                match event {
                    Event::Upsert(resource) => resources.push(resource),
                    Event::InSync => in_sync = true,
                    Event::Delete(_) => {}
                    Event::Unreadable { key, json: _, error } => bail!("{key} cannot be read: {error}"),
                }
            }
        }
        let overlooked = |resource: &Resource| without.is_some_and(|name| resource.key().full_name() == name);
        resources.retain(|resource| !overlooked(resource));
        let cluster = Cluster::new(resources);
        if let Some(fault) = cluster.faults().first() {
            bail!("{fault}");
        }
        Ok(Self {
            cluster,
            node: Node { name: NODE.to_owned(), addresses: node_addresses, to_host: ToHost::Drop },
        })
    }

    /// What becomes of a probe.
    pub fn expect(&self, parties: &[Party], place: Place, ipv4: bool) -> anyhow::Result<Expected> {
        let address = |index: usize| parties[index].address(ipv4).context("an address of the family");
        let (source, destination) = (address(place.from)?, address(place.to)?);
        let packet = match place.service {
            Service::Tcp(port) => Packet::with_ports(source, destination, TCP, (SOURCE_PORT, port)),
            Service::Udp(port) => Packet::with_ports(source, destination, UDP, (SOURCE_PORT, port)),
            Service::Icmp => Packet::icmp(source, destination, if ipv4 { 8 } else { 128 }, 0),
        };
        Ok(Expected::of(&judge_at(&self.cluster, &self.node, &packet)))
    }
}

impl Expected {
    /// A packet meets the sender's rules first, and the receiver's only if those allow.
    fn of(answer: &Answer) -> Self {
        let mut rules = Vec::new();
        for (side, direction) in [(&answer.egress, "egress"), (&answer.ingress, "ingress")] {
            let Some(side) = side else { continue };
            let passed = side.path.iter().map(|(Step::Log(by) | Step::Pass(by))| by);
            rules.extend(passed.chain([&side.by]).map(|by| rule_name(by, direction)));
            if side.outcome == Verdict::Deny {
                break;
            }
        }
        let outcome = if answer.verdict == Verdict::Deny { Outcome::Blocked } else { Outcome::Open };
        Self { outcome, rules }
    }
}

fn rule_name(by: &By, direction: &str) -> RuleName {
    RuleName {
        kind: by.kind().to_owned(),
        policy: by.policy(),
        tier: by.tier().to_owned(),
        direction: direction.to_owned(),
        rule: by.rule(),
    }
}

/// Everything in which what was measured is not what was expected, in words.
pub fn differences(
    probes: &Probes,
    measured: &Measured,
    expected: &BTreeMap<Place, Expected>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (&place, Expected { outcome, rules }) in expected {
        let what = probes.describe(place);
        let seen = measured.matrix.cells.get(&place);
        if seen != Some(outcome) {
            let seen = seen.map_or_else(|| "not measured".to_owned(), |seen| word(*seen).to_owned());
            found.push(format!("{what}: {seen}, analysis says {}", word(*outcome)));
        }
        let wanted: BTreeMap<_, _> = rules.iter().map(|rule| (rule.clone(), measured.rounds)).collect();
        let none = BTreeMap::new();
        let counts = measured.counts.get(&place).unwrap_or(&none);
        for rule in wanted.keys().chain(counts.keys().filter(|rule| !wanted.contains_key(rule))) {
            let (want, have) = (wanted.get(rule).unwrap_or(&0), counts.get(rule).unwrap_or(&0));
            if want != have {
                let name = super::report::rule(rule);
                found.push(format!("{what}: {name} counted {have} of {want} probes"));
            }
        }
    }
    found
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Open => "open",
        Outcome::Refused => "refused",
        Outcome::Blocked => "blocked",
    }
}
