//! Nodes, both ways.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const PREFIX: &str = "/calico/resources/v3/projectcalico.org/nodes/";

/// A node as the API server sends it, with all of Calico's annotations.
fn node() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "node1",
            "uid": "c4ab9b06-1e4d-4d36-a4c2-61a8727ab55b",
            "resourceVersion": "99",
            "creationTimestamp": "2026-11-23T00:28:08Z",
            "labels": { "kubernetes.io/hostname": "node1", "shadowed": "kubernetes" },
            "annotations": {
                "node.alpha.kubernetes.io/ttl": "0",
                "projectcalico.org/ASNumber": "64512",
                "projectcalico.org/IPv4Address": "192.0.2.1/24",
                "projectcalico.org/IPv4IPIPTunnelAddr": "192.168.0.1",
                "projectcalico.org/IPv4VXLANTunnelAddr": "192.168.0.2",
                "projectcalico.org/IPv4WireguardInterfaceAddr": "192.168.0.3",
                "projectcalico.org/IPv6Address": "2001:db8::1/64",
                "projectcalico.org/IPv6VXLANTunnelAddr": "fd00::2",
                "projectcalico.org/IPv6WireguardInterfaceAddr": "fd00::3",
                "projectcalico.org/Interfaces": "[{\"name\":\"eth0\",\"addresses\":[\"192.0.2.1\"]}]",
                "projectcalico.org/RouteReflectorClusterID": "244.0.0.1",
                "projectcalico.org/VXLANTunnelMACAddr": "66:cf:23:df:22:07",
                "projectcalico.org/VXLANTunnelMACAddrV6": "66:cf:23:df:22:08",
                "projectcalico.org/WireguardPublicKey": "key4",
                "projectcalico.org/WireguardPublicKeyV6": "key6",
                "projectcalico.org/annotations": "{\"note\":\"hello\"}",
                "projectcalico.org/labels": "{\"rack\":\"r1\",\"shadowed\":\"calico\"}"
            },
            "managedFields": []
        },
        "spec": { "podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"], "taints": [] },
        "status": {
            "addresses": [
                { "type": "InternalIP", "address": "192.0.2.1" },
                { "type": "Hostname", "address": "node1" },
                { "type": "ExternalIP", "address": "203.0.113.1" }
            ],
            "images": [{ "names": ["a"], "sizeBytes": 1 }]
        }
    })
}

const STORED: &str = concat!(
    r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","#,
    r#""metadata":{"name":"node1","uid":"c4ab9b06-1e4d-4d36-a4c2-61a8727ab55b","creationTimestamp":"2026-11-23T00:28:08Z","#,
    r#""labels":{"kubernetes.io/hostname":"node1","rack":"r1","shadowed":"kubernetes"},"#,
    r#""annotations":{"note":"hello","projectcalico.org/kube-labels":"{\"kubernetes.io/hostname\":\"node1\",\"shadowed\":\"kubernetes\"}"}},"#,
    r#""spec":{"bgp":{"asNumber":64512,"ipv4Address":"192.0.2.1/24","ipv6Address":"2001:db8::1/64","#,
    r#""ipv4IPIPTunnelAddr":"192.168.0.1","routeReflectorClusterID":"244.0.0.1"},"#,
    r#""ipv4VXLANTunnelAddr":"192.168.0.2","vxlanTunnelMACAddr":"66:cf:23:df:22:07","#,
    r#""ipv6VXLANTunnelAddr":"fd00::2","vxlanTunnelMACAddrV6":"66:cf:23:df:22:08","#,
    r#""orchRefs":[{"nodeName":"node1","orchestrator":"k8s"}],"#,
    r#""wireguard":{"interfaceIPv4Address":"192.168.0.3","interfaceIPv6Address":"fd00::3"},"#,
    r#""addresses":[{"address":"192.0.2.1/24","type":"CalicoNodeIP"},{"address":"2001:db8::1/64","type":"CalicoNodeIP"},"#,
    r#"{"address":"192.0.2.1","type":"InternalIP"},{"address":"203.0.113.1","type":"ExternalIP"}],"#,
    r#""interfaces":[{"name":"eth0","addresses":["192.0.2.1"]}]},"#,
    r#""status":{"wireguardPublicKey":"key4","wireguardPublicKeyV6":"key6","podCIDRs":["10.244.0.0/24"]}}"#,
);

fn value_of(node: &Value) -> Value {
    serde_json::from_slice(&read(PREFIX, node.to_string().as_bytes()).unwrap().value).unwrap()
}

/// A JSON merge patch, as the API server applies it.
fn patched(mut object: Value, patch: &Value) -> Value {
    if let (Some(object), Some(patch)) = (object.as_object_mut(), patch.as_object()) {
        for (name, value) in patch {
            match value {
                Value::Null => drop(object.remove(name)),
                value => {
                    let inner = object.remove(name).unwrap_or_else(|| json!({}));
                    object.insert(
                        name.clone(),
                        if value.is_object() { patched(inner, value) } else { value.clone() },
                    );
                }
            }
        }
    }
    object
}

#[test]
fn a_node_is_what_its_annotations_say() {
    let read = read(PREFIX, node().to_string().as_bytes()).unwrap();
    assert!(super::super::tests::is_taken_for_itself(&read));
    assert_eq!((read.key, read.version), (format!("{PREFIX}node1"), 99));
    assert_eq!(String::from_utf8(read.value).unwrap(), STORED);
}

#[test]
fn writing_a_node_back_changes_only_what_kubernetes_labels_hide() {
    let mut want = node();
    // A label of Calico's that one of Kubernetes' hides is lost, as with Calico.
    want["metadata"]["annotations"]["projectcalico.org/labels"] = json!(r#"{"rack":"r1"}"#);
    assert_eq!(patched(node(), &write(STORED.as_bytes()).unwrap()), want);
}

#[test]
fn what_is_not_set_is_taken_away_and_what_is_others_stays() {
    let value =
        json!({ "metadata": { "name": "node1" }, "spec": { "bgp": { "asNumber": 7, "ipv4Address": "" } } });
    let object = patched(node(), &write(value.to_string().as_bytes()).unwrap());
    assert_eq!(
        object["metadata"]["annotations"],
        json!({ "node.alpha.kubernetes.io/ttl": "0", "projectcalico.org/ASNumber": "7" })
    );
    assert_eq!((&object["spec"], &object["status"]), (&node()["spec"], &node()["status"]));
    assert_eq!(object["metadata"]["labels"], node()["metadata"]["labels"]);
}

#[test]
fn a_node_that_calico_does_not_know_yet_is_one_all_the_same() {
    let bare = json!({ "metadata": { "name": "n", "uid": "u", "resourceVersion": "1" } });
    let want = r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"n","uid":"u","annotations":{"projectcalico.org/kube-labels":"null"}},"spec":{"orchRefs":[{"nodeName":"n","orchestrator":"k8s"}]},"status":{}}"#;
    let value = read(PREFIX, bare.to_string().as_bytes()).unwrap().value;
    assert_eq!(String::from_utf8(value.clone()).unwrap(), want);
    assert_eq!(patched(bare.clone(), &write(&value).unwrap())["metadata"]["annotations"], json!({}));
}

#[test]
fn annotations_that_cannot_be_read_are_as_if_they_were_not_there() {
    for (name, text, path) in [
        ("IPv4Address", "2001:db8::1/64", "/spec/bgp/ipv4Address"),
        ("IPv4Address", "192.0.2.1/33", "/spec/bgp/ipv4Address"),
        ("IPv6Address", "192.0.2.1/24", "/spec/bgp/ipv6Address"),
        ("ASNumber", "many", "/spec/bgp/asNumber"),
        ("RouteReflectorClusterID", "rr", "/spec/bgp/routeReflectorClusterID"),
        ("IPv4IPIPTunnelAddr", "192.168.0.1/32", "/spec/bgp/ipv4IPIPTunnelAddr"),
        ("IPv4VXLANTunnelAddr", "x", "/spec/ipv4VXLANTunnelAddr"),
        ("IPv6VXLANTunnelAddr", "192.168.0.1", "/spec/ipv6VXLANTunnelAddr"),
        ("VXLANTunnelMACAddr", "66:cf:23:df:22", "/spec/vxlanTunnelMACAddr"),
        ("VXLANTunnelMACAddr", "66:cf:23:df:22:zz", "/spec/vxlanTunnelMACAddr"),
        ("Interfaces", "eth0", "/spec/interfaces"),
        ("labels", "[]", "/metadata/labels/rack"),
        ("annotations", "note", "/metadata/annotations/note"),
    ] {
        assert!(value_of(&node()).pointer(path).is_some(), "{name}");
        let mut node = node();
        node["metadata"]["annotations"][format!("projectcalico.org/{name}")] = json!(text);
        assert_eq!(value_of(&node).pointer(path), None, "{name}: {text}");
    }
}

#[test]
fn a_value_whose_labels_cannot_be_told_apart_is_refused() {
    for (annotation, want) in [
        (
            "Garbage",
            r#"metadata.annotations[projectcalico.org/kube-labels]: found "Garbage", expected JSON of labels, or null"#,
        ),
        (
            "[]",
            r#"metadata.annotations[projectcalico.org/kube-labels]: found "[]", expected JSON of labels, or null"#,
        ),
    ] {
        let value = json!({ "metadata": { "annotations": { KUBE_LABELS: annotation } } });
        assert_eq!(write(value.to_string().as_bytes()).unwrap_err().to_string(), want);
    }
}
