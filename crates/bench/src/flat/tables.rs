//! The measured rules as policies, through the calculation and the classifier to the tables of the flat driver.

use serde_json::{Value, json};
use tortie_api::event::Event;
use tortie_api::kind::Kind;
use tortie_calc::{Config, Graph};
use tortie_classify::Classifier;
use tortie_dataplane::flat::Tables;

use super::rules::{
    CLIENT, CLIENT_INTERFACE, DENIED_PORT, LABEL_PORTS, Other, PER_POLICY, PORTS, Rule, SENDER_RULES, SERVER,
    SERVER_INTERFACE, remote, rules,
};
use crate::objects::{NODE, event};

/// The node's tables with so many rules on the receiver.
///
/// # Errors
/// If an object doesn't read, or the tables can't hold it.
pub fn tables(count: usize) -> anyhow::Result<Tables> {
    let mut graph = Graph::new(Config { node: NODE.into() });
    for (name, address, interface) in
        [("client", CLIENT, CLIENT_INTERFACE), ("server", SERVER, SERVER_INTERFACE)]
    {
        let labels = json!({"role": name});
        graph.apply(&endpoint(name, labels, NODE, address, interface)?);
    }
    for (address, app) in remote() {
        let labels = json!({"app": app.to_string()});
        graph.apply(&endpoint(&format!("remote-{address}"), labels, "elsewhere", address, "eth0")?);
    }
    for (number, five) in rules(count).chunks(PER_POLICY).enumerate() {
        graph.apply(&policy(&format!("in-{number:05}"), "server", "source", five)?);
    }
    for (number, five) in rules(SENDER_RULES).chunks(PER_POLICY).enumerate() {
        graph.apply(&policy(&format!("out-{number:05}"), "client", "destination", five)?);
    }
    for (name, other, side) in [("server", "client", "source"), ("client", "server", "destination")] {
        graph.apply(&last(name, other, side)?);
    }
    graph.apply(&Event::InSync);
    let mut classifier = Classifier::new();
    graph.flush(&mut |update| classifier.apply(update));
    Ok(classifier.rebuild()?)
}

fn endpoint(
    name: &str,
    labels: Value,
    node: &str,
    address: std::net::Ipv4Addr,
    interface: &str,
) -> anyhow::Result<Event> {
    let spec = json!({
        "orchestrator": "k8s", "node": node, "workload": name, "endpoint": "eth0", "interfaceName": interface,
        "ipNetworks": [format!("{address}/32")],
    });
    event(Kind::WorkloadEndpoint, "default", name, labels, spec)
}

fn policy(name: &str, of: &str, side: &str, rules: &[Rule]) -> anyhow::Result<Event> {
    let rules = rules.iter().map(|rule| {
        let other = match rule.other {
            Other::Selector(app) => json!({"selector": format!("app == '{app}'")}),
            Other::Net(net) => json!({"nets": [net.to_string()]}),
        };
        allowed(side, other, "TCP", &[rule.port])
    });
    global(name, of, side, 100.0, rules.collect())
}

/// The last policy: it decides what is sent.
fn last(of: &str, other: &str, side: &str) -> anyhow::Result<Event> {
    let ports: Vec<u16> = PORTS.collect();
    let labelled = || json!({"selector": format!("role == '{other}'")});
    let mut denied = allowed(side, labelled(), "TCP", &[DENIED_PORT]);
    denied["action"] = "Deny".into();
    let by_label: Vec<u16> = LABEL_PORTS.collect();
    let rules = vec![
        denied,
        allowed(side, labelled(), "UDP", &by_label),
        allowed(side, json!({}), "TCP", &ports),
        allowed(side, json!({}), "UDP", &ports),
    ];
    global(&format!("last-{of}"), of, side, 1000.0, rules)
}

/// `other` is what the rule says of the side `side`; ports are always the destination's.
fn allowed(side: &str, other: Value, protocol: &str, ports: &[u16]) -> Value {
    let mut rule = json!({"action": "Allow", "protocol": protocol, "source": {}, "destination": {}});
    rule[side] = other;
    rule["destination"]["ports"] = json!(ports);
    rule
}

fn global(name: &str, of: &str, side: &str, order: f64, rules: Vec<Value>) -> anyhow::Result<Event> {
    let (kind, field) = if side == "source" { ("Ingress", "ingress") } else { ("Egress", "egress") };
    let mut spec = json!({"order": order, "selector": format!("role == '{of}'"), "types": [kind]});
    spec[field] = rules.into();
    event(Kind::GlobalNetworkPolicy, "", name, json!({}), spec)
}
