//! What Kubernetes says of a pod, where the store knows pods: taken as if the runtime had said it.

use crate::Result;
use crate::config::{CniConventions, Labels, NamedPort};
use crate::identity::{Identity, Workload};
use crate::request::{Command, Request};
use std::borrow::Cow;
use tortie_api::core::{Container, PodSpec};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::meta::Object;
use tortie_api::value::Protocol;
use tortie_store::resources::Client;

/// The object of a pod.
pub(super) fn key(identity: &Identity) -> Option<ResourceKey> {
    match &identity.workload {
        Workload::Pod { namespace, name } => Some(ResourceKey::namespaced(Kind::Pod, namespace, name)),
        Workload::Container => None,
    }
}

/// The call with what the pod's object says of labels, annotations, service account and ports; what the runtime said gives
/// way to it.
///
/// # Errors
/// If there is no such pod (any more): the runtime calls again, or takes the container away.
pub(super) fn completed<'a>(
    client: &Client,
    request: &'a Request,
    identity: &Identity,
) -> Result<Cow<'a, Request>> {
    let pod = key(identity).filter(|_| request.command == Command::Add && client.store().knows_pods());
    let Some(key) = pod else { return Ok(Cow::Borrowed(request)) };
    let Object { metadata, spec, .. } = client.get_as::<PodSpec>(&key)?;
    let mut request = request.clone();
    request.config.args.cni = CniConventions {
        labels: Labels::Map(metadata.labels.into_iter().collect()),
        annotations: metadata.annotations.into_iter().collect(),
        service_account_name: spec.service_account_name,
        ports: spec.containers.iter().chain(&spec.init_containers).flat_map(ports).collect(),
    };
    Ok(Cow::Owned(request))
}

/// The ports of a container that have a name.
fn ports(container: &Container) -> impl Iterator<Item = NamedPort> {
    let named = container.ports.iter().filter(|port| !port.name.is_empty());
    named.map(|port| NamedPort {
        name: port.name.clone(),
        protocol: Some(&*port.protocol)
            .filter(|name| !name.is_empty())
            .map(|name| Protocol::Name(name.into())),
        port: port.container_port,
    })
}
