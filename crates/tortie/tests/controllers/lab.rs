//! A Kubernetes API, controllers that are processes of their own, and addresses that were given by address management itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tortie_api::endpoint::NodeSpec;
use tortie_api::pool::IpPoolSpec;
use tortie_ipam::{AutoAssign, HandleId, Now, Pool, Reservations, View, auto_assign};
use tortie_store::ipam;
use tortie_store::kubernetes::Kubernetes;
use tortie_store::kubernetes::server::{Server, Start};
use tortie_store::resources::Client;

/// How long a test waits for what must come. It bounds a hang and measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What users install.
pub const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

/// A Kubernetes API with Calico's kinds, and what the manifest says of accounts and rights.
pub struct Lab {
    pub server: Server,
    pub directory: tempfile::TempDir,
}

impl Lab {
    pub fn start() -> Lab {
        let directory = tempfile::tempdir().unwrap();
        let start = Start {
            directory: directory.path().join("api"),
            // As it must be wherever a node agent runs as a pod.
            arguments: vec!["--allow-privileged=true".to_owned()],
            ..Start::default()
        };
        let lab = Lab { server: Server::start(start).unwrap(), directory };
        lab.kubectl(&["apply", "--server-side", "-f", &format!("{DEPLOY}/crds.yaml")], "");
        lab.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], "");
        lab.kubectl(&["apply", "-f", &format!("{DEPLOY}/tortie.yaml")], "");
        lab.kubectl(&["-n", "default", "create", "serviceaccount", "default"], "");
        lab
    }

    pub fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        self.server.kubectl(arguments, input).unwrap()
    }

    /// Objects as the administrator sees them.
    pub fn client(&self) -> Client {
        Client::new(Arc::new(Kubernetes::open(self.server.options().unwrap()).unwrap()))
    }

    /// A kubeconfig of a service account in kube-system.
    pub fn account(&self, name: &str) -> PathBuf {
        let token = self.kubectl(&["-n", "kube-system", "create", "token", name], "");
        let config = std::fs::read_to_string(self.server.kubeconfig()).unwrap();
        let (before, after) = config.split_once("token: ").unwrap();
        let (_, after) = after.split_once('}').unwrap();
        let path = self.directory.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, format!("{before}token: {}}}{after}", token.trim())).unwrap();
        path
    }

    /// Nodes that Kubernetes knows.
    pub fn nodes(&self, names: &[&str]) {
        for name in names {
            self.kubectl(
                &["create", "-f", "-"],
                &format!("{{apiVersion: v1, kind: Node, metadata: {{name: {name}, labels: {{rack: b12}}}}}}"),
            );
        }
    }

    /// A pod on a node, which says that it has an address.
    pub fn pod(&self, name: &str, node: &str, address: &str) {
        self.kubectl(
            &["create", "-f", "-"],
            &format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}, annotations: {{cni.projectcalico.org/podIP: {address}/32}}}}, \
                 spec: {{nodeName: {node}, automountServiceAccountToken: false, serviceAccountName: default, containers: [{{name: c, image: x}}]}}}}"
            ),
        );
    }
}

/// The controllers, a process of the binary.
pub struct Controllers {
    child: Child,
    log: PathBuf,
    socket: PathBuf,
}

impl Controllers {
    /// With a lease of three seconds, and this environment.
    pub fn start(directory: &Path, name: &str, environment: &[(&str, &str)]) -> Controllers {
        let log = directory.join(format!("{name}.log"));
        let socket = directory.join(format!("{name}.sock"));
        let child = Command::new(env!("CARGO_BIN_EXE_tortie"))
            .args(["controllers", "--config"])
            .arg(empty(directory))
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env("TORTIE_LEASE_SECONDS", "3")
            .env("TORTIE_CONTROLLERS_SOCKET", &socket)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Controllers { child, log, socket }
    }

    /// On a Kubernetes API, with the rights that the manifest gives them.
    pub fn on(lab: &Lab, name: &str) -> Controllers {
        let account = lab.account("tortie-controllers");
        let environment = [("DATASTORE_TYPE", "kubernetes"), ("KUBECONFIG", account.to_str().unwrap())];
        Controllers::start(lab.directory.path(), name, &environment)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log says this.
    pub fn says(&self, what: &str) {
        eventually(&format!("the log says {what:?}"), || self.log(), |log| log.contains(what));
    }

    /// Asks as a probe does, `live` or `ready`: whether all is well, and what was said.
    pub fn check(&self, what: &str) -> (bool, String) {
        let asked = Command::new(env!("CARGO_BIN_EXE_tortie"))
            .args(["controllers", "--check", what])
            .env("TORTIE_CONTROLLERS_SOCKET", &self.socket)
            .output()
            .unwrap();
        let said = [asked.stdout, asked.stderr].concat();
        (asked.status.success(), String::from_utf8(said).unwrap())
    }

    /// Sends a signal, for example `-STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A file of settings that says nothing.
fn empty(directory: &Path) -> PathBuf {
    let path = directory.join("empty.cfg");
    std::fs::write(&path, "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\n").unwrap();
    path
}

/// Asks until the answer is right, and returns it.
pub fn eventually<T: std::fmt::Debug>(what: &str, ask: impl Fn() -> T, is_right: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if is_right(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: {answer:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Makes a pool of small blocks.
pub fn pool(client: &Client) {
    client.ensure_initialized().unwrap();
    let pool = serde_json::json!({
        "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "pool"},
        "spec": {"cidr": "10.65.0.0/16", "blockSize": 29},
    });
    client.create(pool).unwrap();
}

/// An address for a pod on a node, as the plugin asks for it; a tunnel's if there is no pod.
pub fn give(client: &Client, node: &str, pod: Option<&str>) -> String {
    let pools = client.list_as::<IpPoolSpec>(None).unwrap();
    let pools = pools.iter().map(|pool| Pool::parse(pool).unwrap()).collect();
    let nodes: BTreeMap<_, _> = client
        .list_as::<NodeSpec>(None)
        .unwrap()
        .into_iter()
        .map(|node| (node.metadata.name, node.metadata.labels))
        .collect();
    let mut nodes = nodes;
    nodes.entry(node.to_owned()).or_default();
    let view = Arc::new(View::new(pools, Reservations::default(), nodes));
    let mut attributes = BTreeMap::from([("node".to_owned(), node.to_owned())]);
    let handle = match pod {
        Some(pod) => {
            attributes
                .extend([("namespace".to_owned(), "default".to_owned()), ("pod".to_owned(), pod.to_owned())]);
            format!("k8s-pod-network.{pod}")
        }
        None => {
            attributes.insert("type".to_owned(), "vxlanTunnelAddress".to_owned());
            format!("vxlan-tunnel-addr-{node}")
        }
    };
    let wanted =
        AutoAssign { v4: 1, handle: Some(HandleId::new(&handle)), attributes, ..AutoAssign::workload(node) };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Now(u64::try_from(since.as_nanos()).unwrap());
    let given = ipam::run(&**client.store(), auto_assign(view, now, wanted)).unwrap();
    assert_eq!(given.error, None);
    given.v4.unwrap().addresses[0].addr().to_string()
}

/// What is given: the handles of all addresses, sorted.
pub fn given(client: &Client) -> Vec<String> {
    let blocks = client.store().list_all(tortie_store::keys::IPAM_BLOCKS).unwrap().items;
    let mut handles = Vec::new();
    for block in blocks {
        let block: Value = serde_json::from_slice(&block.value).unwrap();
        for index in block["allocations"].as_array().unwrap().iter().filter_map(Value::as_u64) {
            let attribute = &block["attributes"][usize::try_from(index).unwrap()];
            handles.push(attribute["handle_id"].as_str().unwrap_or_default().to_owned());
        }
    }
    handles.sort();
    handles
}

/// Sets the controllers' own object: `node` is what it says of the node controller.
pub fn configure(client: &Client, node: Value) {
    let object = serde_json::json!({
        "apiVersion": "projectcalico.org/v3", "kind": "KubeControllersConfiguration", "metadata": {"name": "default"},
        "spec": {"controllers": {"node": node, "policy": {}, "workloadEndpoint": {}, "serviceAccount": {}, "namespace": {}}},
    });
    client.apply(object, tortie_store::resources::Labels::Replace).unwrap();
}
