//! Objects in the form in which Go's types write them: empty fields left out, those that are always written put in.
//!
//! An object goes through its type and back, so a field of the wrong type is found here at the latest; what the type
//! doesn't know is carried over as it is.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tortie_api::kind::{Api, Kind};
use tortie_api::meta::{Object, Spec};
use tortie_api::schema::{Shape, Shaped};
use tortie_api::{core, endpoint, policy, pool, set};

use crate::{Error, Result};

/// The canonical form of an object of `kind`.
///
/// # Errors
/// [`Error::Invalid`] if a field has the wrong type.
pub fn canonical(kind: Kind, object: Value) -> Result<Value> {
    let mut object = match kind {
        Kind::NetworkPolicy => through::<policy::NetworkPolicySpec>(object),
        Kind::GlobalNetworkPolicy => through::<policy::GlobalNetworkPolicySpec>(object),
        Kind::Tier => through::<policy::TierSpec>(object),
        Kind::Profile => through::<policy::ProfileSpec>(object),
        Kind::NetworkSet => through::<set::NetworkSetSpec>(object),
        Kind::GlobalNetworkSet => through::<set::GlobalNetworkSetSpec>(object),
        Kind::HostEndpoint => through::<endpoint::HostEndpointSpec>(object),
        Kind::WorkloadEndpoint => through::<endpoint::WorkloadEndpointSpec>(object),
        Kind::Node => through::<endpoint::NodeSpec>(object),
        Kind::IPPool => through::<pool::IpPoolSpec>(object),
        Kind::IPReservation => through::<pool::IpReservationSpec>(object),
        Kind::IPAMConfiguration => through::<pool::IpamConfigurationSpec>(object),
        Kind::Namespace => through::<core::NamespaceSpec>(object),
        Kind::ServiceAccount => through::<core::ServiceAccountSpec>(object),
        _ => Ok(object),
    }?;
    let map =
        object.as_object_mut().ok_or_else(|| Error::invalid("Object", None, "expected a JSON object"))?;
    map.insert("kind".into(), json!(kind.name()));
    map.insert("apiVersion".into(), json!(kind.api().version()));
    map.entry("metadata").or_insert_with(|| json!({}));
    if kind.api() == Api::Calico {
        map.entry("spec").or_insert_with(|| json!({}));
        if has_status(kind) {
            map.entry("status").or_insert_with(|| json!({}));
        }
    } else if map.get("spec").is_some_and(|spec| *spec == json!({})) {
        map.remove("spec");
    }
    if kind == Kind::WorkloadEndpoint {
        write_host_ports(map);
    }
    Ok(object)
}

/// Kinds whose `status` is a struct in Go, which is written even if it is empty.
fn has_status(kind: Kind) -> bool {
    matches!(kind, Kind::Tier | Kind::Node | Kind::CalicoNodeStatus | Kind::KubeControllersConfiguration)
}

/// The fields of a workload endpoint's ports that Go writes even if they are empty.
fn write_host_ports(map: &mut Map<String, Value>) {
    let ports = map.get_mut("spec").and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        port.entry("hostPort").or_insert_with(|| json!(0));
        port.entry("hostIP").or_insert_with(|| json!(""));
    }
}

fn through<S: Spec + Serialize + DeserializeOwned>(object: Value) -> Result<Value> {
    let invalid = |error: serde_json::Error| Error::invalid(S::KIND.name(), None, error.to_string());
    let typed = Object::<S>::deserialize(&object).map_err(invalid)?;
    let mut value = serde_json::to_value(&typed).map_err(invalid)?;
    keep_unknown(&object, &mut value, Object::<S>::SHAPE);
    Ok(value)
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
