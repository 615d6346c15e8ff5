//! Pods by kubelet and containerd come up through the CNI plugin, reach each other, and free their addresses when they go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::kube::{Kube, PATIENCE, until};
use crate::print_percentiles;
use crate::stage::NAMESPACE;
use crate::streams::{ASKED, Stream};

/// How many pods come on each node.
const EACH: usize = 10;

/// See the module.
pub fn come_and_go(kube: &Kube) -> Result<()> {
    kube.namespace(NAMESPACE)?;
    let before = kube.handles()?.len();
    let nodes = kube.nodes()?;
    let names: Vec<(String, &str)> = (0..EACH)
        .flat_map(|number| nodes.iter().map(move |node| (format!("pod-{number}-{node}"), node.as_str())))
        .collect();
    let wanted: Vec<(&str, &str)> = names.iter().map(|(name, node)| (name.as_str(), *node)).collect();
    let began = Instant::now();
    let pods = kube.sleepers(NAMESPACE, &wanted)?;
    println!(
        "  {} pods on {} nodes ready after {:.1} s",
        pods.len(),
        nodes.len(),
        began.elapsed().as_secs_f64()
    );
    let addresses: BTreeSet<_> = pods.iter().flat_map(|pod| &pod.addresses).collect();
    ensure!(
        addresses.len() == pods.iter().map(|pod| pod.addresses.len()).sum::<usize>(),
        "an address was given twice: {addresses:?}"
    );
    ensure!(kube.handles()?.len() == before + pods.len(), "not an address for each pod");
    // Each to the next, so also from node to node and on one.
    for (from, to) in pods.iter().zip(pods.iter().cycle().skip(1)) {
        for stream in Stream::start_each(from, to, ASKED, Duration::from_micros(500))? {
            stream.go_on(150)?;
            stream.stop()?.ensure(true, &format!("{} to {}", from.name, to.name))?;
        }
    }
    let mut freed = Vec::new();
    for pod in pods {
        let held = kube.handles()?.len();
        let began = Instant::now();
        kube.kubectl(&["-n", NAMESPACE, "delete", "pod", &pod.name])?;
        until("the address is free", PATIENCE, || Ok((kube.handles()?.len() < held).then_some(())))?;
        freed.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    print_percentiles("  pod_deleted_and_address_free", "ms", &freed);
    ensure!(kube.handles()?.len() == before, "addresses are left");
    kube.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=120s"]).map(drop)
}
