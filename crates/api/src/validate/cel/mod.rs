//! The rules of Calico's API that go across fields, each with its message.
//!
//! In Calico they are CEL expressions in the schema. Each rule here is such an expression for one
//! type of object, by the type's name in Go; `holds` says the same in Rust, and gets the object's JSON
//! after defaults. Two rules of Calico (a pool's CIDR and block size never change) compare with the
//! stored object: [`immutable`].

mod network;
mod policy;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::view::View;

/// A rule about one type of object.
pub struct Rule {
    /// The types, by their names in Go.
    pub of: &'static [&'static str],
    /// Calico's message.
    pub message: &'static str,
    /// The condition in CEL, with the abbreviations of [`crate::crd`].
    pub cel: &'static str,
    /// Whether an object obeys.
    pub holds: fn(View<'_>) -> bool,
}

/// The conditions of a type.
pub fn rules_of(go_name: &str) -> &'static [&'static Rule] {
    static INDEX: LazyLock<HashMap<&str, Vec<&Rule>>> = LazyLock::new(|| {
        let mut index: HashMap<&str, Vec<&Rule>> = HashMap::new();
        for rule in rules() {
            rule.of.iter().for_each(|of| index.entry(of).or_default().push(rule));
        }
        index
    });
    INDEX.get(go_name).map_or(&[], Vec::as_slice)
}

/// All rules but those of [`immutable`].
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    network::RULES.iter().chain(policy::RULES)
}

/// What may never change in an object of a type: the field and Calico's message.
pub const IMMUTABLE: &[(&str, &str, &str)] = &[
    ("IPPool", "cidr", "CIDR cannot be changed; follow IP pool migration guide to avoid corruption."),
    (
        "IPPool",
        "blockSize",
        "Block size cannot be changed; follow IP pool migration guide to avoid corruption.",
    ),
];

/// The messages of all changes that a stored object doesn't allow, with the fields.
pub fn immutable(old: &Value, new: &Value) -> Vec<(String, &'static str)> {
    let kind = new.get("kind").and_then(Value::as_str).unwrap_or_default();
    let field = |object: &Value, field: &str| object.get("spec").and_then(|spec| spec.get(field)).cloned();
    IMMUTABLE
        .iter()
        .filter(|(of, name, _)| *of == kind && field(old, name) != field(new, name))
        .map(|(_, name, message)| (format!("spec.{name}"), *message))
        .collect()
}

fn name(object: View<'_>) -> &str {
    object.object("metadata").map_or("", |metadata| metadata.text("name"))
}
