//! A pod's addresses from Calico's blocks: assignment and release by handle, on the store.
//!
//! Here is what the plugin adds to `tortie-ipam`: pools by name, the order in which annotation, namespace and
//! configuration name pools, requested addresses, and that a pod gets all it wants or nothing.

use crate::annotations::{self, Annotations};
use crate::identity::Identity;
use crate::{Error, Result};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tortie_api::core::NamespaceSpec;
use tortie_api::endpoint::NodeSpec;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::pool::{IpPoolSpec, IpReservationSpec};
use tortie_ipam::{
    AssignAddress, AutoAssign, AutoAssigned, HandleId, Machine, Now, Pool, Release, Reservations, Use, View,
    addresses_of_handle, assign_address, assignment_of, auto_assign, release_by_handle,
};
use tortie_store::ipam::Allocator;
use tortie_store::resources::Client;
use tortie_store::{Revision, Write, keys};

/// Annotations of pods and namespaces that name pools.
const POOL_ANNOTATIONS: [&str; 2] = ["cni.projectcalico.org/ipv4pools", "cni.projectcalico.org/ipv6pools"];

/// What a pod wants.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// An IPv4 address.
    pub v4: bool,
    /// An IPv6 address.
    pub v6: bool,
    /// Pools of the configuration, by name or CIDR.
    pub v4_pools: Vec<String>,
    /// Pools of the configuration, by name or CIDR.
    pub v6_pools: Vec<String>,
    /// These addresses and no others.
    pub requested: Vec<IpAddr>,
    /// The pod's annotations.
    pub annotations: Annotations,
    /// What is known of its namespace; if nothing, the store is asked.
    pub namespace: Option<NamespaceFacts>,
}

/// Who asks address management.
#[derive(Clone, Copy)]
pub struct Addresses<'a> {
    /// The store.
    pub client: &'a Client,
    /// That of a process that lives on; without one each operation reads what it needs.
    pub allocator: Option<&'a Allocator>,
}

/// Pools, reservations and this node's labels, read from the store. A pool that can't be read isn't used.
///
/// # Errors
/// [`Error::Store`], or reservations that can't be read.
pub fn read_view(client: &Client, node: &str) -> Result<View> {
    let mut pools = Vec::new();
    for object in client.list_as::<IpPoolSpec>(None)? {
        match Pool::parse(&object) {
            Ok(pool) => pools.push(pool),
            Err(error) => tracing::warn!(%error, "IP pool not used"),
        }
    }
    let reservations = client.list_as::<IpReservationSpec>(None)?;
    let reservations =
        Reservations::parse(&reservations).map_err(|error| Error::Addresses(error.to_string()))?;
    let mut nodes = BTreeMap::new();
    match client.get_as::<NodeSpec>(&ResourceKey::cluster(Kind::Node, node)) {
        Ok(found) => drop(nodes.insert(node.to_owned(), found.metadata.labels)),
        Err(tortie_store::Error::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(View::new(pools, reservations, nodes))
}

/// Makes a write of a pod's addresses, which goes out with them where that is possible.
pub type Along = Box<dyn Fn(&[IpNet]) -> Option<Write> + Send>;

/// Assigns what is wanted, all or nothing. What an earlier attempt with the same handle left is taken back first.
/// The addresses have their block's prefix length. Beside them the revision of what was written along, if it was.
///
/// # Errors
/// [`Error::Addresses`] in Calico's words.
pub fn assign(
    at: Addresses<'_>,
    view: &Arc<View>,
    identity: &Identity,
    wanted: &Wanted,
    along: Along,
) -> Result<(Vec<IpNet>, Option<Revision>)> {
    let handle = identity.handle();
    release(at, view, &handle)?;
    at.take_settings()?;
    let assigned = if wanted.requested.is_empty() {
        assign_any(at, view, identity, wanted, along)
    } else {
        assign_requested(at, view, identity, wanted).map(|addresses| (addresses, None))
    };
    assigned.inspect_err(|_| {
        if let Err(error) = release(at, view, &handle) {
            tracing::warn!(%handle, %error, "addresses of a failed attempt not released");
        }
    })
}

/// Releases all addresses of a handle. `false`: it had none.
///
/// # Errors
/// [`Error::Addresses`] or [`Error::Store`].
pub fn release(at: Addresses<'_>, view: &Arc<View>, handle: &HandleId) -> Result<bool> {
    // Who has an address has a handle.
    if at.client.store().get(&keys::ipam_handle(handle.as_str()))?.is_none() {
        return Ok(false);
    }
    at.take_settings()?;
    match at.run(release_by_handle(Arc::clone(view), now(), handle.clone()))? {
        Ok(()) => Ok(true),
        Err(tortie_ipam::Error::DoesNotExist { .. }) => Ok(false),
        Err(error) => Err(Error::Addresses(error.to_string())),
    }
}

/// Releases those of some addresses that this pod has, by whichever container.
///
/// # Errors
/// [`Error::Addresses`] or [`Error::Store`].
pub fn release_of_pod(
    at: Addresses<'_>,
    view: &Arc<View>,
    identity: &Identity,
    addresses: &[IpAddr],
) -> Result<()> {
    at.take_settings()?;
    let own = attributes(identity);
    let mut releases = Vec::new();
    for address in addresses {
        let found = match at.run(assignment_of(Arc::clone(view), *address))? {
            Ok(found) => found,
            Err(tortie_ipam::Error::DoesNotExist { .. }) => continue,
            Err(error) => return Err(Error::Addresses(format!("failed to release ipAddrs: {error}"))),
        };
        if ["namespace", "pod"].iter().all(|name| found.attributes.get(*name) == own.get(*name)) {
            let sequence_number = found.sequence_number;
            releases.push(Release { address: *address, handle: found.handle, sequence_number });
        }
    }
    if releases.is_empty() {
        return Ok(());
    }
    match at.run(tortie_ipam::release(Arc::clone(view), now(), releases))?.error {
        None => Ok(()),
        Some(error) => Err(Error::Addresses(format!("failed to release ipAddrs: {error}"))),
    }
}

/// The addresses that a handle has; empty if there is no such handle.
///
/// # Errors
/// [`Error::Addresses`] or [`Error::Store`].
pub fn held(at: Addresses<'_>, handle: &HandleId) -> Result<Vec<IpAddr>> {
    match at.run(addresses_of_handle(handle.clone()))? {
        Ok(addresses) => Ok(addresses),
        Err(tortie_ipam::Error::DoesNotExist { .. }) => Ok(Vec::new()),
        Err(error) => Err(Error::Addresses(error.to_string())),
    }
}

/// Whether a node gave out what a handle has; a handle without addresses is nobody's.
///
/// # Errors
/// [`Error::Addresses`] or [`Error::Store`].
pub fn is_of_node(at: Addresses<'_>, view: &Arc<View>, handle: &HandleId, node: &str) -> Result<bool> {
    for address in held(at, handle)? {
        let found = at.run(assignment_of(Arc::clone(view), address))?;
        let assignment = found.map_err(|error| Error::Addresses(error.to_string()))?;
        if assignment.attributes.get("node").is_some_and(|by| by == node) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn assign_any(
    at: Addresses<'_>,
    view: &Arc<View>,
    identity: &Identity,
    wanted: &Wanted,
    along: Along,
) -> Result<(Vec<IpNet>, Option<Revision>)> {
    let namespace = match &wanted.namespace {
        Some(known) => known.clone(),
        None => namespace_of(at.client, identity)?,
    };
    let pools = |family: usize, configured: &[String]| {
        let annotated = [&wanted.annotations, &namespace.annotations];
        let annotated =
            annotated.into_iter().find_map(|found| annotations::said(found, POOL_ANNOTATIONS[family]));
        let names = match annotated {
            Some(list) => annotations::list(list)?,
            None => configured.to_vec(),
        };
        names.iter().map(|name| pool_of(view, name)).collect::<Result<Vec<IpNet>>>()
    };
    let families = annotations::families(&wanted.annotations, &namespace.annotations)?;
    let (v4, v6) = families.unwrap_or((wanted.v4, wanted.v6));
    let machine = auto_assign(
        Arc::clone(view),
        now(),
        AutoAssign {
            v4: v4.into(),
            v6: v6.into(),
            handle: Some(identity.handle()),
            attributes: attributes(identity),
            v4_pools: pools(0, &wanted.v4_pools)?,
            v6_pools: pools(1, &wanted.v6_pools)?,
            namespace_labels: namespace.labels,
            ..AutoAssign::workload(&identity.node)
        },
    );
    let (got, revision) = match at.allocator {
        Some(allocator) => {
            let done = allocator.run_with(machine, move |got| along(&given(got).ok()?));
            done.map_err(told)?
        }
        None => (at.run(machine)?, None),
    };
    Ok((given(&got)?, revision))
}

/// All that was wanted, or why not.
fn given(got: &AutoAssigned) -> Result<Vec<IpNet>> {
    if let Some(error) = &got.error {
        return Err(Error::Addresses(error.to_string()));
    }
    let mut addresses = Vec::new();
    for family in [&got.v4, &got.v6].into_iter().flatten() {
        if let Some(shortage) = family.shortage() {
            return Err(Error::Addresses(format!(
                "failed to request IPv{} addresses: {shortage}",
                family.family.number()
            )));
        }
        addresses.extend(family.addresses.iter().copied());
    }
    Ok(addresses)
}

fn assign_requested(
    at: Addresses<'_>,
    view: &Arc<View>,
    identity: &Identity,
    wanted: &Wanted,
) -> Result<Vec<IpNet>> {
    let mut addresses = Vec::new();
    for address in &wanted.requested {
        let one = AssignAddress {
            address: *address,
            host: identity.node.clone(),
            handle: Some(identity.handle()),
            attributes: attributes(identity),
            intended_use: Some(Use::Workload),
            ends: None,
        };
        at.run(assign_address(Arc::clone(view), now(), one))?
            .map_err(|error| Error::Addresses(format!("failed to assign IP {address}: {error}")))?;
        addresses.push(IpNet::from(*address));
    }
    Ok(addresses)
}

/// Labels and annotations of a pod's namespace.
#[derive(Debug, Clone, Default)]
pub struct NamespaceFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: Annotations,
}

fn namespace_of(client: &Client, identity: &Identity) -> Result<NamespaceFacts> {
    let key = ResourceKey::cluster(Kind::Namespace, identity.namespace());
    match client.get_as::<NamespaceSpec>(&key) {
        Ok(found) => {
            Ok(NamespaceFacts { labels: found.metadata.labels, annotations: found.metadata.annotations })
        }
        Err(tortie_store::Error::Missing { .. }) => Ok(NamespaceFacts::default()),
        Err(error) => Err(error.into()),
    }
}

/// A pool by CIDR (which `tortie-ipam` looks up) or by name.
fn pool_of(view: &View, name: &str) -> Result<IpNet> {
    if let Ok(cidr) = name.parse() {
        return Ok(cidr);
    }
    let named = view.pools().iter().find(|pool| pool.name == name && pool.enabled);
    named.map(|pool| pool.cidr).ok_or_else(|| {
        Error::Addresses(format!(
            "error parsing pool {name:?}: the given pool ({name}) does not exist, or is not enabled"
        ))
    })
}

fn attributes(identity: &Identity) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::from([
        ("node".to_owned(), identity.node.clone()),
        ("timestamp".to_owned(), timestamp(now())),
    ]);
    if let crate::identity::Workload::Pod { namespace, name } = &identity.workload {
        attributes.insert("namespace".into(), namespace.clone());
        attributes.insert("pod".into(), name.clone());
    }
    attributes
}

impl Addresses<'_> {
    /// An allocator remembers the settings, which others may change.
    fn take_settings(self) -> Result<()> {
        let Some(allocator) = self.allocator else { return Ok(()) };
        allocator.take_settings(self.client.store().get(keys::IPAM_CONFIG)?).map_err(told)
    }

    fn run<T: Send + 'static>(self, machine: Machine<T>) -> Result<T> {
        let done = match self.allocator {
            Some(allocator) => allocator.run(machine),
            None => tortie_store::ipam::run(self.client.store().as_ref(), machine),
        };
        done.map_err(told)
    }
}

fn told(error: tortie_store::Error) -> Error {
    match error {
        tortie_store::Error::Unreadable { key, cause } => {
            Error::Addresses(format!("failed to parse datastore entry key={key}; {cause}"))
        }
        error => Error::Store(error),
    }
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// As Go prints a UTC time: `2026-11-23 00:19:55 +0000 UTC`, without the fraction.
fn timestamp(now: Now) -> String {
    let text = now.stamp().to_string();
    text.trim_matches('"').replace('T', " ").replace('Z', " +0000 UTC")
}
