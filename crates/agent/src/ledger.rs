//! What each rule has counted, over all paths and generations of the kernel's counters.
//!
//! The kernel counts paths: lists of rules that first packets of connections went through. A
//! rule's count is the sum over the paths that it is on. A path that goes leaves its last value here.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::Direction;
use tortie_classify::Classifier;
use tortie_dataplane::flat::{Path, PathId, RuleRef};
use tortie_nft::flat::Count;

/// A rule by name, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleName {
    /// `NetworkPolicy` and so on; `Profile`.
    pub kind: String,
    /// `namespace/name` or `name`; `__PROFILE__` where no profile decides.
    pub policy: String,
    /// The tier's name; `__PROFILE__` for profiles.
    pub tier: String,
    /// `ingress` or `egress`.
    pub direction: String,
    /// From 0; -1 at the end of a tier or of the profiles.
    pub rule: i64,
}

impl RuleName {
    /// The name of a rule that is in force.
    pub fn of(rule: RuleRef, classifier: &Classifier) -> Self {
        let (policy, direction, index) = match rule {
            RuleRef::Rule { policy, direction, index } => (Some(policy), direction, i64::from(index)),
            RuleRef::TierEnd { policy, direction } => (Some(policy), direction, -1),
            RuleRef::NoProfile { direction } => (None, direction, -1),
        };
        let known = policy.and_then(|id| classifier.policy(id));
        let (kind, name, tier) = match known {
            Some(policy) => {
                (policy.key.kind.qualified_name(), policy.key.full_name(), policy.tier.to_string())
            }
            None => (Kind::Profile.name(), PROFILES.to_owned(), PROFILES.to_owned()),
        };
        Self {
            kind: kind.to_owned(),
            policy: name,
            tier,
            direction: direction_word(direction).to_owned(),
            rule: index,
        }
    }

    /// Whether it is a rule of this policy.
    pub fn is_of(&self, key: &ResourceKey) -> bool {
        self.kind == key.kind.qualified_name() && self.policy == key.full_name()
    }
}

/// The tier of profiles, and the policy where none matches.
pub const PROFILES: &str = "__PROFILE__";

/// `ingress` or `egress`.
pub const fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// The sums.
#[derive(Debug, Default)]
pub struct Ledger {
    paths: FxHashMap<PathId, Arc<[RuleName]>>,
    past: BTreeMap<RuleName, Count>,
}

impl Ledger {
    /// A path came into use.
    pub fn add_path(&mut self, id: PathId, path: &Path, classifier: &Classifier) {
        let rules = path.passed.iter().chain([&path.decided]);
        self.paths.insert(id, rules.map(|rule| RuleName::of(*rule, classifier)).collect());
    }

    /// A path went out of use, with its last value.
    pub fn remove_path(&mut self, id: PathId, last: Count) {
        for rule in self.paths.remove(&id).iter().flat_map(|rules| rules.iter()) {
            add(self.past.entry(rule.clone()).or_default(), last);
        }
    }

    /// The rules of a path, the one that decided last.
    pub fn rules(&self, id: PathId) -> Option<&Arc<[RuleName]>> {
        self.paths.get(&id)
    }

    /// Forgets what rules of policies counted that are no more.
    pub fn retain(&mut self, mut there: impl FnMut(&RuleName) -> bool) {
        self.past.retain(|rule, _| there(rule));
    }

    /// Each rule's count, given what the paths in use have counted.
    pub fn totals(&self, live: &BTreeMap<PathId, Count>) -> BTreeMap<RuleName, Count> {
        let mut totals = self.past.clone();
        for (id, rules) in &self.paths {
            let count = live.get(id).copied().unwrap_or_default();
            for rule in rules.iter() {
                add(totals.entry(rule.clone()).or_default(), count);
            }
        }
        totals
    }
}

fn add(sum: &mut Count, count: Count) {
    sum.packets += count.packets;
    sum.bytes += count.bytes;
}
