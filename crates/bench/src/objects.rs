//! Objects of the benchmarks, as a store gives them.

use anyhow::Context as _;
use serde_json::{Value, json};
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::resource::Resource;

/// The node that is measured.
pub const NODE: &str = "bench";

/// An object of a kind, as an event.
///
/// # Errors
/// If the JSON doesn't fit the kind.
pub fn event(kind: Kind, namespace: &str, name: &str, labels: Value, spec: Value) -> anyhow::Result<Event> {
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    let key = ResourceKey { kind, namespace: namespace.into(), name: name.into() };
    read(&key, &json!({"metadata": metadata, "spec": spec}))
}

/// An object as it is stored, as an event.
///
/// # Errors
/// If the JSON doesn't fit the kind.
pub fn read(key: &ResourceKey, object: &Value) -> anyhow::Result<Event> {
    let resource =
        Resource::from_json(key.kind, object.to_string().as_bytes()).with_context(|| key.to_string())?;
    Ok(Event::Upsert(resource))
}
