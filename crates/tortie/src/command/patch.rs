//! `patch`: changes parts of an object in place.
//!
//! Calico's types have no merge keys, so that a strategic merge of them is a merge patch of RFC 7386 with the directives
//! `$patch` and `$retainKeys`. As calicoctl does, `--type` is accepted and changes nothing.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};
use tortie_api::decode;
use tortie_api::fault::Fault;
use tortie_store::resources::{Client, Labels};

use crate::objects::{self, Failure, Item, Store};

/// The arguments of `patch`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  # A pool that gives no more addresses:
  tortie patch ippool shop-ipv4 --patch '{\"spec\": {\"disabled\": true}}'
  # null takes a field away:
  tortie patch networkpolicy web -n shop -p '{\"spec\": {\"order\": null}}'")]
pub struct Arguments {
    /// The kind and the name.
    #[arg(value_names = ["KIND", "NAME"], num_args = 0..)]
    object: Vec<String>,
    /// What to change, as JSON: only the fields that change.
    #[arg(short, long, default_value = "")]
    patch: String,
    /// strategic, json or merge: all are merged alike.
    #[arg(short = 't', long = "type", default_value = "strategic")]
    form: String,
    /// The namespace; `default` if there is none.
    #[arg(short, long)]
    namespace: Option<String>,
    #[command(flatten)]
    store: Store,
}

/// Changes the object.
pub fn run(arguments: Arguments) -> ExitCode {
    match patch(arguments) {
        Ok(kind) => {
            println!("Successfully patched 1 '{kind}' resource");
            ExitCode::SUCCESS
        }
        Err(failure) => failure.print(),
    }
}

fn patch(arguments: Arguments) -> Result<&'static str, Failure> {
    let Arguments { object, patch, form: _, namespace, store } = arguments;
    let [kind, name] = &object[..] else {
        return Err(Failure::Command(format!("accepts 2 arg(s), received {}", object.len())));
    };
    let store = store.open()?;
    let mut item = objects::named(kind, name, namespace.as_deref())?;
    let client = store.client()?;
    let hit = |message: String| Failure::Command(format!("hit error: {message}"));
    objects::place(&mut item, namespace.as_deref()).map_err(hit)?;
    change(&client, &item, &patch).map_err(|message| match message.strip_prefix(UNREADABLE) {
        // calicoctl tells of an unknown field in these words alone.
        Some(unknown) if unknown.starts_with(UNKNOWN_FIELD) => Failure::Command(unknown.to_owned()),
        _ => hit(message),
    })?;
    Ok(item.kind.name())
}

const UNREADABLE: &str = "creating resource from patched data: ";
const UNKNOWN_FIELD: &str = "field in document is not recognized";

fn change(client: &Client, item: &Item, patch: &str) -> Result<(), String> {
    let mut object = client.get(&item.id()).map_err(|error| error.to_string())?;
    let Ok(Value::Object(patch)) = serde_json::from_str(patch) else {
        // Calico's spelling.
        return Err("permorming strategic merge patch: invalid JSON document".to_owned());
    };
    let known = unknown_fields(&object);
    merge(&mut object, &patch);
    let patched = read_patched(object, &known).map_err(|message| format!("{UNREADABLE}{message}"))?;
    let updating = |message: String| format!("updating existing resource: {message}");
    objects::writable(patched.kind, "apply or replace", None).map_err(|error| updating(error.to_string()))?;
    let object = objects::validated(&patched).map_err(|refusal| updating(refusal.message))?;
    client.update(object, Labels::Replace).map_err(|error| updating(error.to_string()))?;
    Ok(())
}

/// The object as any file's: what is unknown or of the wrong type is refused, but for fields that a newer release has stored, which
/// stay as they are.
fn read_patched(object: Value, stored: &[String]) -> Result<Item, String> {
    let mut decoded = decode::decode(&object.to_string());
    let mut kept = Vec::new();
    for document in &mut decoded.documents {
        document.faults.retain(|fault| {
            let is_stored = fault.message.starts_with(UNKNOWN_FIELD) && stored.contains(&fault.field);
            if is_stored {
                kept.push(pointer(&fault.field));
            }
            !is_stored
        });
    }
    let first = |faults: Vec<Fault>| faults.into_iter().next().map(|fault| fault.message).unwrap_or_default();
    let mut read = decoded.into_objects().map_err(first)?;
    let mut patched = read.pop().ok_or("no object is left")?;
    for path in kept {
        let (parent, field) = path.rsplit_once('/').unwrap_or_default();
        let value = object.pointer(&path).cloned().unwrap_or_default();
        if let Some(Value::Object(parent)) = patched.json.pointer_mut(parent) {
            parent.insert(field.to_owned(), value);
        }
    }
    Ok(Item { kind: patched.kind, json: patched.json, source: None })
}

/// The fields of an object that aren't known, as `spec.ingress[0].field`.
fn unknown_fields(object: &Value) -> Vec<String> {
    let documents = decode::decode(&object.to_string()).documents.into_iter();
    let faults = documents.flat_map(|document| document.faults);
    faults.filter(|fault| fault.message.starts_with(UNKNOWN_FIELD)).map(|fault| fault.field).collect()
}

/// A field's path as a JSON pointer.
fn pointer(field: &str) -> String {
    format!("/{}", field.replace(']', "").replace(['.', '['], "/"))
}

/// Merges `patch` into `target`: maps field by field, null takes away, all else takes the place of what was there.
fn merge(target: &mut Value, patch: &Map<String, Value>) {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let rest = patch.iter().filter(|(name, _)| !name.starts_with('$'));
            *target = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
            return;
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return;
        }
        _ => {}
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|name, _| kept.iter().any(|kept| kept == name));
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        match value {
            Value::Null => drop(fields.remove(name)),
            Value::Object(inner) => merge(fields.entry(name.clone()).or_insert(Value::Null), inner),
            other => drop(fields.insert(name.clone(), other.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_are_merged_null_takes_away_and_lists_are_replaced() {
        for (target, patch, expected) in [
            (
                json!({"a": 1, "b": {"c": 2, "d": 3}}),
                json!({"b": {"c": null, "e": 4}}),
                json!({"a": 1, "b": {"d": 3, "e": 4}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (json!({"a": 1}), json!({"a": {"b": null, "c": 1}}), json!({"a": {"c": 1}})),
            (
                json!({"s": {"a": 1, "b": 2}}),
                json!({"s": {"$patch": "replace", "c": 3}}),
                json!({"s": {"c": 3}}),
            ),
            (json!({"s": {"a": 1, "b": 2}}), json!({"s": {"$patch": "delete"}}), json!({"s": {}})),
            (
                json!({"s": {"a": 1, "b": 2}}),
                json!({"s": {"$retainKeys": ["b", "c"], "c": 3}}),
                json!({"s": {"b": 2, "c": 3}}),
            ),
        ] {
            let mut target = target;
            merge(&mut target, patch.as_object().expect("a map"));
            assert_eq!(target, expected);
        }
    }
}
