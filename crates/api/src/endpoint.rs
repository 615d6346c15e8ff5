//! What policy applies to: interfaces of workloads and of hosts, and the hosts themselves.

use crate::go_struct;
use crate::meta::{Object, specs};
use crate::value::{AsNumber, Dscp, Protocol};

/// An interface of a workload.
pub type WorkloadEndpoint = Object<WorkloadEndpointSpec>;
/// An interface of a host.
pub type HostEndpoint = Object<HostEndpointSpec>;
/// A host.
pub type Node = Object<NodeSpec>;

/// The annotation of a workload endpoint, and of a pod, whose host ports our plugin was asked to lead to it: the id of its
/// container. Without it another plugin (`portmap`) does, or nobody.
pub const HOST_PORTS: &str = "tortie/host-ports";

specs! {
    WorkloadEndpointSpec => WorkloadEndpoint;
    HostEndpointSpec => HostEndpoint;
    NodeSpec => Node, NodeStatus;
}

go_struct! {
    /// An interface of a workload.
    WorkloadEndpointSpec {
        /// `k8s`, `cni` and so on.
        orchestrator: String = "orchestrator",
        /// The workload's name where there is no pod.
        workload: String = "workload",
        /// The host that it runs on.
        node: String = "node",
        /// The container runtime's id.
        container_id: String = "containerID",
        /// The pod's name.
        pod: String = "pod",
        /// The interface's name inside the workload, `eth0` as a rule.
        endpoint: String = "endpoint",
        /// The pod's service account.
        service_account_name: String = "serviceAccountName",
        /// Its addresses, each with a prefix length (/32 or /128).
        ip_networks: Vec<String> = "ipNetworks",
        /// Addresses that are translated to it.
        ip_nats: Vec<IpNat> = "ipNATs",
        /// Its IPv4 gateway.
        ipv4_gateway: String = "ipv4Gateway",
        /// Its IPv6 gateway.
        ipv6_gateway: String = "ipv6Gateway",
        /// Profiles, in the order in which they are asked.
        profiles: Vec<String> = "profiles",
        /// The interface on the host, `cali...`.
        interface_name: String = "interfaceName",
        /// The interface's MAC address inside the workload.
        mac: String = "mac",
        /// Named ports.
        ports: Vec<WorkloadEndpointPort> = "ports",
        /// Prefixes that it may send from beside its own addresses.
        allow_spoofed_source_prefixes: Vec<String> = "allowSpoofedSourcePrefixes",
        /// Limits of bandwidth, packets and connections.
        qos_controls: Option<QosControls> = "qosControls",
    }

    /// A named port of a workload.
    WorkloadEndpointPort {
        /// Its name.
        name: String = "name" always,
        /// Its protocol.
        protocol: Protocol = "protocol" always,
        /// Its number, 1 to 65535.
        port: u16 = "port" always,
        /// The host's port that leads to it.
        host_port: u16 = "hostPort" always,
        /// The host's address that leads to it.
        host_ip: String = "hostIP" always,
    }

    /// An address that is translated to another.
    IpNat as "IPNAT" {
        /// The workload's address.
        internal_ip: String = "internalIP" always,
        /// The address seen from outside.
        external_ip: String = "externalIP" always,
    }

    /// Limits of a workload's traffic. Bandwidths in bits a second, bursts in bits, rates in packets a second.
    QosControls as "QoSControls" {
        /// Bits a second to the workload.
        ingress_bandwidth: i64 = "ingressBandwidth",
        /// Bits to the workload at once.
        ingress_burst: i64 = "ingressBurst",
        /// Bits a second to the workload at most.
        ingress_peakrate: i64 = "ingressPeakrate",
        /// Bits to the workload at the peak rate.
        ingress_minburst: i64 = "ingressMinburst",
        /// Bits a second from the workload.
        egress_bandwidth: i64 = "egressBandwidth",
        /// Bits from the workload at once.
        egress_burst: i64 = "egressBurst",
        /// Bits a second from the workload at most.
        egress_peakrate: i64 = "egressPeakrate",
        /// Bits from the workload at the peak rate.
        egress_minburst: i64 = "egressMinburst",
        /// Packets a second to the workload.
        ingress_packet_rate: i64 = "ingressPacketRate",
        /// Packets to the workload at once.
        ingress_packet_burst: i64 = "ingressPacketBurst",
        /// Packets a second from the workload.
        egress_packet_rate: i64 = "egressPacketRate",
        /// Packets from the workload at once.
        egress_packet_burst: i64 = "egressPacketBurst",
        /// Connections to the workload.
        ingress_max_connections: i64 = "ingressMaxConnections",
        /// Connections from the workload.
        egress_max_connections: i64 = "egressMaxConnections",
        /// The differentiated-services code point of its packets, a number or a name.
        dscp: Option<Dscp> = "dscp",
    }

    /// An interface of a host.
    HostEndpointSpec {
        /// The host's name.
        node: String = "node",
        /// The interface's name, `*` for all; may be empty if there are addresses.
        interface_name: String = "interfaceName",
        /// Addresses that the interface is known by.
        expected_ips: Vec<String> = "expectedIPs",
        /// Profiles, in the order in which they are asked.
        profiles: Vec<String> = "profiles",
        /// Named ports.
        ports: Vec<EndpointPort> = "ports",
    }

    /// A named port of a host.
    EndpointPort {
        /// Its name.
        name: String = "name" always,
        /// Its protocol.
        protocol: Protocol = "protocol" always,
        /// Its number, 1 to 65535.
        port: u16 = "port" always,
    }

    /// A host.
    NodeSpec {
        /// Its BGP settings.
        bgp: Option<NodeBgpSpec> = "bgp",
        /// The address of its IPv4 VXLAN device.
        ipv4_vxlan_tunnel_addr: String = "ipv4VXLANTunnelAddr",
        /// The MAC address of its IPv4 VXLAN device.
        vxlan_tunnel_mac_addr: String = "vxlanTunnelMACAddr",
        /// The address of its IPv6 VXLAN device.
        ipv6_vxlan_tunnel_addr: String = "ipv6VXLANTunnelAddr",
        /// The MAC address of its IPv6 VXLAN device.
        vxlan_tunnel_mac_addr_v6: String = "vxlanTunnelMACAddrV6",
        /// Its names elsewhere.
        orch_refs: Vec<OrchRef> = "orchRefs",
        /// Its WireGuard settings.
        wireguard: Option<NodeWireguardSpec> = "wireguard",
        /// Its addresses.
        addresses: Vec<NodeAddress> = "addresses",
        /// Its interfaces.
        interfaces: Vec<NodeInterface> = "interfaces",
    }

    /// BGP settings of a host.
    NodeBgpSpec as "NodeBGPSpec" {
        /// Its AS number.
        as_number: Option<AsNumber> = "asNumber",
        /// Its IPv4 address with a prefix length.
        ipv4_address: String = "ipv4Address",
        /// Its IPv6 address with a prefix length.
        ipv6_address: String = "ipv6Address",
        /// The address of its IPIP device.
        ipv4_ipip_tunnel_addr: String = "ipv4IPIPTunnelAddr",
        /// Set on a route reflector.
        route_reflector_cluster_id: String = "routeReflectorClusterID",
    }

    /// A host's name elsewhere.
    OrchRef {
        /// The name there.
        node_name: String = "nodeName",
        /// Where.
        orchestrator: String = "orchestrator" always,
    }

    /// WireGuard settings of a host.
    NodeWireguardSpec {
        /// The address of its IPv4 device.
        interface_ipv4_address: String = "interfaceIPv4Address",
        /// The address of its IPv6 device.
        interface_ipv6_address: String = "interfaceIPv6Address",
    }

    /// An address of a host.
    NodeAddress {
        /// The address, with or without a prefix length.
        address: String = "address" always,
        /// Where it comes from.
        address_type: String = "type",
    }

    /// An interface of a host.
    NodeInterface {
        /// Its name.
        name: String = "name",
        /// Its addresses.
        addresses: Vec<String> = "addresses",
    }

    /// What a host says of itself.
    NodeStatus {
        /// Its WireGuard key for IPv4.
        wireguard_public_key: String = "wireguardPublicKey",
        /// Its WireGuard key for IPv6.
        wireguard_public_key_v6: String = "wireguardPublicKeyV6",
        /// Addresses that Kubernetes gave it for pods.
        pod_cidrs: Vec<String> = "podCIDRs",
    }
}
