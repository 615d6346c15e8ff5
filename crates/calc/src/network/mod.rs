//! How a node reaches the pods of the others: from nodes, pools and blocks to routes.
//!
//! ```text
//!  Node, IPPool (api::event::Event) --.
//!                                     +--> Topology::network --> dataplane::network::Network
//!  blocks (ipam::record::Holding) ----'
//! ```
//! A block is where its host is; an address that another host has borrowed is where that is. A pool says how its packets
//! travel: as they are, if both nodes are on one subnet, or not at all (an encapsulation that isn't there yet). Worked
//! out anew as a whole, which thousands of blocks take a millisecond for: it changes with blocks and nodes, not with pods.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use tortie_api::endpoint::Node;
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::pool::IpPool;
use tortie_api::resource::Resource;
use tortie_dataplane::network::{Hop, Network};
use tortie_ipam::record::Holding;

/// What is known of nodes, pools and blocks.
#[derive(Debug)]
pub struct Topology {
    /// The node for which all this is.
    node: Arc<str>,
    nodes: BTreeMap<Arc<str>, Host>,
    pools: BTreeMap<Arc<str>, Pool>,
    blocks: FxHashMap<IpNet, Holding>,
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Host {
    /// Its addresses with their subnets.
    v4: Option<IpNet>,
    v6: Option<IpNet>,
}

/// What a pool says of the way to its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pool {
    cidr: IpNet,
    way: Way,
}

/// How packets to a pool's addresses travel between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As they are, to nodes on the same subnet; elsewhere there would have to be BGP, or an encapsulation.
    Direct,
    /// In an encapsulation, even to neighbours.
    Wrapped,
}

impl Topology {
    /// Nothing is known yet.
    pub fn new(node: Arc<str>) -> Self {
        Self { node, nodes: BTreeMap::new(), pools: BTreeMap::new(), blocks: FxHashMap::default() }
    }

    /// Takes in what is said of a node or pool; whether anything depends on it. Of an object that can't be read any more,
    /// what was read last stays true.
    pub fn on_event(&mut self, event: &Event) -> bool {
        match event {
            Event::Upsert(Resource::Node(node)) => {
                let host = Host::of(node);
                self.nodes.insert(node.key().name, host.clone()) != Some(host)
            }
            Event::Upsert(Resource::IPPool(pool)) => {
                let Some(read) = Pool::of(pool) else { return false };
                self.pools.insert(pool.key().name, read.clone()) != Some(read)
            }
            Event::Delete(ResourceKey { kind: Kind::Node, name, .. }) => self.nodes.remove(name).is_some(),
            Event::Delete(ResourceKey { kind: Kind::IPPool, name, .. }) => self.pools.remove(name).is_some(),
            _ => false,
        }
    }

    /// These are the blocks, and no others; whether that is news.
    pub fn set_blocks(&mut self, blocks: Vec<Holding>) -> bool {
        let blocks = blocks.into_iter().map(|block| (block.cidr, block)).collect();
        std::mem::replace(&mut self.blocks, blocks) != self.blocks
    }

    /// A block was made or written; whether that is news.
    pub fn put_block(&mut self, block: Holding) -> bool {
        if self.blocks.get(&block.cidr) == Some(&block) {
            return false;
        }
        self.blocks.insert(block.cidr, block);
        true
    }

    /// A block is gone; whether it was there.
    pub fn remove_block(&mut self, cidr: &IpNet) -> bool {
        self.blocks.remove(cidr).is_some()
    }

    /// This node's own addresses with their subnets: IPv4, IPv6.
    pub fn own(&self) -> [Option<IpNet>; 2] {
        self.nodes.get(&self.node).map_or([None; 2], |host| [host.v4, host.v6])
    }

    /// What follows from all of it.
    pub fn network(&self) -> Network {
        let mut network = Network::default();
        for block in self.blocks.values() {
            let Some(pool) = self.pools.values().find(|pool| pool.cidr.contains(&block.cidr)) else {
                continue;
            };
            if let Some(host) = &block.host {
                if *host != self.node {
                    self.lead(&mut network, block.cidr, host, pool.way);
                } else if block.cidr.prefix_len() < block.cidr.max_prefix_len() {
                    network.routes.insert(block.cidr, Hop::Blackhole);
                }
            }
            // What this node has borrowed has the pod's own route.
            for (address, host) in block.elsewhere.iter().filter(|(_, host)| *host != self.node) {
                self.lead(&mut network, IpNet::from(*address), host, pool.way);
            }
        }
        network
    }

    fn lead(&self, network: &mut Network, destination: IpNet, host: &Arc<str>, way: Way) {
        match self.hop(destination, host, way) {
            Some(hop) => drop(network.routes.insert(destination, hop)),
            None => network.unreached += 1,
        }
    }

    fn hop(&self, destination: IpNet, host: &Arc<str>, way: Way) -> Option<Hop> {
        let (own, there) = (self.nodes.get(&self.node)?, self.nodes.get(host)?);
        let (own, address) = match destination {
            IpNet::V4(_) => (own.v4?, there.v4?.addr()),
            IpNet::V6(_) => (own.v6?, there.v6?.addr()),
        };
        let neighbours = own.contains(&address) && own.addr() != address;
        match way {
            Way::Direct => neighbours.then_some(Hop::Node { address, own: own.addr() }),
            Way::Wrapped => None,
        }
    }
}

impl Host {
    fn of(node: &Node) -> Self {
        let bgp = node.spec.bgp.as_ref();
        let v4 = bgp.and_then(|bgp| net(&bgp.ipv4_address)).filter(|net| net.addr().is_ipv4());
        let v6 = bgp.and_then(|bgp| net(&bgp.ipv6_address)).filter(|net| net.addr().is_ipv6());
        Self { v4, v6 }
    }
}

impl Pool {
    /// `None` for one without a CIDR that can be read.
    fn of(pool: &IpPool) -> Option<Self> {
        let way = match (&*pool.spec.vxlan_mode, &*pool.spec.ipip_mode) {
            ("Always", _) | (_, "Always") => Way::Wrapped,
            _ => Way::Direct,
        };
        Some(Self { cidr: pool.spec.cidr.parse().ok()?, way })
    }
}

/// An address with its prefix length; one without is alone on its subnet.
fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
