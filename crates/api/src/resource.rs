//! Any object that takes part in policy, address management or the agent's settings, behind one type.

use std::sync::Arc;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;

use crate::core::{EndpointSlice, Namespace, Pod, Service, ServiceAccount};
use crate::endpoint::{HostEndpoint, Node, WorkloadEndpoint};
use crate::felix::FelixConfiguration;
use crate::kind::{Kind, ResourceKey};
use crate::kubernetes::{
    ConversionError, KubernetesClusterNetworkPolicy, KubernetesNetworkPolicy, RuleFault,
};
use crate::policy::{
    GlobalNetworkPolicy, GlobalNetworkPolicySpec, NetworkPolicy, NetworkPolicySpec, Profile, Tier,
};
use crate::pool::{IpPool, IpReservation, IpamConfiguration};
use crate::set::{GlobalNetworkSet, NetworkSet};

macro_rules! resources {
    ($($kind:ident($type:ty),)*) => {
        /// An object that an agent or a plugin has to know of. Cheap to clone.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Resource {
            $(
                #[doc = concat!("A `", stringify!($kind), "`.")]
                $kind(Arc<$type>),
            )*
            /// A Kubernetes NetworkPolicy, converted.
            KubernetesNetworkPolicy(Arc<Converted<NetworkPolicySpec>>),
            /// A ClusterNetworkPolicy, converted.
            KubernetesClusterNetworkPolicy(Arc<Converted<GlobalNetworkPolicySpec>>),
        }

        impl Resource {
            /// The kinds that this type can hold.
            pub const KINDS: &'static [Kind] =
                &[$(Kind::$kind,)* Kind::KubernetesNetworkPolicy, Kind::KubernetesClusterNetworkPolicy];

            /// The object's identity.
            pub fn key(&self) -> ResourceKey {
                match self {
                    $(Self::$kind(object) => object.key(),)*
                    Self::KubernetesNetworkPolicy(policy) => policy.key.clone(),
                    Self::KubernetesClusterNetworkPolicy(policy) => policy.key.clone(),
                }
            }

            /// [`Resource::from_json`] from a value that is parsed already.
            ///
            /// # Errors
            /// [`ResourceError`] if the kind takes no part, the JSON doesn't fit it, or a policy
            /// of Kubernetes can't be converted.
            pub fn from_value(kind: Kind, json: &serde_json::Value) -> Result<Self, ResourceError> {
                let read = |source| ResourceError::Json { kind, source };
                match kind {
                    $(Kind::$kind => <$type>::deserialize(json).map_err(read).map(|object| Self::$kind(Arc::new(object))),)*
                    Kind::KubernetesNetworkPolicy => {
                        let policy = KubernetesNetworkPolicy::deserialize(json).map_err(read)?;
                        Ok(Self::KubernetesNetworkPolicy(Arc::new(policy.convert()?)))
                    }
                    Kind::KubernetesClusterNetworkPolicy => {
                        let policy = KubernetesClusterNetworkPolicy::deserialize(json).map_err(read)?;
                        Ok(Self::KubernetesClusterNetworkPolicy(Arc::new(policy.convert()?)))
                    }
                    _ => Err(ResourceError::Kind { kind }),
                }
            }

            /// Reads an object of a kind from its stored JSON. Fields that aren't known are passed over.
            ///
            /// # Errors
            /// [`ResourceError`] if the kind takes no part, the JSON doesn't fit it, or a policy
            /// of Kubernetes can't be converted.
            pub fn from_json(kind: Kind, json: &[u8]) -> Result<Self, ResourceError> {
                match kind {
                    $(Kind::$kind => read(kind, json).map(|object: $type| Self::$kind(Arc::new(object))),)*
                    Kind::KubernetesNetworkPolicy => {
                        let policy: KubernetesNetworkPolicy = read(kind, json)?;
                        Ok(Self::KubernetesNetworkPolicy(Arc::new(policy.convert()?)))
                    }
                    Kind::KubernetesClusterNetworkPolicy => {
                        let policy: KubernetesClusterNetworkPolicy = read(kind, json)?;
                        Ok(Self::KubernetesClusterNetworkPolicy(Arc::new(policy.convert()?)))
                    }
                    _ => Err(ResourceError::Kind { kind }),
                }
            }
        }

        $(
            impl From<$type> for Resource {
                fn from(object: $type) -> Self {
                    Self::$kind(Arc::new(object))
                }
            }
        )*
    };
}

resources! {
    NetworkPolicy(NetworkPolicy),
    GlobalNetworkPolicy(GlobalNetworkPolicy),
    Tier(Tier),
    NetworkSet(NetworkSet),
    GlobalNetworkSet(GlobalNetworkSet),
    HostEndpoint(HostEndpoint),
    Profile(Profile),
    WorkloadEndpoint(WorkloadEndpoint),
    Node(Node),
    IPPool(IpPool),
    IPReservation(IpReservation),
    IPAMConfiguration(IpamConfiguration),
    FelixConfiguration(FelixConfiguration),
    Namespace(Namespace),
    ServiceAccount(ServiceAccount),
    Pod(Pod),
    Service(Service),
    EndpointSlice(EndpointSlice),
}

/// A policy of Kubernetes in the form of Calico's: the spec that is enforced under the key of the original.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted<S> {
    /// The Kubernetes policy's identity.
    pub key: ResourceKey,
    /// What is enforced.
    pub spec: S,
    /// The rules that could not be converted, in order. Of a NetworkPolicy they allow nothing;
    /// of a ClusterNetworkPolicy an Accept allows nothing, a Deny or Pass denies everything.
    pub faults: Vec<RuleFault>,
}

/// Stored JSON that is no object of its kind.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// The kind takes no part in policy or address management.
    #[error("{kind} takes no part in policy")]
    Kind {
        /// The kind.
        kind: Kind,
    },
    /// The JSON doesn't fit the kind.
    #[error("stored {kind} cannot be read: {source}")]
    Json {
        /// The kind that was expected.
        kind: Kind,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A policy of Kubernetes of which it can't be told what it applies to.
    #[error(transparent)]
    Conversion(#[from] ConversionError),
}

fn read<T: DeserializeOwned>(kind: Kind, json: &[u8]) -> Result<T, ResourceError> {
    serde_json::from_slice(json).map_err(|source| ResourceError::Json { kind, source })
}
