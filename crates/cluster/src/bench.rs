//! What the cluster costs: a pod's start as kubelet sees it and the plugin's share of it, a policy's way from kubectl to both nodes, the
//! agents' memory. `make bench` asks for it after `tortie-bench`, which needs no kubelets: these figures want a cluster that is up.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::kube::{Kube, words};
use crate::stage::NAMESPACE;
use crate::{kube, policy, print_percentiles};

/// Pods that come one after the other on each node.
const PODS: usize = 20;

/// Prints the figures.
pub fn run(kube: &Kube) -> Result<()> {
    starts(kube)?;
    policy::holds(kube, 16)?.print("cluster_policy");
    memory(kube)
}

/// Seconds and number of what a histogram saw.
type Sum = (f64, f64);

/// kubelet counts a pod's start from its creation (in whole seconds) to its being seen to run, and the sandbox' part of it; containerd the
/// plugins' part of that. Name, label.
const HISTOGRAMS: [(&str, &str); 3] = [
    ("kubelet_pod_start_sli_duration_seconds", ""),
    ("kubelet_runtime_operations_duration_seconds", "operation_type=\"run_podsandbox\""),
    ("containerd_cri_network_plugin_operations_duration_seconds_seconds", "operation_type=\"set_up_pod\""),
];

fn starts(kube: &Kube) -> Result<()> {
    kube.namespace(NAMESPACE)?;
    let nodes = kube.nodes()?;
    let before: Vec<[Sum; 3]> = nodes.iter().map(|node| sums(kube, node)).collect::<Result<_>>()?;
    let mut seen = Vec::new();
    for number in 0..PODS {
        for node in &nodes {
            let name = format!("pod-{number}-{node}");
            let began = Instant::now();
            kube.sleepers(NAMESPACE, &[(&name, node)])?;
            seen.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let mut spent = [(0.0, 0.0); 3];
    for (node, before) in nodes.iter().zip(before) {
        // kubelet misses a pod now and then: the means are of those that it counts.
        let after = sums(kube, node)?;
        for ((spent, after), before) in spent.iter_mut().zip(after).zip(before) {
            *spent = (spent.0 + after.0 - before.0, spent.1 + after.1 - before.1);
        }
    }
    kube.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=120s"])?;
    for ((_, count), (name, _)) in spent.iter().zip(HISTOGRAMS) {
        ensure!(*count >= PODS as f64, "{name} counts {count} pods");
    }
    let mean = spent.map(|(seconds, count)| seconds / count * 1000.0);
    let [start, sandbox, plugin] = mean;
    print_percentiles("cluster_pod_start_by_kubectl", "ms", &seen);
    println!(
        "cluster_pod_start_mean_ms={start:.1}\ncluster_pod_sandbox_mean_ms={sandbox:.1}\ncluster_cni_add_mean_ms={plugin:.1}"
    );
    println!("cluster_cni_add_share_of_sandbox={:.3}", plugin / sandbox);
    println!("cluster_cni_add_share={:.3}", plugin / start);
    Ok(())
}

/// The histograms of a node.
fn sums(kube: &Kube, node: &str) -> Result<[Sum; 3]> {
    let kubelet = kube.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/metrics")])?;
    let mut command = std::process::Command::new("nsenter");
    command.arg(format!("--net=/run/netns/kl-{node}")).args([
        "curl",
        "-sS",
        "http://127.0.0.1:1338/v1/metrics",
    ]);
    let containerd = words(command)?;
    let of = |text: &str, (name, label): (&str, &str)| {
        let value = |what: &str| {
            let lines = text
                .lines()
                .filter(|line| line.starts_with(&format!("{name}_{what}")) && line.contains(label));
            let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
            values.sum::<f64>()
        };
        (value("sum"), value("count"))
    };
    let [start, sandbox, plugin] = HISTOGRAMS;
    Ok([of(&kubelet, start), of(&kubelet, sandbox), of(&containerd, plugin)])
}

/// What each agent holds of the machine's memory for itself, and with its share of what it shares.
fn memory(kube: &Kube) -> Result<()> {
    let pods = kube.get(&["-n", "kube-system", "pods", "-l", "k8s-app=tortie-node"])?;
    for pod in pods["items"].as_array().into_iter().flatten() {
        let uid = pod["metadata"]["uid"].as_str().context("a pod's uid")?;
        let node = pod["spec"]["nodeName"].as_str().context("a pod's node")?;
        let mut agent = None;
        for process in kube::processes_of(uid)? {
            let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            agent = agent.or((name.trim() == "tortie").then_some(process));
        }
        let agent = agent.with_context(|| format!("no agent runs on {node}"))?;
        let text = std::fs::read_to_string(format!("/proc/{agent}/smaps_rollup"))?;
        let kilobytes = |field: &str| {
            let line = text.lines().find(|line| line.starts_with(field));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
                .with_context(|| format!("no {field} in smaps_rollup"))
        };
        println!("cluster_agent_{node}_rss_mb={:.1}", kilobytes("Rss:")? / 1024.0);
        println!(
            "cluster_agent_{node}_private_mb={:.1}",
            (kilobytes("Private_Clean:")? + kilobytes("Private_Dirty:")?) / 1024.0
        );
    }
    Ok(())
}
