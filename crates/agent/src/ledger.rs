//! What each rule has counted, over all paths and generations of the kernel's counters.
//!
//! The kernel counts paths: lists of rules that first packets of connections went through. A
//! rule's count is the sum over the paths that it is on. A path that goes leaves its last value here.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use tortie_api::kind::Kind;
use tortie_api::policy::Direction;
use tortie_classify::Classifier;
use tortie_dataplane::flat::{Path, PathId, RuleRef};
use tortie_dataplane::policy::PolicyId;
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
        Self::with(rule, policy_of(rule).and_then(|id| PolicyName::of(id, classifier)).as_ref())
    }

    fn with(rule: RuleRef, of: Option<&PolicyName>) -> Self {
        let (direction, index) = match rule {
            RuleRef::Rule { policy: _, direction, index } => (direction, i64::from(index)),
            RuleRef::TierEnd { policy: _, direction } | RuleRef::NoProfile { direction } => (direction, -1),
        };
        let (kind, policy, tier) = match of {
            Some(PolicyName { kind, policy, tier }) => (*kind, policy.clone(), tier.to_string()),
            None => (Kind::Profile.name(), PROFILES.to_owned(), PROFILES.to_owned()),
        };
        let direction = direction_word(direction).to_owned();
        Self { kind: kind.to_owned(), policy, tier, direction, rule: index }
    }
}

/// The policy that a rule is of; none for the end of the profiles.
const fn policy_of(rule: RuleRef) -> Option<PolicyId> {
    match rule {
        RuleRef::Rule { policy, .. } | RuleRef::TierEnd { policy, .. } => Some(policy),
        RuleRef::NoProfile { .. } => None,
    }
}

/// What rules of one policy have in common.
#[derive(Debug)]
struct PolicyName {
    kind: &'static str,
    policy: String,
    tier: Arc<str>,
}

impl PolicyName {
    fn of(id: PolicyId, classifier: &Classifier) -> Option<Self> {
        let policy = classifier.policy(id)?;
        Some(Self {
            kind: policy.key.kind.qualified_name(),
            policy: policy.key.full_name(),
            tier: Arc::clone(&policy.tier),
        })
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
    paths: FxHashMap<PathId, Arc<Path>>,
    /// Policies that paths name, and how often: they may be gone before their paths are.
    names: FxHashMap<PolicyId, (PolicyName, usize)>,
    past: BTreeMap<RuleName, Count>,
}

impl Ledger {
    /// A path came into use, or is still.
    pub fn add_path(&mut self, id: PathId, path: &Arc<Path>, classifier: &Classifier) {
        if self.paths.insert(id, Arc::clone(path)).is_some() {
            return;
        }
        for policy in rules_of(path).filter_map(policy_of) {
            match self.names.entry(policy) {
                Entry::Occupied(mut known) => known.get_mut().1 += 1,
                Entry::Vacant(new) => {
                    if let Some(name) = PolicyName::of(policy, classifier) {
                        new.insert((name, 1));
                    }
                }
            }
        }
    }

    /// A path went out of use, with its last value.
    pub fn remove_path(&mut self, id: PathId, last: Count, classifier: &Classifier) {
        let Some(path) = self.paths.remove(&id) else { return };
        for rule in rules_of(&path) {
            let name = self.name(rule, classifier);
            add(self.past.entry(name).or_default(), last);
            let Some(policy) = policy_of(rule) else { continue };
            if let Entry::Occupied(mut known) = self.names.entry(policy) {
                known.get_mut().1 -= 1;
                if known.get().1 == 0 {
                    known.remove();
                }
            }
        }
    }

    /// The rules of a path, the one that decided last.
    pub fn rules(&self, id: PathId, classifier: &Classifier) -> Option<Vec<RuleName>> {
        Some(rules_of(self.paths.get(&id)?).map(|rule| self.name(rule, classifier)).collect())
    }

    /// Forgets what rules of policies counted that are no more.
    pub fn retain(&mut self, mut there: impl FnMut(&RuleName) -> bool) {
        self.past.retain(|rule, _| there(rule));
    }

    /// Each rule's count, given what the paths in use have counted.
    pub fn totals(
        &self,
        live: &BTreeMap<PathId, Count>,
        classifier: &Classifier,
    ) -> BTreeMap<RuleName, Count> {
        let mut sums = FxHashMap::<RuleRef, Count>::default();
        for (id, path) in &self.paths {
            let count = live.get(id).copied().unwrap_or_default();
            rules_of(path).for_each(|rule| add(sums.entry(rule).or_default(), count));
        }
        let mut totals = self.past.clone();
        for (rule, sum) in sums {
            add(totals.entry(self.name(rule, classifier)).or_default(), sum);
        }
        totals
    }

    /// A rule's name as it is now, or was when its policy was still there.
    fn name(&self, rule: RuleRef, classifier: &Classifier) -> RuleName {
        let Some(policy) = policy_of(rule) else { return RuleName::with(rule, None) };
        match PolicyName::of(policy, classifier) {
            Some(name) => RuleName::with(rule, Some(&name)),
            None => RuleName::with(rule, self.names.get(&policy).map(|(name, _)| name)),
        }
    }
}

/// The rules of a path, the one that decided last.
fn rules_of(path: &Path) -> impl Iterator<Item = RuleRef> {
    path.passed.iter().copied().chain([path.decided])
}

fn add(sum: &mut Count, count: Count) {
    sum.packets += count.packets;
    sum.bytes += count.bytes;
}
