//! The metadata of objects: who sets which field, what is stored, what is shown.
//!
//! uid and creation time are set at create and stay; the resource version is the datastore's revision and never stored;
//! `selfLink`, `generation`, `finalizers` and the like never come back. Policies are stored with an annotation that keeps
//! the name that the user gave, which Calico reads and the API doesn't show.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tortie_api::kind::{Kind, ResourceKey, Scope};

use super::old;
use crate::Revision;

/// Calico's annotation on a stored policy: the metadata as the user gave it, of which on etcd only the name counts.
pub(super) const ORIGINAL: &str = "projectcalico.org/metadata";

/// What an update does with labels and annotations that are stored but not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// They stay, as with `calicoctl apply` and `replace`.
    Merge,
    /// They go: for programs that own the whole object.
    Replace,
}

fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    let slot = &mut object["metadata"];
    if !slot.is_object() {
        *slot = json!({});
    }
    slot.as_object_mut().expect("it was made an object just above")
}

/// The metadata of a new object: what the user may set, and a uid and the time.
pub fn created(object: &mut Value, now: SystemTime) {
    let given = std::mem::take(metadata(object));
    let kept = metadata(object);
    for name in ["name", "namespace", "labels", "annotations"] {
        if let Some(value) = given.get(name) {
            kept.insert(name.into(), value.clone());
        }
    }
    kept.insert("uid".into(), json!(uuid::Uuid::new_v4().to_string()));
    kept.insert("creationTimestamp".into(), json!(timestamp(now)));
}

/// The object that an update stores: `new` with the identity, uid and creation time of `old`.
pub fn updated(old: &Value, mut new: Value, labels: Labels) -> Value {
    let given = std::mem::take(metadata(&mut new));
    let kept = metadata(&mut new);
    for name in ["name", "namespace", "uid", "creationTimestamp"] {
        if let Some(value) = old["metadata"].get(name) {
            kept.insert(name.into(), value.clone());
        }
    }
    for name in ["labels", "annotations"] {
        let mut merged = match (labels, old["metadata"].get(name)) {
            (Labels::Merge, Some(Value::Object(stored))) => stored.clone(),
            _ => Map::new(),
        };
        if let Some(Value::Object(given)) = given.get(name) {
            merged.extend(given.clone());
        }
        if !merged.is_empty() {
            kept.insert(name.into(), Value::Object(merged));
        }
    }
    new
}

/// The form in which an object is stored.
pub fn stored(kind: Kind, mut object: Value) -> Value {
    let metadata = metadata(&mut object);
    for name in ["resourceVersion", "selfLink"] {
        metadata.remove(name);
    }
    if kind.scope() == Scope::Cluster {
        metadata.remove("namespace");
    }
    if is_tiered(kind) {
        let mut original = String::new();
        crate::json::write(&mut original, &json!({ "name": metadata.get("name") }), None, None);
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ORIGINAL.into(), json!(original));
        }
    }
    object
}

/// The form in which a stored object is shown. Identity and kind are those of its key, but for [`old::name`].
pub fn shown(id: &ResourceKey, mut object: Value) -> Value {
    let name = old::name(id, &object).unwrap_or_else(|| id.name.to_string());
    object["kind"] = json!(id.kind.name());
    object["apiVersion"] = json!(id.kind.api().version());
    let metadata = metadata(&mut object);
    metadata.insert("name".into(), json!(name));
    if id.kind.scope() == Scope::Namespaced {
        metadata.insert("namespace".into(), json!(*id.namespace));
    }
    for name in ["selfLink", "generation", "finalizers", "managedFields"] {
        metadata.remove(name);
    }
    if is_tiered(id.kind)
        && let Some(Value::Object(annotations)) = metadata.get_mut("annotations")
    {
        annotations.remove(ORIGINAL);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

/// The object with its resource version.
pub fn with_version(mut object: Value, revision: Revision) -> Value {
    metadata(&mut object).insert("resourceVersion".into(), json!(revision.to_string()));
    object
}

/// Kinds of policy that belong to a tier.
pub fn is_tiered(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
    )
}

/// A time as RFC 3339, in whole seconds, UTC. The calendar is Howard Hinnant's `civil_from_days`.
pub fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The time that [`timestamp`] writes, in UTC; parts of a second are cut off.
pub fn read_timestamp(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z')?;
    let text = text.split_once('.').map_or(text, |(whole, _)| whole);
    let (date, clock) = text.split_once('T')?;
    let numbers = |text: &str, between: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text.split(between).map(str::parse).collect::<Result<_, _>>().ok()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Hinnant's `days_from_civil`: years begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5 + day - 1;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(UNIX_EPOCH + std::time::Duration::from_secs(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_392_488, "2026-11-23T00:08:08Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
            assert_eq!(read_timestamp(text), Some(UNIX_EPOCH + Duration::from_secs(seconds)));
        }
        for text in ["", "2026-11-23", "2026-11-23T00:08:08+01:00", "2026-13-01T00:00:00Z", "now"] {
            assert_eq!(read_timestamp(text), None, "{text}");
        }
    }
}
