//! Names, labels and annotations of objects.

use super::check::is_name;
use super::structs::Report;
use super::view::View;
use crate::fault::Fault;
use crate::kind::{Api, Kind, Scope};

/// Checks an object's metadata.
pub fn run(kind: Kind, object: View<'_>, faults: &mut Vec<Fault>) {
    let Some(metadata) = object.object("metadata") else {
        faults.push(missing_name());
        return;
    };
    name(kind, metadata, faults);
    if kind.scope() == Scope::Namespaced && metadata.full("namespace") && !is_name(metadata.text("namespace"))
    {
        let found = metadata.text("namespace");
        let reason = "namespace must consist of lower case alphanumeric characters, '-' or '.'";
        faults.push(blame("metadata.namespace", "Metadata.Namespace", found, reason));
    }
    if kind.api() != Api::Calico {
        return;
    }
    for (key, value) in metadata.object("labels").into_iter().flat_map(|labels| labels.0) {
        let value = value.as_str().unwrap_or_default();
        let path = format!("metadata.labels.{key}");
        if !is_qualified_name(key) {
            faults.push(blame(&path, "Metadata.Labels (label)", key, QUALIFIED));
        }
        if !is_label_value(value) {
            let reason = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, 63 characters at most";
            faults.push(blame(&path, "Metadata.Labels (value)", value, reason));
        }
    }
    for key in metadata.object("annotations").into_iter().flat_map(|annotations| annotations.0.keys()) {
        if !is_qualified_name(&key.to_lowercase()) {
            faults.push(blame(
                &format!("metadata.annotations.{key}"),
                "Metadata.Annotations (key)",
                key,
                QUALIFIED,
            ));
        }
    }
}

const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, with an optional DNS subdomain prefix and '/'";
const SUBDOMAIN: &str = "name must consist of lower case alphanumeric characters, '-' or '.' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)";
const LABEL: &str =
    "name must consist of lower case alphanumeric characters or '-' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?)";

fn missing_name() -> Fault {
    Fault::new("metadata.name", "error with field Metadata.Name = '' (resource name may not be empty)")
        .found("nothing")
        .expected("a name")
}

fn name(kind: Kind, metadata: View<'_>, faults: &mut Vec<Fault>) {
    let name = metadata.text("name");
    if name.is_empty() {
        if !metadata.full("generateName") {
            faults.push(missing_name());
        }
        return;
    }
    if name.len() > 253 {
        let reason = format!("name is too long by {} bytes", name.len() - 253);
        faults.push(blame("metadata.name", "Metadata.Name", name, &reason));
    } else if !is_name(name) && kind.api() == Api::Calico {
        faults.push(blame("metadata.name", "Metadata.Name", name, SUBDOMAIN));
    } else if kind == Kind::Tier && name.contains('.') {
        faults.push(blame("metadata.name", "Metadata.Name", name, LABEL));
    }
}

fn blame(path: &str, field: &str, found: &str, reason: &str) -> Fault {
    Fault::new(path, format!("error with field {field} = '{found}' ({reason})")).found(found).expected(reason)
}

/// Kubernetes' form of a label's name: an optional DNS subdomain and `/`, then at most 63 characters.
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_name) && !name.is_empty() && is_label_value(name)
}

/// Kubernetes' form of a label's value: at most 63 characters, a letter or digit at both ends.
pub fn is_label_value(value: &str) -> bool {
    let edge = |character: Option<char>| character.is_none_or(|character| character.is_ascii_alphanumeric());
    value.len() <= 63
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && edge(value.chars().next())
        && edge(value.chars().last())
}

/// The annotations of a rule have the form of an object's.
pub fn rule_metadata(view: View<'_>, report: &mut Report<'_>) {
    for key in view.object("annotations").into_iter().flat_map(|annotations| annotations.0.keys()) {
        if !is_qualified_name(&key.to_lowercase()) {
            let path = format!("{}.annotations.{key}", report.path);
            report.faults.push(blame(&path, "Metadata.Annotations (key)", key, QUALIFIED));
        }
    }
}
