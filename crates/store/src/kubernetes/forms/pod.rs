//! A pod as a workload endpoint, derived: nothing of it is stored but four annotations.
//!
//! The plugin writes a pod's addresses into annotations, since kubelet takes its time to tell them; at the end it empties
//! them, which says that the pod has lost its addresses though it may be there for long. Only what is read of a pod is
//! decoded: a pod's JSON is some 10 KB, its endpoint less than one.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tortie_api::core::{Container, ContainerPort, PodIp};
use tortie_api::endpoint::{HOST_PORTS, IpNat, WorkloadEndpoint, WorkloadEndpointPort, WorkloadEndpointSpec};
use tortie_api::kind::Kind;
use tortie_api::meta::{ObjectMeta, StringMap};
use tortie_api::schema::null_is_default;
use tortie_api::value::Protocol;

use super::metadata::{self, Metadata};
use super::{Read, Unreadable, json, names, native, qos};

const POD_IP: &str = "cni.projectcalico.org/podIP";
const POD_IPS: &str = "cni.projectcalico.org/podIPs";
const CONTAINER_ID: &str = "cni.projectcalico.org/containerID";
const AWS_POD_IPS: &str = "vpc.amazonaws.com/pod-ips";
const FLOATING_IPS: &str = "cni.projectcalico.org/floatingIPs";
const SOURCE_PREFIXES: &str = "cni.projectcalico.org/allowedSourcePrefixes";
const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// From this length on a service account's name is no label.
const LONG_NAME: usize = 63;

/// The core Pod, trimmed.
#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    service_account_name: String,
    host_network: bool,
    #[serde(deserialize_with = "null_is_default")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "null_is_default")]
    init_containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs", deserialize_with = "null_is_default")]
    pod_ips: Vec<PodIp>,
}

/// The endpoint of a pod; `None` if it has none: in its host's network, or not on a node yet.
///
/// # Errors
/// If an annotation or address can't be read.
pub fn read(prefix: &str, object: &[u8]) -> Result<Option<Read>, Unreadable> {
    let pod: Pod = metadata::parse(prefix, object)?;
    let head = pod.metadata.head()?;
    if pod.spec.host_network || pod.spec.node_name.is_empty() {
        return Ok(None);
    }
    let name = names::endpoint(&pod.spec.node_name, &head.name);
    let key = format!("{prefix}{}/{name}", head.namespace);
    let endpoint = endpoint(pod, name).map_err(|fault| head.known(&key, fault))?;
    let value = native::to_bytes(Kind::WorkloadEndpoint, &endpoint);
    Ok(Some(Read { key, value, version: head.version, uid: head.uid, deleted: false }))
}

fn endpoint(pod: Pod, name: String) -> Result<WorkloadEndpoint, Unreadable> {
    let networks = if pod.finished() { Vec::new() } else { pod.networks()? };
    let ip_nats = pod.floating(&networks)?;
    let allow_spoofed_source_prefixes = pod.source_prefixes()?;
    let Pod { metadata, spec, .. } = pod;
    let Metadata { name: pod, namespace, labels, .. } = metadata;
    let annotation = |name: &str| metadata.annotations.get(name).cloned();
    let account = spec.service_account_name;
    let mut profiles = vec![format!("kns.{namespace}")];
    if !account.is_empty() {
        profiles.push(format!("ksa.{namespace}.{account}"));
    }
    let labels = labels_of(labels, &namespace, &account);
    let kept = [NETWORK_STATUS, HOST_PORTS].map(|name| Some((name.to_owned(), annotation(name)?)));
    Ok(WorkloadEndpoint {
        spec: WorkloadEndpointSpec {
            orchestrator: "k8s".to_owned(),
            node: spec.node_name,
            container_id: annotation(CONTAINER_ID).unwrap_or_default(),
            endpoint: "eth0".to_owned(),
            service_account_name: account,
            ip_networks: networks.iter().map(IpNet::to_string).collect(),
            ip_nats,
            profiles,
            interface_name: names::interface(&namespace, &pod),
            ports: spec.containers.iter().chain(&spec.init_containers).flat_map(ports).collect(),
            allow_spoofed_source_prefixes,
            qos_controls: qos::controls(&metadata.annotations),
            pod,
            ..WorkloadEndpointSpec::default()
        },
        metadata: ObjectMeta {
            name,
            generate_name: metadata.generate_name,
            namespace,
            uid: metadata.uid,
            creation_timestamp: metadata.creation_timestamp,
            labels,
            annotations: kept.into_iter().flatten().collect(),
            ..ObjectMeta::default()
        },
        ..WorkloadEndpoint::default()
    })
}

/// The labels of an endpoint: those of its pod, and what Calico adds.
pub fn labels_of(mut labels: StringMap, namespace: &str, account: &str) -> StringMap {
    labels.insert("projectcalico.org/namespace".to_owned(), namespace.to_owned());
    labels.insert("projectcalico.org/orchestrator".to_owned(), "k8s".to_owned());
    if !account.is_empty() && account.len() < LONG_NAME {
        labels.insert("projectcalico.org/serviceaccount".to_owned(), account.to_owned());
    }
    labels
}

impl Pod {
    /// Whether it has lost its addresses, though it is there still.
    fn finished(&self) -> bool {
        let emptied = |name| self.metadata.annotation(name) == Some("");
        let leaving = self.metadata.deletion_timestamp.is_some();
        (leaving && (emptied(POD_IP) || emptied(AWS_POD_IPS)))
            || matches!(self.status.phase.as_str(), "Failed" | "Succeeded" | "Completed")
    }

    /// Its addresses: what the plugin wrote, or else what kubelet or another plugin says.
    fn networks(&self) -> Result<Vec<IpNet>, Unreadable> {
        let annotated = |name: &str, many: bool| {
            let text = self.metadata.annotation(name).filter(|text| !text.is_empty())?;
            let texts: Vec<&str> = if many { text.split(',').collect() } else { vec![text] };
            Some((json::annotation(name), texts))
        };
        let (field, texts) = if let Some(found) = annotated(POD_IPS, true) {
            found
        } else if let Some(found) = annotated(POD_IP, false) {
            found
        } else if !self.status.pod_ips.is_empty() {
            ("status.podIPs".to_owned(), self.status.pod_ips.iter().map(|ip| ip.ip.as_str()).collect())
        } else if !self.status.pod_ip.is_empty() {
            ("status.podIP".to_owned(), vec![self.status.pod_ip.as_str()])
        } else if let Some(found) = annotated(AWS_POD_IPS, true) {
            found
        } else {
            return Ok(Vec::new());
        };
        let network = |text: &str| {
            let network = text.parse::<IpNet>().ok().map(|net| net.trunc());
            network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).ok_or_else(|| {
                Unreadable::at(&field, format!("{text:?}"), "an address, with or without a prefix length")
            })
        };
        texts.into_iter().map(network).collect()
    }

    /// Addresses that are translated to its own.
    fn floating(&self, networks: &[IpNet]) -> Result<Vec<IpNat>, Unreadable> {
        let Some(text) = self.metadata.annotation(FLOATING_IPS).filter(|_| !networks.is_empty()) else {
            return Ok(Vec::new());
        };
        let wanted: Vec<String> =
            json::within(json::annotation(FLOATING_IPS), text, "a JSON list of addresses")?;
        if let Some(network) =
            networks.iter().find(|network| network.prefix_len() != network.max_prefix_len())
        {
            return Err(Unreadable::at(
                json::annotation(POD_IPS),
                network,
                "single addresses, for floating ones",
            ));
        }
        let own = |v6: bool| networks.iter().rev().find(|network| network.addr().is_ipv6() == v6);
        let nat = |external: String| {
            own(external.contains(':'))
                .map(|own| IpNat { internal_ip: own.addr().to_string(), external_ip: external })
        };
        Ok(wanted.into_iter().filter_map(nat).collect())
    }

    /// Networks that it may send from beside its own addresses.
    fn source_prefixes(&self) -> Result<Vec<String>, Unreadable> {
        let Some(text) = self.metadata.annotation(SOURCE_PREFIXES).filter(|text| !text.is_empty()) else {
            return Ok(Vec::new());
        };
        let field = json::annotation(SOURCE_PREFIXES);
        let wanted: Vec<String> = json::within(&field, text, "a JSON list of networks")?;
        let network = |text: &String| {
            let network = text.parse::<IpNet>();
            network
                .map(|network| network.trunc().to_string())
                .map_err(|_| Unreadable::at(&field, format!("{text:?}"), "a network as 10.0.0.0/24"))
        };
        wanted.iter().map(network).collect()
    }
}

/// The ports of a container that have a name or lead from one of the host's.
fn ports(container: &Container) -> Vec<WorkloadEndpointPort> {
    let counts = |port: &&ContainerPort| {
        let protocol = matches!(port.protocol.as_str(), "" | "TCP" | "UDP" | "SCTP");
        protocol && port.container_port != 0 && (port.host_port != 0 || !port.name.is_empty())
    };
    let port = |port: &ContainerPort| WorkloadEndpointPort {
        name: port.name.clone(),
        protocol: Protocol::Name(
            Some(&*port.protocol).filter(|name| !name.is_empty()).unwrap_or("TCP").into(),
        ),
        port: port.container_port,
        host_port: port.host_port,
        host_ip: port.host_ip.clone(),
    };
    container.ports.iter().filter(counts).map(port).collect()
}

/// The patch that makes a pod hold an endpoint: its addresses, its container, and whether that one's host ports are ours to lead.
///
/// # Errors
/// If they aren't texts.
pub fn write(value: &[u8]) -> Result<Value, Unreadable> {
    #[derive(Deserialize)]
    struct Endpoint {
        #[serde(default)]
        metadata: ObjectMeta,
        spec: WorkloadEndpointSpec,
    }
    let Endpoint { metadata, spec } = json::parse(value)?;
    let mut patch = Map::new();
    if let Some(first) = spec.ip_networks.first() {
        patch.insert(POD_IP.to_owned(), json!(first));
        patch.insert(POD_IPS.to_owned(), json!(spec.ip_networks.join(",")));
        if !spec.container_id.is_empty() {
            patch.insert(CONTAINER_ID.to_owned(), json!(spec.container_id));
            if metadata.annotations.get(HOST_PORTS) == Some(&spec.container_id) {
                patch.insert(HOST_PORTS.to_owned(), json!(spec.container_id));
            }
        }
    }
    Ok(json!({ "metadata": { "annotations": patch } }))
}

/// The patch that says that a pod has lost its addresses. Its container stays, so that a late deletion of an older
/// container knows that it isn't meant.
pub fn removal() -> Value {
    json!({ "metadata": { "annotations": { POD_IP: "", POD_IPS: "", HOST_PORTS: null } } })
}

#[cfg(test)]
mod tests;
