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

    /// Streams to both others by each family: to the port that is asked for, and to the one that is closed.
    pub fn streams(&self, every: Duration) -> Result<Vec<Expected>> {
        let mut streams = Vec::new();
        for (to, whose) in [(&self.near, "on the same node"), (&self.far, "to the other node")] {
            for (port, all) in [(ASKED, true), (CLOSED, false)] {
                for (stream, address) in
                    Stream::start_each(&self.client, to, port, every)?.into_iter().zip(&to.addresses)
                {
                    let word = if all { "allowed" } else { "denied" };
                    streams.push(Expected { stream, all, whose: format!("{word}, {whose}, to {address}") });
                }
            }
        }
        Ok(streams)
    }

    /// Takes it away.
    pub fn strike(self, kube: &Kube) -> Result<()> {
        kube.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=120s"]).map(drop)
    }
}

/// A stream of which all should arrive, or nothing.
pub struct Expected {
    pub stream: Stream,
    pub all: bool,
    pub whose: String,
}

/// Returns when the first has sent so many more; all go at one pace.
pub fn go_on(streams: &[Expected], flows: u32) -> Result<()> {
    streams.first().map_or(Ok(()), |of| of.stream.go_on(flows))
}

/// Ends streams; says of each that all or nothing arrived.
pub fn ensure_as_expected(streams: Vec<Expected>) -> Result<usize> {
    let mut flows = 0;
    for Expected { stream, all, whose } in streams {
        let seen: Seen = stream.stop()?;
        seen.ensure(all, &whose)?;
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
