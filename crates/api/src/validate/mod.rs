//! What Calico's API takes and what it refuses, in Calico's words.
//!
//! ```text
//! an object's JSON, after defaults -> walk by its shape -> table   conditions on one field
//!                                                       -> cel     conditions across fields
//!                                                       -> structs conditions of Calico's validator
//! ```
//! All faults of an object are found. Conditions that need other objects (pools that overlap,
//! a tier that is missing) are the store's to ask, not this module's.

mod cel;
pub mod check;
mod felix;
mod metadata;
mod structs;
mod table;
#[cfg(test)]
mod tests;
mod view;

use serde_json::Value;

use crate::decode::{Decoded, Object};
use crate::defaults;
use crate::fault::Fault;
use crate::kind::{Api, Kind};
use crate::kubernetes::{KubernetesClusterNetworkPolicy, KubernetesNetworkPolicy};
use crate::registry;
use crate::schema::{Shape, Struct};
use check::Check;
use structs::Report;
use view::View;

pub use cel::{IMMUTABLE, Rule, immutable, rules, rules_of};
pub use table::checks as conditions;

/// Fills in the defaults of everything that was decoded and adds what validation finds to each
/// document's faults. The one way from a user's text to objects that may be stored.
///
/// Of a document that has faults already the rest is looked at too, but not what a faulty field
/// has a part in.
pub fn check(mut decoded: Decoded, namespace: &str) -> Decoded {
    for document in &mut decoded.documents {
        let Some(object) = &mut document.object else { continue };
        defaults::apply(object.kind, &mut object.json, namespace);
        let overlaps = |one: &str, other: &str| within(one, other) || within(other, one);
        let known = &document.faults;
        let found: Vec<_> = validate(object)
            .into_iter()
            .filter(|fault| !known.iter().any(|known| overlaps(&known.field, &fault.field)))
            .collect();
        document.faults.extend(found);
    }
    decoded
}

/// Whether a field is, or is inside of, another.
fn within(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// All faults of an object that a user wrote, with their places in the file.
///
/// Defaults have to be in it already: see [`crate::defaults`].
pub fn validate(object: &Object) -> Vec<Fault> {
    object.place(validate_json(object.kind, &object.json))
}

/// All faults of an object, without places. For objects that come from no file.
pub fn validate_json(kind: Kind, json: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Value::Object(object) = json {
        metadata::run(kind, View(object), &mut faults);
    }
    if kind.api() == Api::Calico {
        Walker { schema: has_schema(kind), faults: &mut faults }.walk(json, registry::shape(kind), "");
    }
    faults
}

/// What of a policy of Kubernetes can't become Calico's, with its place. Not part of
/// [`validate`]: such a policy exists all the same, and is enforced as its conversion says.
pub fn conversion(object: &Object) -> Vec<Fault> {
    object.place(conversion_faults(object.kind, &object.json))
}

fn conversion_faults(kind: Kind, json: &Value) -> Vec<Fault> {
    let error = if kind == Kind::KubernetesNetworkPolicy {
        match serde_json::from_value::<KubernetesNetworkPolicy>(json.clone()) {
            Ok(policy) => match policy.convert() {
                Ok(conversion) => conversion.error(),
                Err(error) => Some(error.to_string()),
            },
            Err(error) => Some(error.to_string()),
        }
    } else if kind != Kind::KubernetesClusterNetworkPolicy {
        None
    } else {
        match serde_json::from_value::<KubernetesClusterNetworkPolicy>(json.clone()) {
            Ok(policy) => match policy.convert() {
                Ok(conversion) => conversion.error(),
                Err(error) => Some(error.to_string()),
            },
            Err(error) => Some(error.to_string()),
        }
    };
    let found = shorten(&json.get("spec").map(Value::to_string).unwrap_or_default());
    let fault =
        |error| Fault::new("spec", error).found(&found).expected("rules that can be kept in Calico's form");
    error.into_iter().map(fault).collect()
}

/// Whether Calico has a schema for the kind. Those without one never are custom resources of
/// Kubernetes; only Calico's validator sees them, and it knows no sizes and none of [`rules`].
const fn has_schema(kind: Kind) -> bool {
    !matches!(kind, Kind::Profile | Kind::Node | Kind::WorkloadEndpoint | Kind::LiveMigration)
}

struct Walker<'faults> {
    schema: bool,
    faults: &'faults mut Vec<Fault>,
}

impl Walker<'_> {
    fn walk(&mut self, value: &Value, shape: &Shape, path: &str) {
        match (shape, value) {
            (Shape::Struct(fields), Value::Object(object)) => self.object(View(object), fields, path),
            (Shape::List(inner), Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    self.walk(item, inner, &format!("{path}[{at}]"));
                }
            }
            (Shape::Map(inner), Value::Object(object)) => {
                for (key, item) in object {
                    self.walk(item, inner, &format!("{path}.{key}"));
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, object: View<'_>, shape: &Struct, path: &str) {
        let conditions = table::checks(shape.go_name);
        for field in shape.fields {
            let inner = object.0.get(field.name);
            let checks =
                conditions.iter().find(|(name, _)| *name == field.name).map_or(&[][..], |(_, checks)| checks);
            let is_required = || checks.iter().any(|check| matches!(check, Check::Required));
            if inner.is_none() && !is_required() {
                continue;
            }
            let inner_path =
                if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
            for check in checks.iter().filter(|check| self.schema || !check.only_in_schemas()) {
                match inner {
                    Some(inner) => check.run(inner, &inner_path, field.name, self.faults),
                    None if matches!(check, Check::Required) => {
                        check.run(&Value::Null, &inner_path, field.name, self.faults);
                    }
                    None => {}
                }
            }
            if let Some(inner) = inner {
                self.walk(inner, field.shape, &inner_path);
            }
        }
        let rules = if self.schema { cel::rules_of(shape.go_name) } else { &[] };
        for rule in rules.iter().filter(|rule| !(rule.holds)(object)) {
            let field = if path.is_empty() { "spec" } else { path };
            let message = format!("error with field {field} ({})", rule.message);
            let found = named_fields(object, rule.message);
            self.faults.push(Fault::new(field, message).found(found).expected(rule.message));
        }
        let mut report = Report { path, faults: self.faults };
        structs::run(shape.go_name, object, &mut report);
        if shape.go_name == "RuleMetadata" {
            metadata::rule_metadata(object, &mut report);
        }
    }
}

/// The fields of an object that a message names, with their values; all of them if it names none.
fn named_fields(object: View<'_>, message: &str) -> String {
    let message = message.to_lowercase();
    let words: Vec<_> = message.split(|character: char| !character.is_alphanumeric()).collect();
    let line = |fields: Vec<(&String, &Value)>| {
        let fields: Vec<_> =
            fields.into_iter().map(|(name, value)| format!("{name}: {}", check::plain(value))).collect();
        shorten(&fields.join(", "))
    };
    let named = object.0.iter().filter(|(name, _)| words.contains(&name.to_lowercase().as_str()));
    match line(named.collect()) {
        none if none.is_empty() => line(object.0.iter().collect()),
        some => some,
    }
}

/// At most 200 characters.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None if text.is_empty() => "nothing".to_owned(),
        None => text.to_owned(),
    }
}
