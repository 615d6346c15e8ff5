//! `calicoctl datastore migrate export`: three parts with `===` between, as Calico's import reads them: objects as YAML, the
//! cluster's record as JSON, address management as JSON. Nodes get the names that Kubernetes knows them by.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_ipam::Owner;
use tortie_ipam::key::{HandleId, Key};
use tortie_store::keys;
use tortie_store::resources::Client;

use crate::command::ipam::is_locked;
use crate::objects::{Failure, Store};
use crate::output::{self, Shown};
use crate::packed::Packed;

/// The kinds that are exported. What names nodes comes after them, policies after tiers.
pub const KINDS: [Kind; 17] = [
    Kind::IPPool,
    Kind::BGPPeer,
    Kind::Tier,
    Kind::GlobalNetworkPolicy,
    Kind::StagedGlobalNetworkPolicy,
    Kind::GlobalNetworkSet,
    Kind::HostEndpoint,
    Kind::KubeControllersConfiguration,
    Kind::NetworkPolicy,
    Kind::StagedNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
    Kind::NetworkSet,
    Kind::Node,
    Kind::BGPConfiguration,
    Kind::FelixConfiguration,
    Kind::IPReservation,
    Kind::BGPFilter,
];

/// What the handles of a node's tunnels begin with; its name follows.
const TUNNELS: [&str; 3] = ["ipip-tunnel-addr-", "vxlan-tunnel-addr-", "wireguard-tunnel-addr-"];

/// A node's name here, and in Kubernetes.
type Names = BTreeMap<String, String>;

/// Writes everything to standard output.
///
/// # Errors
/// What could not be read, or that the datastore is not locked.
pub fn run(store: &Store) -> Result<(), Failure> {
    let client = store.open_plainly()?;
    print!("{}", export(&client).map_err(Failure::Command)?);
    Ok(())
}

fn export(client: &Client) -> Result<String, String> {
    if !is_locked(client).map_err(|error| format!("error while checking if datastore was locked: {error}"))? {
        return Err("datastore is not locked. Run the `calicoctl datastore migrate lock` command in order to begin migration".to_owned());
    }
    let mut names = Names::new();
    let mut out = String::new();
    for kind in KINDS {
        let mut objects = client.list(kind, None).map_err(|error| error.to_string())?;
        if let Some(error) = objects.unreadable.first() {
            return Err(error.to_string());
        }
        // Kubernetes' own policies come from there.
        objects.items.retain(|object| !is_kubernetes_policy(object));
        for object in &mut objects.items {
            for field in ["uid", "resourceVersion", "creationTimestamp"] {
                object["metadata"].as_object_mut().map(|metadata| metadata.remove(field));
            }
            rename(kind, object, &mut names)?;
        }
        let shown = Shown::List {
            kind,
            revision: objects.revision,
            items: objects.items.into_iter().map(Packed::from).collect(),
        };
        out += &output::to_text(output::write_yaml, &[shown]);
        out += "---\n";
    }
    let id = ResourceKey::cluster(Kind::ClusterInformation, "default");
    let object = client.get(&id).map_err(|error| error.to_string())?;
    out += "===\n";
    out += &output::to_text(output::write_json, &[Shown::Object { kind: id.kind, object }]);
    out += "===\n";
    let addresses = addresses(client, &names).map_err(|error| error.to_string())?;
    let text = serde_json::to_string_pretty(&addresses).map_err(|error| error.to_string())?;
    Ok(out + &text + "\n")
}

/// Whether Calico made it of a policy of Kubernetes.
pub fn is_kubernetes_policy(object: &Value) -> bool {
    name(object).starts_with("knp.default.")
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Gives what is or names a node the node's name in Kubernetes.
fn rename(kind: Kind, object: &mut Value, names: &mut Names) -> Result<(), String> {
    let old = name(object).to_owned();
    match kind {
        Kind::Node => {
            let references = object.pointer("/spec/orchRefs").and_then(Value::as_array);
            let known =
                references.into_iter().flatten().rfind(|reference| reference["orchestrator"] == "k8s");
            let Some(new) = known.and_then(|known| known["nodeName"].as_str()).filter(|new| !new.is_empty())
            else {
                return Err(format!(
                    "node {old} missing a 'k8s' orchestrator reference. Unable to export data unless every node has a 'k8s' orchestrator reference"
                ));
            };
            names.insert(old, new.to_owned());
            object["metadata"]["name"] = json!(new);
        }
        Kind::BGPConfiguration | Kind::FelixConfiguration => {
            if let Some(new) = old.strip_prefix("node.").and_then(|node| names.get(node)) {
                object["metadata"]["name"] = json!(format!("node.{new}"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Claims, blocks, handles and settings, each with its key.
fn addresses(client: &Client, names: &Names) -> tortie_store::Result<Value> {
    let mut parts: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut settings = None;
    for stored in client.store().list_all(keys::IPAM)?.items {
        let Some(key) = Key::parse(&stored.key) else { continue };
        let unreadable = |error: serde_json::Error| tortie_store::Error::Unreadable {
            key: stored.key.clone(),
            cause: error.to_string(),
        };
        let mut value: Value = serde_json::from_slice(&stored.value).map_err(unreadable)?;
        let (part, key) = match key {
            Key::Config => {
                settings = Some(json!({ "Key": stored.key, "Value": value, "TTL": 0 }));
                continue;
            }
            Key::Block(net) => {
                rename_in_block(&mut value, names);
                ("blocks", Key::Block(net))
            }
            Key::Affinity(Owner::Host(host), net) => {
                let host = names.get(&host).cloned().unwrap_or(host);
                ("block_affinities", Key::Affinity(Owner::Host(host), net))
            }
            Key::Affinity(owner, net) => ("block_affinities", Key::Affinity(owner, net)),
            Key::Handle(handle) => {
                let renamed = rename_handle(handle.as_str(), names).map(|name| HandleId::new(&name));
                ("handles", Key::Handle(renamed.unwrap_or(handle)))
            }
        };
        let entry = json!({ "Key": key.to_string(), "Value": value, "TTL": 0 });
        parts.entry(part).or_default().push(entry);
    }
    let mut all: Map<String, Value> =
        parts.into_iter().map(|(part, entries)| (part.to_owned(), Value::Array(entries))).collect();
    if let Some(settings) = settings {
        all.insert("config".to_owned(), settings);
    }
    Ok(Value::Object(all))
}

fn rename_in_block(block: &mut Value, names: &Names) {
    let owner = block["affinity"].as_str().and_then(|owner| owner.strip_prefix("host:"));
    if let Some(new) = owner.and_then(|owner| names.get(owner)) {
        block["affinity"] = json!(format!("host:{new}"));
    }
    for attribute in block["attributes"].as_array_mut().into_iter().flatten() {
        let node = attribute.pointer("/secondary/node").and_then(Value::as_str);
        if let Some(new) = node.and_then(|node| names.get(node)) {
            attribute["secondary"]["node"] = json!(new);
        }
        if let Some(new) = attribute["handle_id"].as_str().and_then(|handle| rename_handle(handle, names)) {
            attribute["handle_id"] = json!(new);
        }
    }
}

/// The handle of a node's tunnel, with the node's new name.
fn rename_handle(handle: &str, names: &Names) -> Option<String> {
    TUNNELS.iter().find_map(|tunnel| {
        let new = names.get(handle.strip_prefix(tunnel)?)?;
        Some(format!("{tunnel}{new}"))
    })
}
