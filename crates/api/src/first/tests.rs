//! What becomes of each kind, and what is refused. Names' digits are `sha1sum`'s of the name as it was.
#![expect(clippy::panic, reason = "tests")]

use serde_json::json;

use super::*;
use crate::validate;

fn convert(text: &str) -> Result<Value, String> {
    let (items, faults) = decode(text);
    assert_eq!(faults, [], "{text}");
    let [item] = <[Item; 1]>::try_from(items).expect("one object");
    match item {
        Item::Old(Ok((kind, json))) => {
            let faults = validate::validate_json(kind, &json);
            assert_eq!(faults, [], "{text}");
            assert_eq!(json["kind"], kind.name());
            assert_eq!(json["apiVersion"], "projectcalico.org/v3");
            Ok(json)
        }
        Item::Old(Err(faults)) => {
            Err(faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("\n"))
        }
        Item::Other(document) => panic!("{document:?}"),
    }
}

fn becomes(text: &str, metadata: Value, spec: Value) {
    let json = convert(text).expect(text);
    assert_eq!((&json["metadata"], &json["spec"]), (&metadata, &spec), "{text}");
}

#[test]
fn a_peer_is_named_after_its_address_and_node() {
    becomes(
        "{apiVersion: v1, kind: bgpPeer, metadata: {scope: global, peerIP: 192.20.30.40}, spec: {asNumber: 64567}}",
        json!({ "name": "192-20-30-40" }),
        json!({ "peerIP": "192.20.30.40", "asNumber": 64567 }),
    );
    becomes(
        "{apiVersion: v1, kind: bgpPeer, metadata: {scope: node, node: Rack1_Host1, peerIP: 'aa:bb::ff'}, spec: {asNumber: '1.5'}}",
        json!({ "name": "rack1-host1.00aa-00bb-0000-0000-0000-0000-0000-00ff" }),
        json!({ "node": "rack1-host1", "peerIP": "aa:bb::ff", "asNumber": 65541 }),
    );
}

#[test]
fn a_host_endpoint_is_named_after_its_node_and_itself() {
    becomes(
        "apiVersion: v1\nkind: hostEndpoint\nmetadata: {name: eth0, node: Host.Example, labels: {type: production}}\n\
         spec:\n  interfaceName: eth0\n  expectedIPs: ['fd00::1', 192.168.0.1]\n  profiles: [k8s_ns.default, Profile2]\n\
         \x20 ports: [{name: some-port, port: 1234, protocol: tcp}]\n",
        json!({ "name": "host.example.eth0", "labels": { "type": "production" } }),
        json!({
            "node": "host.example", "interfaceName": "eth0", "expectedIPs": ["192.168.0.1", "fd00::1"],
            "profiles": ["kns.default", "profile2-01b5bd5f"],
            "ports": [{ "name": "some-port", "protocol": "TCP", "port": 1234 }],
        }),
    );
}

#[test]
fn a_pool_is_named_after_its_network_and_has_no_vxlan() {
    let spec = |cidr: &str, ipip: &str, size: u8| {
        json!({
            "cidr": cidr, "ipipMode": ipip, "vxlanMode": "Never", "blockSize": size, "nodeSelector": "all()",
            "allowedUses": ["Workload", "Tunnel"],
        })
    };
    for (ipip, mode) in [
        ("", "Never"),
        ("ipip: {enabled: true}", "Always"),
        ("ipip: {enabled: true, mode: always}", "Always"),
        ("ipip: {enabled: true, mode: cross-subnet}", "CrossSubnet"),
        ("ipip: {mode: cross-subnet}", "Never"),
    ] {
        becomes(
            &format!("{{apiVersion: v1, kind: ipPool, metadata: {{cidr: 10.0.0.0/16}}, spec: {{{ipip}}}}}"),
            json!({ "name": "10-0-0-0-16" }),
            spec("10.0.0.0/16", mode, 26),
        );
    }
    let mut wanted = spec("fd00:1::/96", "Never", 122);
    wanted["natOutgoing"] = true.into();
    wanted["disabled"] = true.into();
    becomes(
        "{apiVersion: v1, kind: ipPool, metadata: {cidr: 'fd00:1::/96'}, spec: {nat-outgoing: true, disabled: true}}",
        json!({ "name": "fd00-1---96" }),
        wanted,
    );
}

#[test]
fn a_node_keeps_its_address_within_its_network() {
    becomes(
        "{apiVersion: v1, kind: node, metadata: {name: Node_1}, spec: {bgp: {asNumber: 64512, ipv4Address: 10.244.0.1/24, \
         ipv6Address: '2001:db8:85a3::8a2e:370:7334'}, orchRefs: [{nodeName: n1, orchestrator: k8s}]}}",
        json!({ "name": "node-1" }),
        json!({
            "bgp": {
                "asNumber": 64512, "ipv4Address": "10.244.0.1/24",
                "ipv6Address": "2001:db8:85a3::8a2e:370:7334/128",
            },
            "orchRefs": [{ "nodeName": "n1", "orchestrator": "k8s" }],
        }),
    );
}

#[test]
fn a_policy_becomes_one_of_the_whole_cluster_in_its_tier() {
    becomes(
        "apiVersion: v1\nkind: policy\nmetadata: {name: Allow.tcp, annotations: {a: b}}\nspec:\n  order: 100.5\n\
         \x20 selector: calico/k8s_ns == 'default' && type == 'database'\n  types: [egress, ingress]\n  ingress:\n\
         \x20 - action: allow\n    protocol: tcp\n    source: {tag: web, selector: \"has(calico/k8s_ns) || a == 'b'\"}\n\
         \x20   destination: {ports: [80, '8080:8090', https]}\n  - {action: deny, source: {net: 10.0.0.5/24}}\n\
         \x20 egress:\n  - {action: pass, ipVersion: 6, protocol: icmpv6, icmp: {type: 128, code: 0}, destination: {notTag: db, notNets: ['fd00::1/64']}}\n",
        json!({
            "name": "default.allow-tcp-ff618b52", "annotations": { "a": "b" },
            "labels": { "projectcalico.org/tier": "default" },
        }),
        json!({
            "tier": "default", "order": 100.5,
            "selector": "projectcalico.org/namespace == 'default' && type == 'database'",
            "types": ["Egress", "Ingress"],
            "ingress": [
                {
                    "action": "Allow", "protocol": "TCP",
                    "source": { "selector": "(has(projectcalico.org/namespace) || a == 'b') && web == ''" },
                    "destination": { "ports": [80, "8080:8090", "https"] },
                },
                { "action": "Deny", "source": { "nets": ["10.0.0.0/24"] } },
            ],
            "egress": [{
                "action": "Pass", "ipVersion": 6, "protocol": "ICMPv6", "icmp": { "type": 128, "code": 0 },
                "destination": { "notNets": ["fd00::/64"], "notSelector": "db == ''" },
            }],
        }),
    );
    for (spec, types, wanted) in [
        ("", json!(["Ingress"]), json!({})),
        ("egress: [{action: allow}]", json!(["Egress"]), json!({})),
        ("egress: [{action: allow}], ingress: [{action: log}]", json!(["Ingress", "Egress"]), json!({})),
        ("preDNAT: true", json!(["Ingress"]), json!({ "preDNAT": true, "applyOnForward": true })),
    ] {
        let text =
            format!("{{apiVersion: v1, kind: policy, metadata: {{name: p, tier: Sec}}, spec: {{{spec}}}}}");
        let json = convert(&text).expect(&text);
        assert_eq!(json["metadata"]["name"], "sec-1da305d6.p", "{text}");
        assert_eq!(
            (&json["spec"]["types"], &json["spec"]["tier"]),
            (&types, &json!("sec-1da305d6")),
            "{text}"
        );
        for (field, value) in wanted.as_object().expect("a map") {
            assert_eq!(&json["spec"][field], value, "{text}");
        }
    }
}

#[test]
fn a_profiles_tags_are_labels_without_a_value() {
    becomes(
        "{apiVersion: v1, kind: profile, metadata: {name: k8s_ns.shop, tags: [web], labels: {a: b}}, spec: {egress: [{action: allow}]}}",
        json!({ "name": "kns.shop" }),
        json!({
            "labelsToApply": { "web": "", "a": "b" },
            "egress": [{ "action": "Allow" }],
        }),
    );
}

#[test]
fn a_workload_endpoint_is_named_after_what_its_orchestrator_knows() {
    let mk = |orchestrator: &str, workload: &str| {
        format!(
            "{{apiVersion: v1, kind: workloadEndpoint, metadata: {{name: eth0, node: vm-1, orchestrator: {orchestrator}, \
             workload: {workload}, activeInstanceID: c1, labels: {{calico/k8s_ns: shop}}}}, spec: {{interfaceName: cali1, \
             ipNetworks: ['fd00::1/128', 10.0.0.1/32], mac: 'ca:fe:00:00:00:01', profiles: [k8s_ns.shop], \
             ipNATs: [{{internalIP: 10.0.0.1, externalIP: 1.2.3.4}}], ipv4Gateway: 10.0.0.2, \
             ports: [{{name: http, protocol: tcp, port: 80}}]}}}}"
        )
    };
    let labels = json!({ "projectcalico.org/namespace": "shop" });
    becomes(
        &mk("k8s", "shop.web-1"),
        json!({ "name": "vm--1-k8s-web--1-eth0", "labels": labels }),
        json!({
            "orchestrator": "k8s", "node": "vm-1", "pod": "web-1", "containerID": "c1", "endpoint": "eth0",
            "interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32", "fd00::1/128"], "mac": "ca:fe:00:00:00:01",
            "profiles": ["kns.shop"], "ipNATs": [{ "internalIP": "10.0.0.1", "externalIP": "1.2.3.4" }],
            "ipv4Gateway": "10.0.0.2",
            "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "hostPort": 0, "hostIP": "" }],
        }),
    );
    for (orchestrator, workload, name) in [
        ("cni", "abc", "vm--1-cni-abc-eth0"),
        ("libnetwork", "libnetwork", "vm--1-libnetwork-libnetwork-eth0"),
        ("openstack", "a/b", "vm--1-openstack-a.b--3ec69c85-eth0"),
    ] {
        let json = convert(&mk(orchestrator, workload)).expect(orchestrator);
        assert_eq!(json["metadata"]["name"], name);
    }
}

#[test]
fn what_calico_refuses_is_refused_in_its_words() {
    let rule = |rule: &str| format!("kind: policy, metadata: {{name: p}}, spec: {{ingress: [{{{rule}}}]}}");
    for (object, message) in [
        ("kind: bgpPeer, metadata: {scope: global}, spec: {asNumber: 1}".to_owned(), "no PeerIP is set, invalid BGPPeer"),
        ("kind: bgpPeer, metadata: {scope: rack, peerIP: 1.2.3.4}".to_owned(), "error with field Scope = 'rack'"),
        ("kind: bgpPeer, metadata: {scope: global, node: a, peerIP: 1.2.3.4}".to_owned(), "error with field Metadata.Node = 'a' (no BGP Peer node name should be specified when scope is global)"),
        ("kind: bgpPeer, metadata: {scope: node, peerIP: 1.2.3.4}".to_owned(), "With Node scope a Node must be defined"),
        ("kind: bgpPeer, metadata: {peerIP: 1.2.3.4}".to_owned(), "insufficient identifiers, missing 'scope'"),
        ("kind: bgpPeer, metadata: {scope: global, peerIP: nowhere}".to_owned(), "invalid IP address: nowhere"),
        ("kind: hostEndpoint, metadata: {name: a, node: n}".to_owned(), "error with field InterfaceName = '' (no interface or expected IPs have been specified)"),
        ("kind: hostEndpoint, metadata: {name: a, node: n}, spec: {interfaceName: e, ports: [{name: p, protocol: icmp, port: 1}]}".to_owned(), "error with field EndpointPort.Protocol = 'ICMP' (EndpointPort protocol must be 'tcp' or 'udp' or 'sctp'.)"),
        ("kind: ipPool, metadata: {cidr: 10.0.0.0/28}".to_owned(), "error with field CIDR = '10.0.0.0/28' (IP pool size is too small (min /26) for use with Calico IPAM)"),
        ("kind: ipPool, metadata: {cidr: 10.0.0.1/24}".to_owned(), "error with field CIDR = '10.0.0.1/24' (IP pool CIDR is not strictly masked)"),
        ("kind: ipPool, metadata: {cidr: 169.254.1.0/24}".to_owned(), "error with field CIDR = '169.254.1.0/24' (IP pool range overlaps with IPv4 Link Local range 169.254.0.0/16)"),
        ("kind: ipPool, metadata: {cidr: 'fe80::/16'}, spec: {ipip: {enabled: true}}".to_owned(), "error with field IPIP.Enabled = 'true' (IPIP is not supported on an IPv6 IP pool)\nerror with field CIDR = 'fe80::/16' (IP pool range overlaps with IPv6 Link Local range fe80::/10)"),
        ("kind: ipPool, metadata: {cidr: 10.0.0.0/33}".to_owned(), "invalid CIDR address: 10.0.0.0/33"),
        ("kind: ipPool, metadata: {cidr: 10.0.0.0/24, name: a}".to_owned(), "field in document is not recognized or is in the wrong location: name"),
        ("kind: node, metadata: {name: a}, spec: {bgp: {asNumber: 1}}".to_owned(), "error with field BGP.IPv4Address = '<nil>' (no BGP IP address and subnet specified)"),
        ("kind: node, metadata: {name: a}, spec: {bgp: {ipv4Address: 'fd00::1'}}".to_owned(), "error with field BGP.IPv4Address = 'fd00::1' (invalid IPv4 address and subnet specified)"),
        ("kind: profile, metadata: {name: a, tags: [t], labels: {t: v}}".to_owned(), "Tag: 't' and Label 't == v' have the same value for Profile: a. Change the Label key before proceeding"),
        ("kind: policy, metadata: {name: p}, spec: {doNotTrack: true, preDNAT: true, types: [ingress, ingress]}".to_owned(), "error with field PolicySpec.PreDNAT = 'true' (PreDNAT and DoNotTrack cannot both be true, for a given PolicySpec)\nerror with field PolicySpec.Types = '[ingress ingress]' ('ingress' type specified more than once)"),
        ("kind: policy, metadata: {name: p}, spec: {preDNAT: true, egress: [{action: allow}], types: [egress]}".to_owned(), "error with field PolicySpec.EgressRules = '' (PreDNAT PolicySpec cannot have any EgressRules)\nerror with field PolicySpec.Types = '[egress]' (PreDNAT PolicySpec cannot have 'egress' Type)"),
        ("kind: policy, metadata: {name: p}, spec: {selector: 'a =='}".to_owned(), "error with field Selector = 'a =='"),
        (rule("action: Allow"), "error with field Action = 'Allow'"),
        (rule("action: allow, ipVersion: 5"), "error with field IPVersion = '5'"),
        (rule("action: allow, protocol: 0"), "error with field Protocol = '0' (protocol number invalid)"),
        (rule("action: allow, protocol: gre"), "error with field Protocol = 'gre' (protocol name invalid)"),
        (rule("action: allow, protocol: icmp, icmp: {code: 1}"), "error with field Code = '1' (ICMP code specified without an ICMP type)"),
        (rule("action: allow, source: {ports: [1, 2]}"), "error with field Source.Ports = '[1 2]' (rules that specify ports must set protocol to TCP or UDP or SCTP)"),
        (rule("action: allow, source: {net: 10.0.0.0/8}, destination: {nets: [11.0.0.0/8]}"), "error with field Source/Destination.Net/Nets = '[]' (only one of Net and Nets fields allowed)"),
        (rule("action: allow, source: {nets: [10.0.0.0/8]}, destination: {nets: ['fd00::/8']}"), "error with field Destination.Net(s) = '[fd00::/8]' (rule contains both IPv4 and IPv6 CIDRs)"),
        (rule("action: allow, ipVersion: 6, source: {nets: [10.0.0.0/8]}"), "error with field Source.Net(s) = '[10.0.0.0/8]' (rule IP version doesn't match CIDR version)"),
        ("kind: workloadEndpoint, metadata: {name: e, node: n, orchestrator: k8s, workload: pod}, spec: {interfaceName: c}".to_owned(), "malformed k8s workload ID 'pod': workload was not added through the Calico CNI plugin and cannot be converted"),
        ("kind: workloadEndpoint, metadata: {name: e, orchestrator: k8s, workload: a.pod}, spec: {interfaceName: c}".to_owned(), "error with field node = '' (field should be assigned)"),
        ("kind: workloadEndpoint, metadata: {name: e, node: n, orchestrator: k8s, workload: a.p}, spec: {interfaceName: c, ipNetworks: [10.0.0.0/24], ipNATs: [{internalIP: 11.0.0.1, externalIP: 'fd00::1'}]}".to_owned(), "error with field IPNetworks = '[10.0.0.0/24]' (IP network contains multiple addresses)\nerror with field ExternalIP = 'fd00::1' (mismatched IP versions)\nerror with field IPNATs = '[11.0.0.1<>fd00::1]' (NAT is not in the endpoint networks)"),
    ] {
        let text = format!("{{apiVersion: v1, {object}}}");
        assert_eq!(convert(&text).expect_err(&text), message, "{text}");
    }
}

#[test]
fn kubernetes_v1_is_another() {
    let (items, faults) = decode(
        "{apiVersion: v1, kind: Node, metadata: {name: a}}\n---\n- {apiVersion: v1, kind: node, metadata: {name: a}}\n",
    );
    assert_eq!(faults, []);
    let [Item::Other(node), Item::Old(Ok((Kind::Node, _)))] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(node.subject, "Node(a)");
}
