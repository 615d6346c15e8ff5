//! Fields of objects, with faults that name them; and JSON with its fields in a given order.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde_json::{Map, Value};

use super::Unreadable;

/// What identifies an object and its version.
#[derive(Debug)]
pub struct Head {
    /// `metadata.namespace`; empty in collections of cluster scope.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: u64,
}

impl Head {
    /// The key of an object that stands under its own name.
    pub fn key(&self, prefix: &str) -> String {
        match self.namespace.as_str() {
            "" => format!("{prefix}{}", self.name),
            namespace => format!("{prefix}{namespace}/{}", self.name),
        }
    }

    /// The same fault with the key and version that it was met at.
    pub fn known(&self, key: &str, fault: Unreadable) -> Unreadable {
        Unreadable { key: Some(key.to_owned()), version: Some(self.version), ..fault }
    }
}

/// JSON of a type.
///
/// # Errors
/// If it is not.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(json).map_err(|error| Unreadable::at("object", error, "JSON of its kind"))
}

/// The head of an object.
///
/// # Errors
/// If it has no name or no version.
pub fn head(object: &Value) -> Result<Head, Unreadable> {
    let text = |name: &str| {
        let value = object.get("metadata").and_then(|metadata| metadata.get(name));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    of_metadata(text("namespace"), text("name"), text("uid"), &text("resourceVersion"))
}

/// The head that four fields of the metadata make.
///
/// # Errors
/// If there is no name, or the version is no number.
pub fn of_metadata(namespace: String, name: String, uid: String, version: &str) -> Result<Head, Unreadable> {
    if name.is_empty() {
        return Err(Unreadable::at("metadata.name", "none", "a name"));
    }
    let version = version
        .parse()
        .map_err(|_| Unreadable::at("metadata.resourceVersion", format!("{version:?}"), "a number"))?;
    Ok(Head { namespace, name, uid, version })
}

/// Takes the map at a field; an empty one if there is none.
///
/// # Errors
/// If it is something else.
pub fn take_map(from: &mut Map<String, Value>, path: &str) -> Result<Map<String, Value>, Unreadable> {
    let name = path.rsplit('.').next().unwrap_or(path);
    match from.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(other) => Err(Unreadable::at(path, other, "a map")),
    }
}

/// An object as a map.
///
/// # Errors
/// If it is something else.
pub fn map(value: Value) -> Result<Map<String, Value>, Unreadable> {
    match value {
        Value::Object(map) => Ok(map),
        other => Err(Unreadable::at("object", other, "a JSON object")),
    }
}

/// The text at a field, empty if there is none.
///
/// # Errors
/// If it is something else.
pub fn text<'a>(from: &'a Map<String, Value>, path: &str) -> Result<&'a str, Unreadable> {
    let name = path.rsplit('.').next().unwrap_or(path);
    match from.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(Unreadable::at(path, other, "a text")),
    }
}

/// The text at a field, which must be there.
///
/// # Errors
/// If it is something else, or empty.
pub fn required<'a>(
    from: &'a Map<String, Value>,
    path: &str,
    expected: &'static str,
) -> Result<&'a str, Unreadable> {
    match text(from, path)? {
        "" => Err(Unreadable::at(path, "none", expected)),
        text => Ok(text),
    }
}

/// JSON in a text: an annotation's, for example.
///
/// # Errors
/// If it is not of that type.
pub fn within<T: DeserializeOwned>(
    field: impl fmt::Display,
    text: &str,
    expected: &'static str,
) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|_| Unreadable::at(field.to_string(), format!("{text:?}"), expected))
}

/// The path of an annotation, for faults.
pub fn annotation(name: &str) -> String {
    format!("metadata.annotations[{name}]")
}

/// A map with these fields first, in this order, and the others behind.
pub fn ordered(map: &Map<String, Value>, first: &[&str]) -> Vec<u8> {
    struct Ordered<'a>(&'a Map<String, Value>, &'a [&'a str]);
    impl Serialize for Ordered<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let Ordered(map, first) = self;
            let mut out = serializer.serialize_map(Some(map.len()))?;
            for name in first.iter() {
                if let Some(value) = map.get(*name) {
                    out.serialize_entry(name, value)?;
                }
            }
            for (name, value) in map.iter().filter(|(name, _)| !first.contains(&name.as_str())) {
                out.serialize_entry(name, value)?;
            }
            out.end()
        }
    }
    serde_json::to_vec(&Ordered(map, first)).expect("a map with text keys always has a JSON form")
}
