//! Calico's node as annotations of the core Node.
//!
//! Labels are those of the Node over Calico's own, which an annotation keeps; so that writing a node back doesn't make
//! Kubernetes' labels Calico's, an annotation of the value says which they are. What can't be read of an annotation is as if
//! it weren't there, as with Calico: the node is known all the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tortie_api::endpoint::{
    Node, NodeAddress, NodeBgpSpec, NodeInterface, NodeSpec, NodeStatus, NodeWireguardSpec, OrchRef,
};
use tortie_api::kind::Kind;
use tortie_api::meta::StringMap;
use tortie_api::schema::{Omit, Shaped, null_is_default};

use super::metadata::{self, Metadata};
use super::{Read, Unreadable, json, native};

const LABELS: &str = "projectcalico.org/labels";
const ANNOTATIONS: &str = "projectcalico.org/annotations";
const KUBE_LABELS: &str = "projectcalico.org/kube-labels";
const INTERFACES: &str = "projectcalico.org/Interfaces";

/// Annotations, where the same stands in the value, and what it has to be.
const FIELDS: [(&str, &str, Is); 14] = [
    ("projectcalico.org/IPv4Address", "/spec/bgp/ipv4Address", Is::Ipv4Net),
    ("projectcalico.org/IPv6Address", "/spec/bgp/ipv6Address", Is::Ipv6Net),
    ("projectcalico.org/ASNumber", "/spec/bgp/asNumber", Is::Any),
    ("projectcalico.org/RouteReflectorClusterID", "/spec/bgp/routeReflectorClusterID", Is::Ipv4),
    ("projectcalico.org/IPv4IPIPTunnelAddr", "/spec/bgp/ipv4IPIPTunnelAddr", Is::Ipv4),
    ("projectcalico.org/IPv4VXLANTunnelAddr", "/spec/ipv4VXLANTunnelAddr", Is::Ipv4),
    ("projectcalico.org/VXLANTunnelMACAddr", "/spec/vxlanTunnelMACAddr", Is::Mac),
    ("projectcalico.org/IPv6VXLANTunnelAddr", "/spec/ipv6VXLANTunnelAddr", Is::Ipv6),
    ("projectcalico.org/VXLANTunnelMACAddrV6", "/spec/vxlanTunnelMACAddrV6", Is::Mac),
    ("projectcalico.org/IPv4WireguardInterfaceAddr", "/spec/wireguard/interfaceIPv4Address", Is::Ipv4),
    ("projectcalico.org/IPv6WireguardInterfaceAddr", "/spec/wireguard/interfaceIPv6Address", Is::Ipv6),
    ("projectcalico.org/WireguardPublicKey", "/status/wireguardPublicKey", Is::Any),
    ("projectcalico.org/WireguardPublicKeyV6", "/status/wireguardPublicKeyV6", Is::Any),
    (INTERFACES, "/spec/interfaces", Is::Any),
];

/// What an annotation has to be to be taken.
#[derive(Debug, Clone, Copy)]
enum Is {
    Any,
    Ipv4,
    Ipv6,
    /// An address with or without a prefix length.
    Ipv4Net,
    Ipv6Net,
    Mac,
}

impl Is {
    fn taken(self, text: &str) -> bool {
        match self {
            Is::Any => true,
            Is::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Is::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Is::Ipv4Net => text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv4Net>().is_ok(),
            Is::Ipv6Net => text.parse::<Ipv6Addr>().is_ok() || text.parse::<Ipv6Net>().is_ok(),
            Is::Mac => {
                let parts: Vec<&str> = text.split([':', '-']).collect();
                matches!(parts.len(), 6 | 8 | 20)
                    && parts.iter().all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
            }
        }
    }
}

/// The core Node, trimmed.
#[derive(Deserialize)]
struct KubeNode {
    metadata: Metadata,
    #[serde(default)]
    spec: KubeSpec,
    #[serde(default)]
    status: KubeStatus,
}

#[derive(Default, Deserialize)]
struct KubeSpec {
    #[serde(default, rename = "podCIDRs", deserialize_with = "null_is_default")]
    pod_cidrs: Vec<String>,
}

#[derive(Default, Deserialize)]
struct KubeStatus {
    #[serde(default, deserialize_with = "null_is_default")]
    addresses: Vec<NodeAddress>,
}

/// What a core Node holds.
///
/// # Errors
/// If it is none.
pub fn read(prefix: &str, object: &[u8]) -> Result<Read, Unreadable> {
    let KubeNode { mut metadata, spec: KubeSpec { pod_cidrs }, status } = metadata::parse(prefix, object)?;
    let head = metadata.head()?;
    let annotation = |name: &str| {
        let (.., is) = FIELDS.iter().find(|(known, ..)| *known == name)?;
        metadata.annotation(name).filter(|text| !text.is_empty() && is.taken(text)).map(str::to_owned)
    };
    let address = |name: &str| annotation(&format!("projectcalico.org/{name}")).unwrap_or_default();
    let bgp = NodeBgpSpec {
        as_number: annotation("projectcalico.org/ASNumber").and_then(|text| text.parse().ok()),
        ipv4_address: address("IPv4Address"),
        ipv6_address: address("IPv6Address"),
        ipv4_ipip_tunnel_addr: address("IPv4IPIPTunnelAddr"),
        route_reflector_cluster_id: address("RouteReflectorClusterID"),
    };
    let wireguard = NodeWireguardSpec {
        interface_ipv4_address: address("IPv4WireguardInterfaceAddr"),
        interface_ipv6_address: address("IPv6WireguardInterfaceAddr"),
    };
    let own = [&bgp.ipv4_address, &bgp.ipv6_address].into_iter().filter(|address| !address.is_empty());
    let own =
        own.map(|address| NodeAddress { address: address.clone(), address_type: "CalicoNodeIP".to_owned() });
    let kube = status.addresses.into_iter();
    let kube = kube.filter(|address| matches!(address.address_type.as_str(), "InternalIP" | "ExternalIP"));
    let interfaces: Option<Vec<NodeInterface>> =
        annotation(INTERFACES).and_then(|text| serde_json::from_str(&text).ok());
    let spec = NodeSpec {
        addresses: own.chain(kube).collect(),
        bgp: Some(bgp).filter(|bgp| !bgp.omit()),
        ipv4_vxlan_tunnel_addr: address("IPv4VXLANTunnelAddr"),
        vxlan_tunnel_mac_addr: address("VXLANTunnelMACAddr"),
        ipv6_vxlan_tunnel_addr: address("IPv6VXLANTunnelAddr"),
        vxlan_tunnel_mac_addr_v6: address("VXLANTunnelMACAddrV6"),
        orch_refs: vec![OrchRef { node_name: head.name.clone(), orchestrator: "k8s".to_owned() }],
        wireguard: Some(wireguard).filter(|wireguard| !wireguard.omit()),
        interfaces: interfaces.unwrap_or_default(),
    };
    let status = NodeStatus {
        wireguard_public_key: address("WireguardPublicKey"),
        wireguard_public_key_v6: address("WireguardPublicKeyV6"),
        pod_cidrs,
    };
    let map = |name: &str| {
        let text = metadata.annotation(name)?;
        serde_json::from_str::<StringMap>(text).ok()
    };
    let (mut labels, mut annotations) =
        (map(LABELS).unwrap_or_default(), map(ANNOTATIONS).unwrap_or_default());
    let kube_labels = match metadata.labels.is_empty() {
        true => "null".to_owned(),
        false => serde_json::to_string(&metadata.labels).expect("a map of texts always has a JSON form"),
    };
    annotations.insert(KUBE_LABELS.to_owned(), kube_labels);
    labels.extend(std::mem::take(&mut metadata.labels));
    let node = Node {
        metadata: tortie_api::meta::ObjectMeta { labels, annotations, ..metadata.kept() },
        spec,
        status,
    };
    let key = head.key(prefix);
    Ok(Read {
        key,
        value: native::to_bytes(Kind::Node, &node),
        version: head.version,
        uid: head.uid,
        deleted: false,
    })
}

/// The patch that makes a core Node hold a value. What isn't set is taken away.
///
/// # Errors
/// If the value's labels or annotations can't be read.
pub fn write(value: &[u8]) -> Result<Value, Unreadable> {
    let mut object: Value = json::parse(value)?;
    let mut patch = Map::new();
    for (name, path, _) in FIELDS {
        let text = match object.pointer(path) {
            None | Some(Value::Null) => Value::Null,
            Some(Value::String(text)) if text.is_empty() => Value::Null,
            Some(Value::String(text)) => json!(text),
            Some(Value::Array(items)) if items.is_empty() => Value::Null,
            Some(other) => {
                let mut text = String::new();
                crate::json::write(&mut text, other, Some(<Vec<NodeInterface>>::SHAPE), None);
                json!(text)
            }
        };
        patch.insert(name.to_owned(), text);
    }
    let mut metadata = json::map(object["metadata"].take()).unwrap_or_default();
    let mut labels = json::take_map(&mut metadata, "metadata.labels")?;
    let mut annotations = json::take_map(&mut metadata, "metadata.annotations")?;
    if let Some(Value::String(text)) = annotations.remove(KUBE_LABELS)
        && !text.is_empty()
    {
        let field = json::annotation(KUBE_LABELS);
        let inherited: Option<StringMap> = json::within(field, &text, "JSON of labels, or null")?;
        inherited.unwrap_or_default().keys().for_each(|name| drop(labels.remove(name)));
    }
    for (name, map) in [(LABELS, labels), (ANNOTATIONS, annotations)] {
        let text = (!map.is_empty()).then(|| Value::Object(map).to_string());
        patch.insert(name.to_owned(), json!(text));
    }
    Ok(json!({ "metadata": { "annotations": patch } }))
}

#[cfg(test)]
mod tests;
