//! All that policy speaks of, in order: endpoints with their labels, sets, tiers, profiles, services.
//!
//! Built once from the resources and never changed; a change is a new one. Policies that can't
//! be understood are in [`Cluster::faults`] and deny. Next hop: `judge`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::Action;
use tortie_api::resource::Resource;
use tortie_api::selector::NAMESPACE_LABEL;

use crate::derive;
use crate::entity::{Role, Side, read_nets};
use crate::policy::{Policy, Profile};
use crate::stack::{Stacks, Tier, compare_orders};

/// The label that names an endpoint slice's service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// All that policy speaks of.
#[derive(Debug)]
pub struct Cluster {
    endpoints: Vec<Endpoint>,
    owners: HashMap<IpAddr, Vec<usize>>,
    sets: Vec<Set>,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) profiles: BTreeMap<Arc<str>, Profile>,
    /// By namespace and name.
    services: HashMap<String, HashMap<String, Service>>,
    nodes: BTreeMap<String, Vec<IpAddr>>,
    faults: Vec<Fault>,
}

/// What policy is judged for: an interface of a workload or of a host.
#[derive(Debug)]
pub struct Endpoint {
    /// Its identity; of a pod without endpoint: the one that it would have.
    pub key: ResourceKey,
    /// The host that it is on.
    pub node: Arc<str>,
    /// The pod or other workload that it belongs to; empty for a host's.
    pub pod: Arc<str>,
    /// The interface on the host; `*` of a host endpoint is all.
    pub interface: Arc<str>,
    /// Its addresses of both families, in the order written.
    pub addresses: Vec<IpAddr>,
    /// Its own labels, those of its place, and those of its profiles.
    pub labels: BTreeMap<String, String>,
    /// Profiles, in the order in which they are asked.
    pub profiles: Vec<Arc<str>>,
    pub(crate) ports: Vec<NamedPort>,
    pub(crate) stacks: OnceLock<Stacks>,
}

impl Endpoint {
    /// Whether it is a host's.
    pub fn is_host(&self) -> bool {
        self.key.kind == Kind::HostEndpoint
    }

    /// Its first address of a family.
    pub fn address(&self, ipv6: bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv6() == ipv6)
    }
}

/// An endpoint of a [`Cluster`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub(crate) usize);

#[derive(Debug)]
pub(crate) struct NamedPort {
    pub(crate) name: Box<str>,
    pub(crate) protocol: u8,
    pub(crate) number: u16,
}

/// A network set.
#[derive(Debug)]
struct Set {
    nets: Vec<IpNet>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Service {
    addresses: HashSet<IpAddr>,
    ports: HashSet<(IpAddr, u8, u16)>,
}

/// Something that could not be understood. In its place stands what allows nothing more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {error}")]
pub struct Fault {
    /// The object.
    pub key: ResourceKey,
    /// The field, what was found and what was expected.
    pub error: String,
}

/// A stored policy that can't be decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// Which policy.
    pub key: ResourceKey,
    /// What of it could be read.
    pub json: Option<Value>,
}

/// Which policies are one Deny in their place, for their types, whatever their rules say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Enforcement {
    /// Policies that the dataplane can't enforce. Usually none.
    pub denied: BTreeSet<ResourceKey>,
    /// Policies that can't be decoded. Usually none.
    pub unreadable: Vec<Unreadable>,
    /// Whether host endpoints are left out as if there were none, because the dataplane leaves hosts untouched.
    pub without_hosts: bool,
}

impl Cluster {
    /// A cluster of some objects. Of two with the same identity the last counts. Never fails: see
    /// [`Cluster::faults`].
    pub fn new(resources: impl IntoIterator<Item = Resource>) -> Self {
        Self::with(resources, &Enforcement::default())
    }

    /// A cluster whose dataplane can't do everything.
    pub fn with(resources: impl IntoIterator<Item = Resource>, enforcement: &Enforcement) -> Self {
        let resources: BTreeMap<ResourceKey, Resource> =
            resources.into_iter().map(|resource| (resource.key(), resource)).collect();
        let mut cluster = Self {
            endpoints: Vec::new(),
            owners: HashMap::new(),
            sets: Vec::new(),
            tiers: Vec::new(),
            profiles: BTreeMap::new(),
            services: HashMap::new(),
            nodes: BTreeMap::new(),
            faults: Vec::new(),
        };
        cluster.add_profiles(resources.values());
        cluster.add_endpoints(resources.values(), enforcement);
        cluster.add_sets(resources.values());
        cluster.add_policies(resources.values(), enforcement);
        cluster
    }

    /// What could not be understood. A policy of Calico's, or a profile, is one Deny then; of a
    /// policy of Kubernetes the rules that allow are missing, and those that don't deny
    /// everything. An endpoint or a network set is left out.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// All endpoints, workloads' and hosts', by identity.
    pub fn endpoints(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        self.endpoints.iter().enumerate().map(|(index, endpoint)| (EndpointId(index), endpoint))
    }

    /// An endpoint of this cluster.
    pub fn endpoint(&self, id: EndpointId) -> &Endpoint {
        &self.endpoints[id.0]
    }

    /// The endpoint that has an address; the first by identity if there are more.
    pub fn owner(&self, address: IpAddr) -> Option<EndpointId> {
        self.owners.get(&address).and_then(|owners| owners.first()).map(|&index| EndpointId(index))
    }

    /// The addresses that a node says it has.
    pub fn node_addresses(&self, node: &str) -> &[IpAddr] {
        self.nodes.get(node).map_or(&[], Vec::as_slice)
    }

    /// Whether the node is known, by itself or as the place of an endpoint.
    pub(crate) fn knows_node(&self, node: &str) -> bool {
        self.nodes.contains_key(node) || self.endpoints.iter().any(|endpoint| &*endpoint.node == node)
    }

    /// All endpoints that have an address.
    pub(crate) fn owners(&self, address: IpAddr) -> impl Iterator<Item = &Endpoint> {
        self.owners.get(&address).into_iter().flatten().map(|&index| &self.endpoints[index])
    }

    /// Whether an endpoint or set that an address belongs to has such labels.
    pub(crate) fn anyone_at(
        &self,
        address: IpAddr,
        matches: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> bool {
        self.owners(address).any(|endpoint| matches(&endpoint.labels))
            || self
                .sets
                .iter()
                .any(|set| set.nets.iter().any(|net| net.contains(&address)) && matches(&set.labels))
    }

    /// Whether an address is behind a service; as destination, at one of its ports.
    pub(crate) fn serves(&self, namespace: &str, name: &str, side: Side) -> bool {
        let service = self.services.get(namespace).and_then(|services| services.get(name));
        service.is_some_and(|service| match side.role {
            Role::Source => service.addresses.contains(&side.address),
            Role::Destination => {
                side.port.is_some_and(|port| service.ports.contains(&(side.address, side.protocol, port)))
            }
        })
    }

    fn add_profiles<'a>(&mut self, resources: impl Iterator<Item = &'a Resource>) {
        self.profiles.insert(derive::ALLOW_PROFILE.into(), derive::allow_profile());
        for resource in resources {
            let (name, profile) = match resource {
                Resource::Namespace(object) => {
                    let name = &object.metadata.name;
                    (derive::namespace_profile(name), derive::from_namespace(name, &object.metadata.labels))
                }
                Resource::ServiceAccount(object) => {
                    let (namespace, name) = (&object.metadata.namespace, &object.metadata.name);
                    (
                        derive::account_profile(namespace, name),
                        derive::from_account(name, &object.metadata.labels),
                    )
                }
                Resource::Profile(object) => {
                    let (profile, faults) = Profile::read(&object.spec);
                    self.add_faults(&object.key(), faults);
                    self.profiles.insert(object.metadata.name.as_str().into(), profile);
                    continue;
                }
                _ => continue,
            };
            // Profiles come first in the order of kinds: one that is stored stays.
            self.profiles.entry(name.into()).or_insert(profile);
        }
    }

    fn add_endpoints<'a>(
        &mut self,
        resources: impl Iterator<Item = &'a Resource> + Clone,
        enforcement: &Enforcement,
    ) {
        let pods_with_endpoint: HashSet<(&str, &str)> = resources
            .clone()
            .filter_map(|resource| match resource {
                Resource::WorkloadEndpoint(object) => Some((&*object.metadata.namespace, &*object.spec.pod)),
                _ => None,
            })
            .collect();
        for resource in resources {
            match resource {
                Resource::WorkloadEndpoint(object) => {
                    let read = derive::workload(object);
                    self.add_endpoint(&object.key(), read);
                }
                Resource::Pod(object) => {
                    let name = (&*object.metadata.namespace, &*object.metadata.name);
                    if !pods_with_endpoint.contains(&name) {
                        self.endpoints.extend(derive::pod(object));
                    }
                }
                Resource::HostEndpoint(object) if !enforcement.without_hosts => {
                    let read = derive::host(object).map(Some);
                    self.add_endpoint(&object.key(), read);
                }
                Resource::Node(object) => {
                    self.nodes.insert(object.metadata.name.clone(), derive::node_addresses(object));
                }
                _ => {}
            }
        }
        self.endpoints.sort_by(|left, right| left.key.cmp(&right.key));
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            derive::inherit(&mut endpoint.labels, &endpoint.profiles, &self.profiles);
            for &address in &endpoint.addresses {
                self.owners.entry(address).or_default().push(index);
            }
        }
    }

    fn add_sets<'a>(&mut self, resources: impl Iterator<Item = &'a Resource>) {
        for resource in resources {
            let (key, nets, labels) = match resource {
                Resource::GlobalNetworkSet(object) => {
                    (object.key(), &object.spec.nets, object.metadata.labels.clone())
                }
                Resource::NetworkSet(object) => {
                    let namespace = &object.metadata.namespace;
                    let mut labels = object.metadata.labels.clone();
                    labels.insert(NAMESPACE_LABEL.to_owned(), namespace.clone());
                    let profiles = [derive::namespace_profile(namespace).into()];
                    derive::inherit(&mut labels, &profiles, &self.profiles);
                    (object.key(), &object.spec.nets, labels)
                }
                Resource::EndpointSlice(slice) => {
                    let Some(service) = slice.metadata.labels.get(SERVICE_LABEL) else { continue };
                    let (addresses, ports) = derive::slice_members(slice);
                    let services = self.services.entry(slice.metadata.namespace.clone()).or_default();
                    let members = services.entry(service.clone()).or_default();
                    members.addresses.extend(addresses);
                    members.ports.extend(ports);
                    continue;
                }
                _ => continue,
            };
            match read_nets("spec.nets", nets) {
                Ok(nets) => self.sets.push(Set { nets, labels }),
                Err(error) => self.add_faults(&key, vec![error]),
            }
        }
    }

    fn add_policies<'a>(&mut self, resources: impl Iterator<Item = &'a Resource>, enforcement: &Enforcement) {
        let mut tiers: BTreeMap<Arc<str>, Tier> =
            Tier::built_in().into_iter().map(|tier| (tier.name.clone(), tier)).collect();
        let mut policies: Vec<Policy> = (enforcement.unreadable.iter())
            .map(|unreadable| Policy::unreadable(&unreadable.key, unreadable.json.as_ref()))
            .collect();
        for resource in resources {
            let key = resource.key();
            if enforcement.unreadable.iter().any(|unreadable| unreadable.key == key) {
                continue;
            }
            let denied = enforcement.denied.contains(&key);
            let (policy, faults) = match resource {
                Resource::NetworkPolicy(object) => Policy::namespaced(&key, &object.spec, denied),
                Resource::KubernetesNetworkPolicy(object) => {
                    self.add_faults(&key, object.faults.iter().map(ToString::to_string).collect());
                    Policy::namespaced(&key, &object.spec, denied)
                }
                Resource::GlobalNetworkPolicy(object) => Policy::global(&key, &object.spec, denied),
                Resource::KubernetesClusterNetworkPolicy(object) => {
                    self.add_faults(&key, object.faults.iter().map(ToString::to_string).collect());
                    Policy::global(&key, &object.spec, denied)
                }
                Resource::Tier(object) => {
                    let spec = &object.spec;
                    let action = spec.default_action.as_deref().unwrap_or("Deny");
                    let pass = Action::parse(action) == Some(Action::Pass);
                    let order = spec.order.unwrap_or(f64::INFINITY);
                    tiers.insert(key.name.clone(), Tier::new(&key.name, order, pass, true));
                    continue;
                }
                _ => continue,
            };
            self.add_faults(&key, faults);
            policies.push(policy);
        }
        for policy in policies {
            // A policy of a tier that isn't there comes after all tiers that are, and then all is denied.
            let tier = tiers
                .entry(policy.tier.clone())
                .or_insert_with(|| Tier::new(&policy.tier, f64::INFINITY, false, false));
            tier.policies.push(policy);
        }
        self.tiers = tiers.into_values().collect();
        self.tiers.sort_by(Tier::compare);
        for tier in &mut self.tiers {
            tier.policies.sort_by(|left, right| {
                compare_orders(left.order, right.order).then_with(|| left.tie().cmp(&right.tie()))
            });
        }
    }

    fn add_endpoint(&mut self, key: &ResourceKey, read: Result<Option<Endpoint>, String>) {
        match read {
            Ok(endpoint) => self.endpoints.extend(endpoint),
            Err(error) => self.add_faults(key, vec![error]),
        }
    }

    fn add_faults(&mut self, key: &ResourceKey, errors: Vec<String>) {
        self.faults.extend(errors.into_iter().map(|error| Fault { key: key.clone(), error }));
    }
}
