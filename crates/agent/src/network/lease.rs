//! The address of this node's VXLAN device: assigned from a pool, as Calico does it, and given back when no pool needs it.
//!
//! It has a handle of its own (`vxlan-tunnel-addr-NODE`), by which whatever a process that died has left is found.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use tortie_api::endpoint::NodeSpec;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_dataplane::policy::Family;
use tortie_ipam::{
    AutoAssign, Error as IpamError, HandleId, Machine, Now, Use, View, assignment_of, auto_assign,
    release_by_handle,
};
use tortie_store::ipam;
use tortie_store::resources::Client;

use crate::{Error, Result};

/// A family's address, and what it is called in the store.
#[derive(Clone, Copy)]
pub struct Lease<'a> {
    /// The store.
    pub client: &'a Client,
    /// The node's name.
    pub node: &'a str,
    /// The family.
    pub family: Family,
}

impl Lease<'_> {
    /// The field of the Node object's `spec`.
    pub fn field(&self) -> &'static str {
        match self.family {
            Family::V4 => "ipv4VXLANTunnelAddr",
            Family::V6 => "ipv6VXLANTunnelAddr",
        }
    }

    fn handle(&self) -> HandleId {
        let version = match self.family {
            Family::V4 => "",
            Family::V6 => "v6-",
        };
        HandleId::new(&format!("vxlan-{version}tunnel-addr-{}", self.node))
    }

    /// What is stored with the address.
    fn attributes(&self) -> BTreeMap<String, String> {
        let what = match self.family {
            Family::V4 => "vxlanTunnelAddress",
            Family::V6 => "vxlanV6TunnelAddress",
        };
        BTreeMap::from([("node".to_owned(), self.node.to_owned()), ("type".to_owned(), what.to_owned())])
    }

    /// Sees to it that the node has an address from one of `pools`, or none if there are no pools; returns it. `stored` is
    /// the one that the Node object names.
    ///
    /// # Errors
    /// Those of the datastore, and [`Error::Addresses`] if no pool has one left.
    pub fn keep(&self, stored: Option<IpAddr>, pools: &[IpNet]) -> Result<Option<IpAddr>> {
        let view = tortie_cni::address::read_view(self.client, self.node).map_err(addresses)?;
        let object = self.client.get_as::<NodeSpec>(&ResourceKey::cluster(Kind::Node, self.node))?;
        let labels = object.metadata.labels;
        let usable = view.pools().iter().filter(|pool| pool.enabled && pool.selects_node(&labels));
        let pools: Vec<IpNet> = usable.map(|pool| pool.cidr).filter(|cidr| pools.contains(cidr)).collect();
        let view = Arc::new(view);
        if pools.is_empty() {
            if stored.is_some() {
                self.release(&view)?;
            }
            return Ok(None);
        }
        if let Some(address) = stored {
            match self.run(assignment_of(Arc::clone(&view), address))? {
                Ok(found) if found.attributes == self.attributes() => {
                    if pools.iter().any(|pool| pool.contains(&address)) {
                        return Ok(stored);
                    }
                    self.release(&view)?;
                }
                // Somebody else's by now.
                Ok(_) => {}
                Err(IpamError::DoesNotExist { .. }) => self.release(&view)?,
                Err(error) => return Err(addresses(error)),
            }
        } else {
            // One that was assigned, and not stored any more.
            self.release(&view)?;
        }
        self.assign(view, pools).map(Some)
    }

    fn release(&self, view: &Arc<View>) -> Result<()> {
        match self.run(release_by_handle(Arc::clone(view), now(), self.handle()))? {
            Ok(()) | Err(IpamError::DoesNotExist { .. }) => Ok(()),
            Err(error) => Err(addresses(error)),
        }
    }

    fn assign(&self, view: Arc<View>, pools: Vec<IpNet>) -> Result<IpAddr> {
        let any = AutoAssign {
            handle: Some(self.handle()),
            attributes: self.attributes(),
            intended_use: Use::Tunnel,
            v4: 0,
            ..AutoAssign::workload(self.node)
        };
        let wanted = match self.family {
            Family::V4 => AutoAssign { v4: 1, v4_pools: pools, ..any },
            Family::V6 => AutoAssign { v6: 1, v6_pools: pools, ..any },
        };
        let got = self.run(auto_assign(view, now(), wanted))?;
        if let Some(error) = got.error {
            return Err(addresses(error));
        }
        let got = [got.v4, got.v6].into_iter().flatten().next();
        let shortage = got.as_ref().and_then(|got| got.shortage()).unwrap_or_default();
        let address = got.and_then(|got| got.addresses.first().map(|net| net.addr()));
        address.ok_or(Error::Addresses(format!("no address for a VXLAN device: {shortage}")))
    }

    fn run<T>(&self, machine: Machine<T>) -> Result<T> {
        Ok(ipam::run(&**self.client.store(), machine)?)
    }
}

fn addresses(error: impl std::fmt::Display) -> Error {
    Error::Addresses(error.to_string())
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Now(u64::try_from(since).unwrap_or(u64::MAX))
}
