//! Objects in the form in which Go's types write them: empty fields left out, those that are always written put in.
//!
//! An object goes through its type and back, so a field of the wrong type is found here at the latest; what the type
//! doesn't know is carried over as it is.

use serde_json::{Value, json};
use tortie_api::kind::{Api, Kind};
use tortie_api::registry;
use tortie_api::schema::Shape;

use crate::{Error, Result};

/// The canonical form of an object of `kind`.
///
/// # Errors
/// [`Error::Invalid`] if a field has the wrong type.
pub fn canonical(kind: Kind, object: Value) -> Result<Value> {
    if !object.is_object() {
        return Err(Error::invalid(kind.name(), None, "expected a JSON object"));
    }
    let mut normal = registry::normalise(kind, &object)
        .map_err(|error| Error::invalid(kind.name(), None, error.to_string()))?;
    keep_unknown(&object, &mut normal, registry::shape(kind));
    let Some(map) = normal.as_object_mut() else { return Ok(normal) };
    map.insert("kind".into(), json!(kind.name()));
    map.insert("apiVersion".into(), json!(kind.api().version()));
    if kind.api() != Api::Calico && map.get("spec").is_some_and(|spec| *spec == json!({})) {
        map.remove("spec");
    }
    Ok(normal)
}

/// Carry over from `from` what `shape` doesn't know.
fn keep_unknown(from: &Value, to: &mut Value, shape: &Shape) {
    match (from, to, shape) {
        (Value::Object(from), Value::Object(to), Shape::Struct(known)) => {
            for (name, value) in from {
                match known.fields.iter().find(|field| field.name == name) {
                    Some(field) => {
                        if let Some(to) = to.get_mut(name) {
                            keep_unknown(value, to, field.shape);
                        }
                    }
                    None => drop(to.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(from), Value::Array(to), Shape::List(shape)) if from.len() == to.len() => {
            from.iter().zip(to).for_each(|(from, to)| keep_unknown(from, to, shape));
        }
        _ => {}
    }
}
