//! The lab's cluster as `kube-lab/` leaves it: its kubectl, its nodes, and the network namespaces of its pods.
//!
//! Everything runs on this machine, so a pod's namespace is that of any of its processes, and a pod's processes are those whose
//! control group names the pod.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Pid;
use serde_json::Value;
use tortie_netlink::Namespace;

/// Where the control plane's network namespace is.
const CONTROL: &str = "/run/netns/kl-control";
/// The scripts.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kube-lab");
/// An image that every node has: a sleeper, and a program that sends at once.
pub const IMAGE: &str = "registry.k8s.io/pause:3.10.1";
/// How long anything may take that has no limit of its own.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running cluster.
pub struct Kube {
    programs: PathBuf,
    lab: PathBuf,
    /// What is different from the plain one, as `CLUSTER` said of it.
    variant: Vec<String>,
}

/// A pod that runs.
pub struct Pod {
    pub name: String,
    pub uid: String,
    /// One of each family that the cluster has, IPv4 first.
    pub addresses: Vec<IpAddr>,
    pub namespace: Namespace,
}

impl Kube {
    /// The cluster that is up; `BIN` and `LAB` as for the scripts.
    pub fn open() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let programs = match set("BIN") {
            Some(programs) => programs,
            None => PathBuf::from(words(Command::new(Path::new(SCRIPTS).join("where")))?.trim()),
        };
        let lab = set("LAB").unwrap_or_else(|| std::env::temp_dir().join("tortie-kube-lab"));
        ensure!(Path::new(CONTROL).exists(), "no cluster is up: kube-lab/start-cluster.sh starts one");
        let path = lab.join("cluster");
        let variant = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let variant = variant.trim().split_terminator(',').map(str::to_owned).collect();
        Ok(Kube { programs, lab, variant })
    }

    /// Whether the cluster was started with that in `CLUSTER`.
    pub fn is(&self, what: &str) -> bool {
        self.variant.iter().any(|one| one == what)
    }

    /// Runs kubectl as the cluster's administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        words(self.kubectl_command(arguments))
    }

    /// The same, to be started by the caller.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.in_control(&self.programs.join("kubectl"));
        command.arg("--kubeconfig").arg(self.lab.join("pki/admin.kubeconfig")).args(arguments);
        command
    }

    /// A program in the control plane's network namespace.
    pub fn in_control(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={CONTROL}")).arg("--").arg(program);
        command
    }

    /// Applies objects.
    pub fn apply(&self, objects: &str) -> Result<String> {
        let mut command = self.kubectl_command(&["apply", "-f", "-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("kubectl's input")?.write_all(objects.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "kubectl apply: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What kubectl gets, as JSON.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<&str> =
            ["get", "-o", "json"].into_iter().chain(arguments.iter().copied()).collect();
        Ok(serde_json::from_str(&self.kubectl(&arguments)?)?)
    }

    /// An empty namespace of that name, whatever it held before, with its service account.
    pub fn namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--timeout=120s"])?;
        self.kubectl(&["create", "namespace", name])?;
        until("the namespace's service account", PATIENCE, || {
            Ok(self.kubectl(&["-n", name, "get", "serviceaccount", "default"]).is_ok().then_some(()))
        })
    }

    /// Sleeping pods, `(name, node)`, labelled `app: NAME`; returns when they run.
    pub fn sleepers(&self, namespace: &str, pods: &[(&str, &str)]) -> Result<Vec<Pod>> {
        let objects: Vec<String> = pods.iter().map(|(name, node)| sleeper(namespace, name, node)).collect();
        self.apply(&objects.join("\n---\n"))?;
        pods.iter().map(|(name, _)| self.pod(namespace, name)).collect()
    }

    /// A pod, when it runs.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        until(&format!("pod {namespace}/{name} runs"), PATIENCE, || self.running(namespace, name))
    }

    /// A pod, if it runs and all its containers do.
    pub fn running(&self, namespace: &str, name: &str) -> Result<Option<Pod>> {
        let pod = self.get(&["-n", namespace, "pod", name])?;
        let is_ready = pod["status"]["containerStatuses"][0]["ready"] == Value::Bool(true);
        let given = pod["status"]["podIPs"].as_array().into_iter().flatten();
        let mut addresses: Vec<IpAddr> = given.filter_map(|of| of["ip"].as_str()?.parse().ok()).collect();
        addresses.sort_unstable();
        let (Some(uid), false) = (pod["metadata"]["uid"].as_str(), addresses.is_empty()) else {
            return Ok(None);
        };
        let families: Vec<bool> = addresses.iter().map(IpAddr::is_ipv6).collect();
        let wanted = if self.is("dual") { vec![false, true] } else { vec![false] };
        ensure!(families == wanted, "pod {namespace}/{name} has the addresses {addresses:?}");
        let Some(process) = processes_of(uid)?.into_iter().next().filter(|_| is_ready) else {
            return Ok(None);
        };
        // It may have ended meanwhile.
        let Ok(netns) = Namespace::open(format!("/proc/{process}/ns/net")) else {
            return Ok(None);
        };
        let (name, uid) = (name.to_owned(), uid.to_owned());
        Ok(Some(Pod { name, uid, addresses, namespace: netns }))
    }

    /// Nodes' names.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let nodes = self.kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"])?;
        Ok(nodes.split_whitespace().map(str::to_owned).collect())
    }

    /// Runs a script of `kube-lab/`.
    pub fn script(&self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<String> {
        let mut command = Command::new(Path::new(SCRIPTS).join(name));
        command.args(arguments).env("LAB_FABRIC", "1").env("BIN", &self.programs).env("LAB", &self.lab);
        words({
            command.envs(variables.iter().copied());
            command
        })
    }

    /// Runs a command where a node's kubelet runs.
    pub fn in_node(&self, node: &str, command: &[&str]) -> Result<String> {
        let outer = self.started(&format!("node-{node}"))?;
        let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        let first = children.split_whitespace().next().with_context(|| format!("node {node} doesn't run"))?;
        let mut entered = Command::new("nsenter");
        entered.args(["-t", first, "-m", "-n", "-p", "-u", "-i", "--"]).args(command);
        words(entered)
    }

    /// The process that a script started under that name.
    pub fn started(&self, name: &str) -> Result<Pid> {
        let path = self.started_file(name);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Pid::from_raw(text.trim().parse()?))
    }

    /// Where its process id stands.
    pub fn started_file(&self, name: &str) -> PathBuf {
        self.lab.join("run").join(format!("{name}.pid"))
    }

    /// Tortie's command on the cluster's datastore, as its administrator; the binary that was built beside this one.
    pub fn calicoctl(&self, arguments: &[&str]) -> Result<String> {
        let binary = std::env::current_exe()?.with_file_name("tortie");
        let binary = binary.to_str().context("the binary's path is no text")?;
        self.script("calicoctl.sh", arguments, &[("TORTIE", binary)])
    }

    /// Addresses that are given to pods: their handles in the datastore.
    pub fn handles(&self) -> Result<Vec<String>> {
        let (names, mark) = if self.is("etcd") {
            (self.calicoctl(&["datastore", "export"])?, "\"/calico/ipam/v2/handle/k8s-pod-network.")
        } else {
            let names = self.kubectl(&["get", "ipamhandles.crd.projectcalico.org", "-o", "name"])?;
            (names, "/k8s-pod-network.")
        };
        Ok(names.lines().filter(|name| name.contains(mark)).map(str::to_owned).collect())
    }
}

/// A pod that sleeps.
fn sleeper(namespace: &str, name: &str, node: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}, spec: {{nodeName: {node}, \
         automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{IMAGE}'}}]}}}}"
    )
}

/// The processes of a pod, by their control group.
pub fn processes_of(uid: &str) -> Result<Vec<i32>> {
    let mark = format!("/pod{uid}/");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Kernel threads have none of ours, and a process may end at any time.
        let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        if groups.contains(&mark) {
            found.push(process);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Asks until there is an answer.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < end, "{what}: not after {} s", limit.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a command says; its complaint if it fails.
pub fn words(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
