//! An answer in plain words, for people.

use std::fmt::Write as _;

use crate::answer::{Answer, By, Decision, Outcome, Step};
use crate::cluster::Cluster;
use crate::flow::{Flow, Packet, Transport};

/// Tells what becomes of a flow and why: a few lines, each ended.
///
/// ```text
/// shop/web (10.0.0.1) -> shop/db (10.0.0.2), TCP port 5432: denied
///   leaving shop/web: allowed by rule 0 of NetworkPolicy shop/web-out (tier default)
///   entering shop/db: denied at the end of tier default: NetworkPolicy shop/db-in applies, and no rule allows it
/// ```
pub fn story(cluster: &Cluster, flow: &Flow, answer: &Answer) -> String {
    let Flow { packet, from, to, via } = flow;
    let Answer { verdict, egress, ingress, forward } = answer;
    let name = |id: &Option<_>| id.map(|id| endpoint_name(cluster, id));
    let with_address = |name: Option<String>, address| match name {
        Some(name) => format!("{name} ({address})"),
        None => format!("{address}"),
    };
    let (sender, receiver) = (name(from), name(to));
    let mut text = format!(
        "{} -> {}, {}: {}\n",
        with_address(sender.clone(), packet.source),
        with_address(receiver.clone(), packet.destination),
        what(packet),
        participle(*verdict)
    );
    let mut side = |place: String, decision: &Option<Decision>| {
        let Some(decision) = decision else { return };
        for step in &decision.path {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  {place}: {}", met(step));
        }
        let _ = writeln!(text, "  {place}: {}", decided(decision));
    };
    side(format!("leaving {}", sender.as_deref().unwrap_or("the sender")), egress);
    side(format!("forwarded by {}", name(via).as_deref().unwrap_or("the host")), forward);
    side(format!("entering {}", receiver.as_deref().unwrap_or("the host")), ingress);
    if egress.is_none() && ingress.is_none() && forward.is_none() {
        text.push_str("  no endpoint of the cluster takes part: no policy judges it\n");
    }
    text
}

fn endpoint_name(cluster: &Cluster, id: crate::EndpointId) -> String {
    let endpoint = cluster.endpoint(id);
    if endpoint.is_host() {
        format!("host endpoint {} of {}", endpoint.key.name, endpoint.node)
    } else if endpoint.pod.is_empty() {
        endpoint.key.full_name()
    } else {
        format!("{}/{}", endpoint.key.namespace, endpoint.pod)
    }
}

fn what(packet: &Packet) -> String {
    let protocol = match packet.protocol {
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        58 => "ICMPv6",
        132 => "SCTP",
        136 => "UDPLite",
        other => return format!("protocol {other}"),
    };
    match packet.transport {
        Transport::Ports { destination, .. } => format!("{protocol} port {destination}"),
        Transport::Icmp { icmp_type, code } => format!("{protocol} type {icmp_type} code {code}"),
        Transport::Other => protocol.to_owned(),
    }
}

fn participle(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "allowed",
        Outcome::Deny => "denied",
    }
}

fn met(step: &Step) -> String {
    match step {
        Step::Log(by) => format!("logged by {}", name(by)),
        Step::Pass(by @ By::TierEnd { tier, .. }) => {
            format!("passed on at the end of tier {tier}: {} applies, and no rule matches", policy_name(by))
        }
        Step::Pass(by) => format!("passed on by {}", name(by)),
    }
}

fn decided(decision: &Decision) -> String {
    let Decision { outcome, by, path: _ } = decision;
    let outcome = participle(*outcome);
    match by {
        By::Rule { .. } | By::Profile { .. } => format!("{outcome} by {}", name(by)),
        By::TierEnd { tier, .. } => {
            format!("{outcome} at the end of tier {tier}: {} applies, and no rule allows it", policy_name(by))
        }
        By::MissingProfile { profile } => format!("{outcome}: its profile {profile} does not exist"),
        By::NoProfile => format!("{outcome}: no policy applies or all pass, and no profile allows it"),
        By::Failsafe => format!("{outcome}: a failsafe port of the host"),
        By::Nothing => format!("{outcome}: no policy of the host speaks of forwarded packets like this"),
        By::OwnHost => format!("{outcome}: a host may always reach its own workloads"),
        By::EndpointToHost => {
            format!(
                "{outcome}: DefaultEndpointToHostAction, what the host does with its own workloads' packets"
            )
        }
    }
}

fn name(by: &By) -> String {
    match by {
        By::Rule { tier, rule, .. } => format!("rule {rule} of {} (tier {tier})", policy_name(by)),
        By::Profile { profile, rule } => format!("rule {rule} of profile {profile}"),
        other => policy_name(other),
    }
}

fn policy_name(by: &By) -> String {
    format!("{} {}", by.kind(), by.policy())
}
