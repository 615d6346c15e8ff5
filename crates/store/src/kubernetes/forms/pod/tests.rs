//! Pods as endpoints, and what is written of them.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const PREFIX: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/";

/// A pod as the API server of a cluster with Calico's plugin sends it, without what nobody reads but field managers.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "frontend-5gs43",
            "generateName": "frontend-",
            "namespace": "prod",
            "uid": "0cdaa344-0bb7-4328-b371-a14a963e79ee",
            "resourceVersion": "4711",
            "creationTimestamp": "2026-11-23T00:28:08Z",
            "labels": { "app": "frontend", "projectcalico.org/namespace": "lies" },
            "annotations": {
                "cni.projectcalico.org/containerID": "1337495556942031415926535",
                "cni.projectcalico.org/podIP": "192.168.0.4/32",
                "cni.projectcalico.org/podIPs": "192.168.0.4/32,fd00::4/128",
                "kubernetes.io/config.source": "api"
            },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "frontend", "uid": "u" }],
            "managedFields": [{ "manager": "kubelet", "operation": "Update", "fieldsV1": { "f:status": {} } }]
        },
        "spec": {
            "nodeName": "node-1",
            "serviceAccountName": "front",
            "containers": [{
                "name": "web",
                "image": "nginx",
                "ports": [
                    { "name": "http", "containerPort": 8080, "protocol": "TCP" },
                    { "containerPort": 53, "hostPort": 5353, "hostIP": "192.0.2.1", "protocol": "UDP" },
                    { "containerPort": 9090, "protocol": "TCP" },
                    { "name": "odd", "containerPort": 9091, "protocol": "DCCP" }
                ],
                "resources": { "limits": { "cpu": "1" } }
            }],
            "initContainers": [
                { "name": "mesh", "restartPolicy": "Always", "ports": [{ "name": "admin", "containerPort": 15000 }] }
            ],
            "tolerations": [{ "key": "a", "operator": "Exists" }]
        },
        "status": {
            "phase": "Running",
            "podIP": "192.168.0.4",
            "podIPs": [{ "ip": "192.168.0.4" }, { "ip": "fd00::4" }],
            "conditions": [{ "type": "Ready", "status": "True" }]
        }
    })
}

type Changes = Vec<(&'static str, Value)>;

/// A pod with some fields set, or taken away where the value is null.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut pod = pod();
    for (path, value) in changes {
        let (parent, name) = path.rsplit_once('|').unwrap();
        let parent = pod.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(name)),
            value => drop(parent.insert((*name).to_owned(), value.clone())),
        }
    }
    pod
}

fn read_one(pod: &Value) -> Result<Option<Read>, Unreadable> {
    read(PREFIX, pod.to_string().as_bytes())
}

fn value_of(pod: &Value) -> Value {
    serde_json::from_slice(&read_one(pod).unwrap().unwrap().value).unwrap()
}

#[test]
fn a_pod_is_the_endpoint_that_calico_makes_of_it() {
    let read = read_one(&pod()).unwrap().unwrap();
    assert!(super::super::tests::is_taken_for_itself(&read));
    assert_eq!(read.key, format!("{PREFIX}prod/node--1-k8s-frontend--5gs43-eth0"));
    assert_eq!((read.version, read.uid.as_str()), (4711, "0cdaa344-0bb7-4328-b371-a14a963e79ee"));
    assert_eq!(
        String::from_utf8(read.value).unwrap(),
        concat!(
            r#"{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","#,
            r#""metadata":{"name":"node--1-k8s-frontend--5gs43-eth0","generateName":"frontend-","namespace":"prod","#,
            r#""uid":"0cdaa344-0bb7-4328-b371-a14a963e79ee","creationTimestamp":"2026-11-23T00:28:08Z","#,
            r#""labels":{"app":"frontend","projectcalico.org/namespace":"prod","projectcalico.org/orchestrator":"k8s","#,
            r#""projectcalico.org/serviceaccount":"front"}},"#,
            r#""spec":{"orchestrator":"k8s","node":"node-1","containerID":"1337495556942031415926535","#,
            r#""pod":"frontend-5gs43","endpoint":"eth0","serviceAccountName":"front","#,
            r#""ipNetworks":["192.168.0.4/32","fd00::4/128"],"profiles":["kns.prod","ksa.prod.front"],"#,
            r#""interfaceName":"cali3fbca74d23a","#,
            r#""ports":[{"name":"http","protocol":"TCP","port":8080,"hostPort":0,"hostIP":""},"#,
            r#"{"name":"","protocol":"UDP","port":53,"hostPort":5353,"hostIP":"192.0.2.1"},"#,
            r#"{"name":"admin","protocol":"TCP","port":15000,"hostPort":0,"hostIP":""}]}}"#,
        )
    );
}

#[test]
fn pods_in_their_hosts_network_or_on_no_node_are_no_endpoints() {
    for change in
        [("/spec|hostNetwork", json!(true)), ("/spec|nodeName", Value::Null), ("/spec|nodeName", json!(""))]
    {
        assert_eq!(read_one(&with(std::slice::from_ref(&change))), Ok(None), "{change:?}");
    }
}

#[test]
fn addresses_are_the_plugins_before_kubelets_and_end_with_the_pod() {
    const IPS: &str = "/metadata/annotations|cni.projectcalico.org/podIPs";
    const IP: &str = "/metadata/annotations|cni.projectcalico.org/podIP";
    const AWS: &str = "/metadata/annotations|vpc.amazonaws.com/pod-ips";
    let none: [&str; 0] = [];
    let leaving = ("/metadata|deletionTimestamp", json!("2026-11-23T00:30:00Z"));
    let table: Vec<(Changes, Vec<&str>)> = vec![
        (vec![(IPS, json!("10.0.0.9"))], vec!["10.0.0.9/32"]),
        (vec![(IPS, Value::Null)], vec!["192.168.0.4/32"]),
        (vec![(IPS, Value::Null), (IP, Value::Null)], vec!["192.168.0.4/32", "fd00::4/128"]),
        (
            vec![(IPS, Value::Null), (IP, Value::Null), ("/status|podIPs", Value::Null)],
            vec!["192.168.0.4/32"],
        ),
        (
            vec![
                (IPS, Value::Null),
                (IP, Value::Null),
                ("|status", json!({})),
                (AWS, json!("10.1.0.1,10.1.0.2")),
            ],
            vec!["10.1.0.1/32", "10.1.0.2/32"],
        ),
        (vec![(IPS, Value::Null), (IP, Value::Null), ("|status", json!({}))], none.to_vec()),
        // Emptied by the plugin; only a pod that leaves is believed to be without.
        (vec![leaving.clone(), (IP, json!("")), (IPS, json!(""))], none.to_vec()),
        (vec![leaving.clone(), (AWS, json!(""))], none.to_vec()),
        (vec![leaving], vec!["192.168.0.4/32", "fd00::4/128"]),
        (vec![("/status|phase", json!("Succeeded"))], none.to_vec()),
        (vec![("/status|phase", json!("Failed"))], none.to_vec()),
        (vec![("/status|phase", json!("Pending"))], vec!["192.168.0.4/32", "fd00::4/128"]),
    ];
    for (changes, want) in table {
        let value = value_of(&with(&changes));
        let found = value.pointer("/spec/ipNetworks").cloned().unwrap_or_else(|| json!([]));
        assert_eq!(found, json!(want), "{changes:?}");
    }
}

#[test]
fn annotations_give_floating_addresses_prefixes_limits_and_the_state_of_other_networks() {
    let value = value_of(&with(&[
        (
            "/metadata/annotations|cni.projectcalico.org/floatingIPs",
            json!(r#"["203.0.113.4","2001:db8::4"]"#),
        ),
        ("/metadata/annotations|cni.projectcalico.org/allowedSourcePrefixes", json!(r#"["10.9.8.7/24"]"#)),
        ("/metadata/annotations|qos.projectcalico.org/ingressPacketRate", json!("100")),
        ("/metadata/annotations|k8s.v1.cni.cncf.io/network-status", json!("[]")),
    ]));
    assert_eq!(
        value["spec"]["ipNATs"],
        json!([
            { "internalIP": "192.168.0.4", "externalIP": "203.0.113.4" },
            { "internalIP": "fd00::4", "externalIP": "2001:db8::4" },
        ])
    );
    assert_eq!(value["spec"]["allowSpoofedSourcePrefixes"], json!(["10.9.8.0/24"]));
    assert_eq!(value["spec"]["qosControls"], json!({ "ingressPacketRate": 100, "ingressPacketBurst": 5 }));
    assert_eq!(value["metadata"]["annotations"], json!({ "k8s.v1.cni.cncf.io/network-status": "[]" }));
}

#[test]
fn long_names_of_service_accounts_are_no_labels() {
    for (length, is_label) in [(62, true), (63, false)] {
        let name = "a".repeat(length);
        let value = value_of(&with(&[("/spec|serviceAccountName", json!(name))]));
        assert_eq!(value["metadata"]["labels"].get("projectcalico.org/serviceaccount").is_some(), is_label);
        assert_eq!(value["spec"]["profiles"][1], json!(format!("ksa.prod.{name}")));
    }
    let value = value_of(&with(&[("/spec|serviceAccountName", Value::Null)]));
    assert_eq!(value["spec"]["profiles"], json!(["kns.prod"]));
}

#[test]
fn what_cannot_be_read_of_a_pod_is_named_with_its_key() {
    let key = format!("{PREFIX}prod/node--1-k8s-frontend--5gs43-eth0");
    for (path, value, want) in [
        (
            "/metadata/annotations|cni.projectcalico.org/podIPs",
            "10.0.0.1,bad",
            r#"metadata.annotations[cni.projectcalico.org/podIPs]: found "bad", expected an address, with or without a prefix length"#,
        ),
        (
            "/metadata/annotations|cni.projectcalico.org/podIPs",
            "10.0.0.1/24",
            "metadata.annotations[cni.projectcalico.org/podIPs]: found 10.0.0.0/24, expected single addresses, for floating ones",
        ),
        (
            "/metadata/annotations|cni.projectcalico.org/floatingIPs",
            "203.0.113.4",
            r#"metadata.annotations[cni.projectcalico.org/floatingIPs]: found "203.0.113.4", expected a JSON list of addresses"#,
        ),
        (
            "/metadata/annotations|cni.projectcalico.org/allowedSourcePrefixes",
            r#"["10.0.0.1"]"#,
            r#"metadata.annotations[cni.projectcalico.org/allowedSourcePrefixes]: found "10.0.0.1", expected a network as 10.0.0.0/24"#,
        ),
    ] {
        let floating =
            ("/metadata/annotations|cni.projectcalico.org/floatingIPs", json!(r#"["203.0.113.4"]"#));
        let fault = read_one(&with(&[floating, (path, json!(value))])).unwrap_err();
        assert_eq!(
            (fault.to_string().as_str(), fault.key.as_ref(), fault.version),
            (want, Some(&key), Some(4711))
        );
    }
    let fault = read_one(&with(&[("/metadata|resourceVersion", json!("x"))])).unwrap_err();
    assert_eq!(fault.to_string(), r#"metadata.resourceVersion: found "x", expected a number"#);
    let fault = read_one(&with(&[("/metadata|name", json!(""))])).unwrap_err();
    assert_eq!(fault.to_string(), "metadata.name: found none, expected a name");
}

#[test]
fn writing_an_endpoint_patches_the_annotations_that_calicos_plugin_writes() {
    for (spec, want) in [
        (
            json!({ "ipNetworks": ["10.0.0.1/32", "fd00::1/128"], "containerID": "c1", "node": "n" }),
            json!({
                "cni.projectcalico.org/podIP": "10.0.0.1/32",
                "cni.projectcalico.org/podIPs": "10.0.0.1/32,fd00::1/128",
                "cni.projectcalico.org/containerID": "c1",
            }),
        ),
        (
            json!({ "ipNetworks": ["10.0.0.1/32"] }),
            json!({ "cni.projectcalico.org/podIP": "10.0.0.1/32", "cni.projectcalico.org/podIPs": "10.0.0.1/32" }),
        ),
        (json!({ "containerID": "c1" }), json!({})),
    ] {
        // Another container's host ports.
        let metadata = json!({ "annotations": { "tortie/host-ports": "c0" } });
        let patch = write(json!({ "metadata": metadata, "spec": spec }).to_string().as_bytes()).unwrap();
        assert_eq!(patch, json!({ "metadata": { "annotations": want } }));
    }
    let metadata = json!({ "annotations": { "tortie/host-ports": "c1" } });
    let spec = json!({ "ipNetworks": ["10.0.0.1/32"], "containerID": "c1" });
    let patch = write(json!({ "metadata": metadata, "spec": spec }).to_string().as_bytes()).unwrap();
    assert_eq!(patch["metadata"]["annotations"]["tortie/host-ports"], "c1");
    assert_eq!(
        removal(),
        json!({ "metadata": { "annotations": { "cni.projectcalico.org/podIP": "", "cni.projectcalico.org/podIPs": "", "tortie/host-ports": null } } })
    );
    assert!(write(b"[]").is_err());
}
