//! Each rule across fields, on its refused side with its message, and beside it what is taken.
#![expect(clippy::unwrap_used, reason = "tests")]

mod messages;

use std::collections::BTreeSet;

use serde_json::json;
use tortie_api::decode::decode;
use tortie_api::validate::{self, IMMUTABLE, RULES, check};

use messages::messages;

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
