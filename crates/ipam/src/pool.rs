//! Pools, reservations and the choice of pools for a request. Stored objects are parsed here, once; what an operation sees
//! of the cluster is a [`View`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use tortie_api::pool::{IpPool, IpReservation};
use tortie_api::selector::{Selector, SelectorError};

use crate::error::Error;
use crate::key::Owner;
use crate::net::Family;
use crate::record::ReservedEnds;

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// A pod, container or virtual machine.
    Workload,
    /// A host's end of a tunnel.
    Tunnel,
    /// A service of type LoadBalancer.
    LoadBalancer,
}

impl Use {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "Workload" => Some(Use::Workload),
            "Tunnel" => Some(Use::Tunnel),
            "LoadBalancer" => Some(Use::LoadBalancer),
            _ => None,
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A stored pool or reservation that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Its addresses.
    #[error("{kind} {name}: {field}: found {found:?}, expected addresses as 10.0.0.0/16")]
    Cidr {
        /// `IPPool` or `IPReservation`.
        kind: &'static str,
        /// The object.
        name: String,
        /// The field.
        field: &'static str,
        /// What stands there.
        found: String,
    },
    /// Its block size.
    #[error("IPPool {name}: spec.blockSize: found {found}, expected {least} to {most}")]
    BlockSize {
        /// The pool.
        name: String,
        /// What stands there.
        found: i64,
        /// The length of the pool's own prefix.
        least: u8,
        /// The length of an address.
        most: u8,
    },
    /// A selector.
    #[error("IPPool {name}: {field}: {source}")]
    Selector {
        /// The pool.
        name: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: SelectorError,
    },
}

/// A pool, parsed.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub cidr: IpNet,
    /// The prefix length of its blocks.
    pub block_size: u8,
    /// Whether anything is assigned from it; not if it is disabled or being deleted.
    pub enabled: bool,
    /// Whether it is used without being asked for.
    pub automatic: bool,
    uses: Vec<Use>,
    node_selector: Option<Selector>,
    namespace_selector: Option<Selector>,
}

impl Pool {
    /// Parses a stored pool; what isn't set has Calico's defaults.
    ///
    /// # Errors
    /// The field that can't be read. A pool that can't be read must not be used, since its selectors aren't known.
    pub fn parse(object: &IpPool) -> Result<Self, PoolError> {
        let name = object.metadata.name.clone();
        let spec = &object.spec;
        let cidr: IpNet = spec.cidr.parse().map_err(|_| PoolError::Cidr {
            kind: "IPPool",
            name: name.clone(),
            field: "spec.cidr",
            found: spec.cidr.clone(),
        })?;
        let family = Family::of(cidr.addr());
        let block_size = match spec.block_size {
            0 => family.default_block_size().max(cidr.prefix_len()),
            found => u8::try_from(found)
                .ok()
                .filter(|size| (cidr.prefix_len()..=family.bits()).contains(size))
                .filter(|size| family.bits() - size <= 16)
                .ok_or_else(|| PoolError::BlockSize {
                    name: name.clone(),
                    found,
                    least: cidr.prefix_len().max(family.bits() - 16),
                    most: family.bits(),
                })?,
        };
        let selector = |text: &str, field: &'static str| match text {
            "" => Ok(None),
            text => Selector::parse(text).map(Some).map_err(|source| PoolError::Selector {
                name: name.clone(),
                field,
                source,
            }),
        };
        let uses = if spec.allowed_uses.is_empty() {
            vec![Use::Workload, Use::Tunnel]
        } else {
            spec.allowed_uses.iter().filter_map(|text| Use::parse(text)).collect()
        };
        Ok(Pool {
            cidr: cidr.trunc(),
            block_size,
            enabled: !spec.disabled && object.metadata.deletion_timestamp.is_none(),
            automatic: spec
                .assignment_mode
                .as_deref()
                .is_none_or(|mode| mode == "Automatic" || mode.is_empty()),
            uses,
            node_selector: selector(&spec.node_selector, "spec.nodeSelector")?,
            namespace_selector: selector(&spec.namespace_selector, "spec.namespaceSelector")?,
            name,
        })
    }

    /// Whether the pool is for hosts with these labels.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        self.node_selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }

    /// Whether the pool is for namespaces with these labels.
    pub fn selects_namespace(&self, labels: &Labels) -> bool {
        self.namespace_selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }

    /// Whether the pool is for this use.
    pub fn allows(&self, wanted: Use) -> bool {
        self.uses.contains(&wanted)
    }
}

/// Labels of a node or a namespace.
pub type Labels = BTreeMap<String, String>;

/// Addresses that aren't given automatically.
#[derive(Debug, Clone, Default)]
pub struct Reservations(Vec<IpNet>);

impl Reservations {
    /// Collects the nets of stored reservations; a bare address is a net of one.
    ///
    /// # Errors
    /// The first that can't be read.
    pub fn parse<'a>(objects: impl IntoIterator<Item = &'a IpReservation>) -> Result<Self, PoolError> {
        let mut nets = Vec::new();
        for object in objects {
            for text in
                object.spec.reserved_cidrs.iter().map(|text| text.trim()).filter(|text| !text.is_empty())
            {
                let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
                nets.push(net.map(|net| net.trunc()).map_err(|_| PoolError::Cidr {
                    kind: "IPReservation",
                    name: object.metadata.name.clone(),
                    field: "spec.reservedCIDRs",
                    found: text.to_owned(),
                })?);
            }
        }
        Ok(Reservations(nets))
    }

    /// Whether an address is reserved.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// How many addresses of a net are reserved, each counted once.
    pub fn count_in(&self, net: &IpNet) -> u128 {
        let size = |net: &IpNet| 1u128.checked_shl(u32::from(net.max_prefix_len() - net.prefix_len()));
        if self.covering(net).is_some() {
            return size(net).unwrap_or(u128::MAX);
        }
        let inside: Vec<IpNet> = self.0.iter().filter(|reserved| net.contains(*reserved)).copied().collect();
        let counted = IpNet::aggregate(&inside);
        counted.iter().map(|net| size(net).unwrap_or(u128::MAX)).fold(0, u128::saturating_add)
    }

    /// The reservation that has all of a block.
    pub fn covering(&self, block: &IpNet) -> Option<&IpNet> {
        self.0.iter().find(|net| net.contains(block))
    }

    /// Whether a block has reserved addresses.
    pub fn overlap(&self, block: &IpNet) -> bool {
        self.0.iter().any(|net| net.contains(block) || block.contains(net))
    }
}

/// What an operation knows of the cluster: the caller's watch or lists, parsed.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// All pools, sorted by name. Few: 2 to 20.
    pools: Vec<Pool>,
    /// All reservations.
    pub reservations: Reservations,
    /// Labels of nodes. The host's own node must be here to assign; others only let their blocks be given up when they
    /// are emptied and their pool no longer selects them.
    pub nodes: BTreeMap<String, Labels>,
}

impl View {
    /// A view; pools in any order.
    pub fn new(mut pools: Vec<Pool>, reservations: Reservations, nodes: BTreeMap<String, Labels>) -> Self {
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        View { pools, reservations, nodes }
    }

    /// All pools, by name.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The enabled pool that an address is in.
    pub fn enabled_pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.enabled && pool.cidr.contains(&address))
    }

    /// The pool that an address is in, enabled or not.
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.cidr.contains(&address))
    }

    /// Labels of an owner's node. What isn't a host has none.
    pub(crate) fn labels(&self, owner: &Owner) -> Result<Labels, Error> {
        match owner {
            Owner::Host(name) => self.nodes.get(name).cloned().ok_or_else(|| Error::missing_node(owner)),
            Owner::Virtual(_) => Ok(Labels::new()),
        }
    }

    /// The pools for a request: those asked for, without regard to their selectors, else all automatic ones that select
    /// host and namespace.
    pub(crate) fn selecting(
        &self,
        family: Family,
        requested: &[IpNet],
        node: &Labels,
        namespace: &Labels,
        ends: Option<&ReservedEnds>,
    ) -> Result<Vec<&Pool>, Error> {
        let longest = longest_block_size(family, ends)?;
        let enabled =
            || self.pools.iter().filter(|pool| pool.enabled && Family::of(pool.cidr.addr()) == family);
        let qualified = || enabled().filter(|pool| pool.block_size <= longest);
        if qualified().next().is_none() {
            return Err(Error::NoQualifiedPool);
        }
        if !requested.is_empty() {
            let find = |net: &IpNet| {
                let net = net.trunc();
                qualified().find(|pool| pool.cidr == net).ok_or(Error::PoolNotEnabled(net.to_string()))
            };
            return requested.iter().map(find).collect();
        }
        let selects =
            |pool: &&Pool| pool.automatic && pool.selects_node(node) && pool.selects_namespace(namespace);
        Ok(qualified().filter(selects).collect())
    }
}

/// Blocks must be larger than their reserved ends.
fn longest_block_size(family: Family, ends: Option<&ReservedEnds>) -> Result<u8, Error> {
    let Some(ends) = ends else { return Ok(family.bits()) };
    let bits = 32 - (ends.start + ends.end).leading_zeros();
    match u32::from(family.bits()).checked_sub(bits) {
        Some(longest) if bits > 0 && longest > 0 => Ok(longest as u8),
        _ => Err(Error::Reservation),
    }
}
