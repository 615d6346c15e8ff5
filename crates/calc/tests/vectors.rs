//! Clusters and flows with the answers of Calico's own code: who decides, and what.
//!
//! Flows that meet a policy which isn't enforced yet (source ports) are left out, and so
//! are those from or to hosts.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;

use common::{Node, Packet, Verdict};
use serde_json::Value;
use tortie_api::decode::decode;
use tortie_api::event::Event;
use tortie_api::policy::{Action, Direction};
use tortie_api::resource::Resource;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tortie/tests/vectors/explain");

struct Cluster {
    nodes: BTreeMap<String, Node>,
    /// Node and addresses of each endpoint, by `namespace/name`.
    endpoints: BTreeMap<String, (String, Vec<IpAddr>)>,
    pods: BTreeMap<String, String>,
}

fn load(name: &str) -> Cluster {
    let text = std::fs::read_to_string(format!("{VECTORS}/{name}/in/cluster.yaml")).unwrap();
    let sound = |document: &tortie_api::decode::Document| document.faults.is_empty();
    let resources: Vec<Resource> = decode(&text)
        .documents
        .into_iter()
        .filter(sound)
        .filter_map(|document| document.object?.resource().ok())
        .collect();
    let mut cluster = Cluster { nodes: BTreeMap::new(), endpoints: BTreeMap::new(), pods: BTreeMap::new() };
    for resource in &resources {
        let Resource::WorkloadEndpoint(endpoint) = resource else { continue };
        let name = endpoint.key().full_name();
        let addresses =
            endpoint.spec.ip_networks.iter().map(|net| net.split('/').next().unwrap().parse().unwrap());
        cluster.endpoints.insert(name.clone(), (endpoint.spec.node.clone(), addresses.collect()));
        let pod = format!("{}/{}", endpoint.metadata.namespace, endpoint.spec.pod);
        cluster.pods.insert(pod, name);
    }
    for node in cluster.endpoints.values().map(|(node, _)| node.clone()) {
        cluster.nodes.entry(node).or_insert_with_key(|node| {
            let mut node = Node::new(node);
            node.apply(resources.iter().cloned().map(Event::Upsert));
            node
        });
    }
    cluster
}

impl Cluster {
    fn party(&self, party: &Value) -> Option<(Option<String>, Vec<IpAddr>)> {
        let text = party.as_str()?;
        if let Ok(address) = text.parse::<IpAddr>() {
            let owner = self.endpoints.iter().find(|(_, (_, addresses))| addresses.contains(&address));
            return Some((owner.map(|(name, _)| name.clone()), vec![address]));
        }
        let name =
            if self.endpoints.contains_key(text) { text.to_owned() } else { self.pods.get(text)?.clone() };
        let addresses = self.endpoints[&name].1.clone();
        Some((Some(name), addresses))
    }

    fn side(&self, endpoint: &Option<String>, direction: Direction, packet: &Packet) -> Option<Verdict> {
        let name = endpoint.as_ref()?;
        Some(self.nodes[&self.endpoints[name].0].judge(name, direction, packet))
    }
}

fn packet(flow: &Value, from: &[IpAddr], to: &[IpAddr]) -> Option<Packet> {
    let family =
        |addresses: &[IpAddr], v6: bool| addresses.iter().copied().find(|address| address.is_ipv6() == v6);
    let both = |v6| Some((family(from, v6)?, family(to, v6)?));
    let (from, to) = match flow["ipVersion"].as_u64() {
        Some(version) => both(version == 6)?,
        None => both(false).or_else(|| both(true))?,
    };
    let protocol = match &flow["protocol"] {
        Value::Number(number) => u8::try_from(number.as_u64().unwrap()).unwrap(),
        name => match name.as_str().unwrap().to_lowercase().as_str() {
            "tcp" => 6,
            "udp" => 17,
            "icmp" => 1,
            "icmpv6" => 58,
            "sctp" => 132,
            "udplite" => 136,
            other => panic!("protocol {other}"),
        },
    };
    let byte = |name: &str| flow[name].as_u64().map(|number| u8::try_from(number).unwrap());
    let echo = if protocol == 58 { 128 } else { 8 };
    let icmp =
        matches!(protocol, 1 | 58).then(|| (byte("icmpType").unwrap_or(echo), byte("icmpCode").unwrap_or(0)));
    let port = flow["port"].as_u64().map(|port| u16::try_from(port).unwrap());
    Some(Packet { from, to, protocol, port, icmp })
}

fn says(verdict: &Verdict, want: &Value) -> bool {
    let action = if verdict.action == Action::Allow { "allow" } else { "deny" };
    let policy = match want["policy"].as_str().unwrap() {
        "__PROFILE__" => "none".to_owned(),
        name => format!("{}({name})", want["kind"].as_str().unwrap()),
    };
    action == want["action"] && verdict.rule == want["rule"].as_i64().unwrap() && verdict.policy == policy
}

#[test]
fn flows_are_decided_by_the_rules_that_calico_says() {
    let (mut same, mut not_enforced) = (0, 0);
    for name in ["pods-9001", "pods-9002", "hosts-9001", "hosts-9002"] {
        let cluster = load(name);
        let lines = |file: &str| {
            let text = std::fs::read_to_string(format!("{VECTORS}/{name}/{file}")).unwrap();
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
        };
        let wanted: BTreeMap<u64, Value> =
            lines("want.jsonl").into_iter().map(|want| (want["id"].as_u64().unwrap(), want)).collect();
        for flow in lines("flows.jsonl") {
            let want = &wanted[&flow["id"].as_u64().unwrap()];
            let (Some((sender, from)), Some((receiver, to))) =
                (cluster.party(&flow["from"]), cluster.party(&flow["to"]))
            else {
                continue;
            };
            let Some(packet) = packet(&flow, &from, &to) else { continue };
            for (side, endpoint, direction) in
                [("egress", &sender, Direction::Egress), ("ingress", &receiver, Direction::Ingress)]
            {
                let Some(verdict) = cluster.side(endpoint, direction, &packet) else { continue };
                if want[side].is_null() {
                    continue;
                }
                if !verdict.enforced {
                    not_enforced += 1;
                    continue;
                }
                assert!(
                    says(&verdict, &want[side]),
                    "{name}: {flow}\n{side}: {verdict:?}\nCalico: {}",
                    want[side]
                );
                same += 1;
            }
        }
    }
    assert!(same > 300, "{same} the same, {not_enforced} not enforced");
}
