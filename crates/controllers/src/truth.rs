//! What the tables say of nodes and pods, for [`crate::collect`]; and what is asked once more before an address is released,
//! since tables lag.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tortie_api::core::PodSpec;
use tortie_api::endpoint::NodeSpec;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::meta::{Object, Spec};
use tortie_store::resources::Client;
use tortie_store::{Datastore, Error, keys};

use crate::Result;
use crate::collect::{Leak, NodeState, PodName, Truth};
use crate::copies::machine_of;
use crate::world::{self, Pod, World};

/// Where Kubernetes' objects are.
#[derive(Clone)]
pub enum Cluster {
    /// In the datastore, which is Kubernetes' own API.
    Same,
    /// In a cluster beside it.
    Beside(Arc<dyn Datastore>),
    /// Nowhere: pods are those that endpoints tell of.
    Nowhere,
}

/// What the tables say.
pub struct Known<'a> {
    world: &'a World,
    cluster: &'a Cluster,
    pods: HashMap<&'a PodName, Vec<&'a Pod>>,
}

impl<'a> Known<'a> {
    /// Of these tables, which are complete.
    pub fn new(world: &'a World, cluster: &'a Cluster) -> Self {
        let mut pods: HashMap<&PodName, Vec<&Pod>> = HashMap::new();
        for pod in world.pods.items.values() {
            pods.entry(&pod.name).or_default().push(pod);
        }
        Known { world, cluster, pods }
    }

    fn stored(&self, name: &str) -> Option<&'a Object<NodeSpec>> {
        self.world.nodes.items.get(&node_key(name))
    }

    /// The name of a stored node in Kubernetes.
    fn machine(&self, node: &str) -> Option<String> {
        let stored = self.stored(node)?;
        match self.cluster {
            Cluster::Beside(_) => machine_of(stored).map(str::to_owned),
            Cluster::Same | Cluster::Nowhere => Some(node.to_owned()),
        }
    }
}

impl Truth for Known<'_> {
    fn node(&self, name: &str) -> NodeState {
        let stored = self.stored(name);
        match (self.cluster, stored) {
            (_, None) => NodeState::Gone,
            (Cluster::Same | Cluster::Nowhere, Some(_)) => NodeState::There,
            (Cluster::Beside(_), Some(node)) => match machine_of(node) {
                None => NodeState::NotOurs,
                Some(machine) if self.world.machines.items.contains_key(&node_key(machine)) => {
                    NodeState::There
                }
                Some(_) => NodeState::Gone,
            },
        }
    }

    fn may_have(&self, pod: &PodName, node: &str, address: IpAddr) -> bool {
        let machine = self.machine(node);
        let pods = self.pods.get(pod).map(Vec::as_slice).unwrap_or_default();
        pods.iter().any(|pod| has(pod, machine.as_deref(), address))
    }

    fn is_certain(&self) -> bool {
        !matches!(self.cluster, Cluster::Nowhere)
    }
}

/// Whether a pod that is there may have an address that was given on a node of this name in Kubernetes.
fn has(pod: &Pod, machine: Option<&str>, address: IpAddr) -> bool {
    let is_elsewhere = machine.is_some_and(|machine| !pod.node.is_empty() && pod.node != machine);
    !is_elsewhere && !pod.is_finished && (pod.addresses.is_empty() || pod.addresses.contains(&address))
}

fn node_key(name: &str) -> String {
    keys::resource(&ResourceKey::cluster(Kind::Node, name))
}

/// Asks the datastore and Kubernetes themselves.
pub struct Asked<'a> {
    /// The datastore.
    pub client: &'a Client,
    /// Where Kubernetes' objects are.
    pub cluster: &'a Cluster,
}

impl Asked<'_> {
    /// Whether a leak still is one.
    ///
    /// # Errors
    /// Those of the datastore; then nothing is known.
    pub fn is_leaked(&self, leak: &Leak) -> Result<bool> {
        let node = found::<NodeSpec>(self.client, &ResourceKey::cluster(Kind::Node, &leak.node))?;
        let machine = match (self.cluster, &node) {
            (_, None) => None,
            (Cluster::Beside(_), Some(node)) => machine_of(node).map(str::to_owned),
            (Cluster::Same | Cluster::Nowhere, Some(_)) => Some(leak.node.clone()),
        };
        let Some(pod) = &leak.pod else {
            // A tunnel's: it is its node that must be gone.
            return match (self.cluster, node, &machine) {
                (_, None, _) => Ok(true),
                (Cluster::Beside(cluster), Some(_), Some(machine)) => {
                    let cluster = Client::new(Arc::clone(cluster));
                    Ok(found::<NodeSpec>(&cluster, &ResourceKey::cluster(Kind::Node, machine))?.is_none())
                }
                (_, Some(_), _) => Ok(false),
            };
        };
        let pods = self.pods(pod)?;
        Ok(!pods.iter().any(|pod| has(pod, machine.as_deref(), leak.release.address)))
    }

    fn pods(&self, name: &PodName) -> Result<Vec<Pod>> {
        let of_kubernetes = |client: &Client| {
            let key = ResourceKey::namespaced(Kind::Pod, &name.namespace, &name.name);
            Ok(found::<PodSpec>(client, &key)?.map(world::read_pod).into_iter().collect())
        };
        match self.cluster {
            Cluster::Same => of_kubernetes(self.client),
            Cluster::Beside(cluster) => of_kubernetes(&Client::new(Arc::clone(cluster))),
            Cluster::Nowhere => {
                let prefix = keys::namespace_prefix(Kind::WorkloadEndpoint, &name.namespace);
                let endpoints = self.client.store().list_all(&prefix)?.items;
                let pods = endpoints.iter().filter_map(world::pod_of_endpoint).map(|(_, pod)| pod);
                Ok(pods.filter(|pod| pod.name == *name).collect())
            }
        }
    }
}

fn found<S>(client: &Client, id: &ResourceKey) -> Result<Option<Object<S>>>
where
    S: Spec + Serialize + DeserializeOwned,
{
    match client.get_as::<S>(id) {
        Ok(object) => Ok(Some(object)),
        Err(Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
