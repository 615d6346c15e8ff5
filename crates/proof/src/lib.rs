//! Random clusters, edits and packets: every path to a verdict is held to `analysis`.
//!
//! ```text
//!  random::cluster, random::edit --> events --> calc --> classify --> flat::Tables --> lookup::judge
//!                                \-> analysis::Cluster ---------------------------> judge_at
//!  check compares, verdict and path, for random packets: after each commit, and after each of
//!        its steps, where the old or the new verdict must hold
//!  shrink makes a failure small; faults shows that failures are seen; cover that all is tried
//! ```
//! The same clusters go through a real kernel in `tests/kernel`.

pub mod check;
pub mod cover;
pub mod faults;
pub mod node;
pub mod packets;
pub mod random;
pub mod rules;
pub mod shrink;

use std::fmt::Write as _;

use fastrand::Rng;
use tortie_api::resource::Resource;

use crate::check::{Case, Fault};
use crate::cover::Cover;
use crate::rules::Theme;

/// How large a random case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The first cluster's seed; each next cluster has the next.
    pub seed: u64,
    /// Commits after the first listing.
    pub commits: usize,
    /// Edits in each, or one.
    pub edits: usize,
    /// Packets after each.
    pub packets: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, commits: 7, edits: 2, packets: 14 }
    }
}

impl Plan {
    /// Packets of one cluster.
    pub const fn packets_per_cluster(&self) -> u64 {
        self.packets as u64 * (self.commits as u64 + 1)
    }

    /// The case of one seed. Always the same for the same seed.
    pub fn case(&self, seed: u64) -> Case {
        let mut random = Rng::with_seed(seed);
        let theme = Theme::pick(&mut random);
        let objects = random::cluster(&mut random, theme);
        let mut now = objects.clone();
        let edits = (0..self.commits)
            .map(|_| {
                // Half of the commits are a single edit.
                let edits = if random.bool() { 1 } else { self.edits };
                (0..edits)
                    .map(|_| {
                        let edit = random::edit(&mut random, theme, &now);
                        match &edit {
                            random::Edit::Put(object) => now.insert(object.key(), object.clone()),
                            random::Edit::Delete(key) => now.remove(key),
                        };
                        edit
                    })
                    .collect()
            })
            .collect();
        Case { seed, theme, objects, edits, packets: self.packets }
    }
}

/// Runs so many clusters, or up to the first difference, which is made small and told in words.
pub fn search(plan: Plan, clusters: u64, fault: Fault) -> (Cover, Option<String>) {
    let mut cover = Cover::default();
    for seed in (plan.seed..).take(usize::try_from(clusters).unwrap_or(usize::MAX)) {
        let case = plan.case(seed);
        if check::run(&case, fault, &mut cover).is_some() {
            return (cover, Some(report(&case, fault)));
        }
    }
    (cover, None)
}

/// The smallest form of a failing case, for people.
fn report(case: &Case, fault: Fault) -> String {
    let (small, difference) = shrink::shrink(case, fault);
    let mut text = format!("seed {}: {difference}\nobjects at the start:\n", case.seed);
    for object in small.objects.values() {
        let _ = writeln!(text, "  {}", brief(object));
    }
    for (at, edits) in small.edits.iter().enumerate() {
        let _ = writeln!(text, "commit {}:", at + 1);
        for edit in edits {
            let _ = match edit {
                random::Edit::Put(object) => writeln!(text, "  put {}", brief(object)),
                random::Edit::Delete(key) => writeln!(text, "  delete {key}"),
            };
        }
    }
    text
}

/// An object on a line, as JSON.
fn brief(object: &Resource) -> String {
    let key = object.key();
    let json = match object {
        Resource::NetworkPolicy(policy) => serde_json::to_string(&policy.spec),
        Resource::GlobalNetworkPolicy(policy) => serde_json::to_string(&policy.spec),
        Resource::KubernetesNetworkPolicy(policy) => serde_json::to_string(&policy.spec),
        Resource::KubernetesClusterNetworkPolicy(policy) => serde_json::to_string(&policy.spec),
        Resource::Tier(tier) => serde_json::to_string(&tier.spec),
        Resource::Profile(profile) => serde_json::to_string(&profile.spec),
        Resource::WorkloadEndpoint(endpoint) => serde_json::to_string(&**endpoint),
        Resource::NetworkSet(set) => serde_json::to_string(&**set),
        Resource::GlobalNetworkSet(set) => serde_json::to_string(&**set),
        Resource::Namespace(namespace) => serde_json::to_string(&namespace.metadata.labels),
        Resource::ServiceAccount(account) => serde_json::to_string(&account.metadata.labels),
        other => Ok(format!("{other:?}")),
    };
    format!("{key} {}", json.unwrap_or_else(|error| error.to_string()))
}
