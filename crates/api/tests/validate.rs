//! What is taken and what is refused, and in which words.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use serde_json::Value;
use tortie_api::decode::decode;
use tortie_api::fault::Fault;
use tortie_api::{defaults, validate};

/// All faults of a text: those of decoding, or else those of validation after defaults.
fn faults(text: &str) -> Vec<Fault> {
    let mut objects = match decode(text).into_objects() {
        Ok(objects) => objects,
        Err(faults) => return faults,
    };
    objects
        .iter_mut()
        .flat_map(|object| {
            defaults::apply(object.kind, &mut object.json, "default");
            validate::validate(object)
        })
        .collect()
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("  {fault}\n")).collect()
}

#[test]
fn clusters_that_calico_took_are_taken() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tortie/tests/vectors/explain");
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path().join("in/cluster.yaml");
        let faults = faults(&std::fs::read_to_string(&path).unwrap());
        assert!(faults.is_empty(), "{}:\n{}", path.display(), lines(&faults));
        files += 1;
    }
    assert_eq!(files, 4);
}

#[test]
fn objects_that_calicoctl_created_are_taken_and_come_out_as_it_stored_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/tests/vectors/etcd.jsonl");
    let mut objects = 0;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        let Some(input) = step.get("input") else { continue };
        let text = input.to_string();
        let found = faults(&text);
        assert!(found.is_empty(), "{text}:\n{}", lines(&found));
        let mut object = decode(&text).into_objects().unwrap().remove(0);
        defaults::apply(object.kind, &mut object.json, "default");
        for part in ["spec", "status", "kind", "apiVersion"] {
            assert_eq!(object.json.get(part), step["get"].get(part), "{part} of {text}");
        }
        objects += 1;
    }
    assert_eq!(objects, 8);
}
