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
        for reason in qualified_name(key) {
            faults.push(blame(&path, "Metadata.Labels (label)", key, &reason));
        }
        for reason in label_value(value) {
            faults.push(blame(&path, "Metadata.Labels (value)", value, reason));
        }
    }
    for key in metadata.object("annotations").into_iter().flat_map(|annotations| annotations.0.keys()) {
        for reason in qualified_name(&key.to_lowercase()) {
            let path = format!("metadata.annotations.{key}");
            faults.push(blame(&path, "Metadata.Annotations (key)", key, &reason));
        }
    }
}

// Kubernetes' own words.
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX_PART: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN: &str = "name must consist of lower case alphanumeric characters, '-' or '.' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)";
const LABEL: &str =
    "name must consist of lower case alphanumeric characters or '-' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?)";

fn missing_name() -> Fault {
    let message = format!("error with field Metadata.Name = '' ({SUBDOMAIN})");
    Fault::new("metadata.name", message).found("nothing").expected("a name")
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

/// What is wrong with a label's name in Kubernetes' eyes: an optional DNS subdomain and `/`, then at most 63 characters.
fn qualified_name(key: &str) -> Vec<String> {
    let parts: Vec<&str> = key.split('/').collect();
    let (prefix, name) = match parts[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => return vec![QUALIFIED.to_owned()],
    };
    let mut reasons = Vec::new();
    match prefix {
        Some("") => reasons.push("prefix part must be non-empty".to_owned()),
        Some(prefix) if !is_name(prefix) => reasons.push(PREFIX_PART.to_owned()),
        _ => {}
    }
    match name.len() {
        0 => reasons.push("name part must be non-empty".to_owned()),
        64.. => reasons.push("name part must be no more than 63 characters".to_owned()),
        _ => {}
    }
    if name.is_empty() || !has_label_form(name) {
        reasons.push(NAME_PART.to_owned());
    }
    reasons
}

/// What is wrong with a label's value in Kubernetes' eyes.
fn label_value(value: &str) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if value.len() > 63 {
        reasons.push("must be no more than 63 characters");
    }
    if !has_label_form(value) {
        reasons.push(LABEL_VALUE);
    }
    reasons
}

/// Kubernetes' form of a label's value: at most 63 characters, a letter or digit at both ends.
pub fn is_label_value(value: &str) -> bool {
    value.len() <= 63 && has_label_form(value)
}

fn has_label_form(value: &str) -> bool {
    let edge = |character: Option<char>| character.is_none_or(|character| character.is_ascii_alphanumeric());
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && edge(value.chars().next())
        && edge(value.chars().last())
}

/// The annotations of a rule have the form of an object's.
pub fn rule_metadata(view: View<'_>, report: &mut Report<'_>) {
    for key in view.object("annotations").into_iter().flat_map(|annotations| annotations.0.keys()) {
        for reason in qualified_name(&key.to_lowercase()) {
            let path = format!("{}.annotations.{key}", report.path);
            report.faults.push(blame(&path, "Metadata.Annotations (key)", key, &reason));
        }
    }
}
