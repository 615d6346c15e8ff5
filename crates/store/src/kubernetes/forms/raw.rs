//! Any key and any value, as objects of one custom kind: for the suite that all datastores run.
//!
//! The object's name is the key in hexadecimal digits, which keep the order; `data` is the value in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Collection, Form, Place, Read, Unreadable};

/// The CRD of the kind.
pub const CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: items.conformance.tortie.test}
spec:
  group: conformance.tortie.test
  scope: Namespaced
  names: {kind: Item, listKind: ItemList, plural: items, singular: item}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, properties: {data: {type: string}}}
"#;

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    resource_version: String,
    uid: String,
}

impl Collection {
    /// All keys there are, in one namespace of [`CRD`]'s kind.
    pub fn raw(namespace: &'static str) -> Collection {
        Collection {
            api: "/apis/conformance.tortie.test/v1",
            plural: "items",
            kind: "Item",
            namespaced: true,
            prefix: String::new(),
            form: Form::Raw(namespace),
        }
    }
}

/// Where a key stands.
pub fn place(namespace: &str, key: &str) -> Place {
    let name = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    Place { namespace: Some(namespace.to_owned()), name }
}

/// What an Item holds.
pub fn read(object: &[u8]) -> Result<Read, Unreadable> {
    let wrong = |found: &dyn std::fmt::Display| Unreadable::at("object", found, "an Item");
    let Object { metadata, data } = serde_json::from_slice(object).map_err(|error| wrong(&error))?;
    let Metadata { name, resource_version, uid } = metadata;
    let digits: Option<Vec<u8>> = name
        .as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
        .collect();
    let key = digits.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| wrong(&name))?;
    let value = STANDARD.decode(data).map_err(|error| wrong(&error))?;
    let version = resource_version.parse().map_err(|error| wrong(&error))?;
    Ok(Read { key, value, version, uid, deleted: false })
}

/// The Item that holds a value.
pub fn write(collection: &Collection, place: &Place, value: &[u8]) -> Value {
    json!({
        "apiVersion": collection.api_version(),
        "kind": collection.kind,
        "metadata": { "name": place.name, "namespace": place.namespace },
        "data": STANDARD.encode(value),
    })
}
