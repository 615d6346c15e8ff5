//! Kubernetes' policies in Calico's form, against recorded answers of Calico.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde::Serialize;
use serde_json::{Value, json};
use tortie_api::kind::Kind;
use tortie_api::kubernetes::{KubernetesClusterNetworkPolicy, KubernetesNetworkPolicy};
use tortie_api::resource::Converted;

fn answer<S: Serialize>(calico_kind: Kind, conversion: &Converted<S>) -> Value {
    assert_eq!(conversion.error(), None);
    let key = &conversion.key;
    let mut answer = json!({
        "calicoKind": calico_kind.name(),
        "kind": key.kind.qualified_name(),
        "name": *key.name,
        "spec": conversion.spec,
    });
    if !key.namespace.is_empty() {
        answer["namespace"] = json!(*key.namespace);
    }
    answer
}

/// JSON, but that `1000` and `1000.0` are one number.
fn as_go_writes(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 => json!(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(as_go_writes).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, as_go_writes(value))).collect()
        }
        other => other,
    }
}

#[test]
fn each_recorded_policy_becomes_what_calico_makes_of_it() {
    let mut kinds = (0, 0);
    for line in include_str!("vectors/convert.jsonl").lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let input = vector["input"].clone();
        let name = input["metadata"]["name"].clone();
        let found = match input["kind"].as_str().unwrap() {
            "NetworkPolicy" => {
                kinds.0 += 1;
                let policy: KubernetesNetworkPolicy = serde_json::from_value(input).unwrap();
                answer(Kind::NetworkPolicy, &policy.convert().unwrap())
            }
            kind => {
                kinds.1 += 1;
                assert_eq!(kind, "ClusterNetworkPolicy");
                let policy: KubernetesClusterNetworkPolicy = serde_json::from_value(input).unwrap();
                answer(Kind::GlobalNetworkPolicy, &policy.convert().unwrap())
            }
        };
        assert_eq!(as_go_writes(found), vector["output"], "{name}");
    }
    assert_eq!(kinds, (28, 8));
}
