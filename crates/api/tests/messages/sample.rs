//! Objects with all fields, made of shapes.

use serde_json::{Value, json};
use tortie_api::schema::{Shape, Struct};

/// A value that is not zero, other at each place, with every field.
pub fn sample(shape: &Shape, counter: &mut u32) -> Value {
    *counter += 1;
    match shape {
        Shape::String => format!("text {counter}").into(),
        Shape::Bool => true.into(),
        Shape::Int { bits: 8, .. } => (*counter % 100 + 1).into(),
        Shape::Int { .. } => (*counter).into(),
        Shape::Float => (f64::from(*counter) + 0.5).into(),
        Shape::Any => json!({"any": [*counter, "x", null]}),
        Shape::List(inner) => json!([sample(inner, counter), sample(inner, counter)]),
        Shape::Map(inner) => json!({"a": sample(inner, counter), "b/c.d": sample(inner, counter)}),
        // A kind without a status has one without fields, which is never printed.
        Shape::Struct(fields) => Value::Object(
            fields
                .fields
                .iter()
                .filter(|field| !matches!(field.shape, Shape::Struct(Struct { fields: [], .. })))
                .map(|field| (field.name.to_owned(), sample(field.shape, counter)))
                .collect(),
        ),
        Shape::Custom { go_name, .. } => match *go_name {
            "Duration" => "2m5s".into(),
            "Protocol" => "UDPLite".into(),
            "Port" => "8080:8090".into(),
            "Dscp" => "AF11".into(),
            _ => (*counter).into(),
        },
    }
}
