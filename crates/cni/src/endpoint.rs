//! The WorkloadEndpoint that a call stores, field by field as Calico's plugin writes it, and the profile of networks
//! without Kubernetes. Pure; next hop: the store, and from there the agent's calculation.

use crate::annotations;
use crate::config::{NamedPort, NetworkConfig, PortMapping};
use crate::identity::{Identity, Workload};
use crate::{Error, Result};
use ipnet::IpNet;
use std::net::IpAddr;
use tortie_api::endpoint::{HOST_PORTS, IpNat, WorkloadEndpoint, WorkloadEndpointPort, WorkloadEndpointSpec};
use tortie_api::meta::{ObjectMeta, StringMap};
use tortie_api::value::Protocol;
use tortie_netlink::rtnetlink::Mac;

const ANNOTATION_FLOATING: &str = "cni.projectcalico.org/floatingIPs";
const ANNOTATION_SOURCE_PREFIXES: &str = "cni.projectcalico.org/allowedSourcePrefixes";
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
///
/// # Errors
/// [`Error::Addresses`] if an annotation can't be read or asks for a feature that is off.
pub fn endpoint(
    identity: &Identity,
    config: &NetworkConfig,
    attached: &Attached<'_>,
) -> Result<WorkloadEndpoint> {
    let conventions = &config.args.cni;
    let mut labels: StringMap = config.labels();
    if matches!(identity.workload, Workload::Pod { .. }) && !conventions.service_account_name.is_empty() {
        labels.insert(SERVICE_ACCOUNT_LABEL.into(), conventions.service_account_name.clone());
    }
    let pod = match &identity.workload {
        Workload::Pod { name, .. } => name.clone(),
        Workload::Container => String::new(),
    };
    let mut endpoint = WorkloadEndpoint {
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
            ip_nats: translations(config, attached.addresses)?,
            allow_spoofed_source_prefixes: source_prefixes(config)?,
            ..WorkloadEndpointSpec::default()
        },
        ..WorkloadEndpoint::default()
    };
    lead_ports(&mut endpoint, config)?;
    Ok(endpoint)
}

/// Adds the host's ports that the runtime wants to lead to a container, and that it is for us to lead them.
///
/// # Errors
/// [`Error::Config`] if one can't be read.
pub fn lead_ports(endpoint: &mut WorkloadEndpoint, config: &NetworkConfig) -> Result<()> {
    let wanted = mapped(config)?;
    if wanted.is_empty() {
        return Ok(());
    }
    for port in wanted {
        // What is known of the pod names it already, as Calico's plugin does.
        let same = |known: &WorkloadEndpointPort| {
            (known.port, known.host_port, &known.host_ip) == (port.port, port.host_port, &port.host_ip)
                && known.protocol.number() == port.protocol.number()
        };
        if !endpoint.spec.ports.iter().any(same) {
            endpoint.spec.ports.push(port);
        }
    }
    endpoint.metadata.annotations.insert(HOST_PORTS.into(), endpoint.spec.container_id.clone());
    Ok(())
}

/// The ports of the host that the runtime wants to lead to the container.
///
/// # Errors
/// [`Error::Config`] if one can't be read.
pub fn mapped(config: &NetworkConfig) -> Result<Vec<WorkloadEndpointPort>> {
    let read = |mapping: &PortMapping| {
        let fault = |field: &str, found: String, expected| {
            let found = format!("{field} {found}");
            Error::Config { field: "runtimeConfig.portMappings", found, expected }
        };
        let number = |field, number: i64| match u16::try_from(number) {
            Ok(port @ 1..) => Ok(port),
            _ => Err(fault(field, number.to_string(), "a number from 1 to 65535")),
        };
        let protocol = match mapping.protocol.to_ascii_uppercase() {
            empty if empty.is_empty() => "TCP".into(),
            known if matches!(&*known, "TCP" | "UDP" | "SCTP") => known,
            _ => return Err(fault("protocol", mapping.protocol.clone(), "tcp, udp or sctp")),
        };
        if !mapping.host_ip.is_empty() && mapping.host_ip.parse::<IpAddr>().is_err() {
            return Err(fault("hostIP", mapping.host_ip.clone(), "an IP address"));
        }
        Ok(WorkloadEndpointPort {
            protocol: Protocol::Name(protocol.into()),
            port: number("containerPort", mapping.container_port)?,
            host_port: number("hostPort", mapping.host_port)?,
            host_ip: mapping.host_ip.clone(),
            ..WorkloadEndpointPort::default()
        })
    };
    config.runtime.port_mappings.iter().map(read).collect()
}

/// Floating addresses, each to the pod's address of its family.
fn translations(config: &NetworkConfig, addresses: &[IpAddr]) -> Result<Vec<IpNat>> {
    let Some(text) = annotations::said(&config.args.cni.annotations, ANNOTATION_FLOATING) else {
        return Ok(Vec::new());
    };
    if !config.feature_control.floating_ips {
        return Err(Error::Addresses("requested feature is not enabled: floating_ips".into()));
    }
    let translate = |external: &String| {
        let fault = |reason: &str| {
            Error::Addresses(format!("annotation {ANNOTATION_FLOATING}: {external:?}: {reason}"))
        };
        let address: IpAddr = external.parse().map_err(|_| fault("expected an IP address"))?;
        let internal = addresses.iter().find(|one| one.is_ipv4() == address.is_ipv4());
        let internal = internal.ok_or_else(|| fault("the pod has no address of this family"))?;
        Ok(IpNat { internal_ip: internal.to_string(), external_ip: address.to_string() })
    };
    annotations::list(text)?.iter().map(translate).collect()
}

/// Prefixes that the pod may send from beside its own addresses.
fn source_prefixes(config: &NetworkConfig) -> Result<Vec<String>> {
    let Some(text) = annotations::said(&config.args.cni.annotations, ANNOTATION_SOURCE_PREFIXES) else {
        return Ok(Vec::new());
    };
    let prefixes = annotations::list(text)?;
    match prefixes.iter().find(|prefix| prefix.parse::<IpNet>().is_err()) {
        None => Ok(prefixes),
        Some(bad) => Err(Error::Addresses(format!(
            "annotation {ANNOTATION_SOURCE_PREFIXES}: {bad:?}: expected a prefix, as 10.0.0.0/24"
        ))),
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
    let NamedPort { name, protocol, port, host_port, host_ip } = port;
    WorkloadEndpointPort {
        name: name.clone(),
        protocol: protocol.clone().unwrap_or_else(|| Protocol::Name("TCP".into())),
        port: *port,
        host_port: *host_port,
        host_ip: host_ip.clone(),
    }
}

fn single(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}
