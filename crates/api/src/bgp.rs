//! BGP: what hosts say to each other and to their routers.

use crate::duration::Duration;
use crate::go_struct;
use crate::meta::{Object, specs};
use crate::value::AsNumber;

/// BGP settings of the cluster (`default`) or of one host (`node.NAME`).
pub type BgpConfiguration = Object<BgpConfigurationSpec>;
/// A BGP session, or many.
pub type BgpPeer = Object<BgpPeerSpec>;
/// What a session imports and exports.
pub type BgpFilter = Object<BgpFilterSpec>;

specs! {
    BgpConfigurationSpec => BGPConfiguration;
    BgpPeerSpec => BGPPeer;
    BgpFilterSpec => BGPFilter;
}

go_struct! {
    /// BGP settings.
    BgpConfigurationSpec as "BGPConfigurationSpec" {
        /// `Trace`, `Debug`, `Info`, `Warning`, `Error` or `Fatal`, in any case; `Info` if unset.
        log_severity_screen: String = "logSeverityScreen",
        /// Whether all hosts peer with each other; true if unset.
        node_to_node_mesh_enabled: Option<bool> = "nodeToNodeMeshEnabled",
        /// The AS number of hosts that have none of their own; 64512 if unset.
        as_number: Option<AsNumber> = "asNumber",
        /// Addresses of load balancers that are advertised.
        service_load_balancer_ips: Vec<ServiceLoadBalancerIpBlock> = "serviceLoadBalancerIPs",
        /// External addresses of services that are advertised.
        service_external_ips: Vec<ServiceExternalIpBlock> = "serviceExternalIPs",
        /// Cluster addresses of services that are advertised.
        service_cluster_ips: Vec<ServiceClusterIpBlock> = "serviceClusterIPs",
        /// `Enabled` or `Disabled`: load balancer addresses by block or one by one.
        service_load_balancer_aggregation: Option<String> = "serviceLoadBalancerAggregation",
        /// Names for community values.
        communities: Vec<Community> = "communities",
        /// Prefixes that are advertised with communities.
        prefix_advertisements: Vec<PrefixAdvertisement> = "prefixAdvertisements",
        /// The port that hosts listen on; 0 for 179.
        listen_port: u16 = "listenPort",
        /// The password of the mesh.
        node_mesh_password: Option<BgpPassword> = "nodeMeshPassword",
        /// How long a restarting host of the mesh is waited for.
        node_mesh_max_restart_time: Option<Duration> = "nodeMeshMaxRestartTime",
        /// `None` or `NodeIP`: the addresses that hosts listen on.
        bind_mode: Option<String> = "bindMode",
        /// Interfaces whose routes are not advertised.
        ignored_interfaces: Vec<String> = "ignoredInterfaces",
        /// The address that workloads peer with, IPv4.
        local_workload_peering_ipv4: String = "localWorkloadPeeringIPV4",
        /// The address that workloads peer with, IPv6.
        local_workload_peering_ipv6: String = "localWorkloadPeeringIPV6",
        /// Which routes of the cluster BGP programs; `EnabledNoEncapOnly` if unset.
        program_cluster_routes: Option<String> = "programClusterRoutes",
        /// The metric of IPv4 routes; 1024 if unset.
        ipv4_normal_route_priority: Option<i64> = "ipv4NormalRoutePriority",
        /// The metric of IPv6 routes; 1024 if unset.
        ipv6_normal_route_priority: Option<i64> = "ipv6NormalRoutePriority",
    }

    /// Addresses of load balancers.
    ServiceLoadBalancerIpBlock as "ServiceLoadBalancerIPBlock" {
        /// The addresses.
        cidr: String = "cidr",
    }

    /// External addresses of services.
    ServiceExternalIpBlock as "ServiceExternalIPBlock" {
        /// The addresses.
        cidr: String = "cidr",
    }

    /// Cluster addresses of services.
    ServiceClusterIpBlock as "ServiceClusterIPBlock" {
        /// The addresses.
        cidr: String = "cidr",
    }

    /// A name for a community.
    Community {
        /// The name.
        name: String = "name",
        /// `aa:nn` or `aa:nn:mm`.
        value: String = "value",
    }

    /// A prefix and its communities.
    PrefixAdvertisement {
        /// The prefix.
        cidr: String = "cidr",
        /// Names or values.
        communities: Vec<String> = "communities",
    }

    /// Where a password is kept.
    BgpPassword as "BGPPassword" {
        /// The key of a Kubernetes secret.
        secret_key_ref: Option<SecretKeySelector> = "secretKeyRef",
    }

    /// A key of a Kubernetes secret.
    SecretKeySelector {
        /// The secret's name.
        name: String = "name",
        /// The key.
        key: String = "key" always,
        /// Whether it may be missing.
        optional: Option<bool> = "optional",
    }

    /// A BGP session, or many.
    BgpPeerSpec as "BGPPeerSpec" {
        /// The one host that it is for.
        node: String = "node",
        /// The hosts that it is for; with neither this nor `node`: all.
        node_selector: String = "nodeSelector",
        /// The peer's address, with or without a port.
        peer_ip: String = "peerIP",
        /// The peer's AS number.
        as_number: AsNumber = "asNumber",
        /// The AS number that the host says to be of.
        local_as_number: Option<AsNumber> = "localASNumber",
        /// The hosts that are peers.
        peer_selector: String = "peerSelector",
        /// Deprecated: `nextHopMode: Keep`.
        keep_original_next_hop: bool = "keepOriginalNextHop",
        /// `Auto`, `Self` or `Keep`.
        next_hop_mode: Option<String> = "nextHopMode",
        /// The session's password.
        password: Option<BgpPassword> = "password",
        /// `UseNodeIP` or `None`.
        source_address: String = "sourceAddress",
        /// How long a restarting peer is waited for.
        max_restart_time: Option<Duration> = "maxRestartTime",
        /// The time between two keepalives.
        keepalive_time: Option<Duration> = "keepaliveTime",
        /// How often the own AS may stand in a path.
        num_allowed_local_as_numbers: Option<i32> = "numAllowedLocalASNumbers",
        /// The number of hops to the peer, for generalised TTL security.
        ttl_security: Option<u8> = "ttlSecurity",
        /// The gateway to the peer.
        reachable_by: String = "reachableBy",
        /// Filters by name, in the order in which they are asked.
        filters: Vec<String> = "filters",
        /// The workloads of the host that are peers.
        local_workload_selector: String = "localWorkloadSelector",
        /// `Auto` or `Manual`: whether selected peers get the session back.
        reverse_peering: Option<String> = "reversePeering",
    }

    /// What a session imports and exports.
    BgpFilterSpec as "BGPFilterSpec" {
        /// Rules for IPv4 routes that leave.
        export_v4: Vec<BgpFilterRuleV4> = "exportV4",
        /// Rules for IPv4 routes that come.
        import_v4: Vec<BgpFilterRuleV4> = "importV4",
        /// Rules for IPv6 routes that leave.
        export_v6: Vec<BgpFilterRuleV6> = "exportV6",
        /// Rules for IPv6 routes that come.
        import_v6: Vec<BgpFilterRuleV6> = "importV6",
    }

    /// What to do with which IPv4 routes.
    BgpFilterRuleV4 as "BGPFilterRuleV4" {
        /// The prefix that `matchOperator` speaks of.
        cidr: String = "cidr",
        /// The route's own prefix length.
        prefix_length: Option<BgpFilterPrefixLengthV4> = "prefixLength",
        /// `RemotePeers`: where the route comes from.
        source: String = "source",
        /// The route's interface; `*` stands for anything.
        interface: String = "interface",
        /// `Equal`, `NotEqual`, `In` or `NotIn`.
        match_operator: String = "matchOperator",
        /// The kind of peer, `eBGP` or `iBGP`.
        peer_type: String = "peerType",
        /// The communities that the route has.
        communities: Option<BgpFilterCommunityMatch> = "communities",
        /// The beginning of the route's AS path.
        as_path_prefix: Vec<AsNumber> = "asPathPrefix",
        /// The route's metric.
        priority: Option<i64> = "priority",
        /// `Accept` or `Reject`.
        action: String = "action" always,
        /// What is done to an accepted route.
        operations: Vec<BgpFilterOperation> = "operations",
    }

    /// What to do with which IPv6 routes.
    BgpFilterRuleV6 as "BGPFilterRuleV6" {
        /// The prefix that `matchOperator` speaks of.
        cidr: String = "cidr",
        /// The route's own prefix length.
        prefix_length: Option<BgpFilterPrefixLengthV6> = "prefixLength",
        /// `RemotePeers`: where the route comes from.
        source: String = "source",
        /// The route's interface; `*` stands for anything.
        interface: String = "interface",
        /// `Equal`, `NotEqual`, `In` or `NotIn`.
        match_operator: String = "matchOperator",
        /// The kind of peer, `eBGP` or `iBGP`.
        peer_type: String = "peerType",
        /// The communities that the route has.
        communities: Option<BgpFilterCommunityMatch> = "communities",
        /// The beginning of the route's AS path.
        as_path_prefix: Vec<AsNumber> = "asPathPrefix",
        /// The route's metric.
        priority: Option<i64> = "priority",
        /// `Accept` or `Reject`.
        action: String = "action" always,
        /// What is done to an accepted route.
        operations: Vec<BgpFilterOperation> = "operations",
    }

    /// A range of prefix lengths.
    BgpFilterPrefixLengthV4 as "BGPFilterPrefixLengthV4" {
        /// The least, 0 to 32.
        min: Option<i32> = "min",
        /// The most, 0 to 32.
        max: Option<i32> = "max",
    }

    /// A range of prefix lengths.
    BgpFilterPrefixLengthV6 as "BGPFilterPrefixLengthV6" {
        /// The least, 0 to 128.
        min: Option<i32> = "min",
        /// The most, 0 to 128.
        max: Option<i32> = "max",
    }

    /// Communities of a route.
    BgpFilterCommunityMatch as "BGPFilterCommunityMatch" {
        /// All of these.
        values: Vec<String> = "values",
    }

    /// One thing that is done to an accepted route.
    BgpFilterOperation as "BGPFilterOperation" {
        /// Gives it a community.
        add_community: Option<BgpFilterAddCommunity> = "addCommunity",
        /// Makes its AS path longer.
        prepend_as_path: Option<BgpFilterPrependAsPath> = "prependASPath",
        /// Sets its metric.
        set_priority: Option<BgpFilterSetPriority> = "setPriority",
    }

    /// Gives a route a community.
    BgpFilterAddCommunity as "BGPFilterAddCommunity" {
        /// The community.
        value: Option<String> = "value",
    }

    /// Makes a route's AS path longer.
    BgpFilterPrependAsPath as "BGPFilterPrependASPath" {
        /// What goes before it.
        prefix: Vec<AsNumber> = "prefix",
    }

    /// Sets a route's metric.
    BgpFilterSetPriority as "BGPFilterSetPriority" {
        /// The metric.
        value: Option<i64> = "value",
    }
}
