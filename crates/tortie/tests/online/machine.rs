//! A host with its agent and pods, and the commands that its operator has.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tortie_netlink::{Namespace, OwnedNamespace};

use crate::cluster::Cluster;
use crate::kube::Kube;

/// The network configuration that the plugin gets if nothing else is said.
pub const NETWORK: &str = r#"{"cniVersion":"1.0.0","name":"net","type":"calico","nodename":"node1",
    "ipam":{"type":"calico-ipam"},"policy":{"type":"k8s"}}"#;

/// A host in a network namespace with its agent. Everything goes with it.
pub struct Machine {
    pub host: OwnedNamespace,
    pods: Vec<(String, OwnedNamespace, String)>,
    pub agent: Option<Child>,
    pub files: tempfile::TempDir,
    /// Variables of the agents that are started from now on.
    pub variables: Vec<(&'static str, &'static str)>,
    /// Where the objects are, if not in a file.
    pub cluster: Option<Cluster>,
    /// The Kubernetes API in which they are.
    pub kube: Option<Kube>,
}

impl Machine {
    pub fn new(name: &str) -> Self {
        Self::bare(name).begin()
    }

    /// With its objects in an etcd of its own, which has these arguments.
    pub fn on_etcd(name: &str, arguments: &[&str]) -> Self {
        let mut machine = Self::bare(name);
        machine.start_etcd(arguments);
        machine.begin()
    }

    /// With its objects in a Kubernetes API of its own, of which it is the node `node1`.
    pub fn on_kubernetes(name: &str) -> Self {
        let mut machine = Self::on_kubernetes_without_agent(name);
        machine.start();
        machine
    }

    /// The same before an agent of ours was ever there, nor anything of Calico's but its kinds.
    pub fn on_empty_kubernetes(name: &str) -> Self {
        let mut machine = Self::bare(name);
        machine.kube = Some(Kube::start(&machine.host, &machine.files.path().join("kube")));
        machine
    }

    /// The same with a pool.
    pub fn on_kubernetes_without_agent(name: &str) -> Self {
        let machine = Self::on_empty_kubernetes(name);
        machine.apply(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: pool}\nspec: {cidr: 10.65.0.0/16}\n",
        );
        machine
    }

    /// With its objects in an etcd of its own, and as the node `node1` of a Kubernetes beside it.
    pub fn on_etcd_beside_kubernetes(name: &str) -> Self {
        let mut machine = Self::bare(name);
        machine.start_etcd(&[]);
        machine.kube = Some(Kube::start(&machine.host, &machine.files.path().join("kube")));
        machine.apply(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: pool}\nspec: {cidr: 10.65.0.0/16}\n",
        );
        machine.start();
        machine
    }

    fn bare(name: &str) -> Self {
        let host = OwnedNamespace::create(&format!("tt-{}-{name}", std::process::id())).unwrap();
        let files = tempfile::tempdir().unwrap();
        Self { host, pods: Vec::new(), agent: None, files, variables: Vec::new(), cluster: None, kube: None }
    }

    /// From now on commands speak with it, and agents that are started.
    pub fn start_etcd(&mut self, arguments: &[&str]) {
        self.cluster = Some(Cluster::start(&self.host, &self.files.path().join("etcd"), arguments));
    }

    fn begin(mut self) -> Self {
        self.apply(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: pool}\nspec: {cidr: 10.65.0.0/16}\n---\n\
             apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
        );
        self.start();
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.host.name(), env!("CARGO_BIN_EXE_tortie")]).args(arguments);
        let file = |name: &str| self.files.path().join(name);
        command
            .env("TORTIE_DATABASE", file("db"))
            .env("TORTIE_SOCKET", file("sock"))
            .env("NODENAME", "node1");
        if let Some(cluster) = &self.cluster {
            command
                .env("DATASTORE_TYPE", "etcdv3")
                .env("ETCD_ENDPOINTS", cluster.server.endpoint().to_string());
        }
        if let Some(kube) = &self.kube {
            command.env("KUBECONFIG", kube.server.kubeconfig());
            if self.cluster.is_none() {
                command.env("DATASTORE_TYPE", "kubernetes");
            }
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn start(&mut self) {
        self.spawn();
        self.status_when(|status| status["ready"] == true);
    }

    /// Starts an agent, and doesn't wait for it.
    pub fn spawn(&mut self) {
        let log = std::fs::File::create(self.log()).unwrap();
        let mut agent = self.command(&["agent"]);
        if let Some(cluster) = &self.cluster {
            agent.env("ETCD_ENDPOINTS", cluster.way.endpoint.to_string());
        }
        self.agent = Some(agent.envs(self.variables.clone()).stderr(log).spawn().unwrap());
    }

    pub fn log(&self) -> PathBuf {
        self.files.path().join("log")
    }

    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.run(&["status", "-o", "json"]).stdout).unwrap_or_default()
    }

    /// The status as soon as `wanted` is true of it.
    pub fn status_when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(
                Instant::now() < patience,
                "{status:#}\n{}",
                std::fs::read_to_string(self.log()).unwrap()
            );
        }
    }

    /// Ends the agent; what it left in the kernel stays.
    pub fn stop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// Applies YAML; what it says is in force when this returns. Returns the warnings.
    pub fn apply(&self, yaml: &str) -> String {
        let path = self.files.path().join("objects.yaml");
        std::fs::write(&path, yaml).unwrap();
        let output = self.run(&["apply", "-f", path.to_str().unwrap()]);
        let warnings = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{warnings}");
        warnings
    }

    /// Calls the plugin for a pod; its address.
    pub fn add(&mut self, pod: &str) -> String {
        let (added, said) = self.try_add(pod);
        assert!(added, "{said}");
        let result: Value = serde_json::from_str(&said).unwrap();
        let address = result["ips"][0]["address"].as_str().unwrap().trim_end_matches("/32").to_owned();
        self.pods.last_mut().unwrap().2.clone_from(&address);
        address
    }

    /// Calls the plugin for a new pod; whether it succeeded, and what it said.
    pub fn try_add(&mut self, pod: &str) -> (bool, String) {
        self.make_pod(pod);
        self.call("ADD", pod)
    }

    /// A network namespace for a pod.
    pub fn make_pod(&mut self, pod: &str) {
        let inside = OwnedNamespace::create(&format!("{}-{pod}", self.host.name())).unwrap();
        self.pods.push((pod.to_owned(), inside, String::new()));
    }

    /// Calls the plugin for a pod that is there; whether it succeeded, and what it said.
    pub fn call(&self, verb: &str, pod: &str) -> (bool, String) {
        self.call_with(verb, pod, NETWORK)
    }

    /// The same with another network configuration.
    pub fn call_with(&self, verb: &str, pod: &str, network: &str) -> (bool, String) {
        self.call_as(verb, pod, network, &format!("container-{pod}"))
    }

    /// The same for a container of another name.
    pub fn call_as(&self, verb: &str, pod: &str, network: &str, container: &str) -> (bool, String) {
        let mut command = self.command(&[]);
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", self.inside(pod).label())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .env("CNI_ARGS", format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(network.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    pub fn inside(&self, pod: &str) -> Namespace {
        let (_, inside, _) = self.pods.iter().find(|(name, ..)| name == pod).unwrap();
        Namespace::open(inside.path()).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            drop(agent.kill());
            drop(agent.wait());
        }
    }
}

/// Whether a connection comes about; a drop is known by the connect timing out.
pub fn connects(from: &Namespace, to: SocketAddr) -> bool {
    connects_within(Duration::from_millis(700), from, to)
}

pub fn connects_within(patience: Duration, from: &Namespace, to: SocketAddr) -> bool {
    from.run(|| TcpStream::connect_timeout(&to, patience).is_ok()).unwrap()
}
