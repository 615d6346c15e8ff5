//! Objects on the embedded datastore, against what Calico's own client stored in etcd (`vectors/etcd.jsonl`) and what it
//! is known to do with metadata.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use serde_json::{Value, json};
use tortie_api::endpoint::WorkloadEndpointSpec;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::TierSpec;
use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::resources::{Client, Labels};
use tortie_store::{Datastore, Error, keys};

struct Fixture {
    client: Client,
    store: Arc<dyn Datastore>,
    _directory: tempfile::TempDir,
}

fn mk_fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tortie.db");
    let store: Arc<dyn Datastore> =
        Arc::new(Embedded::open(Options { durability: Durability::Normal, ..Options::new(path) }).unwrap());
    let client = Client::new(Arc::clone(&store));
    client.ensure_initialized().unwrap();
    Fixture { client, store, _directory: directory }
}

fn mk_tier(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": name}, "spec": spec})
}

fn mk_policy(name: &str, metadata: Value) -> Value {
    let mut policy = json!({"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy", "metadata": metadata,
        "spec": {"selector": "all()"}});
    policy["metadata"]["name"] = json!(name);
    policy["metadata"]["namespace"] = json!("prod");
    policy
}

fn policy_key(name: &str) -> ResourceKey {
    ResourceKey::namespaced(Kind::NetworkPolicy, "prod", name)
}

fn mk_pool(name: &str, cidr: &str) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name}, "spec": {"cidr": cidr}})
}

/// The object without what differs from run to run; what is taken out must look right.
fn comparable(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let uid = metadata.remove("uid").unwrap();
        assert_eq!(uid.as_str().unwrap().split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        let time = metadata.remove("creationTimestamp").unwrap();
        assert_eq!(time.as_str().unwrap().len(), "2026-11-23T00:28:07Z".len());
        metadata.remove("resourceVersion");
    }
    if let Some(guid) = object.pointer_mut("/spec/clusterGUID") {
        assert!(
            guid.as_str().unwrap().len() == 32
                && guid.as_str().unwrap().bytes().all(|b| b.is_ascii_hexdigit())
        );
        *guid = json!("guid");
    }
    object
}

#[test]
fn what_is_stored_and_read_back_is_what_calicos_client_stored_and_read() {
    let fixture = mk_fixture();
    let mut checked = 0;
    for line in include_str!("vectors/etcd.jsonl").lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        if let Some(input) = vector.get("input") {
            let created = fixture.client.create(input.clone()).unwrap();
            let got = fixture.client.get(&Client::key_of(input).unwrap()).unwrap();
            assert_eq!(created, got, "what create returns is what get returns");
            assert_eq!(comparable(got), comparable(vector["get"].clone()), "{input}");
        }
        for (key, value) in vector["puts"].as_object().unwrap() {
            let stored = fixture.store.get(key).unwrap().unwrap_or_else(|| panic!("nothing at {key}"));
            let json: Value = serde_json::from_slice(&stored.value).unwrap();
            assert!(json["metadata"].get("resourceVersion").is_none(), "a resource version is stored");
            assert_eq!(comparable(json), comparable(value.clone()), "{key}");
            // Byte for byte, too: as many bytes as what Go wrote, whose uid and times are as long as ours.
            let line = line.replace("&&", "\\u0026\\u0026");
            let text = &line[line.find(&format!("\"{key}\":")).unwrap() + key.len() + 3..];
            let go = &text[..stored.value.len()];
            let fields = |text: &str| text.split('"').step_by(2).collect::<Vec<_>>().join("\"");
            assert_eq!(fields(&String::from_utf8(stored.value).unwrap()), fields(go), "{key}");
            checked += 1;
        }
    }
    assert_eq!(checked, 12);
    // The first step made four keys and the others one each; nothing else is there.
    assert_eq!(fixture.store.list_all("/").unwrap().items.len(), 12);
}

#[test]
fn initializing_again_changes_nothing() {
    let fixture = mk_fixture();
    let before = fixture.store.revision().unwrap();
    fixture.client.ensure_initialized().unwrap();
    assert_eq!(fixture.store.revision().unwrap(), before);
}

#[test]
fn uid_and_creation_time_survive_whatever_the_object_says() {
    let Fixture { client, store: _store, _directory } = mk_fixture();
    let forged = json!({"uid": "forged", "creationTimestamp": "1999-01-01T00:00:00Z", "selfLink": "/x",
        "generation": 7, "finalizers": ["f"]});
    let created = client.create(mk_policy("p", forged.clone())).unwrap();
    let metadata = &created["metadata"];
    assert_ne!(metadata["uid"], "forged");
    assert_ne!(metadata["creationTimestamp"], "1999-01-01T00:00:00Z");
    for updated in [
        client.apply(mk_policy("p", forged.clone()), Labels::Merge).unwrap(),
        client.update(mk_policy("p", forged), Labels::Replace).unwrap(),
    ] {
        for name in ["uid", "creationTimestamp"] {
            assert_eq!(updated["metadata"][name], metadata[name], "{name}");
        }
        for name in ["selfLink", "generation", "finalizers"] {
            assert!(updated["metadata"].get(name).is_none(), "{name} came back");
        }
    }
}

#[test]
fn writing_the_same_object_again_is_a_new_resource_version_but_applying_it_is_not() {
    let Fixture { client, store, _directory } = mk_fixture();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let first = client.apply(mk_policy("p", json!({})), Labels::Merge).unwrap();
    let applied = client.apply(mk_policy("p", json!({})), Labels::Merge).unwrap();
    assert_eq!(applied, first);
    let updated = client.update(mk_policy("p", json!({})), Labels::Merge).unwrap();
    assert_ne!(version(&updated), version(&first));
    assert_eq!(version(&updated), json!(store.revision().unwrap().to_string()));
    // Whoever names a version wants to know whether it still stands, and that it stands no more.
    let named = client.apply(updated.clone(), Labels::Merge).unwrap();
    assert_ne!(version(&named), version(&updated));
    assert!(client.apply(updated, Labels::Merge).is_err());
}

#[test]
fn a_stale_resource_version_is_an_update_conflict_for_apply_update_and_delete() {
    let Fixture { client, store: _store, _directory } = mk_fixture();
    let old = client.create(mk_policy("p", json!({}))).unwrap();
    let new = client.update(mk_policy("p", json!({})), Labels::Merge).unwrap();
    let stale = old["metadata"]["resourceVersion"].as_str().unwrap();
    for outcome in [
        client.apply(old.clone(), Labels::Merge),
        client.update(old.clone(), Labels::Merge),
        client.delete(&policy_key("p"), Some(stale)),
        client.delete(&policy_key("p"), Some("not-a-number")),
    ] {
        assert_eq!(outcome.unwrap_err().to_string(), "update conflict: NetworkPolicy(prod/p)");
    }
    // Without one, the last writer wins; with the newest, too.
    client.apply(new, Labels::Merge).unwrap();
    let newest = client.apply(mk_policy("p", json!({})), Labels::Merge).unwrap();
    let version = newest["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(client.delete(&policy_key("p"), Some(version)).unwrap(), newest);
}

#[test]
fn what_is_missing_and_what_exists_is_said_in_calicos_words() {
    let Fixture { client, store: _store, _directory } = mk_fixture();
    let missing = "resource does not exist: NetworkPolicy(prod/p) with error: <nil>";
    assert_eq!(client.get(&policy_key("p")).unwrap_err().to_string(), missing);
    assert_eq!(client.delete(&policy_key("p"), None).unwrap_err().to_string(), missing);
    assert_eq!(client.update(mk_policy("p", json!({})), Labels::Merge).unwrap_err().to_string(), missing);
    client.create(mk_policy("p", json!({}))).unwrap();
    let again = client.create(mk_policy("p", json!({}))).unwrap_err();
    assert_eq!(again.to_string(), "resource already exists: NetworkPolicy(prod/p)");
    let versioned = client.create(mk_policy("q", json!({"resourceVersion": "7"}))).unwrap_err();
    assert_eq!(
        versioned.to_string(),
        "error with field Metadata.ResourceVersion = '7' (field must not be set for a Create request)"
    );
    let mut homeless = mk_policy("p", json!({}));
    homeless["metadata"]["namespace"] = json!("");
    assert_eq!(
        client.create(homeless).unwrap_err().to_string(),
        "error with field Metadata.Namespace (namespace is not specified on namespaced resource)"
    );
}

#[test]
fn labels_are_merged_or_replaced_and_unknown_fields_kept() {
    let Fixture { client, store, _directory } = mk_fixture();
    client
        .create(mk_policy("p", json!({"labels": {"a": "1", "b": "1"}, "annotations": {"n": "1"}})))
        .unwrap();
    let merged = client.apply(mk_policy("p", json!({"labels": {"b": "2"}})), Labels::Merge).unwrap();
    let tier = "projectcalico.org/tier";
    assert_eq!(merged["metadata"]["labels"], json!({"a": "1", "b": "2", tier: "default"}));
    assert_eq!(merged["metadata"]["annotations"], json!({"n": "1"}));
    let replaced = client.update(mk_policy("p", json!({"labels": {"c": "3"}})), Labels::Replace).unwrap();
    assert_eq!(replaced["metadata"]["labels"], json!({"c": "3", tier: "default"}));
    assert!(replaced["metadata"].get("annotations").is_none(), "{replaced}");
    // What a newer version stored is there when the object is read and written back.
    let key = keys::resource(&policy_key("new"));
    let stored = json!({"metadata": {"name": "new", "namespace": "prod", "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"selector": "all()", "future": {"x": [1]}}, "extra": true});
    store.put(&key, stored.to_string().as_bytes()).unwrap();
    let read = client.get(&policy_key("new")).unwrap();
    let written = client.apply(read, Labels::Merge).unwrap();
    assert_eq!(written["spec"]["future"], json!({"x": [1]}));
    assert_eq!(written["extra"], json!(true));
    assert_eq!(written["metadata"]["uid"], "u");
}

#[test]
fn policies_get_a_tier_types_and_a_label_and_the_tier_must_exist() {
    let Fixture { client, store: _store, _directory } = mk_fixture();
    let rule = json!([{"action": "Allow"}]);
    for (spec, types) in [
        (json!({}), json!(["Ingress"])),
        (json!({"ingress": rule}), json!(["Ingress"])),
        (json!({"egress": rule}), json!(["Egress"])),
        (json!({"ingress": rule, "egress": rule}), json!(["Ingress", "Egress"])),
        (json!({"ingress": rule, "types": ["Egress"]}), json!(["Egress"])),
    ] {
        let mut policy = mk_policy("p", json!({"labels": {"projectcalico.org/tier": "lies"}}));
        policy["spec"] = spec.clone();
        let stored = client.apply(policy, Labels::Merge).unwrap();
        assert_eq!(stored["spec"]["types"], types, "{spec}");
        assert_eq!(stored["spec"]["tier"], "default");
        assert_eq!(stored["metadata"]["labels"], json!({"projectcalico.org/tier": "default"}));
    }
    let mut policy = mk_policy("default.p", json!({}));
    policy["spec"]["tier"] = json!("sec");
    let refused = client.create(policy.clone()).unwrap_err().to_string();
    assert_eq!(refused, "resource does not exist: Tier(sec) with error: <nil>");
    let tier = client.create(mk_tier("sec", json!({"order": 1.5}))).unwrap();
    assert_eq!(tier["spec"], json!({"order": 1.5, "defaultAction": "Deny"}));
    let created = client.create(policy).unwrap();
    assert_eq!(created["metadata"]["labels"], json!({"projectcalico.org/tier": "sec"}));
    // Names stay as given: p and default.p are two policies.
    assert_eq!(client.list(Kind::NetworkPolicy, Some("prod")).unwrap().items.len(), 2);
    let full = client.delete(&ResourceKey::cluster(Kind::Tier, "sec"), None).unwrap_err().to_string();
    assert_eq!(full, "operation delete is not supported on sec: Cannot delete a non-empty tier");
    for name in ["default", "kube-admin", "kube-baseline"] {
        let refused = client.delete(&ResourceKey::cluster(Kind::Tier, name), None).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("operation Delete is not supported on {name}: Cannot delete {name} tier")
        );
    }
}

#[test]
fn pools_get_their_defaults_and_may_not_overlap_or_change() {
    let Fixture { client, store, _directory } = mk_fixture();
    let pool = client.create(mk_pool("p4", "10.0.0.0/16")).unwrap();
    assert_eq!(
        pool["spec"],
        json!({"cidr": "10.0.0.0/16", "vxlanMode": "Never", "ipipMode": "Never", "blockSize": 26,
            "nodeSelector": "all()", "allowedUses": ["Workload", "Tunnel"], "assignmentMode": "Automatic"})
    );
    assert_eq!(client.create(mk_pool("p6", "fd00::/64")).unwrap()["spec"]["blockSize"], 122);
    store.put(&keys::ipam_block([10, 9, 0, 0].into(), 28), b"{}").unwrap();
    for (pool, message) in [
        (
            mk_pool("q", "10.0.4.0/24"),
            "error with field IPPool.Spec.CIDR = '10.0.4.0/24' (IPPool(q) CIDR overlaps with IPPool(p4) CIDR 10.0.0.0/16)",
        ),
        (
            mk_pool("q", "10.0.0.0/8"),
            "error with field IPPool.Spec.CIDR = '10.0.0.0/8' (IPPool(q) CIDR overlaps with IPPool(p4) CIDR 10.0.0.0/16)",
        ),
        (
            mk_pool("q", "10.1.0.0/27"),
            "error with field IPPool.Spec.CIDR = '10.1.0.0/27' (IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.)",
        ),
        (
            mk_pool("q", "10.1.0.1/24"),
            "error with field IPPool.Spec.CIDR = '10.1.0.1/24' (IPPool CIDR is not strictly masked)",
        ),
        (
            mk_pool("q", "169.254.8.0/24"),
            "error with field IPPool.Spec.CIDR = '169.254.8.0/24' (IPPool CIDR overlaps with IPv4 Link Local range 169.254.0.0/16)",
        ),
        (
            mk_pool("q", "10.0.1.0/33"),
            "error with field IPPool.Spec.CIDR = '10.0.1.0/33' (IPPool CIDR must be a valid subnet)",
        ),
        (mk_pool("q", ""), "error with field IPPool.Spec.CIDR (IPPool CIDR must be specified)"),
        (
            mk_pool("q", "10.9.0.0/16"),
            "error with field IPPool.Spec.BlockSize = '26' (IPPool blocksSize conflicts with existing allocations that use a different blockSize)",
        ),
    ] {
        assert_eq!(client.create(pool).unwrap_err().to_string(), message);
    }
    let moved = client.update(mk_pool("p4", "10.2.0.0/16"), Labels::Merge).unwrap_err().to_string();
    assert_eq!(moved, "error with field IPPool.Spec.CIDR = '10.2.0.0/16' (IPPool CIDR cannot be modified)");
    let mut resized = mk_pool("p4", "10.0.0.0/16");
    resized["spec"]["blockSize"] = json!(28);
    let refused = client.update(resized, Labels::Merge).unwrap_err().to_string();
    assert_eq!(
        refused,
        "error with field IPPool.Spec.BlockSize = '28' (IPPool BlockSize cannot be modified)"
    );
    client.apply(mk_pool("p4", "10.0.0.0/16"), Labels::Merge).unwrap();
}

#[test]
fn the_profile_that_allows_all_is_always_there_and_cannot_be_changed() {
    let Fixture { client, store: _store, _directory } = mk_fixture();
    let id = ResourceKey::cluster(Kind::Profile, "projectcalico-default-allow");
    let profile = client.get(&id).unwrap();
    assert_eq!(profile["metadata"], json!({"name": "projectcalico-default-allow", "resourceVersion": "1"}));
    assert_eq!(client.list(Kind::Profile, None).unwrap().items, std::slice::from_ref(&profile));
    let mut bare = profile;
    bare["metadata"] = json!({"name": "projectcalico-default-allow"});
    assert!(matches!(client.create(bare.clone()), Err(Error::AlreadyExists { .. })));
    assert_eq!(
        client.apply(bare, Labels::Merge).unwrap_err().to_string(),
        "operation Update is not supported on projectcalico-default-allow: The profile \"projectcalico-default-allow\" is a default provided by Calico and cannot be updated"
    );
    assert!(matches!(client.delete(&id, None), Err(Error::NotSupported { operation: "Delete", .. })));
}

#[test]
fn typed_objects_and_kubernetes_kinds_go_the_same_way() {
    let Fixture { client, store, _directory } = mk_fixture();
    let tier = client.get_as::<TierSpec>(&ResourceKey::cluster(Kind::Tier, "default")).unwrap();
    assert_eq!((tier.spec.order, tier.spec.default_action.as_deref()), (Some(1_000_000.0), Some("Deny")));
    let mut endpoint = tortie_api::endpoint::WorkloadEndpoint::default();
    endpoint.metadata.name = "n-k8s-p-eth0".to_owned();
    endpoint.metadata.namespace = "prod".to_owned();
    endpoint.spec.orchestrator = "k8s".to_owned();
    client.apply(Client::to_json(&endpoint).unwrap(), Labels::Replace).unwrap();
    let endpoints = client.list_as::<WorkloadEndpointSpec>(Some("prod")).unwrap();
    assert_eq!(endpoints[0].metadata.labels["projectcalico.org/orchestrator"], "k8s");
    assert_eq!(endpoints[0].metadata.labels["projectcalico.org/namespace"], "prod");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "labels": {"env": "p"}}});
    client.create(namespace).unwrap();
    let stored = store.get("/calico/resources/v3/kubernetes.io/namespaces/prod").unwrap().unwrap();
    let json: Value = serde_json::from_slice(&stored.value).unwrap();
    assert_eq!(
        comparable(json),
        json!({"kind": "Namespace", "apiVersion": "v1",
        "metadata": {"name": "prod", "labels": {"env": "p", "kubernetes.io/metadata.name": "prod"}}})
    );
}

#[test]
fn writers_without_a_resource_version_all_get_through() {
    let Fixture { client, store: _store, _directory } = mk_fixture();
    client.create(mk_policy("p", json!({}))).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let client = &client;
            scope.spawn(move || {
                for number in 0..20 {
                    let label = format!("l-{thread}-{number}");
                    client.apply(mk_policy("p", json!({"labels": {label: "1"}})), Labels::Merge).unwrap();
                }
            });
        }
    });
    let labels = client.get(&policy_key("p")).unwrap()["metadata"]["labels"].as_object().unwrap().len();
    assert_eq!(labels, 81, "a label of each write, and the tier's");
}

#[test]
fn an_object_that_is_not_json_is_named() {
    let Fixture { client, store, _directory } = mk_fixture();
    store.put(&keys::resource(&policy_key("p")), b"{oops").unwrap();
    client.create(mk_policy("q", json!({}))).unwrap();
    let listed = client.list(Kind::NetworkPolicy, None).unwrap();
    assert_eq!(listed.items.len(), 1, "the others are not held up");
    assert!(matches!(listed.unreadable.as_slice(), [Error::Unreadable { .. }]));
    let error = client.get(&policy_key("p")).unwrap_err();
    assert!(
        matches!(&error, Error::Unreadable { key, .. } if key.ends_with("/networkpolicies/prod/p")),
        "{error}"
    );
}
