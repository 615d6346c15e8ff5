//! Which addresses nobody has any more, and which blocks nobody needs. Pure: blocks, what is known of pods and nodes, and the
//! time in; what to release out. [`crate::collector`] does it.
//!
//! As Calico's controllers have it:
//! - A pod's address is *suspect* when its pod isn't there, is on another node, or says that it has other addresses. It is a
//!   *leak* when it has been suspect for the time of grace, or at once when its node is gone as well and that is certain.
//! - An address of a tunnel is a leak when its node is gone and nothing on that node is in use any more.
//! - What has neither a pod nor a tunnel for an owner is never touched, and holds its node's blocks.
//! - All addresses of a handle are released, or none.
//! - A node that is gone gives up its blocks when nothing of it is in use; a node that is there gives up a block that has been
//!   empty for the time of grace, but not its last.
//!
//! Nothing is concluded from the absence of what isn't known: whoever calls has complete lists.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tortie_ipam::record::Block;
use tortie_ipam::{HandleId, Owner, Release, net};

/// The handle of addresses that Windows keeps for itself: they go with their block.
const WINDOWS: &str = "windows-reserved-ipam-handle";

/// What addresses of tunnels have for a `type`.
const TUNNELS: [&str; 5] = [
    "ipipTunnelAddress",
    "vxlanTunnelAddress",
    "vxlanV6TunnelAddress",
    "wireguardTunnelAddress",
    "wireguardV6TunnelAddress",
];

/// What is known of a node by its name in address management.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It is there.
    There,
    /// It isn't.
    Gone,
    /// It is there, and none of those that are looked after.
    NotOurs,
}

/// What is known of the cluster.
pub trait Truth {
    /// A node.
    fn node(&self, name: &str) -> NodeState;

    /// Whether the pod may have an address that was given to it on this node.
    fn may_have(&self, pod: &PodName, node: &str, address: IpAddr) -> bool;

    /// Whether a pod that isn't known isn't there: not so where an endpoint is only known after its addresses are.
    fn is_certain(&self) -> bool;
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An address that nobody has any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The very assignment: it isn't released if it was given anew since.
    pub release: Release,
    /// The node on which it was given.
    pub node: String,
    /// Whose it was; none if it was a tunnel's.
    pub pod: Option<PodName>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// To release.
    pub leaks: Vec<Leak>,
    /// Nodes that are gone, whose blocks are to be given up when their leaks are released.
    pub nodes: Vec<String>,
    /// Blocks that their nodes don't need.
    pub empty: Vec<(String, IpNet)>,
    /// How many addresses are suspect, and no leaks yet.
    pub suspects: usize,
    /// When to look again though nothing has changed.
    pub due: Option<Instant>,
}

/// An assignment, for as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Id {
    address: IpAddr,
    handle: Option<HandleId>,
    sequence: Option<u64>,
}

/// An assignment that may be looked into.
struct Given {
    id: Id,
    pod: Option<PodName>,
    is_tunnel: bool,
}

/// Remembers since when what looks as if nobody needed it looks so.
#[derive(Debug, Default)]
pub struct Collector {
    suspects: HashMap<Id, Instant>,
    empty: HashMap<IpNet, Instant>,
}

impl Collector {
    /// Looks at everything. Without a time of grace nothing becomes a leak by waiting, and no block is given up for being empty.
    pub fn look<'a>(
        &mut self,
        now: Instant,
        grace: Option<Duration>,
        blocks: impl Iterator<Item = &'a Block> + Clone,
        truth: &dyn Truth,
    ) -> Findings {
        let mut findings = Findings::default();
        let mut by_node: BTreeMap<String, Vec<Given>> = BTreeMap::new();
        let mut used: HashMap<Option<HandleId>, usize> = HashMap::new();
        for block in blocks.clone() {
            if let Some(Owner::Host(name)) = block.owner() {
                by_node.entry(name).or_default();
            }
            for (node, given) in given(block) {
                *used.entry(given.id.handle.clone()).or_default() += 1;
                by_node.entry(node).or_default().push(given);
            }
        }
        let mut leaks: Vec<Leak> = Vec::new();
        let mut suspects = HashMap::new();
        for (node, all) in by_node {
            let state = if node.is_empty() { NodeState::NotOurs } else { truth.node(&node) };
            if state == NodeState::NotOurs {
                continue;
            }
            let mut nothing_is_used = true;
            let mut tunnels = Vec::new();
            for Given { id, pod, is_tunnel } in all {
                if id.handle.as_ref().is_some_and(|handle| handle.as_str().eq_ignore_ascii_case(WINDOWS)) {
                    continue;
                }
                if is_tunnel {
                    tunnels.push(id);
                    continue;
                }
                let Some(pod) = pod.filter(|pod| !truth.may_have(pod, &node, id.address)) else {
                    nothing_is_used = false;
                    continue;
                };
                let since = *self.suspects.get(&id).unwrap_or(&now);
                let waited = grace.is_some_and(|grace| now.saturating_duration_since(since) >= grace);
                if waited || (state == NodeState::Gone && truth.is_certain()) {
                    leaks.push(leak(&id, &node, Some(pod)));
                } else {
                    nothing_is_used = false;
                    findings.suspects += 1;
                    sooner(&mut findings.due, grace.map(|grace| since + grace));
                }
                suspects.insert(id, since);
            }
            if state == NodeState::Gone && nothing_is_used {
                leaks.extend(tunnels.iter().map(|id| leak(id, &node, None)));
                findings.nodes.push(node);
            }
        }
        self.suspects = suspects;
        findings.leaks = whole_handles(leaks, &used);
        let gone: HashSet<&str> = findings.nodes.iter().map(String::as_str).collect();
        let (empty, due) = self.look_for_empty(now, grace, blocks, |node| {
            !gone.contains(node) && truth.node(node) == NodeState::There
        });
        findings.empty = empty;
        sooner(&mut findings.due, due);
        findings
    }

    /// Forgets that an address was suspect: it turned out to be in use.
    pub fn acquit(&mut self, leak: &Leak) {
        let Release { address, handle, sequence_number } = leak.release.clone();
        self.suspects.remove(&Id { address, handle, sequence: sequence_number });
    }

    fn look_for_empty<'a>(
        &mut self,
        now: Instant,
        grace: Option<Duration>,
        blocks: impl Iterator<Item = &'a Block>,
        is_there: impl Fn(&str) -> bool,
    ) -> (Vec<(String, IpNet)>, Option<Instant>) {
        let mut by_node: BTreeMap<String, (usize, BTreeSet<IpNet>)> = BTreeMap::new();
        for block in blocks {
            if let Some(Owner::Host(name)) = block.owner() {
                let (count, empty) = by_node.entry(name).or_default();
                *count += 1;
                if block.is_empty() {
                    empty.insert(block.cidr);
                }
            }
        }
        let (mut found, mut due, mut still) = (Vec::new(), None, HashMap::new());
        for (node, (mut count, empty)) in by_node {
            if !is_there(&node) {
                continue;
            }
            for cidr in empty {
                let since = *self.empty.get(&cidr).unwrap_or(&now);
                still.insert(cidr, since);
                let Some(grace) = grace.filter(|_| count > 1) else { continue };
                if now.saturating_duration_since(since) >= grace {
                    count -= 1;
                    found.push((node.clone(), cidr));
                } else {
                    sooner(&mut due, Some(since + grace));
                }
            }
        }
        self.empty = still;
        (found, due)
    }
}

fn sooner(due: &mut Option<Instant>, other: Option<Instant>) {
    *due = due.iter().copied().chain(other).min();
}

fn leak(id: &Id, node: &str, pod: Option<PodName>) -> Leak {
    let Id { address, handle, sequence } = id.clone();
    Leak { release: Release { address, handle, sequence_number: sequence }, node: node.to_owned(), pod }
}

/// Those whose handle has no other address that is in use.
fn whole_handles(leaks: Vec<Leak>, used: &HashMap<Option<HandleId>, usize>) -> Vec<Leak> {
    let mut leaked: HashMap<Option<HandleId>, usize> = HashMap::new();
    for leak in &leaks {
        *leaked.entry(leak.release.handle.clone()).or_default() += 1;
    }
    let is_whole = |leak: &Leak| {
        let handle = &leak.release.handle;
        handle.is_none() || leaked.get(handle) == used.get(handle)
    };
    leaks.into_iter().filter(is_whole).collect()
}

/// What of a block is given, with the node on which. What cools down isn't.
fn given(block: &Block) -> impl Iterator<Item = (String, Given)> {
    (0..net::size(&block.cidr)).filter_map(|ordinal| {
        let holder = block.holder(ordinal)?;
        let owner = |name: &str| holder.owner.get(name).filter(|text| !text.is_empty()).cloned();
        let pod = owner("namespace").zip(owner("pod")).map(|(namespace, name)| PodName { namespace, name });
        let id = Id {
            address: net::nth(&block.cidr, ordinal),
            handle: holder.handle(),
            sequence: block.sequence_number_for_allocation.get(ordinal),
        };
        let is_tunnel = owner("type").is_some_and(|of| TUNNELS.contains(&of.as_str()));
        Some((owner("node").unwrap_or_default(), Given { id, pod, is_tunnel }))
    })
}

#[cfg(test)]
mod tests;
