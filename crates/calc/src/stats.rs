//! What a graph holds, for status, tests and benchmarks.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::kind::ResourceKey;
use tortie_dataplane::policy::{Endpoint, Member, SetId, Stack, StackTier};

use crate::graph::Graph;

/// Sizes of a graph, as of the last flush.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Workload endpoints of all nodes, host endpoints and network sets.
    pub items: usize,
    /// Policies that exist.
    pub policies: usize,
    /// Policies in use on this node.
    pub policies_in_use: usize,
    /// Profiles in use on this node, missing ones among them.
    pub profiles_in_use: usize,
    /// Local endpoints that were told.
    pub endpoints: usize,
    /// Different stacks of local endpoints.
    pub stacks: usize,
    /// Sets that a policy in use names.
    pub sets: usize,
    /// How many addresses, nets and ports each of those sets has, sorted. Those of one prefix
    /// count once, whoever owns it; a set of nothing isn't listed.
    pub set_sizes: Vec<usize>,
    /// Policies of local endpoints: each once for each endpoint and direction.
    pub references: usize,
    /// Prefixes that are in a set.
    pub prefixes: usize,
    /// Different selectors that policies and rules have.
    pub selectors: usize,
    /// Different names of labels, in objects and in selectors, and of ports.
    pub texts: usize,
}

impl Graph {
    /// Sizes, as of the last flush. Walks over everything: not for every update.
    pub fn stats(&mut self) -> Stats {
        let mut sizes: FxHashMap<SetId, usize> = FxHashMap::default();
        let membership = &mut self.membership;
        let mut lists: FxHashMap<u32, usize> = FxHashMap::default();
        membership.prefixes.for_each_own(&mut membership.lists, |list, _| {
            *lists.entry(list.0).or_default() += 1;
        });
        for (list, addresses) in lists {
            for member in &**membership.lists.members(crate::members::ListId(list)) {
                let (Member::Of(set) | Member::Port { set, .. }) = member;
                *sizes.entry(*set).or_default() += addresses;
            }
        }
        membership.lists.sweep();
        let mut set_sizes: Vec<usize> = sizes.into_values().collect();
        set_sizes.sort_unstable();
        let policies = |stack: &Stack| {
            stack.tiers.iter().map(|StackTier { policies, end: _ }| policies.len()).sum::<usize>()
        };
        let told: Vec<&Arc<Endpoint>> =
            self.locals.entries.values().filter_map(|local| local.told.as_ref()).collect();
        let stacks: FxHashSet<*const Stack> = told
            .iter()
            .flat_map(|endpoint| [Arc::as_ptr(&endpoint.ingress), Arc::as_ptr(&endpoint.egress)])
            .collect();
        Stats {
            items: self.membership.items.len(),
            policies: self.book.iter().filter(|entry| entry.saying.is_some()).count(),
            policies_in_use: self.book.iter().filter(|entry| entry.told.is_some()).count(),
            profiles_in_use: self.profiles.iter().filter(|entry| entry.told.is_some()).count(),
            endpoints: told.len(),
            stacks: stacks.len(),
            sets: self.sets.active(),
            set_sizes,
            references: told
                .iter()
                .map(|endpoint| policies(&endpoint.ingress) + policies(&endpoint.egress))
                .sum(),
            prefixes: self.membership.prefixes.len(),
            selectors: self.expressions.len(),
            texts: self.symbols.len(),
        }
    }

    /// Whether all that existed at the start has been told.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Objects that can't be used as they are, and why, in words for people. A policy among them
    /// denies in its place, or has what denies in the place of a rule; an endpoint or network set is
    /// not there.
    pub fn problems(&self) -> impl Iterator<Item = (&ResourceKey, &str)> {
        self.problems.iter().map(|(key, reason)| (key, &**reason))
    }

    /// The sets that an address is in, as it was told: what `tortie trace` shows.
    pub fn memberships(&self, address: std::net::IpAddr) -> Arc<[Member]> {
        Arc::clone(self.membership.lists.members(self.membership.prefixes.lookup(address)))
    }
}
