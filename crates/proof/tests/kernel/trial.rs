//! One cluster on the kernel: its tables put in place, its edits followed step by step, and after each commit real
//! packets, what arrived, and what every counter rose by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use fastrand::Rng;
use tortie_analysis::Cluster;
use tortie_api::event::Event;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::{Phase, Step, Tables};
use tortie_nft::flat::{Flat, Settings};
use tortie_proof::check::{Case, Met, enforcement, way};
use tortie_proof::cover::Cover;
use tortie_proof::node::{Broken, Node};
use tortie_proof::random::{Edit, NODE, Objects};

use crate::sample::{Fate, Probe, Sampler};
use crate::world::{Path, World};

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Policy sets that packets were sent to.
    pub rounds: u64,
    pub probes: u64,
    pub arrived: u64,
    pub denied: u64,
    pub invalid: u64,
    pub spoofed: u64,
    /// Counters that rose, each once a round.
    pub ways: usize,
    /// Classes of addresses met, each once a round.
    pub classes: usize,
    /// Steps, and those that led to a larger map.
    pub steps: u64,
    pub grown: u64,
}

/// What a way's counter, or one of the drops, rose by: packets and bytes.
type Counted = BTreeMap<Vec<Met>, (u64, u64)>;

/// Runs a case to its end or the first difference.
pub fn run(world: &mut World, case: &Case, cover: &mut Cover, totals: &mut Totals) -> Result<(), String> {
    let mut random = Rng::with_seed(case.seed);
    let mut objects = case.objects.clone();
    let mut node = Node::new(None);
    // Small maps, so that clusters outgrow them.
    let settings = Settings { smallest_map: 16, ..Settings::default() };
    let mut flat = world.router().run(|| Flat::open(settings)).unwrap().unwrap();
    // Half of the clusters come as a whole, half step by step.
    let whole = case.seed.is_multiple_of(2);
    if !whole {
        flat.install(Tables::default()).unwrap();
    }
    node.apply(objects.values().cloned().map(Event::Upsert));
    for commits in 0..=case.edits.len() {
        if let Some(edits) = commits.checked_sub(1).and_then(|at| case.edits.get(at)) {
            follow(&mut objects, &mut node, edits);
        }
        let mut steps: Vec<Step> = Vec::new();
        node.commit(|_, _, step| steps.push(step.clone())).map_err(|Broken(what)| what)?;
        if whole && commits == 0 {
            flat.install(node.tables().clone()).unwrap();
        } else {
            for step in &steps {
                let applied = flat
                    .apply(step)
                    .map_err(|error| format!("after {commits} commits: {error}: {step:?}"))?;
                totals.grown += u64::from(applied.regenerated);
                totals.steps += 1;
            }
        }
        if flat.tables() != node.tables() {
            return Err(format!("after {commits} commits the driver holds other tables than the classifier"));
        }
        round(world, &mut flat, &node, &objects, (case, &mut random), cover, totals)
            .map_err(|difference| format!("after {commits} commits: {difference}"))?;
    }
    let drift = flat.check().unwrap();
    if !drift.is_none() {
        return Err(format!("the kernel does not hold what was written: {drift:?}"));
    }
    // The generations of the cases before go now and then: that takes a grace period.
    while case.seed.is_multiple_of(20) && flat.next_retirement().is_some() {
        flat.retire().unwrap();
    }
    Ok(())
}

fn follow(objects: &mut Objects, node: &mut Node, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Put(resource) => {
                objects.insert(resource.key(), resource.clone());
                node.apply([Event::Upsert(resource.clone())]);
            }
            Edit::Delete(key) => {
                objects.remove(key);
                node.apply([Event::Delete(key.clone())]);
            }
        }
    }
}

/// Sends a sample and compares.
fn round(
    world: &mut World,
    flat: &mut Flat,
    node: &Node,
    objects: &Objects,
    (case, random): (&Case, &mut Rng),
    cover: &mut Cover,
    totals: &mut Totals,
) -> Result<(), String> {
    let cluster = Cluster::with(objects.values().cloned(), &enforcement(node));
    world.settle(places(&cluster));
    let sampler = Sampler { world, cluster: &cluster, objects, node, theme: case.theme };
    let (probes, classes) = sampler.sample(random);
    let mut expected = Counted::new();
    let mut packets = Vec::new();
    let mut by_cookie = BTreeMap::new();
    let mut paths = BTreeSet::new();
    for probe in &probes {
        let (port, cookie) = (world.next_port(), world.next_cookie());
        let packet = probe.raw(port, cookie);
        let bytes = packet.encode().map_or(0, |bytes| bytes.len() as u64);
        for met in ways(probe) {
            let counted = expected.entry(met).or_default();
            counted.0 += 1;
            counted.1 += bytes;
        }
        packets.push((probe.from.clone(), packet));
        by_cookie.insert(cookie, probe);
        let v4 = probe.packet.source.is_ipv4();
        paths.insert(Path { from: probe.from.clone(), to: probe.to.clone(), v4 });
    }
    let before = counted(flat, node);
    let arrived = world.send(&packets, &paths);
    let mut rose = counted(flat, node);
    for (met, (packets, bytes)) in before {
        let now = rose.entry(met).or_default();
        *now = (now.0 - packets, now.1 - bytes);
    }
    rose.retain(|_, (packets, _)| *packets > 0);
    for (cookie, probe) in &by_cookie {
        let expected = (probe.fate == Fate::Arrives).then_some(&probe.to);
        if arrived.get(cookie) != expected {
            let found = arrived.get(cookie);
            return Err(describe(node, probe, &format!("expected at {expected:?}, found at {found:?}")));
        }
        for (direction, _) in probe.ways() {
            let decision = match direction {
                Direction::Ingress => &probe.answer.ingress,
                Direction::Egress => &probe.answer.egress,
            };
            if let Some(decision) = decision {
                cover.count(decision, direction, &probe.packet, objects);
            }
        }
        match probe.fate {
            Fate::Arrives => totals.arrived += 1,
            Fate::Denied => totals.denied += 1,
            Fate::Invalid => totals.invalid += 1,
            Fate::Spoofed => totals.spoofed += 1,
        }
    }
    if rose != expected {
        return Err(differences(node, &probes, &expected, &rose));
    }
    totals.rounds += 1;
    totals.probes += probes.len() as u64;
    totals.ways += rose.len();
    totals.classes += classes;
    Ok(())
}

/// Where each endpoint of the node has its addresses.
fn places(cluster: &Cluster) -> BTreeMap<IpAddr, String> {
    let mut places = BTreeMap::new();
    for (id, endpoint) in cluster.endpoints().filter(|(_, endpoint)| &*endpoint.node == NODE) {
        for address in endpoint.addresses.iter().filter(|address| cluster.owner(**address) == Some(id)) {
            places.insert(*address, endpoint.interface.to_string());
        }
    }
    places
}

/// All that must be counted for a probe.
fn ways(probe: &Probe) -> Vec<Vec<Met>> {
    match probe.fate {
        Fate::Arrives | Fate::Denied => probe.ways().into_iter().map(|(_, met)| met).collect(),
        Fate::Invalid => vec![dropped("dropped_invalid")],
        Fate::Spoofed => vec![dropped("dropped_spoofed")],
    }
}

fn dropped(name: &'static str) -> Vec<Met> {
    vec![(name, String::new(), "", String::new(), 0)]
}

/// All counters, by what they stand for.
fn counted(flat: &mut Flat, node: &Node) -> Counted {
    let mut all = Counted::new();
    for (path, count) in flat.counts().unwrap() {
        let (by, passed) = node.words(&node.tables().paths[&path]);
        let counted = all.entry(way(&by, &passed)).or_default();
        *counted = (counted.0 + count.packets, counted.1 + count.bytes);
    }
    for (name, count) in flat.drops().unwrap() {
        all.insert(dropped(name), (count.packets, count.bytes));
    }
    all
}

/// A probe, with the verdicts of both sides.
fn describe(node: &Node, probe: &Probe, what: &str) -> String {
    let mut text = format!("{what}\n  {:?} from {} to {}", probe.packet, probe.from, probe.to);
    let _ = write!(text, "\n  fate {:?}\n  analysis: {:?}", probe.fate, probe.answer);
    for (interface, direction) in [(&probe.from, Direction::Egress), (&probe.to, Direction::Ingress)] {
        let found = node.judge(interface, direction, &probe.packet);
        let _ = write!(text, "\n  tables, {direction:?} of {interface}: {found:?}");
    }
    text
}

fn differences(node: &Node, probes: &[Probe], expected: &Counted, found: &Counted) -> String {
    let mut text = "counters (packets, bytes) differ".to_owned();
    let all: BTreeSet<&Vec<Met>> = expected.keys().chain(found.keys()).collect();
    for met in all.into_iter().filter(|met| expected.get(*met) != found.get(*met)) {
        let _ = write!(text, "\n{met:?}: expected {:?}, found {:?}", expected.get(met), found.get(met));
        for probe in probes.iter().filter(|probe| ways(probe).contains(met)) {
            let _ = write!(text, "\n  {}", describe(node, probe, "one of"));
        }
    }
    let _ = write!(text, "\nsteps of phases {:?} come before", [Phase::Grow, Phase::Switch, Phase::Shrink]);
    text
}
