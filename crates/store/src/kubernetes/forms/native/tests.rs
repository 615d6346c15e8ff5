//! Kubernetes' own kinds, as they are read.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::super::{collections, of_key};
use super::*;
use crate::keys;

/// Metadata as the API sends it.
fn metadata(name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({
        "name": name,
        "uid": "5d8b7a3e-2f64-4f0e-9a56-1b1e0c7a9c11",
        "resourceVersion": "321",
        "generation": 1,
        "creationTimestamp": "2026-11-23T00:28:08Z",
        "labels": { "kubernetes.io/metadata.name": name },
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{\"kind\":\"X\"}",
            "cni.projectcalico.org/ipv4pools": "[\"pool1\"]"
        },
        "managedFields": [{ "manager": "kubectl", "operation": "Apply", "fieldsV1": { "f:metadata": {} } }]
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

const KEPT: &str = concat!(
    r#""uid":"5d8b7a3e-2f64-4f0e-9a56-1b1e0c7a9c11","creationTimestamp":"2026-11-23T00:28:08Z","#,
    r#""labels":{"kubernetes.io/metadata.name":"NAME"},"annotations":{"cni.projectcalico.org/ipv4pools":"[\"pool1\"]"}}"#,
);

#[test]
fn objects_of_kubernetes_read_as_they_are_but_for_what_nobody_reads() {
    let metadata_text = |name: &str, namespace: Option<&str>| {
        let namespace =
            namespace.map(|namespace| format!(r#""namespace":"{namespace}","#)).unwrap_or_default();
        format!(r#""metadata":{{"name":"{name}",{namespace}{}"#, KEPT.replace("NAME", name))
    };
    let policy_spec = json!({
        "podSelector": { "matchLabels": { "app": "web" } },
        "policyTypes": ["Ingress"],
        "ingress": [{ "from": [{ "ipBlock": { "cidr": "10.0.0.0/8" } }], "ports": [{ "port": 80, "protocol": "TCP" }] }],
        "notYetKnown": true
    });
    let table = [
        (
            ("namespaces/prod", "prod", None),
            json!({ "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" } }),
            r#"{"kind":"Namespace","apiVersion":"v1",METADATA}"#,
        ),
        (
            ("serviceaccounts/prod/web", "web", Some("prod")),
            json!({ "secrets": [{ "name": "s" }], "automountServiceAccountToken": false }),
            r#"{"kind":"ServiceAccount","apiVersion":"v1",METADATA}"#,
        ),
        (
            ("services/prod/web", "web", Some("prod")),
            json!({
                "spec": {
                    "type": "ClusterIP", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"],
                    "selector": { "app": "web" }, "sessionAffinity": "None",
                    "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }]
                },
                "status": { "loadBalancer": {} }
            }),
            r#"{"kind":"Service","apiVersion":"v1",METADATA,"spec":{"selector":{"app":"web"},"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7"],"ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":8080}],"type":"ClusterIP"}}"#,
        ),
        (
            ("endpointslices/prod/web-x", "web-x", Some("prod")),
            json!({
                "addressType": "IPv4",
                "endpoints": [{
                    "addresses": ["10.0.0.1"], "conditions": { "ready": true }, "nodeName": "n1", "zone": "z1",
                    "hints": { "forZones": [] }
                }],
                "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }]
            }),
            r#"{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1",METADATA,"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true},"nodeName":"n1"}],"ports":[{"name":"http","protocol":"TCP","port":8080}]}"#,
        ),
        (
            ("endpointslices/prod/empty", "empty", Some("prod")),
            json!({ "addressType": "IPv4", "endpoints": null, "ports": null }),
            r#"{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1",METADATA,"addressType":"IPv4"}"#,
        ),
        (
            ("kubernetesnetworkpolicies/prod/np", "np", Some("prod")),
            json!({ "spec": policy_spec }),
            r#"{"kind":"NetworkPolicy","apiVersion":"networking.k8s.io/v1",METADATA,"spec":{"podSelector":{"matchLabels":{"app":"web"}},"ingress":[{"ports":[{"protocol":"TCP","port":80}],"from":[{"ipBlock":{"cidr":"10.0.0.0/8"}}]}],"policyTypes":["Ingress"],"notYetKnown":true}}"#,
        ),
        (
            // The API always says a spec; without, it means all pods and allows nothing.
            ("kubernetesnetworkpolicies/prod/bare", "bare", Some("prod")),
            json!({}),
            r#"{"kind":"NetworkPolicy","apiVersion":"networking.k8s.io/v1",METADATA,"spec":{"podSelector":{}}}"#,
        ),
        (
            ("kubernetesclusternetworkpolicies/cnp", "cnp", None),
            json!({
                "spec": { "tier": "Admin", "priority": 5, "subject": { "namespaces": {} } },
                "status": { "conditions": [{ "type": "Accepted" }] }
            }),
            r#"{"kind":"ClusterNetworkPolicy","apiVersion":"policy.networking.k8s.io/v1alpha2",METADATA,"spec":{"tier":"Admin","priority":5,"subject":{"namespaces":{}}},"status":{}}"#,
        ),
    ];
    for ((rest, name, namespace), mut object, want) in table {
        let key = format!("{}kubernetes.io/{rest}", keys::RESOURCES);
        object["metadata"] = metadata(name, namespace);
        let read = of_key(collections(), &key).unwrap().read(object.to_string().as_bytes()).unwrap().unwrap();
        assert!(super::super::tests::is_taken_for_itself(&read), "{key}");
        assert_eq!((read.key, read.version), (key, 321));
        let want = want.replace("METADATA", &metadata_text(name, namespace));
        let json = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
        assert_eq!(json(&read.value), json(want.as_bytes()));
    }
}

#[test]
fn what_does_not_fit_its_kind_is_named_with_its_key() {
    let key = format!("{}kubernetes.io/endpointslices/prod/x", keys::RESOURCES);
    let object = json!({ "metadata": metadata("x", Some("prod")), "addressType": 4 });
    let fault = of_key(collections(), &key).unwrap().read(object.to_string().as_bytes()).unwrap_err();
    assert_eq!((fault.key.as_ref(), fault.version, fault.field.as_str()), (Some(&key), Some(321), "object"));
    assert!(fault.found.contains("expected a string"), "{fault}");
    let fault = of_key(collections(), &key).unwrap().read(b"{").unwrap_err();
    assert_eq!((fault.key, fault.version), (None, None));
}
