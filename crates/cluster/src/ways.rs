//! The ways between pods: the tunnel where the pools ask for one, and services, behind which policy sees who really asks and the backend's port.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::kube::{Kube, Pod};
use crate::stage::{NAMESPACE, Stage};
use crate::streams::{ASKED, CLOSED, SENTINEL, Stream, reached};

const EVERY: Duration = Duration::from_micros(500);
const FLOWS: u32 = 300;
/// What a service's ports are above its backend's, so that nothing takes the one for the other.
const ABOVE: u16 = 1000;

/// To the other node by each family: in the tunnel if the pools or the subnets ask for it, and else not.
pub fn tunnel(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    let tunnelled = kube.is("vxlan") || kube.is("subnets");
    for address in &stage.far.addresses {
        let device = if address.is_ipv6() { "vxlan-v6.calico" } else { "vxlan.calico" };
        reached(&stage.client, &stage.far, *address, ASKED)?;
        let before = sent_by(kube, &stage.nodes[0], device)?;
        let stream = Stream::by(&stage.client, &stage.far, *address, ASKED, EVERY)?;
        stream.go_on(FLOWS)?;
        let seen = stream.stop()?;
        seen.ensure(true, &format!("to {address}"))?;
        let (rise, flows) = (sent_by(kube, &stage.nodes[0], device)? - before, seen.count().1 as u64);
        println!("  {flows} flows to {address}: {device} sent {rise} packets");
        // A stray packet of something else is none of theirs.
        ensure!(if tunnelled { rise >= flows } else { rise < flows / 10 }, "{device} sent {rise} packets");
    }
    stage.strike(kube)
}

/// How many packets a device of a node has sent; none if there is no such device.
fn sent_by(kube: &Kube, node: &str, device: &str) -> Result<u64> {
    let links: serde_json::Value = serde_json::from_str(&kube.in_node(node, &["ip", "-j", "-s", "link"])?)?;
    let found = links.as_array().into_iter().flatten().find(|link| link["ifname"] == device);
    found.map_or(Ok(0), |link| link["stats64"]["tx"]["packets"].as_u64().context("a device without counters"))
}

/// Each of the others by a service of its own, of each family.
pub fn services(kube: &Kube) -> Result<()> {
    let stage = Stage::build(kube)?;
    for to in [&stage.near, &stage.far] {
        for address in service(kube, to)? {
            reached(&stage.client, to, address, ASKED + ABOVE)?;
            for (port, all) in [(ASKED, true), (CLOSED, false)] {
                let stream = Stream::by(&stage.client, to, address, port + ABOVE, EVERY)?;
                stream.go_on(FLOWS)?;
                stream.stop()?.ensure(all, &format!("{}'s port {port} by its service {address}", to.name))?;
            }
            println!("  {} by {address}", to.name);
        }
    }
    stage.strike(kube)
}

/// Makes a pod's service; its addresses.
fn service(kube: &Kube, to: &Pod) -> Result<Vec<IpAddr>> {
    let name = &to.name;
    let port = |of: u16| {
        let outside = if of == SENTINEL { of } else { of + ABOVE };
        format!("{{name: p{of}, protocol: UDP, port: {outside}, targetPort: {of}}}")
    };
    let ports = [ASKED, CLOSED, SENTINEL].map(port).join(", ");
    kube.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {NAMESPACE}}}, spec: {{ipFamilyPolicy: PreferDualStack, \
         selector: {{app: {name}}}, ports: [{ports}]}}}}"
    ))?;
    let made = kube.get(&["-n", NAMESPACE, "service", name])?;
    let given = made["spec"]["clusterIPs"].as_array().into_iter().flatten();
    let addresses: Vec<IpAddr> = given.filter_map(|of| of.as_str()?.parse().ok()).collect();
    ensure!(addresses.len() == to.addresses.len(), "service {name} has the addresses {addresses:?}");
    Ok(addresses)
}
