//! Pods as workload endpoints: seen with their labels and addresses, written by their annotations, gone when they end.

use std::time::Duration;

use serde_json::{Value, json};
use tortie_store::kubernetes::Kubernetes;
use tortie_store::{Change, Datastore, Error, List};

use crate::help::{Api, read_until};

const KEY: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/shop/n1-k8s-web-eth0";
const PODS: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/";

fn pod(name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: web}}}}, \
         spec: {{nodeName: n1, serviceAccountName: default, automountServiceAccountToken: false{more}, \
         containers: [{{name: c, image: x, ports: [{{name: http, containerPort: 80}}]}}]}}}}"
    )
}

fn value(store: &Kubernetes) -> Value {
    serde_json::from_slice(&store.get(KEY).unwrap().unwrap().value).unwrap()
}

#[test]
fn a_pod_is_a_workload_endpoint() {
    let api = Api::start(&["--disable-admission-plugins=ServiceAccount"]);
    api.kubectl(&["create", "namespace", "shop"], "");
    let store = Kubernetes::open(api.server.options().unwrap()).unwrap();
    let before = store.list(&List::prefix(PODS)).unwrap();
    assert_eq!(before.items, []);
    let mut watch = store.watch(PODS, before.revision).unwrap();
    // Pods of the host's network are the host.
    api.kubectl(&["create", "-f", "-"], &pod("host", ", hostNetwork: true"));
    api.kubectl(&["create", "-f", "-"], &pod("web", ""));
    let (seen, _) = read_until(&mut *watch, KEY);
    assert!(seen.iter().all(|change| change.key() == KEY), "{seen:?}");
    let endpoint = value(&store);
    assert_eq!(endpoint["metadata"]["labels"]["app"], "web");
    assert_eq!(endpoint["metadata"]["labels"]["projectcalico.org/orchestrator"], "k8s");
    assert_eq!(endpoint["spec"]["node"], "n1");
    assert_eq!(endpoint["spec"]["profiles"][0], "kns.shop");
    assert_eq!(endpoint["spec"]["ports"][0]["name"], "http");
    assert_eq!(endpoint["spec"]["ipNetworks"], Value::Null);

    // Its address is written as Calico's plugin writes it, and nothing else of the pod changes.
    let mut with_address = endpoint.clone();
    with_address["spec"]["ipNetworks"] = json!(["10.65.0.2/32"]);
    with_address["spec"]["containerID"] = json!("c0ffee");
    let now = store.get(KEY).unwrap().unwrap().revision;
    store.update(KEY, with_address.to_string().as_bytes(), now).unwrap();
    assert_eq!(value(&store)["spec"]["ipNetworks"], json!(["10.65.0.2/32"]));
    let annotation = "jsonpath={.metadata.annotations.cni\\.projectcalico\\.org/podIP}";
    assert_eq!(api.kubectl(&["-n", "shop", "get", "pod", "web", "-o", annotation], ""), "10.65.0.2/32");
    let (seen, _) = read_until(&mut *watch, KEY);
    let Some(Change::Put(last)) = seen.last() else { panic!("{seen:?}") };
    assert!(String::from_utf8_lossy(&last.value).contains("10.65.0.2/32"), "{seen:?}");
    // Who knows an older pod is refused.
    let outdated = store.update(KEY, with_address.to_string().as_bytes(), now);
    assert!(matches!(outdated, Err(Error::Conflict { .. })), "{outdated:?}");
    assert!(matches!(store.create(KEY, with_address.to_string().as_bytes()), Err(Error::Exists { .. })));

    // A pod is the cluster's own: what is deleted is its address.
    store.delete(KEY, None).unwrap();
    assert_eq!(value(&store)["spec"]["ipNetworks"], Value::Null);
    read_until(&mut *watch, KEY);
    api.kubectl(&["-n", "shop", "delete", "pod", "web", "--force", "--grace-period=0"], "");
    let gone = loop {
        match read_until(&mut *watch, KEY).0.pop() {
            Some(Change::Delete { key, .. }) => break key,
            Some(Change::Put(_)) | None => {}
        }
    };
    assert_eq!(gone, KEY);
    assert_eq!(store.get(KEY).unwrap(), None);
    assert_eq!(watch.next(Duration::from_millis(100)).unwrap(), []);
}

#[test]
fn thousands_of_objects_are_listed_in_pages_as_of_one_moment() {
    let api = Api::start(&[]);
    let store = Kubernetes::open(api.server.options().unwrap()).unwrap();
    let accounts: String = (0..1_200)
        .map(|number| format!("---\n{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: a{number:04}, namespace: default}}}}\n"))
        .collect();
    api.kubectl(&["create", "-f", "-"], &accounts);
    let prefix = "/calico/resources/v3/kubernetes.io/";
    let all = store.list_all(prefix).unwrap();
    let count = |part: &str| all.items.iter().filter(|item| item.key.contains(part)).count();
    assert_eq!(count("/serviceaccounts/default/a"), 1_200);
    assert!(count("/namespaces/") >= 4, "kinds of the same prefix come too");
    // The same in small pages, while others write.
    let mut list = List { limit: Some(250), ..List::prefix(prefix) };
    let mut keys = Vec::new();
    let mut number = 0;
    loop {
        let page = store.list(&list).unwrap();
        assert!(page.items.len() <= 250);
        list.at = Some(page.revision);
        list.after = page.items.last().map(|item| item.key.clone());
        keys.extend(page.items.into_iter().map(|item| item.key));
        if !page.more {
            break;
        }
        number += 1;
        let name = format!("zz{number}");
        api.kubectl(&["create", "serviceaccount", &name], "");
    }
    keys.sort();
    let expected: Vec<String> = all.items.into_iter().map(|item| item.key).collect();
    assert_eq!(keys, expected);
}
