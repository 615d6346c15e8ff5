//! A node with a store, an agent and pods, and a host outside.

use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tortie_agent::protocol::{Question, Reply, ask};
use tortie_agent::status::Status;
use tortie_lab::{Lab, Role};
use tortie_netlink::OwnedNamespace;
use tortie_store::embedded::{Embedded, Options};
use tortie_store::resources::{Client, Labels};

use crate::streams::{ALLOWED, Streams};

pub const NODE: &str = "node1";
/// Longer than anything takes; against hanging.
const BOUND: Duration = Duration::from_secs(30);

/// See the module.
pub struct Stage {
    pub lab: Lab,
    pub client: Client,
    pub directory: TempDir,
    agent: Option<u32>,
}

impl Stage {
    /// No agent runs; the store has a policy that lets UDP to port 80 in and nothing else.
    pub fn new() -> Stage {
        let mut lab = Lab::create().unwrap();
        lab.add_host(NODE, Role::Node).unwrap();
        lab.add_host("outside", Role::Outside).unwrap();
        lab.route_pods("10.20.0.0/24".parse().unwrap(), 0).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(Options::new(directory.path().join("tortie.db"))).unwrap();
        let client = Client::new(Arc::new(store));
        client.ensure_initialized().unwrap();
        let stage = Stage { lab, client, directory, agent: None };
        stage.apply("Node", "", NODE, json!({}));
        stage.apply("IPPool", "", "pool", json!({ "cidr": "10.20.0.0/24", "natOutgoing": false }));
        stage.apply("GlobalNetworkPolicy", "", "gate", gate());
        stage
    }

    /// Creates or replaces an object.
    pub fn apply(&self, kind: &str, namespace: &str, name: &str, spec: Value) {
        let mut metadata = json!({ "name": name });
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        let object =
            json!({ "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec });
        self.client.apply(object, Labels::Merge).unwrap();
    }

    /// A pod wired by hand, as one that was there before, and its endpoint in the store.
    pub fn wire(&mut self, name: &str, address: &str) -> usize {
        let pod = self.lab.add_pod(name).unwrap();
        let interface = format!("cali{name}");
        self.lab.wire(pod, 0, &interface, &[address.parse().unwrap()]).unwrap();
        self.apply(
            "WorkloadEndpoint",
            "shop",
            &format!("{NODE}-k8s-{name}-eth0"),
            json!({
                "orchestrator": "k8s", "node": NODE, "pod": name, "endpoint": "eth0",
                "interfaceName": interface, "ipNetworks": [format!("{address}/32")], "profiles": ["kns.shop"],
            }),
        );
        pod
    }

    /// Calls the CNI plugin for a pod, with an address of the test's choice; the plugin's exit status and output.
    pub fn cni(&self, command: &str, pod: usize, app: &str, address: &str) -> (bool, String) {
        let plugin = self.directory.path().join("calico");
        if !plugin.exists() {
            symlink(env!("CARGO_BIN_EXE_tortie"), &plugin).unwrap();
        }
        let config = json!({
            "cniVersion": "1.0.0", "name": "net1", "type": "calico", "nodename": NODE,
            "ipam": { "type": "calico-ipam" },
            "args": { "cni": {
                "labels": [{ "key": "app", "value": app }],
                "annotations": { "cni.projectcalico.org/ipAddrs": format!("[\"{address}\"]") },
            } },
        });
        let stdin = self.directory.path().join("config.json");
        std::fs::write(&stdin, config.to_string()).unwrap();
        let pod = &self.lab.pods()[pod];
        let mut call = self.command(plugin.to_str().unwrap());
        call.stdin(Stdio::from(std::fs::File::open(stdin).unwrap()))
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", pod.name())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={}", pod.name()))
            .env("CNI_PATH", "/nowhere")
            .env("CNI_NETNS", pod.namespace().path());
        let output = self.lab.hosts()[0].output(&mut call).unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.success(), text.concat())
    }

    /// Starts the agent, and does not wait for it.
    pub fn start_agent(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.command(env!("CARGO_BIN_EXE_tortie"));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("agent.log"))
            .unwrap();
        command.arg("agent").envs(variables.iter().copied());
        command.stdout(Stdio::null()).stderr(Stdio::from(log));
        self.agent = Some(self.lab.host_mut(0).spawn(&mut command).unwrap());
    }

    /// Ends the agent and waits for it.
    pub fn stop_agent(&mut self, signal: Signal) {
        let pid = self.agent.take().expect("an agent runs");
        self.lab.host_mut(0).stop(pid, signal).unwrap();
    }

    /// What the agent says of itself, when `wanted` is true of it.
    pub fn status_when(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        let mut last = None;
        while start.elapsed() < BOUND {
            if let Ok(Reply::Status(status)) = ask(&self.socket(), &Question::Status) {
                if wanted(&status) {
                    return *status;
                }
                last = Some(status);
            }
            std::thread::yield_now();
        }
        let log = std::fs::read_to_string(self.directory.path().join("agent.log")).unwrap_or_default();
        panic!("the agent does not get there: {last:?}\n{log}");
    }

    /// Starts the agent; returns when policy is in force.
    pub fn agent(&mut self) {
        self.start_agent(&[]);
        self.status_when(|status| status.ready);
    }

    /// A program with the environment of this node's commands.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("NODENAME", NODE)
            .env("TORTIE_SOCKET", self.socket())
            .env("TORTIE_DATABASE", self.directory.path().join("tortie.db"))
            .env("TORTIE_DATABASE_SYNC", "normal");
        command
    }

    /// Runs `tortie` on the node; its exit status and standard output.
    pub fn tortie(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(env!("CARGO_BIN_EXE_tortie"));
        let output = self.lab.hosts()[0].output(command.args(arguments)).unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Runs `nft` on the node.
    pub fn nft(&self, rules: &str) -> String {
        let output = self.lab.hosts()[0].output(Command::new("nft").args(rules.split(' '))).unwrap();
        assert!(output.status.success(), "nft {rules}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The node's namespace.
    pub fn node(&self) -> &OwnedNamespace {
        self.lab.hosts()[0].namespace()
    }

    /// Streams from the host outside to a pod's address.
    pub fn streams(&self, pod: usize, address: &str) -> Streams {
        let outside = &self.lab.hosts()[1];
        let to = self.lab.pods()[pod].namespace();
        let address: IpAddr = address.parse().unwrap();
        Streams::start(outside.namespace(), outside.ipv4().into(), to, address)
    }

    /// That flows which policy denies reach the pod as long as there is no table of ours.
    pub fn assert_leaks_without_table(&self, pod: usize, address: &str) {
        let streams = self.streams(pod, address);
        streams.go_on(100);
        let seen = streams.stop();
        assert!(seen.leaks() > 50, "no leak without a table: {} of {}", seen.leaks(), seen.denied.len());
    }
}

/// The policy that everything in these tests is about.
fn gate() -> Value {
    gate_with(&[])
}

/// The same with more ports open.
pub fn gate_with(more: &[u16]) -> Value {
    let mut ports = vec![ALLOWED];
    ports.extend(more);
    json!({
        "selector": "all()", "types": ["Ingress"],
        "ingress": [{ "action": "Allow", "protocol": "UDP", "destination": { "ports": ports } }],
    })
}
