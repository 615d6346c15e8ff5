//! What the API fills in where a user said nothing: before validation, and so that stored objects
//! say what holds.
//!
//! Schema defaults, the defaults of Calico's client (`tier`, `types`, an IP pool's modes), and the
//! namespace. Only what a user may leave out: uid, times and revisions are the store's.

use serde_json::{Map, Value, json};

use crate::kind::{Kind, Scope};

/// Fills in an object's defaults. `namespace` is for objects of namespaced kinds without one;
/// a kind of cluster scope loses its namespace.
pub fn apply(kind: Kind, object: &mut Value, namespace: &str) {
    let Value::Object(object) = object else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        match kind.scope() {
            Scope::Namespaced if is_empty(metadata, "namespace") => {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
            Scope::Namespaced => {}
            Scope::Cluster => {
                metadata.remove("namespace");
            }
        }
        if kind == Kind::Namespace {
            name_label(metadata);
        }
    }
    if let Some(Value::Object(spec)) = object.get_mut("spec") {
        apply_to_spec(kind, spec);
    }
}

/// Fills in what must not be taken for false because it is left out: to be called before an object goes through its type,
/// which knows no difference. Calico's API server does so for `autoAllocateBlocks`, without which pods get no addresses.
pub fn apply_before_types(kind: Kind, object: &mut Value) {
    if kind == Kind::IPAMConfiguration
        && let Value::Object(object) = object
        && let Value::Object(spec) = object.entry("spec").or_insert_with(|| json!({}))
    {
        set(spec, "autoAllocateBlocks", true);
    }
}

/// Kubernetes' API gives every namespace a label with its name, so that selectors can name it.
fn name_label(metadata: &mut Map<String, Value>) {
    let name = metadata.get("name").cloned().unwrap_or_default();
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    if let Value::Object(labels) = labels {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

fn apply_to_spec(kind: Kind, spec: &mut Map<String, Value>) {
    match kind {
        Kind::NetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy => {
            set(spec, "tier", "default");
            if matches!(kind, Kind::StagedNetworkPolicy | Kind::StagedGlobalNetworkPolicy) {
                set(spec, "stagedAction", "Set");
            }
            let types = match (is_empty(spec, "ingress"), is_empty(spec, "egress")) {
                (_, true) => json!(["Ingress"]),
                (true, false) => json!(["Egress"]),
                (false, false) => json!(["Ingress", "Egress"]),
            };
            // A staged deletion has no spec to speak of.
            if spec.get("stagedAction").and_then(Value::as_str) != Some("Delete") {
                set(spec, "types", types);
            }
        }
        Kind::StagedKubernetesNetworkPolicy => {
            set(spec, "stagedAction", "Set");
            if spec.get("stagedAction").and_then(Value::as_str) != Some("Delete") {
                let types =
                    if is_empty(spec, "egress") { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
                set(spec, "policyTypes", types);
            }
        }
        Kind::Tier => set(spec, "defaultAction", "Deny"),
        Kind::IPPool => pool(spec),
        Kind::BGPConfiguration => {
            set(spec, "logSeverityScreen", "Info");
            set(spec, "serviceLoadBalancerAggregation", "Enabled");
        }
        Kind::FelixConfiguration => set(spec, "nftablesMode", "Auto"),
        Kind::KubeControllersConfiguration => {
            set(spec, "healthChecks", "Enabled");
            let balancer =
                spec.get_mut("controllers").and_then(|controllers| controllers.get_mut("loadBalancer"));
            if let Some(Value::Object(balancer)) = balancer {
                set(balancer, "assignIPs", "AllServices");
            }
        }
        _ => {}
    }
}

fn pool(spec: &mut Map<String, Value>) {
    set(spec, "ipipMode", "Never");
    set(spec, "vxlanMode", "Never");
    set(spec, "nodeSelector", "all()");
    set(spec, "allowedUses", json!(["Workload", "Tunnel"]));
    if let Some(Value::Array(uses)) = spec.get("allowedUses")
        && uses.contains(&"Tunnel".into())
        && uses.len() == 2
        && !is_empty(spec, "namespaceSelector")
    {
        spec.insert("allowedUses".to_owned(), json!(["Workload"]));
    }
    set(spec, "assignmentMode", "Automatic");
    let v6 = spec.get("cidr").and_then(Value::as_str).is_some_and(|cidr| cidr.contains(':'));
    if spec.get("blockSize").and_then(Value::as_i64).unwrap_or(0) == 0 {
        spec.insert("blockSize".to_owned(), if v6 { 122 } else { 26 }.into());
    }
}

fn set(spec: &mut Map<String, Value>, field: &str, default: impl Into<Value>) {
    if is_empty(spec, field) {
        spec.insert(field.to_owned(), default.into());
    }
}

fn is_empty(object: &Map<String, Value>, field: &str) -> bool {
    match object.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}
