//! Rules: tags become selectors, one network and several become one list, actions get their capital.

use ipnet::IpNet;

use super::types::{Entity, Rule};
use crate::policy;

/// Rules as they are written now.
pub fn convert(rules: &[Rule]) -> Vec<policy::Rule> {
    rules.iter().map(rule).collect()
}

fn rule(rule: &Rule) -> policy::Rule {
    let Rule { action, ip_version, protocol, icmp, not_protocol, not_icmp, source, destination } = rule;
    policy::Rule {
        action: self::action(action),
        ip_version: *ip_version,
        protocol: protocol.clone(),
        icmp: icmp.clone(),
        not_protocol: not_protocol.clone(),
        not_icmp: not_icmp.clone(),
        source: entity(source),
        destination: entity(destination),
        ..policy::Rule::default()
    }
}

/// An action in the spelling of now; what isn't known stays, for validation to find.
fn action(action: &str) -> String {
    if action.is_empty() {
        return "Allow".to_owned();
    }
    let known = ["Allow", "Deny", "Log", "Pass"].into_iter().find(|known| known.eq_ignore_ascii_case(action));
    known.unwrap_or(action).to_owned()
}

fn entity(entity: &Entity) -> policy::EntityRule {
    let Entity { tag, net, nets, selector, ports, not_tag, not_net, not_nets, not_selector, not_ports } =
        entity;
    policy::EntityRule {
        nets: masked(nets, net.as_deref()),
        selector: tagged(selector, tag),
        ports: ports.clone(),
        not_nets: masked(not_nets, not_net.as_deref()),
        not_selector: tagged(not_selector, not_tag),
        not_ports: not_ports.clone(),
        ..policy::EntityRule::default()
    }
}

/// Networks without bits behind their length; the single one comes last.
fn masked(nets: &[String], net: Option<&str>) -> Vec<String> {
    let all = nets.iter().map(String::as_str).chain(net);
    all.map(|text| super::check::net(text).map_or(text.to_owned(), |net: IpNet| net.trunc().to_string()))
        .collect()
}

/// A selector whose labels have their names of now.
pub fn selector(selector: &str) -> String {
    selector.replace("calico/k8s_ns", "projectcalico.org/namespace")
}

/// A selector that a tag must hold beside.
fn tagged(selector: &str, tag: &str) -> String {
    let selector = self::selector(selector);
    match (selector.as_str(), tag) {
        (_, "") => selector,
        ("", tag) => format!("{tag} == ''"),
        (selector, tag) => format!("({selector}) && {tag} == ''"),
    }
}
