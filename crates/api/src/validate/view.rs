//! A JSON object as validation rules look at it.

use serde_json::{Map, Value};

/// An object whose fields are asked for without fear: what isn't there is empty, zero or false.
#[derive(Clone, Copy)]
pub struct View<'json>(pub &'json Map<String, Value>);

impl<'json> View<'json> {
    /// Whether the field is written.
    pub fn has(self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is a text, list or map that holds something.
    pub fn full(self, field: &str) -> bool {
        match self.0.get(field) {
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(object)) => !object.is_empty(),
            _ => false,
        }
    }

    /// A text.
    pub fn text(self, field: &str) -> &'json str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the field is `true`.
    pub fn flag(self, field: &str) -> bool {
        self.0.get(field) == Some(&Value::Bool(true))
    }

    /// A whole number.
    pub fn int(self, field: &str) -> Option<i64> {
        self.0.get(field).and_then(Value::as_i64)
    }

    /// A number of any kind.
    pub fn number(self, field: &str) -> Option<f64> {
        self.0.get(field).and_then(Value::as_f64)
    }

    /// A list.
    pub fn list(self, field: &str) -> &'json [Value] {
        self.0.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The texts of a list.
    pub fn texts(self, field: &str) -> impl Iterator<Item = &'json str> {
        self.list(field).iter().filter_map(Value::as_str)
    }

    /// Whether a list holds the text.
    pub fn contains(self, field: &str, text: &str) -> bool {
        self.texts(field).any(|item| item == text)
    }

    /// An object.
    pub fn object(self, field: &str) -> Option<View<'json>> {
        self.0.get(field).and_then(Value::as_object).map(View)
    }

    /// Whether a protocol is written by this name or this number.
    pub fn is_protocol(self, field: &str, name: &str, number: i64) -> bool {
        self.text(field) == name || self.int(field) == Some(number)
    }
}
