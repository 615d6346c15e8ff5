//! The rules of Calico's API that go across fields, each with its message.
//!
//! In Calico they are CEL expressions in the schema. Each rule here is such an expression for one
//! type of object, by the type's name in Go; `holds` gets the object's JSON after defaults. Two
//! rules of Calico (a pool's CIDR and block size never change) compare with the stored object:
//! [`immutable`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use serde_json::Value;

use super::view::View;

/// A rule about one type of object.
pub struct Rule {
    /// The types, by their names in Go.
    pub of: &'static [&'static str],
    /// Calico's message.
    pub message: &'static str,
    /// Whether an object obeys.
    pub holds: fn(View<'_>) -> bool,
}

const GLOBAL: &str = "global() can only be used in an EntityRule namespaceSelector";
const ICMP_V4: &str = "protocol ICMP requires ipVersion 4";
const ICMP_V6: &str = "protocol ICMPv6 requires ipVersion 6";

const CONFIGURATION: &[&str] = &["BGPConfigurationSpec"];
const FILTER: &[&str] = &["BGPFilterRuleV4", "BGPFilterRuleV6"];
const PEER: &[&str] = &["BGPPeerSpec"];
const FELIX: &[&str] = &["FelixConfigurationSpec"];
const GLOBAL_POLICY: &[&str] = &["GlobalNetworkPolicySpec", "StagedGlobalNetworkPolicySpec"];
const POLICY: &[&str] = &[
    "GlobalNetworkPolicySpec",
    "StagedGlobalNetworkPolicySpec",
    "NetworkPolicySpec",
    "StagedNetworkPolicySpec",
];
const HOST_ENDPOINT: &[&str] = &["HostEndpointSpec"];
const POOL: &[&str] = &["IPPoolSpec"];
const RULE: &[&str] = &["Rule"];
const ENTITY: &[&str] = &["EntityRule"];
const TIER: &[&str] = &["Tier"];

/// The conditions of a type.
pub fn rules_of(go_name: &str) -> &'static [&'static Rule] {
    static INDEX: LazyLock<HashMap<&str, Vec<&Rule>>> = LazyLock::new(|| {
        let mut index: HashMap<&str, Vec<&Rule>> = HashMap::new();
        for rule in RULES {
            rule.of.iter().for_each(|of| index.entry(of).or_default().push(rule));
        }
        index
    });
    INDEX.get(go_name).map_or(&[], Vec::as_slice)
}

/// All rules but those of [`immutable`].
pub const RULES: &[Rule] = &[
    Rule {
        of: CONFIGURATION,
        message: "nodeMeshPassword cannot be set when nodeToNodeMeshEnabled is false",
        holds: |spec| !spec.has("nodeMeshPassword") || mesh(spec),
    },
    Rule {
        of: CONFIGURATION,
        message: "nodeMeshMaxRestartTime cannot be set when nodeToNodeMeshEnabled is false",
        holds: |spec| !spec.has("nodeMeshMaxRestartTime") || mesh(spec),
    },
    Rule {
        of: CONFIGURATION,
        message: "communities are defined but not used in prefixAdvertisements",
        holds: |spec| !spec.full("communities") || spec.full("prefixAdvertisements"),
    },
    Rule {
        of: FILTER,
        message: "cidr and matchOperator must both be set or both be empty",
        holds: |rule| rule.full("cidr") == rule.full("matchOperator"),
    },
    Rule {
        of: FILTER,
        message: "cidr is required when prefixLength is set",
        holds: |rule| !rule.has("prefixLength") || rule.full("cidr"),
    },
    Rule {
        of: FILTER,
        message: "operations may only be used with action Accept",
        holds: |rule| !rule.full("operations") || rule.text("action") == "Accept",
    },
    Rule {
        of: PEER,
        message: "node and nodeSelector cannot both be set",
        holds: |spec| !spec.full("node") || !spec.full("nodeSelector"),
    },
    Rule {
        of: PEER,
        message: "peerIP and peerSelector cannot both be set",
        holds: |spec| !spec.full("peerIP") || !spec.full("peerSelector"),
    },
    Rule {
        of: PEER,
        message: "asNumber must be empty when peerSelector is set",
        holds: |spec| !spec.full("peerSelector") || spec.int("asNumber").unwrap_or(0) == 0,
    },
    Rule {
        of: PEER,
        message: "peerIP must be empty when localWorkloadSelector is set",
        holds: |spec| !spec.full("localWorkloadSelector") || !spec.full("peerIP"),
    },
    Rule {
        of: PEER,
        message: "peerSelector must be empty when localWorkloadSelector is set",
        holds: |spec| !spec.full("localWorkloadSelector") || !spec.full("peerSelector"),
    },
    Rule {
        of: PEER,
        message: "asNumber is required when localWorkloadSelector is set",
        holds: |spec| !spec.full("localWorkloadSelector") || spec.int("asNumber").unwrap_or(0) != 0,
    },
    Rule {
        of: PEER,
        message: "reachableBy must be empty when peerIP is empty",
        holds: |spec| !spec.full("reachableBy") || spec.full("peerIP"),
    },
    Rule {
        of: PEER,
        message: "keepOriginalNextHop and nextHopMode cannot both be set; keepOriginalNextHop is deprecated, use nextHopMode instead",
        holds: |spec| !spec.flag("keepOriginalNextHop") || !spec.has("nextHopMode"),
    },
    Rule {
        of: &["FelixConfiguration"],
        message: "nodeSelector must not be set on the 'default' or per-node ('node.*') FelixConfiguration",
        holds: |object| {
            let name = name(object);
            let everyone = name == "default" || name.starts_with("node.");
            !everyone || !object.object("spec").is_some_and(|spec| spec.has("nodeSelector"))
        },
    },
    Rule {
        of: FELIX,
        message: "routeTableRange and routeTableRanges cannot both be set",
        holds: |spec| !spec.has("routeTableRange") || !spec.has("routeTableRanges"),
    },
    Rule {
        of: FELIX,
        message: "natOutgoingAddress must be a valid IPv4 address",
        holds: |spec| empty_or_address(spec, "natOutgoingAddress", IpAddr::is_ipv4),
    },
    Rule {
        of: FELIX,
        message: "deviceRouteSourceAddress must be a valid IPv4 address",
        holds: |spec| empty_or_address(spec, "deviceRouteSourceAddress", IpAddr::is_ipv4),
    },
    Rule {
        of: FELIX,
        message: "deviceRouteSourceAddressIPv6 must be a valid IPv6 address",
        holds: |spec| empty_or_address(spec, "deviceRouteSourceAddressIPv6", IpAddr::is_ipv6),
    },
    Rule {
        of: &["RouteTableRange"],
        message: "must be a range of route table indices within 1..250",
        holds: |range| {
            let (min, max) = bounds(range);
            min >= 1 && max >= min && max <= 250
        },
    },
    Rule { of: &["RouteTableIDRange"], message: "min must be >= 1", holds: |range| bounds(range).0 >= 1 },
    Rule {
        of: &["RouteTableIDRange"],
        message: "min must not be greater than max",
        holds: |range| bounds(range).0 <= bounds(range).1,
    },
    Rule {
        of: GLOBAL_POLICY,
        message: "preDNAT and doNotTrack cannot both be true",
        holds: |spec| !spec.flag("doNotTrack") || !spec.flag("preDNAT"),
    },
    Rule {
        of: GLOBAL_POLICY,
        message: "preDNAT policy cannot have any egress rules",
        holds: |spec| !spec.flag("preDNAT") || !spec.full("egress"),
    },
    Rule {
        of: GLOBAL_POLICY,
        message: "preDNAT policy cannot have 'Egress' type",
        holds: |spec| !spec.flag("preDNAT") || !spec.contains("types", "Egress"),
    },
    Rule {
        of: GLOBAL_POLICY,
        message: "applyOnForward must be true if either preDNAT or doNotTrack is true",
        holds: |spec| spec.flag("applyOnForward") || !(spec.flag("doNotTrack") || spec.flag("preDNAT")),
    },
    Rule { of: POLICY, message: GLOBAL, holds: |spec| !spec.text("selector").contains("global(") },
    Rule {
        of: POLICY,
        message: GLOBAL,
        holds: |spec| !spec.text("serviceAccountSelector").contains("global("),
    },
    Rule {
        of: GLOBAL_POLICY,
        message: GLOBAL,
        holds: |spec| !spec.text("namespaceSelector").contains("global("),
    },
    Rule {
        of: HOST_ENDPOINT,
        message: "at least one of interfaceName or expectedIPs must be specified",
        holds: |spec| spec.full("interfaceName") || spec.full("expectedIPs"),
    },
    Rule { of: HOST_ENDPOINT, message: "node must be specified", holds: |spec| spec.full("node") },
    Rule {
        of: POOL,
        message: "ipipMode and vxlanMode cannot both be enabled",
        holds: |spec| !encapsulates(spec, "ipipMode") || !encapsulates(spec, "vxlanMode"),
    },
    Rule {
        of: POOL,
        message: "LoadBalancer IP pool cannot have IPIP or VXLAN enabled",
        holds: |spec| !balances(spec) || !(encapsulates(spec, "ipipMode") || encapsulates(spec, "vxlanMode")),
    },
    Rule {
        of: POOL,
        message: "LoadBalancer cannot be combined with Workload or Tunnel allowed uses",
        holds: |spec| {
            !balances(spec)
                || !(spec.contains("allowedUses", "Workload") || spec.contains("allowedUses", "Tunnel"))
        },
    },
    Rule {
        of: POOL,
        message: "IPIP is not supported on IPv6 pools",
        holds: |spec| !matches!(cidr(spec), Some(IpNet::V6(_))) || !encapsulates(spec, "ipipMode"),
    },
    Rule {
        of: POOL,
        message: "LoadBalancer IP pools cannot disable BGP export",
        holds: |spec| !balances(spec) || !spec.flag("disableBGPExport"),
    },
    Rule {
        of: POOL,
        message: "IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()",
        holds: |spec| !balances(spec) || spec.text("nodeSelector") == "all()",
    },
    Rule {
        of: POOL,
        message: "IP Pool with AllowedUse Tunnel cannot have namespaceSelector",
        holds: |spec| !spec.contains("allowedUses", "Tunnel") || !spec.full("namespaceSelector"),
    },
    Rule {
        of: POOL,
        message: "global() selector is not valid for IPPool nodeSelector",
        holds: |spec| !spec.text("nodeSelector").contains("global("),
    },
    Rule {
        of: POOL,
        message: "global() selector is not valid for IPPool namespaceSelector",
        holds: |spec| !spec.text("namespaceSelector").contains("global("),
    },
    Rule {
        of: POOL,
        message: "IPPool CIDR must be strictly masked",
        holds: |spec| cidr(spec).is_none_or(|cidr| cidr == cidr.trunc()),
    },
    Rule {
        of: POOL,
        message: "IPPool CIDR overlaps with IPv4 link local range 169.254.0.0/16",
        holds: |spec| !overlaps(spec, "169.254.0.0/16"),
    },
    Rule {
        of: POOL,
        message: "IPPool CIDR overlaps with IPv6 link local range fe80::/10",
        holds: |spec| !overlaps(spec, "fe80::/10"),
    },
    Rule {
        of: POOL,
        message: "blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools",
        holds: |spec| match (cidr(spec), spec.int("blockSize").unwrap_or(0)) {
            (None, _) | (_, 0) => true,
            (Some(IpNet::V4(_)), size) => (20..=32).contains(&size),
            (Some(IpNet::V6(_)), size) => (116..=128).contains(&size),
        },
    },
    Rule {
        of: POOL,
        message: "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
        holds: |spec| {
            let Some(cidr) = cidr(spec) else { return true };
            let default = if matches!(cidr, IpNet::V4(_)) { 26 } else { 122 };
            let block = spec.int("blockSize").filter(|size| *size != 0).unwrap_or(default);
            spec.flag("disabled") || i64::from(cidr.prefix_len()) <= block
        },
    },
    Rule {
        of: RULE,
        message: "rules with HTTP match must have protocol TCP or unset",
        holds: |rule| !rule.has("http") || !rule.has("protocol") || rule.is_protocol("protocol", "TCP", 6),
    },
    Rule {
        of: RULE,
        message: "HTTP match is only valid on Allow rules",
        holds: |rule| rule.text("action") == "Allow" || !rule.has("http"),
    },
    Rule {
        of: RULE,
        message: "ports and notPorts cannot be specified with services",
        holds: |rule| {
            rule.object("destination").is_none_or(|entity| {
                !entity.has("services") || !(entity.full("ports") || entity.full("notPorts"))
            })
        },
    },
    Rule {
        of: RULE,
        message: "ICMP fields require protocol to be ICMP or ICMPv6",
        holds: |rule| {
            !rule.has("icmp")
                || rule.is_protocol("protocol", "ICMP", 1)
                || rule.is_protocol("protocol", "ICMPv6", 58)
        },
    },
    Rule { of: RULE, message: ICMP_V4, holds: |rule| family(rule, "protocol", "ICMP", 1, 4) },
    Rule { of: RULE, message: ICMP_V6, holds: |rule| family(rule, "protocol", "ICMPv6", 58, 6) },
    Rule { of: RULE, message: ICMP_V4, holds: |rule| family(rule, "notProtocol", "ICMP", 1, 4) },
    Rule { of: RULE, message: ICMP_V6, holds: |rule| family(rule, "notProtocol", "ICMPv6", 58, 6) },
    Rule {
        of: &["ICMPFields"],
        message: "ICMP code specified without an ICMP type",
        holds: |icmp| !icmp.has("code") || icmp.has("type"),
    },
    Rule { of: ENTITY, message: GLOBAL, holds: |entity| !entity.text("selector").contains("global(") },
    Rule {
        of: ENTITY,
        message: "cannot specify NamespaceSelector and Services on the same rule",
        holds: |entity| !entity.has("services") || !entity.full("namespaceSelector"),
    },
    Rule {
        of: ENTITY,
        message: "cannot specify ServiceAccounts and Services on the same rule",
        holds: |entity| !entity.has("services") || !entity.has("serviceAccounts"),
    },
    Rule {
        of: ENTITY,
        message: "services must specify a service name",
        holds: |entity| entity.object("services").is_none_or(|services| services.full("name")),
    },
    Rule {
        of: ENTITY,
        message: "cannot specify Selector/NotSelector and Services on the same rule",
        holds: |entity| !entity.has("services") || !(entity.full("selector") || entity.full("notSelector")),
    },
    Rule {
        of: ENTITY,
        message: "cannot specify Nets/NotNets and Services on the same rule",
        holds: |entity| !entity.has("services") || !(entity.full("nets") || entity.full("notNets")),
    },
    Rule {
        of: TIER,
        message: "The 'kube-admin' tier must have default action 'Pass'",
        holds: |tier| name(tier) != "kube-admin" || action(tier) == "Pass",
    },
    Rule {
        of: TIER,
        message: "The 'kube-baseline' tier must have default action 'Pass'",
        holds: |tier| name(tier) != "kube-baseline" || action(tier) == "Pass",
    },
    Rule {
        of: TIER,
        message: "The 'default' tier must have default action 'Deny'",
        holds: |tier| name(tier) != "default" || action(tier) == "Deny",
    },
    Rule {
        of: TIER,
        message: "default tier order must be 1000000",
        holds: |tier| name(tier) != "default" || order(tier) == Some(1_000_000.0),
    },
    Rule {
        of: TIER,
        message: "kube-admin tier order must be 1000",
        holds: |tier| name(tier) != "kube-admin" || order(tier) == Some(1_000.0),
    },
    Rule {
        of: TIER,
        message: "kube-baseline tier order must be 10000000",
        holds: |tier| name(tier) != "kube-baseline" || order(tier) == Some(10_000_000.0),
    },
];

/// What may never change in an object of a type: the field and Calico's message.
pub const IMMUTABLE: &[(&str, &str, &str)] = &[
    ("IPPool", "cidr", "CIDR cannot be changed; follow IP pool migration guide to avoid corruption."),
    (
        "IPPool",
        "blockSize",
        "Block size cannot be changed; follow IP pool migration guide to avoid corruption.",
    ),
];

/// The messages of all changes that a stored object doesn't allow, with the fields.
pub fn immutable(old: &Value, new: &Value) -> Vec<(String, &'static str)> {
    let kind = new.get("kind").and_then(Value::as_str).unwrap_or_default();
    let field = |object: &Value, field: &str| object.get("spec").and_then(|spec| spec.get(field)).cloned();
    IMMUTABLE
        .iter()
        .filter(|(of, name, _)| *of == kind && field(old, name) != field(new, name))
        .map(|(_, name, message)| (format!("spec.{name}"), *message))
        .collect()
}

fn mesh(spec: View<'_>) -> bool {
    !spec.has("nodeToNodeMeshEnabled") || spec.flag("nodeToNodeMeshEnabled")
}

fn name(object: View<'_>) -> &str {
    object.object("metadata").map_or("", |metadata| metadata.text("name"))
}

fn action(tier: View<'_>) -> &str {
    tier.object("spec").map_or("", |spec| spec.text("defaultAction"))
}

fn order(tier: View<'_>) -> Option<f64> {
    tier.object("spec")?.number("order")
}

fn empty_or_address(spec: View<'_>, field: &str, family: fn(&IpAddr) -> bool) -> bool {
    !spec.full(field) || spec.text(field).parse().is_ok_and(|address| family(&address))
}

fn bounds(range: View<'_>) -> (i64, i64) {
    (range.int("min").unwrap_or(0), range.int("max").unwrap_or(0))
}

fn family(rule: View<'_>, field: &str, name: &str, number: i64, version: i64) -> bool {
    !rule.is_protocol(field, name, number) || rule.int("ipVersion").is_none_or(|written| written == version)
}

fn cidr(spec: View<'_>) -> Option<IpNet> {
    spec.text("cidr").parse().ok()
}

fn encapsulates(spec: View<'_>, field: &str) -> bool {
    spec.full(field) && spec.text(field) != "Never"
}

fn balances(spec: View<'_>) -> bool {
    spec.contains("allowedUses", "LoadBalancer")
}

fn overlaps(spec: View<'_>, range: &str) -> bool {
    let (Some(cidr), Ok(range)) = (cidr(spec), range.parse::<IpNet>()) else { return false };
    cidr.contains(&range.network()) || range.contains(&cidr.addr())
}
