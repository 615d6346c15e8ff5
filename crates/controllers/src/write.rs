//! What was decided is written. Whoever was faster is not overwritten: the object comes back by its watch and is looked at anew.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tortie_api::cluster::{KubeControllersConfiguration, KubeControllersConfigurationStatus};
use tortie_api::endpoint::{Node, WorkloadEndpoint};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::meta::{Object, Spec, StringMap};
use tortie_store::resources::{Client, Labels};
use tortie_store::{Error, keys};

use crate::copies::Change;
use crate::{Result, hosts};

/// An outcome, in which another one's being faster is none.
fn unless_faster<T>(outcome: Result<T, Error>) -> Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error @ (Error::AlreadyExists { .. } | Error::Missing { .. } | Error::UpdateConflict { .. })) => {
            tracing::debug!(%error, "another one was faster");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Host endpoints.
///
/// # Errors
/// Those of the datastore.
pub fn host_endpoints(
    client: &Client,
    changes: Vec<hosts::Change>,
    stored: &BTreeMap<String, String>,
) -> Result<()> {
    for change in changes {
        match change {
            hosts::Change::Put(mut endpoint) => {
                let name = endpoint.metadata.name.clone();
                match stored.get(&name) {
                    None => unless_faster(client.create(Client::to_json(&endpoint)?))?,
                    Some(version) => {
                        endpoint.metadata.resource_version = version.clone();
                        unless_faster(client.update(Client::to_json(&endpoint)?, Labels::Replace))?;
                    }
                }
                tracing::info!(name, "made a host endpoint");
            }
            hosts::Change::Delete(name) => {
                let version = stored.get(&name).map(String::as_str);
                unless_faster(client.delete(&ResourceKey::cluster(Kind::HostEndpoint, &name), version))?;
                tracing::info!(name, "deleted a host endpoint: its node is gone, or they are off");
            }
        }
    }
    Ok(())
}

/// Copies of a kind, by their keys.
///
/// # Errors
/// Those of the datastore.
pub fn copies<S: Spec + Serialize + DeserializeOwned>(
    client: &Client,
    changes: Vec<Change<S>>,
) -> Result<()> {
    for change in changes {
        match change {
            Change::Put(key, spec) => {
                let Some(id) = keys::parse_resource(&key) else { continue };
                let mut object = Object::<S> { spec, ..Object::default() };
                object.metadata.name = id.name.to_string();
                object.metadata.namespace = id.namespace.to_string();
                let wanted = Client::to_json(&object)?;
                // Into what is stored: its labels and annotations stay.
                unless_faster(match client.get(&id) {
                    Err(Error::Missing { .. }) => client.create(wanted),
                    Err(error) => Err(error),
                    Ok(mut stored) => {
                        stored["spec"] = wanted["spec"].clone();
                        client.update(stored, Labels::Replace)
                    }
                })?;
                tracing::info!(%id, "copied from Kubernetes");
            }
            Change::Delete(key) => {
                let Some(id) = keys::parse_resource(&key) else { continue };
                unless_faster(client.delete(&id, None))?;
                tracing::info!(%id, "deleted: it is not in Kubernetes any more");
            }
        }
    }
    Ok(())
}

/// The labels and service account of an endpoint's pod.
///
/// # Errors
/// Those of the datastore.
pub fn endpoint(
    client: &Client,
    endpoint: &WorkloadEndpoint,
    labels: &StringMap,
    account: &str,
) -> Result<()> {
    let mut object = match client.get(&endpoint.key()) {
        Err(Error::Missing { .. }) => return Ok(()),
        object => object?,
    };
    object["metadata"]["labels"] = json!(labels);
    match account {
        "" => drop(object["spec"].as_object_mut().map(|spec| spec.remove("serviceAccountName"))),
        account => object["spec"]["serviceAccountName"] = json!(account),
    }
    unless_faster(client.update(object, Labels::Replace))
}

/// The labels and annotations of a node.
///
/// # Errors
/// Those of the datastore.
pub fn node(client: &Client, node: &Node, (labels, annotations): (StringMap, StringMap)) -> Result<()> {
    let mut object = match client.get(&node.key()) {
        Err(Error::Missing { .. }) => return Ok(()),
        object => object?,
    };
    // Only what was decided on is written over.
    if object["metadata"]["resourceVersion"] != json!(node.metadata.resource_version) {
        return Ok(());
    }
    object["metadata"]["labels"] = json!(labels);
    object["metadata"]["annotations"] = json!(annotations);
    unless_faster(client.update(object, Labels::Replace))
}

/// What the controllers say of themselves.
///
/// # Errors
/// Those of the datastore.
pub fn status(
    client: &Client,
    status: &KubeControllersConfigurationStatus,
    of: &KubeControllersConfiguration,
) -> Result<()> {
    let mut object: Value = client.get(&of.key())?;
    object["status"] = json!(status);
    unless_faster(client.update(object, Labels::Replace))
}
