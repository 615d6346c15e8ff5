//! Each rule across fields, on its refused side with its message, and beside it what is taken.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use serde_json::json;
use tortie_api::decode::decode;
use tortie_api::validate::{self, IMMUTABLE, RULES, check};

/// The messages of all faults of an object of a kind with this name and `spec`.
fn messages(kind: &str, name: &str, spec: &str) -> Vec<String> {
    let text =
        format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    let decoded = check(decode(&text), "default");
    let faults = decoded.faults.iter().chain(decoded.documents.iter().flat_map(|document| &document.faults));
    faults
        .map(|fault| {
            let blank = fault.found.is_empty() || fault.expected.is_empty() || fault.field.is_empty();
            assert!(!blank && fault.line > 0, "{fault:?}");
            fault.message.clone()
        })
        .collect()
}

/// Kind, name, a spec that is refused, the message, a spec that is taken.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const GLOBAL: &str = "global() can only be used in an EntityRule namespaceSelector";

const ROWS: &[Row] = &[
    (
        "BGPConfiguration",
        "default",
        "{nodeToNodeMeshEnabled: false, nodeMeshPassword: {secretKeyRef: {name: a, key: b}}}",
        "nodeMeshPassword cannot be set when nodeToNodeMeshEnabled is false",
        "{nodeMeshPassword: {secretKeyRef: {name: a, key: b}}}",
    ),
    (
        "BGPConfiguration",
        "default",
        "{nodeToNodeMeshEnabled: false, nodeMeshMaxRestartTime: 10s}",
        "nodeMeshMaxRestartTime cannot be set when nodeToNodeMeshEnabled is false",
        "{nodeToNodeMeshEnabled: true, nodeMeshMaxRestartTime: 10s}",
    ),
    (
        "BGPConfiguration",
        "default",
        "{communities: [{name: a, value: '1:2'}]}",
        "communities are defined but not used in prefixAdvertisements",
        "{communities: [{name: a, value: '1:2'}], prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [a, '3:4:5']}]}",
    ),
    (
        "BGPFilter",
        "f",
        "{exportV4: [{action: Accept, cidr: 10.0.0.0/8}]}",
        "cidr and matchOperator must both be set or both be empty",
        "{exportV4: [{action: Accept, cidr: 10.0.0.0/8, matchOperator: In}]}",
    ),
    (
        "BGPFilter",
        "f",
        "{importV6: [{action: Accept, matchOperator: In}]}",
        "cidr and matchOperator must both be set or both be empty",
        "{importV6: [{action: Accept, cidr: 'fd00::/8', matchOperator: In}]}",
    ),
    (
        "BGPFilter",
        "f",
        "{importV4: [{action: Accept, prefixLength: {min: 8}}]}",
        "cidr is required when prefixLength is set",
        "{importV4: [{action: Accept, cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {min: 8, max: 32}}]}",
    ),
    (
        "BGPFilter",
        "f",
        "{exportV6: [{action: Accept, prefixLength: {min: 8}}]}",
        "cidr is required when prefixLength is set",
        "{exportV6: [{action: Accept, cidr: 'fd00::/8', matchOperator: In, prefixLength: {max: 128}}]}",
    ),
    (
        "BGPFilter",
        "f",
        "{exportV4: [{action: Reject, operations: [{setPriority: {value: 1}}]}]}",
        "operations may only be used with action Accept",
        "{exportV4: [{action: Accept, operations: [{setPriority: {value: 1}}]}]}",
    ),
    (
        "BGPFilter",
        "f",
        "{exportV6: [{action: Reject, operations: [{addCommunity: {value: '1:2'}}]}]}",
        "operations may only be used with action Accept",
        "{exportV6: [{action: Accept, operations: [{prependASPath: {prefix: [64512]}}]}]}",
    ),
    (
        "BGPPeer",
        "p",
        "{node: a, nodeSelector: all(), peerIP: 10.0.0.1, asNumber: 1}",
        "node and nodeSelector cannot both be set",
        "{node: a, peerIP: 10.0.0.1, asNumber: 1}",
    ),
    (
        "BGPPeer",
        "p",
        "{peerIP: 10.0.0.1, peerSelector: all()}",
        "peerIP and peerSelector cannot both be set",
        "{peerSelector: all()}",
    ),
    (
        "BGPPeer",
        "p",
        "{peerSelector: all(), asNumber: 64512}",
        "asNumber must be empty when peerSelector is set",
        "{peerIP: '[fd00::1]:179', asNumber: 64512}",
    ),
    (
        "BGPPeer",
        "p",
        "{localWorkloadSelector: all(), peerIP: 10.0.0.1, asNumber: 1}",
        "peerIP must be empty when localWorkloadSelector is set",
        "{localWorkloadSelector: all(), asNumber: 1}",
    ),
    (
        "BGPPeer",
        "p",
        "{localWorkloadSelector: all(), peerSelector: all(), asNumber: 1}",
        "peerSelector must be empty when localWorkloadSelector is set",
        "{localWorkloadSelector: all(), asNumber: 1}",
    ),
    (
        "BGPPeer",
        "p",
        "{localWorkloadSelector: all()}",
        "asNumber is required when localWorkloadSelector is set",
        "{localWorkloadSelector: all(), asNumber: '1.1'}",
    ),
    (
        "BGPPeer",
        "p",
        "{reachableBy: 10.0.0.2}",
        "reachableBy must be empty when peerIP is empty",
        "{peerIP: 10.0.0.1, reachableBy: 10.0.0.2}",
    ),
    (
        "BGPPeer",
        "p",
        "{peerIP: 10.0.0.1, keepOriginalNextHop: true, nextHopMode: Auto}",
        "keepOriginalNextHop and nextHopMode cannot both be set; keepOriginalNextHop is deprecated, use nextHopMode instead",
        "{peerIP: 10.0.0.1, keepOriginalNextHop: false, nextHopMode: Self}",
    ),
    (
        "FelixConfiguration",
        "default",
        "{nodeSelector: all()}",
        "nodeSelector must not be set on the 'default' or per-node ('node.*') FelixConfiguration",
        "{}",
    ),
    (
        "FelixConfiguration",
        "node.a",
        "{nodeSelector: all()}",
        "nodeSelector must not be set on the 'default' or per-node ('node.*') FelixConfiguration",
        "{}",
    ),
    (
        "FelixConfiguration",
        "default",
        "{routeTableRange: {min: 1, max: 2}, routeTableRanges: [{min: 1, max: 2}]}",
        "routeTableRange and routeTableRanges cannot both be set",
        "{routeTableRanges: [{min: 1, max: 2000}]}",
    ),
    (
        "FelixConfiguration",
        "default",
        "{natOutgoingAddress: 'fd00::1'}",
        "natOutgoingAddress must be a valid IPv4 address",
        "{natOutgoingAddress: 10.0.0.1}",
    ),
    (
        "FelixConfiguration",
        "default",
        "{deviceRouteSourceAddress: nowhere}",
        "deviceRouteSourceAddress must be a valid IPv4 address",
        "{deviceRouteSourceAddress: 10.0.0.1}",
    ),
    (
        "FelixConfiguration",
        "default",
        "{deviceRouteSourceAddressIPv6: 10.0.0.1}",
        "deviceRouteSourceAddressIPv6 must be a valid IPv6 address",
        "{deviceRouteSourceAddressIPv6: 'fd00::1'}",
    ),
    (
        "FelixConfiguration",
        "default",
        "{routeTableRange: {min: 1, max: 251}}",
        "must be a range of route table indices within 1..250",
        "{routeTableRange: {min: 1, max: 250}}",
    ),
    (
        "FelixConfiguration",
        "default",
        "{routeTableRanges: [{min: 0, max: 1}]}",
        "min must be >= 1",
        "{routeTableRanges: []}",
    ),
    (
        "FelixConfiguration",
        "default",
        "{routeTableRanges: [{min: 3, max: 2}]}",
        "min must not be greater than max",
        "{routeTableRanges: [{min: 2, max: 2}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{doNotTrack: true, preDNAT: true, applyOnForward: true}",
        "preDNAT and doNotTrack cannot both be true",
        "{doNotTrack: true, applyOnForward: true}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{preDNAT: true, applyOnForward: true, egress: [{action: Allow}], types: [Ingress]}",
        "preDNAT policy cannot have any egress rules",
        "{preDNAT: true, applyOnForward: true}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{preDNAT: true, applyOnForward: true, types: [Ingress, Egress]}",
        "preDNAT policy cannot have 'Egress' type",
        "{preDNAT: true, applyOnForward: true, types: [Ingress]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{preDNAT: true}",
        "applyOnForward must be true if either preDNAT or doNotTrack is true",
        "{applyOnForward: true}",
    ),
    ("GlobalNetworkPolicy", "g", "{selector: global()}", GLOBAL, "{selector: all()}"),
    (
        "GlobalNetworkPolicy",
        "g",
        "{serviceAccountSelector: global()}",
        GLOBAL,
        "{serviceAccountSelector: all()}",
    ),
    ("GlobalNetworkPolicy", "g", "{namespaceSelector: global()}", GLOBAL, "{namespaceSelector: all()}"),
    ("NetworkPolicy", "n", "{selector: global()}", GLOBAL, "{selector: all()}"),
    ("NetworkPolicy", "n", "{serviceAccountSelector: global()}", GLOBAL, "{serviceAccountSelector: all()}"),
    ("StagedNetworkPolicy", "n", "{selector: global()}", GLOBAL, "{selector: all()}"),
    ("StagedNetworkPolicy", "n", "{serviceAccountSelector: global()}", GLOBAL, "{stagedAction: Delete}"),
    (
        "StagedGlobalNetworkPolicy",
        "g",
        "{doNotTrack: true, preDNAT: true, applyOnForward: true}",
        "preDNAT and doNotTrack cannot both be true",
        "{doNotTrack: true, applyOnForward: true}",
    ),
    (
        "StagedGlobalNetworkPolicy",
        "g",
        "{preDNAT: true, applyOnForward: true, egress: [{action: Allow}], types: [Ingress]}",
        "preDNAT policy cannot have any egress rules",
        "{preDNAT: true, applyOnForward: true}",
    ),
    (
        "StagedGlobalNetworkPolicy",
        "g",
        "{preDNAT: true, applyOnForward: true, types: [Egress]}",
        "preDNAT policy cannot have 'Egress' type",
        "{types: [Egress]}",
    ),
    (
        "StagedGlobalNetworkPolicy",
        "g",
        "{doNotTrack: true}",
        "applyOnForward must be true if either preDNAT or doNotTrack is true",
        "{stagedAction: Learn}",
    ),
    ("StagedGlobalNetworkPolicy", "g", "{selector: global()}", GLOBAL, "{selector: all()}"),
    ("StagedGlobalNetworkPolicy", "g", "{serviceAccountSelector: global()}", GLOBAL, "{}"),
    ("StagedGlobalNetworkPolicy", "g", "{namespaceSelector: global()}", GLOBAL, "{}"),
    (
        "HostEndpoint",
        "h",
        "{node: a}",
        "at least one of interfaceName or expectedIPs must be specified",
        "{node: a, interfaceName: '*'}",
    ),
    (
        "HostEndpoint",
        "h",
        "{interfaceName: eth0}",
        "node must be specified",
        "{node: a, expectedIPs: ['fd00::1']}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, ipipMode: Always, vxlanMode: CrossSubnet}",
        "ipipMode and vxlanMode cannot both be enabled",
        "{cidr: 10.0.0.0/16, ipipMode: Never, vxlanMode: Always}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer], vxlanMode: Always}",
        "LoadBalancer IP pool cannot have IPIP or VXLAN enabled",
        "{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer]}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer, Tunnel]}",
        "LoadBalancer cannot be combined with Workload or Tunnel allowed uses",
        "{cidr: 10.0.0.0/16, allowedUses: [Workload, Tunnel]}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 'fd00::/64', ipipMode: Always}",
        "IPIP is not supported on IPv6 pools",
        "{cidr: 'fd00::/64', vxlanMode: Always}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer], disableBGPExport: true}",
        "LoadBalancer IP pools cannot disable BGP export",
        "{cidr: 10.0.0.0/16, disableBGPExport: true}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer], nodeSelector: rack == 'a'}",
        "IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()",
        "{cidr: 10.0.0.0/16, allowedUses: [LoadBalancer], nodeSelector: all()}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, allowedUses: [Tunnel], namespaceSelector: all()}",
        "IP Pool with AllowedUse Tunnel cannot have namespaceSelector",
        "{cidr: 10.0.0.0/16, namespaceSelector: all()}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, nodeSelector: global()}",
        "global() selector is not valid for IPPool nodeSelector",
        "{cidr: 10.0.0.0/16, nodeSelector: '!all()'}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, allowedUses: [Workload], namespaceSelector: global()}",
        "global() selector is not valid for IPPool namespaceSelector",
        "{cidr: 10.0.0.0/16}",
    ),
    ("IPPool", "i", "{cidr: 10.0.0.1/16}", "IPPool CIDR must be strictly masked", "{cidr: 10.0.0.0/16}"),
    (
        "IPPool",
        "i",
        "{cidr: 169.254.128.0/24}",
        "IPPool CIDR overlaps with IPv4 link local range 169.254.0.0/16",
        "{cidr: 169.253.0.0/16}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 169.0.0.0/8}",
        "IPPool CIDR overlaps with IPv4 link local range 169.254.0.0/16",
        "{cidr: 168.0.0.0/8}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 'fe80:1::/64'}",
        "IPPool CIDR overlaps with IPv6 link local range fe80::/10",
        "{cidr: 'fd80::/64'}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/16, blockSize: 33}",
        "blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools",
        "{cidr: 'fd00::/64', blockSize: 116}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 10.0.0.0/27}",
        "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
        "{cidr: 10.0.0.0/27, disabled: true}",
    ),
    (
        "IPPool",
        "i",
        "{cidr: 'fd5f::/123'}",
        "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
        "{cidr: 'fd5f::/123', blockSize: 123}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Allow, protocol: UDP, http: {methods: [GET]}}]}",
        "rules with HTTP match must have protocol TCP or unset",
        "{ingress: [{action: Allow, protocol: 6, http: {methods: [GET]}}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Deny, http: {methods: [GET]}}]}",
        "HTTP match is only valid on Allow rules",
        "{ingress: [{action: Allow, http: {paths: [{prefix: /a}]}}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{egress: [{action: Allow, protocol: TCP, destination: {services: {name: a, namespace: b}, ports: [80]}}]}",
        "ports and notPorts cannot be specified with services",
        "{egress: [{action: Allow, destination: {services: {name: a, namespace: b}}}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Allow, protocol: TCP, icmp: {type: 8}}]}",
        "ICMP fields require protocol to be ICMP or ICMPv6",
        "{ingress: [{action: Allow, protocol: 58, icmp: {type: 128}}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Allow, protocol: ICMP, ipVersion: 6}]}",
        "protocol ICMP requires ipVersion 4",
        "{ingress: [{action: Allow, protocol: ICMP, ipVersion: 4}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Allow, protocol: 58, ipVersion: 4}]}",
        "protocol ICMPv6 requires ipVersion 6",
        "{ingress: [{action: Allow, protocol: icmpv6, ipVersion: 6}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Allow, notProtocol: 1, ipVersion: 6}]}",
        "protocol ICMP requires ipVersion 4",
        "{ingress: [{action: Allow, notProtocol: 1}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Allow, notProtocol: ICMPv6, ipVersion: 4}]}",
        "protocol ICMPv6 requires ipVersion 6",
        "{ingress: [{action: Allow, notProtocol: ICMPv6}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Allow, protocol: ICMP, icmp: {code: 0}}]}",
        "ICMP code specified without an ICMP type",
        "{ingress: [{action: Allow, protocol: ICMP, icmp: {type: 0, code: 0}}]}",
    ),
    (
        "GlobalNetworkPolicy",
        "g",
        "{ingress: [{action: Allow, source: {selector: global()}}]}",
        GLOBAL,
        "{ingress: [{action: Allow, source: {namespaceSelector: global()}}]}",
    ),
    (
        "NetworkPolicy",
        "n",
        "{egress: [{action: Allow, destination: {services: {name: a}, namespaceSelector: all()}}]}",
        "cannot specify NamespaceSelector and Services on the same rule",
        "{egress: [{action: Allow, destination: {services: {name: a}}}]}",
    ),
    (
        "NetworkPolicy",
        "n",
        "{egress: [{action: Allow, destination: {services: {name: a}, serviceAccounts: {names: [b]}}}]}",
        "cannot specify ServiceAccounts and Services on the same rule",
        "{egress: [{action: Allow, destination: {serviceAccounts: {names: [b]}}}]}",
    ),
    (
        "NetworkPolicy",
        "n",
        "{egress: [{action: Allow, destination: {services: {namespace: a}}}]}",
        "services must specify a service name",
        "{ingress: [{action: Allow, source: {services: {name: a}}}]}",
    ),
    (
        "NetworkPolicy",
        "n",
        "{egress: [{action: Allow, destination: {services: {name: a}, notSelector: all()}}]}",
        "cannot specify Selector/NotSelector and Services on the same rule",
        "{egress: [{action: Allow, destination: {selector: all()}}]}",
    ),
    (
        "NetworkPolicy",
        "n",
        "{egress: [{action: Allow, destination: {services: {name: a}, nets: [10.0.0.0/8]}}]}",
        "cannot specify Nets/NotNets and Services on the same rule",
        "{egress: [{action: Allow, destination: {nets: [10.0.0.0/8]}}]}",
    ),
    (
        "Tier",
        "kube-admin",
        "{order: 1000}",
        "The 'kube-admin' tier must have default action 'Pass'",
        "{order: 1000, defaultAction: Pass}",
    ),
    (
        "Tier",
        "kube-baseline",
        "{order: 10000000, defaultAction: Deny}",
        "The 'kube-baseline' tier must have default action 'Pass'",
        "{order: 10000000, defaultAction: Pass}",
    ),
    (
        "Tier",
        "default",
        "{order: 1000000, defaultAction: Pass}",
        "The 'default' tier must have default action 'Deny'",
        "{order: 1e6}",
    ),
    ("Tier", "default", "{order: 5}", "default tier order must be 1000000", "{order: 1000000}"),
    (
        "Tier",
        "kube-admin",
        "{defaultAction: Pass}",
        "kube-admin tier order must be 1000",
        "{order: 1000.0, defaultAction: Pass}",
    ),
    (
        "Tier",
        "kube-baseline",
        "{order: 1, defaultAction: Pass}",
        "kube-baseline tier order must be 10000000",
        "{order: 10_000_000, defaultAction: Pass}",
    ),
];

#[test]
fn each_rule_refuses_with_its_message_and_only_what_it_must() {
    for (kind, name, refused, message, taken) in ROWS {
        let found = messages(kind, name, refused);
        assert!(
            found.iter().any(|found| found.ends_with(&format!("({message})"))),
            "{kind} {refused}\nwanted: {message}\nfound: {found:#?}"
        );
        assert_eq!(messages(kind, name, taken), Vec::<String>::new(), "{kind} {taken}");
    }
}

#[test]
fn there_are_the_82_rules_of_calico_and_a_row_for_each() {
    let rules: usize = RULES.iter().map(|rule| rule.of.len()).sum();
    assert_eq!(rules + IMMUTABLE.len(), 82);
    let tested: BTreeSet<&str> = ROWS.iter().map(|(_, _, _, message, _)| *message).collect();
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.message).collect();
    assert_eq!(tested, all);
}

#[test]
fn a_pools_cidr_and_block_size_never_change() {
    let pool = |cidr: &str, size: u8| json!({"kind": "IPPool", "spec": {"cidr": cidr, "blockSize": size}});
    let old = pool("10.0.0.0/16", 26);
    assert!(validate::immutable(&old, &pool("10.0.0.0/16", 26)).is_empty());
    let fields = |new| {
        validate::immutable(&old, &new).into_iter().map(|(field, message)| format!("{field}: {message}"))
    };
    assert_eq!(
        fields(pool("10.1.0.0/16", 27)).collect::<Vec<_>>(),
        [
            "spec.cidr: CIDR cannot be changed; follow IP pool migration guide to avoid corruption.",
            "spec.blockSize: Block size cannot be changed; follow IP pool migration guide to avoid corruption."
        ]
    );
}

/// Kind, a spec that is refused, a part of the message.
const VALUES: &[(&str, &str, &str)] = &[
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

#[test]
fn values_out_of_bounds_are_refused_in_the_words_that_users_know() {
    for (kind, spec, message) in VALUES {
        let found = messages(kind, "default", spec);
        assert!(
            found.iter().any(|found| found.contains(message)),
            "{kind} {spec}\nwanted: {message}\nfound: {found:#?}"
        );
    }
}

/// What Calico's validator says, taken from where it is said: every text with a few words in it.
fn reasons() -> BTreeSet<&'static str> {
    let source = include_str!("../src/validate/structs.rs");
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let texts = code.flat_map(|line| line.split('"').skip(1).step_by(2));
    texts.filter(|text| text.matches(' ').count() >= 1 && !text.contains('{')).collect()
}

#[test]
fn each_reason_of_calicos_validator_is_given_for_something() {
    let said: Vec<String> =
        VALUES.iter().flat_map(|(kind, spec, _)| messages(kind, "default", spec)).collect();
    // This one is about labels: see below.
    let elsewhere = "projectcalico.org/namespace is not a valid label name";
    let unsaid: Vec<&str> = reasons()
        .into_iter()
        .filter(|reason| {
            ![elsewhere, "Metadata.Labels (label)"].contains(reason)
                && !said.iter().any(|said| said.contains(reason))
        })
        .collect();
    assert_eq!(unsaid, Vec::<&str>::new(), "no object is refused for these");
}

#[test]
fn lists_and_texts_have_their_limits() {
    let nets = |count: usize| {
        (0..count).map(|net| format!("10.{}.{}.0/24", net / 256, net % 256)).collect::<Vec<_>>().join(", ")
    };
    let rule =
        |fields: &str| format!("{{ingress: [{{action: Allow, protocol: TCP, source: {{{fields}}}}}]}}");
    let ports = |count: usize| (1..=count).map(|port| port.to_string()).collect::<Vec<_>>().join(", ");
    let rules = |count: usize| format!("{{egress: [{}]}}", vec!["{action: Deny}"; count].join(", "));
    let selector = |length: usize| rule(&format!("selector: a == '{}'", "x".repeat(length - 7)));
    for (taken, refused, message) in [
        (
            rule(&format!("nets: [{}]", nets(256))),
            rule(&format!("nets: [{}]", nets(257))),
            "must have at most 256 items",
        ),
        (
            rule(&format!("notPorts: [{}]", ports(50))),
            rule(&format!("notPorts: [{}]", ports(51))),
            "must have at most 50 items",
        ),
        (rules(1024), rules(1025), "must have at most 1024 items"),
        (selector(1024), selector(1025), "may not be more than 1024 bytes"),
    ] {
        assert_eq!(messages("NetworkPolicy", "n", &taken), Vec::<String>::new());
        let found = messages("NetworkPolicy", "n", &refused);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains(message), "{}", &found[0][found[0].len() - 200..]);
    }
}

#[test]
fn names_labels_and_annotations_are_checked() {
    let object = |metadata: &str| {
        format!("apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {metadata}\n")
    };
    let found = |metadata: &str| {
        let mut decoded = check(decode(&object(metadata)), "default");
        decoded.documents.remove(0).faults.into_iter().map(|fault| fault.field).collect::<Vec<_>>()
    };
    for (metadata, fields) in [
        ("{name: a.b-c}", vec![]),
        ("{name: A}", vec!["metadata.name"]),
        ("{labels: {a: b}}", vec!["metadata.name"]),
        ("{name: a, labels: {example.com/a_b: ''}}", vec![]),
        ("{name: a, labels: {'a b': c, d: '-'}}", vec!["metadata.labels.a b", "metadata.labels.d"]),
        ("{name: a, annotations: {'/a': any text at all}}", vec!["metadata.annotations./a"]),
        ("{name: a, labels: {projectcalico.org/namespace: b}}", vec!["metadata.labels"]),
    ] {
        assert_eq!(found(metadata), fields, "{metadata}");
    }
    assert_eq!(messages("Tier", "a.b", "{}").len(), 1);
    assert!(messages("Tier", "x", "{}").is_empty());
    let long = "x".repeat(254);
    assert!(messages("Tier", &long, "{}").first().unwrap().contains("name is too long by 1 bytes"));
}
