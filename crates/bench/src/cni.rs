//! `tortie-bench cni`: pods attached and detached by the real program, as a runtime calls it, with an agent.
//!
//! A call's time is that of its process, from start to end; who calls lives in the host's network namespace, as a runtime
//! does. Beside each DEL stands the deletion of a veth that was made in the same way, by netlink alone.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};
use serde_json::json;
use tortie_lab::Pod;
use tortie_netlink::conntrack::Conntrack;
use tortie_netlink::rtnetlink::{LinkRef, VethEnd, VethPair};
use tortie_netlink::{Rtnetlink, sysctl};

use crate::figures;
use crate::node::{Kept, Node, durability};
use crate::objects::NODE;

/// How much is measured.
#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    /// ADDs and DELs one after the other.
    #[arg(long, default_value_t = 100)]
    pub calls: usize,
    /// Rounds of many ADDs, eight at a time.
    #[arg(long, default_value_t = 11)]
    pub rounds: usize,
    /// Pods of such a round.
    #[arg(long, default_value_t = 64)]
    pub pods: usize,
    /// Where the objects are, one after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "embedded,etcd")]
    pub datastore: Vec<Kept>,
    /// Connections that the node tracks in the last part of the calls.
    #[arg(long, default_value_t = 1000)]
    pub tracked: u32,
}

/// Calls at a time.
const AT_ONCE: usize = 8;

/// Measures and prints.
///
/// # Errors
/// If a call fails.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.datastore.iter().try_for_each(|kept| on(*kept, arguments))
}

fn on(kept: Kept, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { calls, rounds, pods, datastore: _, tracked } = arguments;
    let mut node = Node::keeping(kept)?;
    let names = match kept {
        Kept::Embedded => {
            println!("cni_durability={}", durability());
            "cni"
        }
        Kept::Etcd => "cni_etcd",
        Kept::Kubernetes => "cni_kubernetes",
    };
    let metadata = json!({"name": "bench"});
    let spec =
        json!({"cidr": "10.66.0.0/16", "ipipMode": "Never", "vxlanMode": "Never", "natOutgoing": false});
    let pool =
        json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": metadata, "spec": spec});
    let owner = json!({"apiVersion": "projectcalico.org/v3", "kind": "Node", "metadata": {"name": NODE}});
    node.inside(|| {
        node.client.create(pool)?;
        node.client.create(owner)?;
        Ok(())
    })?;
    for number in 0..*pods {
        node.lab.add_pod(&format!("p{number}"))?;
    }
    node.start()?;
    let runtime = Runtime::new(&node, names);
    node.inside(|| {
        one_by_one(&runtime, *calls, "")?;
        eight_at_a_time(&runtime, *rounds)?;
        // As a rule a node tracks connections, and at each call the kernel looks for the pod's among them.
        track(*tracked)?;
        one_by_one(&runtime, *calls, "_tracked")
    })
}

fn one_by_one(runtime: &Runtime<'_>, calls: usize, with: &str) -> anyhow::Result<()> {
    let (mut adds, mut deletions, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let pods = runtime.node.lab.pods();
    for pod in pods.iter().cycle().take(calls) {
        adds.push(runtime.timed("ADD", pod)?);
        let deletion = runtime.timed("DEL", pod)?;
        // The kernel tidies up behind a DEL that has returned; that shall not count for the bare deletion.
        runtime.bare(pod)?;
        let alone = runtime.bare(pod)?;
        deletions.push(deletion);
        bare.push(alone);
        ratios.push(deletion / alone);
    }
    runtime.median(&format!("add{with}_p50_ms"), &adds);
    runtime.median(&format!("del{with}_p50_ms"), &deletions);
    runtime.median(&format!("bare_del{with}_p50_ms"), &bare);
    runtime.median(&format!("del{with}_ratio"), &ratios);
    Ok(())
}

/// Has the calling thread's namespace track so many connections, for hours: one packet to as many of its own addresses.
fn track(count: u32) -> anyhow::Result<()> {
    sysctl::write("net/netfilter/nf_conntrack_udp_timeout", "36000")?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for number in 0..count {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number);
        // That nobody listens there is told to the socket, at the next packet.
        if let Err(error) = socket.send_to(b"x", (address, 9))
            && error.kind() != ErrorKind::ConnectionRefused
        {
            return Err(error).context("send a packet to this node");
        }
    }
    let found = Conntrack::open()?.count()?;
    if found < count {
        bail!("the node tracks {found} connections, not {count}");
    }
    Ok(())
}

fn eight_at_a_time(runtime: &Runtime<'_>, rounds: usize) -> anyhow::Result<()> {
    let pods = runtime.node.lab.pods();
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let since = Instant::now();
        at_once(|pod| runtime.call("ADD", pod), pods)?;
        rates.push(pods.len() as f64 / since.elapsed().as_secs_f64());
        at_once(|pod| runtime.call("DEL", pod), pods)?;
    }
    runtime.median("add_per_s_8", &rates);
    Ok(())
}

/// Does it for all pods, some at a time.
fn at_once(work: impl Fn(&Pod) -> anyhow::Result<()> + Sync, pods: &[Pod]) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> anyhow::Result<()> {
        while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(pod)?;
        }
        Ok(())
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join()).collect()
    });
    for worker in done {
        let Ok(result) = worker else { bail!("a thread that called the plugin ended early") };
        result?;
    }
    Ok(())
}

/// What calls the plugin, in the host's namespace.
pub struct Runtime<'a> {
    node: &'a Node,
    config: String,
    /// How the names of the figures begin.
    names: &'static str,
}

fn node_config() -> String {
    json!({
        "cniVersion": "1.0.0", "name": "bench", "type": "calico", "nodename": NODE,
        "ipam": {"type": "calico-ipam"},
    })
    .to_string()
}

impl<'a> Runtime<'a> {
    /// Calls it on this node.
    pub fn new(node: &'a Node, names: &'static str) -> Self {
        Self { node, config: node_config(), names }
    }

    fn median(&self, name: &str, samples: &[f64]) {
        figures::median(&format!("{}_{name}", self.names), samples);
    }

    /// Milliseconds that a call takes.
    fn timed(&self, verb: &str, pod: &Pod) -> anyhow::Result<f64> {
        let since = Instant::now();
        self.call(verb, pod)?;
        Ok(since.elapsed().as_secs_f64() * 1e3)
    }

    /// Calls it, and waits for its end.
    ///
    /// # Errors
    /// With what it says, if it fails.
    pub fn call(&self, verb: &str, pod: &Pod) -> anyhow::Result<()> {
        let mut command = self.node.command();
        let name = pod.name();
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", format!("container-{name}"))
            .env("CNI_NETNS", pod.namespace().path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.node.tortie().with_file_name(""))
            .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("start the plugin")?;
        let mut input = child.stdin.take().context("the plugin's standard input")?;
        std::io::Write::write_all(&mut input, self.config.as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("{verb} of {name}: {}: {}", output.status, String::from_utf8_lossy(&said));
        }
        Ok(())
    }

    /// Milliseconds that the deletion of a veth into the pod takes.
    fn bare(&self, pod: &Pod) -> anyhow::Result<f64> {
        let mut links = Rtnetlink::open()?;
        links.create_veth(&VethPair {
            near: VethEnd { name: "bare0", ..VethEnd::default() },
            far: VethEnd { name: "bare0", namespace: Some(pod.namespace().as_fd()), ..VethEnd::default() },
            mtu: None,
            near_up: true,
        })?;
        Rtnetlink::open_in(pod.namespace())?.set_up(LinkRef::Name("bare0"))?;
        let since = Instant::now();
        links.delete_link(LinkRef::Name("bare0"))?;
        Ok(since.elapsed().as_secs_f64() * 1e3)
    }
}
