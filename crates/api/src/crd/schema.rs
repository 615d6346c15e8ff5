//! The schema of a shape: `structural`, as Kubernetes calls it, so that each level says its type and all its fields.

use serde_json::{Map, Value, json};

use super::{beyond, cel, conditions, exceptions};
use crate::schema::{Field, Shape, Struct};
use crate::validate;

/// The schema of what users write.
pub fn judged(shape: &Shape) -> Value {
    of(shape, true)
}

/// The schema of what controllers write: each field by its type, and no conditions.
pub fn kept(shape: &Shape) -> Value {
    of(shape, false)
}

fn of(shape: &Shape, is_judged: bool) -> Value {
    match shape {
        Shape::String => json!({"type": "string"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int { bits, signed } => int(*bits, *signed),
        Shape::Float => json!({"type": "number"}),
        Shape::Custom { go_name: "Duration", .. } => json!({"type": "string"}),
        Shape::Custom { go_name: "AsNumber", .. } => json!({"type": "integer"}),
        Shape::Custom { go_name, .. } => {
            let mut schema = json!({
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": true,
            });
            if is_judged {
                conditions::add_to_number_or_text(&mut schema, go_name);
            }
            schema
        }
        Shape::Any => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        Shape::List(inner) => json!({"type": "array", "items": of(inner, is_judged)}),
        Shape::Map(inner) => json!({"type": "object", "additionalProperties": of(inner, is_judged)}),
        Shape::Struct(shape) => object(shape, is_judged),
    }
}

/// A format says how wide a number is; one without a sign is as wide as its next bigger with one.
fn int(bits: u8, signed: bool) -> Value {
    match (bits, signed) {
        (8 | 16, false) => json!({"type": "integer", "minimum": 0, "maximum": (1_u32 << bits) - 1}),
        (32, false) => json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX}),
        (32, true) => json!({"type": "integer", "format": "int32"}),
        (_, false) => json!({"type": "integer", "format": "int64", "minimum": 0}),
        (_, true) => json!({"type": "integer"}),
    }
}

fn object(shape: &Struct, is_judged: bool) -> Value {
    let checks = if is_judged { validate::conditions(shape.go_name) } else { &[] };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in shape.fields {
        let checks =
            checks.iter().find(|(name, _)| *name == field.name).map_or(&[][..], |(_, checks)| checks);
        let mut schema = of(field.shape, is_judged);
        conditions::add(&mut schema, checks);
        if is_judged && is_required(shape, field, checks) {
            required.push(field.name);
        }
        exceptions::mend(&mut schema, shape.go_name, field.name, is_judged);
        properties.insert(field.name.to_owned(), schema);
    }
    for (name, schema) in exceptions::of_old_releases(shape.go_name) {
        properties.insert(name.to_owned(), schema);
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        required.sort_unstable();
        schema["required"] = json!(required);
    }
    if is_judged {
        add_rules(&mut schema, shape.go_name);
    }
    schema
}

/// Go writes these fields even when they are empty, and Calico's schemas want them; see [`exceptions`] for those that don't.
fn is_required(shape: &Struct, field: &Field, checks: &[validate::check::Check]) -> bool {
    let is_asked = checks.iter().any(|check| matches!(check, validate::check::Check::Required));
    (field.always || is_asked) && !exceptions::may_be_left_out(shape.go_name, field.name)
}

/// Adds the rules across fields of a type.
pub fn add_rules(schema: &mut Value, go_name: &str) {
    let calicos = validate::rules_of(go_name).iter().map(|rule| (rule.cel, rule.message));
    let beyond = beyond::RULES.iter().filter(|rule| rule.of.contains(&go_name));
    let rules: Vec<Value> = calicos
        .chain(beyond.map(|rule| (rule.cel, rule.message)))
        .map(|(rule, message)| json!({"rule": cel::expand(rule), "message": message}))
        .collect();
    if !rules.is_empty() {
        schema["x-kubernetes-validations"] = json!(rules);
    }
}
