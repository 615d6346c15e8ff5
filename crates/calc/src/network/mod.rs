//! How a node reaches the pods of the others: from nodes, pools and blocks to routes.
//!
//! ```text
//!  Node, IPPool (api::event::Event) --.
//!                                     +--> Topology::network --> dataplane::network::Network
//!  blocks (ipam::record::Holding) ----'
//! ```
//! A block is where its host is; an address that another host has borrowed is where that is. A pool says how its packets
//! travel: as they are, if both nodes are on one subnet; in VXLAN; or not at all (IPIP isn't there yet). Worked out anew as a whole, which thousands of blocks take a millisecond for: it changes with blocks and nodes, not with pods.

mod host;
mod outgoing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::pool::IpPool;
use tortie_api::resource::Resource;
use tortie_dataplane::network::{Hop, Network, Peer, Tunnel};
use tortie_dataplane::policy::Family;
use tortie_ipam::record::Holding;

use host::Host;
pub use outgoing::{Pools, Wants};

/// What is known of nodes, pools and blocks.
#[derive(Debug)]
pub struct Topology {
    /// The node for which all this is.
    node: Arc<str>,
    nodes: BTreeMap<Arc<str>, Host>,
    pools: BTreeMap<Arc<str>, Pool>,
    blocks: FxHashMap<IpNet, Holding>,
}

/// What a pool says of the way to its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pool {
    cidr: IpNet,
    way: Way,
    /// Whether addresses are given from it.
    enabled: bool,
}

/// How packets to a pool's addresses travel between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As they are, to nodes on the same subnet; elsewhere there would have to be BGP.
    Direct,
    /// As they are to nodes on the same subnet, else in VXLAN.
    CrossSubnet,
    /// In VXLAN, even to neighbours.
    Vxlan,
    /// In IPIP, even to neighbours.
    Ipip,
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

    /// This node's own address with its subnet.
    pub fn own(&self, family: Family) -> Option<IpNet> {
        self.nodes.get(&self.node)?.address(family)
    }

    /// The address of this node's VXLAN device, as it is stored.
    pub fn own_tunnel(&self, family: Family) -> Option<IpAddr> {
        self.nodes.get(&self.node)?.tunnel(family)
    }

    /// The pools that the address of this node's VXLAN device may be from, unless they select other nodes; empty if it needs
    /// none. In order.
    pub fn tunnel_pools(&self, family: Family) -> Vec<IpNet> {
        let wrapped = |pool: &&Pool| matches!(pool.way, Way::Vxlan | Way::CrossSubnet) && pool.enabled;
        let of_family = |pool: &&Pool| Family::of_net(&pool.cidr) == family;
        self.pools.values().filter(wrapped).filter(of_family).map(|pool| pool.cidr).collect()
    }

    /// What follows from all of it.
    pub fn network(&self) -> Network {
        let mut network = Network { tunnels: self.tunnels(), ..Network::default() };
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
        let family = Family::of_net(&destination);
        let (own, there) = (self.nodes.get(&self.node)?, self.nodes.get(host)?);
        let (own, address) = (own.address(family)?, there.address(family)?.addr());
        let neighbours = own.contains(&address) && own.addr() != address;
        let direct = neighbours.then_some(Hop::Node { address, own: own.addr() });
        let tunnel = || {
            self.own_tunnel(family)?;
            there.tunnel(family).map(|peer| Hop::Tunnel { peer })
        };
        match way {
            Way::Direct => direct,
            Way::CrossSubnet => direct.or_else(tunnel),
            Way::Vxlan => tunnel(),
            Way::Ipip => None,
        }
    }

    /// The devices stand as long as this node has addresses for them.
    fn tunnels(&self) -> BTreeMap<Family, Tunnel> {
        let tunnel = |family| {
            let own = self.nodes.get(&self.node)?;
            let others = self.nodes.iter().filter(|(name, _)| **name != self.node);
            let peers = others.filter_map(|(_, there)| {
                let peer = Peer { mac: there.mac(family), host: there.address(family)?.addr() };
                Some((there.tunnel(family)?, peer))
            });
            let tunnel = Tunnel {
                own: own.address(family)?.addr(),
                address: own.tunnel(family)?,
                mac: own.mac(family),
                peers: peers.collect(),
            };
            Some((family, tunnel))
        };
        [Family::V4, Family::V6].into_iter().filter_map(tunnel).collect()
    }
}

impl Pool {
    /// `None` for one without a CIDR that can be read.
    fn of(pool: &IpPool) -> Option<Self> {
        let way = match (&*pool.spec.vxlan_mode, &*pool.spec.ipip_mode) {
            ("Always", _) => Way::Vxlan,
            ("CrossSubnet", _) => Way::CrossSubnet,
            (_, "Always") => Way::Ipip,
            _ => Way::Direct,
        };
        Some(Self { cidr: pool.spec.cidr.parse().ok()?, way, enabled: !pool.spec.disabled })
    }
}
