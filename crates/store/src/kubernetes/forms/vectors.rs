//! All that Calico's own client stored in etcd while the vectors were recorded, through the forms and back.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{Written, collections, of_key};

const RESOURCES: &str = include_str!("../../../tests/vectors/etcd.jsonl");
const IPAM: &str = include_str!("../../../../ipam/tests/ipam/vectors/ipam-steps.jsonl");

#[test]
fn what_calico_stored_in_etcd_comes_back_from_the_objects_that_hold_it() {
    let (mut seen, mut patched, mut without) = (0, 0, 0);
    for line in RESOURCES.lines().chain(IPAM.lines()) {
        let step: Value = serde_json::from_str(line).unwrap();
        for changes in ["puts", "changed"].into_iter().filter_map(|name| step[name].as_object()) {
            for (key, value) in changes.iter().filter(|(_, value)| value.is_object()) {
                let Some(collection) = of_key(collections(), key) else {
                    assert!(key.contains("/profiles/"), "{key}");
                    without += 1;
                    continue;
                };
                let mut object = match collection.write(key, value.to_string().as_bytes(), None).unwrap() {
                    Written::Object(object) => object,
                    Written::Patch(_) => {
                        assert!(key.contains("/nodes/") || key.contains("/workloadendpoints/"), "{key}");
                        patched += 1;
                        continue;
                    }
                };
                let place = collection.place(key).unwrap();
                assert_eq!(object["metadata"]["name"], json!(place.name));
                object["metadata"]["resourceVersion"] = json!("7");
                if let Some(uid) = value.pointer("/metadata/uid").and_then(Value::as_str) {
                    object["metadata"]["uid"] = json!(super::custom::converted_uid(uid, "").unwrap());
                }
                let read = collection.read(object.to_string().as_bytes()).unwrap().unwrap();
                let mut want = value.clone();
                if want.get("attributes").is_some_and(Value::is_null) {
                    want["attributes"] = json!([]);
                }
                assert_eq!(read.key, *key);
                assert!(key.contains("/ipam/v2/") || super::tests::is_taken_for_itself(&read), "{key}");
                assert_eq!(serde_json::from_slice::<Value>(&read.value).unwrap(), want, "{key}");
                seen += 1;
            }
        }
    }
    assert_eq!((seen, patched, without), (38, 5, 1));
}
