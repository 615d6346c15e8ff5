//! Blocks, handles, claims and settings, both ways.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::super::{Collection, Written, collections, of_key};
use super::*;
use crate::keys;

/// A block as Calico's Kubernetes driver stores it, in the form of `kubectl get -o json`.
fn block() -> Value {
    json!({
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "IPAMBlock",
        "metadata": {
            "annotations": { "projectcalico.org/metadata": "{\"creationTimestamp\":null}" },
            "creationTimestamp": "2026-11-23T00:19:55Z",
            "generation": 3,
            "managedFields": [{ "manager": "calico", "operation": "Update" }],
            "name": "10-10-0-160-28",
            "resourceVersion": "1200",
            "uid": "41cb1fde-57e7-42c1-a73b-0acaf38c7737"
        },
        "spec": {
            "affinity": "host:node-a",
            "affinityClaimTime": "2026-11-23T00:19:55Z",
            "allocations": [0, null, null, null],
            "attributes": [{ "handle_id": "k8s-pod-network.c1", "secondary": { "node": "node-a" } }],
            "cidr": "10.10.0.160/28",
            "deleted": false,
            "sequenceNumber": 1795393195632006276_u64,
            "sequenceNumberForAllocation": { "0": 1795393195632006275_u64 },
            "strictAffinity": false,
            "unallocated": [1, 2, 3]
        }
    })
}

const STORED_BLOCK: &str = concat!(
    r#"{"cidr":"10.10.0.160/28","affinity":"host:node-a","affinity_claim_time":"2026-11-23T00:19:55Z","#,
    r#""allocations":[0,null,null,null],"unallocated":[1,2,3],"#,
    r#""attributes":[{"handle_id":"k8s-pod-network.c1","secondary":{"node":"node-a"}}],"#,
    r#""sequenceNumber":1795393195632006276,"sequenceNumberForAllocation":{"0":1795393195632006275},"deleted":false}"#,
);

fn at(key: &str) -> (String, &'static Collection) {
    let key = format!("{}{key}", keys::IPAM);
    let collection = of_key(collections(), &key).unwrap();
    (key, collection)
}

fn read_at(key: &str, object: &Value) -> Result<Option<Read>, Unreadable> {
    at(key).1.read(object.to_string().as_bytes())
}

fn written(key: &str, value: &str, standing: Option<&Value>) -> Value {
    let (key, collection) = at(key);
    match collection.write(&key, value.as_bytes(), standing).unwrap() {
        Written::Object(object) => object,
        Written::Patch(_) => unreachable!("custom resources are written whole"),
    }
}

const BLOCK_KEY: &str = "assignment/ipv4/block/10.10.0.160-28";

#[test]
fn a_block_reads_as_it_stands_in_etcd_and_is_written_back_in_its_place() {
    let read = read_at(BLOCK_KEY, &block()).unwrap().unwrap();
    assert_eq!(read.key, at(BLOCK_KEY).0);
    assert_eq!(String::from_utf8(read.value).unwrap(), STORED_BLOCK);
    assert_eq!(
        (read.version, read.uid.as_str(), read.deleted),
        (1200, "41cb1fde-57e7-42c1-a73b-0acaf38c7737", false)
    );

    let back = written(BLOCK_KEY, STORED_BLOCK, Some(&block()));
    let mut want = block();
    want["spec"].as_object_mut().unwrap().remove("deleted");
    want["metadata"].as_object_mut().unwrap().remove("managedFields");
    want["metadata"]["annotations"]["projectcalico.org/metadata"] = json!("{}");
    assert_eq!(back, want);
}

#[test]
fn a_new_block_has_all_that_the_schema_asks_for() {
    let value = r#"{"cidr":"10.0.0.0/30","allocations":[null,null,null,null],"unallocated":[0,1,2,3],"attributes":null,"sequenceNumber":7,"sequenceNumberForAllocation":{},"deleted":true,"new":[1]}"#;
    assert_eq!(
        written("assignment/ipv4/block/10.0.0.0-30", value, None),
        json!({
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "IPAMBlock",
            "metadata": { "name": "10-0-0-0-30", "annotations": { "projectcalico.org/metadata": "{}" } },
            "spec": {
                "cidr": "10.0.0.0/30",
                "allocations": [null, null, null, null],
                "unallocated": [0, 1, 2, 3],
                "attributes": [],
                "sequenceNumber": 7,
                "sequenceNumberForAllocation": {},
                "deleted": true,
                "new": [1],
                "strictAffinity": false,
            },
        })
    );
}

#[test]
fn a_block_of_old_releases_reads_with_what_it_lacks() {
    let mut old = block();
    old["spec"] = json!({ "cidr": "10.10.0.161/28", "allocations": [null], "unallocated": [0], "strictAffinity": true });
    let read = read_at(BLOCK_KEY, &old).unwrap().unwrap();
    assert_eq!(
        String::from_utf8(read.value).unwrap(),
        r#"{"cidr":"10.10.0.160/28","allocations":[null],"unallocated":[0],"attributes":[],"sequenceNumber":0,"sequenceNumberForAllocation":{},"deleted":false}"#
    );
}

#[test]
fn blocks_read_as_records_of_address_management() {
    let mut block = block();
    block["spec"]["allocations"] = json!([0, null, null, null, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let read = read_at(BLOCK_KEY, &block).unwrap().unwrap();
    let record = tortie_ipam::record::Block::decode(&read.value).unwrap();
    assert_eq!(record.cidr.to_string(), "10.10.0.160/28");
}

fn resource_of(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": kind,
        "metadata": { "name": name, "resourceVersion": "9", "uid": "u" },
        "spec": spec,
    })
}

#[test]
fn handles_stand_under_their_names_in_small_letters() {
    let key = "handle/k8s-pod-network.AbC";
    let value = r#"{"block":{"10.10.0.160/28":1},"deleted":false}"#;
    let object = written(key, value, None);
    assert_eq!(object["metadata"]["name"], "k8s-pod-network.abc");
    assert_eq!(
        object["spec"],
        json!({ "handleID": "k8s-pod-network.AbC", "block": { "10.10.0.160/28": 1 } })
    );
    let stored = resource_of("IPAMHandle", "k8s-pod-network.abc", object["spec"].clone());
    let read = read_at(key, &stored).unwrap().unwrap();
    assert_eq!((read.key, String::from_utf8(read.value).unwrap()), (at(key).0, value.to_owned()));
    let going = json!({ "handleID": "h", "block": {}, "deleted": true });
    let read = read_at(key, &resource_of("IPAMHandle", "h", going)).unwrap().unwrap();
    assert!(read.deleted && read.value.ends_with(br#""deleted":true}"#));
}

#[test]
fn claims_are_of_hosts_or_of_others_and_carry_calicos_labels() {
    let key = "host/node-a/ipv4/block/10.10.0.160-28";
    let value = r#"{"state":"confirmed","deleted":false}"#;
    let object = written(key, value, None);
    let labels = json!({
        "projectcalico.org/hostname-hash": "PY3TQE2E3XMTETLM2MJO3UITKPFB27YUJ4T4E5XGPEJON3SM4QAA",
        "projectcalico.org/affinity-type": "host",
        "projectcalico.org/ip-version": "4",
    });
    assert_eq!(object["metadata"]["labels"], labels);
    let kept = object["metadata"]["annotations"]["projectcalico.org/metadata"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(kept).unwrap(), json!({ "labels": labels }));
    assert_eq!(
        object["spec"],
        json!({ "state": "confirmed", "node": "node-a", "type": "host", "cidr": "10.10.0.160/28", "deleted": "false" })
    );
    let stored = resource_of("BlockAffinity", "node-a-10-10-0-160-28", object["spec"].clone());
    let read = read_at(key, &stored).unwrap().unwrap();
    assert_eq!((read.key, String::from_utf8(read.value).unwrap()), (at(key).0, value.to_owned()));
    assert_eq!(read_at("virtual/lb/ipv4/block/10.0.0.0-26", &stored), Ok(None));

    let virtual_key = "virtual/load-balancer/ipv6/block/fd00::-122";
    let object = written(virtual_key, r#"{"state":"pending","deleted":true}"#, None);
    assert_eq!(object["metadata"]["labels"]["projectcalico.org/ip-version"], "6");
    let stored = resource_of("BlockAffinity", "load-balancer-fd00---122", object["spec"].clone());
    let read = read_at(virtual_key, &stored).unwrap().unwrap();
    assert_eq!((read.key, read.deleted), (at(virtual_key).0, true));
    assert_eq!(read_at(key, &stored), Ok(None));
}

#[test]
fn claims_of_old_releases_say_neither_sort_nor_a_boolean() {
    for (deleted, want) in [
        (Value::Null, false),
        (json!(""), false),
        (json!("false"), false),
        (json!("true"), true),
        (json!(true), true),
    ] {
        let spec = json!({ "cidr": "10.244.223.0/26", "deleted": deleted, "node": "12.1.0.252", "state": "pending" });
        let read = read_at("host/x", &resource_of("BlockAffinity", "12.1.0.252-10-244-223-0-26", spec))
            .unwrap()
            .unwrap();
        assert_eq!(read.key, at("host/12.1.0.252/ipv4/block/10.244.223.0-26").0);
        assert_eq!(read.deleted, want);
        assert_eq!(read.value, format!(r#"{{"state":"pending","deleted":{want}}}"#).into_bytes());
    }
}

#[test]
fn names_of_claims_of_long_hosts_are_cut_and_hashed() {
    // A host's name and a network whose names together have 252 letters, and one letter more.
    let fits = format!("{}/ipv4/block/10.0.0.0-26", "n".repeat(240));
    assert_eq!(claim_name(&fits).unwrap(), format!("{}-10-0-0-0-26", "n".repeat(240)));
    let long = format!("{}/ipv4/block/10.0.0.0-26", "n".repeat(241));
    let name = claim_name(&long).unwrap();
    // By sha256sum of the host's name, `+` and the network's.
    assert_eq!(name, format!("{}-10-0-0-0-26-d6cfd52524f", "n".repeat(228)));
    assert_eq!(name.len(), 252);
}

#[test]
fn settings_stand_in_the_one_resource_of_their_kind() {
    let stored = json!({ "strictAffinity": true, "autoAllocateBlocks": true, "maxBlocksPerHost": 4, "ipCooldownSeconds": 0, "new": 1 });
    let object = json!({
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "IPAMConfig",
        "metadata": { "name": "default", "resourceVersion": "5", "uid": "u", "annotations": { "a": "b" }, "managedFields": [] },
        "spec": stored,
    });
    let read = read_at("config", &object).unwrap().unwrap();
    assert_eq!(read.key, at("config").0);
    let value = r#"{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":4,"ipCooldownSeconds":0,"new":1}"#;
    let want = value.replace(r#","ipCooldownSeconds":0"#, "");
    assert_eq!(String::from_utf8(read.value).unwrap(), want);
    let back = written("config", &want, Some(&object));
    assert_eq!(
        back["metadata"],
        json!({ "name": "default", "resourceVersion": "5", "uid": "u", "annotations": { "a": "b" } })
    );
    assert_eq!(
        back["spec"],
        json!({ "strictAffinity": true, "autoAllocateBlocks": true, "maxBlocksPerHost": 4, "new": 1 })
    );
    let new = written("config", "{}", None);
    assert_eq!(new["spec"], json!({ "strictAffinity": false, "autoAllocateBlocks": false }));
    assert_eq!(new["metadata"]["name"], "default");
}

#[test]
fn what_cannot_be_read_is_named() {
    let spec = |spec: Value| resource_of("X", "x", spec);
    for (key, object, want) in [
        (BLOCK_KEY, spec(json!({})), "spec.cidr: found none, expected a network"),
        (
            BLOCK_KEY,
            spec(json!({ "cidr": "10.0.0.0" })),
            r#"spec.cidr: found "10.0.0.0", expected a network as 10.0.0.0/26"#,
        ),
        (BLOCK_KEY, spec(json!({ "cidr": 4 })), "spec.cidr: found 4, expected a text"),
        (
            BLOCK_KEY,
            spec(json!({ "cidr": "10.0.0.0/26", "deleted": "no" })),
            r#"spec.deleted: found "no", expected true or false"#,
        ),
        (BLOCK_KEY, json!([]), "metadata.name: found none, expected a name"),
        (
            BLOCK_KEY,
            json!({ "metadata": { "name": "x" } }),
            r#"metadata.resourceVersion: found "", expected a number"#,
        ),
        ("handle/h", spec(json!({ "block": {} })), "spec.handleID: found none, expected a handle"),
        (
            "host/h",
            spec(json!({ "cidr": "10.0.0.0/26" })),
            "spec.node: found none, expected the owner's name",
        ),
        (
            "host/h",
            spec(json!({ "cidr": "10.0.0.0/26", "node": "n", "deleted": "perhaps" })),
            r#"spec.deleted: found "perhaps", expected "true" or "false""#,
        ),
        ("config", spec(json!({})), r#"metadata.name: found "x", expected "default""#),
    ] {
        assert_eq!(read_at(key, &object).unwrap_err().to_string(), want);
    }
    let fault = read_at(BLOCK_KEY, &spec(json!({ "cidr": "10.0.0.0/26", "deleted": "no" }))).unwrap_err();
    assert_eq!((fault.key, fault.version), (Some(at("assignment/ipv4/block/10.0.0.0-26").0), Some(9)));
    let (key, collection) = at("host/n/ipv4/block/10.0.0.0-26");
    let fault = collection.write(&key, br#"{"deleted":"no"}"#, None).unwrap_err();
    assert_eq!(fault.to_string(), r#"deleted: found "no", expected true or false"#);
}
