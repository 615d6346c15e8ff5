//! The connectivity matrix that policy predicts.

use std::net::IpAddr;

use crate::answer::Answer;
use crate::cluster::Cluster;
use crate::flow::{Packet, Transport};
use crate::judge::judge;

/// One cell of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The probe.
    pub packet: Packet,
    /// What becomes of it.
    pub answer: Answer,
}

/// Predicts what becomes of each probe (a protocol and what follows the IP header) between each
/// pair of addresses: a cell per pair and probe, pairs first. Pairs of two families are left out.
pub fn predict(
    cluster: &Cluster,
    pairs: impl IntoIterator<Item = (IpAddr, IpAddr)>,
    probes: &[(u8, Transport)],
) -> Vec<Cell> {
    let pairs = pairs.into_iter().filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
    pairs
        .flat_map(|(source, destination)| {
            probes.iter().map(move |&(protocol, transport)| Packet {
                source,
                destination,
                protocol,
                transport,
            })
        })
        .map(|packet| Cell { packet, answer: judge(cluster, &cluster.flow(packet)) })
        .collect()
}
