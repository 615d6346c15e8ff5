//! JSON values as texts, a tenth of what their trees take: a command may be about thousands, and looks at one at a time.

use serde_json::Value;

/// A JSON value that isn't looked at now.
#[derive(Debug, Clone)]
pub struct Packed(Box<str>);

impl Packed {
    /// The value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("it was written by this program")
    }
}

impl From<Value> for Packed {
    fn from(value: Value) -> Packed {
        Packed(value.to_string().into())
    }
}
