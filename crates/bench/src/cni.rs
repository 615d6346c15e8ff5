//! `tortie-bench cni`: pods attached and detached by the real program, as a runtime calls it, with an agent.
//!
//! A call's time is that of its process, from start to end; who calls lives in the host's network namespace, as a runtime
//! does. Beside each DEL stands the deletion of a veth that was made in the same way, by netlink alone.

use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};
use serde_json::json;
use tortie_lab::Pod;
use tortie_netlink::Rtnetlink;
use tortie_netlink::rtnetlink::{LinkRef, VethEnd, VethPair};

use crate::figures;
use crate::node::{Node, durability};
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
}

/// Calls at a time.
const AT_ONCE: usize = 8;

/// Measures and prints.
///
/// # Errors
/// If a call fails.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { calls, rounds, pods } = arguments;
    println!("cni_durability={}", durability());
    let mut node = Node::create()?;
    let metadata = json!({"name": "bench"});
    let spec =
        json!({"cidr": "10.66.0.0/16", "ipipMode": "Never", "vxlanMode": "Never", "natOutgoing": false});
    let pool =
        json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": metadata, "spec": spec});
    node.client.create(pool)?;
    let owner = json!({"apiVersion": "projectcalico.org/v3", "kind": "Node", "metadata": {"name": NODE}});
    node.client.create(owner)?;
    for number in 0..*pods {
        node.lab.add_pod(&format!("p{number}"))?;
    }
    node.start()?;
    let runtime = Runtime { config: node_config(), node: &node };
    node.lab.hosts()[node.place].namespace().run(|| {
        one_by_one(&runtime, *calls)?;
        eight_at_a_time(&runtime, *rounds)
    })?
}

fn one_by_one(runtime: &Runtime<'_>, calls: usize) -> anyhow::Result<()> {
    let (mut adds, mut deletions, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let pods = runtime.node.lab.pods();
    for pod in pods.iter().cycle().take(calls) {
        let since = Instant::now();
        runtime.call("ADD", pod)?;
        adds.push(since.elapsed().as_secs_f64() * 1e3);
        let since = Instant::now();
        runtime.call("DEL", pod)?;
        let deletion = since.elapsed().as_secs_f64() * 1e3;
        // The kernel tidies up behind a DEL that has returned; that shall not count for the bare deletion.
        runtime.bare(pod)?;
        let alone = runtime.bare(pod)?;
        deletions.push(deletion);
        bare.push(alone);
        ratios.push(deletion / alone);
    }
    figures::median("cni_add_p50_ms", &adds);
    figures::median("cni_del_p50_ms", &deletions);
    figures::median("cni_bare_del_p50_ms", &bare);
    figures::median("cni_del_ratio", &ratios);
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
    figures::median("cni_add_per_s_8", &rates);
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
struct Runtime<'a> {
    node: &'a Node,
    config: String,
}

fn node_config() -> String {
    json!({
        "cniVersion": "1.0.0", "name": "bench", "type": "calico", "nodename": NODE,
        "ipam": {"type": "calico-ipam"},
    })
    .to_string()
}

impl Runtime<'_> {
    fn call(&self, verb: &str, pod: &Pod) -> anyhow::Result<()> {
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
