//! Policy and addresses in etcd, beside a cluster: what is copied, what is kept, what goes.

use std::sync::Arc;

use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Etcd, Options};
use tortie_store::resources::Client;

use crate::lab::{Controllers, DEPLOY, Lab, configure, eventually, give, given, pool};

fn named(client: &Client, kind: Kind) -> Vec<String> {
    let items = client.list(kind, None).unwrap().items;
    let mut names: Vec<_> =
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_clusters_objects_are_copied_to_etcd_and_go_with_it() {
    let lab = Lab::start();
    let directory = lab.directory.path().join("etcd-of-calico");
    let etcd = Server::start(Start { directory, ..Start::default() }).unwrap();
    let endpoints = etcd.endpoint().to_string();
    let client = Client::new(Arc::new(Etcd::open(Options::new(vec![etcd.endpoint()])).unwrap()));
    pool(&client);
    configure(&client, json!({"leakGracePeriod": "1s"}));
    lab.nodes(&["n1", "n2"]);
    let node = |name: &str, machine: Option<&str>| {
        let references = machine.map(|machine| json!([{"nodeName": machine, "orchestrator": "k8s"}]));
        let object = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "Node",
            "metadata": {"name": name, "labels": {"own": "1"}}, "spec": {"orchRefs": references.unwrap_or(json!([]))},
        });
        client.create(object).unwrap();
    };
    node("n1", Some("n1"));
    node("calico-n2", Some("n2"));
    node("hardware", None);
    // What isn't Kubernetes', and what was once.
    for name in ["mine", "kns.gone"] {
        let profile = json!({"apiVersion": "projectcalico.org/v3", "kind": "Profile", "metadata": {"name": name}, "spec": {}});
        client.create(profile).unwrap();
    }
    for name in ["mine", "knp.default.gone"] {
        let policy = json!({"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "default"}, "spec": {"selector": "all()"}});
        client.create(policy).unwrap();
    }
    lab.kubectl(
        &["apply", "-f", "-"],
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: red}}}\n---\n\
         {apiVersion: v1, kind: ServiceAccount, metadata: {name: till, namespace: shop, labels: {a: b}}}\n---\n\
         {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: shop}, spec: {podSelector: {}}}",
    );
    let web = give(&client, "n1", Some("web"));
    lab.pod("web", "n1", &web);
    client
        .create(json!({
            "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
            "metadata": {"name": "n1-k8s-web-eth0", "namespace": "default", "labels": {"app": "old"}},
            "spec": {"node": "n1", "orchestrator": "k8s", "pod": "web", "endpoint": "eth0", "interfaceName": "cali1", "ipNetworks": [format!("{web}/32")]},
        }))
        .unwrap();
    give(&client, "calico-n2", Some("ghost"));

    // With the rights that the manifest for etcd gives: none on Calico's kinds.
    lab.kubectl(&["apply", "-f", &format!("{DEPLOY}/tortie-etcd.yaml")], "");
    let config = lab.account("tortie-controllers");
    let environment = [
        ("DATASTORE_TYPE", "etcdv3"),
        ("ETCD_ENDPOINTS", endpoints.as_str()),
        ("KUBECONFIG", config.to_str().unwrap()),
    ];
    let controllers = Controllers::start(lab.directory.path(), "one", &environment);
    eventually(
        "profiles are those of Kubernetes",
        || named(&client, Kind::Profile),
        |names| {
            let has = |name: &str| names.iter().any(|known| known == name);
            has("kns.shop")
                && has("kns.default")
                && has("kns.kube-system")
                && has("ksa.shop.till")
                && has("mine")
                && !has("kns.gone")
        },
    );
    let profile = client.get(&ResourceKey::cluster(Kind::Profile, "kns.shop")).unwrap();
    assert_eq!(profile["spec"]["labelsToApply"]["pcns.team"], "red");
    assert_eq!(profile["spec"]["labelsToApply"]["pcns.projectcalico.org/name"], "shop");
    assert_eq!(profile["spec"]["egress"][0]["action"], "Allow");
    let account = client.get(&ResourceKey::cluster(Kind::Profile, "ksa.shop.till")).unwrap();
    assert_eq!(account["spec"]["labelsToApply"]["pcsa.a"], "b");
    eventually(
        "policies are those of Kubernetes",
        || named(&client, Kind::NetworkPolicy),
        |names| *names == ["knp.default.closed", "mine"],
    );
    let policy =
        client.get(&ResourceKey::namespaced(Kind::NetworkPolicy, "shop", "knp.default.closed")).unwrap();
    assert_eq!(policy["spec"]["order"], 1000.0);
    assert_eq!(policy["spec"]["selector"], "projectcalico.org/orchestrator == 'k8s'");
    let endpoint = ResourceKey::namespaced(Kind::WorkloadEndpoint, "default", "n1-k8s-web-eth0");
    let labels = |wanted: &'static str| {
        eventually(
            "the endpoint's labels are its pod's",
            || client.get(&endpoint).unwrap(),
            |endpoint: &Value| {
                endpoint["metadata"]["labels"]["app"] == wanted
                    && endpoint["spec"]["serviceAccountName"] == "default"
            },
        )
    };
    labels("web");
    lab.kubectl(&["label", "pod", "web", "app=shop", "--overwrite"], "");
    labels("shop");
    let n1 = ResourceKey::cluster(Kind::Node, "n1");
    eventually(
        "labels of nodes come along",
        || client.get(&n1).unwrap(),
        |node: &Value| node["metadata"]["labels"] == json!({"own": "1", "rack": "b12"}),
    );
    eventually("a leaked address goes", || given(&client), |left| *left == ["k8s-pod-network.web"]);

    // What goes there goes here.
    lab.kubectl(&["-n", "shop", "delete", "networkpolicy", "closed"], "");
    lab.kubectl(&["-n", "shop", "delete", "serviceaccount", "till"], "");
    lab.kubectl(&["delete", "node", "n2"], "");
    lab.kubectl(&["label", "node", "n1", "rack-"], "");
    eventually(
        "copies go",
        || (named(&client, Kind::NetworkPolicy), named(&client, Kind::Profile)),
        |(policies, profiles)| *policies == ["mine"] && !profiles.iter().any(|name| name == "ksa.shop.till"),
    );
    eventually(
        "nodes go, but none that isn't Kubernetes'",
        || named(&client, Kind::Node),
        |names| *names == ["hardware", "n1"],
    );
    eventually(
        "labels go",
        || client.get(&n1).unwrap(),
        |node: &Value| node["metadata"]["labels"] == json!({"own": "1"}),
    );
    assert_eq!(named(&client, Kind::WorkloadEndpoint), ["n1-k8s-web-eth0"]);
    let log = controllers.log();
    assert!(!log.contains("not all could be done") && !log.contains("forbidden"), "{log}");
}
