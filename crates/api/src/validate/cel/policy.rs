//! The rules about policies, their rules and tiers, and host endpoints.

use super::super::view::View;
use super::{Rule, name};

const GLOBAL: &str = "global() can only be used in an EntityRule namespaceSelector";
const ICMP_V4: &str = "protocol ICMP requires ipVersion 4";
const ICMP_V6: &str = "protocol ICMPv6 requires ipVersion 6";

const GLOBAL_POLICY: &[&str] = &["GlobalNetworkPolicySpec", "StagedGlobalNetworkPolicySpec"];
const POLICY: &[&str] = &[
    "GlobalNetworkPolicySpec",
    "StagedGlobalNetworkPolicySpec",
    "NetworkPolicySpec",
    "StagedNetworkPolicySpec",
];
const HOST_ENDPOINT: &[&str] = &["HostEndpointSpec"];
const RULE: &[&str] = &["Rule"];
const ENTITY: &[&str] = &["EntityRule"];
const TIER: &[&str] = &["Tier"];

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        of: GLOBAL_POLICY,
        message: "preDNAT and doNotTrack cannot both be true",
        cel: "!flag(doNotTrack) || !flag(preDNAT)",
        holds: |spec| !spec.flag("doNotTrack") || !spec.flag("preDNAT"),
    },
    Rule {
        of: GLOBAL_POLICY,
        message: "preDNAT policy cannot have any egress rules",
        cel: "!flag(preDNAT) || !full(egress)",
        holds: |spec| !spec.flag("preDNAT") || !spec.full("egress"),
    },
    Rule {
        of: GLOBAL_POLICY,
        message: "preDNAT policy cannot have 'Egress' type",
        cel: "!flag(preDNAT) || !lists(types, Egress)",
        holds: |spec| !spec.flag("preDNAT") || !spec.contains("types", "Egress"),
    },
    Rule {
        of: GLOBAL_POLICY,
        message: "applyOnForward must be true if either preDNAT or doNotTrack is true",
        cel: "flag(applyOnForward) || !(flag(doNotTrack) || flag(preDNAT))",
        holds: |spec| spec.flag("applyOnForward") || !(spec.flag("doNotTrack") || spec.flag("preDNAT")),
    },
    Rule {
        of: POLICY,
        message: GLOBAL,
        cel: "!mentions(selector, global)",
        holds: |spec| !spec.text("selector").contains("global("),
    },
    Rule {
        of: POLICY,
        message: GLOBAL,
        cel: "!mentions(serviceAccountSelector, global)",
        holds: |spec| !spec.text("serviceAccountSelector").contains("global("),
    },
    Rule {
        of: GLOBAL_POLICY,
        message: GLOBAL,
        cel: "!mentions(namespaceSelector, global)",
        holds: |spec| !spec.text("namespaceSelector").contains("global("),
    },
    Rule {
        of: HOST_ENDPOINT,
        message: "at least one of interfaceName or expectedIPs must be specified",
        cel: "full(interfaceName) || full(expectedIPs)",
        holds: |spec| spec.full("interfaceName") || spec.full("expectedIPs"),
    },
    Rule {
        of: HOST_ENDPOINT,
        message: "node must be specified",
        cel: "full(node)",
        holds: |spec| spec.full("node"),
    },
    Rule {
        of: RULE,
        message: "rules with HTTP match must have protocol TCP or unset",
        cel: "!has(self.http) || !has(self.protocol) || speaks(protocol, TCP, 6)",
        holds: |rule| !rule.has("http") || !rule.has("protocol") || rule.is_protocol("protocol", "TCP", 6),
    },
    Rule {
        of: RULE,
        message: "HTTP match is only valid on Allow rules",
        cel: "!has(self.http) || self.action == 'Allow'",
        holds: |rule| rule.text("action") == "Allow" || !rule.has("http"),
    },
    Rule {
        of: RULE,
        message: "ports and notPorts cannot be specified with services",
        cel: "!has(self.destination) || !has(self.destination.services) || !(full(destination.ports) || full(destination.notPorts))",
        holds: |rule| {
            rule.object("destination").is_none_or(|entity| {
                !entity.has("services") || !(entity.full("ports") || entity.full("notPorts"))
            })
        },
    },
    Rule {
        of: RULE,
        message: "ICMP fields require protocol to be ICMP or ICMPv6",
        cel: "!has(self.icmp) || speaks(protocol, ICMP, 1) || speaks(protocol, ICMPv6, 58)",
        holds: |rule| {
            !rule.has("icmp")
                || rule.is_protocol("protocol", "ICMP", 1)
                || rule.is_protocol("protocol", "ICMPv6", 58)
        },
    },
    Rule {
        of: RULE,
        message: ICMP_V4,
        cel: "!speaks(protocol, ICMP, 1) || !has(self.ipVersion) || self.ipVersion == 4",
        holds: |rule| family(rule, "protocol", "ICMP", 1, 4),
    },
    Rule {
        of: RULE,
        message: ICMP_V6,
        cel: "!speaks(protocol, ICMPv6, 58) || !has(self.ipVersion) || self.ipVersion == 6",
        holds: |rule| family(rule, "protocol", "ICMPv6", 58, 6),
    },
    Rule {
        of: RULE,
        message: ICMP_V4,
        cel: "!speaks(notProtocol, ICMP, 1) || !has(self.ipVersion) || self.ipVersion == 4",
        holds: |rule| family(rule, "notProtocol", "ICMP", 1, 4),
    },
    Rule {
        of: RULE,
        message: ICMP_V6,
        cel: "!speaks(notProtocol, ICMPv6, 58) || !has(self.ipVersion) || self.ipVersion == 6",
        holds: |rule| family(rule, "notProtocol", "ICMPv6", 58, 6),
    },
    Rule {
        of: &["ICMPFields"],
        message: "ICMP code specified without an ICMP type",
        cel: "!has(self.code) || has(self.type)",
        holds: |icmp| !icmp.has("code") || icmp.has("type"),
    },
    Rule {
        of: ENTITY,
        message: GLOBAL,
        cel: "!mentions(selector, global)",
        holds: |entity| !entity.text("selector").contains("global("),
    },
    Rule {
        of: ENTITY,
        message: "cannot specify NamespaceSelector and Services on the same rule",
        cel: "!has(self.services) || !full(namespaceSelector)",
        holds: |entity| !entity.has("services") || !entity.full("namespaceSelector"),
    },
    Rule {
        of: ENTITY,
        message: "cannot specify ServiceAccounts and Services on the same rule",
        cel: "!has(self.services) || !has(self.serviceAccounts)",
        holds: |entity| !entity.has("services") || !entity.has("serviceAccounts"),
    },
    Rule {
        of: ENTITY,
        message: "services must specify a service name",
        cel: "!has(self.services) || full(services.name)",
        holds: |entity| entity.object("services").is_none_or(|services| services.full("name")),
    },
    Rule {
        of: ENTITY,
        message: "cannot specify Selector/NotSelector and Services on the same rule",
        cel: "!has(self.services) || !(full(selector) || full(notSelector))",
        holds: |entity| !entity.has("services") || !(entity.full("selector") || entity.full("notSelector")),
    },
    Rule {
        of: ENTITY,
        message: "cannot specify Nets/NotNets and Services on the same rule",
        cel: "!has(self.services) || !(full(nets) || full(notNets))",
        holds: |entity| !entity.has("services") || !(entity.full("nets") || entity.full("notNets")),
    },
    Rule {
        of: TIER,
        message: "The 'kube-admin' tier must have default action 'Pass'",
        cel: "self.metadata.name != 'kube-admin' || (has(self.spec) && has(self.spec.defaultAction) && self.spec.defaultAction == 'Pass')",
        holds: |tier| name(tier) != "kube-admin" || action(tier) == "Pass",
    },
    Rule {
        of: TIER,
        message: "The 'kube-baseline' tier must have default action 'Pass'",
        cel: "self.metadata.name != 'kube-baseline' || (has(self.spec) && has(self.spec.defaultAction) && self.spec.defaultAction == 'Pass')",
        holds: |tier| name(tier) != "kube-baseline" || action(tier) == "Pass",
    },
    Rule {
        of: TIER,
        message: "The 'default' tier must have default action 'Deny'",
        cel: "self.metadata.name != 'default' || (has(self.spec) && has(self.spec.defaultAction) && self.spec.defaultAction == 'Deny')",
        holds: |tier| name(tier) != "default" || action(tier) == "Deny",
    },
    Rule {
        of: TIER,
        message: "default tier order must be 1000000",
        cel: "self.metadata.name != 'default' || (has(self.spec) && has(self.spec.order) && self.spec.order == 1000000.0)",
        holds: |tier| name(tier) != "default" || order(tier) == Some(1_000_000.0),
    },
    Rule {
        of: TIER,
        message: "kube-admin tier order must be 1000",
        cel: "self.metadata.name != 'kube-admin' || (has(self.spec) && has(self.spec.order) && self.spec.order == 1000.0)",
        holds: |tier| name(tier) != "kube-admin" || order(tier) == Some(1_000.0),
    },
    Rule {
        of: TIER,
        message: "kube-baseline tier order must be 10000000",
        cel: "self.metadata.name != 'kube-baseline' || (has(self.spec) && has(self.spec.order) && self.spec.order == 10000000.0)",
        holds: |tier| name(tier) != "kube-baseline" || order(tier) == Some(10_000_000.0),
    },
];

fn action(tier: View<'_>) -> &str {
    tier.object("spec").map_or("", |spec| spec.text("defaultAction"))
}

fn order(tier: View<'_>) -> Option<f64> {
    tier.object("spec")?.number("order")
}

fn family(rule: View<'_>, field: &str, name: &str, number: i64, version: i64) -> bool {
    !rule.is_protocol(field, name, number) || rule.int("ipVersion").is_none_or(|written| written == version)
}
