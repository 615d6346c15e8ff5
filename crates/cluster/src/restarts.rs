//! What goes on while agents and nodes start anew.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::kube::{Kube, PATIENCE, Pod, until};
use crate::stage::{NAMESPACE, Stage, ensure_as_expected, go_on};
use crate::streams::{ASKED, CLOSED, Stream, reached};

/// A flow on each path: long enough for the slowest case within a stream's length.
const EVERY: Duration = Duration::from_millis(2);

/// The image, and another name for it.
const TAGS: [&str; 2] = ["docker.io/tortie/node:dev", "docker.io/tortie/node:next"];

/// Each node's agent is deleted as a pod: connections neither end nor begin that shouldn't, and a pod's start waits for nobody.
pub fn agent(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    let streams = stage.streams(EVERY)?;
    go_on(&streams, 200)?;
    for node in &stage.nodes {
        let on_node = format!("spec.nodeName={node}");
        let mine =
            ["-n", "kube-system", "delete", "pod", "-l", "k8s-app=tortie-node", "--field-selector", &on_node];
        let began = Instant::now();
        kube.kubectl(&mine)?;
        kube.kubectl(&["-n", "kube-system", "rollout", "status", "daemonset/tortie-node", "--timeout=120s"])?;
        println!("  agent of {node} ready again after {:.1} s", began.elapsed().as_secs_f64());
    }
    go_on(&streams, 200)?;
    println!("  {} flows, none lost, none leaked", ensure_as_expected(streams)?);
    stage.strike(kube)
}

/// The DaemonSet goes to another image, node by node, under traffic; and back.
pub fn upgrade(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    for node in &stage.nodes {
        kube.in_node(node, &["ctr", "-n", "k8s.io", "images", "tag", "--force", TAGS[0], TAGS[1]])?;
    }
    let streams = stage.streams(EVERY)?;
    go_on(&streams, 200)?;
    for tag in [TAGS[1], TAGS[0]] {
        let began = Instant::now();
        let (agent, install) = (format!("agent={tag}"), format!("install={tag}"));
        kube.kubectl(&["-n", "kube-system", "set", "image", "daemonset/tortie-node", &agent, &install])?;
        kube.kubectl(&["-n", "kube-system", "rollout", "status", "daemonset/tortie-node", "--timeout=120s"])?;
        println!("  {tag} runs on all nodes after {:.1} s", began.elapsed().as_secs_f64());
    }
    go_on(&streams, 200)?;
    println!("  {} flows, none lost, none leaked", ensure_as_expected(streams)?);
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
    kube.script("start-node.sh", &[there], &[])?;
    let far = until("the far pod runs again", PATIENCE, || restarted(kube, "far"))?;
    println!("  node {there} and its pod run again after {:.1} s", began.elapsed().as_secs_f64());
    allowed.stop()?.ensure(true, "allowed, on the other node")?;
    denied.stop()?.ensure(false, "denied, on the other node")?;
    kube.kubectl(&["-n", "kube-system", "rollout", "status", "daemonset/tortie-node", "--timeout=120s"])?;
    kube.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "node", there])?;
    for address in &far.addresses {
        let arrived = reached(&stage.client, &far, *address, ASKED)?;
        let after = (arrived - began).as_secs_f64();
        println!(
            "  {} -> {} by {address}: reached {after:.1} s after the power failure",
            stage.client.name, far.name
        );
    }
    let stage = Stage { far, ..stage };
    let streams = stage.streams(EVERY)?;
    go_on(&streams, 300)?;
    ensure_as_expected(streams).context("after the power failure")?;
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
