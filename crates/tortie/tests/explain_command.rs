//! `tortie explain`, the real binary, over recorded answers of Calico's own code.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn vectors(set: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/explain").join(set)
}

fn explain(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_tortie")).arg("explain").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn lines(text: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(text).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The answers to flows about objects, and what was left out.
fn ask(objects: &str, flows: &str) -> (Vec<Value>, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("in")).unwrap();
    fs::write(directory.path().join("in/objects.yaml"), objects).unwrap();
    fs::write(directory.path().join("in/README.txt"), "{ no yaml").unwrap();
    fs::write(directory.path().join("flows"), flows).unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let output = explain(&["-f", &path("in"), "--flows", &path("flows"), "-o", "json"]);
    (lines(&output.stdout), lines(&output.stderr))
}

/// All that the recorded answer says must be in ours, where null and absent are the same.
fn agrees(wanted: &Value, got: &Value) -> bool {
    match wanted {
        Value::Object(wanted) => wanted.iter().all(|(key, value)| agrees(value, &got[key])),
        other => other == got,
    }
}

fn check(set: &str) {
    let directory = vectors(set);
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let output = explain(&["-f", &path("in"), "--flows", &path("flows.jsonl"), "-o", "json"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let got: BTreeMap<i64, Value> =
        lines(&output.stdout).into_iter().map(|line| (line["id"].as_i64().unwrap(), line)).collect();
    let wanted = lines(&fs::read(path("want.jsonl")).unwrap());
    assert_eq!(wanted.len(), 200);
    for wanted in wanted {
        let got = &got[&wanted["id"].as_i64().unwrap()];
        let sides = ["egress", "ingress", "forward"];
        let same_sides = sides.iter().all(|side| wanted[side].is_null() == got[side].is_null());
        assert!(same_sides && agrees(&wanted, got), "wanted {wanted}\n   got {got}");
    }
}

#[test]
fn pods_9001_is_answered_as_calico_does() {
    check("pods-9001");
}

#[test]
fn pods_9002_is_answered_as_calico_does() {
    check("pods-9002");
}

#[test]
fn hosts_9001_is_answered_as_calico_does() {
    check("hosts-9001");
}

#[test]
fn hosts_9002_is_answered_as_calico_does() {
    check("hosts-9002");
}

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: node1, containers: [{name: c, image: postgres, ports: [{name: sql, containerPort: 5432}]}]}
status: {phase: Running, podIP: 10.0.0.2, qosClass: BestEffort}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db-in, namespace: shop}
spec:
  selector: app == 'db'
  ingress:
  - action: Allow
    protocol: TCP
    source: {nets: [192.0.2.0/24]}
    destination: {ports: [sql]}
"#;

#[test]
fn a_flow_that_cannot_be_read_is_answered_with_an_error() {
    let flows = r#"{"id":"a","from":"192.0.2.1","to":"shop/db","protocol":"tcp","port":5432}
{"id":2,"from":"192.0.2.1","to":"shop/gone","protocol":"tcp","port":5432}

{"id":[3],"from":"192.0.2.1","to":"shop/db"}
not json
"#;
    let (answers, refused) = ask(SHOP, flows);
    assert_eq!(refused, Vec::<Value>::new());
    let allowed = json!({"action": "allow", "tier": "default", "kind": "NetworkPolicy", "policy": "shop/db-in", "rule": 0});
    assert_eq!(
        answers[0],
        json!({"id": "a", "verdict": "allow", "egress": null, "ingress": allowed, "forward": null})
    );
    assert_eq!(answers[1]["id"], 2);
    assert!(answers[1]["error"].as_str().unwrap().contains("shop/gone"), "{}", answers[1]);
    assert_eq!(answers[2]["id"], json!([3]));
    assert!(answers[2]["error"].as_str().unwrap().contains("missing field `protocol`"), "{}", answers[2]);
    assert_eq!(answers[3]["id"], Value::Null);
    assert!(answers[3]["error"].is_string(), "{}", answers[3]);
    assert_eq!(answers.len(), 4);
}

#[test]
fn invalid_objects_are_named_and_left_out() {
    let objects = format!(
        "{SHOP}---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: unknown-field}}
spec: {{order: 1, ingres: []}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: in-no-tier}}
spec: {{order: 1, tier: gone, ingress: [{{action: Deny}}]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: both-early}}
spec: {{order: 1, doNotTrack: true, preDNAT: true, applyOnForward: true, ingress: [{{action: Deny}}]}}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {{name: only-staged}}
spec: {{order: 1, ingress: [{{action: Deny}}]}}
---
apiVersion: example.com/v1
kind: Sock
metadata: {{name: left}}
"
    );
    let (answers, refused) =
        ask(&objects, r#"{"id":1,"from":"192.0.2.1","to":"shop/db","protocol":"tcp","port":5432}"#);
    assert_eq!(answers[0]["verdict"], "allow", "{}", answers[0]);
    let named: Vec<&str> = refused.iter().map(|refusal| refusal["object"].as_str().unwrap()).collect();
    assert_eq!(
        named,
        [
            "GlobalNetworkPolicy(unknown-field)",
            "GlobalNetworkPolicy(both-early)",
            "Sock(left)",
            "GlobalNetworkPolicy(in-no-tier)"
        ],
        "{refused:?}"
    );
    assert!(refused.iter().all(|refusal| !refusal["error"].as_str().unwrap().is_empty()));
}

#[test]
fn people_get_a_story() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("shop.yaml"), SHOP).unwrap();
    let path = directory.path().to_str().unwrap();
    let told = |port: &str| {
        let output = explain(&["-f", path, "--from", "198.51.100.1", "--to", "shop/db", "--port", port]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        told("tcp/5432"),
        "198.51.100.1 -> shop/db (10.0.0.2), TCP port 5432: denied
  entering shop/db: denied at the end of tier default: NetworkPolicy shop/db-in applies, and no rule allows it
"
    );
    fs::write(directory.path().join("broken.yaml"), "kind: [x\n").unwrap();
    let output = explain(&["-f", path, "--from", "198.51.100.1", "--to", "shop/db", "--port", "47"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with(&format!("left out: {path}/broken.yaml: ")), "{complaint}");
    assert!(told("icmp/3.1").starts_with("198.51.100.1 -> shop/db (10.0.0.2), ICMP type 3 code 1: denied\n"));
}

/// Calico applies a ClusterNetworkPolicy with a rule that it can't convert: a Deny denies everything then.
#[test]
fn a_policy_of_kubernetes_that_is_converted_in_part_is_named_and_counts() {
    let objects = format!(
        "{SHOP}---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {{name: half}}
spec:
  tier: Admin
  priority: 1
  subject: {{namespaces: {{}}}}
  ingress:
  - action: Accept
    from: [{{namespaces: {{matchExpressions: [{{key: a, operator: Near}}]}}}}]
  - action: Deny
    from: [{{namespaces: {{matchExpressions: [{{key: a, operator: Near}}]}}}}]
"
    );
    let (answers, refused) =
        ask(&objects, r#"{"id":1,"from":"192.0.2.1","to":"shop/db","protocol":"tcp","port":5432}"#);
    assert_eq!(answers[0]["ingress"]["policy"], "half", "{}", answers[0]);
    assert_eq!(answers[0]["verdict"], "deny");
    assert!(
        refused.iter().all(|line| line["object"] == "KubernetesClusterNetworkPolicy(half)"),
        "{refused:?}"
    );
    assert!(!refused.is_empty());
}

/// As in Kubernetes, a namespace has a label with its name; objects without namespace are in `default`.
#[test]
fn defaults_apply_as_through_the_api() {
    let objects = "
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {nodeName: n}
status: {phase: Running, podIP: 10.0.0.5}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: p}
spec: {namespaceSelector: kubernetes.io/metadata.name == 'default', egress: [{action: Deny}]}
";
    let (answers, refused) = ask(objects, r#"{"id":1,"from":"default/a","to":"8.8.8.8","protocol":47}"#);
    assert_eq!(refused, Vec::<Value>::new());
    let denied =
        json!({"action": "deny", "tier": "default", "kind": "GlobalNetworkPolicy", "policy": "p", "rule": 0});
    assert_eq!(answers[0]["egress"], denied);
}
