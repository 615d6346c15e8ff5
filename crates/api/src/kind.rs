//! The kinds of object and the identity of one: kind, namespace and name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

macro_rules! kinds {
    ($( $(#[$doc:meta])* $kind:ident, $plural:literal, $api:ident, $scope:ident; )*) => {
        /// Every kind of object that Tortie reads or writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $( $(#[$doc])* $kind, )*
        }

        impl Kind {
            /// All kinds, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The kind's name as it stands in YAML.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => kinds!(@name $kind),)* }
            }

            /// The plural in lower case, as it stands in datastore keys and URLs.
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)* }
            }

            /// The API group and version the kind belongs to.
            pub const fn api(self) -> Api {
                match self { $(Self::$kind => Api::$api,)* }
            }

            /// Whether its objects live in a namespace.
            pub const fn scope(self) -> Scope {
                match self { $(Self::$kind => Scope::$scope,)* }
            }
        }
    };
    (@name KubernetesNetworkPolicy) => { "NetworkPolicy" };
    (@name KubernetesClusterNetworkPolicy) => { "ClusterNetworkPolicy" };
    (@name $kind:ident) => { stringify!($kind) };
}

/// The API group and version of a [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// `projectcalico.org/v3`
    Calico,
    /// `v1`: Kubernetes' core.
    Core,
    /// `networking.k8s.io/v1`
    Networking,
    /// `policy.networking.k8s.io/v1alpha2`
    NetworkPolicyApi,
    /// `discovery.k8s.io/v1`
    Discovery,
}

impl Api {
    /// The value of `apiVersion`.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Calico => "projectcalico.org/v3",
            Self::Core => "v1",
            Self::Networking => "networking.k8s.io/v1",
            Self::NetworkPolicyApi => "policy.networking.k8s.io/v1alpha2",
            Self::Discovery => "discovery.k8s.io/v1",
        }
    }
}

/// Whether objects of a [`Kind`] live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Their identity has a namespace.
    Namespaced,
    /// It hasn't.
    Cluster,
}

kinds! {
    /// Tiered policy for the workload endpoints of one namespace.
    NetworkPolicy, "networkpolicies", Calico, Namespaced;
    /// Policy over workload endpoints of all namespaces and host endpoints.
    GlobalNetworkPolicy, "globalnetworkpolicies", Calico, Cluster;
    /// A NetworkPolicy that is only evaluated.
    StagedNetworkPolicy, "stagednetworkpolicies", Calico, Namespaced;
    /// A GlobalNetworkPolicy that is only evaluated.
    StagedGlobalNetworkPolicy, "stagedglobalnetworkpolicies", Calico, Cluster;
    /// A Kubernetes NetworkPolicy that is only evaluated.
    StagedKubernetesNetworkPolicy, "stagedkubernetesnetworkpolicies", Calico, Namespaced;
    /// An ordered group of policies.
    Tier, "tiers", Calico, Cluster;
    /// A labelled list of CIDRs in a namespace.
    NetworkSet, "networksets", Calico, Namespaced;
    /// A labelled list of CIDRs.
    GlobalNetworkSet, "globalnetworksets", Calico, Cluster;
    /// An interface of a host that policy protects.
    HostEndpoint, "hostendpoints", Calico, Cluster;
    /// Labels and rules that endpoints inherit.
    Profile, "profiles", Calico, Cluster;
    /// Addresses for workloads, tunnels and load balancers.
    IPPool, "ippools", Calico, Cluster;
    /// Addresses that are never assigned automatically.
    IPReservation, "ipreservations", Calico, Cluster;
    /// Settings of address management.
    IPAMConfiguration, "ipamconfigurations", Calico, Cluster;
    /// A block of addresses (CRD form).
    IPAMBlock, "ipamblocks", Calico, Cluster;
    /// The addresses of one handle (CRD form).
    IPAMHandle, "ipamhandles", Calico, Cluster;
    /// A host's claim to a block (CRD form).
    BlockAffinity, "blockaffinities", Calico, Cluster;
    /// BGP settings of the cluster or one node.
    BGPConfiguration, "bgpconfigurations", Calico, Cluster;
    /// A BGP session.
    BGPPeer, "bgppeers", Calico, Cluster;
    /// What a BGP session imports and exports.
    BGPFilter, "bgpfilters", Calico, Cluster;
    /// Settings of the node agent.
    FelixConfiguration, "felixconfigurations", Calico, Cluster;
    /// Settings of the cluster's controllers.
    KubeControllersConfiguration, "kubecontrollersconfigurations", Calico, Cluster;
    /// Identity, type and version of the cluster.
    ClusterInformation, "clusterinformations", Calico, Cluster;
    /// A request for a node's status, and the answer.
    CalicoNodeStatus, "caliconodestatuses", Calico, Cluster;
    /// A host.
    Node, "nodes", Calico, Cluster;
    /// An interface of a workload.
    WorkloadEndpoint, "workloadendpoints", Calico, Namespaced;
    /// The move of a virtual machine.
    LiveMigration, "livemigrations", Calico, Namespaced;
    /// Kubernetes' own NetworkPolicy.
    KubernetesNetworkPolicy, "kubernetesnetworkpolicies", Networking, Namespaced;
    /// Kubernetes' ClusterNetworkPolicy.
    KubernetesClusterNetworkPolicy, "kubernetesclusternetworkpolicies", NetworkPolicyApi, Cluster;
    /// Kubernetes' core namespace.
    Namespace, "namespaces", Core, Cluster;
    /// Kubernetes' core service account.
    ServiceAccount, "serviceaccounts", Core, Namespaced;
    /// Kubernetes' core pod.
    Pod, "pods", Core, Namespaced;
    /// Kubernetes' core service.
    Service, "services", Core, Namespaced;
    /// The endpoints behind a service.
    EndpointSlice, "endpointslices", Discovery, Namespaced;
}

impl Kind {
    /// The name under which `explain`, keys and counters know a kind: as [`Kind::name`], with
    /// `Kubernetes` before Kubernetes' own policies, so that no two kinds share one.
    pub const fn qualified_name(self) -> &'static str {
        match self {
            Self::KubernetesNetworkPolicy => "KubernetesNetworkPolicy",
            Self::KubernetesClusterNetworkPolicy => "KubernetesClusterNetworkPolicy",
            other => other.name(),
        }
    }

    /// The kind of an object by its `apiVersion` and `kind`.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == kind && known.api().version() == api_version)
    }

    /// Whether objects of this kind are policies that are enforced.
    pub const fn is_policy(self) -> bool {
        matches!(
            self,
            Self::NetworkPolicy
                | Self::GlobalNetworkPolicy
                | Self::KubernetesNetworkPolicy
                | Self::KubernetesClusterNetworkPolicy
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.qualified_name())
    }
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {found:?}")]
pub struct UnknownKind {
    /// What was found.
    pub found: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Reads a [`Kind::qualified_name`].
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.qualified_name() == text)
            .ok_or_else(|| UnknownKind { found: text.to_owned() })
    }
}

/// The identity of an object: its kind, its namespace where the kind has one, and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for a kind of cluster scope.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ResourceKey {
    /// The key of an object in a namespace.
    pub fn namespaced(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object without a namespace.
    pub fn cluster(kind: Kind, name: &str) -> Self {
        Self { kind, namespace: "".into(), name: name.into() }
    }

    /// `namespace/name`, or `name` without a namespace.
    pub fn full_name(&self) -> String {
        if self.namespace.is_empty() {
            self.name.to_string()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}({})", self.kind, self.full_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_qualified_name_or_a_plural() {
        for kind in Kind::ALL {
            assert_eq!(kind.qualified_name().parse(), Ok(*kind));
            assert_eq!(Kind::of(kind.api().version(), kind.name()), Some(*kind));
            assert_eq!(Kind::ALL.iter().filter(|other| other.plural() == kind.plural()).count(), 1);
        }
    }
}
