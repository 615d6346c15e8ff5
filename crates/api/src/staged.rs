//! Staged policies: evaluated for reports, never enforced.

use crate::go_struct;
use crate::kubernetes::{LabelSelector, NetworkPolicyEgressRule, NetworkPolicyIngressRule};
use crate::meta::{Object, specs};
use crate::policy::Rule;

/// A NetworkPolicy that is only evaluated.
pub type StagedNetworkPolicy = Object<StagedNetworkPolicySpec>;
/// A GlobalNetworkPolicy that is only evaluated.
pub type StagedGlobalNetworkPolicy = Object<StagedGlobalNetworkPolicySpec>;
/// A Kubernetes NetworkPolicy that is only evaluated.
pub type StagedKubernetesNetworkPolicy = Object<StagedKubernetesNetworkPolicySpec>;

specs! {
    StagedNetworkPolicySpec => StagedNetworkPolicy;
    StagedGlobalNetworkPolicySpec => StagedGlobalNetworkPolicy;
    StagedKubernetesNetworkPolicySpec => StagedKubernetesNetworkPolicy;
}

go_struct! {
    /// The rules of one namespace.
    StagedNetworkPolicySpec {
        /// `Set`, `Delete`, `Learn` or `Ignore`; empty for `Set`.
        staged_action: String = "stagedAction",
        /// The tier's name; empty for `default`.
        tier: String = "tier",
        /// Lower goes first; none goes last.
        order: Option<f64> = "order",
        /// Rules for packets to the endpoint.
        ingress: Vec<Rule> = "ingress",
        /// Rules for packets from the endpoint.
        egress: Vec<Rule> = "egress",
        /// The endpoints of the namespace that it applies to; empty for all.
        selector: String = "selector",
        /// `Ingress`, `Egress` or both; empty for what the rules suggest.
        types: Vec<String> = "types",
        /// ... whose service account this selects.
        service_account_selector: String = "serviceAccountSelector",
        /// `AssumeNeededOnEveryNode`.
        performance_hints: Vec<String> = "performanceHints",
    }

    /// The rules of all namespaces and of hosts.
    StagedGlobalNetworkPolicySpec {
        /// `Set`, `Delete`, `Learn` or `Ignore`; empty for `Set`.
        staged_action: String = "stagedAction",
        /// The tier's name; empty for `default`.
        tier: String = "tier",
        /// Lower goes first; none goes last.
        order: Option<f64> = "order",
        /// Rules for packets to the endpoint.
        ingress: Vec<Rule> = "ingress",
        /// Rules for packets from the endpoint.
        egress: Vec<Rule> = "egress",
        /// The endpoints that it applies to; empty for all.
        selector: String = "selector",
        /// `Ingress`, `Egress` or both; empty for what the rules suggest.
        types: Vec<String> = "types",
        /// Host endpoints: before connection tracking.
        do_not_track: bool = "doNotTrack",
        /// Host endpoints: before the destination is rewritten.
        pre_dnat: bool = "preDNAT",
        /// Host endpoints: to forwarded packets too.
        apply_on_forward: bool = "applyOnForward",
        /// ... whose service account this selects.
        service_account_selector: String = "serviceAccountSelector",
        /// ... whose namespace this selects.
        namespace_selector: String = "namespaceSelector",
        /// `AssumeNeededOnEveryNode`.
        performance_hints: Vec<String> = "performanceHints",
    }

    /// The rules of one namespace in Kubernetes' form.
    StagedKubernetesNetworkPolicySpec {
        /// `Set`, `Delete`, `Learn` or `Ignore`; empty for `Set`.
        staged_action: String = "stagedAction",
        /// The pods of the namespace that it applies to; empty for all.
        pod_selector: LabelSelector = "podSelector" always,
        /// Kubernetes' rules for packets to the pods.
        ingress: Vec<NetworkPolicyIngressRule> = "ingress",
        /// Kubernetes' rules for packets from the pods.
        egress: Vec<NetworkPolicyEgressRule> = "egress",
        /// `Ingress`, `Egress` or both.
        policy_types: Vec<String> = "policyTypes",
    }
}
