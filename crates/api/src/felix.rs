//! Settings of the node agent under Calico's names: FelixConfiguration.
//!
//! Nothing here has a default: what isn't said must stay unsaid, because `default`, selected and
//! per-node configurations are laid over each other before defaults apply. The comment on each
//! field names the environment variable that overrides it. The next hop is the agent's settings.

use crate::duration::Duration;
use crate::go_struct;
use crate::meta::{Object, StringMap, specs};
use crate::value::{Dscp, Port};

/// Settings of the node agent.
pub type FelixConfiguration = Object<FelixConfigurationSpec>;

specs! {
    FelixConfigurationSpec => FelixConfiguration;
}

go_struct! {
    /// A port that stays open whatever policy says.
    ProtoPort {
        /// The addresses for which it does; empty for all.
        net: String = "net",
        /// `TCP`, `UDP` or `SCTP`; empty for TCP.
        protocol: String = "protocol",
        /// Its number.
        port: u16 = "port" always,
    }

    /// Indices of routing tables, both included, within 1 to 250.
    RouteTableRange {
        /// The first.
        min: i64 = "min" always,
        /// The last.
        max: i64 = "max" always,
    }

    /// Indices of routing tables, both included.
    RouteTableIdRange as "RouteTableIDRange" {
        /// The first, at least 1.
        min: i64 = "min" always,
        /// The last.
        max: i64 = "max" always,
    }

    /// How long a part of the agent may be silent.
    HealthTimeoutOverride {
        /// The part.
        name: String = "name" always,
        /// How long.
        timeout: Duration = "timeout" always,
    }

    /// How long idle connections are kept in eBPF mode: durations, or `Auto` for the kernel's own.
    BpfConntrackTimeouts as "BPFConntrackTimeouts" {
        /// New connections before they are looked at.
        creation_grace_period: Option<String> = "creationGracePeriod",
        /// TCP without an answer to its SYN.
        tcp_syn_sent: Option<String> = "tcpSynSent",
        /// TCP that is open.
        tcp_established: Option<String> = "tcpEstablished",
        /// TCP closed by both sides.
        tcp_fins_seen: Option<String> = "tcpFinsSeen",
        /// TCP that was reset.
        tcp_reset_seen: Option<String> = "tcpResetSeen",
        /// UDP.
        udp_timeout: Option<String> = "udpTimeout",
        /// Other protocols.
        generic_timeout: Option<String> = "genericTimeout",
        /// ICMP.
        icmp_timeout: Option<String> = "icmpTimeout",
    }

    /// Settings of the node agent.
    FelixConfigurationSpec {
        /// The nodes that they are for; only where the name is neither `default` nor `node.NAME`.
        node_selector: String = "nodeSelector",
        /// `FELIX_FEATUREDETECTOVERRIDE`.
        feature_detect_override: Option<String> = "featureDetectOverride",
        /// `FELIX_FEATUREGATES`.
        feature_gates: Option<String> = "featureGates",
        /// `FELIX_GOGCTHRESHOLD`; default `40`.
        go_gc_threshold: Option<i64> = "goGCThreshold",
        /// `FELIX_GOMAXPROCS`; default `-1`.
        go_max_procs: Option<i64> = "goMaxProcs",
        /// `FELIX_GOMEMORYLIMITMB`; default `-1`.
        go_memory_limit_mb: Option<i64> = "goMemoryLimitMB",
        /// `FELIX_HEALTHENABLED`; default `false`.
        health_enabled: Option<bool> = "healthEnabled",
        /// `FELIX_HEALTHHOST`; default `localhost`.
        health_host: Option<String> = "healthHost",
        /// `FELIX_HEALTHPORT`; default `9099`.
        health_port: Option<i64> = "healthPort",
        /// `FELIX_HEALTHTIMEOUTOVERRIDES`.
        health_timeout_overrides: Vec<HealthTimeoutOverride> = "healthTimeoutOverrides",
        /// `FELIX_LOGACTIONRATELIMIT`.
        log_action_rate_limit: Option<String> = "logActionRateLimit",
        /// `FELIX_LOGACTIONRATELIMITBURST`; default `5`.
        log_action_rate_limit_burst: Option<i64> = "logActionRateLimitBurst",
        /// `FELIX_LOGDEBUGFILENAMEREGEX`.
        log_debug_filename_regex: Option<String> = "logDebugFilenameRegex",
        /// `FELIX_LOGFILEPATH`; default `/var/log/calico/felix.log`.
        log_file_path: Option<String> = "logFilePath",
        /// `FELIX_LOGPREFIX`; default `calico-packet`.
        log_prefix: Option<String> = "logPrefix",
        /// `FELIX_LOGSEVERITYFILE`; default `INFO`. One of `DEBUG`, `ERROR`, `FATAL`, `INFO`, `TRACE`, `WARNING`.
        log_severity_file: Option<String> = "logSeverityFile",
        /// `FELIX_LOGSEVERITYSCREEN`; default `INFO`. One of `DEBUG`, `ERROR`, `FATAL`, `INFO`, `TRACE`, `WARNING`.
        log_severity_screen: Option<String> = "logSeverityScreen",
        /// `FELIX_LOGSEVERITYSYS`; default `INFO`. One of `DEBUG`, `ERROR`, `FATAL`, `INFO`, `TRACE`, `WARNING`.
        log_severity_sys: Option<String> = "logSeveritySys",
        /// `FELIX_PROMETHEUSGOMETRICSENABLED`; default `true`.
        prometheus_go_metrics_enabled: Option<bool> = "prometheusGoMetricsEnabled",
        /// `FELIX_PROMETHEUSMETRICSCAFILE`.
        prometheus_metrics_ca_file: Option<String> = "prometheusMetricsCAFile",
        /// `FELIX_PROMETHEUSMETRICSCERTFILE`.
        prometheus_metrics_cert_file: Option<String> = "prometheusMetricsCertFile",
        /// `FELIX_PROMETHEUSMETRICSCLIENTAUTH`; default `NoClientCert`. One of `NoClientCert`, `RequireAndVerifyClientCert`, `RequireAnyClientCert`, `VerifyClientCertIfGiven`.
        prometheus_metrics_client_auth: Option<String> = "prometheusMetricsClientAuth",
        /// `FELIX_PROMETHEUSMETRICSENABLED`; default `false`.
        prometheus_metrics_enabled: Option<bool> = "prometheusMetricsEnabled",
        /// `FELIX_PROMETHEUSMETRICSHOST`.
        prometheus_metrics_host: Option<String> = "prometheusMetricsHost",
        /// `FELIX_PROMETHEUSMETRICSKEYFILE`.
        prometheus_metrics_key_file: Option<String> = "prometheusMetricsKeyFile",
        /// `FELIX_PROMETHEUSMETRICSPORT`; default `9091`.
        prometheus_metrics_port: Option<i64> = "prometheusMetricsPort",
        /// `FELIX_PROMETHEUSPROCESSMETRICSENABLED`; default `true`.
        prometheus_process_metrics_enabled: Option<bool> = "prometheusProcessMetricsEnabled",
        /// `FELIX_PROMETHEUSWIREGUARDMETRICSENABLED`; default `true`.
        prometheus_wireguard_metrics_enabled: Option<bool> = "prometheusWireGuardMetricsEnabled",
        /// `FELIX_ALLOWIPIPPACKETSFROMWORKLOADS`; default `false`.
        allow_ipip_packets_from_workloads: Option<bool> = "allowIPIPPacketsFromWorkloads",
        /// `FELIX_ALLOWVXLANPACKETSFROMWORKLOADS`; default `false`.
        allow_vxlan_packets_from_workloads: Option<bool> = "allowVXLANPacketsFromWorkloads",
        /// `FELIX_CGROUPV2PATH`.
        cgroup_v2_path: Option<String> = "cgroupV2Path",
        /// `FELIX_CHAININSERTMODE`; default `insert`. One of `append`, `insert`.
        chain_insert_mode: Option<String> = "chainInsertMode",
        /// `FELIX_DATAPLANEDRIVER`; default `calico-iptables-plugin`.
        dataplane_driver: Option<String> = "dataplaneDriver",
        /// `FELIX_DATAPLANEWATCHDOGTIMEOUT`; default `90`.
        dataplane_watchdog_timeout: Option<Duration> = "dataplaneWatchdogTimeout",
        /// `FELIX_DEFAULTENDPOINTTOHOSTACTION`; default `DROP`. One of `ACCEPT`, `DROP`, `RETURN`.
        default_endpoint_to_host_action: Option<String> = "defaultEndpointToHostAction",
        /// `FELIX_DEVICEROUTEPROTOCOL`; default `3`.
        device_route_protocol: Option<i64> = "deviceRouteProtocol",
        /// `FELIX_DEVICEROUTESOURCEADDRESS`.
        device_route_source_address: Option<String> = "deviceRouteSourceAddress",
        /// `FELIX_DEVICEROUTESOURCEADDRESSIPV6`.
        device_route_source_address_ipv6: Option<String> = "deviceRouteSourceAddressIPv6",
        /// `FELIX_DISABLECONNTRACKINVALIDCHECK`; default `false`.
        disable_conntrack_invalid_check: Option<bool> = "disableConntrackInvalidCheck",
        /// `FELIX_ENDPOINTSTATUSPATHPREFIX`; default `/var/run/calico`.
        endpoint_status_path_prefix: Option<String> = "endpointStatusPathPrefix",
        /// `FELIX_EXTERNALNODESCIDRLIST`.
        external_nodes_list: Option<Vec<String>> = "externalNodesList",
        /// `FELIX_FAILSAFEINBOUNDHOSTPORTS`; default `tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667`.
        failsafe_inbound_host_ports: Option<Vec<ProtoPort>> = "failsafeInboundHostPorts",
        /// `FELIX_FAILSAFEOUTBOUNDHOSTPORTS`; default `udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667`.
        failsafe_outbound_host_ports: Option<Vec<ProtoPort>> = "failsafeOutboundHostPorts",
        /// `FELIX_FLOATINGIPS`; default `Disabled`. One of `Disabled`, `Enabled`.
        floating_ips: Option<String> = "floatingIPs",
        /// `FELIX_IPFORWARDING`; default `Enabled`. One of `Disabled`, `Enabled`.
        ip_forwarding: Option<String> = "ipForwarding",
        /// `FELIX_IPV4ELEVATEDROUTEPRIORITY`; default `512`.
        ipv4_elevated_route_priority: Option<i64> = "ipv4ElevatedRoutePriority",
        /// `FELIX_IPV4NORMALROUTEPRIORITY`; default `1024`.
        ipv4_normal_route_priority: Option<i64> = "ipv4NormalRoutePriority",
        /// `FELIX_IPV6ELEVATEDROUTEPRIORITY`; default `512`.
        ipv6_elevated_route_priority: Option<i64> = "ipv6ElevatedRoutePriority",
        /// `FELIX_IPV6NORMALROUTEPRIORITY`; default `1024`.
        ipv6_normal_route_priority: Option<i64> = "ipv6NormalRoutePriority",
        /// `FELIX_INTERFACEEXCLUDE`; default `kube-ipvs0`.
        interface_exclude: Option<String> = "interfaceExclude",
        /// `FELIX_INTERFACEPREFIX`; default `cali`.
        interface_prefix: Option<String> = "interfacePrefix",
        /// `FELIX_INTERFACEREFRESHINTERVAL`; default `90`.
        interface_refresh_interval: Option<Duration> = "interfaceRefreshInterval",
        /// `FELIX_IPV6SUPPORT`; default `true`.
        ipv6_support: Option<bool> = "ipv6Support",
        /// `FELIX_ISTIOAMBIENTMODE`; default `Disabled`. One of `Disabled`, `Enabled`.
        istio_ambient_mode: Option<String> = "istioAmbientMode",
        /// `FELIX_ISTIODSCPMARK`; default `23`.
        istio_dscp_mark: Option<Dscp> = "istioDSCPMark",
        /// `FELIX_LIVEMIGRATIONROUTECONVERGENCETIME`; default `30`.
        live_migration_route_convergence_time: Option<Duration> = "liveMigrationRouteConvergenceTime",
        /// `FELIX_LOCALSUBNETL2REACHABILITY`; default `Disabled`. One of `Disabled`, `PodsAndLoadBalancers`.
        local_subnet_l2_reachability: Option<String> = "localSubnetL2Reachability",
        /// `FELIX_LOCALSUBNETL2REACHABILITYREFRESHINTERVAL`; default `120`.
        local_subnet_l2_reachability_refresh_interval: Option<Duration> = "localSubnetL2ReachabilityRefreshInterval",
        /// `FELIX_MTUIFACEPATTERN`; default `^((en\|wl\|ww\|sl\|ib)[Pcopsvx].*\|(eth\|wlan\|wwan).*)`.
        mtu_iface_pattern: Option<String> = "mtuIfacePattern",
        /// `FELIX_NATOUTGOINGADDRESS`.
        nat_outgoing_address: Option<String> = "natOutgoingAddress",
        /// `FELIX_NATOUTGOINGEXCLUSIONS`; default `IPPoolsOnly`. One of `IPPoolsAndHostIPs`, `IPPoolsOnly`.
        nat_outgoing_exclusions: Option<String> = "natOutgoingExclusions",
        /// `FELIX_NATPORTRANGE`.
        nat_port_range: Option<Port> = "natPortRange",
        /// `FELIX_NFTABLESFLOWTABLEDATAIFACEPATTERN`.
        nftables_flow_table_data_iface_pattern: Option<String> = "nftablesFlowTableDataIfacePattern",
        /// `FELIX_NFTABLESFLOWTABLEOFFLOAD`; default `Disabled`. One of `All`, `Disabled`.
        nftables_flow_table_offload: Option<String> = "nftablesFlowTableOffload",
        /// `FELIX_NFTABLESMODE`; default `Auto`. One of `Auto`, `Disabled`, `Enabled`.
        nftables_mode: Option<String> = "nftablesMode",
        /// `FELIX_NETLINKTIMEOUTSECS`; default `10`.
        netlink_timeout: Option<Duration> = "netlinkTimeout",
        /// `FELIX_POLICYSYNCPATHPREFIX`.
        policy_sync_path_prefix: Option<String> = "policySyncPathPrefix",
        /// `FELIX_PROGRAMCLUSTERROUTES`; default `EnabledIPIPOnly`. One of `Disabled`, `EnabledIPIPOnly`, `EnabledNoEncapOnly`, `Enabled`.
        program_cluster_routes: Option<String> = "programClusterRoutes",
        /// `FELIX_REMOVEEXTERNALROUTES`; default `true`.
        remove_external_routes: Option<bool> = "removeExternalRoutes",
        /// `FELIX_REQUIREMTUFILE`; default `false`.
        require_mtu_file: Option<bool> = "requireMTUFile",
        /// `FELIX_ROUTEREFRESHINTERVAL`; default `90`.
        route_refresh_interval: Option<Duration> = "routeRefreshInterval",
        /// `FELIX_ROUTESOURCE`; default `CalicoIPAM`. One of `CalicoIPAM`, `WorkloadIPs`.
        route_source: Option<String> = "routeSource",
        /// `FELIX_ROUTESYNCDISABLED`; default `false`.
        route_sync_disabled: Option<bool> = "routeSyncDisabled",
        /// `FELIX_ROUTETABLERANGE`.
        route_table_range: Option<RouteTableRange> = "routeTableRange",
        /// `FELIX_ROUTETABLERANGES`.
        route_table_ranges: Option<Vec<RouteTableIdRange>> = "routeTableRanges",
        /// `FELIX_SERVICELOOPPREVENTION`; default `Drop`. One of `Disabled`, `Drop`, `Reject`.
        service_loop_prevention: Option<String> = "serviceLoopPrevention",
        /// `FELIX_SIDECARACCELERATIONENABLED`; default `false`.
        sidecar_acceleration_enabled: Option<bool> = "sidecarAccelerationEnabled",
        /// `FELIX_USEINTERNALDATAPLANEDRIVER`; default `true`.
        use_internal_dataplane_driver: Option<bool> = "useInternalDataplaneDriver",
        /// `FELIX_WORKLOADSOURCESPOOFING`; default `Disabled`. One of `Any`, `Disabled`.
        workload_source_spoofing: Option<String> = "workloadSourceSpoofing",
        /// `FELIX_IPSETSREFRESHINTERVAL`; default `90`.
        ipsets_refresh_interval: Option<Duration> = "ipsetsRefreshInterval",
        /// `FELIX_IPTABLESBACKEND`; default `auto`. One of `auto`, `legacy`, `nft`.
        iptables_backend: Option<String> = "iptablesBackend",
        /// `FELIX_IPTABLESFILTERALLOWACTION`; default `ACCEPT`. One of `ACCEPT`, `RETURN`.
        iptables_filter_allow_action: Option<String> = "iptablesFilterAllowAction",
        /// `FELIX_IPTABLESFILTERDENYACTION`; default `DROP`. One of `DROP`, `REJECT`.
        iptables_filter_deny_action: Option<String> = "iptablesFilterDenyAction",
        /// `FELIX_IPTABLESLOCKPROBEINTERVALMILLIS`; default `50`.
        iptables_lock_probe_interval: Option<Duration> = "iptablesLockProbeInterval",
        /// `FELIX_IPTABLESMANGLEALLOWACTION`; default `ACCEPT`. One of `ACCEPT`, `RETURN`.
        iptables_mangle_allow_action: Option<String> = "iptablesMangleAllowAction",
        /// `FELIX_IPTABLESMARKMASK`; default `0xffff0000`.
        iptables_mark_mask: Option<u32> = "iptablesMarkMask",
        /// `FELIX_IPTABLESNATOUTGOINGINTERFACEFILTER`.
        iptables_nat_outgoing_interface_filter: Option<String> = "iptablesNATOutgoingInterfaceFilter",
        /// `FELIX_IPTABLESPOSTWRITECHECKINTERVALSECS`; default `5`.
        iptables_post_write_check_interval: Option<Duration> = "iptablesPostWriteCheckInterval",
        /// `FELIX_IPTABLESREFRESHINTERVAL`; default `180`.
        iptables_refresh_interval: Option<Duration> = "iptablesRefreshInterval",
        /// `FELIX_KUBENODEPORTRANGES`; default `30000:32767`.
        kube_node_port_ranges: Option<Vec<Port>> = "kubeNodePortRanges",
        /// `FELIX_MAXIPSETSIZE`; default `1048576`.
        max_ipset_size: Option<i64> = "maxIpsetSize",
        /// `FELIX_NFTABLESFILTERALLOWACTION`; default `ACCEPT`. One of `ACCEPT`, `RETURN`.
        nftables_filter_allow_action: Option<String> = "nftablesFilterAllowAction",
        /// `FELIX_NFTABLESFILTERDENYACTION`; default `DROP`. One of `DROP`, `REJECT`.
        nftables_filter_deny_action: Option<String> = "nftablesFilterDenyAction",
        /// `FELIX_NFTABLESMANGLEALLOWACTION`; default `ACCEPT`. One of `ACCEPT`, `RETURN`.
        nftables_mangle_allow_action: Option<String> = "nftablesMangleAllowAction",
        /// `FELIX_NFTABLESMARKMASK`; default `0xffff0000`.
        nftables_mark_mask: Option<u32> = "nftablesMarkMask",
        /// `FELIX_NFTABLESREFRESHINTERVAL`; default `180`.
        nftables_refresh_interval: Option<Duration> = "nftablesRefreshInterval",
        /// `FELIX_BPFATTACHTYPE`; default `Netkit`. One of `Netkit`, `TCX`, `TC`.
        bpf_attach_type: Option<String> = "bpfAttachType",
        /// `FELIX_BPFCTLBLOGFILTER`. One of `all`.
        bpf_ctlb_log_filter: Option<String> = "bpfCTLBLogFilter",
        /// `FELIX_BPFCONNECTTIMELOADBALANCING`; default `TCP`. One of `Disabled`, `Enabled`, `TCP`.
        bpf_connect_time_load_balancing: Option<String> = "bpfConnectTimeLoadBalancing",
        /// `FELIX_BPFCONNECTTIMELOADBALANCINGENABLED`.
        bpf_connect_time_load_balancing_enabled: Option<bool> = "bpfConnectTimeLoadBalancingEnabled",
        /// `FELIX_BPFCONNTRACKCLEANUPMODE`; default `Auto`. One of `Auto`, `BPFProgram`, `Userspace`.
        bpf_conntrack_mode: Option<String> = "bpfConntrackMode",
        /// `FELIX_BPFCONNTRACKLOGLEVEL`; default `off`. One of `debug`, `off`.
        bpf_conntrack_log_level: Option<String> = "bpfConntrackLogLevel",
        /// `FELIX_BPFCONNTRACKTIMEOUTS`; default `CreationGracePeriod=10s,TCPSynSent=20s,TCPEstablished=1h,TCPFinsSeen=Auto,TCPResetSeen=…`.
        bpf_conntrack_timeouts: Option<BpfConntrackTimeouts> = "bpfConntrackTimeouts",
        /// `FELIX_BPFDSROPTOUTCIDRS`.
        bpf_dsr_optout_cidrs: Option<Vec<String>> = "bpfDSROptoutCIDRs",
        /// `FELIX_BPFDATAIFACEPATTERN`; default `^((en\|wl\|ww\|sl\|ib)[Popsx].*\|(eth\|wlan\|wwan\|bond).*)`.
        bpf_data_iface_pattern: Option<String> = "bpfDataIfacePattern",
        /// `FELIX_BPFDISABLEGROFORIFACES`.
        bpf_disable_gro_for_ifaces: Option<String> = "bpfDisableGROForIfaces",
        /// `FELIX_BPFDISABLEUNPRIVILEGED`; default `true`.
        bpf_disable_unprivileged: Option<bool> = "bpfDisableUnprivileged",
        /// `FELIX_BPFENABLED`; default `false`.
        bpf_enabled: Option<bool> = "bpfEnabled",
        /// `FELIX_BPFENFORCERPF`; default `Loose`. One of `Disabled`, `Loose`, `Strict`.
        bpf_enforce_rpf: Option<String> = "bpfEnforceRPF",
        /// `FELIX_BPFEXCLUDECIDRSFROMNAT`.
        bpf_exclude_cidrs_from_nat: Option<Vec<String>> = "bpfExcludeCIDRsFromNAT",
        /// `FELIX_BPFEXPORTBUFFERSIZEMB`; default `1`.
        bpf_export_buffer_size_mb: Option<i64> = "bpfExportBufferSizeMB",
        /// `FELIX_BPFEXTTOSERVICECONNMARK`; default `0`.
        bpf_ext_to_service_connmark: Option<i64> = "bpfExtToServiceConnmark",
        /// `FELIX_BPFEXTERNALSERVICEMODE`; default `tunnel`. One of `dsr`, `tunnel`.
        bpf_external_service_mode: Option<String> = "bpfExternalServiceMode",
        /// `FELIX_BPFFORCETRACKPACKETSFROMIFACES`; default `docker+`.
        bpf_force_track_packets_from_ifaces: Option<Vec<String>> = "bpfForceTrackPacketsFromIfaces",
        /// `FELIX_BPFHOSTCONNTRACKBYPASS`; default `false`.
        bpf_host_conntrack_bypass: Option<bool> = "bpfHostConntrackBypass",
        /// `FELIX_BPFHOSTNETWORKEDNATWITHOUTCTLB`; default `Enabled`. One of `Disabled`, `Enabled`.
        bpf_host_networked_nat_without_ctlb: Option<String> = "bpfHostNetworkedNATWithoutCTLB",
        /// `FELIX_BPFIPFRAGTIMEOUT`; default `0`.
        bpf_ip_frag_timeout: Option<Duration> = "bpfIPFragTimeout",
        /// `FELIX_BPFIPFRAGMENTREASSEMBLYENABLED`; default `true`.
        bpf_ip_fragment_reassembly_enabled: Option<bool> = "bpfIPFragmentReassemblyEnabled",
        /// `FELIX_BPFJITHARDENING`; default `Auto`. One of `Auto`, `Strict`.
        bpf_jit_hardening: Option<String> = "bpfJITHardening",
        /// `FELIX_BPFKUBEPROXYHEALTHZPORT`; default `10256`.
        bpf_kube_proxy_healthz_port: Option<i64> = "bpfKubeProxyHealthzPort",
        /// `FELIX_BPFKUBEPROXYIPTABLESCLEANUPENABLED`; default `true`.
        bpf_kube_proxy_iptables_cleanup_enabled: Option<bool> = "bpfKubeProxyIptablesCleanupEnabled",
        /// `FELIX_BPFKUBEPROXYMINSYNCPERIOD`; default `1`.
        bpf_kube_proxy_min_sync_period: Option<Duration> = "bpfKubeProxyMinSyncPeriod",
        /// `FELIX_BPFL3IFACEPATTERN`.
        bpf_l3_iface_pattern: Option<String> = "bpfL3IfacePattern",
        /// `FELIX_BPFLOGFILTERS`.
        bpf_log_filters: Option<StringMap> = "bpfLogFilters",
        /// `FELIX_BPFLOGLEVEL`; default `off`. One of `debug`, `info`, `off`.
        bpf_log_level: Option<String> = "bpfLogLevel",
        /// `FELIX_BPFMAGLEVMAXENDPOINTSPERSERVICE`; default `100`.
        bpf_maglev_max_endpoints_per_service: Option<i64> = "bpfMaglevMaxEndpointsPerService",
        /// `FELIX_BPFMAGLEVMAXSERVICES`; default `100`.
        bpf_maglev_max_services: Option<i64> = "bpfMaglevMaxServices",
        /// `FELIX_BPFMAPSIZECONNTRACK`; default `512000`.
        bpf_map_size_conntrack: Option<i64> = "bpfMapSizeConntrack",
        /// `FELIX_BPFMAPSIZECONNTRACKCLEANUPQUEUE`; default `100000`.
        bpf_map_size_conntrack_cleanup_queue: Option<i64> = "bpfMapSizeConntrackCleanupQueue",
        /// `FELIX_BPFMAPSIZECONNTRACKSCALING`; default `DoubleIfFull`. One of `Disabled`, `DoubleIfFull`.
        bpf_map_size_conntrack_scaling: Option<String> = "bpfMapSizeConntrackScaling",
        /// `FELIX_BPFMAPSIZEIPSETS`; default `1048576`.
        bpf_map_size_ip_sets: Option<i64> = "bpfMapSizeIPSets",
        /// `FELIX_BPFMAPSIZEIFSTATE`; default `1000`.
        bpf_map_size_if_state: Option<i64> = "bpfMapSizeIfState",
        /// `FELIX_BPFMAPSIZENATAFFINITY`; default `65536`.
        bpf_map_size_nat_affinity: Option<i64> = "bpfMapSizeNATAffinity",
        /// `FELIX_BPFMAPSIZENATBACKEND`; default `262144`.
        bpf_map_size_nat_backend: Option<i64> = "bpfMapSizeNATBackend",
        /// `FELIX_BPFMAPSIZENATFRONTEND`; default `65536`.
        bpf_map_size_nat_frontend: Option<i64> = "bpfMapSizeNATFrontend",
        /// `FELIX_BPFMAPSIZEPERCPUCONNTRACK`; default `0`.
        bpf_map_size_per_cpu_conntrack: Option<i64> = "bpfMapSizePerCpuConntrack",
        /// `FELIX_BPFMAPSIZEROUTE`; default `262144`.
        bpf_map_size_route: Option<i64> = "bpfMapSizeRoute",
        /// `FELIX_BPFOVERLAYHOSTSOURCEIP`; default `TunnelAddress`. One of `HostAddress`, `TunnelAddress`.
        bpf_overlay_host_source_ip: Option<String> = "bpfOverlayHostSourceIP",
        /// `FELIX_BPFPSNATPORTS`; default `20000:29999`.
        bpf_psnat_ports: Option<Port> = "bpfPSNATPorts",
        /// `FELIX_BPFPOLICYDEBUGENABLED`; default `true`.
        bpf_policy_debug_enabled: Option<bool> = "bpfPolicyDebugEnabled",
        /// `FELIX_BPFPROFILING`; default `Disabled`. One of `Disabled`, `Enabled`.
        bpf_profiling: Option<String> = "bpfProfiling",
        /// `FELIX_BPFREDIRECTTOPEER`; default `Enabled`. One of `Disabled`, `Enabled`, `L2Only`.
        bpf_redirect_to_peer: Option<String> = "bpfRedirectToPeer",
        /// `FELIX_WINDOWSMANAGEFIREWALLRULES`; default `Disabled`. One of `Disabled`, `Enabled`.
        windows_manage_firewall_rules: Option<String> = "windowsManageFirewallRules",
        /// `FELIX_ENDPOINTREPORTINGDELAYSECS`; default `1`.
        endpoint_reporting_delay: Option<Duration> = "endpointReportingDelay",
        /// `FELIX_ENDPOINTREPORTINGENABLED`; default `false`.
        endpoint_reporting_enabled: Option<bool> = "endpointReportingEnabled",
        /// `FELIX_METADATAADDR`; default `127.0.0.1`.
        metadata_addr: Option<String> = "metadataAddr",
        /// `FELIX_METADATAPORT`; default `8775`.
        metadata_port: Option<i64> = "metadataPort",
        /// `FELIX_OPENSTACKREGION`.
        openstack_region: Option<String> = "openstackRegion",
        /// `FELIX_REPORTINGINTERVALSECS`; default `30`.
        reporting_interval: Option<Duration> = "reportingInterval",
        /// `FELIX_REPORTINGTTLSECS`; default `90`.
        reporting_ttl: Option<Duration> = "reportingTTL",
        /// `FELIX_GENERICXDPENABLED`; default `false`.
        generic_xdp_enabled: Option<bool> = "genericXDPEnabled",
        /// `FELIX_XDPENABLED`; default `true`.
        xdp_enabled: Option<bool> = "xdpEnabled",
        /// `FELIX_XDPREFRESHINTERVAL`; default `90`.
        xdp_refresh_interval: Option<Duration> = "xdpRefreshInterval",
        /// `FELIX_VXLANENABLED`.
        vxlan_enabled: Option<bool> = "vxlanEnabled",
        /// `FELIX_VXLANMTU`; default `0`.
        vxlan_mtu: Option<i64> = "vxlanMTU",
        /// `FELIX_VXLANMTUV6`; default `0`.
        vxlan_mtu_v6: Option<i64> = "vxlanMTUV6",
        /// `FELIX_VXLANPORT`; default `4789`.
        vxlan_port: Option<i64> = "vxlanPort",
        /// `FELIX_VXLANVNI`; default `4096`.
        vxlan_vni: Option<i64> = "vxlanVNI",
        /// `FELIX_IPINIPENABLED`.
        ipip_enabled: Option<bool> = "ipipEnabled",
        /// `FELIX_IPINIPMTU`; default `0`.
        ipip_mtu: Option<i64> = "ipipMTU",
        /// `FELIX_WIREGUARDENABLED`; default `false`.
        wireguard_enabled: Option<bool> = "wireguardEnabled",
        /// `FELIX_WIREGUARDENABLEDV6`; default `false`.
        wireguard_enabled_v6: Option<bool> = "wireguardEnabledV6",
        /// `FELIX_WIREGUARDHOSTENCRYPTIONENABLED`; default `false`.
        wireguard_host_encryption_enabled: Option<bool> = "wireguardHostEncryptionEnabled",
        /// `FELIX_WIREGUARDINTERFACENAME`; default `wireguard.cali`.
        wireguard_interface_name: Option<String> = "wireguardInterfaceName",
        /// `FELIX_WIREGUARDINTERFACENAMEV6`; default `wg-v6.cali`.
        wireguard_interface_name_v6: Option<String> = "wireguardInterfaceNameV6",
        /// `FELIX_WIREGUARDLISTENINGPORT`; default `51820`.
        wireguard_listening_port: Option<i64> = "wireguardListeningPort",
        /// `FELIX_WIREGUARDLISTENINGPORTV6`; default `51821`.
        wireguard_listening_port_v6: Option<i64> = "wireguardListeningPortV6",
        /// `FELIX_WIREGUARDMTU`; default `0`.
        wireguard_mtu: Option<i64> = "wireguardMTU",
        /// `FELIX_WIREGUARDMTUV6`; default `0`.
        wireguard_mtu_v6: Option<i64> = "wireguardMTUV6",
        /// `FELIX_WIREGUARDPERSISTENTKEEPALIVE`; default `0`.
        wireguard_keep_alive: Option<Duration> = "wireguardKeepAlive",
        /// `FELIX_WIREGUARDROUTINGRULEPRIORITY`; default `99`.
        wireguard_routing_rule_priority: Option<i64> = "wireguardRoutingRulePriority",
        /// `FELIX_WIREGUARDTHREADINGENABLED`; default `false`.
        wireguard_threading_enabled: Option<bool> = "wireguardThreadingEnabled",
        /// `FELIX_FLOWLOGSCOLLECTORDEBUGTRACE`; default `false`.
        flow_logs_collector_debug_trace: Option<bool> = "flowLogsCollectorDebugTrace",
        /// `FELIX_FLOWLOGSFLUSHINTERVAL`; default `300`.
        flow_logs_flush_interval: Option<Duration> = "flowLogsFlushInterval",
        /// `FELIX_FLOWLOGSGOLDMANESERVER`.
        flow_logs_goldmane_server: Option<String> = "flowLogsGoldmaneServer",
        /// `FELIX_FLOWLOGSLOCALREPORTER`; default `Disabled`. One of `Disabled`, `Enabled`.
        flow_logs_local_reporter: Option<String> = "flowLogsLocalReporter",
        /// `FELIX_FLOWLOGSPOLICYEVALUATIONMODE`; default `Continuous`. One of `Continuous`, `None`.
        flow_logs_policy_evaluation_mode: Option<String> = "flowLogsPolicyEvaluationMode",
        /// `FELIX_AWSSRCDSTCHECK`; default `DoNothing`. One of `Disable`, `DoNothing`, `Enable`.
        aws_src_dst_check: Option<String> = "awsSrcDstCheck",
        /// `FELIX_DEBUGDISABLELOGDROPPING`; default `false`.
        debug_disable_log_dropping: Option<bool> = "debugDisableLogDropping",
        /// `FELIX_DEBUGHOST`; default `localhost`.
        debug_host: Option<String> = "debugHost",
        /// `FELIX_DEBUGMEMORYPROFILEPATH`.
        debug_memory_profile_path: Option<String> = "debugMemoryProfilePath",
        /// `FELIX_DEBUGPORT`.
        debug_port: Option<i64> = "debugPort",
        /// `FELIX_DEBUGSIMULATECALCGRAPHHANGAFTER`; default `0`.
        debug_simulate_calc_graph_hang_after: Option<Duration> = "debugSimulateCalcGraphHangAfter",
        /// `FELIX_DEBUGSIMULATEDATAPLANEAPPLYDELAY`; default `0`.
        debug_simulate_dataplane_apply_delay: Option<Duration> = "debugSimulateDataplaneApplyDelay",
        /// `FELIX_DEBUGSIMULATEDATAPLANEHANGAFTER`; default `0`.
        debug_simulate_dataplane_hang_after: Option<Duration> = "debugSimulateDataplaneHangAfter",
        /// `FELIX_USAGEREPORTINGENABLED`; default `true`.
        usage_reporting_enabled: Option<bool> = "usageReportingEnabled",
        /// `FELIX_USAGEREPORTINGINITIALDELAYSECS`; default `300`.
        usage_reporting_initial_delay: Option<Duration> = "usageReportingInitialDelay",
        /// `FELIX_USAGEREPORTINGINTERVALSECS`; default `86400`.
        usage_reporting_interval: Option<Duration> = "usageReportingInterval",
    }
}
