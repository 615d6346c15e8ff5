//! What is known: tables that threads keep by listing and watching, each with no more of an object than is read.
//!
//! A thread sends what to do to a table, and whoever owns the [`World`] does it. A table counts only when it is complete.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tortie_api::cluster::{ClusterInformation, KubeControllersConfiguration};
use tortie_api::core::{Namespace, Pod as CorePod, ServiceAccount};
use tortie_api::endpoint::{HostEndpoint, Node, WorkloadEndpoint};
use tortie_api::kubernetes::KubernetesNetworkPolicy;
use tortie_api::meta::StringMap;
use tortie_api::policy::{NetworkPolicy, Profile};
use tortie_ipam::record::Block;
use tortie_store::follow::{Follow, News};
use tortie_store::kubernetes::forms;
use tortie_store::{Datastore, KeyValue, keys};

use crate::collect::PodName;
use crate::pulse::Pulse;
use crate::{Error, Result};

/// How long a thread waits for news before it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(500);
/// How long it rests after a failure.
const REST: Duration = Duration::from_secs(1);

/// Objects of one kind by their keys.
#[derive(Debug)]
pub struct Table<T> {
    /// What is there.
    pub items: BTreeMap<String, T>,
    /// Whether all of it is known.
    pub is_complete: bool,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { items: BTreeMap::new(), is_complete: false }
    }
}

impl<T> Table<T> {
    fn take(&mut self, news: News<(String, T)>) {
        match news {
            News::All(all) => {
                self.items = all.into_iter().collect();
                self.is_complete = true;
            }
            News::Put((key, item)) => drop(self.items.insert(key, item)),
            News::Gone(key) => drop(self.items.remove(&key)),
        }
    }
}

/// What is read of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Whose it is.
    pub name: PodName,
    /// Its node; empty if it has none yet.
    pub node: String,
    /// Its addresses; none if nobody has told them yet.
    pub addresses: Vec<IpAddr>,
    /// Whether it has ended for good.
    pub is_finished: bool,
    /// Whether it lives in its node's network.
    pub is_host: bool,
    /// The labels of its endpoint.
    pub labels: StringMap,
    /// Its service account.
    pub account: String,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct World {
    /// The controllers' own object.
    pub configuration: Table<KubeControllersConfiguration>,
    /// The cluster's object: whether anything may be written.
    pub information: Table<ClusterInformation>,
    /// Blocks of addresses.
    pub blocks: Table<Block>,
    /// Nodes as the datastore has them.
    pub nodes: Table<Node>,
    /// Host endpoints.
    pub host_endpoints: Table<HostEndpoint>,
    /// Pods of Kubernetes; or what endpoints say of theirs, where there is no Kubernetes.
    pub pods: Table<Pod>,
    /// Nodes as Kubernetes has them, where that isn't the datastore.
    pub machines: Table<Node>,
    /// Namespaces of Kubernetes, where that isn't the datastore.
    pub namespaces: Table<Namespace>,
    /// Service accounts, likewise.
    pub accounts: Table<ServiceAccount>,
    /// Policies, likewise.
    pub policies: Table<KubernetesNetworkPolicy>,
    /// Profiles that are stored.
    pub profiles: Table<Profile>,
    /// Policies that are stored under a copy's name.
    pub copies: Table<NetworkPolicy>,
    /// Endpoints of Kubernetes' pods that are stored.
    pub endpoints: Table<WorkloadEndpoint>,
}

/// Something to do to the world.
pub type Told = Box<dyn FnOnce(&mut World) + Send>;

/// Keeps a table: starts the thread that follows `prefix` until `stop`, or until nobody listens.
///
/// # Errors
/// If there is no thread for it.
pub fn follow<T: Send + 'static>(
    store: &Arc<dyn Datastore>,
    prefix: String,
    read: fn(&KeyValue) -> Option<(String, T)>,
    table: fn(&mut World) -> &mut Table<T>,
    sender: &Sender<Told>,
    pulse: Pulse,
    stop: &Arc<AtomicBool>,
) -> Result<()> {
    let (sender, stop) = (sender.clone(), Arc::clone(stop));
    let mut follow = Follow::new(Arc::clone(store), prefix.clone(), read);
    let run = move || {
        let mut is_lost = false;
        while !stop.load(Ordering::Relaxed) {
            pulse.beat();
            match follow.next(WAIT) {
                Ok(news) => {
                    is_lost = false;
                    for news in news {
                        if sender.send(Box::new(move |world| table(world).take(news))).is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_lost, true) {
                        tracing::warn!(prefix, %error, "nothing is heard of these objects; trying on");
                    }
                    std::thread::sleep(REST);
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("follow".to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|source| Error::Thread { name: "follow", source })
}

/// An object at its key; one that can't be read is told once it is met, and passed over.
pub fn object<T: DeserializeOwned>(kv: &KeyValue) -> Option<(String, T)> {
    match serde_json::from_slice(&kv.value) {
        Ok(object) => Some((kv.key.clone(), object)),
        Err(error) => {
            tracing::warn!(key = kv.key, %error, "a stored object cannot be read");
            None
        }
    }
}

/// An object that is named as its key is, with the revision at which it was read.
pub fn named<S>(kv: &KeyValue) -> Option<(String, tortie_api::meta::Object<S>)>
where
    S: tortie_api::meta::Spec,
    tortie_api::meta::Object<S>: DeserializeOwned,
{
    let (key, mut object) = object::<tortie_api::meta::Object<S>>(kv)?;
    let id = keys::parse_resource(&key)?;
    object.metadata.name = id.name.to_string();
    object.metadata.namespace = id.namespace.to_string();
    object.metadata.resource_version = kv.revision.to_string();
    Some((key, object))
}

/// A block.
pub fn block(kv: &KeyValue) -> Option<(String, Block)> {
    match Block::decode(&kv.value) {
        Ok(block) => (!block.deleted).then(|| (kv.key.clone(), block)),
        Err(error) => {
            tracing::warn!(key = kv.key, %error, "a stored block cannot be read: nothing of it is collected");
            None
        }
    }
}

/// A policy that is stored under a copy's name.
pub fn copy(kv: &KeyValue) -> Option<(String, NetworkPolicy)> {
    let (key, policy): (String, NetworkPolicy) = named(kv)?;
    policy.metadata.name.starts_with(crate::copies::POLICY).then_some((key, policy))
}

/// The endpoint of a pod of Kubernetes.
pub fn endpoint(kv: &KeyValue) -> Option<(String, WorkloadEndpoint)> {
    let (key, endpoint): (String, WorkloadEndpoint) = named(kv)?;
    (endpoint.spec.orchestrator == "k8s").then_some((key, endpoint))
}

/// A pod as Kubernetes has it.
pub fn pod(kv: &KeyValue) -> Option<(String, Pod)> {
    let (key, pod) = named::<tortie_api::core::PodSpec>(kv)?;
    Some((key, read_pod(pod)))
}

/// What is read of a pod.
pub fn read_pod(pod: CorePod) -> Pod {
    const ADDRESSES: [&str; 2] = ["cni.projectcalico.org/podIPs", "cni.projectcalico.org/podIP"];
    let CorePod { metadata, spec, status } = pod;
    let told = ADDRESSES.iter().find_map(|name| {
        let text = metadata.annotations.get(*name)?;
        let addresses: Vec<IpAddr> = text.split(',').filter_map(address).collect();
        (!addresses.is_empty()).then_some(addresses)
    });
    let of_kubelet = || {
        let all = status.pod_ips.iter().map(|ip| &ip.ip).chain([&status.pod_ip]);
        let mut addresses: Vec<IpAddr> = all.filter_map(|text| address(text)).collect();
        addresses.dedup();
        addresses
    };
    let account = spec.service_account_name;
    let name = PodName { namespace: metadata.namespace.clone(), name: metadata.name };
    Pod {
        name,
        addresses: told.unwrap_or_else(of_kubelet),
        is_finished: matches!(status.phase.as_str(), "Failed" | "Succeeded" | "Completed"),
        is_host: spec.host_network,
        labels: forms::pod_labels(metadata.labels, &metadata.namespace, &account),
        node: spec.node_name,
        account,
    }
}

/// What an endpoint says of its pod, where there is no Kubernetes.
pub fn pod_of_endpoint(kv: &KeyValue) -> Option<(String, Pod)> {
    #[derive(Deserialize)]
    struct Only {
        spec: tortie_api::endpoint::WorkloadEndpointSpec,
    }
    let (key, Only { spec }) = object::<Only>(kv)?;
    let id = keys::parse_resource(&key)?;
    let name = PodName { namespace: id.namespace.to_string(), name: spec.pod };
    let addresses = spec.ip_networks.iter().filter_map(|text| address(text)).collect();
    Some((key, Pod { name, node: spec.node, addresses, ..Pod::default() }))
}

/// The address of `10.0.0.1` and of `10.0.0.1/32`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))
}
