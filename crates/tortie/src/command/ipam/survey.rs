//! What there is of addresses: blocks, handles, and who says to use which. Read once, then compared by `check`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tortie_api::kind::Kind;
use tortie_ipam::key::Key;
use tortie_ipam::record::{Attribute, Block};
use tortie_ipam::{HandleId, Owner, net};
use tortie_store::resources::Client;
use tortie_store::{Result, Revision, keys};

/// The handle of addresses that Windows keeps for itself; nothing is stored under it.
const WINDOWS_RESERVED: &str = "windows-reserved-ipam-handle";

/// Blocks as they are stored.
pub struct Blocks {
    /// Those that can be read, by family and address.
    pub valid: Vec<Block>,
    /// Key and fault of the others.
    pub invalid: Vec<(String, String)>,
}

/// All blocks.
///
/// # Errors
/// Those of the datastore.
pub fn blocks(client: &Client) -> Result<Blocks> {
    let mut blocks = Blocks { valid: Vec::new(), invalid: Vec::new() };
    for stored in client.store().list_all(keys::IPAM_BLOCKS)?.items {
        match Block::decode(&stored.value) {
            Ok(block) => blocks.valid.push(block),
            Err(error) => blocks.invalid.push((stored.key, error.to_string())),
        }
    }
    blocks.valid.sort_by_key(|block| (block.cidr.addr().is_ipv6(), block.cidr));
    Ok(blocks)
}

/// All handles, with the revision that wrote each last.
///
/// # Errors
/// Those of the datastore.
pub fn handles(client: &Client) -> Result<BTreeMap<HandleId, Revision>> {
    let stored = client.store().list_all(keys::IPAM_HANDLES)?.items.into_iter();
    Ok(stored
        .filter_map(|stored| match Key::parse(&stored.key)? {
            Key::Handle(handle) => Some((handle, stored.revision)),
            _ => None,
        })
        .collect())
}

/// An address that a block gives to somebody, in the form of calicoctl's reports.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// The address.
    pub ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub handle: String,
    pub sequence_number: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pod: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    /// Whose it is: the node that it was given to, else the block's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    creation_timestamp: String,
    /// Whether something uses it.
    pub in_use: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    borrowed: bool,
    /// Whether it was released and isn't given again yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cooling_down: bool,
    /// What uses it. `null` if nothing does, as Go writes it.
    pub owners: Option<Vec<String>>,
    #[serde(skip)]
    attribute: Option<Arc<Attribute>>,
}

impl Allocation {
    /// The allocation of a taken ordinal.
    pub fn of(block: &Block, ordinal: u32) -> Allocation {
        let index = block.allocations.get(ordinal as usize).copied().flatten();
        let attribute = index.and_then(|index| block.attributes.list().get(index as usize)).cloned();
        let owner = match block.owner() {
            Some(Owner::Host(name)) => name,
            _ => String::new(),
        };
        let said = |name: &str| {
            let text = attribute.as_ref().and_then(|attribute| attribute.owner.get(name));
            text.filter(|text| !text.is_empty()).cloned().unwrap_or_default()
        };
        let handle = attribute.as_ref().and_then(|attribute| attribute.handle());
        let reserved =
            handle.as_ref().is_some_and(|handle| handle.as_str().eq_ignore_ascii_case(WINDOWS_RESERVED));
        let node = Some(said("node")).filter(|node| !node.is_empty()).unwrap_or_else(|| owner.clone());
        Allocation {
            ip: net::nth(&block.cidr, ordinal).to_string(),
            handle: handle.filter(|_| !reserved).map(|handle| handle.to_string()).unwrap_or_default(),
            sequence_number: block.sequence_number_for_allocation.get(ordinal).unwrap_or(0),
            pod: said("pod"),
            namespace: said("namespace"),
            kind: said("type"),
            creation_timestamp: said("timestamp"),
            in_use: reserved,
            borrowed: node != owner,
            cooling_down: attribute.as_ref().is_some_and(|attribute| attribute.released_at.is_some()),
            owners: reserved.then(|| vec!["Reserved for Windows".to_owned()]),
            node,
            attribute,
        }
    }

    /// What is said of its user under a name, such as `node` or `pod`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute.as_ref()?.owner.get(name).map(String::as_str)
    }

    /// Handle and attributes, for people.
    pub fn description(&self) -> String {
        let Some(attribute) = &self.attribute else { return "<missing>".to_owned() };
        let main = attribute.handle_id.as_deref().unwrap_or("<none>");
        let extra: Vec<String> =
            attribute.owner.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("Main:{main} Extra:{}", extra.join(","))
    }
}

/// Who says to use addresses.
pub struct Users {
    /// Address and user.
    pub of_nodes: Vec<(String, String)>,
    /// Address and user.
    pub of_workloads: Vec<(String, String)>,
}

/// Addresses of tunnels and of workloads.
///
/// # Errors
/// Those of the datastore, and addresses that can't be read.
pub fn users(client: &Client) -> Result<Users, String> {
    const TUNNELS: [&str; 6] = [
        "/spec/ipv4VXLANTunnelAddr",
        "/spec/ipv6VXLANTunnelAddr",
        "/spec/wireguard/interfaceIPv4Address",
        "/spec/wireguard/interfaceIPv6Address",
        "/spec/bgp/ipv4IPIPTunnelAddr",
        "/spec/bgp/ipv6IPIPTunnelAddr",
    ];
    let list = |kind: Kind| {
        let objects = client.list(kind, None).map_err(|error| {
            format!(
                "failed to list {}: {error}",
                if kind == Kind::Node { "nodes" } else { "workload endpoints" }
            )
        })?;
        Ok::<_, String>(objects.items)
    };
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut users = Users { of_nodes: Vec::new(), of_workloads: Vec::new() };
    for node in list(Kind::Node)? {
        for path in TUNNELS {
            if let Some(text) = node.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty()) {
                let field = path.rsplit('/').next().unwrap_or_default();
                let address = bare(text)
                    .ok_or_else(|| format!("failed to parse {field} ({text}) of node {}", name(&node)))?;
                users.of_nodes.push((address, format!("Node({})", name(&node))));
            }
        }
    }
    for endpoint in list(Kind::WorkloadEndpoint)? {
        let namespace = endpoint["metadata"]["namespace"].as_str().unwrap_or_default();
        let full = format!("{namespace}/{}", name(&endpoint));
        for text in endpoint.pointer("/spec/ipNetworks").and_then(Value::as_array).into_iter().flatten() {
            let text = text.as_str().unwrap_or_default();
            let address =
                bare(text).ok_or_else(|| format!("failed to parse IP ({text}) of workload {full}"))?;
            users.of_workloads.push((address, format!("Workload({full})")));
        }
    }
    Ok(users)
}

/// The address of a text with or without a prefix length, as address management writes it.
fn bare(text: &str) -> Option<String> {
    let address: std::net::IpAddr = text.split('/').next()?.parse().ok()?;
    Some(address.to_string())
}
