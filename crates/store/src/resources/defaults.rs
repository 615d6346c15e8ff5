//! What Calico's client fills in and stores: a policy's tier, types and tier label, a pool's modes and block size, a
//! workload endpoint's labels, a tier's end. Facts of its behaviour on etcd; each has its line in the vectors.

use serde_json::{Map, Value, json};
use tortie_api::kind::Kind;

use super::metadata::is_tiered;

const TIER_LABEL: &str = "projectcalico.org/tier";
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";
const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

/// Fill in what an object of `kind` leaves out.
pub fn fill(kind: Kind, object: &mut Value) {
    match kind {
        kind if is_tiered(kind) => policy(object),
        Kind::Tier => tier(object),
        Kind::IPPool => pool(object),
        Kind::WorkloadEndpoint => workload_endpoint(object),
        _ => {}
    }
}

fn spec(object: &mut Value) -> &mut Map<String, Value> {
    let slot = &mut object["spec"];
    if !slot.is_object() {
        *slot = json!({});
    }
    slot.as_object_mut().expect("it was made an object just above")
}

/// Whether a field is there and not Go's empty value.
fn given(map: &Map<String, Value>, name: &str) -> bool {
    match map.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Bool(_) | Value::Object(_)) => true,
    }
}

fn fill_in(map: &mut Map<String, Value>, name: &str, value: Value) {
    if !given(map, name) {
        map.insert(name.to_owned(), value);
    }
}

fn set_label(object: &mut Value, name: &str, value: Value) {
    let labels = &mut object["metadata"]["labels"];
    if !labels.is_object() {
        *labels = json!({});
    }
    labels[name] = value;
}

fn policy(object: &mut Value) {
    let spec = spec(object);
    fill_in(spec, "tier", json!("default"));
    let types = match (given(spec, "ingress"), given(spec, "egress")) {
        (_, false) => json!(["Ingress"]),
        (false, true) => json!(["Egress"]),
        (true, true) => json!(["Ingress", "Egress"]),
    };
    fill_in(spec, "types", types);
    let tier = spec["tier"].clone();
    set_label(object, TIER_LABEL, tier);
}

fn tier(object: &mut Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let action = if matches!(name.as_str(), "kube-admin" | "kube-baseline") { "Pass" } else { "Deny" };
    fill_in(spec(object), "defaultAction", json!(action));
}

fn pool(object: &mut Value) {
    let spec = spec(object);
    let ipv6 = spec.get("cidr").and_then(Value::as_str).is_some_and(|cidr| cidr.contains(':'));
    fill_in(spec, "nodeSelector", json!("all()"));
    fill_in(spec, "blockSize", json!(if ipv6 { 122 } else { 26 }));
    fill_in(spec, "allowedUses", json!(["Workload", "Tunnel"]));
    fill_in(spec, "assignmentMode", json!("Automatic"));
    fill_in(spec, "ipipMode", json!("Never"));
    fill_in(spec, "vxlanMode", json!("Never"));
}

fn workload_endpoint(object: &mut Value) {
    let namespace = object["metadata"]["namespace"].clone();
    let orchestrator = object["spec"].get("orchestrator").cloned().unwrap_or_else(|| json!(""));
    set_label(object, NAMESPACE_LABEL, namespace);
    set_label(object, ORCHESTRATOR_LABEL, orchestrator);
}
