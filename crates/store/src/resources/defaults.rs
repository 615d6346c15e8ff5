//! What is filled in beside the API's own defaults: the labels that say where an object belongs, and how the built-in
//! tiers end. Facts of Calico's client on etcd; each has its line in the vectors.

use serde_json::{Value, json};
use tortie_api::defaults;
use tortie_api::kind::Kind;

use super::metadata::is_tiered;

const TIER_LABEL: &str = "projectcalico.org/tier";
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";
const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

/// Fill in what an object of `kind`, whose identity is complete, leaves out.
pub fn fill(kind: Kind, object: &mut Value) {
    if kind == Kind::Tier
        && matches!(object["metadata"]["name"].as_str(), Some("kube-admin" | "kube-baseline"))
    {
        let action = &mut object["spec"]["defaultAction"];
        if action.is_null() {
            *action = json!("Pass");
        }
    }
    defaults::apply(kind, object, "");
    if is_tiered(kind) {
        let tier = object["spec"]["tier"].clone();
        set_label(object, TIER_LABEL, tier);
    }
    if kind == Kind::WorkloadEndpoint {
        let namespace = object["metadata"]["namespace"].clone();
        let orchestrator = object["spec"].get("orchestrator").cloned().unwrap_or_else(|| json!(""));
        set_label(object, NAMESPACE_LABEL, namespace);
        set_label(object, ORCHESTRATOR_LABEL, orchestrator);
    }
}

fn set_label(object: &mut Value, name: &str, value: Value) {
    let labels = &mut object["metadata"]["labels"];
    if !labels.is_object() {
        *labels = json!({});
    }
    labels[name] = value;
}
