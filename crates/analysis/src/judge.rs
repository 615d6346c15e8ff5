//! The verdict of a flow: what each side's policies say.
//!
//! ```text
//! workload, each way:  tiers -> profiles
//! host, its own:       failsafe | doNotTrack -> preDNAT (in) -> tiers -> profiles
//! host, forwarding:    (failsafe: skips two) doNotTrack -> preDNAT (in) -> applyOnForward
//! ```
//! Where a packet runs on one machine, see `node`.

use tortie_api::policy::Direction;

use crate::answer::{Answer, By, Decision, Outcome};
use crate::cluster::{Cluster, Endpoint};
use crate::flow::{Flow, Packet, Transport};
use crate::stack::{Chain, Walk};

/// Ports of a host that stay open: protocol and destination port. Calico's defaults of
/// `FailsafeInboundHostPorts`.
const FAILSAFE_IN: [(u8, u16); 9] = [
    (TCP, 22),
    (UDP, 68),
    (TCP, 179),
    (TCP, 2379),
    (TCP, 2380),
    (TCP, 5473),
    (TCP, 6443),
    (TCP, 6666),
    (TCP, 6667),
];
/// The same of `FailsafeOutboundHostPorts`.
const FAILSAFE_OUT: [(u8, u16); 9] = [
    (UDP, 53),
    (UDP, 67),
    (TCP, 179),
    (TCP, 2379),
    (TCP, 2380),
    (TCP, 5473),
    (TCP, 6443),
    (TCP, 6666),
    (TCP, 6667),
];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What policy says of a flow: the sender's egress, the receiver's ingress, and the host endpoint
/// that forwards it (its egress if only the sender is known, else its ingress).
pub fn judge(cluster: &Cluster, flow: &Flow) -> Answer {
    let Flow { packet, from, to, via } = flow;
    let side = |id: &Option<_>, direction| {
        id.map(|id| {
            let endpoint = cluster.endpoint(id);
            if endpoint.is_host() {
                host(cluster, endpoint, direction, packet)
            } else {
                workload(cluster, endpoint, direction, packet)
            }
        })
    };
    let forward = via.map(|id| {
        let direction = if from.is_some() && to.is_none() { Direction::Egress } else { Direction::Ingress };
        forwarded(cluster, cluster.endpoint(id), direction, packet)
    });
    Answer::of(side(from, Direction::Egress), side(to, Direction::Ingress), forward)
}

/// A workload's own packets.
pub(crate) fn workload(
    cluster: &Cluster,
    endpoint: &Endpoint,
    direction: Direction,
    packet: &Packet,
) -> Decision {
    let mut walk = Walk { cluster, endpoint, direction, packet, path: Vec::new() };
    match walk.tiers(Chain::Normal) {
        Some(decision) => decision,
        None => walk.profiles(),
    }
}

/// A host's own packets.
fn host(cluster: &Cluster, endpoint: &Endpoint, direction: Direction, packet: &Packet) -> Decision {
    if failsafe(direction, packet) {
        return Decision::at_once(Outcome::Allow, By::Failsafe);
    }
    let mut walk = Walk { cluster, endpoint, direction, packet, path: Vec::new() };
    if let Some(decision) = before(&mut walk) {
        return decision;
    }
    match walk.tiers(Chain::Normal) {
        Some(decision) => decision,
        None => walk.profiles(),
    }
}

/// Packets that a host forwards. Failsafe ports keep them from what is judged early, and from no more.
fn forwarded(cluster: &Cluster, endpoint: &Endpoint, direction: Direction, packet: &Packet) -> Decision {
    let mut walk = Walk { cluster, endpoint, direction, packet, path: Vec::new() };
    if !failsafe(direction, packet)
        && let Some(decision) = before(&mut walk)
    {
        return decision;
    }
    match walk.tiers(Chain::Forward) {
        Some(decision) => decision,
        None => walk.decide(Outcome::Allow, By::Nothing),
    }
}

/// What is judged before it is known whether a packet is the host's own. An Allow there is final.
fn before(walk: &mut Walk<'_>) -> Option<Decision> {
    // The endpoint of all interfaces has no untracked policy.
    let untracked = if &*walk.endpoint.interface == "*" { None } else { walk.tiers(Chain::Untracked) };
    untracked.or_else(|| match walk.direction {
        Direction::Ingress => walk.tiers(Chain::PreDnat),
        Direction::Egress => None,
    })
}

fn failsafe(direction: Direction, packet: &Packet) -> bool {
    let ports = match direction {
        Direction::Ingress => &FAILSAFE_IN,
        Direction::Egress => &FAILSAFE_OUT,
    };
    match packet.transport {
        Transport::Ports { destination, .. } => ports.contains(&(packet.protocol, destination)),
        Transport::Icmp { .. } | Transport::Other => false,
    }
}
