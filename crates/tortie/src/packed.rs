//! JSON values as texts, a tenth of what their trees take: a command may be about thousands, and looks at one at a time.

use serde::Deserialize;
use serde_json::{Value, json};

/// A JSON value that isn't looked at now.
#[derive(Debug, Clone)]
pub struct Packed(Box<str>);

impl Packed {
    /// The value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("it was written by this program")
    }
}

impl Packed {
    /// Of an object only its name, its namespace and its tier; an absent one is null.
    pub fn head(&self) -> Value {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Object {
            metadata: Metadata,
            spec: Spec,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Metadata {
            name: Value,
            namespace: Value,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Spec {
            tier: Value,
        }
        let Object { metadata: Metadata { name, namespace }, spec: Spec { tier } } =
            serde_json::from_str(&self.0).unwrap_or_default();
        json!({ "metadata": { "name": name, "namespace": namespace }, "spec": { "tier": tier } })
    }
}

impl From<Value> for Packed {
    fn from(value: Value) -> Packed {
        Packed(value.to_string().into())
    }
}
