//! A policy as each of the agent's hops holds it: for `tortie trace`.

use std::collections::{BTreeMap, BTreeSet};

use tortie_api::policy::Direction;
use tortie_dataplane::flat::{Dispatch, Path, PathId, RuleRef, StackId};
use tortie_dataplane::policy::{Endpoint, Policy, PolicyId, Stack};

use super::Agent;
use crate::protocol::Hop;

impl Agent<'_> {
    /// What hops 3 to 7 (DESIGN.md, "The life of a policy") hold of a policy, by its kind and full name.
    pub fn trace(&mut self, kind: &str, name: &str) -> Vec<Hop> {
        let is_it =
            |policy: &Policy| policy.key.kind.qualified_name() == kind && policy.key.full_name() == name;
        let classifier = self.core.classifier();
        let found = classifier.policies().find(|(_, policy)| is_it(policy));
        let Some((id, policy)) = found.map(|(id, policy)| (id, policy.clone())) else {
            let why = match self.core.is_in_sync() {
                true => "not in use: it selects no workload endpoint of this node",
                false => "not known yet: the store is being read",
            };
            return vec![Hop::new("calc", vec![why.to_owned()])];
        };
        let mut calc = vec![format!("{id:?}, tier {}", policy.tier)];
        calc.extend(policy.not_enforced.iter().map(|why| format!("denies in its place: {why}")));
        for (direction, rules) in [("ingress", &policy.ingress), ("egress", &policy.egress)] {
            calc.extend(rules.iter().map(|rule| format!("{direction} {rule:?}")));
        }
        let counts = self.core.counts();
        let core = format!(
            "in force: {}; {} events, {} commits, {} whole tables",
            self.core.is_ready(),
            counts.events,
            counts.commits,
            counts.installs
        );
        let (mut classes, mut tables) = (Vec::new(), Vec::new());
        let verdicts = self.verdicts(id);
        for (key, endpoint) in classifier.endpoints() {
            for direction in [Direction::Ingress, Direction::Egress] {
                let Some(place) = place(endpoint, direction, id) else { continue };
                classes.push(format!("{} {}: {place}", key.full_name(), word(direction)));
                tables.extend(self.dispatched(endpoint, direction, &verdicts));
            }
        }
        let paths = self.driver.tables().paths.iter().filter(|(_, path)| leads_by(path, id));
        classes.extend(paths.map(|(number, path)| format!("{number:?}: {path:?}")));
        let status = self.status();
        let counted = status.policies.iter().filter(|policy| policy.kind == kind && policy.name == name);
        let counted = counted.flat_map(|policy| &policy.rules).map(|rule| {
            format!("{} rule {}: {} packets, {} bytes", rule.direction, rule.rule, rule.packets, rule.bytes)
        });
        vec![
            Hop::new("calc", calc),
            Hop::new("agent", vec![core]),
            Hop::new("classify", classes),
            Hop::new("nft", tables),
            Hop::new("kernel", counted.collect()),
        ]
    }

    /// Of each stack how many verdicts it has, and how many of them are by a rule of the policy.
    fn verdicts(&self, id: PolicyId) -> BTreeMap<StackId, (usize, usize)> {
        let tables = self.driver.tables();
        let paths = tables.paths.iter().filter(|(_, path)| leads_by(path, id));
        let ours: BTreeSet<PathId> = paths.map(|(number, _)| *number).collect();
        let mut verdicts: BTreeMap<StackId, (usize, usize)> = BTreeMap::new();
        for (key, verdict) in &tables.entries {
            let (all, by_us) = verdicts.entry(key.stack).or_default();
            *all += 1;
            *by_us += usize::from(ours.contains(&verdict.path));
        }
        verdicts
    }

    /// The stacks that judge an endpoint's packets.
    fn dispatched(
        &self,
        endpoint: &Endpoint,
        direction: Direction,
        verdicts: &BTreeMap<StackId, (usize, usize)>,
    ) -> Vec<String> {
        let tables = self.driver.tables();
        let head = format!("{} {}", endpoint.interface, word(direction));
        let Some(ports) = tables.endpoints.get(&endpoint.interface) else {
            return vec![format!("{head}: unknown, dropped")];
        };
        let dispatches = match direction {
            Direction::Ingress => [&ports.ingress_v4, &ports.ingress_v6],
            Direction::Egress => [&ports.egress_v4, &ports.egress_v6],
        };
        let stacks = dispatches.into_iter().flat_map(|dispatch| match dispatch {
            Dispatch::Stack(stack) => vec![*stack],
            Dispatch::ByAddress(stacks) => stacks.iter().map(|(_, stack)| *stack).collect(),
            Dispatch::Drop => Vec::new(),
        });
        let line = |stack: StackId| {
            let (all, ours) = verdicts.get(&stack).copied().unwrap_or_default();
            let end = tables.stacks.get(&stack).map_or_else(String::new, |chain| {
                format!(", else {:?} by {:?} ({:?})", chain.default.outcome, chain.default.path, chain.family)
            });
            format!("{head}: {stack:?}, {ours} of {all} verdicts by its rules{end}")
        };
        stacks.map(line).collect()
    }
}

/// Where in an endpoint's stack a policy stands.
fn place(endpoint: &Endpoint, direction: Direction, id: PolicyId) -> Option<String> {
    let stack: &Stack = match direction {
        Direction::Ingress => &endpoint.ingress,
        Direction::Egress => &endpoint.egress,
    };
    let policies = stack.tiers.iter().flat_map(|tier| &tier.policies).chain(&stack.profiles);
    let all: Vec<&PolicyId> = policies.collect();
    let at = all.iter().position(|found| **found == id)?;
    Some(format!("{} of the {} that are asked in order", at + 1, all.len()))
}

/// Whether a rule of the policy is on a path, or its end.
fn leads_by(path: &Path, id: PolicyId) -> bool {
    let of = |rule: &RuleRef| matches!(rule, RuleRef::Rule { policy, .. } | RuleRef::TierEnd { policy, .. } if *policy == id);
    of(&path.decided) || path.passed.iter().any(of)
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}
