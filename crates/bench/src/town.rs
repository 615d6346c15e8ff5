//! What stands on the measured node: a hundred local endpoints, endpoints elsewhere, policies of five rules.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_lab::packet::{Packet, Transport};
use tortie_lab::raw::{Capture, Sender};

use crate::node::{Node, stored};
use crate::objects::NODE;

/// Local endpoints that policies are about.
pub const ENDPOINTS: usize = 100;
/// Who sends to them.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 65, 1, 1);
/// Values of the label that the standing policies' rules select by.
const APPS: usize = 500;
/// Time between two probes of the same endpoint.
const PACE: Duration = Duration::from_micros(100);
/// How long a verdict may take to come into force.
const PATIENCE: Duration = Duration::from_secs(30);

/// The local endpoints, wired, with what sends and what sees what arrives.
pub struct Town {
    sender: Sender,
    captures: Vec<Capture>,
    cookie: u64,
}

impl Town {
    /// Wires the endpoints and writes them, and the policy that closes them, to the store.
    ///
    /// # Errors
    /// If the lab or the store refuse.
    pub fn build(node: &mut Node) -> anyhow::Result<Self> {
        let client = wire(node, "client", "caliclient", CLIENT.into())?;
        let mut captures = Vec::new();
        for number in 0..ENDPOINTS {
            let pod = wire(node, &local_name(number), &interface(number), address(number))?;
            captures.push(Capture::at_interfaces(node.lab.pods()[pod].namespace())?);
        }
        node.put(&endpoints())?;
        let sender = Sender::open(node.lab.pods()[client].namespace())?;
        Ok(Self { sender, captures, cookie: 0 })
    }

    /// Waits until UDP packets to the port arrive at these endpoints; returns how long it took since `since`.
    ///
    /// # Errors
    /// If it takes too long.
    pub fn until_open(&mut self, endpoints: &[usize], port: u16, since: Instant) -> anyhow::Result<Duration> {
        let mut waiting: Vec<(usize, u64)> =
            endpoints.iter().map(|endpoint| (*endpoint, self.cookie)).collect();
        while !waiting.is_empty() {
            for (endpoint, _) in &waiting {
                self.cookie += 1;
                self.sender.send_one(&self.packet(*endpoint, port))?;
            }
            let mut still = Vec::new();
            for (endpoint, first) in waiting {
                // A packet to a pod is delivered before the call that sends it returns, or a moment later.
                let arrived = self.captures[endpoint].drain()?;
                if !arrived.iter().any(|packet| packet.cookie > first) {
                    still.push((endpoint, first));
                }
            }
            waiting = still;
            if since.elapsed() > PATIENCE {
                bail!("nothing reaches endpoints {waiting:?} after {PATIENCE:?}");
            }
            if !waiting.is_empty() {
                std::thread::sleep(PACE);
            }
        }
        Ok(since.elapsed())
    }

    /// Checks that one packet to each endpoint arrives.
    ///
    /// # Errors
    /// Which ones didn't.
    pub fn all_open(&mut self, port: u16) -> anyhow::Result<()> {
        let first = self.cookie + 1;
        for endpoint in 0..ENDPOINTS {
            self.cookie += 1;
            self.sender.send_one(&self.packet(endpoint, port))?;
        }
        for (capture, cookie) in self.captures.iter_mut().zip(first..) {
            capture.until(cookie, Duration::from_secs(1)).context("an endpoint is not reached")?;
        }
        Ok(())
    }

    /// A packet of a flow of its own.
    fn packet(&self, endpoint: usize, port: u16) -> Packet {
        let source = 1024 + u16::try_from(self.cookie % 64_000).unwrap_or(0);
        Packet {
            source: CLIENT.into(),
            destination: address(endpoint),
            transport: Transport::Udp { source, destination: port },
            cookie: self.cookie,
        }
    }
}

fn wire(node: &mut Node, name: &str, interface: &str, address: IpAddr) -> anyhow::Result<usize> {
    let pod = node.lab.add_pod(name)?;
    node.lab.wire(pod, node.place, interface, &[address])?;
    Ok(pod)
}

/// The local endpoints, and the policy that closes all but the client.
pub fn endpoints() -> Vec<(ResourceKey, Value)> {
    let closed = json!({"order": 2000, "selector": "has(measured)", "types": ["Ingress"]});
    let client = endpoint("client", "caliclient", CLIENT.into(), &json!({"role": "client"}));
    let local = (0..ENDPOINTS).map(|number| {
        let name = local_name(number);
        endpoint(&name, &interface(number), address(number), &json!({"name": name, "measured": ""}))
    });
    [client].into_iter().chain(local).chain([policy("closed", closed)]).collect()
}

fn endpoint(name: &str, interface: &str, address: IpAddr, labels: &Value) -> (ResourceKey, Value) {
    let spec = json!({
        "orchestrator": "k8s", "node": NODE, "pod": name, "endpoint": "eth0", "interfaceName": interface,
        "ipNetworks": [format!("{address}/32")], "profiles": ["projectcalico-default-allow"],
    });
    stored(Kind::WorkloadEndpoint, "default", &format!("{NODE}-k8s-{name}-eth0"), labels, &spec)
}

fn local_name(number: usize) -> String {
    format!("e{number}")
}

fn interface(number: usize) -> String {
    format!("cali{number:03}")
}

fn address(number: usize) -> IpAddr {
    Ipv4Addr::from(0x0a41_0002 + u32::try_from(number).unwrap_or(0)).into()
}

/// A global policy in the default tier.
fn policy(name: &str, mut spec: Value) -> (ResourceKey, Value) {
    spec["tier"] = "default".into();
    stored(Kind::GlobalNetworkPolicy, "", &format!("default.{name}"), &json!({}), &spec)
}

/// So many policies: policy i selects endpoint i mod 100 and has five rules, three with source selectors, two with nets.
pub fn standing(count: usize) -> Vec<(ResourceKey, Value)> {
    (0..count).map(standing_policy).collect()
}

/// One of these.
pub fn standing_policy(number: usize) -> (ResourceKey, Value) {
    // No two rules of an endpoint are the same, or they would be one entry of its table.
    let (endpoint, turn) = (number % ENDPOINTS, number / ENDPOINTS);
    let rule = |place: usize| {
        let source = match place {
            0..=2 => json!({"selector": format!("app == '{}'", (endpoint + turn * 3 + place) % APPS)}),
            _ => {
                let net =
                    Ipv4Addr::from(0xac10_0000 + (((endpoint + turn * 2 + place - 3) % APPS) << 8) as u32);
                json!({"nets": [format!("{net}/24")]})
            }
        };
        let port = 8000 + turn % 20;
        json!({"action": "Allow", "protocol": "TCP", "source": source, "destination": {"ports": [port]}})
    };
    let ingress: Vec<Value> = (0..5).map(rule).collect();
    let selector = format!("name == 'e{endpoint}'");
    let spec = json!({"order": 100, "selector": selector, "types": ["Ingress"], "ingress": ingress});
    policy(&format!("standing-{number:05}"), spec)
}

/// So many endpoints of other nodes.
pub fn remote(count: u32) -> Vec<(ResourceKey, Value)> {
    let one = |number: u32| {
        let name = format!("remote-{number}");
        let spec = json!({
            "orchestrator": "k8s", "node": "elsewhere", "pod": name, "endpoint": "eth0",
            "interfaceName": format!("cali{number}"),
            "ipNetworks": [format!("{}/32", Ipv4Addr::from(0x0a64_0000 + number))],
            "profiles": ["projectcalico-default-allow"],
        });
        let labels = json!({"app": (number as usize % APPS).to_string()});
        stored(Kind::WorkloadEndpoint, "default", &format!("elsewhere-k8s-{name}-eth0"), &labels, &spec)
    };
    (0..count).map(one).collect()
}

/// The policy whose coming is measured: it opens a UDP port of all endpoints to the client.
pub fn opening(port: u16) -> (ResourceKey, Value) {
    let rule = json!({
        "action": "Allow", "protocol": "UDP", "source": {"selector": "role == 'client'"},
        "destination": {"ports": [port]},
    });
    let spec = json!({"order": 10, "selector": "has(measured)", "types": ["Ingress"], "ingress": [rule]});
    policy(&format!("opening-{port}"), spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rules_of_an_endpoint_are_the_same() {
        let policies = standing(10_000);
        let of_first = policies.iter().filter(|(_, object)| object["spec"]["selector"] == "name == 'e0'");
        let rules: Vec<String> = of_first
            .flat_map(|(_, object)| object["spec"]["ingress"].as_array().cloned().unwrap_or_default())
            .map(|rule| rule.to_string())
            .collect();
        let distinct: std::collections::BTreeSet<&String> = rules.iter().collect();
        assert_eq!((rules.len(), distinct.len()), (500, 500));
    }
}
