//! One node as the agent runs it, without a kernel: events in, tables out.

use std::collections::BTreeSet;
use std::sync::Arc;

use tortie_analysis::{By, Decision, Outcome, Packet, Step as AnswerStep, Transport};
use tortie_api::event::Event;
use tortie_api::kind::Kind;
use tortie_api::policy::{Action, Direction};
use tortie_calc::{Config, Graph};
use tortie_classify::Classifier;
use tortie_classify::lookup::{self, Detail};
use tortie_dataplane::flat::{self, PathId, Phase, RuleRef, Step, Tables, Verdict};
use tortie_dataplane::policy::{Policy, Update};

use crate::random::NODE;

/// Changes updates on their way from `calc` to `classify`; a seeded fault.
pub type Tamper = fn(&mut Update);

/// The calculation, the classifier, and the tables as a driver that follows its steps holds them.
pub struct Node {
    graph: Graph,
    classifier: Classifier,
    tables: Tables,
    tamper: Option<Tamper>,
}

/// A step that breaks the rules of [`tortie_dataplane::flat`], or a calculation that gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl Node {
    /// A node that knows nothing yet, in sync with an empty store.
    pub fn new(tamper: Option<Tamper>) -> Self {
        let mut graph = Graph::new(Config { node: NODE.into() });
        graph.apply(&Event::InSync);
        Self { graph, classifier: Classifier::new(), tables: Tables::default(), tamper }
    }

    /// Takes events; nothing follows before [`Self::commit`].
    pub fn apply(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.graph.apply(&event);
        }
    }

    /// Works the events into the tables; `watch` is called after each step, with the tables before it if it is a switch.
    ///
    /// # Errors
    /// [`Broken`] if a step changes in place what packets are led to.
    pub fn commit(&mut self, mut watch: impl FnMut(&Self, &Tables, &Step)) -> Result<(), Broken> {
        let tamper = self.tamper;
        let classifier = &mut self.classifier;
        self.graph.flush(&mut |mut update| {
            if let Some(tamper) = tamper {
                tamper(&mut update);
            }
            classifier.apply(update);
        });
        loop {
            let change = self.classifier.commit().map_err(|error| Broken(error.to_string()))?;
            for step in &change.steps {
                self.check_step(step)?;
                let before =
                    if step.phase == Phase::Switch { self.tables.clone() } else { Tables::default() };
                step.ops.iter().for_each(|op| self.tables.apply(op));
                watch(self, &before, step);
            }
            self.classifier.release(change.freed);
            if !change.follow_up {
                break;
            }
        }
        if self.tables != self.classifier.tables() {
            return Err(Broken("the steps lead to other tables than the classifier's".to_owned()));
        }
        Ok(())
    }

    /// What packets are led to changes in a switch only, and verdicts name counters that are there.
    fn check_step(&self, step: &Step) -> Result<(), Broken> {
        let added =
            |id: PathId| step.ops.iter().any(|op| matches!(op, flat::Op::AddPath(of, _) if *of == id));
        let named = step.ops.iter().filter_map(|op| match op {
            flat::Op::AddEntry(_, verdict) => Some(verdict.path),
            flat::Op::AddStack(_, stack) => Some(stack.default.path),
            _ => None,
        });
        for id in named {
            if !self.tables.paths.contains_key(&id) && !added(id) {
                return Err(Broken(format!("{id:?} is named in {:?} before it is there", step.phase)));
            }
        }
        let switch = step.phase == Phase::Switch;
        let mut here = BTreeSet::new();
        for op in &step.ops {
            let in_place = match op {
                flat::Op::RemoveEntry(key) if here.remove(key) => false,
                flat::Op::AddEntry(key, verdict) => {
                    here.insert(*key);
                    self.tables.entries.get(key).is_some_and(|before| !switch || before == verdict)
                }
                flat::Op::AddStack(id, stack) => {
                    self.tables.stacks.get(id).is_some_and(|before| !switch || before == stack)
                }
                flat::Op::AddPath(id, _) => self.tables.paths.contains_key(id),
                flat::Op::RemoveEntry(key) => {
                    step.phase == Phase::Grow || !self.tables.entries.contains_key(key)
                }
                flat::Op::RemoveNet(range) => !self.tables.nets.contains_key(range),
                flat::Op::RemoveAddress(address) => !self.tables.addresses.contains_key(address),
                _ => false,
            };
            if in_place {
                return Err(Broken(format!("{:?} in {:?}", op, step.phase)));
            }
        }
        Ok(())
    }

    /// The tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The classifier.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The verdict of an endpoint's interface on a packet, in `analysis`' words.
    /// `None`: dropped unjudged.
    pub fn judge(&self, interface: &str, direction: Direction, packet: &Packet) -> Option<Decision> {
        let verdict = lookup::judge(&self.tables, interface, direction, &asked(direction, packet))?;
        Some(self.decision(verdict))
    }

    /// What packets meet that are under way while the tables become these, by the read at which they see the change.
    pub fn outcomes_across(
        &self,
        before: &Tables,
        (interface, direction, packet): (&str, Direction, &Packet),
    ) -> impl Iterator<Item = Outcome> {
        let asked = asked(direction, packet);
        (1..=lookup::READS).map(move |cut| {
            let verdict = lookup::judge_across(before, &self.tables, cut, interface, direction, &asked);
            verdict.map_or(Outcome::Deny, |verdict| outcome(verdict.outcome))
        })
    }

    /// A verdict in `analysis`' words.
    fn decision(&self, verdict: Verdict) -> Decision {
        let outcome = outcome(verdict.outcome);
        let (by, path) =
            self.tables.paths.get(&verdict.path).map_or((By::Nothing, Vec::new()), |path| self.words(path));
        Decision { outcome, by, path }
    }

    /// A path in `analysis`' words: who decided, and what was met before.
    pub fn words(&self, path: &flat::Path) -> (By, Vec<AnswerStep>) {
        (self.by(path.decided), path.passed.iter().map(|rule| self.step(*rule)).collect())
    }

    fn step(&self, rule: RuleRef) -> AnswerStep {
        let logs = match rule {
            RuleRef::Rule { policy, direction, index } => {
                self.classifier.policy(policy).is_some_and(|policy| {
                    let rules = match direction {
                        Direction::Ingress => &policy.ingress,
                        Direction::Egress => &policy.egress,
                    };
                    rules.iter().any(|rule| rule.index == index && rule.action == Action::Log)
                })
            }
            RuleRef::TierEnd { .. } | RuleRef::NoProfile { .. } => false,
        };
        if logs { AnswerStep::Log(self.by(rule)) } else { AnswerStep::Pass(self.by(rule)) }
    }

    fn by(&self, rule: RuleRef) -> By {
        let (policy, index) = match rule {
            RuleRef::NoProfile { .. } => return By::NoProfile,
            RuleRef::TierEnd { policy, .. } => (self.classifier.policy(policy), None),
            RuleRef::Rule { policy, index, .. } => (self.classifier.policy(policy), Some(index as usize)),
        };
        let Some(policy) = policy else { return By::Nothing };
        let Policy { key, tier, .. } = &**policy;
        match (key.kind, index) {
            (Kind::Profile, Some(rule)) => By::Profile { profile: Arc::clone(&key.name), rule },
            (_, Some(rule)) => By::Rule { tier: Arc::clone(tier), policy: key.clone(), rule },
            (_, None) => By::TierEnd { tier: Arc::clone(tier), policy: key.clone() },
        }
    }
}

/// A packet as the tables' reader knows it.
fn asked(direction: Direction, packet: &Packet) -> lookup::Packet {
    let (own, other) = match direction {
        Direction::Ingress => (packet.destination, packet.source),
        Direction::Egress => (packet.source, packet.destination),
    };
    let detail = match packet.transport {
        Transport::Ports { destination, .. } => Detail::Port(destination),
        Transport::Icmp { icmp_type, code } => Detail::Icmp { icmp_type, code },
        Transport::Other => Detail::Nothing,
    };
    lookup::Packet { own, other, protocol: packet.protocol, detail }
}

const fn outcome(outcome: flat::Outcome) -> Outcome {
    match outcome {
        flat::Outcome::Allow => Outcome::Allow,
        flat::Outcome::Deny => Outcome::Deny,
    }
}
