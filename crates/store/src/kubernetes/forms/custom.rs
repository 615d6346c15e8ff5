//! Kinds of Calico's API as custom resources: the same spec, and metadata of two layers.
//!
//! What Kubernetes would take for itself of the metadata (labels, annotations, owners, time of creation) is kept as JSON in
//! one annotation. Labels and annotations that name Calico stand on the resource too, where selectors of the API find
//! them. The `uid` that users see is made of the resource's, so that the two are never taken for one. A policy's name is
//! kept in the annotation as the user gave it: older releases stored policies as `TIER.NAME`.

use serde_json::{Map, Value, json};
use tortie_api::kind::{Kind, Scope};
use tortie_api::meta::ObjectMeta;
use tortie_api::registry;
use tortie_api::schema::{Shaped, complete};

use super::json::{self, Head};
use super::{Collection, Place, Read, Unreadable};
use crate::resources::is_tiered;

/// Calico's annotation that keeps an object's own metadata.
pub const METADATA: &str = "projectcalico.org/metadata";

/// What a custom resource holds.
///
/// # Errors
/// If its metadata can't be read.
pub fn read(prefix: &str, kind: Kind, object: &[u8]) -> Result<Read, Unreadable> {
    let object: Value = json::parse(object)?;
    let head = json::head(&object)?;
    let key = head.key(prefix);
    let value = value(kind, &head, object).map_err(|fault| head.known(&key, fault))?;
    let value = crate::json::to_bytes(kind, &value);
    Ok(Read { key, value, version: head.version, uid: head.uid, deleted: false })
}

fn value(kind: Kind, head: &Head, object: Value) -> Result<Value, Unreadable> {
    let mut object = json::map(object)?;
    let mut outer = json::take_map(&mut object, "metadata")?;
    let mut annotations = json::take_map(&mut outer, "metadata.annotations")?;
    let mut labels = json::take_map(&mut outer, "metadata.labels")?;
    let kept = match annotations.remove(METADATA) {
        Some(Value::String(text)) => {
            Some(json::within::<Map<String, Value>>(json::annotation(METADATA), &text, "JSON of metadata")?)
        }
        _ => None,
    };
    let created = outer.get("creationTimestamp").cloned();
    let name = kept.as_ref().and_then(|kept| kept.get("name")).cloned();
    let was_kept = kept.is_some();
    let mut metadata = kept.unwrap_or(outer);
    labels.extend(json::take_map(&mut metadata, "metadata.labels")?);
    annotations.extend(json::take_map(&mut metadata, "metadata.annotations")?);
    if was_kept {
        owners(&mut metadata, ["crd.projectcalico.org/v1", "projectcalico.org/v3"], "projectcalico.org/v3")?;
        if is_tiered(kind) {
            let name = name.unwrap_or_else(|| json!(head.name));
            annotations.insert(METADATA.to_owned(), json!(go_text(&json!({ "name": name }))));
        }
    }
    for name in ["resourceVersion", "selfLink", "generation", "managedFields", "namespace"] {
        metadata.remove(name);
    }
    for name in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        metadata.remove(name);
    }
    metadata.insert("name".to_owned(), json!(head.name));
    if kind.scope() == Scope::Namespaced {
        metadata.insert("namespace".to_owned(), json!(head.namespace));
    }
    match converted_uid(&head.uid, "metadata.uid")? {
        uid if uid.is_empty() => drop(metadata.remove("uid")),
        uid => drop(metadata.insert("uid".to_owned(), json!(uid))),
    }
    if metadata.get("creationTimestamp").is_none_or(Value::is_null) {
        metadata.remove("creationTimestamp");
        metadata.extend(created.map(|time| ("creationTimestamp".to_owned(), time)));
    }
    for (name, map) in [("labels", labels), ("annotations", annotations)] {
        if !map.is_empty() {
            metadata.insert(name.to_owned(), Value::Object(map));
        }
    }
    object.insert("metadata".to_owned(), Value::Object(metadata));
    object.insert("kind".to_owned(), json!(kind.name()));
    object.insert("apiVersion".to_owned(), json!(kind.api().version()));
    let mut object = Value::Object(object);
    of_old_releases(kind, &mut object);
    complete(&mut object, registry::shape(kind));
    Ok(object)
}

/// What old releases left out or wrote otherwise.
fn of_old_releases(kind: Kind, object: &mut Value) {
    let spec = &mut object["spec"];
    if spec.is_null() {
        *spec = json!({});
    }
    let Some(spec) = spec.as_object_mut() else { return };
    match kind {
        Kind::Tier => {
            let unset = |spec: &Map<String, Value>, name: &str| spec.get(name).is_none_or(Value::is_null);
            if unset(spec, "order") {
                spec.insert("order".to_owned(), json!(1_000_000));
            }
            if unset(spec, "defaultAction") {
                spec.insert("defaultAction".to_owned(), json!("Deny"));
            }
        }
        Kind::IPPool => {
            if let Some(Value::Object(ipip)) = spec.remove("ipip") {
                let mode = match (ipip.get("enabled"), ipip.get("mode").and_then(Value::as_str)) {
                    (Some(Value::Bool(true)), Some("cross-subnet")) => "CrossSubnet",
                    (Some(Value::Bool(true)), _) => "Always",
                    _ => "Never",
                };
                spec.insert("ipipMode".to_owned(), json!(mode));
            }
            if let Some(nat) = spec.remove("nat-outgoing")
                && nat == true
            {
                spec.insert("natOutgoing".to_owned(), nat);
            }
        }
        _ => {}
    }
}

/// The custom resource that holds a value.
///
/// # Errors
/// If the value's metadata can't be read.
pub fn write(
    collection: &Collection,
    kind: Kind,
    place: &Place,
    value: &[u8],
    standing: Option<&Value>,
) -> Result<Value, Unreadable> {
    let mut object = json::map(json::parse(value)?)?;
    let mut kept = json::take_map(&mut object, "metadata")?;
    let mut annotations = json::take_map(&mut kept, "metadata.annotations")?;
    let given_name = match annotations.remove(METADATA) {
        Some(Value::String(text)) => {
            let metadata: Value = json::within(json::annotation(METADATA), &text, "JSON of metadata")?;
            metadata.get("name").cloned()
        }
        _ => None,
    };
    let labels = json::take_map(&mut kept, "metadata.labels")?;
    for name in ["name", "namespace", "uid", "resourceVersion", "selfLink", "managedFields"] {
        kept.remove(name);
    }
    if is_tiered(kind) {
        kept.insert("name".to_owned(), given_name.unwrap_or_else(|| json!(place.name)));
    }
    owners(&mut kept, ["projectcalico.org/v3", "projectcalico.org/v3"], "crd.projectcalico.org/v1")?;
    for (name, map) in [("labels", &labels), ("annotations", &annotations)] {
        if !map.is_empty() {
            kept.insert(name.to_owned(), Value::Object(map.clone()));
        }
    }
    let mut outer = standing_metadata(place, standing);
    let there = |outer: &mut Map<String, Value>, name: &str, map: Map<String, Value>| {
        let stood = outer.remove(name);
        let stood = stood.as_ref().and_then(Value::as_object);
        let here = |name: &String| is_ours(name) || stood.is_some_and(|stood| stood.contains_key(name));
        map.into_iter().filter(|(name, _)| here(name)).collect::<Map<String, Value>>()
    };
    let labels = there(&mut outer, "labels", labels);
    let mut annotations = there(&mut outer, "annotations", annotations);
    annotations.insert(METADATA.to_owned(), json!(metadata_text(&Value::Object(kept))));
    outer.insert("annotations".to_owned(), Value::Object(annotations));
    if !labels.is_empty() {
        outer.insert("labels".to_owned(), Value::Object(labels));
    }
    object.insert("kind".to_owned(), json!(collection.kind));
    object.insert("apiVersion".to_owned(), json!(collection.api_version()));
    object.insert("metadata".to_owned(), Value::Object(outer));
    Ok(Value::Object(object))
}

/// The metadata of an object that takes the place of `standing`: what isn't in a value stays.
pub fn standing_metadata(place: &Place, standing: Option<&Value>) -> Map<String, Value> {
    let stood = standing.and_then(|standing| standing.get("metadata")).and_then(Value::as_object);
    let mut metadata = stood.cloned().unwrap_or_default();
    metadata.remove("managedFields");
    metadata.insert("name".to_owned(), json!(place.name));
    metadata.extend(place.namespace.as_ref().map(|namespace| ("namespace".to_owned(), json!(namespace))));
    metadata
}

/// Metadata as the text that the annotation holds.
pub fn metadata_text(metadata: &Value) -> String {
    let mut text = String::new();
    crate::json::write(&mut text, metadata, Some(ObjectMeta::SHAPE), None);
    text
}

fn go_text(value: &Value) -> String {
    let mut text = String::new();
    crate::json::write(&mut text, value, None, None);
    text
}

/// Labels and annotations that stand on the resource too.
fn is_ours(name: &str) -> bool {
    name.contains("projectcalico.org/") || name.contains("operator.tigera.io/")
}

/// Makes owners of a group those of another: their `uid` is converted with it.
fn owners(metadata: &mut Map<String, Value>, from: [&str; 2], to: &str) -> Result<(), Unreadable> {
    let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") else { return Ok(()) };
    for owner in owners.iter_mut().filter_map(Value::as_object_mut) {
        if from.contains(&json::text(owner, "apiVersion")?) {
            let uid = converted_uid(json::text(owner, "uid")?, "metadata.ownerReferences.uid")?;
            owner.insert("apiVersion".to_owned(), json!(to));
            owner.insert("uid".to_owned(), json!(uid));
        }
    }
    Ok(())
}

/// The `uid` on the other side: each byte's bits reversed, but for the two that say of which sort it is. Twice is once back.
///
/// # Errors
/// If it is no UUID.
pub fn converted_uid(uid: &str, field: &str) -> Result<String, Unreadable> {
    if uid.is_empty() {
        return Ok(String::new());
    }
    let parsed =
        uuid::Uuid::parse_str(uid).map_err(|_| Unreadable::at(field, format!("{uid:?}"), "a UUID"))?;
    let mut bytes = *parsed.as_bytes();
    for (at, byte) in bytes.iter_mut().enumerate() {
        if at != 6 && at != 8 {
            *byte = byte.reverse_bits();
        }
    }
    Ok(uuid::Uuid::from_bytes(bytes).to_string())
}

#[cfg(test)]
mod tests;
