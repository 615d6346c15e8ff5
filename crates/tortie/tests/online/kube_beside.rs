//! What the agent says to Kubernetes of its node, and policy and addresses in etcd beside a Kubernetes that knows the pods.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::machine::Machine;

impl Machine {
    /// The node's condition NetworkUnavailable: status, reason and message.
    fn condition(&self) -> String {
        let path = "jsonpath={range .status.conditions[?(@.type=='NetworkUnavailable')]}{.status} {.reason} {.message}{end}";
        self.kubectl(&["get", "node", "node1", "-o", path], "")
    }

    fn condition_is(&self, wanted: &str) {
        let patience = Instant::now() + Duration::from_secs(60);
        while self.condition() != wanted {
            assert!(Instant::now() < patience, "{:?}, not {wanted:?}", self.condition());
        }
    }

    /// A kubeconfig of a service account in kube-system.
    fn account(&self, name: &str) -> PathBuf {
        let token = self.kubectl(&["-n", "kube-system", "create", "token", name], "");
        let config = std::fs::read_to_string(self.kube.as_ref().unwrap().server.kubeconfig()).unwrap();
        let (before, after) = config.split_once("token: ").unwrap();
        let (_, after) = after.split_once('}').unwrap();
        let path = self.files.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, format!("{before}token: {}}}{after}", token.trim())).unwrap();
        path
    }

    fn endpoint(&self, pod: &str) -> Value {
        let name = format!("node1-k8s-{pod}-eth0");
        let output = self.run(&["get", "workloadendpoint", &name, "-n", "shop", "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn a_node_says_that_its_network_works_and_that_its_agent_stops() {
    let mut machine = Machine::on_kubernetes("cond");
    machine.condition_is("False CalicoIsUp Calico is running on this node");
    let mut agent = machine.agent.take().unwrap();
    assert!(Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap().success());
    assert!(agent.wait().unwrap().success());
    assert_eq!(machine.condition(), "True CalicoIsDown Calico is shutting down on this node");
    machine.start();
    machine.condition_is("False CalicoIsUp Calico is running on this node");
}

/// What the manifest says of accounts and their rights.
fn rights() -> String {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/tortie.yaml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let of_rights = |document: &&str| {
        !["ConfigMap", "DaemonSet", "Deployment"]
            .iter()
            .any(|kind| document.contains(&format!("\nkind: {kind}\n")))
    };
    manifest.split("\n---\n").filter(of_rights).collect::<Vec<_>>().join("\n---\n")
}

#[test]
fn the_plugin_alone_needs_no_more_than_the_rights_of_its_own_account() {
    let mut machine = Machine::on_kubernetes("account");
    machine.kubectl(&["apply", "-f", "-"], &rights());
    let path = machine.account("tortie-cni-plugin");
    let network = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename": "node1", "datastore_type": "kubernetes",
        "ipam": {"type": "calico-ipam"}, "policy": {"type": "k8s"}, "kubernetes": {"kubeconfig": path},
    })
    .to_string();
    machine.stop();
    machine.create_pod("web");
    machine.make_pod("web");
    let (added, said) = machine.call_with("ADD", "web", &network);
    assert!(added, "{said}");
    let address = || {
        machine.kubectl(
            &[
                "-n",
                "shop",
                "get",
                "pod",
                "web",
                "-o",
                "jsonpath={.metadata.annotations.cni\\.projectcalico\\.org/podIP}",
            ],
            "",
        )
    };
    assert!(address().starts_with("10.65."), "{}", address());
    let (gone, said) = machine.call_with("DEL", "web", &network);
    assert!(gone, "{said}");
    assert_eq!(address(), "");

    // A right less is told by its name.
    let role = machine.kubectl(&["get", "clusterrole", "tortie-cni-plugin", "-o", "json"], "");
    machine.kubectl(&["replace", "-f", "-"], &role.replace("\"ipamblocks\"", "\"others\""));
    machine.create_pod("late");
    machine.make_pod("late");
    let (added, said) = machine.call_with("ADD", "late", &network);
    assert!(!added && said.contains("ipamblocks") && said.contains("RBAC"), "{said}");
}

#[test]
fn an_agent_needs_no_more_than_the_rights_of_its_account() {
    let mut machine = Machine::on_kubernetes("rights");
    machine.kubectl(&["apply", "-f", "-"], &rights());
    machine.stop();
    let config: &'static str = machine.account("tortie-node").display().to_string().leak();
    machine.variables.push(("KUBECONFIG", config));
    machine.start();
    machine.condition_is("False CalicoIsUp Calico is running on this node");
    machine.create_pod("web");
    let address = machine.add("web");
    assert!(address.starts_with("10.65."), "{address}");
    let (gone, said) = machine.call("DEL", "web");
    assert!(gone, "{said}");
    let log = std::fs::read_to_string(machine.log()).unwrap();
    assert!(!log.contains("forbidden"), "{log}");
}

#[test]
fn with_policy_in_etcd_pods_are_what_kubernetes_says_with_an_agent_and_without() {
    let mut machine = Machine::on_etcd_beside_kubernetes("beside");
    machine.condition_is("False CalicoIsUp Calico is running on this node");
    let node = machine.run(&["get", "node", "node1", "-o", "json"]);
    let node: Value = serde_json::from_slice(&node.stdout).unwrap();
    assert_eq!(node["spec"]["orchRefs"], json!([{"nodeName": "node1", "orchestrator": "k8s"}]));
    machine.create_pod("web");
    machine.add("web");
    let is_pods = |endpoint: &Value, pod: &str| {
        let labels = json!({
            "app": pod, "projectcalico.org/namespace": "shop", "projectcalico.org/orchestrator": "k8s",
            "projectcalico.org/serviceaccount": "default",
        });
        assert_eq!(endpoint["metadata"]["labels"], labels, "{endpoint:#}");
        assert_eq!(endpoint["spec"]["profiles"], json!(["kns.shop", "ksa.shop.default"]));
        let port = &endpoint["spec"]["ports"][0];
        assert_eq!((&port["name"], &port["port"]), (&json!("http"), &json!(80)));
    };
    is_pods(&machine.endpoint("web"), "web");

    // A pod that Kubernetes doesn't know is none.
    let (added, said) = machine.try_add("unknown");
    assert!(!added && said.contains("unknown"), "{said}");

    // Without an agent: the configuration names the cluster.
    machine.stop();
    machine.create_pod("late");
    machine.make_pod("late");
    let config = machine.kube.as_ref().unwrap().server.kubeconfig();
    let network = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename": "node1", "datastore_type": "etcdv3",
        "etcd_endpoints": machine.cluster.as_ref().unwrap().server.endpoint().to_string(),
        "ipam": {"type": "calico-ipam"}, "policy": {"type": "k8s"}, "kubernetes": {"kubeconfig": config},
    });
    let (added, said) = machine.call_with("ADD", "late", &network.to_string());
    assert!(added, "{said}");
    is_pods(&machine.endpoint("late"), "late");
}
