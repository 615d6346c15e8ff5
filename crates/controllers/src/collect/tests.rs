//! What is collected, when, and what never is.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use tortie_ipam::Now;

use super::*;

const GRACE: Duration = Duration::from_secs(900);

/// A cluster of nodes, and of pods with their node and addresses.
#[derive(Default)]
struct Cluster {
    nodes: BTreeSet<&'static str>,
    strangers: BTreeSet<&'static str>,
    pods: BTreeMap<&'static str, (&'static str, Vec<&'static str>)>,
    is_uncertain: bool,
}

impl Truth for Cluster {
    fn node(&self, name: &str) -> NodeState {
        match (self.nodes.contains(name), self.strangers.contains(name)) {
            (_, true) => NodeState::NotOurs,
            (true, false) => NodeState::There,
            (false, false) => NodeState::Gone,
        }
    }

    fn may_have(&self, pod: &PodName, node: &str, address: IpAddr) -> bool {
        let address = address.to_string();
        self.pods.get(pod.name.as_str()).is_some_and(|(on, addresses)| {
            *on == node && (addresses.is_empty() || addresses.iter().any(|one| *one == address))
        })
    }

    fn is_certain(&self) -> bool {
        !self.is_uncertain
    }
}

fn block(cidr: &str, node: &str) -> Block {
    Block::new(cidr.parse().unwrap(), &Owner::host(node), None, Now(1))
}

/// Gives the address to a pod on a node, under a handle.
fn give(block: &mut Block, address: &str, handle: &str, node: &str, pod: &str) {
    let owner = [("namespace", "shop"), ("pod", pod), ("node", node)];
    give_to(block, address, handle, &owner);
}

fn give_to(block: &mut Block, address: &str, handle: &str, owner: &[(&str, &str)]) {
    let owner: BTreeMap<_, _> =
        owner.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let ordinal = net::ordinal(&block.cidr, address.parse().unwrap()).unwrap();
    block.sequence_number += 1;
    assert!(block.give_one(ordinal, Some(&HandleId::new(handle)), &owner));
}

fn leaked(findings: &Findings) -> Vec<String> {
    findings.leaks.iter().map(|leak| leak.release.address.to_string()).collect()
}

/// A node `n1` with a pod `web` that is there and one `gone` that isn't.
fn one_leak() -> (Block, Cluster) {
    let mut block = block("10.0.0.0/29", "n1");
    give(&mut block, "10.0.0.1", "h1", "n1", "web");
    give(&mut block, "10.0.0.2", "h2", "n1", "gone");
    let cluster = Cluster {
        nodes: ["n1"].into(),
        pods: [("web", ("n1", vec!["10.0.0.1"]))].into(),
        ..Cluster::default()
    };
    (block, cluster)
}

#[test]
fn an_address_without_its_pod_is_a_leak_after_the_time_of_grace() {
    let (block, cluster) = one_leak();
    let (mut collector, begin) = (Collector::default(), Instant::now());
    let mut look =
        |after: Duration| collector.look(begin + after, Some(GRACE), [&block].into_iter(), &cluster);
    let first = look(Duration::ZERO);
    assert_eq!((leaked(&first).len(), first.suspects, first.due), (0, 1, Some(begin + GRACE)));
    assert!(leaked(&look(GRACE - Duration::from_secs(1))).is_empty());
    let found = look(GRACE);
    assert_eq!(leaked(&found), ["10.0.0.2"]);
    let leak = &found.leaks[0];
    assert_eq!(leak.release.handle.as_ref().unwrap().as_str(), "h2");
    assert_eq!(leak.release.sequence_number, Some(3), "that very assignment");
    assert!(found.nodes.is_empty() && found.empty.is_empty());
}

#[test]
fn a_pod_that_comes_back_begins_anew_and_without_grace_nothing_is_released() {
    let (block, mut cluster) = one_leak();
    let (mut collector, begin) = (Collector::default(), Instant::now());
    collector.look(begin, Some(GRACE), [&block].into_iter(), &cluster);
    cluster.pods.insert("gone", ("n1", vec![]));
    let found = collector.look(begin + GRACE, Some(GRACE), [&block].into_iter(), &cluster);
    assert!(found.leaks.is_empty(), "its addresses aren't told yet, so it may have this one");
    cluster.pods.remove("gone");
    let found = collector.look(begin + GRACE * 2, Some(GRACE), [&block].into_iter(), &cluster);
    assert!(found.leaks.is_empty(), "suspect from now on");
    let found = collector.look(begin + GRACE * 9, None, [&block].into_iter(), &cluster);
    assert!(found.leaks.is_empty() && found.suspects == 1);
}

#[test]
fn a_pod_on_another_node_or_with_other_addresses_doesnt_have_it() {
    for pod in [("n2", vec!["10.0.0.2"]), ("n1", vec!["10.0.0.7"])] {
        let (block, mut cluster) = one_leak();
        cluster.nodes.insert("n2");
        cluster.pods.insert("gone", pod);
        let (mut collector, begin) = (Collector::default(), Instant::now());
        collector.look(begin, Some(GRACE), [&block].into_iter(), &cluster);
        let found = collector.look(begin + GRACE, Some(GRACE), [&block].into_iter(), &cluster);
        assert_eq!(leaked(&found), ["10.0.0.2"]);
    }
}

#[test]
fn a_node_that_is_gone_gives_everything_back_at_once_its_tunnels_too() {
    let (mut block, mut cluster) = one_leak();
    give_to(&mut block, "10.0.0.3", "t", &[("node", "n1"), ("type", "vxlanTunnelAddress")]);
    let mut collector = Collector::default();
    cluster.pods.clear();
    assert!(collector.look(Instant::now(), Some(GRACE), [&block].into_iter(), &cluster).leaks.is_empty());
    cluster.nodes.clear();
    let found = collector.look(Instant::now(), Some(GRACE), [&block].into_iter(), &cluster);
    assert_eq!(leaked(&found), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(found.nodes, ["n1"]);
    assert!(found.leaks[2].pod.is_none());
}

#[test]
fn a_pod_that_is_there_holds_a_node_that_is_gone() {
    let (mut block, mut cluster) = one_leak();
    give_to(&mut block, "10.0.0.3", "t", &[("node", "n1"), ("type", "ipipTunnelAddress")]);
    cluster.nodes.clear();
    let found = Collector::default().look(Instant::now(), Some(GRACE), [&block].into_iter(), &cluster);
    assert_eq!(leaked(&found), ["10.0.0.2"], "not the tunnel's, and not the pod's");
    assert!(found.nodes.is_empty());
}

#[test]
fn where_endpoints_are_known_late_a_node_that_is_gone_is_waited_for_too() {
    let (block, mut cluster) = one_leak();
    (cluster.is_uncertain, cluster.pods) = (true, BTreeMap::new());
    cluster.nodes.clear();
    let (mut collector, begin) = (Collector::default(), Instant::now());
    let found = collector.look(begin, Some(GRACE), [&block].into_iter(), &cluster);
    assert!(found.leaks.is_empty() && found.nodes.is_empty());
    let found = collector.look(begin + GRACE, Some(GRACE), [&block].into_iter(), &cluster);
    assert_eq!((leaked(&found).len(), found.nodes.len()), (2, 1));
}

#[test]
fn what_nobody_knows_is_never_touched() {
    let mut block = block("10.0.0.0/29", "n1");
    give_to(&mut block, "10.0.0.1", "mine", &[("node", "n1")]);
    give_to(&mut block, "10.0.0.2", "windows-reserved-ipam-handle", &[("note", "windows")]);
    give_to(&mut block, "10.0.0.3", "no-node", &[("namespace", "shop"), ("pod", "gone")]);
    give(&mut block, "10.0.0.4", "stranger", "openstack", "gone");
    let cluster = Cluster { strangers: ["openstack"].into(), ..Cluster::default() };
    let (mut collector, begin) = (Collector::default(), Instant::now());
    for rounds in 0..3 {
        let found = collector.look(begin + GRACE * rounds, Some(GRACE), [&block].into_iter(), &cluster);
        assert!(found.leaks.is_empty() && found.nodes.is_empty() && found.empty.is_empty());
    }
}

#[test]
fn a_handle_goes_whole_or_not_at_all() {
    let (mut v4, mut v6) = (block("10.0.0.0/29", "n1"), block("fd00::/125", "n1"));
    give(&mut v4, "10.0.0.1", "pair", "n1", "web");
    give(&mut v6, "fd00::1", "pair", "n1", "web");
    let mut cluster = Cluster {
        nodes: ["n1"].into(),
        pods: [("web", ("n1", vec!["10.0.0.1"]))].into(),
        ..Cluster::default()
    };
    let (mut collector, begin) = (Collector::default(), Instant::now());
    collector.look(begin, Some(GRACE), [&v4, &v6].into_iter(), &cluster);
    let found = collector.look(begin + GRACE, Some(GRACE), [&v4, &v6].into_iter(), &cluster);
    assert!(found.leaks.is_empty(), "its other address is in use");
    cluster.pods.clear();
    collector.look(begin + GRACE, Some(GRACE), [&v4, &v6].into_iter(), &cluster);
    let found = collector.look(begin + GRACE * 2, Some(GRACE), [&v4, &v6].into_iter(), &cluster);
    assert_eq!(leaked(&found), ["10.0.0.1", "fd00::1"]);
}

#[test]
fn an_address_that_was_given_anew_is_another_one() {
    let (mut block, cluster) = one_leak();
    let (mut collector, begin) = (Collector::default(), Instant::now());
    collector.look(begin, Some(GRACE), [&block].into_iter(), &cluster);
    block.release(&[2], Now(2), 0);
    give(&mut block, "10.0.0.2", "h2", "n1", "gone");
    let found = collector.look(begin + GRACE, Some(GRACE), [&block].into_iter(), &cluster);
    assert!(found.leaks.is_empty() && found.suspects == 1);
}

#[test]
fn an_empty_block_goes_after_the_time_of_grace_but_not_a_nodes_last() {
    let cluster = Cluster { nodes: ["n1", "n2"].into(), ..Cluster::default() };
    let blocks = [block("10.0.0.0/29", "n1"), block("10.0.0.8/29", "n1"), block("10.0.0.16/29", "n2")];
    let (mut collector, begin) = (Collector::default(), Instant::now());
    let found = collector.look(begin, Some(GRACE), blocks.iter(), &cluster);
    assert!(found.empty.is_empty() && found.due == Some(begin + GRACE));
    let found = collector.look(begin + GRACE, Some(GRACE), blocks.iter(), &cluster);
    assert_eq!(found.empty, [("n1".to_owned(), "10.0.0.0/29".parse().unwrap())]);
}

#[test]
fn an_address_that_cools_down_is_nobodys() {
    let (mut block, cluster) = one_leak();
    block.release(&[2], Now(2_000_000_000), 3600);
    let found = Collector::default().look(Instant::now(), Some(GRACE), [&block].into_iter(), &cluster);
    assert_eq!(found.suspects, 0);
}
