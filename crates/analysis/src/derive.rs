//! What the objects imply without saying so.
//!
//! Namespaces and service accounts are profiles that carry labels; pods are workload endpoints;
//! an endpoint has labels of its own, of its place, and of its profiles. Called by `cluster`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tortie_api::core::{Container, EndpointSlice, Pod};
use tortie_api::endpoint::{HostEndpoint, Node, WorkloadEndpoint};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::selector::{
    NAMESPACE_LABEL, NAMESPACE_LABEL_PREFIX, SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_LABEL_PREFIX,
};
use tortie_api::value::Protocol;

use crate::cluster::{Endpoint, NamedPort};
use crate::entity::read_nets;
use crate::policy::Profile;
use crate::rule::Rule;

/// The label that says who runs a workload.
const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

/// The profile that is always there and allows all.
pub(crate) const ALLOW_PROFILE: &str = "projectcalico-default-allow";

type Map = BTreeMap<String, String>;

/// The name of a namespace's profile.
pub(crate) fn namespace_profile(namespace: &str) -> String {
    format!("kns.{namespace}")
}

/// The name of a service account's profile.
pub(crate) fn account_profile(namespace: &str, account: &str) -> String {
    format!("ksa.{namespace}.{account}")
}

/// A profile that allows all and has no labels.
pub(crate) fn allow_profile() -> Profile {
    Profile { ingress: vec![Rule::allow()], egress: vec![Rule::allow()], labels: Map::new() }
}

/// A namespace as a profile: its labels under `pcns.`, and all is allowed.
pub(crate) fn from_namespace(name: &str, labels: &Map) -> Profile {
    Profile { labels: prefixed(NAMESPACE_LABEL_PREFIX, name, labels), ..allow_profile() }
}

/// A service account as a profile: its labels under `pcsa.`, and no rules.
pub(crate) fn from_account(name: &str, labels: &Map) -> Profile {
    let labels = prefixed(SERVICE_ACCOUNT_LABEL_PREFIX, name, labels);
    Profile { ingress: Vec::new(), egress: Vec::new(), labels }
}

fn prefixed(prefix: &str, name: &str, labels: &Map) -> Map {
    let mut all: Map = labels.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone())).collect();
    all.insert(format!("{prefix}projectcalico.org/name"), name.to_owned());
    all
}

/// A workload endpoint; `None` if it has no address yet.
pub(crate) fn workload(object: &WorkloadEndpoint) -> Result<Option<Endpoint>, String> {
    let spec = &object.spec;
    let addresses = addresses("spec.ipNetworks", &spec.ip_networks)?;
    let namespace = &object.metadata.namespace;
    let labels =
        workload_labels(&object.metadata.labels, namespace, &spec.orchestrator, &spec.service_account_name);
    let ports = spec.ports.iter().filter_map(|port| named(&port.name, &port.protocol, port.port)).collect();
    Ok((!addresses.is_empty()).then(|| Endpoint {
        key: object.key(),
        node: spec.node.as_str().into(),
        pod: if spec.pod.is_empty() { spec.workload.as_str() } else { &spec.pod }.into(),
        interface: spec.interface_name.as_str().into(),
        addresses,
        labels,
        profiles: spec.profiles.iter().map(|name| name.as_str().into()).collect(),
        ports,
        stacks: Default::default(),
    }))
}

/// A pod as a workload endpoint; `None` if it is in the host's network, not running or without address.
pub(crate) fn pod(object: &Pod) -> Option<Endpoint> {
    let (spec, status) = (&object.spec, &object.status);
    if spec.host_network || spec.node_name.is_empty() || ["Succeeded", "Failed"].contains(&&*status.phase) {
        return None;
    }
    let ips = status.pod_ips.iter().map(|pod_ip| &pod_ip.ip).chain([&status.pod_ip]);
    let addresses = unique(ips.filter_map(|ip| ip.parse().ok()));
    let (name, namespace) = (&object.metadata.name, &object.metadata.namespace);
    let account = if spec.service_account_name.is_empty() { "default" } else { &spec.service_account_name };
    let stays = |container: &&Container| container.restart_policy == "Always";
    let containers = spec.containers.iter().chain(spec.init_containers.iter().filter(stays));
    let ports = containers.flat_map(|container| &container.ports).filter_map(|port| {
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        named(&port.name, &protocol.parse().ok()?, port.container_port)
    });
    let dashes = |text: &str| text.replace('-', "--");
    let endpoint_name = format!("{}-k8s-{}-eth0", dashes(&spec.node_name), dashes(name));
    (!addresses.is_empty()).then(|| Endpoint {
        key: ResourceKey::namespaced(Kind::WorkloadEndpoint, namespace, &endpoint_name),
        node: spec.node_name.as_str().into(),
        pod: name.as_str().into(),
        interface: "".into(),
        addresses,
        labels: workload_labels(&object.metadata.labels, namespace, "k8s", account),
        profiles: vec![namespace_profile(namespace).into(), account_profile(namespace, account).into()],
        ports: ports.collect(),
        stacks: Default::default(),
    })
}

/// A host endpoint. It may be without addresses.
pub(crate) fn host(object: &HostEndpoint) -> Result<Endpoint, String> {
    let spec = &object.spec;
    Ok(Endpoint {
        key: object.key(),
        node: spec.node.as_str().into(),
        pod: "".into(),
        interface: spec.interface_name.as_str().into(),
        addresses: addresses("spec.expectedIPs", &spec.expected_ips)?,
        labels: object.metadata.labels.clone(),
        profiles: spec.profiles.iter().map(|name| name.as_str().into()).collect(),
        ports: spec.ports.iter().filter_map(|port| named(&port.name, &port.protocol, port.port)).collect(),
        stacks: Default::default(),
    })
}

/// The addresses that a node says it has.
pub(crate) fn node_addresses(object: &Node) -> Vec<IpAddr> {
    let spec = &object.spec;
    let bgp = spec.bgp.iter().flat_map(|bgp| [&bgp.ipv4_address, &bgp.ipv6_address]);
    let texts = bgp.chain(spec.addresses.iter().map(|address| &address.address));
    unique(texts.filter_map(|text| text.split('/').next()?.parse().ok()))
}

/// An endpoint's own labels: none that pretend to be a namespace's or an account's, and those of its place.
fn workload_labels(own: &Map, namespace: &str, orchestrator: &str, account: &str) -> Map {
    let pretends =
        |key: &str| key.starts_with(NAMESPACE_LABEL_PREFIX) || key.starts_with(SERVICE_ACCOUNT_LABEL_PREFIX);
    let mut labels = own.clone();
    labels.retain(|key, _| !pretends(key));
    labels.insert(NAMESPACE_LABEL.to_owned(), namespace.to_owned());
    if !orchestrator.is_empty() {
        labels.insert(ORCHESTRATOR_LABEL.to_owned(), orchestrator.to_owned());
    }
    if !account.is_empty() {
        labels.insert(SERVICE_ACCOUNT_LABEL.to_owned(), account.to_owned());
    }
    labels
}

/// Adds the labels of profiles to those that are there: own ones stay, the first profile's go before the next's.
pub(crate) fn inherit(labels: &mut Map, profiles: &[Arc<str>], all: &BTreeMap<Arc<str>, Profile>) {
    for (key, value) in profiles.iter().filter_map(|name| all.get(name)).flat_map(|profile| &profile.labels) {
        if !labels.contains_key(key) {
            labels.insert(key.clone(), value.clone());
        }
    }
}

/// The members that an endpoint slice gives to its service: addresses, and (address, protocol, port).
/// A port without number gives none; addresses that are names give none.
pub(crate) fn slice_members(slice: &EndpointSlice) -> (Vec<IpAddr>, Vec<(IpAddr, u8, u16)>) {
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let addresses: Vec<IpAddr> = addresses.filter_map(|text| text.parse().ok()).collect();
    let ports = slice.ports.iter().filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            Some("UDP") => 17,
            Some("SCTP") => 132,
            _ => 6,
        };
        Some((protocol, port.port?))
    });
    let with_ports = ports
        .flat_map(|(protocol, port)| addresses.iter().map(move |&address| (address, protocol, port)))
        .collect();
    (addresses, with_ports)
}

fn named(name: &str, protocol: &Protocol, number: u16) -> Option<NamedPort> {
    (!name.is_empty()).then_some(())?;
    Some(NamedPort { name: name.into(), protocol: protocol.number()?, number })
}

fn addresses(field: &str, texts: &[String]) -> Result<Vec<IpAddr>, String> {
    Ok(unique(read_nets(field, texts)?.into_iter().map(|net| net.addr())))
}

fn unique(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    addresses.filter(|address| seen.insert(*address)).collect()
}
