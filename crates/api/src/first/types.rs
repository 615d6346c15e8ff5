//! The kinds of the first API. Identities stand in the metadata, all of them; the rest in the spec.

use crate::go_struct;
use crate::meta::StringMap;
use crate::value::{AsNumber, Port, Protocol};

macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident as $go:literal { $metadata:ident, $spec:ident })*) => {
        go_struct! {$(
            $(#[$doc])*
            $name as $go {
                /// The kind.
                kind: String = "kind",
                /// The version.
                api_version: String = "apiVersion",
                /// Who it is.
                metadata: $metadata = "metadata",
                /// What is wanted.
                spec: $spec = "spec",
            }
        )*}
    };
}

objects! {
    /// A peer of all nodes or of one.
    Peer as "BGPPeer" { PeerMetadata, PeerSpec }
    /// An interface of a host.
    HostEndpoint as "HostEndpoint" { HostEndpointMetadata, HostEndpointSpec }
    /// A pool of addresses.
    Pool as "IPPool" { PoolMetadata, PoolSpec }
    /// A host.
    Node as "Node" { NodeMetadata, NodeSpec }
    /// A policy of the whole cluster: there were no others.
    Policy as "Policy" { PolicyMetadata, PolicySpec }
    /// Labels, tags and rules that endpoints inherit.
    Profile as "Profile" { ProfileMetadata, ProfileSpec }
    /// An interface of a workload.
    WorkloadEndpoint as "WorkloadEndpoint" { WorkloadEndpointMetadata, WorkloadEndpointSpec }
}

go_struct! {
    /// A peer's identity.
    PeerMetadata as "BGPPeerMetadata" {
        /// `global` or `node`.
        scope: String = "scope",
        /// The node, if it is one node's.
        node: String = "node",
        /// The peer's address.
        peer_ip: String = "peerIP",
    }

    /// A peer.
    PeerSpec as "BGPPeerSpec" {
        /// Its AS number.
        as_number: AsNumber = "asNumber",
    }

    /// A host endpoint's identity.
    HostEndpointMetadata {
        /// Its name on the node.
        name: String = "name",
        /// The node.
        node: String = "node",
        /// What selectors match.
        labels: StringMap = "labels",
    }

    /// A host endpoint.
    HostEndpointSpec {
        /// The interface.
        interface_name: String = "interfaceName",
        /// The addresses by which it is known, or found.
        expected_ips: Vec<String> = "expectedIPs",
        /// Profiles, in the order in which they are asked.
        profiles: Vec<String> = "profiles",
        /// Named ports.
        ports: Vec<EndpointPort> = "ports",
    }

    /// A named port.
    EndpointPort {
        /// Its name.
        name: String = "name",
        /// Its protocol.
        protocol: Protocol = "protocol",
        /// Its number.
        port: u16 = "port",
    }

    /// A pool's identity.
    PoolMetadata as "IPPoolMetadata" {
        /// All its addresses.
        cidr: String = "cidr",
    }

    /// A pool.
    PoolSpec as "IPPoolSpec" {
        /// Its tunnel.
        ipip: Option<Ipip> = "ipip",
        /// Whether packets to elsewhere leave with the host's address.
        nat_outgoing: bool = "nat-outgoing",
        /// Whether nothing is assigned from it.
        disabled: bool = "disabled",
    }

    /// IP in IP.
    Ipip as "IPIPConfiguration" {
        /// Whether there is a tunnel.
        enabled: bool = "enabled",
        /// `always`, which is what nothing means, or `cross-subnet`.
        mode: String = "mode",
    }

    /// A node's identity.
    NodeMetadata {
        /// Its name.
        name: String = "name",
    }

    /// A node.
    NodeSpec {
        /// Its addresses, if it speaks BGP.
        bgp: Option<NodeBgp> = "bgp",
        /// Its names elsewhere.
        orch_refs: Vec<OrchRef> = "orchRefs",
    }

    /// A node's BGP.
    NodeBgp as "NodeBGPSpec" {
        /// Its AS number, if it isn't the cluster's.
        as_number: Option<AsNumber> = "asNumber",
        /// Its address, with the network's length.
        ipv4_address: String = "ipv4Address",
        /// The same for IPv6.
        ipv6_address: String = "ipv6Address",
    }

    /// A node's name in an orchestrator.
    OrchRef {
        /// The name.
        node_name: String = "nodeName",
        /// The orchestrator, `k8s` for example.
        orchestrator: String = "orchestrator",
    }

    /// A policy's identity.
    PolicyMetadata {
        /// Its name.
        name: String = "name",
        /// Its tier; `default` if there is none.
        tier: String = "tier",
        /// Free text.
        annotations: StringMap = "annotations",
    }

    /// A policy.
    PolicySpec {
        /// Where it stands among others.
        order: Option<f64> = "order",
        /// What comes to its endpoints.
        ingress: Vec<Rule> = "ingress",
        /// What leaves them.
        egress: Vec<Rule> = "egress",
        /// Its endpoints.
        selector: String = "selector",
        /// Whether it is asked before connections are tracked.
        do_not_track: bool = "doNotTrack",
        /// Whether it is asked before addresses are translated.
        pre_dnat: bool = "preDNAT",
        /// `ingress`, `egress`.
        types: Vec<String> = "types",
    }

    /// A profile's identity, and what endpoints inherit of it.
    ProfileMetadata {
        /// Its name.
        name: String = "name",
        /// Tags: labels without a value, today.
        tags: Vec<String> = "tags",
        /// Labels.
        labels: StringMap = "labels",
    }

    /// A profile.
    ProfileSpec {
        /// What comes to its endpoints.
        ingress: Vec<Rule> = "ingress",
        /// What leaves them.
        egress: Vec<Rule> = "egress",
    }

    /// What to do with which packets.
    Rule {
        /// `allow`, `deny`, `log` or `pass`.
        action: String = "action",
        /// 4 or 6.
        ip_version: Option<i64> = "ipVersion",
        /// The only protocol that matches.
        protocol: Option<Protocol> = "protocol",
        /// The ICMP type and code that match.
        icmp: Option<crate::policy::IcmpFields> = "icmp",
        /// The protocol that doesn't match.
        not_protocol: Option<Protocol> = "notProtocol",
        /// The ICMP type and code that don't match.
        not_icmp: Option<crate::policy::IcmpFields> = "notICMP",
        /// What the packet's source must be.
        source: Entity = "source",
        /// What its destination must be.
        destination: Entity = "destination",
    }

    /// What one side of a packet must be.
    Entity as "EntityRule" {
        /// A tag that the endpoint's profiles have.
        tag: String = "tag",
        /// This contains the address.
        net: Option<String> = "net",
        /// Any of these does.
        nets: Vec<String> = "nets",
        /// This selects the endpoint.
        selector: String = "selector",
        /// Any of these is the port.
        ports: Vec<Port> = "ports",
        /// A tag that they don't have.
        not_tag: String = "notTag",
        /// This doesn't contain the address.
        not_net: Option<String> = "notNet",
        /// None of these does.
        not_nets: Vec<String> = "notNets",
        /// This doesn't select the endpoint.
        not_selector: String = "notSelector",
        /// None of these is the port.
        not_ports: Vec<Port> = "notPorts",
    }

    /// A workload endpoint's identity.
    WorkloadEndpointMetadata {
        /// Its name in the workload.
        name: String = "name",
        /// The workload; `NAMESPACE.POD` for Kubernetes'.
        workload: String = "workload",
        /// Who runs it.
        orchestrator: String = "orchestrator",
        /// The node.
        node: String = "node",
        /// The container.
        active_instance_id: String = "activeInstanceID",
        /// What selectors match.
        labels: StringMap = "labels",
    }

    /// A workload endpoint.
    WorkloadEndpointSpec {
        /// Its addresses.
        ip_networks: Vec<String> = "ipNetworks",
        /// Addresses that are translated to it.
        ip_nats: Vec<Nat> = "ipNATs",
        /// Its gateway.
        ipv4_gateway: String = "ipv4Gateway",
        /// Its IPv6 gateway.
        ipv6_gateway: String = "ipv6Gateway",
        /// Profiles, in the order in which they are asked.
        profiles: Vec<String> = "profiles",
        /// The interface on the host.
        interface_name: String = "interfaceName",
        /// The interface's MAC address inside.
        mac: String = "mac",
        /// Named ports.
        ports: Vec<EndpointPort> = "ports",
    }

    /// An address that is translated to another.
    Nat as "IPNAT" {
        /// The workload's.
        internal_ip: String = "internalIP",
        /// The one seen from outside.
        external_ip: String = "externalIP",
    }
}
