//! The verdict of a packet on one machine, as its dataplane gives it.
//!
//! `judge` says what policy says of both sides, wherever they are. A machine judges only the
//! workloads that it runs, never denies its own packets to them (health checks), and has a
//! setting for their packets to itself. The lab and the agent compare with this.

use std::net::IpAddr;

use tortie_api::policy::Direction;

use crate::answer::{Answer, By, Decision, Outcome};
use crate::cluster::{Cluster, EndpointId};
use crate::flow::Packet;
use crate::judge::workload;

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, as in the endpoints' `spec.node`.
    pub name: String,
    /// All its own addresses, those of its interfaces to workloads too.
    pub addresses: Vec<IpAddr>,
    /// What becomes of packets of its workloads to itself after their egress policy.
    pub to_host: ToHost,
}

/// `DefaultEndpointToHostAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ToHost {
    /// Dropped.
    #[default]
    Drop,
    /// Left to the host's own rules.
    Return,
    /// Accepted.
    Accept,
}

/// What one machine does with a packet: a side is there only if its endpoint is a workload of this
/// machine, and the receiver's also where the sender or the receiver is the machine itself.
pub fn judge_at(cluster: &Cluster, node: &Node, packet: &Packet) -> Answer {
    let own = |address: &IpAddr| node.addresses.contains(address);
    let local = |address| {
        cluster.owner(address).filter(|&id: &EndpointId| {
            let endpoint = cluster.endpoint(id);
            !endpoint.is_host() && *endpoint.node == *node.name
        })
    };
    let side = |id, direction| workload(cluster, cluster.endpoint(id), direction, packet);
    let egress = local(packet.source).map(|id| side(id, Direction::Egress));
    let ingress = match local(packet.destination) {
        Some(_) if own(&packet.source) => Some(Decision::at_once(Outcome::Allow, By::OwnHost)),
        Some(id) => Some(side(id, Direction::Ingress)),
        None if egress.is_some() && own(&packet.destination) => {
            let outcome = match node.to_host {
                ToHost::Drop => Outcome::Deny,
                ToHost::Return | ToHost::Accept => Outcome::Allow,
            };
            Some(Decision::at_once(outcome, By::EndpointToHost))
        }
        None => None,
    };
    Answer::of(egress, ingress, None)
}
