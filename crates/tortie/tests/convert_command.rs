//! `tortie convert`, the real binary, over recorded answers of Calico.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const VECTORS: &str = include_str!("../../api/tests/vectors/convert.jsonl");

fn convert(input: &str, output: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tortie"))
        .args(["convert", "-f", "-", "-o", output])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn each_recorded_policy_becomes_what_calico_makes_of_it() {
    let vectors: Vec<Value> = VECTORS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(vectors.len(), 36);
    let documents: String = vectors.iter().map(|vector| format!("---\n{}\n", vector["input"])).collect();
    let output = convert(&documents, "json");
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(errors(&output), "");
    let wanted: Vec<Value> = vectors.iter().map(|vector| vector["output"].clone()).collect();
    assert_eq!(lines(&output), wanted);
}

#[test]
fn a_policy_in_yaml_is_shown_in_yaml() {
    let output = convert(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n\
         spec:\n  podSelector: {matchLabels: {app: web}}\n  ingress:\n  - ports:\n    - port: 80\n",
        "text",
    );
    assert!(output.status.success(), "{}", errors(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("---\n") && text.contains("name: web\n"), "{text}");
    assert!(text.contains("selector: projectcalico.org/orchestrator == 'k8s' && app == 'web'\n"), "{text}");
}

#[test]
fn a_rule_that_cannot_be_converted_is_an_error_beside_the_policy() {
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                  metadata: {name: web, namespace: shop}\n\
                  spec: {podSelector: {}, ingress: [{ports: [{port: 70000}]}, {}]}\n";
    let output = convert(policy, "json");
    assert!(output.status.success());
    let [answer] = lines(&output).try_into().unwrap();
    assert_eq!(answer["spec"]["ingress"].as_array().unwrap().len(), 1);
    let error = answer["error"].as_str().unwrap();
    assert!(error.starts_with("policy: web: error with rule ingress[0] ("), "{error}");
}

#[test]
fn it_fails_if_nothing_converts_and_says_why_of_each_document() {
    for (input, reason) in [
        ("", "no policy of Kubernetes"),
        (
            "kind: NetworkPolicy\napiVersion: projectcalico.org/v3\nmetadata: {name: p}\n",
            "expected a NetworkPol",
        ),
        ("kind: Nonsense\napiVersion: v1\n", "unknown resource type (Nonsense)"),
        // A condition misspelled is no condition, and the rule would be open to all.
        (
            "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata: {name: p, namespace: n}\n\
             spec: {podSelector: {}, ingress: [{form: [{podSelector: {}}]}]}\n",
            "spec.ingress[0].form: field in document is not recognized",
        ),
        ("a: [", "error converting YAML to JSON"),
        (
            "kind: ClusterNetworkPolicy\napiVersion: policy.networking.k8s.io/v1alpha2\nmetadata: {name: p}\n\
             spec: {tier: Admin, priority: 1, subject: {}}\n",
            "spec.subject names nothing, expected namespaces or pods",
        ),
        (
            "kind: ClusterNetworkPolicy\napiVersion: policy.networking.k8s.io/v1alpha2\nmetadata: {name: p}\n\
             spec: {tier: Middle, priority: 1, subject: {namespaces: {}}}\n",
            "spec.tier is \"Middle\", expected Admin or Baseline",
        ),
    ] {
        let output = convert(input, "json");
        assert_eq!(output.status.code(), Some(1), "{input}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{input}");
        assert!(errors(&output).contains(reason), "{input}: {}", errors(&output));
    }
    let good = VECTORS.lines().next().unwrap();
    let good: Value = serde_json::from_str(good).unwrap();
    let output = convert(&format!("kind: Nonsense\n---\n{}\n", good["input"]), "json");
    assert!(output.status.success());
    assert_eq!(lines(&output), [good["output"].clone()]);
    assert!(errors(&output).contains("unknown resource type"));
}
