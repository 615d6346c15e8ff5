//! A machine as its operator sees it: the real agent, pods wired by the real plugin, policy by
//! `apply`, and what `status`, `explain` and the log say of real packets.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tortie_netlink::{Namespace, OwnedNamespace};

const NETWORK: &str = r#"{"cniVersion":"1.0.0","name":"net","type":"calico","nodename":"node1",
    "ipam":{"type":"calico-ipam"},"policy":{"type":"k8s"}}"#;

/// A host in a network namespace with its agent. Everything goes with it.
struct Machine {
    host: OwnedNamespace,
    pods: Vec<(String, OwnedNamespace, String)>,
    agent: Option<Child>,
    files: tempfile::TempDir,
}

impl Machine {
    fn new(name: &str) -> Self {
        let host = OwnedNamespace::create(&format!("tt-{}-{name}", std::process::id())).unwrap();
        let files = tempfile::tempdir().unwrap();
        let mut machine = Self { host, pods: Vec::new(), agent: None, files };
        machine.apply(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: pool}\nspec: {cidr: 10.65.0.0/16}\n---\n\
             apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
        );
        machine.start();
        machine
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.host.name(), env!("CARGO_BIN_EXE_tortie")]).args(arguments);
        let file = |name: &str| self.files.path().join(name);
        command
            .env("TORTIE_DATABASE", file("db"))
            .env("TORTIE_SOCKET", file("sock"))
            .env("NODENAME", "node1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.log()).unwrap();
        self.agent = Some(self.command(&["agent"]).stderr(log).spawn().unwrap());
        let patience = Instant::now() + Duration::from_secs(60);
        while !self.status()["ready"].as_bool().unwrap_or(false) {
            assert!(Instant::now() < patience, "{}", std::fs::read_to_string(self.log()).unwrap());
        }
    }

    fn log(&self) -> PathBuf {
        self.files.path().join("log")
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.run(&["status", "-o", "json"]).stdout).unwrap_or_default()
    }

    /// Applies YAML; what it says is in force when this returns.
    fn apply(&self, yaml: &str) {
        let path = self.files.path().join("objects.yaml");
        std::fs::write(&path, yaml).unwrap();
        let output = self.run(&["apply", "-f", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn add(&mut self, pod: &str) -> String {
        let inside = OwnedNamespace::create(&format!("{}-{pod}", self.host.name())).unwrap();
        let mut command = self.command(&[]);
        command
            .env("CNI_COMMAND", "ADD")
            .env("CNI_CONTAINERID", format!("container-{pod}"))
            .env("CNI_NETNS", inside.path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .env("CNI_ARGS", format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(NETWORK.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let address = result["ips"][0]["address"].as_str().unwrap().trim_end_matches("/32").to_owned();
        self.pods.push((pod.to_owned(), inside, address.clone()));
        address
    }

    fn inside(&self, pod: &str) -> Namespace {
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
fn connects(from: &Namespace, to: SocketAddr) -> bool {
    from.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(700)).is_ok()).unwrap()
}

fn explain(machine: &Machine, arguments: &[&str]) -> Value {
    let output = machine.run(&[&["explain", "-o", "json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packets(status: &Value, policy: &str, rule: i64) -> u64 {
    let policies = status["policies"].as_array().unwrap();
    let named = policies.iter().filter(|found| found["name"] == policy);
    let rules = named.flat_map(|found| found["rules"].as_array().unwrap().clone());
    rules.filter(|found| found["rule"] == rule).filter_map(|found| found["packets"].as_u64()).sum()
}

#[test]
fn a_policy_blocks_real_packets_and_status_explain_and_log_say_which_rule() {
    let mut machine = Machine::new("on");
    machine.add("web");
    let address = machine.add("db");
    let target: SocketAddr = format!("{address}:5432").parse().unwrap();
    let listener = machine.inside("db").run(move || TcpListener::bind(target)).unwrap().unwrap();
    let web = machine.inside("web");
    assert!(connects(&web, target), "without policy the namespace's profile allows all");

    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db-in, namespace: shop}\n\
         spec:\n  ingress:\n  - {action: Log}\n  - {action: Deny, protocol: TCP, destination: {ports: [5432]}}\n\
         \x20 - {action: Allow}\n",
    );
    let told = explain(&machine, &["--from", "shop/web", "--to", "shop/db", "--port", "tcp/5432"]);
    assert_eq!(told["verdict"], "deny");
    assert_eq!(told["agree"], true, "{told}");
    assert_eq!((&told["ingress"]["policy"], &told["ingress"]["rule"]), (&"shop/db-in".into(), &1.into()));
    assert_eq!(told["tables"]["ingress"]["rule"]["policy"], "shop/db-in");

    let before = packets(&machine.status(), "shop/db-in", 1);
    assert!(!connects(&web, target), "the policy is in force");
    let after = packets(&machine.status(), "shop/db-in", 1);
    assert!(after > before, "the rule that denied has counted: {before} -> {after}");
    let log = std::fs::read_to_string(machine.log()).unwrap();
    assert!(log.contains("NetworkPolicy shop/db-in ingress rule 0") && log.contains("DPT=5432"), "{log}");

    let told = explain(&machine, &["--from", "shop/web", "--to", "shop/db", "--port", "tcp/80"]);
    assert_eq!((&told["verdict"], &told["agree"]), (&"allow".into(), &true.into()));
    drop(listener);
}

#[test]
fn an_agent_that_is_killed_leaves_its_policy_and_comes_back_to_it() {
    let mut machine = Machine::new("kill");
    machine.add("web");
    let address = machine.add("db");
    let denied: SocketAddr = format!("{address}:81").parse().unwrap();
    let allowed: SocketAddr = format!("{address}:80").parse().unwrap();
    let listen = move || [TcpListener::bind(denied).unwrap(), TcpListener::bind(allowed).unwrap()];
    let listeners = machine.inside("db").run(listen).unwrap();
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db-in, namespace: shop}\n\
         spec:\n  ingress:\n  - {action: Allow, protocol: TCP, destination: {ports: [80]}}\n",
    );
    explain(&machine, &["--from", "shop/web", "--to", "shop/db", "--port", "tcp/80"]);
    let web = machine.inside("web");
    let both = |when: &str| {
        assert!(connects(&web, allowed), "{when}");
        assert!(!connects(&web, denied), "{when}");
    };
    both("with the agent");
    let mut agent = machine.agent.take().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    both("without the agent");
    machine.start();
    both("with the next agent");
    drop(listeners);
}
