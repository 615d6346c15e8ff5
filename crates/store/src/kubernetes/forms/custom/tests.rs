//! Custom resources, both ways.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::super::{Written, collections, of_key};
use super::*;
use crate::keys;

const UID: &str = "41cb1fde-57e7-42c1-a73b-0acaf38c7737";
const CONVERTED: &str = "82d3f87b-eae7-4283-a7dc-5053cf31eeec";

fn collection(rest: &str) -> (String, &'static Collection) {
    let key = format!("{}projectcalico.org/{rest}", keys::RESOURCES);
    let collection = of_key(collections(), &key).unwrap();
    (key, collection)
}

fn read_at(rest: &str, object: &Value) -> Result<Read, Unreadable> {
    collection(rest).1.read(object.to_string().as_bytes()).map(Option::unwrap)
}

fn written(rest: &str, value: &Value, standing: Option<&Value>) -> Value {
    let (key, collection) = collection(rest);
    match collection.write(&key, value.to_string().as_bytes(), standing).unwrap() {
        Written::Object(object) => object,
        Written::Patch(_) => unreachable!("custom resources are written whole"),
    }
}

fn text(read: Read) -> String {
    String::from_utf8(read.value).unwrap()
}

/// A pool as Calico's installer stores it, in the form of `kubectl get -o json`.
fn pool() -> Value {
    json!({
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "IPPool",
        "metadata": {
            "annotations": {
                "projectcalico.org/metadata": "{\"generation\":1,\"creationTimestamp\":\"2026-04-01T18:58:29Z\",\"labels\":{\"app.kubernetes.io/managed-by\":\"tigera-operator\"}}"
            },
            "creationTimestamp": "2026-04-01T18:58:30Z",
            "finalizers": ["projectcalico.org/ippool-finalizer"],
            "generation": 1,
            "managedFields": [{ "manager": "operator", "operation": "Update" }],
            "name": "default-ipv4-ippool",
            "resourceVersion": "1470",
            "uid": UID
        },
        "spec": {
            "allowedUses": ["Workload", "Tunnel"],
            "assignmentMode": "Automatic",
            "blockSize": 26,
            "cidr": "192.168.0.0/16",
            "ipipMode": "Never",
            "natOutgoing": true,
            "nodeSelector": "all()",
            "notYetKnown": { "a": [1] },
            "vxlanMode": "CrossSubnet"
        }
    })
}

const POOL: &str = "ippools/default-ipv4-ippool";

#[test]
fn a_resource_reads_as_it_stands_in_etcd_and_is_written_back_to_the_field() {
    let read = read_at(POOL, &pool()).unwrap();
    assert_eq!((read.key.clone(), read.version, read.uid.as_str()), (collection(POOL).0, 1470, UID));
    let value = text(read);
    assert_eq!(
        value,
        concat!(
            r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"default-ipv4-ippool","#,
            r#""uid":"82d3f87b-eae7-4283-a7dc-5053cf31eeec","creationTimestamp":"2026-04-01T18:58:29Z","#,
            r#""labels":{"app.kubernetes.io/managed-by":"tigera-operator"}},"#,
            r#""spec":{"cidr":"192.168.0.0/16","vxlanMode":"CrossSubnet","ipipMode":"Never","natOutgoing":true,"blockSize":26,"#,
            r#""nodeSelector":"all()","allowedUses":["Workload","Tunnel"],"assignmentMode":"Automatic","notYetKnown":{"a":[1]}}}"#,
        )
    );
    let back = written(POOL, &serde_json::from_str(&value).unwrap(), Some(&pool()));
    let mut want = pool();
    want["metadata"].as_object_mut().unwrap().remove("managedFields");
    want["metadata"]["annotations"][METADATA] = json!(
        r#"{"creationTimestamp":"2026-04-01T18:58:29Z","labels":{"app.kubernetes.io/managed-by":"tigera-operator"}}"#
    );
    assert_eq!(back, want);
}

/// A network set as `kubectl apply` makes it, without Calico's annotation.
fn applied() -> Value {
    json!({
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "NetworkSet",
        "metadata": {
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
            "creationTimestamp": "2026-11-23T00:28:08Z",
            "generation": 1,
            "labels": { "role": "db" },
            "managedFields": [],
            "name": "set",
            "namespace": "prod",
            "resourceVersion": "8",
            "uid": UID
        },
        "spec": { "nets": ["10.0.0.0/8"] }
    })
}

#[test]
fn a_resource_that_kubectl_made_reads_alike_and_keeps_what_is_kubectls() {
    let value = text(read_at("networksets/prod/set", &applied()).unwrap());
    assert_eq!(
        value,
        concat!(
            r#"{"kind":"NetworkSet","apiVersion":"projectcalico.org/v3","metadata":{"name":"set","namespace":"prod","#,
            r#""uid":"82d3f87b-eae7-4283-a7dc-5053cf31eeec","creationTimestamp":"2026-11-23T00:28:08Z","#,
            r#""labels":{"role":"db"},"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"#,
            r#""spec":{"nets":["10.0.0.0/8"]}}"#,
        )
    );
    let mut changed: Value = serde_json::from_str(&value).unwrap();
    changed["metadata"]["labels"] = json!({ "role": "cache", "new": "1", "projectcalico.org/new": "2" });
    let back = written("networksets/prod/set", &changed, Some(&applied()));
    assert_eq!(back["metadata"]["labels"], json!({ "role": "cache", "projectcalico.org/new": "2" }));
    let annotations = back["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations["kubectl.kubernetes.io/last-applied-configuration"], "{}");
    let kept: Value = serde_json::from_str(annotations[METADATA].as_str().unwrap()).unwrap();
    assert_eq!(kept["labels"], changed["metadata"]["labels"]);
    assert_eq!(kept.get("name"), None);
    // And it reads as it was written.
    let again = text(
        read_at("networksets/prod/set", &{
            let mut back = back;
            back["metadata"]["resourceVersion"] = json!("9");
            back
        })
        .unwrap(),
    );
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), changed);
}

#[test]
fn a_new_resource_has_its_metadata_in_the_annotation() {
    let value = json!({
        "kind": "GlobalNetworkPolicy",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {
            "name": "gnp-rich",
            "uid": "2167fabf-d467-4c69-b38d-fe8b737ed576",
            "creationTimestamp": "2026-11-23T00:28:08Z",
            "labels": { "projectcalico.org/tier": "sec", "x": "y" },
            "annotations": { "k": "v", "projectcalico.org/metadata": "{\"name\":\"gnp-rich\"}" }
        },
        "spec": { "tier": "sec", "order": 12.25, "selector": "app == 'web' && has(role)" }
    });
    assert_eq!(
        written("globalnetworkpolicies/gnp-rich", &value, None),
        json!({
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "GlobalNetworkPolicy",
            "metadata": {
                "name": "gnp-rich",
                "labels": { "projectcalico.org/tier": "sec" },
                "annotations": {
                    "projectcalico.org/metadata": r#"{"name":"gnp-rich","creationTimestamp":"2026-11-23T00:28:08Z","labels":{"projectcalico.org/tier":"sec","x":"y"},"annotations":{"k":"v"}}"#,
                },
            },
            "spec": { "tier": "sec", "order": 12.25, "selector": "app == 'web' && has(role)" },
        })
    );
}

#[test]
fn policies_of_old_releases_keep_their_tiers_name_in_the_key_and_the_users_in_the_annotation() {
    for (kept, want) in [
        (Some(r#"{"name":"np","labels":{"a":"b"}}"#), json!({ METADATA: r#"{"name":"np"}"# })),
        (Some(r#"{"creationTimestamp":null}"#), json!({ METADATA: r#"{"name":"default.np"}"# })),
        (None, Value::Null),
    ] {
        let mut policy = json!({
            "metadata": { "name": "default.np", "namespace": "prod", "resourceVersion": "3", "uid": UID },
            "spec": { "tier": "default" },
        });
        if let Some(kept) = kept {
            policy["metadata"]["annotations"] = json!({ METADATA: kept });
        }
        let read = read_at("networkpolicies/prod/default.np", &policy).unwrap();
        assert!(super::super::tests::is_taken_for_itself(&read));
        assert_eq!(read.key, collection("networkpolicies/prod/default.np").0);
        let value: Value = serde_json::from_slice(&read.value).unwrap();
        assert_eq!(value["metadata"]["name"], "default.np");
        assert_eq!(value["metadata"].get("annotations").cloned().unwrap_or_default(), want);
        let back = written("networkpolicies/prod/default.np", &value, Some(&policy));
        assert_eq!(back["metadata"]["name"], "default.np");
        let text = back["metadata"]["annotations"][METADATA].as_str().unwrap();
        let given = if kept.is_some_and(|kept| kept.contains("name")) { "np" } else { "default.np" };
        assert_eq!(serde_json::from_str::<Value>(text).unwrap()["name"], given);
    }
}

#[test]
fn uids_and_owners_are_others_on_each_side() {
    assert_eq!(converted_uid(UID, "").unwrap(), CONVERTED);
    assert_eq!(converted_uid(CONVERTED, "").unwrap(), UID);
    let owner = |version: &str, uid: &str| json!({ "apiVersion": version, "kind": "Tier", "name": "sec", "uid": uid });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u" });
    for stored in ["crd.projectcalico.org/v1", "projectcalico.org/v3"] {
        let kept = json!({ "ownerReferences": [owner(stored, UID), pod] }).to_string();
        let mut object = applied();
        object["metadata"]["annotations"][METADATA] = json!(kept);
        let value: Value =
            serde_json::from_str(&text(read_at("networksets/prod/set", &object).unwrap())).unwrap();
        assert_eq!(
            value["metadata"]["ownerReferences"],
            json!([owner("projectcalico.org/v3", CONVERTED), pod])
        );
        let back = written("networksets/prod/set", &value, Some(&object));
        let kept: Value =
            serde_json::from_str(back["metadata"]["annotations"][METADATA].as_str().unwrap()).unwrap();
        assert_eq!(kept["ownerReferences"], json!([owner("crd.projectcalico.org/v1", UID), pod]));
        assert_eq!(back["metadata"]["uid"], UID);
    }
}

#[test]
fn what_old_releases_wrote_otherwise_reads_as_calico_reads_it() {
    let of = |rest: &str, spec: Value| {
        let name = rest.rsplit('/').next().unwrap();
        let object = json!({ "metadata": { "name": name, "resourceVersion": "1" }, "spec": spec });
        let value: Value = serde_json::from_str(&text(read_at(rest, &object).unwrap())).unwrap();
        value["spec"].clone()
    };
    for (spec, want) in [
        (
            json!({ "ipip": { "enabled": true, "mode": "cross-subnet" }, "nat-outgoing": true }),
            json!({ "ipipMode": "CrossSubnet", "natOutgoing": true }),
        ),
        (json!({ "ipip": { "enabled": true } }), json!({ "ipipMode": "Always" })),
        (json!({ "ipip": { "enabled": false }, "ipipMode": "Always" }), json!({ "ipipMode": "Never" })),
        (json!({ "nat-outgoing": false, "natOutgoing": true }), json!({ "natOutgoing": true })),
    ] {
        let mut found = of("ippools/p", spec);
        found.as_object_mut().unwrap().retain(|name, _| name != "cidr");
        assert_eq!(found, want);
    }
    assert_eq!(of("tiers/default", Value::Null), json!({ "order": 1_000_000, "defaultAction": "Deny" }));
    assert_eq!(
        of("tiers/t", json!({ "order": 5.0, "defaultAction": "Pass" })),
        json!({ "order": 5, "defaultAction": "Pass" })
    );
}

#[test]
fn settings_are_an_object_of_another_kind_there() {
    let value = json!({ "kind": "IPAMConfiguration", "metadata": { "name": "default" }, "spec": { "strictAffinity": true } });
    let object = written("ipamconfigurations/default", &value, None);
    assert_eq!(
        (&object["kind"], &object["apiVersion"]),
        (&json!("IPAMConfig"), &json!("crd.projectcalico.org/v1"))
    );
    let mut object = object;
    object["metadata"]["resourceVersion"] = json!("2");
    let value: Value =
        serde_json::from_str(&text(read_at("ipamconfigurations/default", &object).unwrap())).unwrap();
    assert_eq!(
        (&value["kind"], &value["apiVersion"]),
        (&json!("IPAMConfiguration"), &json!("projectcalico.org/v3"))
    );
}

/// What Calico's own client stored in etcd for a resource.
#[test]
fn calicos_values_come_back_from_the_resources_that_hold_them() {
    let of = |group: &str, line: &str| format!("{}projectcalico.org/{group}/{line}", keys::RESOURCES);
    for (key, value) in [
        (
            of("tiers", "sec"),
            r#"{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"sec","uid":"4c20b34f-8b6a-42a9-bfc3-935c14127e7e","creationTimestamp":"2026-11-23T00:28:08Z","labels":{"a":"b"},"annotations":{"note":"hello"}},"spec":{"order":10.5,"defaultAction":"Pass"},"status":{}}"#,
        ),
        (
            of("networkpolicies", "prod/np-rich"),
            r#"{"kind":"NetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"np-rich","namespace":"prod","uid":"dd9eb0f7-6afb-4bfd-ab62-f503de70105a","creationTimestamp":"2026-11-23T00:28:08Z","labels":{"projectcalico.org/tier":"default"},"annotations":{"projectcalico.org/metadata":"{\"name\":\"np-rich\"}"}},"spec":{"tier":"default","order":1000,"ingress":[{"action":"Allow","protocol":6,"source":{"selector":"role == 'frontend'","namespaceSelector":"projectcalico.org/name == 'prod'"},"destination":{"ports":[6379]}}],"selector":"role == 'db'","types":["Ingress"],"serviceAccountSelector":"all()"}}"#,
        ),
        (
            of("hostendpoints", "node1-eth0"),
            r#"{"kind":"HostEndpoint","apiVersion":"projectcalico.org/v3","metadata":{"name":"node1-eth0","uid":"07ba448c-0616-4ddd-b2f9-a22e1980cd7e","creationTimestamp":"2026-11-23T00:28:08Z","labels":{"host":"node1"}},"spec":{"node":"node1","interfaceName":"eth0","expectedIPs":["192.0.2.1","2001:db8::1"],"profiles":["prof1"],"ports":[{"name":"ssh","protocol":"TCP","port":22}]}}"#,
        ),
        (
            of("clusterinformations", "default"),
            r#"{"kind":"ClusterInformation","apiVersion":"projectcalico.org/v3","metadata":{"name":"default","uid":"7edc5eb2-ef51-4752-a1e5-cf68818fe0f0","creationTimestamp":"2026-11-23T00:28:07Z"},"spec":{"clusterGUID":"77088754a5d944f3966bddafec0e3396","calicoVersion":"v3.33.0","datastoreReady":true}}"#,
        ),
    ] {
        let collection = of_key(collections(), &key).unwrap();
        let Ok(Written::Object(mut object)) = collection.write(&key, value.as_bytes(), None) else {
            unreachable!()
        };
        // The API gives it a version and a uid, whose other side is the one that Calico's client gave.
        let uid =
            serde_json::from_str::<Value>(value).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
        object["metadata"]["resourceVersion"] = json!("77");
        object["metadata"]["uid"] = json!(converted_uid(&uid, "").unwrap());
        let read = collection.read(object.to_string().as_bytes()).unwrap().unwrap();
        assert_eq!((read.key, read.version), (key, 77));
        assert_eq!(String::from_utf8(read.value).unwrap(), value);
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_key() {
    let with = |path: &str, name: &str, value: Value| {
        let mut object = applied();
        object.pointer_mut(path).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
        object
    };
    let key = collection("networksets/prod/set").0;
    for (object, want) in [
        (
            with("/metadata/annotations", METADATA, json!("{")),
            r#"metadata.annotations[projectcalico.org/metadata]: found "{", expected JSON of metadata"#,
        ),
        (with("/metadata", "uid", json!("u")), r#"metadata.uid: found "u", expected a UUID"#),
        (with("/metadata", "labels", json!([])), "metadata.labels: found [], expected a map"),
    ] {
        let fault = read_at("networksets/prod/set", &object).unwrap_err();
        assert_eq!(
            (fault.to_string().as_str(), fault.key.as_ref(), fault.version),
            (want, Some(&key), Some(8))
        );
    }
    let (_, sets) = collection("networksets/prod/set");
    for value in ["", "[]", r#"{"metadata":{"labels":1}}"#] {
        let fault = sets.write(&key, value.as_bytes(), None).unwrap_err();
        assert_eq!(fault.key.as_ref(), Some(&key), "{value}");
    }
    let fault = sets.write("/calico/else", b"{}", None).unwrap_err();
    assert_eq!(
        fault.to_string(),
        r#"key: found "/calico/else", expected a key that an object of the Kubernetes API can hold"#
    );
}
