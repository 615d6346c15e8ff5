//! From a YAML node to JSON by a shape, the way Go's YAML and JSON libraries do it together.
//!
//! A bare scalar in a text field is first typed by YAML 1.1 and then written back as a text: `NO`
//! becomes `false`, `012` becomes `10`. In the values of a map (labels) it keeps its type and is
//! refused. Field names are found without regard to case and come out in the API's spelling.

use serde_json::{Map, Number, Value};

use super::object::Places;
use crate::fault::Fault;
use crate::kind::Api;
use crate::schema::{Field, Shape, Struct};
use crate::yaml::scalar::{Scalar, go_float};
use crate::yaml::tree::{Data, Entry, Mark, Node, SyntaxError};

/// Converts an object. Faulty parts are left out of the value.
pub fn convert(
    node: &Node,
    shape: &'static Shape,
    prefix: String,
    api: Api,
) -> (Option<Value>, Places, Vec<Fault>) {
    let mut converter = Converter {
        strict: is_strict(api),
        refuses_status: api == Api::Calico,
        path: String::new(),
        fields: Vec::new(),
        structs: Vec::new(),
        places: Places::new(prefix),
        faults: Vec::new(),
    };
    let value = converter.value(node, shape, Target::Field);
    (value, converter.places, converter.faults)
}

/// Whether unknown fields are faults: where a condition that is lost would open something.
pub fn is_strict(api: Api) -> bool {
    matches!(api, Api::Calico | Api::Networking | Api::NetworkPolicyApi)
}

/// Whether a bare scalar is turned into a text where one is wanted.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    /// In fields and lists it is.
    Field,
    /// In the values of maps it isn't.
    MapValue,
}

struct Converter {
    strict: bool,
    /// Whether a status is a fault where the kind has none. Kubernetes once printed empty ones.
    refuses_status: bool,
    /// As users read it, `spec.ingress[0].action`.
    path: String,
    /// As Go's messages have it: the fields without the indices, and the types around.
    fields: Vec<&'static str>,
    structs: Vec<&'static str>,
    places: Places,
    faults: Vec<Fault>,
}

impl Converter {
    fn value(&mut self, node: &Node, shape: &'static Shape, target: Target) -> Option<Value> {
        self.places.insert(&self.path, node.mark);
        if matches!(node.data, Data::Plain(_, Scalar::Null)) {
            return Some(Value::Null);
        }
        match (shape, &node.data) {
            (Shape::Any, _) => self.any(node),
            (Shape::Struct(fields), Data::Map(entries)) => self.structure(fields, entries),
            (Shape::Map(inner), Data::Map(entries)) => self.map(inner, entries),
            (Shape::List(inner), Data::List(items)) => self.list(inner, items),
            (Shape::String, Data::Text(text)) => Some(text.clone().into()),
            (Shape::String, Data::Plain(text, scalar)) => self.text(node, text, scalar, shape, target),
            (Shape::Bool, Data::Plain(_, Scalar::Bool(value))) => Some((*value).into()),
            (Shape::Int { .. }, Data::Plain(_, Scalar::Int(_) | Scalar::Float(_))) => self.int(node, shape),
            (Shape::Float, Data::Plain(_, Scalar::Int(value))) => Some(Value::Number(int_number(*value)?)),
            (Shape::Float, Data::Plain(_, Scalar::Float(value))) => self.float(node, *value),
            (Shape::Custom { .. }, Data::Plain(..) | Data::Text(_)) => self.custom(node, shape),
            _ => self.mismatch(node, shape, go_kind(&node.data)),
        }
    }

    fn structure(&mut self, shape: &'static Struct, entries: &[Entry]) -> Option<Value> {
        let mut object = Map::new();
        self.structs.push(shape.go_name);
        for entry in entries {
            let length = self.path.len();
            let field = shape.field(&entry.key).filter(|field| !self.is_absent(field));
            self.descend(field.map_or(&entry.key, |field| field.name));
            match field {
                Some(field) if object.contains_key(field.name) => {
                    let twice = SyntaxError::twice(entry.mark, &entry.key);
                    let message = format!("error converting YAML to JSON: {twice}");
                    self.fault(
                        message,
                        entry.mark,
                        &entry.key,
                        "each field once, in any case of its letters",
                    );
                }
                Some(field) => {
                    self.fields.push(field.name);
                    if let Some(value) = self.value(&entry.value, field.shape, Target::Field) {
                        object.insert(field.name.to_owned(), value);
                    }
                    self.fields.pop();
                }
                None if self.strict => {
                    let message = format!(
                        "field in document is not recognized or is in the wrong location: {}",
                        entry.key
                    );
                    self.fault(message, entry.mark, &entry.key, &known_fields(shape, &entry.key));
                }
                None => {
                    if let Some(value) = self.any(&entry.value) {
                        object.insert(entry.key.clone(), value);
                    }
                }
            }
            self.path.truncate(length);
        }
        self.structs.pop();
        Some(Value::Object(object))
    }

    /// A part that a kind doesn't have (its status, mostly) has a shape without fields.
    fn is_absent(&self, field: &Field) -> bool {
        self.refuses_status && matches!(field.shape, Shape::Struct(Struct { fields: [], .. }))
    }

    fn map(&mut self, inner: &'static Shape, entries: &[Entry]) -> Option<Value> {
        let mut object = Map::new();
        for entry in entries {
            let length = self.path.len();
            self.descend(&entry.key);
            if let Some(value) = self.value(&entry.value, inner, Target::MapValue) {
                object.insert(entry.key.clone(), if value.is_null() { zero(inner) } else { value });
            }
            self.path.truncate(length);
        }
        Some(Value::Object(object))
    }

    fn list(&mut self, inner: &'static Shape, items: &[Node]) -> Option<Value> {
        let mut values = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let length = self.path.len();
            self.path.push_str(&format!("[{at}]"));
            values.extend(self.value(item, inner, Target::Field));
            self.path.truncate(length);
        }
        Some(Value::Array(values))
    }

    fn text(
        &mut self,
        node: &Node,
        text: &str,
        scalar: &Scalar,
        shape: &Shape,
        target: Target,
    ) -> Option<Value> {
        match scalar {
            Scalar::Text | Scalar::Timestamp | Scalar::Merge => Some(text.into()),
            _ if target == Target::MapValue => self.mismatch(node, shape, go_kind(&node.data)),
            Scalar::Bool(value) => Some(value.to_string().into()),
            Scalar::Int(value) => Some(value.to_string().into()),
            Scalar::Float(value) => Some(go_float(*value).into()),
            Scalar::Null => Some(Value::Null),
        }
    }

    fn int(&mut self, node: &Node, shape: &Shape) -> Option<Value> {
        let value = match &node.data {
            Data::Plain(_, Scalar::Int(value)) => Some(*value),
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^63 in size")]
            Data::Plain(_, Scalar::Float(value)) if value.fract() == 0.0 && value.abs() < 9.2e18 => {
                Some(*value as i128)
            }
            _ => None,
        };
        let range = int_range(shape);
        match value.filter(|value| range.contains(value)).and_then(int_number) {
            Some(number) => Some(Value::Number(number)),
            None => {
                let found = value.map_or_else(|| scalar_text(node), |value| value.to_string());
                self.mismatch(node, shape, &format!("number {found}"))
            }
        }
    }

    fn float(&mut self, node: &Node, value: f64) -> Option<Value> {
        let number = Number::from_f64(value).map(Value::Number);
        if number.is_none() {
            let message = format!("json: unsupported value: {}", go_float(value));
            self.fault(message, node.mark, &scalar_text(node), "a finite number");
        }
        number
    }

    fn custom(&mut self, node: &Node, shape: &Shape) -> Option<Value> {
        let Shape::Custom { go_name, expected, read } = shape else { return None };
        let raw = self.any(node)?;
        if raw.is_boolean() {
            return self.mismatch(node, shape, "bool");
        }
        match read(&raw) {
            Ok(value) => Some(value),
            // Go reads a number of these types into a plain integer first, and says so.
            Err(_) if raw.is_number() => match *go_name {
                "Protocol" => self.wrong(node, &format!("number {raw}"), "uint8", expected),
                "Port" => self.wrong(node, &format!("number {raw}"), "uint16", expected),
                _ => self.wrong(node, "number", "string", expected),
            },
            Err(message) => {
                let message = format!("error unmarshaling JSON: while decoding JSON: {message}");
                self.fault(message, node.mark, &scalar_text(node), expected);
                None
            }
        }
    }

    /// A value whose type isn't known.
    fn any(&mut self, node: &Node) -> Option<Value> {
        match &node.data {
            Data::Text(text) => Some(text.clone().into()),
            Data::Plain(text, scalar) => match scalar {
                Scalar::Null => Some(Value::Null),
                Scalar::Bool(value) => Some((*value).into()),
                Scalar::Int(value) => int_number(*value).map(Value::Number),
                Scalar::Float(value) if value.fract() == 0.0 && value.abs() < 9.2e18 =>
                {
                    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^63 in size")]
                    int_number(*value as i128).map(Value::Number)
                }
                Scalar::Float(value) => self.float(node, *value),
                Scalar::Text | Scalar::Timestamp | Scalar::Merge => Some(text.clone().into()),
            },
            Data::List(items) => Some(items.iter().filter_map(|item| self.any(item)).collect()),
            Data::Map(entries) => Some(Value::Object(
                entries
                    .iter()
                    .filter_map(|entry| Some((entry.key.clone(), self.any(&entry.value)?)))
                    .collect(),
            )),
        }
    }

    fn descend(&mut self, field: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(field);
    }

    fn mismatch(&mut self, node: &Node, shape: &Shape, what: &str) -> Option<Value> {
        self.wrong(node, what, &go_type(shape), &expectation(shape))
    }

    /// Go's message for a value of the wrong type.
    fn wrong(&mut self, node: &Node, what: &str, go_type: &str, expected: &str) -> Option<Value> {
        let place = match self.structs.last() {
            Some(name) if !self.fields.is_empty() => format!("struct field {name}.{}", self.fields.join(".")),
            _ => "value".to_owned(),
        };
        let message = format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go {place} of type {go_type}"
        );
        self.fault(message, node.mark, &scalar_text(node), expected);
        None
    }

    fn fault(&mut self, message: String, mark: Mark, found: &str, expected: &str) {
        let field = format!("{}{}", self.places.prefix, self.path);
        self.faults.push(Fault::new(&field, message).at(mark).found(found).expected(expected));
    }
}

fn int_number(value: i128) -> Option<Number> {
    i64::try_from(value).map(Number::from).or_else(|_| u64::try_from(value).map(Number::from)).ok()
}

fn int_range(shape: &Shape) -> std::ops::RangeInclusive<i128> {
    let Shape::Int { bits, signed } = *shape else { return 0..=0 };
    if signed { -(1_i128 << (bits - 1))..=(1_i128 << (bits - 1)) - 1 } else { 0..=(1_i128 << bits) - 1 }
}

fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::String => "".into(),
        Shape::Bool => false.into(),
        Shape::Int { .. } | Shape::Float => 0.into(),
        _ => Value::Null,
    }
}

fn scalar_text(node: &Node) -> String {
    match &node.data {
        Data::Plain(text, _) => text.clone(),
        Data::Text(text) => format!("{text:?}"),
        Data::List(_) => "a list".to_owned(),
        Data::Map(_) => "a map".to_owned(),
    }
}

/// What Go calls a JSON value.
fn go_kind(data: &Data) -> &'static str {
    match data {
        Data::Plain(_, Scalar::Bool(_)) => "bool",
        Data::Plain(_, Scalar::Int(_) | Scalar::Float(_)) => "number",
        Data::Plain(..) | Data::Text(_) => "string",
        Data::List(_) => "array",
        Data::Map(_) => "object",
    }
}

/// What Go calls a type, as far as its messages show it.
fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Int { bits: 64, signed: true } => "int".to_owned(),
        Shape::Int { bits, signed } => format!("{}int{bits}", if *signed { "" } else { "u" }),
        Shape::Float => "float64".to_owned(),
        Shape::Custom { go_name: "Duration", .. } => "v1.Duration".to_owned(),
        Shape::Custom { go_name, .. } => format!("numorstring.{go_name}"),
        Shape::Any => "interface {}".to_owned(),
        Shape::List(inner) => format!("[]{}", go_type(inner)),
        Shape::Map(inner) => format!("map[string]{}", go_type(inner)),
        Shape::Struct(Struct { go_name: name @ "ObjectMeta", .. }) => format!("v1.{name}"),
        Shape::Struct(Struct { go_name, .. }) => format!("v3.{go_name}"),
    }
}

/// What a shape takes, in words.
fn expectation(shape: &Shape) -> String {
    match shape {
        Shape::String => "a text".to_owned(),
        Shape::Bool => "true or false".to_owned(),
        Shape::Int { .. } => {
            let range = int_range(shape);
            format!("a whole number from {} to {}", range.start(), range.end())
        }
        Shape::Float => "a number".to_owned(),
        Shape::Custom { expected, .. } => (*expected).to_owned(),
        Shape::Any => "any value".to_owned(),
        Shape::List(_) => "a list".to_owned(),
        Shape::Map(_) => "a map".to_owned(),
        Shape::Struct(fields) => {
            let names: Vec<_> = fields.fields.iter().map(|field| field.name).take(5).collect();
            format!("a map with fields such as {}", names.join(", "))
        }
    }
}

/// The fields that were possible, those that look like the one found first, five at most.
fn known_fields(shape: &Struct, found: &str) -> String {
    if shape.fields.is_empty() {
        return "no fields here".to_owned();
    }
    let found = found.to_lowercase();
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        let same = name.chars().zip(found.chars()).take_while(|(left, right)| left == right).count();
        if name.contains(&found) || found.contains(&name) { same + 100 } else { same }
    };
    let mut names: Vec<_> = shape.fields.iter().map(|field| field.name).collect();
    names.sort_by_key(|name| std::cmp::Reverse(likeness(name)));
    let dots = if names.len() > 5 { ", ..." } else { "" };
    names.truncate(5);
    format!("a field of {}: {}{dots}", shape.go_name, names.join(", "))
}
