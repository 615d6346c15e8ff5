//! The plugin on etcd, without an agent, against what Calico wrote there: its address management at the calls that equal a
//! CNI ADD, and a pod's WorkloadEndpoint as its client stores one. Both are recorded from Calico's own code.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tortie_cni::plugin::run;
use tortie_cni::{Plugin, Reply};
use tortie_netlink::rtnetlink::LinkRef;
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Etcd, Options};
use tortie_store::resources::Client;
use tortie_store::{Datastore, keys};

use crate::host::{Call, Host, mk_namespace};
use crate::plugin::process;

/// Recorded calls of address management, one after the other on one etcd.
const STEPS: &str = include_str!("../../../ipam/tests/ipam/vectors/ipam-steps.jsonl");
/// Recorded objects, and the keys and values that came of them.
const OBJECTS: &str = include_str!("../../../store/tests/vectors/etcd.jsonl");

/// A host with an etcd of its own, on its loopback.
struct Calico {
    host: Host,
    server: Server,
}

impl Calico {
    fn new() -> Self {
        let host = Host::new();
        tortie_netlink::Rtnetlink::open_in(&host.namespace).unwrap().set_up(LinkRef::Name("lo")).unwrap();
        let start = Start { directory: host.directory.path().join("etcd"), ..Start::default() };
        let server = host.namespace.run(|| Server::start(start)).unwrap().unwrap();
        Calico { host, server }
    }

    fn store(&self) -> Arc<dyn Datastore> {
        Arc::new(Etcd::open(Options::new(vec![self.server.endpoint()])).unwrap())
    }

    fn put(&self, key: &str, value: &Value) {
        self.host.namespace.run(|| self.store().put(key, value.to_string().as_bytes())).unwrap().unwrap();
    }

    fn content(&self) -> BTreeMap<String, Value> {
        let items = self.host.namespace.run(|| self.store().list_all(keys::ROOT)).unwrap().unwrap().items;
        items.into_iter().map(|kv| (kv.key, serde_json::from_slice(&kv.value).unwrap())).collect()
    }

    fn call(&self, mut call: Call<'_>, node: &str, network: &str) -> Reply {
        call.config["name"] = json!(network);
        call.config["nodename"] = json!(node);
        call.config["datastore_type"] = json!("etcdv3");
        call.config["etcd_endpoints"] = json!(self.server.endpoint().to_string());
        let process = process(&self.host, &call);
        self.host.namespace.run(|| run(&process)).unwrap()
    }
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// Without what differs from run to run. The plugin notes the time of an assignment; the recorded calls gave none.
fn strip(value: &mut Value) {
    const CHANCE: [&str; 4] =
        ["affinity_claim_time", "sequenceNumber", "sequenceNumberForAllocation", "timestamp"];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !CHANCE.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn addresses_are_assigned_and_written_down_as_calico_did_it() {
    let calico = Calico::new();
    let mut calls = 0;
    for step in lines(STEPS) {
        let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
        let changed = step["changed"].as_object().cloned().unwrap_or_default();
        if step["call"] == "EnsureInitialized" || text("call").ends_with("().Create") {
            changed.iter().for_each(|(key, value)| calico.put(key, value));
        }
        if !text("equals").starts_with("CNI ADD") {
            continue;
        }
        calls += 1;
        let args = &step["args"];
        let said = |name: &str| args["Attrs"][name].as_str().unwrap().to_owned();
        let handle = args["HandleID"].as_str().unwrap();
        let (network, container) = handle.split_once('.').unwrap();
        let pod = mk_namespace();
        let mut call = Call { plugin: Plugin::Ipam, container, ..Call::add(&pod) };
        call.args =
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", said("namespace"), said("pod"));
        call.config["ipam"]["assign_ipv6"] = json!((args["Num6"] == 1).to_string());
        if let Some(address) = args["IP"].as_str() {
            let list = json!([address]).to_string();
            call.config["args"]["cni"]["annotations"] = json!({ "cni.projectcalico.org/ipAddrs": list });
        }
        let before = calico.content();
        let reply = calico.call(call, &said("node"), network);
        let after = calico.content();
        let what = text("what");
        let mut written: BTreeMap<String, Value> =
            after.into_iter().filter(|(key, value)| before.get(key) != Some(value)).collect();
        let stamps = written.values().filter_map(|value| value.pointer("/attributes")?.as_array()).flatten();
        for stamp in stamps {
            let time = stamp["secondary"]["timestamp"].as_str().unwrap();
            assert!(time.ends_with(" +0000 UTC"), "{time}");
        }
        let mut expected: BTreeMap<String, Value> = changed.into_iter().collect();
        written.values_mut().chain(expected.values_mut()).for_each(strip);
        assert_eq!(written, expected, "{what}");
        let result: Value = serde_json::from_str(&reply.stdout).unwrap();
        match step["error"].as_str() {
            Some(error) => {
                assert_eq!((reply.exit, &result["code"]), (1, &json!(999)), "{what}");
                assert!(result["msg"].as_str().unwrap().contains(error.trim()), "{what}: {result}");
            }
            None => {
                assert_eq!(reply.exit, 0, "{what}: {}", reply.stdout);
                let given = |family: &str| step["result"][family]["ips"].as_array().cloned();
                let expected = given("v4").into_iter().chain(given("v6")).flatten().collect::<Vec<_>>();
                let ips = result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].clone());
                if !expected.is_empty() {
                    assert_eq!(ips.collect::<Vec<_>>(), expected, "{what}");
                }
            }
        }
    }
    assert_eq!(calls, 8);
}

#[test]
fn a_pods_endpoint_is_stored_as_calico_stores_one() {
    let calico = Calico::new();
    let recorded = lines(OBJECTS).find(|line| line["kind"] == "WorkloadEndpoint").unwrap();
    let (key, recorded) = recorded["puts"].as_object().unwrap().iter().next().unwrap();
    calico.host.namespace.run(|| Client::new(calico.store()).ensure_initialized()).unwrap().unwrap();
    for (name, cidr) in [("pool4", "192.168.0.0/26"), ("pool6", "fd00::/122")] {
        calico.put(
            &format!("/calico/resources/v3/projectcalico.org/ippools/{name}"),
            &json!({ "kind": "IPPool", "apiVersion": "projectcalico.org/v3", "metadata": { "name": name },
                "spec": { "cidr": cidr, "blockSize": if name == "pool4" { 26 } else { 122 }, "nodeSelector": "all()",
                    "ipipMode": "Never", "vxlanMode": "Never", "allowedUses": ["Workload"] } }),
        );
    }
    calico.put(
        "/calico/resources/v3/projectcalico.org/nodes/node1",
        &json!({ "kind": "Node", "apiVersion": "projectcalico.org/v3", "metadata": { "name": "node1" }, "spec": {} }),
    );
    let said = |path: &str| recorded.pointer(path).unwrap().clone();
    let pod = mk_namespace();
    let container = said("/spec/containerID");
    let mut call = Call { container: container.as_str().unwrap(), ..Call::add(&pod) };
    call.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=frontend-5gs43".into();
    call.config["feature_control"] = json!({ "floating_ips": true });
    call.config["args"]["cni"] = json!({
        "labels": [{ "key": "app", "value": "frontend" }],
        "serviceAccountName": "front",
        "ports": [{ "name": "connect", "port": 1234, "protocol": "TCP" }],
        "annotations": {
            "cni.projectcalico.org/ipAddrs": r#"["192.168.0.4","fd00::4"]"#,
            "cni.projectcalico.org/floatingIPs": r#"["203.0.113.4"]"#,
            "cni.projectcalico.org/allowedSourcePrefixes": r#"["10.9.0.0/24"]"#,
            "cni.projectcalico.org/hwAddr": said("/spec/mac"),
        },
    });
    let reply = calico.call(call, "node1", "net1");
    assert_eq!(reply.exit, 0, "{}", reply.stdout);
    let mut written = calico.content().remove(key).unwrap();
    // What each run makes anew, with the form that it has.
    for path in ["/metadata/uid", "/metadata/creationTimestamp", "/spec/interfaceName"] {
        let (new, old) = (written.pointer_mut(path).unwrap(), said(path));
        assert_eq!(
            new.as_str().unwrap().len(),
            if path == "/spec/interfaceName" { 15 } else { old.as_str().unwrap().len() }
        );
        *new = old;
    }
    // A label of the plugin's own, which the recorded object, made by hand, has not; and a field that no plugin writes.
    let labels = written.pointer_mut("/metadata/labels").unwrap().as_object_mut().unwrap();
    assert_eq!(labels.remove("projectcalico.org/serviceaccount"), Some(json!("front")));
    let mut expected = recorded.clone();
    expected["spec"].as_object_mut().unwrap().remove("ipv4Gateway").unwrap();
    assert_eq!(written, expected);
}
