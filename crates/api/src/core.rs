//! The Kubernetes objects that policy speaks of, trimmed to the fields that it reads.

use crate::go_struct;
use crate::kind::{Kind, ResourceKey};
use crate::meta::{Object, ObjectMeta, StringMap, specs};

/// A namespace.
pub type Namespace = Object<NamespaceSpec>;
/// A service account.
pub type ServiceAccount = Object<ServiceAccountSpec>;
/// A pod.
pub type Pod = Object<PodSpec>;
/// A service.
pub type Service = Object<ServiceSpec>;

specs! {
    NamespaceSpec => Namespace;
    ServiceAccountSpec => ServiceAccount;
    PodSpec => Pod, PodStatus;
    ServiceSpec => Service;
}

go_struct! {
    /// Nothing of a namespace but its metadata is read.
    NamespaceSpec {
        /// Who must agree to its deletion.
        finalizers: Vec<String> = "finalizers",
    }

    /// Nothing of a service account but its metadata is read.
    ServiceAccountSpec {}

    /// What policy reads of a pod.
    PodSpec {
        /// The host that it runs on.
        node_name: String = "nodeName",
        /// Its service account; empty for `default`.
        service_account_name: String = "serviceAccountName",
        /// Whether it lives in the host's network and so is no endpoint.
        host_network: bool = "hostNetwork",
        /// Its containers.
        containers: Vec<Container> = "containers",
        /// Containers that run before.
        init_containers: Vec<Container> = "initContainers",
    }

    /// A container of a pod.
    Container {
        /// Its name.
        name: String = "name",
        /// Its named ports.
        ports: Vec<ContainerPort> = "ports",
        /// `Always` on an init container that stays.
        restart_policy: String = "restartPolicy",
    }

    /// A named port of a container.
    ContainerPort {
        /// Its name; only named ports count.
        name: String = "name",
        /// Its number.
        container_port: u16 = "containerPort",
        /// The host's port that leads to it.
        host_port: u16 = "hostPort",
        /// The host's address that leads to it.
        host_ip: String = "hostIP",
        /// `TCP`, `UDP` or `SCTP`; empty for TCP.
        protocol: String = "protocol",
    }

    /// What Kubernetes says of a pod.
    PodStatus {
        /// `Pending`, `Running`, `Succeeded`, `Failed`.
        phase: String = "phase",
        /// Its first address.
        pod_ip: String = "podIP",
        /// Its addresses, at most one of each family.
        pod_ips: Vec<PodIp> = "podIPs",
    }

    /// An address of a pod.
    PodIp as "PodIP" {
        /// The address.
        ip: String = "ip",
    }

    /// What policy reads of a service.
    ServiceSpec {
        /// Labels of its pods.
        selector: StringMap = "selector",
        /// Its address, or `None`.
        cluster_ip: String = "clusterIP",
        /// Its addresses.
        cluster_ips: Vec<String> = "clusterIPs",
        /// Its ports.
        ports: Vec<ServicePort> = "ports",
        /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
        service_type: String = "type",
    }

    /// A port of a service.
    ServicePort {
        /// Its name.
        name: String = "name",
        /// `TCP`, `UDP` or `SCTP`; empty for TCP.
        protocol: String = "protocol",
        /// Its number.
        port: u16 = "port",
        /// The pod's port, a number or a name.
        target_port: Option<serde_json::Value> = "targetPort",
        /// The port on every host.
        node_port: u16 = "nodePort",
    }

    /// The addresses behind a service.
    EndpointSlice {
        /// Name, namespace and the label `kubernetes.io/service-name`.
        metadata: ObjectMeta = "metadata",
        /// `IPv4`, `IPv6` or `FQDN`.
        address_type: String = "addressType",
        /// The addresses.
        endpoints: Vec<SliceEndpoint> = "endpoints",
        /// The ports that they serve.
        ports: Vec<SlicePort> = "ports",
    }

    /// An address behind a service.
    SliceEndpoint as "Endpoint" {
        /// One to a hundred addresses that are alike.
        addresses: Vec<String> = "addresses",
        /// Whether it may be used.
        conditions: Option<serde_json::Value> = "conditions",
        /// The host that it is on.
        node_name: Option<String> = "nodeName",
        /// The pod that it is.
        target_ref: Option<serde_json::Value> = "targetRef",
    }

    /// A port that an endpoint slice serves.
    SlicePort as "EndpointPort" {
        /// Its name.
        name: Option<String> = "name",
        /// `TCP`, `UDP` or `SCTP`; none for TCP.
        protocol: Option<String> = "protocol",
        /// Its number; none for all.
        port: Option<u16> = "port",
        /// The protocol that it speaks.
        app_protocol: Option<String> = "appProtocol",
    }
}

impl EndpointSlice {
    /// The object's identity.
    pub fn key(&self) -> ResourceKey {
        ResourceKey::namespaced(Kind::EndpointSlice, &self.metadata.namespace, &self.metadata.name)
    }
}
