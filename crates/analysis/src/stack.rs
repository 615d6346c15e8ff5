//! What applies to an endpoint, in order, and the walk through it.
//!
//! ```text
//! tier (policies of the stage that apply) -> .. -> tier -> profiles
//! Allow, Deny: decided | Log: go on | Pass: next tier | end of a tier: its default action
//! ```
//! Called by `judge`, which knows which stages a packet goes through.

use std::cmp::Ordering;
use std::sync::Arc;

use tortie_api::policy::{Action, Direction};

use crate::answer::{By, Decision, Outcome, Step};
use crate::cluster::{Cluster, Endpoint};
use crate::flow::Packet;
use crate::policy::{DEFAULT_TIER, Policy, Stage};
use crate::rule::Rule;

/// A tier with its policies in order.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) name: Arc<str>,
    order: f64,
    /// What happens at its end: pass, else deny.
    pass: bool,
    /// Whether there is such an object.
    exists: bool,
    pub(crate) policies: Vec<Policy>,
}

impl Tier {
    pub(crate) fn new(name: &str, order: f64, pass: bool, exists: bool) -> Self {
        Self { name: name.into(), order, pass, exists, policies: Vec::new() }
    }

    /// The tiers that are always there.
    pub(crate) fn built_in() -> [Self; 3] {
        [
            Self::new(DEFAULT_TIER, 1e6, false, true),
            Self::new("kube-admin", 1e3, true, true),
            Self::new("kube-baseline", 1e7, true, true),
        ]
    }

    /// Existing tiers first, then by order, then by name.
    pub(crate) fn compare(left: &Self, right: &Self) -> Ordering {
        (right.exists.cmp(&left.exists))
            .then(compare_orders(left.order, right.order))
            .then_with(|| left.name.cmp(&right.name))
    }
}

/// Compares orders as numbers: 0 and -0 are equal.
pub(crate) fn compare_orders(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or(Ordering::Equal)
}

/// The chains of an endpoint that a packet can go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    /// doNotTrack policies. No default action, no profiles.
    Untracked,
    /// preDNAT policies. No default action, no profiles.
    PreDnat,
    /// Normal policies that are set to apply to forwarded packets. No profiles.
    Forward,
    /// Normal policies and profiles.
    Normal,
}

/// Which policies apply to an endpoint: for each direction and chain, tiers with their policies, as indices.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    ingress: [Stack; 4],
    egress: [Stack; 4],
}

type Stack = Vec<(usize, Vec<usize>)>;

impl Stacks {
    fn of(cluster: &Cluster, endpoint: &Endpoint) -> Self {
        let mut stacks = Self::default();
        for (tier_index, tier) in cluster.tiers.iter().enumerate() {
            for (index, policy) in tier.policies.iter().enumerate() {
                if !policy.applies_to(endpoint) {
                    continue;
                }
                for direction in [Direction::Ingress, Direction::Egress] {
                    if policy.rules(direction).is_none() {
                        continue;
                    }
                    let chains: &[Chain] = match policy.stage {
                        Stage::Untracked => &[Chain::Untracked],
                        Stage::PreDnat => &[Chain::PreDnat],
                        Stage::Normal { forward: true } => &[Chain::Forward, Chain::Normal],
                        Stage::Normal { forward: false } => &[Chain::Normal],
                    };
                    for &chain in chains {
                        let stack = stacks.get_mut(direction, chain);
                        match stack.last_mut() {
                            Some((last, policies)) if *last == tier_index => policies.push(index),
                            _ => stack.push((tier_index, vec![index])),
                        }
                    }
                }
            }
        }
        stacks
    }

    fn get_mut(&mut self, direction: Direction, chain: Chain) -> &mut Stack {
        match direction {
            Direction::Ingress => &mut self.ingress[chain as usize],
            Direction::Egress => &mut self.egress[chain as usize],
        }
    }

    fn get(&self, direction: Direction, chain: Chain) -> &Stack {
        match direction {
            Direction::Ingress => &self.ingress[chain as usize],
            Direction::Egress => &self.egress[chain as usize],
        }
    }
}

/// One walk of a packet through an endpoint's chains; the path grows over all of them.
pub(crate) struct Walk<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) direction: Direction,
    pub(crate) packet: &'a Packet,
    pub(crate) path: Vec<Step>,
}

enum Met {
    Decided(Outcome, usize),
    Passed,
    Nothing,
}

impl Walk<'_> {
    /// Goes through the tiers of a chain. `None`: nothing decided.
    pub(crate) fn tiers(&mut self, chain: Chain) -> Option<Decision> {
        let stacks = self.endpoint.stacks.get_or_init(|| Stacks::of(self.cluster, self.endpoint));
        for (tier, policies) in stacks.get(self.direction, chain) {
            let tier = &self.cluster.tiers[*tier];
            let mut passed = false;
            for policy in policies.iter().map(|&index| &tier.policies[index]) {
                let rules = policy.rules(self.direction).unwrap_or_default();
                let by = |rule| By::Rule { tier: tier.name.clone(), policy: policy.key.clone(), rule };
                match self.rules(rules, &by) {
                    Met::Decided(outcome, rule) => return Some(self.decide(outcome, by(rule))),
                    Met::Passed => {
                        passed = true;
                        break;
                    }
                    Met::Nothing => {}
                }
            }
            let ends = matches!(chain, Chain::Normal | Chain::Forward);
            if !passed && ends {
                let first = &tier.policies[policies[0]];
                let by = By::TierEnd { tier: tier.name.clone(), policy: first.key.clone() };
                if !tier.pass {
                    return Some(self.decide(Outcome::Deny, by));
                }
                self.path.push(Step::Pass(by));
            }
        }
        None
    }

    /// Goes through the profiles, which always decide.
    pub(crate) fn profiles(&mut self) -> Decision {
        for name in &self.endpoint.profiles {
            let Some(profile) = self.cluster.profiles.get(name) else {
                return self.decide(Outcome::Deny, By::MissingProfile { profile: name.clone() });
            };
            let by = |rule| By::Profile { profile: name.clone(), rule };
            // A profile that passes only ends itself.
            if let Met::Decided(outcome, rule) = self.rules(profile.rules(self.direction), &by) {
                return self.decide(outcome, by(rule));
            }
        }
        self.decide(Outcome::Deny, By::NoProfile)
    }

    /// A decision here.
    pub(crate) fn decide(&mut self, outcome: Outcome, by: By) -> Decision {
        Decision { outcome, by, path: std::mem::take(&mut self.path) }
    }

    fn rules(&mut self, rules: &[Rule], by: &dyn Fn(usize) -> By) -> Met {
        for (index, rule) in rules.iter().enumerate() {
            if !rule.matches(self.cluster, self.packet) {
                continue;
            }
            match rule.action {
                Action::Allow => return Met::Decided(Outcome::Allow, index),
                Action::Deny => return Met::Decided(Outcome::Deny, index),
                Action::Log => self.path.push(Step::Log(by(index))),
                Action::Pass => {
                    self.path.push(Step::Pass(by(index)));
                    return Met::Passed;
                }
            }
        }
        Met::Nothing
    }
}
