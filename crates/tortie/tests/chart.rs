//! The manifests in `deploy/` are the Helm chart with its default values, with those for etcd and for both families, to the byte. The chart's
//! template uses nothing but Go's template language and `toJson`, so no Helm is needed to render it.
//!
//! After a change of the chart `TORTIE_RENDER=1 cargo test -p tortie --test chart` writes the manifests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gotmpl::{Template, Value as Go};
use serde_json::{Map, Value, json};
use tortie_api::yaml::scalar::Scalar;
use tortie_api::yaml::tree::{self, Data, Node};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).unwrap()
}

fn yaml(text: &str) -> Vec<Value> {
    let (documents, errors) = tree::read(text);
    assert!(errors.is_empty(), "{errors:?}");
    documents.iter().map(of_node).collect()
}

fn of_node(node: &Node) -> Value {
    match &node.data {
        Data::Plain(text, Scalar::Text) | Data::Text(text) => json!(text),
        Data::Plain(text, _) => serde_json::from_str(text).unwrap_or(Value::Null),
        Data::List(items) => items.iter().map(of_node).collect(),
        Data::Map(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), of_node(&entry.value))).collect())
        }
    }
}

/// What one file of values says over another, as Helm merges them.
fn merged(mut below: Value, above: Value) -> Value {
    match (&mut below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                let old = below.remove(&key).unwrap_or_default();
                below.insert(key, merged(old, value));
            }
        }
        (below, above) => *below = above,
    }
    below
}

fn go(value: &Value) -> Go {
    match value {
        Value::Null => Go::Nil,
        Value::Bool(flag) => Go::Bool(*flag),
        Value::Number(number) => number.as_i64().map_or_else(|| Go::Float(number.as_f64().unwrap()), Go::Int),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(go).collect::<Vec<_>>().into(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), go(value))).collect::<BTreeMap<_, _>>().into()
        }
    }
}

fn back(value: &Go) -> Value {
    match value {
        Go::Bool(flag) => json!(flag),
        Go::Int(number) => json!(number),
        Go::Float(number) => json!(number),
        Go::String(text) => json!(**text),
        Go::List(items) => items.iter().map(back).collect(),
        Go::Map(map) => Value::Object(
            map.iter().map(|(key, value)| (key.to_string(), back(value))).collect::<Map<_, _>>(),
        ),
        _ => Value::Null,
    }
}

/// The chart with values over its own, in kube-system.
fn rendered(over: Value) -> String {
    let values = merged(yaml(&read("helm/tortie/values.yaml")).remove(0), over);
    let template = Template::new("tortie.yaml")
        .func("toJson", |arguments| Ok(Go::String(back(&arguments[0]).to_string().into())))
        .parse(&read("helm/tortie/templates/tortie.yaml"))
        .unwrap();
    let text = template
        .execute_to_string(&go(
            &json!({"Values": values, "Release": {"Namespace": "kube-system", "Name": "tortie"}}),
        ))
        .unwrap();
    assert!(!text.contains("<no value>"), "a value that isn't there");
    text
}

fn is_manifest(path: &str, rendered: &str) {
    if std::env::var_os("TORTIE_RENDER").is_some() {
        std::fs::write(deploy().join(path), rendered).unwrap();
    }
    let there = read(path);
    let differs =
        there.lines().zip(rendered.lines()).enumerate().find(|(_, (there, rendered))| there != rendered);
    assert!(
        there == rendered,
        "deploy/{path} isn't what the chart says, first at {differs:?}; TORTIE_RENDER=1 writes it"
    );
}

fn named<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is = |of: &&Value| of["kind"] == kind && of["metadata"]["name"] == name;
    documents.iter().find(is).unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn the_manifest_is_the_chart_with_its_own_values() {
    is_manifest("tortie.yaml", &rendered(json!({})));
}

#[test]
fn the_manifest_for_etcd_is_the_chart_with_values_for_etcd() {
    is_manifest("tortie-etcd.yaml", &rendered(yaml(&read("helm/etcd.yaml")).remove(0)));
}

#[test]
fn the_manifest_for_both_families_is_the_chart_with_a_pool_of_ipv6() {
    let text = rendered(yaml(&read("helm/dual.yaml")).remove(0));
    is_manifest("tortie-dual.yaml", &text);
    assert_eq!(families(&text), json!({"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"}));
    let one = rendered(json!({"ipv4pool": {"cidr": ""}, "ipv6pool": {"cidr": "fd00:10::/48"}}));
    assert_eq!(families(&one), json!({"type": "calico-ipam", "assign_ipv4": "false", "assign_ipv6": "true"}));
    for (text, is_found) in [(text, true), (one, true), (rendered(json!({})), false)] {
        assert_eq!(text.contains("{name: IP6, value: autodetect}"), is_found);
    }
}

/// What the plugin is told of addresses.
fn families(manifest: &str) -> Value {
    let documents = yaml(manifest);
    let network = named(&documents, "ConfigMap", "tortie")["data"]["network"].as_str().unwrap();
    let network: Value = serde_json::from_str(&network.replace("__CNI_MTU__", "0")).unwrap();
    network["plugins"][0]["ipam"].clone()
}

#[test]
fn values_change_what_they_name_and_every_rendering_is_yaml() {
    let over = json!({
        "image": "registry.example/tortie:1", "mtu": 1400, "ipv4pool": {"cidr": ""},
        "ipv6pool": {"cidr": "fd00:10::/48", "vxlan": "Always", "natOutgoing": true},
        "node": {"resources": {"limits": {"memory": "1Gi"}}, "tolerations": []}, "controllers": {"enabled": false},
    });
    let documents = yaml(&rendered(over));
    assert!(documents.iter().all(|of| !of["metadata"]["name"].as_str().unwrap().contains("controllers")));
    let pod = &named(&documents, "DaemonSet", "tortie-node")["spec"]["template"]["spec"];
    let agent = &pod["containers"][0];
    assert_eq!(agent["image"], "registry.example/tortie:1");
    assert_eq!(pod["tolerations"], json!([]));
    assert_eq!(agent["resources"]["limits"], json!({"memory": "1Gi"}));
    let variable = |of: &Value, name: &str| {
        of["env"].as_array().unwrap().iter().find(|one| one["name"] == name).map(|one| one["value"].clone())
    };
    assert_eq!(variable(agent, "CALICO_IPV4POOL_CIDR"), None);
    assert_eq!(variable(agent, "CALICO_IPV6POOL_CIDR"), Some(json!("fd00:10::/48")));
    assert_eq!(variable(agent, "CALICO_IPV6POOL_NAT_OUTGOING"), Some(json!("true")));
    assert_eq!(variable(&pod["initContainers"][0], "CNI_MTU"), Some(json!("1400")));

    let plain = json!({"datastore": "etcdv3", "etcd": {"endpoints": "http://a:2379,http://b:2379"}});
    let text = rendered(plain);
    let documents = yaml(&text);
    assert!(!text.contains("calico-secrets"), "no TLS, no secret");
    let role = named(&documents, "ClusterRole", "tortie-node").to_string();
    assert!(!role.contains("crd.projectcalico.org"), "Calico's objects aren't in Kubernetes: {role}");
    let controllers =
        &named(&documents, "Deployment", "tortie-controllers")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(variable(controllers, "ETCD_ENDPOINTS"), Some(json!("http://a:2379,http://b:2379")));
    // The root file system can't be written: the socket that probes ask is in a directory of the pod's own.
    assert_eq!(controllers["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(controllers["volumeMounts"], json!([{"name": "run", "mountPath": "/run/tortie"}]));
    let network = named(&documents, "ConfigMap", "tortie")["data"]["network"].as_str().unwrap();
    let network: Value = serde_json::from_str(&network.replace("__CNI_MTU__", "0")).unwrap();
    assert_eq!(network["plugins"][0]["ipam"], json!({"type": "calico-ipam"}));
    assert_eq!(network["plugins"][0]["datastore_type"], "etcdv3");
    assert_eq!(network["plugins"][0]["policy"]["type"], "k8s");
}
