//! Objects that are refused, with the words that users' scripts look for, and nothing of them in the store.

use crate::fixture::{Fixture, On};

/// What an object is, and what is said of it.
struct Row(&'static str, &'static str, &'static str, &'static str);

const PORTS: &str = "port range invalid, port number must be between 1 and 65535";

const ROWS: [Row; 29] = [
    Row(
        "BGPPeer",
        "p",
        "{asNumber: 4294967296, peerIP: 192.168.0.250}",
        "cannot unmarshal number into Go struct field BGPPeerSpec.spec.asNumber of type string",
    ),
    Row(
        "BGPPeer",
        "p",
        "{asNumber: 64513, peerIP: 192.168.0.256}",
        "error with field PeerIP = '192.168.0.256'",
    ),
    Row(
        "BGPPeer",
        "p",
        "{asNumber: 64513, peerIP: 'fd5f::6::ee'}",
        "error with field PeerIP = 'fd5f::6::ee'",
    ),
    Row(
        "BGPPeer",
        "p",
        "{asNumber: 64513, peerIP: 'fd5f::6', node: node 2}",
        "error with field Node = 'node 2'",
    ),
    Row(
        "BGPPeer",
        "p",
        "{asNumber: 64513, peerIP: 'fd5f::6', unknown: thing}",
        "field in document is not recognized or is in the wrong location: unknown",
    ),
    Row(
        "HostEndpoint",
        "h",
        "{node: host1, interfaceName: wibblywobblyeth0}",
        "error with field InterfaceName = 'wibblywobblyeth0'",
    ),
    Row(
        "NetworkPolicy",
        "n",
        "{Egress: [{action: Deny, protocol: TCP, source: {ports: [10, 90, 65536]}}]}",
        "cannot unmarshal number 65536",
    ),
    Row(
        "NetworkPolicy",
        "n",
        "{Egress: [{action: Deny, protocol: TCP, source: {ports: ['1:65536']}}]}",
        "invalid maximum port number in range (1:65536)",
    ),
    Row(
        "NetworkPolicy",
        "n",
        "{Egress: [{action: Deny, protocol: TCP, source: {ports: ['0:65535']}}]}",
        PORTS,
    ),
    Row("NetworkPolicy", "n", "{Egress: [{action: Deny, protocol: TCP, source: {ports: [0, 10]}}]}", PORTS),
    Row(
        "NetworkPolicy",
        "n",
        "{Egress: [{action: Deny, protocol: TCP, source: {ports: ['65535:1']}}]}",
        "minimum port number (65535) is greater than maximum port number (1) in port range",
    ),
    Row(
        "NetworkPolicy",
        "n",
        "{Ingress: [{action: jumpupanddown}]}",
        "supported values: \"Allow\", \"Deny\", \"Log\", \"Pass\"",
    ),
    Row("NetworkPolicy", "n", "{tier: none}", "none"),
    Row("NetworkPolicy", "n", "{selector: 'app ==='}", "app ==="),
    Row("NetworkPolicy", "n", "{ingress: [{action: Allow, protocol: ICMP, ipVersion: 6}]}", "ICMP"),
    Row(
        "NetworkPolicy",
        "n",
        "{ingress: [{action: Allow, source: {nets: [10.0.0.0/8], notNets: ['fd00::/8']}}]}",
        "rule contains both IPv4 and IPv6 CIDRs",
    ),
    Row(
        "NetworkPolicy",
        "knp.default.x",
        "{}",
        "kubernetes network policies must be managed through the kubernetes API",
    ),
    Row(
        "GlobalNetworkPolicy",
        "g",
        "{preDNAT: true, egress: [{action: Deny}]}",
        "preDNAT policy cannot have any egress rules",
    ),
    Row("IPPool", "i", "{cidr: 10.0.1.0/33}", "CIDR = '10.0.1.0/33'"),
    Row("IPPool", "i", "{cidr: 10.0.256.0/24}", "CIDR = '10.0.256.0/24'"),
    Row("IPPool", "i", "{cidr: 'fd5f::2::1/32'}", "CIDR = 'fd5f::2::1/32'"),
    Row(
        "IPPool",
        "i",
        "{cidr: 192.168.0.0/27}",
        "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
    ),
    Row(
        "IPPool",
        "i",
        "{cidr: '::/128'}",
        "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
    ),
    Row(
        "IPPool",
        "i",
        "{cidr: 10.0.1.0/24, disabled: 'True'}",
        "cannot unmarshal string into Go struct field IPPoolSpec.spec.disabled of type bool",
    ),
    Row(
        "Profile",
        "p",
        "{Ingress: [{action: Deny, protocol: ICMP, ICMP: {type: 256, code: 255}}]}",
        "error with field Type = '256'",
    ),
    Row(
        "Profile",
        "p",
        "{Ingress: [{action: Deny, protocol: ICMP, ICMP: {type: 19, code: 256}}]}",
        "error with field Code = '256'",
    ),
    Row(
        "Profile",
        "projectcalico-default-allow",
        "{}",
        "resource already exists: Profile(projectcalico-default-allow)",
    ),
    Row("Tier", "A", "{order: 1}", "error with field"),
    Row(
        "IPAMConfiguration",
        "other",
        "{strictAffinity: true, autoAllocateBlocks: true}",
        "Cannot create an IPAMConfiguration resource with a name other than \"default\"",
    ),
];

fn what_is_wrong_is_refused_in_calicos_words_and_not_stored(on: On) {
    let fixture = Fixture::on(on);
    for Row(kind, name, spec, words) in ROWS {
        let object = format!(
            "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        );
        for verb in ["create", "apply"] {
            if verb == "apply" && (name.starts_with("knp.") || name.starts_with("projectcalico-")) {
                // These are said not to be there.
                continue;
            }
            let said = fixture.pipe(&[verb, "-f", "-"], &object);
            assert_eq!((said.out.as_str(), said.code), ("", Some(1)), "{verb} {object}: {said:?}");
            assert!(said.err.contains(words), "{verb} {object}: {words}: {said:?}");
        }
        let stored = fixture.json(&["get", kind]);
        let found = stored["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["metadata"]["name"] == name && name != "projectcalico-default-allow");
        assert!(!found, "{object}");
    }
}

crate::fixture::on_both! {
    what_is_wrong_is_refused_in_calicos_words_and_not_stored
}
