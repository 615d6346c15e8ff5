//! What Kubernetes says of a pod, where the store knows pods or a cluster stands beside it: taken as if the runtime had said it.

use super::Context;
use crate::Result;
use crate::address::NamespaceFacts;
use crate::config::{CniConventions, Labels, NamedPort, NetworkConfig};
use crate::identity::{Identity, Workload};
use crate::request::{Command, Request};
use std::borrow::Cow;
use std::sync::Arc;
use tortie_api::core::{Container, NamespaceSpec, PodSpec};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::meta::Object;
use tortie_api::value::Protocol;
use tortie_store::kubernetes::forms::pod_labels;
use tortie_store::kubernetes::{Kubernetes, Options};
use tortie_store::resources::Client;

/// The object of a pod.
pub(super) fn key(identity: &Identity) -> Option<ResourceKey> {
    match &identity.workload {
        Workload::Pod { namespace, name } => Some(ResourceKey::namespaced(Kind::Pod, namespace, name)),
        Workload::Container => None,
    }
}

/// The call with what the pod's object says of labels, annotations, service account and ports; what the runtime said gives
/// way to it. Where the store isn't Kubernetes' API the pod's namespace is told along, since the store doesn't have it.
///
/// # Errors
/// If there is no such pod (any more): the runtime calls again, or takes the container away.
pub(super) fn completed<'a>(context: &Context<'_>, request: &'a Request) -> Result<Cow<'a, Request>> {
    let identity = context.identity(request);
    let Some(key) = key(&identity).filter(|_| request.command == Command::Add) else {
        return Ok(Cow::Borrowed(request));
    };
    let is_below = context.client.store().knows_pods();
    let named = match (is_below, context.cluster) {
        (false, None) => cluster(&request.config)?,
        _ => None,
    };
    let Some(client) = (if is_below { Some(context.client) } else { context.cluster.or(named.as_ref()) })
    else {
        return Ok(Cow::Borrowed(request));
    };
    let Object { metadata, spec, .. } = client.get_as::<PodSpec>(&key)?;
    let labels = match is_below {
        true => metadata.labels,
        false => pod_labels(metadata.labels, &metadata.namespace, &spec.service_account_name),
    };
    let namespace = match is_below {
        true => None,
        false => namespace(client, identity.namespace())?,
    };
    let mut request = request.clone();
    request.config.args.cni = CniConventions {
        labels: Labels::Map(labels),
        annotations: metadata.annotations,
        service_account_name: spec.service_account_name,
        ports: spec.containers.iter().chain(&spec.init_containers).flat_map(ports).collect(),
        namespace,
    };
    Ok(Cow::Owned(request))
}

/// The cluster that a configuration names beside its datastore, as Calico's plugin reads it: where policy is Kubernetes'.
///
/// # Errors
/// What is wrong with its kubeconfig.
fn cluster(config: &NetworkConfig) -> Result<Option<Client>> {
    let names_one = !config.kubernetes.kubeconfig.is_empty() || !config.kubernetes.k8s_api_root.is_empty();
    if config.policy.policy_type != "k8s" || !names_one {
        return Ok(None);
    }
    let options = Options::from_settings(|name| config.datastore(name))?;
    Ok(Some(Client::new(Arc::new(Kubernetes::open(options)?))))
}

fn namespace(client: &Client, name: &str) -> Result<Option<NamespaceFacts>> {
    match client.get_as::<NamespaceSpec>(&ResourceKey::cluster(Kind::Namespace, name)) {
        Ok(Object { metadata, .. }) => {
            Ok(Some(NamespaceFacts { labels: metadata.labels, annotations: metadata.annotations }))
        }
        Err(tortie_store::Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The ports of a container that have a name or lead from one of the host's.
fn ports(container: &Container) -> impl Iterator<Item = NamedPort> {
    let named = container.ports.iter().filter(|port| !port.name.is_empty() || port.host_port != 0);
    named.map(|port| NamedPort {
        name: port.name.clone(),
        protocol: Some(&*port.protocol)
            .filter(|name| !name.is_empty())
            .map(|name| Protocol::Name(name.into())),
        port: port.container_port,
        host_port: port.host_port,
        host_ip: port.host_ip.clone(),
    })
}
