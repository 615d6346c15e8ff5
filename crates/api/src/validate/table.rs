//! The conditions on single fields: Calico's schema (enums, sizes, ranges, patterns) and the
//! tags of its validator, by type and field.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::check::{self, Check};
use super::felix;

/// Conditions on the fields of one type, by the type's name in Go.
pub type Table = &'static [(&'static str, Conditions)];

/// Fields and their conditions.
pub type Conditions = &'static [(&'static str, &'static [Check])];

/// The fields of a type that have conditions, and these.
pub fn checks(go_name: &str) -> Conditions {
    static INDEX: LazyLock<HashMap<&str, Conditions>> =
        LazyLock::new(|| TABLE.iter().chain(felix::TABLE).copied().collect());
    INDEX.get(go_name).copied().unwrap_or(&[])
}

/// Each type and field that has conditions.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let fields = |(of, fields): &(&'static str, &'static [(&'static str, &'static [Check])])| {
        let of = *of;
        fields.iter().map(move |(field, _)| (of, *field))
    };
    TABLE.iter().chain(felix::TABLE).flat_map(fields)
}

use Check::{Bounds, Cidr, Each, Int32, Items, Length, OneOf, OneOfNumbers, Pattern, Range, Required, Tag};

const SELECTOR: &[Check] = &[Length(1024), Tag("selector", check::is_selector, "a selector")];
const NETS: &[Check] = &[Items(256), Each(&[Tag("net", check::is_net, "an address or a CIDR")])];
const NAME: Check = Tag("name", check::is_name, "lower case letters, digits, - and ., at most 253");
const NAMES: &[Check] = &[Each(&[NAME])];
const RULES: &[Check] = &[Items(1024)];
const TYPES: &[Check] = &[Items(2), Each(&[OneOf(&["Ingress", "Egress"])])];
const HINTS: &[Check] = &[Each(&[OneOf(&["AssumeNeededOnEveryNode"])])];
const STAGED: &[Check] = &[OneOf(&["Set", "Delete", "Learn", "Ignore"])];
const SWITCH: &[Check] = &[OneOf(&["Enabled", "Disabled"])];
const ENCAPSULATION: &[Check] = &[OneOf(&["Never", "Always", "CrossSubnet"])];
const REQUIRED_CIDR: &[Check] = &[Required, Tag("net", check::is_net, "a CIDR"), Cidr];
const CIDRS: &[Check] = &[Each(&[Tag("net", check::is_net, "a CIDR"), Cidr])];
const CIDR: &[Check] = &[Tag("net", check::is_net, "a CIDR"), Cidr];
const COMMUNITY: &str = r"^(\d+):(\d+)$|^(\d+):(\d+):(\d+)$";
const PORT_NAME: &[Check] =
    &[Required, Tag("portName", check::is_port_name, "letters, digits, _, . and -, at most 128")];
const SETS: &[Check] = &[Each(&[Tag("cidr", check::is_net, "an address or a CIDR")])];
const ICMP_CODE: &[Check] = &[Bounds(0, 255)];
const LOG_LEVEL: &[Check] = &[Pattern(r"^(?i)(Trace|Debug|Info|Warning|Error|Fatal)?$")];
const PROGRAM_ROUTES: &[Check] = &[OneOf(&["Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly", "Enabled"])];
const IPV4: &[Check] = &[Tag("ipv4", check::is_ipv4, "an IPv4 address")];
const IPV6: &[Check] = &[Tag("ipv6", check::is_ipv6, "an IPv6 address")];
const NET_V4: &[Check] = &[Tag("cidrv4", check::is_net_v4, "an IPv4 address with a prefix length")];
const NET_V6: &[Check] = &[Tag("cidrv6", check::is_net_v6, "an IPv6 address with a prefix length")];
const MAC: &[Check] = &[Tag("mac", check::is_mac, "a MAC address")];
const INTERFACE: &[Check] =
    &[Tag("interface", check::is_interface, "an interface's name of at most 15 characters, or *")];
const METRIC: &[Check] = &[Range(1, 2_147_483_646)];

const TABLE: Table = &[
    (
        "Rule",
        &[("action", &[OneOf(&["Allow", "Deny", "Log", "Pass"])]), ("ipVersion", &[OneOfNumbers(&[4, 6])])],
    ),
    ("ICMPFields", &[("type", &[Bounds(0, 254)]), ("code", ICMP_CODE)]),
    (
        "EntityRule",
        &[
            ("nets", NETS),
            ("notNets", NETS),
            ("selector", SELECTOR),
            ("notSelector", SELECTOR),
            ("namespaceSelector", SELECTOR),
            ("ports", &[Items(50)]),
            ("notPorts", &[Items(50)]),
        ],
    ),
    ("ServiceMatch", &[("name", &[Length(253), NAME]), ("namespace", &[Length(253), NAME])]),
    ("ServiceAccountMatch", &[("selector", SELECTOR)]),
    ("HTTPMatch", &[("methods", &[Items(20)]), ("paths", &[Items(20)])]),
    ("HTTPPath", &[("exact", &[Length(1024)]), ("prefix", &[Length(1024)])]),
    (
        "NetworkPolicySpec",
        &[
            ("tier", &[NAME]),
            ("ingress", RULES),
            ("egress", RULES),
            ("selector", SELECTOR),
            ("serviceAccountSelector", SELECTOR),
            ("types", TYPES),
            ("performanceHints", HINTS),
        ],
    ),
    (
        "StagedNetworkPolicySpec",
        &[
            ("stagedAction", STAGED),
            ("tier", &[NAME]),
            ("ingress", RULES),
            ("egress", RULES),
            ("selector", SELECTOR),
            ("serviceAccountSelector", SELECTOR),
            ("types", TYPES),
            ("performanceHints", HINTS),
        ],
    ),
    (
        "GlobalNetworkPolicySpec",
        &[
            ("tier", &[NAME]),
            ("ingress", RULES),
            ("egress", RULES),
            ("selector", SELECTOR),
            ("serviceAccountSelector", SELECTOR),
            ("namespaceSelector", SELECTOR),
            ("types", TYPES),
            ("performanceHints", HINTS),
        ],
    ),
    (
        "StagedGlobalNetworkPolicySpec",
        &[
            ("stagedAction", STAGED),
            ("tier", &[NAME]),
            ("ingress", RULES),
            ("egress", RULES),
            ("selector", SELECTOR),
            ("serviceAccountSelector", SELECTOR),
            ("namespaceSelector", SELECTOR),
            ("types", TYPES),
            ("performanceHints", HINTS),
        ],
    ),
    ("StagedKubernetesNetworkPolicySpec", &[("stagedAction", STAGED), ("policyTypes", TYPES)]),
    ("TierSpec", &[("defaultAction", &[OneOf(&["Pass", "Deny"])])]),
    ("NetworkSetSpec", &[("nets", SETS)]),
    ("GlobalNetworkSetSpec", &[("nets", SETS)]),
    (
        "HostEndpointSpec",
        &[
            ("node", &[NAME]),
            ("interfaceName", INTERFACE),
            ("expectedIPs", &[Each(&[Tag("ip", check::is_ip, "an address")])]),
            ("profiles", NAMES),
        ],
    ),
    ("EndpointPort", &[("name", PORT_NAME), ("port", &[Range(1, 65535)])]),
    (
        "WorkloadEndpointSpec",
        &[
            ("node", &[NAME]),
            ("interfaceName", INTERFACE),
            ("ipNetworks", &[Each(&[Tag("net", check::is_net, "an address or a CIDR")])]),
            ("ipv4Gateway", IPV4),
            ("ipv6Gateway", IPV6),
            ("mac", MAC),
            ("profiles", NAMES),
            ("allowSpoofedSourcePrefixes", &[Each(&[Tag("cidr", check::is_net, "a CIDR")])]),
        ],
    ),
    (
        "WorkloadEndpointPort",
        &[("name", &[Tag("portName", check::is_port_name, "letters, digits, _, . and -, at most 128")])],
    ),
    (
        "IPNAT",
        &[
            ("internalIP", &[Required, Tag("ip", check::is_ip, "an address")]),
            ("externalIP", &[Required, Tag("ip", check::is_ip, "an address")]),
        ],
    ),
    (
        "IPPoolSpec",
        &[
            ("cidr", REQUIRED_CIDR),
            ("ipipMode", ENCAPSULATION),
            ("vxlanMode", ENCAPSULATION),
            ("blockSize", &[Range(0, 128)]),
            ("nodeSelector", SELECTOR),
            ("namespaceSelector", SELECTOR),
            ("allowedUses", &[Each(&[OneOf(&["Workload", "Tunnel", "LoadBalancer"])])]),
            ("assignmentMode", &[OneOf(&["Automatic", "Manual"])]),
        ],
    ),
    ("IPReservationSpec", &[("reservedCIDRs", CIDRS)]),
    (
        "IPAMConfigurationSpec",
        &[
            ("maxBlocksPerHost", &[Range(0, 1_000_000)]),
            ("kubeVirtVMAddressPersistence", SWITCH),
            ("ipCooldownSeconds", &[Range(0, 1200)]),
        ],
    ),
    (
        "IPAMBlockSpec",
        &[("cidr", REQUIRED_CIDR), ("affinity", &[Pattern(r"^(host|virtual):[a-zA-Z0-9\.\-_]+$")])],
    ),
    (
        "BlockAffinitySpec",
        &[
            ("cidr", REQUIRED_CIDR),
            ("node", &[Required]),
            ("state", &[OneOf(&["", "confirmed", "pending", "pendingDeletion"])]),
        ],
    ),
    (
        "BGPConfigurationSpec",
        &[
            ("logSeverityScreen", LOG_LEVEL),
            ("asNumber", &[Int32]),
            ("serviceLoadBalancerAggregation", SWITCH),
            ("listenPort", &[Range(1, 65535)]),
            ("bindMode", &[OneOf(&["None", "NodeIP"])]),
            (
                "ignoredInterfaces",
                &[Each(&[Tag(
                    "ignoredInterfaces",
                    is_ignored_interface,
                    "an interface's name or a pattern with *",
                )])],
            ),
            ("localWorkloadPeeringIPV4", IPV4),
            ("localWorkloadPeeringIPV6", IPV6),
            ("programClusterRoutes", PROGRAM_ROUTES),
            ("ipv4NormalRoutePriority", METRIC),
            ("ipv6NormalRoutePriority", METRIC),
        ],
    ),
    ("ServiceLoadBalancerIPBlock", &[("cidr", CIDR)]),
    ("ServiceExternalIPBlock", &[("cidr", CIDR)]),
    ("ServiceClusterIPBlock", &[("cidr", CIDR)]),
    ("PrefixAdvertisement", &[("cidr", CIDR)]),
    ("Community", &[("value", &[Pattern(COMMUNITY)])]),
    ("SecretKeySelector", &[("key", &[Required])]),
    (
        "BGPPeerSpec",
        &[
            ("node", &[Length(253), NAME]),
            ("nodeSelector", SELECTOR),
            (
                "peerIP",
                &[
                    Length(64),
                    Tag(
                        "IP:port",
                        check::is_ip_and_port,
                        "an address, perhaps with a port: 10.0.0.1:179, [fd00::1]:179",
                    ),
                ],
            ),
            ("asNumber", &[Int32]),
            ("localASNumber", &[Int32]),
            ("peerSelector", SELECTOR),
            ("localWorkloadSelector", SELECTOR),
            ("nextHopMode", &[OneOf(&["Auto", "Self", "Keep"])]),
            ("sourceAddress", &[OneOf(&["UseNodeIP", "None"])]),
            ("reachableBy", &[Length(64), Tag("reachableBy", check::is_ip, "an address")]),
            ("filters", NAMES),
            ("reversePeering", &[OneOf(&["Auto", "Manual"])]),
            ("numAllowedLocalASNumbers", &[Range(0, i32::MAX as i64)]),
        ],
    ),
    (
        "BGPFilterRuleV4",
        &[
            ("cidr", &[Tag("netv4", check::is_net_v4, "an IPv4 prefix")]),
            ("source", &[OneOf(&["RemotePeers"])]),
            (
                "interface",
                &[Tag("bgpFilterInterface", is_ignored_interface, "an interface's name or a pattern with *")],
            ),
            ("matchOperator", &[OneOf(&["Equal", "NotEqual", "In", "NotIn"])]),
            ("peerType", &[OneOf(&["eBGP", "iBGP"])]),
            ("asPathPrefix", &[Each(&[Int32])]),
            ("action", &[OneOf(&["Accept", "Reject"])]),
        ],
    ),
    (
        "BGPFilterRuleV6",
        &[
            ("cidr", &[Tag("netv6", check::is_net_v6, "an IPv6 prefix")]),
            ("source", &[OneOf(&["RemotePeers"])]),
            (
                "interface",
                &[Tag("bgpFilterInterface", is_ignored_interface, "an interface's name or a pattern with *")],
            ),
            ("matchOperator", &[OneOf(&["Equal", "NotEqual", "In", "NotIn"])]),
            ("peerType", &[OneOf(&["eBGP", "iBGP"])]),
            ("asPathPrefix", &[Each(&[Int32])]),
            ("action", &[OneOf(&["Accept", "Reject"])]),
        ],
    ),
    ("BGPFilterPrefixLengthV4", &[("min", &[Range(0, 32)]), ("max", &[Range(0, 32)])]),
    ("BGPFilterPrefixLengthV6", &[("min", &[Range(0, 128)]), ("max", &[Range(0, 128)])]),
    ("BGPFilterCommunityMatch", &[("values", &[Each(&[Pattern(COMMUNITY)])])]),
    ("BGPFilterAddCommunity", &[("value", &[Pattern(COMMUNITY)])]),
    ("BGPFilterPrependASPath", &[("prefix", &[Required, Each(&[Int32])])]),
    (
        "KubeControllersConfigurationSpec",
        &[
            ("logSeverityScreen", &[OneOf(&["None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic"])]),
            ("healthChecks", SWITCH),
            ("prometheusMetricsPort", &[Range(0, 65535)]),
            ("debugProfilePort", &[Range(0, 65535)]),
        ],
    ),
    ("NodeControllerConfig", &[("syncLabels", SWITCH)]),
    ("AutoHostEndpointConfig", &[("autoCreate", SWITCH), ("createDefaultHostEndpoint", SWITCH)]),
    (
        "Template",
        &[
            ("generateName", &[Length(253)]),
            ("interfaceCIDRs", &[Each(&[Tag("cidrs", check::is_net, "a CIDR")])]),
            ("interfacePattern", &[Tag("regexp", check::is_regex, "a regular expression")]),
            ("nodeSelector", SELECTOR),
        ],
    ),
    ("LoadBalancerControllerConfig", &[("assignIPs", &[OneOf(&["AllServices", "RequestedServicesOnly"])])]),
    ("MigrationControllerConfig", &[("policyNameMigrator", SWITCH)]),
    (
        "CalicoNodeStatusSpec",
        &[
            ("node", &[NAME]),
            ("classes", &[Each(&[OneOf(&["Agent", "BGP", "Routes"])])]),
            ("updatePeriodSeconds", &[Range(0, 86_400)]),
        ],
    ),
    (
        "NodeBGPSpec",
        &[
            ("ipv4Address", NET_V4),
            ("ipv6Address", NET_V6),
            ("ipv4IPIPTunnelAddr", IPV4),
            ("routeReflectorClusterID", IPV4),
        ],
    ),
    (
        "NodeSpec",
        &[
            ("ipv4VXLANTunnelAddr", IPV4),
            ("ipv6VXLANTunnelAddr", IPV6),
            ("vxlanTunnelMACAddr", MAC),
            ("vxlanTunnelMACAddrV6", MAC),
        ],
    ),
    ("NodeWireguardSpec", &[("interfaceIPv4Address", IPV4), ("interfaceIPv6Address", IPV6)]),
    ("NodeAddress", &[("address", &[Required, Tag("net", check::is_net, "an address")])]),
    ("LiveMigrationTarget", &[("selector", SELECTOR)]),
];

/// The name of an interface, or a pattern: `*` stands for anything.
fn is_ignored_interface(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.*-".contains(&byte))
}
