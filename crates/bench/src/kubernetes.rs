//! `tortie-bench kubernetes`: an agent's memory with many pods in a Kubernetes API, and addresses a second there.
//!
//! The API server is real, and so is all that the agent hears; nobody runs the pods. They are written into the API server's
//! own etcd, as it would write them, because through its front door that takes minutes. The last of them is allowed to
//! speak with a pod of the node: when the node's tables say so all others have been heard of. `make kube` builds the programs.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tortie_agent::protocol::{Question, Reply, ask};
use tortie_store::{Datastore as _, MOST_WRITES, Write};

use crate::agent::resident;
use crate::cni::Runtime;
use crate::figures;
use crate::ipam::{Case, addresses, suffix};
use crate::node::{Kept, Node};
use crate::objects::NODE;

/// How much is measured.
#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    /// Pods of the cluster.
    #[arg(long, default_value_t = 20_000)]
    pub pods: u32,
    /// Of them on the measured node.
    #[arg(long, default_value_t = 50)]
    pub local: u32,
    /// Addresses of a round.
    #[arg(long, default_value_t = 200)]
    pub addresses: usize,
    /// Rounds of addresses.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
}

/// The pod that is really wired, in the namespace `default`.
const PROBE: &str = "probe";
const NAMESPACES: u32 = 20;
const APPS: u32 = 100;
/// For how long the agent may take to hear of everything.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);

/// Measures and prints.
///
/// # Errors
/// If the API server can't be started, or the agent doesn't get there.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut node = Node::keeping(Kept::Kubernetes)?;
    allocate(&node, arguments)?;
    memory(&mut node, arguments)
}

fn allocate(node: &Node, arguments: &Arguments) -> anyhow::Result<()> {
    for workers in [1, 8] {
        let mut case = Case::default();
        for _ in 0..arguments.rounds {
            case.add(node.inside(|| addresses(node.client.store(), workers, arguments.addresses))?);
        }
        case.print("ipam_kubernetes", suffix(workers));
    }
    Ok(())
}

fn memory(node: &mut Node, arguments: &Arguments) -> anyhow::Result<()> {
    let metadata = json!({"name": "bench"});
    let spec =
        json!({"cidr": "10.66.0.0/24", "ipipMode": "Never", "vxlanMode": "Never", "natOutgoing": false});
    let pool =
        json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": metadata, "spec": spec});
    node.inside(|| Ok(node.client.create(pool).map(drop)?))?;
    node.lab.add_pod(PROBE)?;
    let mut objects = vec![pod("default", PROBE, NODE, "probe", None)];
    objects.extend((0..NAMESPACES).flat_map(|number| policies(&format!("ns-{number}"))));
    let last = format!("app-{}", (arguments.pods - 1) % APPS);
    objects.push(policy("default", PROBE, &last, &json!({"namespaceSelector": {}})));
    write(node, &objects)?;
    node.start()?;
    let probe = node.lab.pods().last().context("the pod that was made")?;
    node.inside(|| Runtime::new(node, "").call("ADD", probe))?;
    let before = resident(node.agent()?)?;
    figures::exact("agent_kubernetes_mb", before);
    let pods: Vec<_> = (0..arguments.pods).map(|number| numbered(number, arguments.local)).collect();
    write(node, &pods)?;
    let wired = node.inside(|| wired(node))?;
    let last = address(arguments.pods - 1);
    allowed(node, last, wired)?;
    figures::exact("agent_pods", f64::from(arguments.pods));
    for heard in ["watched", "listed"] {
        if heard == "listed" {
            node.stop(nix::sys::signal::Signal::SIGTERM)?;
            node.start()?;
            allowed(node, last, wired)?;
        }
        let with = resident(node.agent()?)?;
        figures::exact(&format!("agent_pods_{heard}_mb"), with);
        figures::exact(
            &format!("agent_kb_per_pod_{heard}"),
            (with - before) * 1e3 / f64::from(arguments.pods),
        );
    }
    Ok(())
}

/// The address that the plugin gave.
fn wired(node: &Node) -> anyhow::Result<IpAddr> {
    let endpoints = node.client.list(tortie_api::kind::Kind::WorkloadEndpoint, Some("default"))?;
    let networks = endpoints.items.iter().find_map(|found| found["spec"]["ipNetworks"][0].as_str());
    let network = networks.context("the wired pod has an address")?;
    let address = network.split('/').next().unwrap_or(network);
    address.parse().with_context(|| format!("{network:?} is no address"))
}

/// Waits until the node's tables let one speak with the other.
fn allowed(node: &Node, source: IpAddr, destination: IpAddr) -> anyhow::Result<()> {
    let question = Question::Judge { source, destination, protocol: 6, port: Some(80), icmp: None };
    let since = Instant::now();
    loop {
        match ask(&node.socket(), &question)? {
            Reply::Verdict(verdict)
                if verdict.ingress.as_ref().is_some_and(|side| side.action == "allow") =>
            {
                return Ok(());
            }
            answer if since.elapsed() > PATIENCE => {
                bail!("after {PATIENCE:?} {source} may not speak with {destination}: {answer:?}");
            }
            _ => std::thread::sleep(POLL),
        }
    }
}

/// Into the API server's etcd.
fn write(node: &Node, objects: &[(String, Value)]) -> anyhow::Result<()> {
    node.inside(|| {
        let registry = node.registry()?;
        for part in objects.chunks(MOST_WRITES) {
            let values: Vec<_> =
                part.iter().map(|(key, object)| (key, object.to_string().into_bytes())).collect();
            let writes: Vec<Write> = values.iter().map(|(key, value)| Write::put(key, value)).collect();
            registry.write_all(&writes)?;
        }
        Ok(())
    })
}

fn address(number: u32) -> IpAddr {
    let [_, high, middle, low] = number.to_be_bytes();
    [10, 70 + high, middle, low].into()
}

fn numbered(number: u32, local: u32) -> (String, Value) {
    let node = if number < local { NODE.to_owned() } else { format!("node-{}", number % 200) };
    let (namespace, app) = (format!("ns-{}", number % NAMESPACES), format!("app-{}", number % APPS));
    pod(&namespace, &format!("{app}-5d4f8c7b9-{number:05}"), &node, &app, Some(address(number)))
}

fn metadata(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({
        "name": name, "namespace": namespace, "labels": labels, "creationTimestamp": "2026-11-23T00:00:00Z",
        "uid": format!("00000000-0000-4000-8000-{:012x}", name.bytes().fold(0_u64, |sum, byte| sum * 31 % 0xffff_ffff_ffff + u64::from(byte))),
    })
}

/// As the API server keeps it when it runs.
fn pod(namespace: &str, name: &str, node: &str, app: &str, address: Option<IpAddr>) -> (String, Value) {
    let labels = json!({"app": app, "pod-template-hash": "5d4f8c7b9", "app.kubernetes.io/part-of": "shop"});
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata(namespace, name, &labels),
        "spec": {
            "nodeName": node, "serviceAccountName": "default", "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "containers": [{
                "name": "server", "image": "registry.example.com/shop/server:1.24.3", "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                "env": (0..10).map(|number| json!({"name": format!("SETTING_{number}"), "value": format!("value of {number}")})).collect::<Vec<_>>(),
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
        },
        "status": {"phase": "Pending"},
    });
    if let Some(address) = address {
        let conditions =
            ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].map(
                |kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-11-23T00:00:02Z"}),
            );
        object["status"] = json!({
            "phase": "Running", "hostIP": "172.18.0.2", "podIP": address, "podIPs": [{"ip": address}],
            "startTime": "2026-11-23T00:00:00Z", "conditions": conditions,
        });
    }
    (format!("/registry/pods/{namespace}/{name}"), object)
}

/// A namespace and what stands in it: who may speak with whom, one policy for each ten apps.
fn policies(namespace: &str) -> Vec<(String, Value)> {
    let labels = json!({"kubernetes.io/metadata.name": namespace});
    let mut own = metadata("", namespace, &labels);
    own.as_object_mut().map(|own| own.remove("namespace"));
    let object =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": own, "status": {"phase": "Active"}});
    let mut objects = vec![(format!("/registry/namespaces/{namespace}"), object)];
    for app in (0..APPS).step_by(10) {
        let name = format!("app-{app}");
        objects.push(policy(namespace, &name, &format!("app-{}", (app + 1) % APPS), &json!({})));
    }
    objects
}

/// The pods of the app `name` hear `from` on port 80.
fn policy(namespace: &str, name: &str, from: &str, peer: &Value) -> (String, Value) {
    let mut peer = peer.clone();
    peer["podSelector"] = json!({"matchLabels": {"app": from}});
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": metadata(namespace, name, &json!({})),
        "spec": {
            "podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [peer], "ports": [{"protocol": "TCP", "port": 80}]}],
        },
    });
    (format!("/registry/networkpolicies/{namespace}/{name}"), object)
}
