//! Values that are refused, with the words that users know.

/// Kind, a spec that is refused, a part of the message.
pub const VALUES: &[(&str, &str, &str)] = &[
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: allow}]}",
        "supported values: \"Allow\", \"Deny\", \"Log\", \"Pass\"",
    ),
    ("GlobalNetworkPolicy", "{ingress: [{}]}", "supported values: \"Allow\", \"Deny\", \"Log\", \"Pass\""),
    ("GlobalNetworkPolicy", "{ingress: [{action: Allow, ipVersion: 5}]}", "supported values: 4, 6"),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, protocol: ICMP, icmp: {type: 256}}]}",
        "Type = '256'",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, protocol: ICMP, icmp: {type: 1, code: 256}}]}",
        "Code = '256'",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, protocol: TCP, destination: {ports: [0]}}]}",
        "'0' (port range invalid, port number must be between 1 and 65535)",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, protocol: TCP, destination: {ports: ['1:65536']}}]}",
        "invalid maximum port number in range (1:65536)",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, destination: {ports: [1]}}]}",
        "rules that specify ports must set protocol to TCP or UDP or SCTP",
    ),
    ("GlobalNetworkPolicy", "{ingress: [{action: Allow, protocol: carrot}]}", "protocol name invalid"),
    ("GlobalNetworkPolicy", "{ingress: [{action: Allow, protocol: 0}]}", "protocol number invalid"),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, source: {nets: [10.0.0.0/8, 'fd00::/8']}}]}",
        "rule contains both IPv4 and IPv6 CIDRs",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, source: {nets: [10.0.0.0/8]}, destination: {notNets: ['fd00::/8']}}]}",
        "rule contains both IPv4 and IPv6 CIDRs",
    ),
    ("GlobalNetworkPolicy", "{ingress: [{action: Allow, source: {notNets: ['::/0']}}]}", "NotNets = '::/0'"),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, source: {selector: 'a ='}}]}",
        "Field: Selector because of Tag: selector",
    ),
    ("GlobalNetworkPolicy", "{types: [Sideways]}", "supported values: \"Ingress\", \"Egress\""),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, source: {services: {name: a, namespace: b}}}], egress: [{action: Allow, destination: {services: {name: a}}}]}",
        "must specify a namespace",
    ),
    (
        "NetworkPolicy",
        "{ingress: [{action: Allow, destination: {services: {name: a}}}]}",
        "Services = '&{a }' (not allowed in ingress rule destination)",
    ),
    ("BGPPeer", "{peerIP: 192.168.0.256, asNumber: 1}", "PeerIP = '192.168.0.256'"),
    ("BGPPeer", "{peerIP: '10.0.0.1:70000', asNumber: 1}", "PeerIP = '10.0.0.1:70000'"),
    ("BGPPeer", "{node: node 2, peerIP: 10.0.0.1, asNumber: 1}", "Node = 'node 2'"),
    ("BGPPeer", "{peerIP: 10.0.0.1, asNumber: '65000.10'}", "must be of type int32"),
    ("BGPPeer", "{peerIP: 10.0.0.1, asNumber: '65536.10'}", "invalid AS Number (65536.10)"),
    ("HostEndpoint", "{node: a, interfaceName: wibblywobblyeth0}", "InterfaceName = 'wibblywobblyeth0'"),
    (
        "HostEndpoint",
        "{node: a, interfaceName: e, ports: [{name: p, protocol: ICMP, port: 1}]}",
        "EndpointPort.Protocol = 'ICMP' (EndpointPort protocol does not support ports.)",
    ),
    ("IPPool", "{cidr: 10.0.1.0/33}", "CIDR = '10.0.1.0/33'"),
    ("IPPool", "{}", "error with field spec.cidr = '' (Required value)"),
    (
        "IPPool",
        "{cidr: 10.0.0.0/16, ipipMode: Sometimes}",
        "supported values: \"Never\", \"Always\", \"CrossSubnet\"",
    ),
    ("IPReservation", "{reservedCIDRs: [10.0.0.1]}", "must be of type cidr"),
    ("BGPConfiguration", "{serviceClusterIPs: [{cidr: 10.0.0.1}]}", "must be of type cidr"),
    (
        "BGPConfiguration",
        "{prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [unknown]}]}",
        "Spec.PrefixAdvertisement[].Communities[] = 'unknown' (community used is invalid or not defined.)",
    ),
    ("BGPConfiguration", "{logSeverityScreen: Loud}", "should match"),
    ("FelixConfiguration", "{logSeverityScreen: Loud}", "should match"),
    ("FelixConfiguration", "{healthPort: 65536}", "HealthPort = '65536'"),
    (
        "FelixConfiguration",
        "{interfaceExclude: '/[/'}",
        "Field: InterfaceExclude because of Tag: interfaceSlice",
    ),
    (
        "FelixConfiguration",
        "{failsafeInboundHostPorts: [{protocol: icmp, port: 1}]}",
        "ProtoPort.Protocol = 'icmp' (protocol must be 'TCP' or 'UDP' or 'SCTP'.)",
    ),
    ("FelixConfiguration", "{routeRefreshInterval: 1.5s}", "should match"),
    (
        "KubeControllersConfiguration",
        "{healthChecks: Perhaps}",
        "supported values: \"Enabled\", \"Disabled\"",
    ),
    ("Profile", "{labelsToApply: {'a b': c}}", "Field: LabelsToApply because of Tag: labels"),
    (
        "GlobalNetworkPolicy",
        "{egress: [{action: Allow, http: {methods: [GET]}}]}",
        "(not allowed in egress rules)",
    ),
    ("NetworkPolicy", "{egress: [{action: Allow, http: {methods: [GET]}}]}", "(not allowed in egress rule)"),
    (
        "NetworkPolicy",
        "{types: [Egress, Egress]}",
        "NetworkPolicySpec.Types = '[Egress Egress]' ('Egress' type specified more than once)",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, source: {namespaceSelector: 'global() || has(a)'}}]}",
        "NamespaceSelector field = 'global() || has(a)' (global() cannot be combined with other selectors)",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, protocol: TCP, ipVersion: 4, source: {nets: [10.0.0.0/8]}, destination: {nets: ['fd00::/8']}}]}",
        "Destination.Nets = '[10.0.0.0/8]' (rule IP version doesn't match CIDR version)",
    ),
    (
        "BGPConfiguration",
        "{communities: [{name: a, value: '1:2:4294967296'}], prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [a]}]}",
        "invalid community value, expected 32 bit value",
    ),
    (
        "BGPConfiguration",
        "{communities: [{name: a, value: red}], prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [a]}]}",
        "invalid community value or format used.",
    ),
    (
        "WorkloadEndpoint",
        "{node: a, orchestrator: k8s, endpoint: eth0, ports: [{protocol: TCP, port: 1}]}",
        "WorkloadEndpointPort.Name = '' (WorkloadEndpointPort name must not be empty if no HostPort is specified)",
    ),
    ("Node", "{bgp: {}}", "BGP = '&{<nil>    }' (Spec.BGP should not be empty)"),
    (
        "WorkloadEndpoint",
        "{node: a, orchestrator: k8s, endpoint: eth0, ipNetworks: [10.0.0.0/24]}",
        "IP network contains multiple addresses",
    ),
    (
        "WorkloadEndpoint",
        "{node: a, orchestrator: k8s, endpoint: eth0, ipNetworks: [10.0.0.1/32], ipNATs: [{internalIP: 10.0.0.2, externalIP: 1.1.1.1}]}",
        "IPNATs = '[{10.0.0.2 1.1.1.1}]' (NAT is not in the endpoint networks)",
    ),
    (
        "WorkloadEndpoint",
        "{node: a, orchestrator: k8s, endpoint: eth0, ipNetworks: [10.0.0.1/32], ipNATs: [{internalIP: 10.0.0.1, externalIP: 'fd00::1'}]}",
        "mismatched IP versions",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, http: {methods: [GET, GET]}}]}",
        "Methods = '[GET GET]' (Invalid methods (duplicates): [GET GET])",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, http: {paths: [{exact: /a, prefix: /b}]}}]}",
        "Paths = '[{/a /b}]' (Invalid path match. Both 'exact' and 'prefix' are set)",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, http: {paths: [{prefix: '/a?b'}]}}]}",
        "Invalid path /a?b. (must start with `/` and not contain `?` or `#`",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, http: {paths: [{}]}}]}",
        "Either 'exact' or 'prefix' must be set",
    ),
    (
        "GlobalNetworkPolicy",
        "{ingress: [{action: Allow, ipVersion: 6, source: {nets: [10.0.0.0/8]}}]}",
        "rule IP version doesn't match CIDR version",
    ),
    (
        "BGPConfiguration",
        "{communities: [{name: a, value: '65536:1'}], prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [a]}]}",
        "Spec.Communities[].Value = '65536:1' (invalid community value, expected 16 bit value)",
    ),
    (
        "BGPPeer",
        "{peerIP: 10.0.0.1, asNumber: 1, reachableBy: 'fd00::1'}",
        "ReachableBy and PeerIP address family mismatched",
    ),
    ("BGPFilter", "{exportV4: [{action: Accept, operations: [{}]}]}", "exactly one operation must be set"),
    (
        "BGPFilter",
        "{exportV4: [{action: Accept, operations: [{setPriority: {value: 1}, addCommunity: {value: '1:2'}}]}]}",
        "exactly one operation must be set",
    ),
];
