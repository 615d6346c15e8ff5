//! The conditions on the fields of FelixConfiguration.

use super::check::{self, Check};
use super::table::Table;
use Check::{Bounds, Each, Items, Length, OneOf, Pattern, Range, Tag};

/// Go's duration in whole units of at most hours: the schema knows no fraction here.
const DURATION: &[Check] = &[Pattern(r"^([0-9]+(ms|s|m|h))*$")];
const SWITCH: &[Check] = &[OneOf(&["Enabled", "Disabled"])];
const LEVEL: &[Check] = &[Pattern(r"^(?i)(Trace|Debug|Info|Warning|Error|Fatal)?$")];
const ALLOW: &[Check] = &[Pattern(r"^(?i)(Accept|Return)?$")];
const DENY: &[Check] = &[Pattern(r"^(?i)(Drop|Reject)?$")];
const PORT: &[Check] = &[Bounds(0, 65535)];
const METRIC: &[Check] = &[Range(1, 2_147_483_646)];
const MASK: &[Check] = &[Range(0, 4_294_967_295)];
const ADDRESS: &[Check] = &[Length(45)];
const CIDRS: &[Check] = &[Each(&[Tag("cidr", check::is_net, "an address or a CIDR")])];
const REGEX: &[Check] = &[Tag("regexp", check::is_regex, "a regular expression")];
const HOST: &[Check] = &[Tag("host", check::is_host, "a host's name or address")];
const INTERFACE: &[Check] =
    &[Tag("interface", check::is_interface, "an interface's name of at most 15 characters")];
const FILTER: &[Check] =
    &[Tag("ifaceFilter", check::is_interface_filter, "an interface's name, perhaps with + at its end")];
const TIMEOUT: &[Check] = &[Pattern(r"^(([0-9]*(\.[0-9]*)?(ms|s|h|m|us)+)+|Auto)$")];

/// The conditions.
pub const TABLE: Table = &[
    (
        "FelixConfigurationSpec",
        &[
            ("nodeSelector", &[Length(1024), Tag("selector", check::is_selector, "a selector")]),
            ("awsSrcDstCheck", &[OneOf(&["DoNothing", "Enable", "Disable"])]),
            ("bpfAttachType", &[OneOf(&["TC", "TCX", "Netkit"])]),
            ("bpfConnectTimeLoadBalancing", &[OneOf(&["TCP", "Enabled", "Disabled"])]),
            ("bpfConntrackLogLevel", &[OneOf(&["Off", "Debug"])]),
            ("bpfConntrackMode", &[OneOf(&["Auto", "Userspace", "BPFProgram"])]),
            ("bpfDSROptoutCIDRs", CIDRS),
            ("bpfDataIfacePattern", REGEX),
            ("bpfDisableGROForIfaces", REGEX),
            ("bpfEnforceRPF", &[Pattern(r"^(?i)(Disabled|Strict|Loose)?$")]),
            ("bpfExcludeCIDRsFromNAT", CIDRS),
            ("bpfExternalServiceMode", &[Pattern(r"^(?i)(Tunnel|DSR)?$")]),
            ("bpfForceTrackPacketsFromIfaces", &[Each(FILTER)]),
            ("bpfHostNetworkedNATWithoutCTLB", SWITCH),
            ("bpfIPFragTimeout", DURATION),
            ("bpfJITHardening", &[OneOf(&["Auto", "Strict"])]),
            ("bpfKubeProxyHealthzPort", PORT),
            ("bpfKubeProxyMinSyncPeriod", DURATION),
            ("bpfL3IfacePattern", REGEX),
            ("bpfLogLevel", &[Pattern(r"^(?i)(Off|Info|Debug)?$")]),
            ("bpfMaglevMaxEndpointsPerService", &[Range(1, 3000)]),
            ("bpfMaglevMaxServices", &[Range(1, 3000)]),
            ("bpfMapSizeConntrackCleanupQueue", &[Range(1, i64::MAX)]),
            ("bpfMapSizeConntrackScaling", &[Pattern(r"^(?i)(Disabled|DoubleIfFull)?$")]),
            ("bpfOverlayHostSourceIP", &[OneOf(&["TunnelAddress", "HostAddress"])]),
            ("bpfProfiling", SWITCH),
            ("bpfRedirectToPeer", &[OneOf(&["Enabled", "Disabled", "L2Only"])]),
            ("chainInsertMode", &[Pattern(r"^(?i)(Insert|Append)?$")]),
            ("debugHost", HOST),
            ("debugPort", PORT),
            ("debugSimulateCalcGraphHangAfter", DURATION),
            ("debugSimulateDataplaneApplyDelay", DURATION),
            ("debugSimulateDataplaneHangAfter", DURATION),
            ("defaultEndpointToHostAction", &[Pattern(r"^(?i)(Drop|Accept|Return)?$")]),
            ("deviceRouteSourceAddress", ADDRESS),
            ("deviceRouteSourceAddressIPv6", ADDRESS),
            ("endpointReportingDelay", DURATION),
            ("externalNodesList", CIDRS),
            (
                "featureDetectOverride",
                &[Pattern(r"^([a-zA-Z0-9-_]+=(true|false|),)*([a-zA-Z0-9-_]+=(true|false|))?$")],
            ),
            ("featureGates", &[Pattern(r"^([a-zA-Z0-9-_]+=([^=]+),)*([a-zA-Z0-9-_]+=([^=]+))?$")]),
            ("floatingIPs", SWITCH),
            ("flowLogsFlushInterval", DURATION),
            ("flowLogsLocalReporter", SWITCH),
            ("flowLogsPolicyEvaluationMode", &[OneOf(&["None", "Continuous"])]),
            ("goGCThreshold", &[Range(-1, i64::MAX)]),
            ("goMaxProcs", &[Range(-1, i64::MAX)]),
            ("goMemoryLimitMB", &[Range(-1, i64::MAX)]),
            ("healthHost", HOST),
            ("healthPort", PORT),
            (
                "interfaceExclude",
                &[Tag(
                    "interfaceSlice",
                    check::is_interface_list,
                    "interfaces' names or /regular expressions/, separated by commas",
                )],
            ),
            ("interfaceRefreshInterval", DURATION),
            ("ipForwarding", SWITCH),
            ("ipsetsRefreshInterval", DURATION),
            ("iptablesBackend", &[OneOf(&["Legacy", "NFT", "Auto"])]),
            ("iptablesFilterAllowAction", ALLOW),
            ("iptablesFilterDenyAction", DENY),
            ("iptablesLockProbeInterval", DURATION),
            ("iptablesMangleAllowAction", ALLOW),
            ("iptablesMarkMask", MASK),
            ("iptablesNATOutgoingInterfaceFilter", FILTER),
            ("iptablesPostWriteCheckInterval", DURATION),
            ("iptablesRefreshInterval", DURATION),
            ("ipv4ElevatedRoutePriority", METRIC),
            ("ipv4NormalRoutePriority", METRIC),
            ("ipv6ElevatedRoutePriority", METRIC),
            ("ipv6NormalRoutePriority", METRIC),
            ("istioAmbientMode", SWITCH),
            ("kubeNodePortRanges", &[Items(7)]),
            ("liveMigrationRouteConvergenceTime", &[Pattern(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))*$")]),
            ("localSubnetL2Reachability", &[OneOf(&["Disabled", "PodsAndLoadBalancers"])]),
            ("logActionRateLimit", &[Pattern(r"^[1-9]\d{0,3}/(?:second|minute|hour|day)$")]),
            ("logActionRateLimitBurst", &[Range(0, 9999)]),
            ("logDebugFilenameRegex", REGEX),
            ("logPrefix", &[Pattern("^([a-zA-Z0-9%: /_-])*$")]),
            ("logSeverityFile", LEVEL),
            ("logSeverityScreen", LEVEL),
            ("logSeveritySys", LEVEL),
            ("metadataPort", PORT),
            ("mtuIfacePattern", REGEX),
            ("natOutgoingAddress", ADDRESS),
            ("natOutgoingExclusions", &[OneOf(&["IPPoolsOnly", "IPPoolsAndHostIPs"])]),
            ("netlinkTimeout", DURATION),
            ("nftablesFilterAllowAction", ALLOW),
            ("nftablesFilterDenyAction", DENY),
            ("nftablesFlowTableDataIfacePattern", REGEX),
            ("nftablesFlowTableOffload", &[OneOf(&["Disabled", "All"])]),
            ("nftablesMangleAllowAction", ALLOW),
            ("nftablesMarkMask", MASK),
            ("nftablesMode", &[OneOf(&["Disabled", "Enabled", "Auto"])]),
            (
                "programClusterRoutes",
                &[OneOf(&["Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly", "Enabled"])],
            ),
            ("prometheusMetricsHost", &[Tag("prometheusHost", check::is_host, "a host's name or address")]),
            ("prometheusMetricsPort", PORT),
            ("reportingInterval", DURATION),
            ("reportingTTL", DURATION),
            ("routeRefreshInterval", DURATION),
            ("routeSource", &[Pattern(r"^(?i)(WorkloadIPs|CalicoIPAM)?$")]),
            ("serviceLoopPrevention", &[Pattern(r"^(?i)(Drop|Reject|Disabled)?$")]),
            ("usageReportingInitialDelay", DURATION),
            ("usageReportingInterval", DURATION),
            ("windowsManageFirewallRules", SWITCH),
            ("wireguardInterfaceName", INTERFACE),
            ("wireguardInterfaceNameV6", INTERFACE),
            ("wireguardKeepAlive", DURATION),
            ("wireguardListeningPort", PORT),
            ("wireguardListeningPortV6", PORT),
            ("workloadSourceSpoofing", &[Pattern(r"^(?i)(Disabled|Any)?$")]),
            ("xdpRefreshInterval", DURATION),
        ],
    ),
    ("ProtoPort", &[("net", &[Tag("cidr", check::is_net, "an address or a CIDR")])]),
    (
        "BPFConntrackTimeouts",
        &[
            ("creationGracePeriod", TIMEOUT),
            ("tcpSynSent", TIMEOUT),
            ("tcpEstablished", TIMEOUT),
            ("tcpFinsSeen", TIMEOUT),
            ("tcpResetSeen", TIMEOUT),
            ("udpTimeout", TIMEOUT),
            ("genericTimeout", TIMEOUT),
            ("icmpTimeout", TIMEOUT),
        ],
    ),
];
