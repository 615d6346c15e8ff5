//! Policies by calicoctl, in the cluster's datastore: by nets of one family and of the other, and by a selector, which is both.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::kube::{Kube, PATIENCE, until};
use crate::stage::{NAMESPACE, Stage};
use crate::streams::{ASKED, Stream};

const EVERY: Duration = Duration::from_micros(500);
const FLOWS: u32 = 120;

/// See the module. Each holds on both nodes, and for the families that it names alone.
pub fn holds(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    let every: Vec<bool> = stage.client.addresses.iter().map(|address| address.is_ipv6()).collect();
    for address in &stage.client.addresses {
        let bits = if address.is_ipv6() { 128 } else { 32 };
        apply(kube, &format!("nets: ['{address}/{bits}']"))?;
        judged(&stage, &[address.is_ipv6()]).with_context(|| format!("denied by the net of {address}"))?;
    }
    apply(kube, "selector: app == 'client'")?;
    judged(&stage, &every).context("denied by a selector")?;
    kube.calicoctl(&["delete", "networkpolicy", "shut", "-n", NAMESPACE])?;
    judged(&stage, &[]).context("after the deletion")?;
    println!("  {} nets and a selector, each on both nodes", every.len());
    stage.strike(kube)
}

/// Denies what is asked for, before Kubernetes' policy has its say.
fn apply(kube: &Kube, source: &str) -> Result<()> {
    let file = std::env::temp_dir().join(format!("tortie-cluster-{}.yaml", std::process::id()));
    let policy = format!(
        "{{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {{name: shut, namespace: {NAMESPACE}}}, spec: {{order: 1, selector: \
         \"app in {{'near', 'far'}}\", types: [Ingress], ingress: [{{action: Deny, protocol: UDP, source: {{{source}}}, destination: {{ports: [{ASKED}]}}}}]}}}}"
    );
    std::fs::write(&file, policy)?;
    let applied = kube.calicoctl(&["apply", "-f", &file.display().to_string()]);
    std::fs::remove_file(&file)?;
    applied.map(drop)
}

/// Returns when what is asked for arrives by just the families that aren't shut (`true`: IPv6), on both nodes.
fn judged(stage: &Stage, shut: &[bool]) -> Result<()> {
    let mut said = String::new();
    until("policy holds", PATIENCE, || {
        said.clear();
        for to in [&stage.near, &stage.far] {
            for address in &to.addresses {
                let stream = Stream::by(&stage.client, to, *address, ASKED, EVERY)?;
                stream.go_on(FLOWS)?;
                let all = !shut.contains(&address.is_ipv6());
                if let Err(error) = stream.stop()?.ensure(all, &format!("to {} by {address}", to.name)) {
                    said = error.to_string();
                }
            }
        }
        Ok(said.is_empty().then_some(()))
    })
    .with_context(|| said.clone())
}
