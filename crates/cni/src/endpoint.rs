//! The WorkloadEndpoint that a call stores, field by field as Calico's plugin writes it, and the profile of networks
//! without Kubernetes. Pure; next hop: the store, and from there the agent's calculation.

use crate::config::{NamedPort, NetworkConfig};
use crate::identity::{Identity, Workload};
use std::net::IpAddr;
use tortie_api::endpoint::{WorkloadEndpoint, WorkloadEndpointPort, WorkloadEndpointSpec};
use tortie_api::meta::{ObjectMeta, StringMap};
use tortie_api::value::Protocol;
use tortie_netlink::rtnetlink::Mac;

/// Calico's label for the service account.
const SERVICE_ACCOUNT_LABEL: &str = "projectcalico.org/serviceaccount";

/// What is known after wiring.
#[derive(Debug, Clone)]
pub struct Attached<'a> {
    /// The interface on the host.
    pub interface: &'a str,
    /// The MAC address inside.
    pub mac: Mac,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
}

/// The profiles of a new endpoint: those of namespace and service account, or the network's.
#[must_use]
pub fn profiles(identity: &Identity, config: &NetworkConfig) -> Vec<String> {
    match &identity.workload {
        Workload::Pod { namespace, .. } => {
            let account = &config.args.cni.service_account_name;
            let mut profiles = vec![format!("kns.{namespace}")];
            if !account.is_empty() {
                profiles.push(format!("ksa.{namespace}.{account}"));
            }
            profiles
        }
        Workload::Container => vec![identity.network.clone()],
    }
}

/// A new endpoint.
#[must_use]
pub fn endpoint(identity: &Identity, config: &NetworkConfig, attached: &Attached<'_>) -> WorkloadEndpoint {
    let conventions = &config.args.cni;
    let mut labels: StringMap = config.labels();
    if matches!(identity.workload, Workload::Pod { .. }) && !conventions.service_account_name.is_empty() {
        labels.insert(SERVICE_ACCOUNT_LABEL.into(), conventions.service_account_name.clone());
    }
    let pod = match &identity.workload {
        Workload::Pod { name, .. } => name.clone(),
        Workload::Container => String::new(),
    };
    WorkloadEndpoint {
        metadata: ObjectMeta {
            name: identity.endpoint_name(),
            namespace: identity.namespace().into(),
            labels,
            ..ObjectMeta::default()
        },
        spec: WorkloadEndpointSpec {
            orchestrator: identity.orchestrator().into(),
            node: identity.node.clone(),
            container_id: identity.container_id.clone(),
            pod,
            endpoint: identity.ifname.clone(),
            service_account_name: conventions.service_account_name.clone(),
            ip_networks: attached.addresses.iter().map(|address| single(*address)).collect(),
            profiles: profiles(identity, config),
            interface_name: attached.interface.into(),
            mac: attached.mac.to_string(),
            ports: conventions.ports.iter().map(port).collect(),
            ..WorkloadEndpointSpec::default()
        },
        ..WorkloadEndpoint::default()
    }
}

/// The profile that a network without Kubernetes has: its members reach each other and everything else.
#[must_use]
pub fn network_profile(network: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "Profile",
        "metadata": { "name": network },
        "spec": {
            "ingress": [{ "action": "Allow", "source": { "selector": format!("has({network})") }, "destination": {} }],
            "egress": [{ "action": "Allow", "source": {}, "destination": {} }],
            "labelsToApply": { network: "" },
        },
    })
}

/// The addresses of a stored endpoint.
#[must_use]
pub fn addresses_of(endpoint: &WorkloadEndpoint) -> Vec<IpAddr> {
    let nets = endpoint.spec.ip_networks.iter();
    nets.filter_map(|net| net.split('/').next()?.parse().ok()).collect()
}

fn port(port: &NamedPort) -> WorkloadEndpointPort {
    let NamedPort { name, protocol, port } = port;
    let protocol = protocol.clone().unwrap_or_else(|| Protocol::Name("TCP".into()));
    WorkloadEndpointPort { name: name.clone(), protocol, port: *port, ..WorkloadEndpointPort::default() }
}

fn single(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}
