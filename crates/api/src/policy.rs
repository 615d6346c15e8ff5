//! Policies, tiers and profiles: `projectcalico.org/v3`.
//!
//! Numbers are as wide as the input may hold, so that a value out of range is found by
//! validation and not lost here. The next hop is `calc` on one side and `analysis` on the other.

use crate::go_struct;
use crate::meta::{Object, StringMap, specs};
use crate::value::{Port, Protocol};

/// A policy of one namespace.
pub type NetworkPolicy = Object<NetworkPolicySpec>;
/// A policy of all namespaces.
pub type GlobalNetworkPolicy = Object<GlobalNetworkPolicySpec>;
/// A group of policies.
pub type Tier = Object<TierSpec>;
/// Labels and rules that endpoints inherit.
pub type Profile = Object<ProfileSpec>;

specs! {
    NetworkPolicySpec => NetworkPolicy;
    GlobalNetworkPolicySpec => GlobalNetworkPolicy;
    TierSpec => Tier, TierStatus;
    ProfileSpec => Profile;
}

go_struct! {
    /// What to do with which packets.
    Rule {
        /// `Allow`, `Deny`, `Log` or `Pass`; other texts are validation's to find. See [`Action`].
        action: String = "action" always,
        /// 4 or 6; none for both.
        ip_version: Option<i64> = "ipVersion",
        /// The only protocol that matches.
        protocol: Option<Protocol> = "protocol",
        /// The ICMP type and code that match.
        icmp: Option<IcmpFields> = "icmp" ,
        /// The protocol that doesn't match.
        not_protocol: Option<Protocol> = "notProtocol",
        /// The ICMP type and code that don't match.
        not_icmp: Option<IcmpFields> = "notICMP",
        /// What the packet's source must be.
        source: EntityRule = "source",
        /// What the packet's destination must be.
        destination: EntityRule = "destination",
        /// What an HTTP request must be; judged by a proxy, never by the kernel.
        http: Option<HttpMatch> = "http",
        /// Free text.
        metadata: Option<RuleMetadata> = "metadata",
    }

    /// A type, and perhaps a code, of ICMP or ICMPv6.
    IcmpFields as "ICMPFields" {
        /// 0 to 254.
        icmp_type: Option<i64> = "type",
        /// 0 to 255; needs a type.
        code: Option<i64> = "code",
    }

    /// What one side of a packet must be. All that is given must hold.
    EntityRule {
        /// Any of these contains the address.
        nets: Vec<String> = "nets",
        /// The address belongs to an endpoint or network set that this selects.
        selector: String = "selector",
        /// ... and whose namespace this selects.
        namespace_selector: String = "namespaceSelector",
        /// The address is an endpoint of this service.
        services: Option<ServiceMatch> = "services",
        /// Any of these is the port.
        ports: Vec<Port> = "ports",
        /// None of these contains the address.
        not_nets: Vec<String> = "notNets",
        /// The address doesn't belong to an endpoint or network set that this selects.
        not_selector: String = "notSelector",
        /// None of these is the port.
        not_ports: Vec<Port> = "notPorts",
        /// The address belongs to an endpoint of one of these service accounts.
        service_accounts: Option<ServiceAccountMatch> = "serviceAccounts",
    }

    /// A service by name.
    ServiceMatch {
        /// The service's name.
        name: String = "name",
        /// Its namespace; empty for the policy's own.
        namespace: String = "namespace",
    }

    /// Service accounts by name, by labels or by both.
    ServiceAccountMatch {
        /// Any of these names.
        names: Vec<String> = "names",
        /// A selector over the service account's labels.
        selector: String = "selector",
    }

    /// HTTP requests.
    HttpMatch as "HTTPMatch" {
        /// Any of these methods.
        methods: Vec<String> = "methods",
        /// Any of these paths.
        paths: Vec<HttpPath> = "paths",
    }

    /// A path, exactly or by its beginning.
    HttpPath as "HTTPPath" {
        /// The whole path.
        exact: String = "exact",
        /// The path's beginning.
        prefix: String = "prefix",
    }

    /// Free text on a rule.
    RuleMetadata {
        /// Shown beside the rule.
        annotations: StringMap = "annotations",
    }

    /// The rules of one namespace.
    NetworkPolicySpec {
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
    GlobalNetworkPolicySpec {
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

    /// An ordered group of policies.
    TierSpec {
        /// Lower goes first; none goes last.
        order: Option<f64> = "order",
        /// `Deny` or `Pass` at the tier's end, for endpoints that one of its policies applies to; none is `Deny`.
        default_action: Option<String> = "defaultAction",
    }

    /// What a controller says of a tier.
    TierStatus {
        /// Kubernetes conditions.
        conditions: Vec<serde_json::Value> = "conditions",
    }

    /// Labels and rules that endpoints inherit.
    ProfileSpec {
        /// Rules for packets to the endpoint.
        ingress: Vec<Rule> = "ingress",
        /// Rules for packets from the endpoint.
        egress: Vec<Rule> = "egress",
        /// Labels that the endpoints get.
        labels_to_apply: StringMap = "labelsToApply",
    }
}

/// What a rule does with a packet that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Let it pass; no more rules are asked.
    Allow,
    /// Drop it.
    Deny,
    /// Write it to the log and go on with the next rule.
    Log,
    /// Go on with the next tier, or with the profiles after the last.
    Pass,
}

impl Action {
    /// Reads the API's spelling. Calico compares without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Allow, Self::Deny, Self::Log, Self::Pass]
            .into_iter()
            .find(|action| action.name().eq_ignore_ascii_case(text))
    }

    /// The API's spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
            Self::Log => "Log",
            Self::Pass => "Pass",
        }
    }
}

/// The way of a packet as seen from an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// To the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl Direction {
    /// As in `spec.types`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }
}
