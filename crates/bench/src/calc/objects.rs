//! Objects as a store gives them: decoded from JSON, each string an allocation of its own.

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use tortie_api::event::Event;
use tortie_api::kind::Kind;
use tortie_api::resource::Resource;

/// An object of a kind.
///
/// # Errors
/// If the JSON doesn't fit the kind.
pub fn object(
    kind: Kind,
    namespace: &str,
    name: &str,
    labels: Map<String, Value>,
    spec: &Value,
) -> anyhow::Result<Event> {
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    let text = serde_json::to_vec(&json!({"metadata": metadata, "spec": spec}))?;
    let resource = Resource::from_json(kind, &text).with_context(|| format!("{kind} {namespace}/{name}"))?;
    Ok(Event::Upsert(resource))
}

/// Labels from pairs; of a name that comes twice the last counts.
pub fn labels<K: Into<String>>(pairs: impl IntoIterator<Item = (K, String)>) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.into(), Value::from(value))).collect()
}

/// A dotted address from its number.
pub fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(number).to_string()
}
