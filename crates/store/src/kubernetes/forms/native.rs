//! Objects of Kubernetes' own kinds, as they are, but for what nobody here reads.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tortie_api::core::{
    EndpointSlice, NamespaceSpec, PodSpec, PodStatus, ServiceAccountSpec, ServiceSpec, SliceEndpoint,
    SlicePort,
};
use tortie_api::kind::{Api, Kind};
use tortie_api::meta::Object;
use tortie_api::registry;
use tortie_api::schema::complete;

use super::metadata::{self, Metadata};
use super::{Read, Unreadable};

/// An object with a spec.
#[derive(Deserialize)]
struct Specified<S> {
    metadata: Metadata,
    #[serde(default)]
    spec: S,
}

/// An object with a spec and a status.
#[derive(Deserialize)]
struct Stated<S, T> {
    metadata: Metadata,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: T,
}

/// An object of whose spec nothing is read.
#[derive(Deserialize)]
struct Named {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slice {
    metadata: Metadata,
    address_type: String,
    #[serde(default)]
    endpoints: Option<Vec<SliceEndpoint>>,
    #[serde(default)]
    ports: Option<Vec<SlicePort>>,
}

/// What an object of one of Kubernetes' kinds holds. Policies come with their spec whole, known fields or not.
///
/// # Errors
/// If it doesn't fit the kind.
pub fn read(prefix: &str, kind: Kind, object: &[u8]) -> Result<Read, Unreadable> {
    match kind {
        Kind::Namespace => {
            let Named { metadata } = metadata::parse(prefix, object)?;
            finish(prefix, kind, metadata, |metadata| Object::<NamespaceSpec> {
                metadata,
                ..Object::default()
            })
        }
        Kind::ServiceAccount => {
            let Named { metadata } = metadata::parse(prefix, object)?;
            finish(prefix, kind, metadata, |metadata| Object::<ServiceAccountSpec> {
                metadata,
                ..Object::default()
            })
        }
        Kind::Pod => {
            let Stated::<PodSpec, PodStatus> { metadata, spec, status } = metadata::parse(prefix, object)?;
            finish(prefix, kind, metadata, |metadata| Object { metadata, spec, status })
        }
        Kind::Service => {
            let Specified::<ServiceSpec> { metadata, spec } = metadata::parse(prefix, object)?;
            finish(prefix, kind, metadata, |metadata| Object { metadata, spec, ..Object::default() })
        }
        Kind::EndpointSlice => {
            let Slice { metadata, address_type, endpoints, ports } = metadata::parse(prefix, object)?;
            finish(prefix, kind, metadata, |metadata| EndpointSlice {
                metadata,
                address_type,
                endpoints: endpoints.unwrap_or_default(),
                ports: ports.unwrap_or_default(),
            })
        }
        _ => {
            let Specified::<Map<String, Value>> { metadata, spec } = metadata::parse(prefix, object)?;
            finish(prefix, kind, metadata, |metadata| json!({ "metadata": metadata, "spec": spec }))
        }
    }
}

fn finish<T: Serialize>(
    prefix: &str,
    kind: Kind,
    metadata: Metadata,
    object: impl FnOnce(tortie_api::meta::ObjectMeta) -> T,
) -> Result<Read, Unreadable> {
    let head = metadata.head()?;
    let key = head.key(prefix);
    let value = to_bytes(kind, &object(metadata.kept()));
    Ok(Read { key, value, version: head.version, uid: head.uid, deleted: false })
}

/// An object as Calico would print it.
pub fn to_bytes<T: Serialize>(kind: Kind, object: &T) -> Vec<u8> {
    let mut value = serde_json::to_value(object).expect("API types always have a JSON form");
    value["kind"] = json!(kind.name());
    value["apiVersion"] = json!(kind.api().version());
    complete(&mut value, registry::shape(kind));
    if kind.api() != Api::Calico && value.get("spec").is_some_and(|spec| *spec == json!({})) {
        value.as_object_mut().map(|object| object.remove("spec"));
    }
    crate::json::to_bytes(kind, &value)
}

#[cfg(test)]
mod tests;
