//! What goes on while agents and nodes start anew.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::kube::{Kube, PATIENCE, Pod, until};
use crate::stage::{NAMESPACE, Stage, ensure_unfelt};
use crate::streams::{ASKED, CLOSED, Stream};

/// A flow on each path: long enough for the slowest case within a stream's length.
const EVERY: Duration = Duration::from_millis(2);

/// The image, and another name for it.
const TAGS: [&str; 2] = ["docker.io/tortie/node:dev", "docker.io/tortie/node:next"];

/// Each node's agent is deleted as a pod: connections neither end nor begin that shouldn't, and a pod's start waits for nobody.
pub fn agent(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    let streams = stage.streams(EVERY)?;
    streams[0].go_on(200)?;
    for node in &stage.nodes {
        let on_node = format!("spec.nodeName={node}");
        let mine =
            ["-n", "kube-system", "delete", "pod", "-l", "k8s-app=tortie-node", "--field-selector", &on_node];
        let began = Instant::now();
        kube.kubectl(&mine)?;
        kube.kubectl(&["-n", "kube-system", "rollout", "status", "daemonset/tortie-node", "--timeout=120s"])?;
        println!("  agent of {node} ready again after {:.1} s", began.elapsed().as_secs_f64());
    }
    streams[0].go_on(200)?;
    println!("  {} flows, none lost, none leaked", ensure_unfelt(streams)?);
    stage.strike(kube)
}

/// The DaemonSet goes to another image, node by node, under traffic; and back.
pub fn upgrade(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    for node in &stage.nodes {
        kube.in_node(node, &["ctr", "-n", "k8s.io", "images", "tag", "--force", TAGS[0], TAGS[1]])?;
    }
    let streams = stage.streams(EVERY)?;
    streams[0].go_on(200)?;
    for tag in [TAGS[1], TAGS[0]] {
        let began = Instant::now();
        let (agent, install) = (format!("agent={tag}"), format!("install={tag}"));
        kube.kubectl(&["-n", "kube-system", "set", "image", "daemonset/tortie-node", &agent, &install])?;
        kube.kubectl(&["-n", "kube-system", "rollout", "status", "daemonset/tortie-node", "--timeout=120s"])?;
        println!("  {tag} runs on all nodes after {:.1} s", began.elapsed().as_secs_f64());
    }
    streams[0].go_on(200)?;
    println!("  {} flows, none lost, none leaked", ensure_unfelt(streams)?);
    stage.strike(kube)
}

/// A node loses power and comes again: the other doesn't notice, its own pods run again behind their policy, and no address is lost.
pub fn node(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    let [_, there] = &stage.nodes;
    let held = kube.handles()?.len();
    let start = |port| Stream::start(&stage.client, &stage.near, port, EVERY);
    let (allowed, denied) = (start(ASKED)?, start(CLOSED)?);
    allowed.go_on(200)?;
    let began = Instant::now();
    kube.script("stop-node.sh", &[there], &[("KEEP", "1")])?;
    // As it was started: on which subnet its address says.
    let address = kube.kubectl(&["get", "node", there, "-o", "jsonpath={.status.addresses[0].address}"])?;
    let subnets = if address.starts_with("172.30.1.") { "2" } else { "1" };
    kube.script("start-node.sh", &[there], &[("SUBNETS", subnets)])?;
    let far = until("the far pod runs again", PATIENCE, || restarted(kube, "far"))?;
    println!("  node {there} and its pod run again after {:.1} s", began.elapsed().as_secs_f64());
    allowed.stop()?.ensure(true, "allowed, on the other node")?;
    denied.stop()?.ensure(false, "denied, on the other node")?;
    kube.kubectl(&["-n", "kube-system", "rollout", "status", "daemonset/tortie-node", "--timeout=120s"])?;
    kube.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "node", there])?;
    let arrived = reached(&stage.client, &far)?;
    println!(
        "  {} -> {}: reached {:.1} s after the power failure",
        stage.client.name,
        far.name,
        (arrived - began).as_secs_f64()
    );
    let start = |port| Stream::start(&stage.client, &far, port, EVERY);
    let (allowed, denied) = (start(ASKED)?, start(CLOSED)?);
    allowed.go_on(300)?;
    allowed.stop()?.ensure(true, "allowed, to the node that is there again")?;
    denied.stop()?.ensure(false, "denied, to the node that is there again")?;
    until("as many addresses as before", PATIENCE, || Ok((kube.handles()?.len() == held).then_some(())))?;
    stage.strike(kube)
}

/// The pod, once its container was started another time.
fn restarted(kube: &Kube, name: &str) -> Result<Option<Pod>> {
    let pod = kube.get(&["-n", NAMESPACE, "pod", name])?;
    let is_new = pod["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0);
    let node_ready = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut ready = node_ready.filter(|condition| condition["type"] == "Ready");
    let is_ready = ready.all(|condition| condition["status"].as_str() == Some("True"));
    if is_new && is_ready { kube.running(NAMESPACE, name) } else { Ok(None) }
}

/// When the first allowed flow arrived.
fn reached(from: &Pod, to: &Pod) -> Result<Instant> {
    until("the pod is reached", PATIENCE, || {
        let mut capture = tortie_lab::raw::Capture::at_interfaces(&to.namespace)?;
        let sender = tortie_lab::raw::Sender::open(&from.namespace)?;
        let transport = tortie_lab::packet::Transport::Udp { source: 4000, destination: ASKED };
        let (source, destination) = (from.address, to.address);
        ensure!(source.is_ipv4() == destination.is_ipv4(), "addresses of two families");
        sender.send_one(&tortie_lab::packet::Packet { source, destination, transport, cookie: 1 })?;
        Ok(capture.until(1, Duration::from_millis(200)).ok().map(|_| Instant::now()))
    })
}
