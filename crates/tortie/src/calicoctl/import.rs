//! `calicoctl datastore migrate import`: what [`export`](super::export) wrote becomes objects of a cluster's Kubernetes API.
//!
//! ```text
//! definitions of the kinds -> nothing of Calico's is there -> locked -> objects, nodes by their names in Kubernetes
//!     -> the cluster's id and version -> claims, blocks, handles, settings
//! ```
//! The cluster stays locked: who has seen that all is well unlocks it. What stopped half-way is refused the next time, since
//! objects are there; deleting Calico's definitions clears them, as Calico says.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tortie_api::crd::Definition;
use tortie_api::decode;
use tortie_api::kind::{Kind, ResourceKey, Scope};
use tortie_store::resources::{Client, Labels};
use tortie_store::{Error, keys};

use super::{datastore, export};
use crate::command::ipam::is_locked;
use crate::objects::{self, Failure, Item, Source, Store};
use crate::settings;

/// What stands between the parts of the file.
const BETWEEN: &str = "===\n";

/// The third part of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Addresses {
    block_affinities: Vec<Entry>,
    blocks: Vec<Entry>,
    handles: Vec<Entry>,
    config: Option<Entry>,
}

/// A key of address management and what stands there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    value: Value,
}

/// Imports a file, or standard input.
///
/// # Errors
/// In Calico's words, what could not be done.
pub fn run(path: Option<&Path>, store: &Store) -> Result<(), Failure> {
    import(path, store).map_err(Failure::Command)
}

fn import(path: Option<&Path>, store: &Store) -> Result<(), String> {
    let found = settings::datastore_type(&store.config).map_err(|error| format!("{error:#}"))?;
    if found != "kubernetes" {
        return Err(format!(
            "invalid datastore type: {found} to import to for datastore migration. Datastore type must be kubernetes"
        ));
    }
    let path = path.ok_or("no file is given; expected --filename")?;
    let text = text(path).map_err(|error| format!("error while reading migration file: {error}"))?;
    // The file is read before anything is written.
    let (objects, information, addresses) =
        parts(path, &text).map_err(|error| format!("error while reading migration file: {error}"))?;
    define(store)
        .map_err(|error| format!("error applying the CRDs necessary to begin datastore import: {error}"))?;
    let client = store.connect()?;
    require_empty(&client).map_err(|error| {
        format!(
            "datastore already has Calico resources: {error}. Clear out all Calico resources by deleting all Calico CRDs."
        )
    })?;
    client.ensure_initialized().map_err(|error| {
        format!("unable to initialize cluster information for the datastore migration: {error}")
    })?;
    if !is_locked(&client)
        .map_err(|error| format!("error while checking if datastore was locked: {error}"))?
    {
        datastore::mark(&client, false).map_err(|failure| match failure {
            Failure::Command(message) => {
                format!("error while attempting to lock the datastore for import: {message}")
            }
            other => format!("{other:?}"),
        })?;
    }
    apply(&client, &objects).map_err(|error| format!("failed to import v3 resources: {error}"))?;
    describe(&client, &information)
        .map_err(|error| format!("failed to update cluster information: {error}"))?;
    println!("Importing IPAM resources");
    give(&client, addresses)?;
    println!(
        "Datastore information successfully imported. Please refer to the datastore migration documentation for next steps."
    );
    Ok(())
}

fn text(path: &Path) -> io::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(path)
}

/// Objects, the cluster's record, and address management's.
fn parts(path: &Path, text: &str) -> Result<(Vec<Item>, Value, Addresses), String> {
    let parts: Vec<&str> = text.split(BETWEEN).collect();
    let [objects, information, addresses] = parts.as_slice() else {
        return Err(format!(
            "Imported file: {} is improperly formatted. Try recreating with 'calicoctl export'",
            path.display()
        ));
    };
    let file = path.display().to_string();
    let item = |object: decode::Object| Item {
        kind: object.kind,
        json: object.json,
        source: Some(Source { file: file.as_str().into(), places: object.places }),
    };
    let objects = decode::decode(objects).into_objects();
    let objects =
        objects.map_err(|faults| faults.into_iter().map(|fault| fault.message).next().unwrap_or_default())?;
    let information = serde_json::from_str(information)
        .map_err(|error| format!("error reading exported cluster info for migration: {error}"))?;
    let addresses =
        serde_json::from_str(addresses).map_err(|error| format!("failed to read IPAM resources: {error}"))?;
    Ok((objects.into_iter().map(item).collect(), information, addresses))
}

fn define(store: &Store) -> Result<(), String> {
    let cluster = settings::kubernetes(&store.config, store.context.as_deref());
    let definitions: Vec<Value> = Definition::all().into_iter().map(Definition::object).collect();
    cluster.map_err(|error| format!("{error:#}"))?.define(&definitions).map_err(|error| error.to_string())
}

/// Nodes are the cluster's own and don't count, nor do policies that are made of Kubernetes'.
fn require_empty(client: &Client) -> Result<(), String> {
    let kinds = export::KINDS.into_iter().filter(|kind| *kind != Kind::Node);
    for kind in kinds.chain([Kind::ClusterInformation]) {
        let found = client.list(kind, None).map_err(|error| {
            format!("failed to retrieve {} resources during datastore check: {error}", kind.name())
        })?;
        if found.items.iter().any(|object| !export::is_kubernetes_policy(object))
            || !found.unreadable.is_empty()
        {
            return Err(format!("found existing Calico {} resource", kind.name()));
        }
    }
    let addresses = client.store().list_all(keys::IPAM);
    let addresses = addresses
        .map_err(|error| format!("failed to retrieve IPAM resources during datastore check: {error}"))?;
    if addresses.items.is_empty() { Ok(()) } else { Err("found existing IPAM resources".to_owned()) }
}

/// Applies all objects; a node that the cluster doesn't have is left out, with a warning.
fn apply(client: &Client, objects: &[Item]) -> Result<(), String> {
    let mut errors = Vec::new();
    let mut done = 0;
    for item in objects {
        let mut object = objects::validated(item).map_err(|refusal| refusal.message)?;
        if item.kind.scope() == Scope::Cluster {
            object["metadata"].as_object_mut().map(|metadata| metadata.remove("namespace"));
        }
        match client.apply(object, Labels::Merge) {
            Ok(_) => done += 1,
            Err(Error::Missing { id }) if id.kind == Kind::Node => println!(
                "[WARNING] Attempted to import node {id} from etcd that references a nonexistent Kubernetes node. Skipping that node. Non-Kubernetes nodes are not supported in the Kubernetes datastore and will be skipped."
            ),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if !errors.is_empty() {
        return Err(format!("hit error(s): [{}]", errors.join(" ")));
    }
    println!("Successfully applied {done} resource(s)");
    Ok(())
}

/// Gives the cluster the id and the version that it had.
fn describe(client: &Client, old: &Value) -> Result<(), String> {
    let mut information = client
        .get(&ResourceKey::cluster(Kind::ClusterInformation, "default"))
        .map_err(|error| format!("error retrieving current cluster info for migration: {error}"))?;
    for field in ["clusterGUID", "calicoVersion"] {
        information["spec"][field] = old["spec"].get(field).cloned().unwrap_or_else(|| json!(""));
    }
    client
        .update(information, Labels::Replace)
        .map(drop)
        .map_err(|error| format!("error updating current cluster info for migration: {error}"))
}

/// Stores claims, blocks, handles and settings, in this order.
fn give(client: &Client, addresses: Addresses) -> Result<(), String> {
    let Addresses { block_affinities, blocks, handles, config } = addresses;
    let parts = [
        ("block affinity", block_affinities),
        ("IPAM block", blocks),
        ("IPAM handle", handles),
        ("IPAM config", config.into_iter().collect()),
    ];
    let all: usize = parts.iter().map(|(_, entries)| entries.len()).sum();
    if all == 0 {
        return Err("no IPAM resources specified in file".to_owned());
    }
    let mut errors = Vec::new();
    for (what, entries) in parts {
        for Entry { key, value } in entries {
            let written = client.store().create(&key, value.to_string().as_bytes());
            errors.extend(written.err().map(|error| format!("error trying to create {what} {key}: {error}")));
        }
    }
    if errors.is_empty() {
        println!("Successfully applied {all} IPAM resource(s)");
        return Ok(());
    }
    if errors.len() == all {
        return Err(format!("failed to import any IPAM resources: [{}]", errors.join(" ")));
    }
    println!("Partial success: applied the first {} out of {all} resources:", all - errors.len());
    Err(format!("hit error(s): [{}]", errors.join(" ")))
}
