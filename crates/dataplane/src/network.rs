//! The ways from one node to the pods of the others, as the kernel should hold them.
//!
//! Made by `calc::network`; next hop: the agent's thread for the network, which compares it with the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::policy::Family;

/// Everything that leads to pods of other nodes, or keeps packets for this node's own from leaving it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// By destination: blocks of addresses (thousands in a large cluster), and single addresses that a node has of
    /// another's block (few). The longest prefix counts.
    pub routes: BTreeMap<IpNet, Hop>,
    /// This node's VXLAN devices, by family.
    pub tunnels: BTreeMap<Family, Tunnel>,
    /// Blocks and addresses to which there is no way from here, for the log.
    pub unreached: usize,
}

/// A VXLAN device and all that it can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// This node's address, which wrapped packets leave with.
    pub own: IpAddr,
    /// The device's address, from a pool: what the node itself sends through it has it as its source.
    pub address: IpAddr,
    /// The device's MAC address.
    pub mac: [u8; 6],
    /// The other nodes' devices, by their addresses; one for each node.
    pub peers: BTreeMap<IpAddr, Peer>,
}

/// Another node's VXLAN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// The node's address.
    pub host: IpAddr,
}

/// Where packets to a destination go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Nowhere: of this node's own blocks, what no pod has. Pods have longer routes.
    Blackhole,
    /// To a node that is on the same subnet as this one.
    Node {
        /// Its address.
        address: IpAddr,
        /// This node's address there: whatever interface has it leads to the other.
        own: IpAddr,
    },
    /// Wrapped in VXLAN, to the device that has this address there.
    Tunnel {
        /// One of the [`Tunnel::peers`] of the family.
        peer: IpAddr,
    },
}

/// What pools ask of the table beside policy: above all, whose connections to what is in no pool leave with the node's
/// address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Where such connections come from: pools with `natOutgoing`, in order.
    pub from: Vec<IpNet>,
    /// Where they keep their address: all pools, in order.
    pub inside: Vec<IpNet>,
    /// If a pool's packets travel in VXLAN: the nodes, in order. Nobody else may send such.
    pub vxlan: Option<Vec<IpAddr>>,
    /// Addresses that lead to those of workloads here, in order, each to one of its family.
    pub floating: Vec<(IpAddr, IpAddr)>,
}
