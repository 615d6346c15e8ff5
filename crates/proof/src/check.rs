//! The comparison: a cluster, edits and packets, and the first place where the tables and
//! `analysis` differ.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use fastrand::Rng;
use tortie_analysis::{
    By, Cluster, Decision, Enforcement, Node as Machine, Outcome, Packet, Step, ToHost, judge_at,
};
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::Direction;
use tortie_api::resource::Resource;
use tortie_dataplane::flat::Phase;

use crate::cover::Cover;
use crate::node::{Broken, Node, Tamper};
use crate::packets::{addresses, packet};
use crate::random::{Edit, NODE, Objects};
use crate::rules::Theme;

/// A seeded fault: what `calc` is told, or tells, is not quite what it should be.
#[derive(Clone, Copy, Default)]
pub struct Fault {
    /// Changes objects on their way to `calc`; `analysis` sees them as they are.
    pub object: Option<fn(&mut Resource)>,
    /// Changes `calc`'s updates.
    pub update: Option<Tamper>,
}

/// What is run: the objects of the beginning, then edits in batches, then packets after each batch.
#[derive(Debug, Clone)]
pub struct Case {
    /// The seed of the packets.
    pub seed: u64,
    /// What most rules, and so most packets, are about.
    pub theme: Theme,
    /// At the start.
    pub objects: Objects,
    /// Each inner list is one commit.
    pub edits: Vec<Vec<Edit>>,
    /// Packets after each commit.
    pub packets: usize,
}

/// A difference.
#[derive(Debug, Clone)]
pub struct Difference {
    /// After how many commits; 0 is the first listing.
    pub commits: usize,
    /// During a commit: after which step's phase.
    pub during: Option<Phase>,
    /// The packet, and whose side; none if the steps themselves are wrong.
    pub packet: Option<(Packet, Direction, ResourceKey)>,
    /// What `analysis` says.
    pub expected: String,
    /// What the tables say.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "after {} commits", self.commits)?;
        if let Some(phase) = self.during {
            write!(formatter, ", in the middle of the next, behind a {phase:?} step")?;
        }
        if let Some((packet, direction, key)) = &self.packet {
            write!(formatter, "\n  {direction:?} of {key}: {packet:?}")?;
        }
        write!(formatter, "\n  analysis: {}\n  tables:   {}", self.expected, self.found)
    }
}

/// A side that is judged on this node.
struct Side {
    packet: Packet,
    direction: Direction,
    key: ResourceKey,
    interface: String,
    expected: Decision,
}

/// Runs a case to its end or the first difference. Counts what decided in `cover`.
pub fn run(case: &Case, fault: Fault, cover: &mut Cover) -> Option<Difference> {
    let mut random = Rng::with_seed(case.seed);
    let mut objects = case.objects.clone();
    let mut node = Node::new(fault.update);
    let told = |mut resource: Resource| {
        if let Some(change) = fault.object {
            change(&mut resource);
        }
        Event::Upsert(resource)
    };
    node.apply(objects.values().cloned().map(told));
    let mut before: Vec<(Side, Option<Decision>)> = Vec::new();
    for commits in 0..=case.edits.len() {
        if let Some(edits) = commits.checked_sub(1).and_then(|at| case.edits.get(at)) {
            for edit in edits {
                match edit {
                    Edit::Put(resource) => {
                        objects.insert(resource.key(), resource.clone());
                        node.apply([told(resource.clone())]);
                    }
                    Edit::Delete(key) => {
                        objects.remove(key);
                        node.apply([Event::Delete(key.clone())]);
                    }
                }
            }
        }
        let mut between = Vec::new();
        let committed = node.commit(|node, tables, step| {
            for (at, (side, _)) in before.iter().enumerate() {
                let judged = node.judge(&side.interface, side.direction, &side.packet);
                let mut met = vec![judged.map_or(Outcome::Deny, |decision| decision.outcome)];
                if step.phase == Phase::Switch {
                    met.extend(node.outcomes_across(tables, (&side.interface, side.direction, &side.packet)));
                }
                between.push((at, step.phase, met));
            }
        });
        if let Err(Broken(found)) = committed {
            let expected = "steps that change nothing in place".to_owned();
            return Some(Difference { commits, during: None, packet: None, expected, found });
        }
        let found = |expected: &Side, found: Option<Decision>, during| Difference {
            commits,
            during,
            packet: Some((expected.packet, expected.direction, expected.key.clone())),
            expected: format!("{:?}", expected.expected),
            found: format!("{found:?}"),
        };
        // In the middle of a policy's change each packet met the outcome of before or of after. Several
        // edits in one commit, or one that changes what an address is and who it is at once, may be
        // seen one after the other.
        let one_policy = commits.checked_sub(1).and_then(|at| case.edits.get(at)).is_some_and(|edits| {
            edits.len() == 1
                && edits.iter().all(|edit| match edit {
                    Edit::Put(resource) => resource.key().kind.is_policy(),
                    Edit::Delete(key) => key.kind.is_policy(),
                })
        });
        for (at, phase, met) in between.into_iter().filter(|_| one_policy) {
            let (side, old) = &before[at];
            let now = node.judge(&side.interface, side.direction, &side.packet);
            let outcome = |decision: &Option<Decision>| decision.as_ref().map(|decision| decision.outcome);
            let dropped = |decision: &Option<Decision>| outcome(decision).unwrap_or(Outcome::Deny);
            if met.iter().any(|during| *during != dropped(old) && *during != dropped(&now)) {
                let mut difference = found(side, now, Some(phase));
                difference.found = format!("{met:?}, read by read");
                return Some(difference);
            }
        }
        let cluster = Cluster::with(objects.values().cloned(), &enforcement(&node));
        let places = addresses(&objects);
        before = (0..case.packets)
            .flat_map(|_| sides(&cluster, packet(&mut random, case.theme, &places)))
            .map(|side| {
                let now = node.judge(&side.interface, side.direction, &side.packet);
                (side, now)
            })
            .collect();
        for (side, now) in &before {
            cover.count(&side.expected, side.direction, &side.packet, &objects);
            if !now.as_ref().is_some_and(|now| same(now, &side.expected)) {
                return Some(found(side, now.clone(), None));
            }
        }
    }
    None
}

/// Whether two decisions are one by the names that users see.
fn same(one: &Decision, other: &Decision) -> bool {
    one.outcome == other.outcome && way(&one.by, &one.path) == way(&other.by, &other.path)
}

/// What was done, and the tier, kind, policy and rule that did it.
pub type Met = (&'static str, String, &'static str, String, i64);

/// All that a packet met, who decided last, by the names that users see.
pub fn way(by: &By, path: &[Step]) -> Vec<Met> {
    let name = |what, by: &By| (what, by.tier().to_owned(), by.kind(), by.policy(), by.rule());
    let met = path.iter().map(|step| match step {
        Step::Log(by) => name("log", by),
        Step::Pass(by) => name("pass", by),
    });
    met.chain([name("decided", by)]).collect()
}

/// What the node says it can't enforce, for `analysis`.
pub fn enforcement(node: &Node) -> Enforcement {
    let denied: BTreeSet<ResourceKey> = node
        .classifier()
        .policies()
        .filter(|(_, policy)| policy.not_enforced.is_some() && policy.key.kind != Kind::Profile)
        .map(|(_, policy)| policy.key.clone())
        .collect();
    Enforcement { denied, ..Enforcement::default() }
}

/// The sides of a packet that this node judges, with what `analysis` says of each.
fn sides(cluster: &Cluster, packet: Packet) -> Vec<Side> {
    let machine = Machine { name: NODE.to_owned(), addresses: Vec::<IpAddr>::new(), to_host: ToHost::Drop };
    let answer = judge_at(cluster, &machine, &packet);
    let ends = [
        (Direction::Egress, packet.source, answer.egress),
        (Direction::Ingress, packet.destination, answer.ingress),
    ];
    ends.into_iter()
        .filter_map(|(direction, address, decision)| {
            let expected = decision.filter(|decision| decision.by != By::OwnHost)?;
            let endpoint = cluster.endpoint(cluster.owner(address)?);
            let interface = endpoint.interface.to_string();
            Some(Side { packet, direction, key: endpoint.key.clone(), interface, expected })
        })
        .collect()
}
