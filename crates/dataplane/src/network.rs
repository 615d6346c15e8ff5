//! The ways from one node to the pods of the others, as the kernel should hold them.
//!
//! Made by `calc::network`; next hop: the agent's thread for the network, which compares it with the kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use tortie_api::endpoint::{HOST_PORTS, WorkloadEndpoint};

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
    /// Where they keep their address: all pools, in order, and nodes if that is asked for.
    pub inside: Vec<IpNet>,
    /// What they leave with.
    pub leaves_as: LeavesAs,
    /// If a pool's packets travel in VXLAN: the nodes, in order. Nobody else may send such.
    pub vxlan: Option<Vec<IpAddr>>,
    /// Addresses that lead to those of workloads here, in order, each to one of its family.
    pub floating: Vec<(IpAddr, IpAddr)>,
    /// Ports of this host that lead to workloads here, in order, each port once.
    pub ports: Vec<HostPort>,
}

/// What connections from pools to elsewhere leave with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeavesAs {
    /// An IPv4 address instead of the one of the interface where they leave.
    pub address: Option<Ipv4Addr>,
    /// The first and last port that those of TCP and UDP get.
    pub ports: Option<(u16, u16)>,
}

/// A port of this host that leads to a workload's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The one address that it is a port of, of the workload's family; none: all of this host's.
    pub address: Option<IpAddr>,
    /// TCP, UDP or SCTP, by number.
    pub protocol: u8,
    /// The port here.
    pub port: u16,
    /// Where it leads.
    pub to: SocketAddr,
}

impl HostPort {
    /// The ports of the host that lead to a workload, in order: those of its endpoint, if our plugin was asked for them.
    /// Each leads to the first address of its family.
    pub fn of(endpoint: &WorkloadEndpoint) -> Vec<HostPort> {
        let spec = &endpoint.spec;
        let asked = endpoint.metadata.annotations.get(HOST_PORTS);
        if spec.container_id.is_empty() || asked != Some(&spec.container_id) {
            return Vec::new();
        }
        let addresses = spec.ip_networks.iter().filter_map(|net| net.split('/').next()?.parse().ok());
        let addresses: Vec<IpAddr> = addresses.collect();
        let first = |v4: bool| addresses.iter().find(|address| address.is_ipv4() == v4);
        let mut ports: Vec<HostPort> = Vec::new();
        for port in spec.ports.iter().filter(|port| port.host_port != 0) {
            let address: Option<IpAddr> = match port.host_ip.as_str() {
                "" => None,
                text => match text.parse() {
                    Ok(address) => Some(address),
                    Err(_) => continue,
                },
            };
            let Some(protocol) = port.protocol.number() else { continue };
            let families = [first(true), first(false)].into_iter().flatten();
            let families = families.filter(|own| address.is_none_or(|of| of.is_ipv4() == own.is_ipv4()));
            ports.extend(families.map(|own| HostPort {
                address: address.filter(|address| !address.is_unspecified()),
                protocol,
                port: port.host_port,
                to: SocketAddr::new(*own, port.port),
            }));
        }
        ports.sort();
        ports.dedup();
        ports
    }

    /// Whether both are the same port of the host, wherever they lead.
    pub fn is_same(&self, other: &HostPort) -> bool {
        let key = |of: &HostPort| (of.address, of.protocol, of.port, of.to.is_ipv4());
        key(self) == key(other)
    }
}

impl fmt::Display for HostPort {
    /// `8080/tcp`, `192.168.77.11:53/udp`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            17 => "udp",
            132 => "sctp",
            _ => "tcp",
        };
        match self.address {
            Some(address) => write!(formatter, "{}/{protocol}", SocketAddr::new(address, self.port)),
            None => write!(formatter, "{}/{protocol}", self.port),
        }
    }
}
