//! Each kind's objects: identities become names, and what had another place gets its own of now.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::check::{self, Report};
use super::types::{EndpointPort, HostEndpoint, Node, Peer, Policy, Pool, Profile, WorkloadEndpoint};
use super::{names, rules};
use crate::decode;
use crate::fault::Fault;
use crate::kind::{Api, Kind};
use crate::meta::{Object, ObjectMeta, Spec, StringMap};
use crate::schema::Shaped;
use crate::yaml::tree::Node as Tree;
use crate::{bgp, endpoint, policy, pool, registry};

/// What a document became, or what is wrong with it.
pub type Read = Result<(Kind, Value), Vec<Fault>>;

/// Reads and converts an object; `None` if the kind isn't one of the first API.
pub fn read(tree: &Tree, path: &str, kind: &str) -> Option<Read> {
    Some(match kind {
        "bgpPeer" => one(tree, path, Report::peer, peer),
        "hostEndpoint" => one(tree, path, Report::host_endpoint, host_endpoint),
        "ipPool" => one(tree, path, Report::pool, pool),
        "node" => one(tree, path, Report::node, node),
        "policy" => one(tree, path, Report::policy, policy),
        "profile" => one(tree, path, Report::profile, profile),
        "workloadEndpoint" => one(tree, path, Report::workload_endpoint, workload_endpoint),
        _ => return None,
    })
}

fn one<T: Shaped + DeserializeOwned, S: Spec + Serialize + DeserializeOwned>(
    tree: &Tree,
    path: &str,
    check: fn(&mut Report, &T),
    convert: fn(T) -> Result<Object<S>, String>,
) -> Read {
    let (json, _, faults) = decode::by_shape(tree, T::SHAPE, path.to_owned(), Api::Calico);
    if !faults.is_empty() {
        return Err(faults);
    }
    let fault = |message: String| vec![Fault::new(path, message).at(tree.mark)];
    let old = T::deserialize(json.unwrap_or_default()).map_err(|error| fault(error.to_string()))?;
    let mut report = Report::default();
    check(&mut report, &old);
    if !report.0.is_empty() {
        return Err(report.0.into_iter().map(|fault| fault.at(tree.mark)).collect());
    }
    let new = convert(old).map_err(fault)?;
    let json = serde_json::to_value(&new).and_then(|json| registry::normalise(S::KIND, &json));
    let json = json.map_err(|error| fault(error.to_string()))?;
    let mut whole = json!({ "kind": S::KIND.name(), "apiVersion": S::KIND.api().version() });
    for part in ["metadata", "spec", "status"] {
        if let Some(value) = json.get(part) {
            whole[part] = value.clone();
        }
    }
    Ok((S::KIND, whole))
}

fn named<S: Spec>(name: String, labels: StringMap, spec: S) -> Object<S> {
    Object {
        metadata: ObjectMeta { name, labels, ..ObjectMeta::default() },
        spec,
        status: S::Status::default(),
    }
}

fn peer(old: Peer) -> Result<Object<bgp::BgpPeerSpec>, String> {
    let Peer { metadata, spec, .. } = old;
    let address: IpAddr =
        metadata.peer_ip.parse().map_err(|_| "no PeerIP is set, invalid BGPPeer".to_owned())?;
    let (name, node) = match (metadata.scope.as_str(), metadata.node.as_str()) {
        ("global", _) => (names::address(address), String::new()),
        ("node", "") => return Err("With Node scope a Node must be defined".to_owned()),
        ("node", node) => {
            let node = names::node(node);
            (format!("{node}.{}", names::address(address)), node)
        }
        _ => return Err("insufficient identifiers, missing 'scope'".to_owned()),
    };
    let peer_ip = address.to_canonical().to_string();
    let spec = bgp::BgpPeerSpec { node, peer_ip, as_number: spec.as_number, ..bgp::BgpPeerSpec::default() };
    Ok(named(name, StringMap::new(), spec))
}

fn host_endpoint(old: HostEndpoint) -> Result<Object<endpoint::HostEndpointSpec>, String> {
    let HostEndpoint { metadata, spec, .. } = old;
    let node = names::node(&metadata.node);
    let name = names::plain(&format!("{node}.{}", metadata.name));
    let spec = endpoint::HostEndpointSpec {
        interface_name: spec.interface_name,
        expected_ips: addresses(&spec.expected_ips),
        profiles: spec.profiles.iter().map(|profile| names::profile(profile)).collect(),
        ports: spec
            .ports
            .into_iter()
            .map(|EndpointPort { name, protocol, port }| endpoint::EndpointPort { name, protocol, port })
            .collect(),
        node,
    };
    Ok(named(name, metadata.labels, spec))
}

/// Addresses in their usual form, IPv4 first.
fn addresses(texts: &[String]) -> Vec<String> {
    let mut read: Vec<IpAddr> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    read.sort_by_key(IpAddr::is_ipv6);
    read.iter().map(ToString::to_string).collect()
}

fn pool(old: Pool) -> Result<Object<pool::IpPoolSpec>, String> {
    let Pool { metadata, spec, .. } = old;
    let net: IpNet =
        check::net(&metadata.cidr).ok_or_else(|| format!("invalid CIDR address: {}", metadata.cidr))?;
    let cidr = net.to_string();
    let ipip_mode = match spec.ipip {
        Some(ipip) if ipip.enabled && ipip.mode == "cross-subnet" => "CrossSubnet",
        Some(ipip) if ipip.enabled => "Always",
        _ => "Never",
    };
    let new = pool::IpPoolSpec {
        ipip_mode: ipip_mode.to_owned(),
        vxlan_mode: "Never".to_owned(),
        nat_outgoing: spec.nat_outgoing,
        disabled: spec.disabled,
        block_size: if net.addr().is_ipv4() { 26 } else { 122 },
        node_selector: "all()".to_owned(),
        allowed_uses: vec!["Workload".to_owned(), "Tunnel".to_owned()],
        cidr,
        ..pool::IpPoolSpec::default()
    };
    Ok(named(names::net(&new.cidr), StringMap::new(), new))
}

fn node(old: Node) -> Result<Object<endpoint::NodeSpec>, String> {
    let Node { metadata, spec, .. } = old;
    let with_length = |text: &str| check::net(text).map_or(String::new(), |net| net.to_string());
    let bgp = spec.bgp.map(|bgp| endpoint::NodeBgpSpec {
        as_number: bgp.as_number,
        ipv4_address: with_length(&bgp.ipv4_address),
        ipv6_address: with_length(&bgp.ipv6_address),
        ..endpoint::NodeBgpSpec::default()
    });
    let orch_refs = spec
        .orch_refs
        .into_iter()
        .map(|known| endpoint::OrchRef { node_name: known.node_name, orchestrator: known.orchestrator });
    let new = endpoint::NodeSpec { bgp, orch_refs: orch_refs.collect(), ..endpoint::NodeSpec::default() };
    Ok(named(names::node(&metadata.name), StringMap::new(), new))
}

fn policy(old: Policy) -> Result<Object<policy::GlobalNetworkPolicySpec>, String> {
    let Policy { metadata, spec, .. } = old;
    let tier = match names::without_dots(&metadata.tier) {
        tier if tier.is_empty() => "default".to_owned(),
        tier => tier,
    };
    let types: Vec<&str> = match spec.types.as_slice() {
        [] if spec.egress.is_empty() => vec!["Ingress"],
        [] if spec.ingress.is_empty() => vec!["Egress"],
        [] => vec!["Ingress", "Egress"],
        types => types.iter().map(|kind| if kind == "ingress" { "Ingress" } else { "Egress" }).collect(),
    };
    let new = policy::GlobalNetworkPolicySpec {
        tier: tier.clone(),
        order: spec.order,
        ingress: rules::convert(&spec.ingress),
        egress: rules::convert(&spec.egress),
        selector: rules::selector(&spec.selector),
        types: types.into_iter().map(str::to_owned).collect(),
        do_not_track: spec.do_not_track,
        pre_dnat: spec.pre_dnat,
        // Both are asked of forwarded packets by their nature; today that must be said.
        apply_on_forward: spec.do_not_track || spec.pre_dnat,
        ..policy::GlobalNetworkPolicySpec::default()
    };
    let labels = StringMap::from([("projectcalico.org/tier".to_owned(), tier.clone())]);
    let mut new = named(format!("{tier}.{}", names::without_dots(&metadata.name)), labels, new);
    new.metadata.annotations = metadata.annotations;
    Ok(new)
}

fn profile(old: Profile) -> Result<Object<policy::ProfileSpec>, String> {
    let Profile { metadata, spec, .. } = old;
    let name = names::profile(&metadata.name);
    let mut labels_to_apply = metadata.labels;
    for tag in metadata.tags {
        if let Some(value) = labels_to_apply.insert(tag.clone(), String::new()) {
            return Err(format!(
                "Tag: '{tag}' and Label '{tag} == {value}' have the same value for Profile: {name}. Change the Label key before proceeding"
            ));
        }
    }
    let new = policy::ProfileSpec {
        labels_to_apply,
        ingress: rules::convert(&spec.ingress),
        egress: rules::convert(&spec.egress),
    };
    Ok(named(name, StringMap::new(), new))
}

/// Calico's converter leaves the namespace out, also of a pod's endpoint; so does this.
fn workload_endpoint(old: WorkloadEndpoint) -> Result<Object<endpoint::WorkloadEndpointSpec>, String> {
    let WorkloadEndpoint { metadata, spec, .. } = old;
    let mut new = endpoint::WorkloadEndpointSpec {
        orchestrator: names::plain(&metadata.orchestrator),
        node: names::node(&metadata.node),
        endpoint: names::plain(&metadata.name),
        ip_networks: networks(&spec.ip_networks),
        profiles: spec.profiles.iter().map(|profile| names::profile(profile)).collect(),
        interface_name: spec.interface_name,
        ipv4_gateway: spec.ipv4_gateway,
        ipv6_gateway: spec.ipv6_gateway,
        mac: spec.mac,
        ..endpoint::WorkloadEndpointSpec::default()
    };
    match metadata.orchestrator.as_str() {
        "k8s" => {
            let (_, pod) = metadata.workload.split_once('.').ok_or_else(|| {
                format!(
                    "malformed k8s workload ID '{}': workload was not added through the Calico CNI plugin and cannot be converted",
                    metadata.workload
                )
            })?;
            new.pod = pod.to_owned();
            new.container_id = metadata.active_instance_id;
        }
        "cni" => new.container_id = metadata.workload,
        "libnetwork" => new.workload = "libnetwork".to_owned(),
        _ => new.workload = names::plain(&metadata.workload),
    }
    let nats = spec
        .ip_nats
        .into_iter()
        .map(|nat| endpoint::IpNat { internal_ip: nat.internal_ip, external_ip: nat.external_ip });
    new.ip_nats = nats.collect();
    new.ip_nats.sort_by_key(|nat| nat.internal_ip.contains(':'));
    new.ports = spec
        .ports
        .into_iter()
        .map(|EndpointPort { name, protocol, port }| endpoint::WorkloadEndpointPort {
            name,
            protocol,
            port,
            ..endpoint::WorkloadEndpointPort::default()
        })
        .collect();
    let mut labels = metadata.labels;
    if let Some(namespace) = labels.remove("calico/k8s_ns") {
        labels.insert("projectcalico.org/namespace".to_owned(), namespace);
    }
    Ok(named(endpoint_name(&new)?, labels, new))
}

/// Networks without bits behind their length, IPv4 first.
fn networks(texts: &[String]) -> Vec<String> {
    let mut read: Vec<IpNet> = texts.iter().filter_map(|text| check::net(text)).collect();
    read.sort_by_key(|net| net.addr().is_ipv6());
    read.iter().map(|net| net.trunc().to_string()).collect()
}

/// Node, orchestrator, workload and endpoint, each with `-` doubled, joined by `-`.
fn endpoint_name(spec: &endpoint::WorkloadEndpointSpec) -> Result<String, String> {
    let (field, workload) = match spec.orchestrator.as_str() {
        "k8s" => ("pod", &spec.pod),
        "cni" => ("containerID", &spec.container_id),
        "libnetwork" => ("orchestrator", &spec.orchestrator),
        _ => ("workload", &spec.workload),
    };
    let parts = [
        ("node", &spec.node),
        ("orchestrator", &spec.orchestrator),
        (field, workload),
        ("endpoint", &spec.endpoint),
    ];
    let mut name = Vec::new();
    for (field, part) in parts {
        let reason = match part.as_str() {
            "" => "field should be assigned",
            part if part.starts_with('-') => "field must not begin with a '-'",
            part if part.ends_with('-') => "field must not end with a '-'",
            part => {
                name.push(part.replace('-', "--"));
                continue;
            }
        };
        return Err(format!("error with field {field} = '{part}' ({reason})"));
    }
    Ok(name.join("-"))
}
