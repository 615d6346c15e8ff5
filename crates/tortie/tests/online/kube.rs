//! A node of a real Kubernetes API (without kubelets): its agent and plugin speak with the API server alone, its operator uses
//! kubectl.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tortie_netlink::rtnetlink::LinkRef;
use tortie_netlink::{OwnedNamespace, Rtnetlink};
use tortie_store::kubernetes::server::{Server, Start};

use crate::cut::Pods;
use crate::machine::Machine;

/// Calico's kinds, as users install them.
const KINDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds.yaml");

/// An API server on a machine's loopback.
pub struct Kube {
    pub server: Server,
}

impl Kube {
    pub fn start(host: &OwnedNamespace, directory: &Path) -> Self {
        Rtnetlink::open_in(host).unwrap().set_up(LinkRef::Name("lo")).unwrap();
        let start = Start { directory: directory.to_owned(), ..Start::default() };
        // What is started from inside stays inside.
        let server = host.run(|| Server::start(start)).unwrap().unwrap();
        let kube = Kube { server };
        kube.kubectl(host, &["apply", "--server-side", "-f", KINDS], "");
        kube.kubectl(host, &["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], "");
        kube.kubectl(
            host,
            &["apply", "-f", "-"],
            "{apiVersion: v1, kind: Node, metadata: {name: node1}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n\
             {apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}\n",
        );
        kube
    }

    /// kubectl, on the host.
    pub fn kubectl(&self, host: &OwnedNamespace, arguments: &[&str], input: &str) -> String {
        host.run(|| self.server.kubectl(arguments, input)).unwrap().unwrap()
    }
}

impl Machine {
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        self.kube.as_ref().unwrap().kubectl(&self.host, arguments, input)
    }

    /// Makes a pod known, as the scheduler and kubelet would.
    pub fn create_pod(&self, name: &str) {
        let pod = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}, \
             spec: {{nodeName: node1, automountServiceAccountToken: false, containers: [{{name: c, image: x, ports: [{{name: http, containerPort: 80}}]}}]}}}}"
        );
        self.kubectl(&["create", "-f", "-"], &pod);
    }

    pub fn annotation(&self, pod: &str, name: &str) -> String {
        let path = format!("jsonpath={{.metadata.annotations.cni\\.projectcalico\\.org/{name}}}");
        self.kubectl(&["-n", "shop", "get", "pod", pod, "-o", &path], "")
    }

    pub fn blocks(&self) -> Vec<Value> {
        let blocks = self.kubectl(&["get", "ipamblocks.crd.projectcalico.org", "-o", "json"], "");
        let blocks: Value = serde_json::from_str(&blocks).unwrap();
        blocks["items"].as_array().unwrap().clone()
    }

    /// How many addresses are given.
    pub fn held(&self) -> usize {
        let held = |block: &Value| {
            block["spec"]["allocations"].as_array().unwrap().iter().filter(|one| !one.is_null()).count()
        };
        self.blocks().iter().map(held).sum()
    }
}

pub fn letting_in(port: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: db-in, namespace: shop}}, \
         spec: {{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{app: web}}}}}}], ports: [{{port: {port}}}]}}]}}}}"
    )
}

/// Waits until the policy that was applied last is in force: the port that is open says so.
pub fn in_force(pods: &Pods, open: u16) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !pods.is_judged_by(open) {
        assert!(Instant::now() < patience, "port {open} doesn't open");
    }
}

#[test]
fn pods_of_a_cluster_are_wired_and_judged_by_what_kubectl_says() {
    let mut machine = Machine::on_kubernetes("kube");
    machine.create_pod("web");
    machine.create_pod("db");
    let pods = Pods::wired(&mut machine);
    assert!(pods.is_judged_by(80) || pods.is_open(80) && pods.is_open(81), "no policy, no limits");
    let web = machine.annotation("web", "podIP");
    assert!(web.starts_with("10.65.") && web.ends_with("/32"), "{web}");
    assert_eq!(machine.annotation("web", "podIPs"), web);
    assert_eq!(machine.annotation("web", "containerID"), "container-web");
    assert_eq!(machine.held(), 2);

    // Kubernetes' own policy, by a named port; Calico's own; both by kubectl.
    machine.kubectl(&["apply", "-f", "-"], &letting_in("http"));
    in_force(&pods, 80);
    machine.kubectl(&["apply", "-f", "-"], &letting_in("81"));
    in_force(&pods, 81);
    machine.kubectl(
        &["apply", "-f", "-"],
        "{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy, metadata: {name: first, namespace: shop}, spec: {order: 1, selector: app == 'db', \
         ingress: [{action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [80]}}, {action: Deny}]}}",
    );
    in_force(&pods, 80);
    machine.kubectl(&["-n", "shop", "delete", "networkpolicies.crd.projectcalico.org", "first"], "");
    in_force(&pods, 81);
    // What passes the schema and can't be understood closes what it may be about, and is named.
    machine.kubectl(
        &["apply", "-f", "-"],
        "{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy, metadata: {name: broken, namespace: shop}, spec: {order: 1, selector: app ==, ingress: [{action: Allow}]}}",
    );
    let patience = Instant::now() + Duration::from_secs(60);
    while pods.is_open(81) {
        assert!(Instant::now() < patience, "a policy that can't be read denies");
    }
    machine.status_when(|status| status["faults"].to_string().contains("shop/broken"));
    machine.kubectl(&["-n", "shop", "delete", "networkpolicies.crd.projectcalico.org", "broken"], "");
    in_force(&pods, 81);
    // A label that changes takes effect as well.
    machine.kubectl(&["-n", "shop", "label", "pod", "web", "--overwrite", "app=other"], "");
    let patience = Instant::now() + Duration::from_secs(60);
    while pods.is_open(81) {
        assert!(Instant::now() < patience, "the pod is no web any more");
    }
    machine.kubectl(&["-n", "shop", "label", "pod", "web", "--overwrite", "app=web"], "");
    in_force(&pods, 81);

    // What the runtime takes away is free again, and the pod says so.
    let (gone, said) = machine.call("DEL", "web");
    assert!(gone, "{said}");
    assert_eq!(machine.annotation("web", "podIP"), "");
    assert_eq!(machine.held(), 1);
    let (gone, said) = machine.call("DEL", "web");
    assert!(gone, "twice is once: {said}");
    // Nothing is left of it, so the same container can be attached again.
    let (added, said) = machine.call("ADD", "web");
    assert!(added && said.contains("10.65."), "{said}");
    assert_eq!(machine.held(), 2);
}

#[test]
fn a_lost_api_server_is_not_felt_and_pods_wait_for_it() {
    let mut machine = Machine::on_kubernetes("lost");
    machine.create_pod("web");
    machine.create_pod("db");
    let pods = Pods::wired(&mut machine);
    machine.kubectl(&["apply", "-f", "-"], &letting_in("80"));
    in_force(&pods, 80);
    machine.create_pod("late");
    machine.kube.as_mut().unwrap().server.kill();
    pods.judged_by(80, "without an API server");
    let (added, said) = machine.try_add("late");
    assert!(!added && said.contains("\"code\":11"), "the runtime is to try again: {said}");
    pods.judged_by(80, "after a pod that had to wait");
    let server = &mut machine.kube.as_mut().unwrap().server;
    machine.host.run(|| server.restart()).unwrap().unwrap();
    machine.kubectl(&["apply", "-f", "-"], &letting_in("81"));
    in_force(&pods, 81);
    let (added, said) = machine.call("ADD", "late");
    assert!(added, "{said}");
    // The agent starts anew under all of them.
    machine.stop();
    pods.judged_by(81, "without an agent");
    machine.start();
    pods.judged_by(81, "with a new agent");
}
