//! The abbreviations, and that the schemas fill in nothing of their own.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::defaults;

#[test]
fn abbreviations_become_cel() {
    for (rule, cel) in [
        ("!full(a.b) || flag(c)", "!(has(self.a.b) && size(self.a.b) > 0) || (has(self.c) && self.c)"),
        ("speaks(p, TCP, 6)", "(has(self.p) && (self.p == 'TCP' || self.p == 6))"),
        ("self.a == 1", "self.a == 1"),
    ] {
        assert_eq!(cel::expand(rule), cel);
    }
    for rule in crate::validate::rules() {
        let cel = cel::expand(rule.cel);
        let cel = cel.replace("'global('", "''");
        assert!(!cel.contains('$') && cel.matches('(').count() == cel.matches(')').count(), "{cel}");
    }
}

/// The defaults of a schema with their paths.
fn defaults_of(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    if let Some(default) = schema.get("default") {
        found.push((path.to_owned(), default.clone()));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        defaults_of(inner, &format!("{path}/{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        defaults_of(items, &format!("{path}/0"), found);
    }
}

#[test]
fn the_api_server_fills_in_only_what_the_client_fills_in() {
    let mut seen = 0;
    for definition in Definition::all() {
        let mut found = Vec::new();
        defaults_of(&definition.schema(), "", &mut found);
        for (path, default) in found.into_iter().filter(|(path, _)| path != "/spec/sequenceNumber") {
            // The objects on the way to the field, so that it can be filled in.
            let mut object = json!({"spec": {}});
            for (at, _) in path.match_indices('/').skip(1) {
                let (outer, name) = path[..at].rsplit_once('/').unwrap();
                object.pointer_mut(outer).unwrap()[name] = json!({});
            }
            defaults::apply(definition.holds, &mut object, "default");
            assert_eq!(object.pointer(&path), Some(&default), "{} {path}", definition.kind);
            seen += 1;
        }
    }
    assert_eq!(seen, exceptions::DEFAULTS.len());
}
