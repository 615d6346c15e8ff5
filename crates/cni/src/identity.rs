//! Names: of a workload, its endpoint, its interface and its handle, as Calico makes them. Pure.

use crate::request::Request;
use sha1::{Digest, Sha1};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_ipam::HandleId;

/// What host interfaces begin with.
const INTERFACE_PREFIX: &str = "cali";
/// Characters of an interface name after the prefix; the kernel allows 15 in all.
const INTERFACE_DIGITS: usize = 11;

/// Who is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// A pod of Kubernetes, or of whoever sets `K8S_POD_NAMESPACE` and `K8S_POD_NAME`.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Anything else: its container is its name.
    Container,
}

/// A workload's interface on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub workload: Workload,
    /// The node's name.
    pub node: String,
    /// The container's id.
    pub container_id: String,
    /// The interface inside, `eth0`.
    pub ifname: String,
    /// The network's name.
    pub network: String,
}

impl Identity {
    /// The identity that a call speaks of, on this node.
    #[must_use]
    pub fn of(request: &Request, node: &str) -> Self {
        let (namespace, name) = (&request.args.pod_namespace, &request.args.pod_name);
        let workload = if namespace.is_empty() || name.is_empty() {
            Workload::Container
        } else {
            Workload::Pod { namespace: namespace.clone(), name: name.clone() }
        };
        Identity {
            workload,
            node: node.into(),
            container_id: request.container_id.clone(),
            ifname: request.ifname.clone(),
            network: request.config.name.clone(),
        }
    }

    /// `k8s` or `cni`.
    #[must_use]
    pub fn orchestrator(&self) -> &'static str {
        match self.workload {
            Workload::Pod { .. } => "k8s",
            Workload::Container => "cni",
        }
    }

    /// The endpoint's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match &self.workload {
            Workload::Pod { namespace, .. } => namespace,
            Workload::Container => "default",
        }
    }

    /// The endpoint's name: node, orchestrator, workload and interface, each with `-` doubled, joined by `-`.
    #[must_use]
    pub fn endpoint_name(&self) -> String {
        let workload = match &self.workload {
            Workload::Pod { name, .. } => name,
            Workload::Container => &self.container_id,
        };
        let parts = [self.node.as_str(), self.orchestrator(), workload, &self.ifname];
        parts.map(|part| part.replace('-', "--")).join("-")
    }

    /// The endpoint's key.
    #[must_use]
    pub fn endpoint_key(&self) -> ResourceKey {
        ResourceKey::namespaced(Kind::WorkloadEndpoint, self.namespace(), &self.endpoint_name())
    }

    /// The interface on the host.
    #[must_use]
    pub fn interface(&self) -> String {
        let digits = match &self.workload {
            Workload::Pod { namespace, name } => {
                let sum = Sha1::digest(format!("{namespace}.{name}"));
                sum.iter().map(|byte| format!("{byte:02x}")).collect()
            }
            Workload::Container => self.container_id.clone(),
        };
        let digits: String = digits.chars().take(INTERFACE_DIGITS).collect();
        format!("{INTERFACE_PREFIX}{digits}")
    }

    /// The handle of its addresses: `<network>.<container>`.
    #[must_use]
    pub fn handle(&self) -> HandleId {
        HandleId::new(&format!("{}.{}", self.network, self.container_id))
    }

    /// The handle that old releases used: `<namespace>.<pod>`, or the container's id.
    #[must_use]
    pub fn old_handle(&self) -> HandleId {
        match &self.workload {
            Workload::Pod { namespace, name } => HandleId::new(&format!("{namespace}.{name}")),
            Workload::Container => HandleId::new(&self.container_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk(workload: Workload) -> Identity {
        Identity {
            workload,
            node: "vm-1".into(),
            container_id: "0123456789abcdef".into(),
            ifname: "eth0".into(),
            network: "net1".into(),
        }
    }

    #[test]
    fn a_pods_names_are_calicos() {
        let pod = mk(Workload::Pod { namespace: "test".into(), name: "test-pod-6".into() });
        assert_eq!(pod.endpoint_name(), "vm--1-k8s-test--pod--6-eth0");
        // sha1("test.test-pod-6") by sha1sum.
        assert_eq!(pod.interface(), "cali4053065fadd");
        assert_eq!(
            (pod.handle().as_str(), pod.old_handle().as_str()),
            ("net1.0123456789abcdef", "test.test-pod-6")
        );
    }

    #[test]
    fn a_containers_names_are_calicos() {
        let container = mk(Workload::Container);
        assert_eq!(container.endpoint_name(), "vm--1-cni-0123456789abcdef-eth0");
        assert_eq!((container.namespace(), container.interface().as_str()), ("default", "cali0123456789a"));
        assert_eq!(container.old_handle().as_str(), "0123456789abcdef");
    }
}
