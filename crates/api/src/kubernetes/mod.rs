//! The policies of Kubernetes, and what they are in Calico's form.
//!
//! ```text
//! NetworkPolicy        (networking.k8s.io/v1)              -> NetworkPolicySpec, tier default
//! ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) -> GlobalNetworkPolicySpec, tier
//!                                                             kube-admin or kube-baseline
//! ```
//! The outcome is Calico's, rule by rule, for all that the Kubernetes API lets through. What it
//! would refuse never opens anything: where Calico would drop a condition that it can't read,
//! here the rule or the policy is a fault. The conversion is pure and knows no other object:
//! namespaces and labels stay selectors. Next hop: [`crate::resource::Resource`].

mod cluster_network_policy;
mod label_selector;
mod network_policy;
mod ports;

use std::fmt;

use ipnet::IpNet;

use crate::kind::ResourceKey;
use crate::policy::Direction;
use crate::resource::Converted;

pub use cluster_network_policy::{
    ClusterNetworkPolicyEgressPeer, ClusterNetworkPolicyEgressRule, ClusterNetworkPolicyIngressPeer,
    ClusterNetworkPolicyIngressRule, ClusterNetworkPolicyPort, ClusterNetworkPolicyProtocol,
    ClusterNetworkPolicyProtocolPort, ClusterNetworkPolicyStatus, ClusterNetworkPolicySubject,
    KubernetesClusterNetworkPolicy, KubernetesClusterNetworkPolicySpec, NamespacedPods, PortNumbers,
};
pub use label_selector::{LabelSelector, LabelSelectorRequirement};
pub use network_policy::{
    IpBlock, KubernetesNetworkPolicy, KubernetesNetworkPolicySpec, NetworkPolicyEgressRule,
    NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
};
pub use ports::IntOrString;

impl<S> Converted<S> {
    /// All faults in one text, or `None` if there is none.
    pub fn error(&self) -> Option<String> {
        let name = &self.key.name;
        match self.faults.as_slice() {
            [] => None,
            [fault] => Some(format!("policy: {name}: error with rule {fault}")),
            faults => {
                let lines: String = faults.iter().map(|fault| format!("-  {fault}\n")).collect();
                Some(format!("policy: {name}: error with the following rules:\n{lines}"))
            }
        }
    }
}

/// A rule that could not be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// Which of the two lists it is in.
    pub direction: Direction,
    /// Its index in the Kubernetes policy, from 0.
    pub index: usize,
    /// Why.
    pub reason: FaultReason,
}

impl fmt::Display for RuleFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { direction, index, reason } = self;
        let list = match direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        write!(formatter, "{list}[{index}] (k8s rule couldn't be converted: {reason})")
    }
}

/// Why a rule could not be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultReason {
    /// A port that is none.
    #[error("failed to parse k8s port: invalid port {found}: {reason}")]
    Port {
        /// What was found.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A network that is none.
    #[error("invalid CIDR address: {found}")]
    Cidr {
        /// What was found.
        found: String,
    },
    /// An action that isn't known.
    #[error("unsupported cluster network policy action {found}")]
    Action {
        /// What was found; Accept, Deny or Pass was expected.
        found: String,
    },
    /// A peer of which no known field is set: it was written for a newer API.
    #[error("none of supported fields in '{list}' is set.")]
    Peer {
        /// `From` or `To`.
        list: &'static str,
    },
    /// A label selector that can't be read.
    #[error(transparent)]
    Selector(#[from] LabelSelectorError),
}

/// Why a label selector can't be expressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelSelectorError {
    /// A key that no label has.
    #[error("invalid label name {found:?}: expected 1 to 512 characters of A-Za-z0-9_./-")]
    Key {
        /// What was found.
        found: String,
    },
    /// A value with both kinds of quotes, which no label has either.
    #[error("invalid label value {found:?}: expected a text with one kind of quotes at most")]
    Value {
        /// What was found.
        found: String,
    },
    /// An operator that isn't known.
    #[error("invalid operator {found:?}: expected In, NotIn, Exists or DoesNotExist")]
    Operator {
        /// What was found.
        found: String,
    },
}

/// Why a policy could not be converted at all: it isn't known what it applies to. The API
/// refuses such a policy. One that is stored all the same denies in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// The pods that it applies to can't be told.
    #[error("{key}: the pods that it applies to cannot be told: {source}")]
    Selector {
        /// Which policy.
        key: ResourceKey,
        /// What is wrong.
        source: LabelSelectorError,
    },
    /// A subject without namespaces and without pods.
    #[error("{key}: spec.subject names nothing, expected namespaces or pods")]
    Subject {
        /// Which policy.
        key: ResourceKey,
    },
    /// A tier that isn't known.
    #[error("{key}: spec.tier is {found:?}, expected Admin or Baseline")]
    Tier {
        /// Which policy.
        key: ResourceKey,
        /// What was found.
        found: String,
    },
}

/// A network as Go prints it: without the bits of the host, and IPv4 inside of IPv6 as IPv4.
fn network(text: &str) -> Result<String, FaultReason> {
    let net: IpNet = text.parse().map_err(|_| FaultReason::Cidr { found: text.to_owned() })?;
    match net.trunc() {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => Ok(format!("{v4}/{}", v6.prefix_len() - 96)),
            None => Ok(v6.to_string()),
        },
        net => Ok(net.to_string()),
    }
}
