//! Three sleeping pods on two nodes, and one policy on those that are spoken to.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::kube::{Kube, Pod};
use crate::streams::{ASKED, CLOSED, Seen, Stream};

/// The stage's namespace.
pub const NAMESPACE: &str = "proof";

/// Who sends, who is on the same node, who on another.
pub struct Stage {
    pub client: Pod,
    pub near: Pod,
    pub far: Pod,
    /// The names of the two nodes.
    pub nodes: [String; 2],
}

impl Stage {
    /// A new one, its door open.
    pub fn build(kube: &Kube) -> Result<Self> {
        let nodes: [String; 2] =
            kube.nodes()?.try_into().ok().context("the cluster should have two nodes")?;
        kube.namespace(NAMESPACE)?;
        kube.apply(&door(true))?;
        let [here, there] = nodes.each_ref();
        let pods = kube.sleepers(NAMESPACE, &[("client", here), ("near", here), ("far", there)])?;
        let [client, near, far] = pods.try_into().ok().context("three pods")?;
        Ok(Stage { client, near, far, nodes })
    }

    /// Streams to both others: to the port that is asked for, and to the one that is closed.
    pub fn streams(&self, every: Duration) -> Result<[Stream; 4]> {
        let start = |to, port| Stream::start(&self.client, to, port, every);
        Ok([
            start(&self.near, ASKED)?,
            start(&self.near, CLOSED)?,
            start(&self.far, ASKED)?,
            start(&self.far, CLOSED)?,
        ])
    }

    /// Takes it away.
    pub fn strike(self, kube: &Kube) -> Result<()> {
        kube.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=120s"]).map(drop)
    }
}

/// Ends streams; says of each that all or nothing arrived.
pub fn ensure_unfelt(streams: [Stream; 4]) -> Result<usize> {
    let mut flows = 0;
    for (stream, (whose, all)) in streams.into_iter().zip([
        ("allowed, on the same node", true),
        ("denied, on the same node", false),
        ("allowed, to the other node", true),
        ("denied, to the other node", false),
    ]) {
        let seen: Seen = stream.stop()?;
        seen.ensure(all, whose)?;
        flows += seen.count().1;
    }
    Ok(flows)
}

/// The policy: sentinels always pass, and what is asked for if the door is open.
pub fn door(open: bool) -> String {
    let asked = if open { ", {protocol: UDP, port: 80}" } else { "" };
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: door, namespace: {NAMESPACE}}}, spec: {{podSelector: \
         {{matchExpressions: [{{key: app, operator: In, values: [near, far]}}]}}, policyTypes: [Ingress], ingress: [{{from: [{{podSelector: \
         {{matchLabels: {{app: client}}}}}}], ports: [{{protocol: UDP, port: 7}}{asked}]}}]}}}}"
    )
}
