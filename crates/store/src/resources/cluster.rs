//! Objects that are a Kubernetes cluster's own, where its API is the datastore: nodes come and go with it, and profiles aren't
//! stored but made of namespaces and service accounts.
//!
//! The calculation makes the same profiles for itself (`calc`); these are for people, in the form in which Calico shows them.

use serde_json::{Map, Value, json};
use tortie_api::kind::{Kind, ResourceKey};

use super::{Client, read};
use crate::kubernetes::forms;
use crate::{Error, KeyValue, Result, keys};

/// What Calico calls a write of what isn't there.
pub const CREATE: &str = "Create";
/// ... of what is there.
pub const UPDATE: &str = "Update";
/// ... that takes it away.
pub const DELETE: &str = "Delete";

/// Refuses what the cluster does itself.
pub fn refuse(client: &Client, id: &ResourceKey, operation: &'static str) -> Result<()> {
    let is_clusters = match id.kind {
        Kind::Profile => true,
        Kind::Node => operation != UPDATE,
        _ => false,
    };
    if !is_clusters || !client.store().knows_pods() {
        return Ok(());
    }
    Err(Error::NotSupported { operation, id: id.to_string(), reason: None })
}

/// The profile of a namespace or of a service account.
pub fn profile(client: &Client, id: &ResourceKey) -> Result<Value> {
    let missing = || Error::Missing { id: id.clone() };
    if !client.store().knows_pods() {
        return Err(missing());
    }
    let source = match id.name.split_once('.') {
        Some(("kns", namespace)) => ResourceKey::cluster(Kind::Namespace, namespace),
        Some(("ksa", name)) => {
            let (namespace, name) = name.split_once('.').ok_or_else(missing)?;
            ResourceKey::namespaced(Kind::ServiceAccount, namespace, name)
        }
        _ => return Err(missing()),
    };
    let found = client.store().get(&keys::resource(&source))?.ok_or_else(missing)?;
    derived(&source, &found)
}

/// All of them, those of namespaces first.
pub fn each_profile(client: &Client, item: &mut impl FnMut(Value)) -> Result<()> {
    if !client.store().knows_pods() {
        return Ok(());
    }
    for kind in [Kind::Namespace, Kind::ServiceAccount] {
        for found in client.store().list_all(&keys::kind_prefix(kind))?.items {
            if let Some(source) = keys::parse_resource(&found.key) {
                item(derived(&source, &found)?);
            }
        }
    }
    Ok(())
}

/// The profile that is made of a namespace (its labels, and everything allowed) or a service account (its labels alone).
fn derived(source: &ResourceKey, found: &KeyValue) -> Result<Value> {
    let object = read(source, &found.value, found.revision)?;
    let is_namespace = source.kind == Kind::Namespace;
    let (prefix, name, version) = match is_namespace {
        true => ("pcns.", format!("kns.{}", source.name), format!("{}/", found.revision)),
        false => {
            ("pcsa.", format!("ksa.{}.{}", source.namespace, source.name), format!("/{}", found.revision))
        }
    };
    let own = object.pointer("/metadata/labels").and_then(Value::as_object);
    let mut labels: Map<String, Value> =
        own.into_iter().flatten().map(|(label, value)| (format!("{prefix}{label}"), value.clone())).collect();
    labels.insert(format!("{prefix}projectcalico.org/name"), json!(*source.name));
    let mut metadata = json!({ "name": name, "resourceVersion": version });
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    if !uid.is_empty() {
        metadata["uid"] = json!(forms::converted_uid(uid, "metadata.uid")?);
    }
    if let Some(time) = object.pointer("/metadata/creationTimestamp") {
        metadata["creationTimestamp"] = time.clone();
    }
    let mut spec = json!({ "labelsToApply": labels });
    if is_namespace {
        spec["ingress"] = json!([{ "action": "Allow" }]);
        spec["egress"] = json!([{ "action": "Allow" }]);
    }
    let version = Kind::Profile.api().version();
    Ok(json!({ "kind": Kind::Profile.name(), "apiVersion": version, "metadata": metadata, "spec": spec }))
}
