//! Nodes with agents and pods, all objects in one store: a file, or a Kubernetes API.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tortie_lab::{Lab, Role};
use tortie_netlink::rtnetlink::{Route, RouteFilter};
use tortie_netlink::{Namespace, Rtnetlink};
use tortie_store::kubernetes::server::Server;

/// What the agent's routes have as their protocol.
pub const OURS: u8 = 80;
/// How long anything is waited for that should come at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes `node0`, `node1`... at 192.168.77.11, .12... Everything goes with it.
pub struct Cluster {
    /// The Kubernetes API in which the objects are, if not in a file; it runs in the namespace of the lab's last host.
    pub api: Option<Server>,
    pub lab: Lab,
    files: tempfile::TempDir,
    agents: Vec<Option<u32>>,
    /// Variables of the agents that are started from now on, by node.
    pub variables: Vec<Vec<(&'static str, String)>>,
}

impl Cluster {
    /// Nodes whose agents run not yet. `pools` is YAML.
    pub fn new(nodes: usize, pools: &str) -> Self {
        let cluster = Self::empty(nodes);
        cluster.apply(pools);
        cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
        cluster
    }

    /// Nodes, and a store without objects.
    pub fn empty(nodes: usize) -> Self {
        let mut lab = Lab::create().unwrap();
        for node in 0..nodes {
            lab.add_host(&format!("node{node}"), Role::Node).unwrap();
        }
        let files = tempfile::tempdir().unwrap();
        Self { api: None, lab, files, agents: vec![None; nodes], variables: vec![Vec::new(); nodes] }
    }

    /// The same, with all agents running and ready.
    pub fn started(nodes: usize, pools: &str) -> Self {
        let mut cluster = Self::new(nodes, pools);
        (0..nodes).for_each(|node| cluster.start(node));
        cluster
    }

    fn command(&self, node: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tortie"));
        command
            .args(arguments)
            .env("TORTIE_SOCKET", self.files.path().join(format!("sock{node}")))
            .env("NODENAME", format!("node{node}"));
        match &self.api {
            None => command.env("TORTIE_DATABASE", self.files.path().join("db")),
            Some(api) => command.env("DATASTORE_TYPE", "kubernetes").env("KUBECONFIG", api.kubeconfig()),
        };
        command
    }

    pub fn start(&mut self, node: usize) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path(node)).unwrap();
        let mut agent = self.command(node, &["agent"]);
        agent.envs(self.variables[node].clone()).stderr(log);
        self.agents[node] = Some(self.lab.host_mut(node).spawn(&mut agent).unwrap());
        self.until(&format!("node{node} is ready"), || {
            let output =
                self.lab.hosts()[node].output(&mut self.command(node, &["status", "-o", "json"])).unwrap();
            serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()["ready"] == true
        });
    }

    /// Ends an agent at once; what it left in the kernel stays.
    pub fn kill(&mut self, node: usize) {
        let pid = self.agents[node].take().unwrap();
        self.lab.host_mut(node).stop(pid, Signal::SIGKILL).unwrap();
    }

    /// A folder that goes with it.
    pub fn files(&self) -> &std::path::Path {
        self.files.path()
    }

    fn log_path(&self, node: usize) -> std::path::PathBuf {
        self.files.path().join(format!("log{node}"))
    }

    pub fn log(&self, node: usize) -> String {
        std::fs::read_to_string(self.log_path(node)).unwrap_or_default()
    }

    /// Asks until it is so.
    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !is_so() {
            if Instant::now() > patience {
                for node in 0..self.agents.len() {
                    eprintln!("node{node}: {:#?}\n{}", self.routes(node), self.log(node));
                }
                panic!("not so: {what}");
            }
            std::thread::yield_now();
        }
    }

    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.lab.hosts()[0].output(&mut self.command(0, arguments)).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn apply(&self, yaml: &str) {
        let path = self.files.path().join("objects.yaml");
        std::fs::write(&path, yaml).unwrap();
        self.run(&["apply", "-f", path.to_str().unwrap()]);
    }

    pub fn get(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[&["get"], arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// Wires a pod to a node by the plugin; its place and its addresses.
    pub fn pod(&mut self, node: usize, name: &str, v6: bool) -> (usize, Vec<IpAddr>) {
        let place = self.lab.add_pod(name).unwrap();
        let said = self.plugin(node, "ADD", place, &network(node, v6)).unwrap();
        (place, addresses(&said))
    }

    /// Calls the plugin for a pod; what it says, or how it refuses.
    pub fn plugin(&self, node: usize, verb: &str, place: usize, network: &Value) -> Result<String, String> {
        let pod = &self.lab.pods()[place];
        let mut command = self.command(node, &[]);
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", format!("container-{}", pod.name()))
            .env("CNI_NETNS", pod.namespace().label())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .env("CNI_ARGS", format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={}", pod.name()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let host = self.lab.hosts()[node].namespace();
        let mut child = tortie_lab::fabric::spawn_in(host, &mut command).unwrap();
        child.stdin.take().unwrap().write_all(network.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    pub fn inside(&self, pod: usize) -> &Namespace {
        self.lab.pods()[pod].namespace()
    }

    /// A node's routes, of all protocols.
    pub fn routes(&self, node: usize) -> Vec<Route> {
        let mut netlink = Rtnetlink::open_in(self.lab.hosts()[node].namespace()).unwrap();
        netlink.routes(RouteFilter { table: Some(254), ..RouteFilter::default() }).unwrap()
    }

    /// The destinations that a node's agent leads to a gateway.
    pub fn led(&self, node: usize) -> Vec<(String, IpAddr)> {
        let routes = self.routes(node).into_iter().filter(|route| route.protocol == OURS);
        let mut led: Vec<_> =
            routes.filter_map(|route| Some((route.destination.to_string(), route.gateway?))).collect();
        led.sort();
        led
    }
}

/// The network configuration of a node.
pub fn network(node: usize, v6: bool) -> Value {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "calico", "policy": {"type": "k8s"},
        "nodename": format!("node{node}"),
        "ipam": {"type": "calico-ipam", "assign_ipv6": if v6 { "true" } else { "false" }}})
}

/// The addresses of a result.
pub fn addresses(said: &str) -> Vec<IpAddr> {
    let result: Value = serde_json::from_str(said).unwrap();
    let address = |ip: &Value| {
        let net: ipnet::IpNet = ip["address"].as_str().unwrap().parse().unwrap();
        net.addr()
    };
    result["ips"].as_array().unwrap().iter().map(address).collect()
}

/// Listens on a port of each of the addresses, in the namespace, until dropped.
pub fn listen(inside: &Namespace, addresses: &[IpAddr], port: u16) -> Vec<TcpListener> {
    inside
        .run(|| addresses.iter().map(|address| TcpListener::bind((*address, port)).unwrap()).collect())
        .unwrap()
}

/// Whether a connection comes about; a drop is known by the connect timing out.
pub fn connects(from: &Namespace, to: IpAddr, port: u16) -> bool {
    let (to, patience) = (SocketAddr::new(to, port), Duration::from_millis(700));
    from.run(|| TcpStream::connect_timeout(&to, patience).is_ok()).unwrap()
}

/// Who a listener says has connected.
pub fn seen_from(listener: &TcpListener, from: &Namespace) -> IpAddr {
    seen_through(listener, from, listener.local_addr().unwrap())
}

/// The same of a connection to another address, which leads to the listener.
pub fn seen_through(listener: &TcpListener, from: &Namespace, to: SocketAddr) -> IpAddr {
    let stream = from.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5))).unwrap().unwrap();
    let (_, peer) = listener.accept().unwrap();
    drop(stream);
    peer.ip()
}
