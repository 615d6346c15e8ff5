//! The rules about pools, BGP and the node agent's settings.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::view::View;
use super::{Rule, name};

const CONFIGURATION: &[&str] = &["BGPConfigurationSpec"];
const FILTER: &[&str] = &["BGPFilterRuleV4", "BGPFilterRuleV6"];
const PEER: &[&str] = &["BGPPeerSpec"];
const FELIX: &[&str] = &["FelixConfigurationSpec"];
const POOL: &[&str] = &["IPPoolSpec"];

/// The rules.
pub const RULES: &[Rule] = &[
    Rule {
        of: CONFIGURATION,
        message: "nodeMeshPassword cannot be set when nodeToNodeMeshEnabled is false",
        cel: "!has(self.nodeMeshPassword) || !has(self.nodeToNodeMeshEnabled) || self.nodeToNodeMeshEnabled",
        holds: |spec| !spec.has("nodeMeshPassword") || mesh(spec),
    },
    Rule {
        of: CONFIGURATION,
        message: "nodeMeshMaxRestartTime cannot be set when nodeToNodeMeshEnabled is false",
        cel: "!has(self.nodeMeshMaxRestartTime) || !has(self.nodeToNodeMeshEnabled) || self.nodeToNodeMeshEnabled",
        holds: |spec| !spec.has("nodeMeshMaxRestartTime") || mesh(spec),
    },
    Rule {
        of: CONFIGURATION,
        message: "communities are defined but not used in prefixAdvertisements",
        cel: "!full(communities) || full(prefixAdvertisements)",
        holds: |spec| !spec.full("communities") || spec.full("prefixAdvertisements"),
    },
    Rule {
        of: FILTER,
        message: "cidr and matchOperator must both be set or both be empty",
        cel: "full(cidr) == full(matchOperator)",
        holds: |rule| rule.full("cidr") == rule.full("matchOperator"),
    },
    Rule {
        of: FILTER,
        message: "cidr is required when prefixLength is set",
        cel: "!has(self.prefixLength) || full(cidr)",
        holds: |rule| !rule.has("prefixLength") || rule.full("cidr"),
    },
    Rule {
        of: FILTER,
        message: "operations may only be used with action Accept",
        cel: "!full(operations) || self.action == 'Accept'",
        holds: |rule| !rule.full("operations") || rule.text("action") == "Accept",
    },
    Rule {
        of: PEER,
        message: "node and nodeSelector cannot both be set",
        cel: "!full(node) || !full(nodeSelector)",
        holds: |spec| !spec.full("node") || !spec.full("nodeSelector"),
    },
    Rule {
        of: PEER,
        message: "peerIP and peerSelector cannot both be set",
        cel: "!full(peerIP) || !full(peerSelector)",
        holds: |spec| !spec.full("peerIP") || !spec.full("peerSelector"),
    },
    Rule {
        of: PEER,
        message: "asNumber must be empty when peerSelector is set",
        cel: "!full(peerSelector) || !has(self.asNumber) || self.asNumber == 0",
        holds: |spec| !spec.full("peerSelector") || spec.int("asNumber").unwrap_or(0) == 0,
    },
    Rule {
        of: PEER,
        message: "peerIP must be empty when localWorkloadSelector is set",
        cel: "!full(localWorkloadSelector) || !full(peerIP)",
        holds: |spec| !spec.full("localWorkloadSelector") || !spec.full("peerIP"),
    },
    Rule {
        of: PEER,
        message: "peerSelector must be empty when localWorkloadSelector is set",
        cel: "!full(localWorkloadSelector) || !full(peerSelector)",
        holds: |spec| !spec.full("localWorkloadSelector") || !spec.full("peerSelector"),
    },
    Rule {
        of: PEER,
        message: "asNumber is required when localWorkloadSelector is set",
        cel: "!full(localWorkloadSelector) || (has(self.asNumber) && self.asNumber != 0)",
        holds: |spec| !spec.full("localWorkloadSelector") || spec.int("asNumber").unwrap_or(0) != 0,
    },
    Rule {
        of: PEER,
        message: "reachableBy must be empty when peerIP is empty",
        cel: "!full(reachableBy) || full(peerIP)",
        holds: |spec| !spec.full("reachableBy") || spec.full("peerIP"),
    },
    Rule {
        of: PEER,
        message: "keepOriginalNextHop and nextHopMode cannot both be set; keepOriginalNextHop is deprecated, use nextHopMode instead",
        cel: "!flag(keepOriginalNextHop) || !has(self.nextHopMode)",
        holds: |spec| !spec.flag("keepOriginalNextHop") || !spec.has("nextHopMode"),
    },
    Rule {
        of: &["FelixConfiguration"],
        message: "nodeSelector must not be set on the 'default' or per-node ('node.*') FelixConfiguration",
        cel: "!(self.metadata.name == 'default' || self.metadata.name.startsWith('node.')) || !has(self.spec) || !has(self.spec.nodeSelector)",
        holds: |object| {
            let name = name(object);
            let everyone = name == "default" || name.starts_with("node.");
            !everyone || !object.object("spec").is_some_and(|spec| spec.has("nodeSelector"))
        },
    },
    Rule {
        of: FELIX,
        message: "routeTableRange and routeTableRanges cannot both be set",
        cel: "!has(self.routeTableRange) || !has(self.routeTableRanges)",
        holds: |spec| !spec.has("routeTableRange") || !spec.has("routeTableRanges"),
    },
    Rule {
        of: FELIX,
        message: "natOutgoingAddress must be a valid IPv4 address",
        cel: "!full(natOutgoingAddress) || (isIP(self.natOutgoingAddress) && ip(self.natOutgoingAddress).family() == 4)",
        holds: |spec| empty_or_address(spec, "natOutgoingAddress", IpAddr::is_ipv4),
    },
    Rule {
        of: FELIX,
        message: "deviceRouteSourceAddress must be a valid IPv4 address",
        cel: "!full(deviceRouteSourceAddress) || (isIP(self.deviceRouteSourceAddress) && ip(self.deviceRouteSourceAddress).family() == 4)",
        holds: |spec| empty_or_address(spec, "deviceRouteSourceAddress", IpAddr::is_ipv4),
    },
    Rule {
        of: FELIX,
        message: "deviceRouteSourceAddressIPv6 must be a valid IPv6 address",
        cel: "!full(deviceRouteSourceAddressIPv6) || (isIP(self.deviceRouteSourceAddressIPv6) && ip(self.deviceRouteSourceAddressIPv6).family() == 6)",
        holds: |spec| empty_or_address(spec, "deviceRouteSourceAddressIPv6", IpAddr::is_ipv6),
    },
    Rule {
        of: &["RouteTableRange"],
        message: "must be a range of route table indices within 1..250",
        cel: "1 <= self.min && self.min <= self.max && self.max <= 250",
        holds: |range| {
            let (min, max) = bounds(range);
            min >= 1 && max >= min && max <= 250
        },
    },
    Rule {
        of: &["RouteTableIDRange"],
        message: "min must be >= 1",
        cel: "1 <= self.min",
        holds: |range| bounds(range).0 >= 1,
    },
    Rule {
        of: &["RouteTableIDRange"],
        message: "min must not be greater than max",
        cel: "self.min <= self.max",
        holds: |range| bounds(range).0 <= bounds(range).1,
    },
    Rule {
        of: POOL,
        message: "ipipMode and vxlanMode cannot both be enabled",
        cel: "!encapsulates(ipipMode) || !encapsulates(vxlanMode)",
        holds: |spec| !encapsulates(spec, "ipipMode") || !encapsulates(spec, "vxlanMode"),
    },
    Rule {
        of: POOL,
        message: "LoadBalancer IP pool cannot have IPIP or VXLAN enabled",
        cel: "!lists(allowedUses, LoadBalancer) || !(encapsulates(ipipMode) || encapsulates(vxlanMode))",
        holds: |spec| !balances(spec) || !(encapsulates(spec, "ipipMode") || encapsulates(spec, "vxlanMode")),
    },
    Rule {
        of: POOL,
        message: "LoadBalancer cannot be combined with Workload or Tunnel allowed uses",
        cel: "!lists(allowedUses, LoadBalancer) || !(lists(allowedUses, Workload) || lists(allowedUses, Tunnel))",
        holds: |spec| {
            !balances(spec)
                || !(spec.contains("allowedUses", "Workload") || spec.contains("allowedUses", "Tunnel"))
        },
    },
    Rule {
        of: POOL,
        message: "IPIP is not supported on IPv6 pools",
        cel: "!isCIDR(self.cidr) || cidr(self.cidr).ip().family() == 4 || !encapsulates(ipipMode)",
        holds: |spec| !matches!(cidr(spec), Some(IpNet::V6(_))) || !encapsulates(spec, "ipipMode"),
    },
    Rule {
        of: POOL,
        message: "LoadBalancer IP pools cannot disable BGP export",
        cel: "!lists(allowedUses, LoadBalancer) || !flag(disableBGPExport)",
        holds: |spec| !balances(spec) || !spec.flag("disableBGPExport"),
    },
    Rule {
        of: POOL,
        message: "IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()",
        cel: "!lists(allowedUses, LoadBalancer) || !has(self.nodeSelector) || self.nodeSelector == 'all()'",
        holds: |spec| !balances(spec) || spec.text("nodeSelector") == "all()",
    },
    Rule {
        of: POOL,
        message: "IP Pool with AllowedUse Tunnel cannot have namespaceSelector",
        cel: "!lists(allowedUses, Tunnel) || !full(namespaceSelector)",
        holds: |spec| !spec.contains("allowedUses", "Tunnel") || !spec.full("namespaceSelector"),
    },
    Rule {
        of: POOL,
        message: "global() selector is not valid for IPPool nodeSelector",
        cel: "!mentions(nodeSelector, global)",
        holds: |spec| !spec.text("nodeSelector").contains("global("),
    },
    Rule {
        of: POOL,
        message: "global() selector is not valid for IPPool namespaceSelector",
        cel: "!mentions(namespaceSelector, global)",
        holds: |spec| !spec.text("namespaceSelector").contains("global("),
    },
    Rule {
        of: POOL,
        message: "IPPool CIDR must be strictly masked",
        cel: "!isCIDR(self.cidr) || cidr(self.cidr) == cidr(self.cidr).masked()",
        holds: |spec| cidr(spec).is_none_or(|cidr| cidr == cidr.trunc()),
    },
    Rule {
        of: POOL,
        message: "IPPool CIDR overlaps with IPv4 link local range 169.254.0.0/16",
        cel: "!isCIDR(self.cidr) || !(cidr('169.254.0.0/16').containsIP(cidr(self.cidr).ip()) || cidr(self.cidr).containsIP('169.254.0.0'))",
        holds: |spec| !overlaps(spec, "169.254.0.0/16"),
    },
    Rule {
        of: POOL,
        message: "IPPool CIDR overlaps with IPv6 link local range fe80::/10",
        cel: "!isCIDR(self.cidr) || !(cidr('fe80::/10').containsIP(cidr(self.cidr).ip()) || cidr(self.cidr).containsIP('fe80::'))",
        holds: |spec| !overlaps(spec, "fe80::/10"),
    },
    Rule {
        of: POOL,
        message: "blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools",
        cel: "!isCIDR(self.cidr) || !has(self.blockSize) || self.blockSize == 0 || (cidr(self.cidr).ip().family() == 4 ? 20 <= self.blockSize && self.blockSize <= 32 : 116 <= self.blockSize && self.blockSize <= 128)",
        holds: |spec| match (cidr(spec), spec.int("blockSize").unwrap_or(0)) {
            (None, _) | (_, 0) => true,
            (Some(IpNet::V4(_)), size) => (20..=32).contains(&size),
            (Some(IpNet::V6(_)), size) => (116..=128).contains(&size),
        },
    },
    Rule {
        of: POOL,
        message: "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
        cel: "!isCIDR(self.cidr) || flag(disabled) || cidr(self.cidr).prefixLength() <= (has(self.blockSize) && self.blockSize != 0 ? self.blockSize : cidr(self.cidr).ip().family() == 4 ? 26 : 122)",
        holds: |spec| {
            let Some(cidr) = cidr(spec) else { return true };
            let default = if matches!(cidr, IpNet::V4(_)) { 26 } else { 122 };
            let block = spec.int("blockSize").filter(|size| *size != 0).unwrap_or(default);
            spec.flag("disabled") || i64::from(cidr.prefix_len()) <= block
        },
    },
];

fn mesh(spec: View<'_>) -> bool {
    !spec.has("nodeToNodeMeshEnabled") || spec.flag("nodeToNodeMeshEnabled")
}

fn empty_or_address(spec: View<'_>, field: &str, family: fn(&IpAddr) -> bool) -> bool {
    !spec.full(field) || spec.text(field).parse().is_ok_and(|address| family(&address))
}

fn bounds(range: View<'_>) -> (i64, i64) {
    (range.int("min").unwrap_or(0), range.int("max").unwrap_or(0))
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
