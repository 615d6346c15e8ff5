//! Policies that older releases stored under another name than their user gave: `default.NAME`, with the name in an annotation.
//!
//! They are shown, found, changed and deleted by the user's name, and stay where they are until `calicoctl datastore
//! migrate-policy-names` gives them their own; Calico shows them so, and finds them then. A policy that is created beside one of
//! the same name is another, as with Calico: to look for it would cost each new policy a request.

use serde_json::Value;
use tortie_api::kind::ResourceKey;

use super::metadata::{ORIGINAL, is_tiered};
use super::rules::DEFAULT_TIER;
use super::{Client, read};
use crate::{Error, KeyValue, Result, keys};

/// The name that its user gave a policy that is stored as `TIER.NAME`, if it is one.
pub fn name(id: &ResourceKey, object: &Value) -> Option<String> {
    if !is_tiered(id.kind) {
        return None;
    }
    let original = object.get("metadata")?.get("annotations")?.get(ORIGINAL)?.as_str()?;
    let original: Value = serde_json::from_str(original).ok()?;
    let name = original["name"].as_str()?;
    let tier = object.pointer("/spec/tier").and_then(Value::as_str).filter(|tier| !tier.is_empty());
    let rest = id.name.strip_prefix(tier.unwrap_or(DEFAULT_TIER))?.strip_prefix('.')?;
    (rest == name).then(|| name.to_owned())
}

/// Such a policy, as the API shows it.
pub fn shown(client: &Client, id: &ResourceKey) -> Result<Value> {
    let (before, kv) = stored(client, id)?.ok_or_else(|| Error::Missing { id: id.clone() })?;
    read(&before, &kv.value, kv.revision)
}

/// What stands as `default.NAME` for a policy that isn't there by its own; in other tiers users gave the tier with the name.
pub fn stored(client: &Client, id: &ResourceKey) -> Result<Option<(ResourceKey, KeyValue)>> {
    if !is_tiered(id.kind) {
        return Ok(None);
    }
    let before = ResourceKey { name: format!("{DEFAULT_TIER}.{}", id.name).into(), ..id.clone() };
    let found = client.store().get(&keys::resource(&before))?;
    let object = found.as_ref().and_then(|kv| serde_json::from_slice(&kv.value).ok()).unwrap_or_default();
    let is_it = name(&before, &object).is_some();
    Ok(found.filter(|_| is_it).map(|kv| (before, kv)))
}
