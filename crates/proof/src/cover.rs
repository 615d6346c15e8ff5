//! What decided how many packets: each action, rule field and default must have its share.

use std::collections::BTreeMap;

use tortie_analysis::{By, Decision, Outcome, Packet, Step};
use tortie_api::kind::Kind;
use tortie_api::policy::{
    Direction, EntityRule, GlobalNetworkPolicySpec, NetworkPolicySpec, Rule, ServiceAccountMatch,
};
use tortie_api::resource::Resource;
use tortie_api::value::Port;

use crate::random::Objects;

/// What must decide a packet in a hundred: see [`Cover::lacking`].
const WANTED: [&str; 36] = [
    "action Allow",
    "action Deny",
    "action Pass",
    "action Log",
    "default: end of tier denies",
    "default: end of tier passes",
    "default: profile rule",
    "default: no profile rule matches",
    "default: profile is missing",
    "family IPv4",
    "family IPv6",
    "direction Ingress",
    "direction Egress",
    "kind NetworkPolicy",
    "kind GlobalNetworkPolicy",
    "kind KubernetesNetworkPolicy",
    "field ipVersion",
    "field protocol",
    "field notProtocol",
    "field icmp",
    "field notICMP",
    "field nets",
    "field notNets",
    "field selector",
    "field notSelector",
    "field namespaceSelector",
    "field serviceAccounts.names",
    "field serviceAccounts.selector",
    "field ports: number",
    "field ports: range",
    "field ports: name",
    "field notPorts",
    "side source",
    "side destination",
    "kind KubernetesClusterNetworkPolicy",
    "default: no tier applies",
];

/// Counts.
#[derive(Debug, Clone, Default)]
pub struct Cover {
    packets: u64,
    by: BTreeMap<&'static str, u64>,
}

impl Cover {
    /// How many sides of packets were compared.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// What decided less than one packet in a hundred, with its count.
    pub fn lacking(&self) -> Vec<(&'static str, u64)> {
        let count = |name| self.by.get(name).copied().unwrap_or(0);
        WANTED
            .into_iter()
            .map(|name| (name, count(name)))
            .filter(|(_, count)| count * 100 < self.packets)
            .collect()
    }

    /// All counts, as a share of a hundred.
    pub fn shares(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = self.packets.max(1);
        self.by.iter().map(move |(name, count)| (*name, 100.0 * *count as f64 / all as f64))
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        for (name, count) in &other.by {
            *self.by.entry(name).or_default() += count;
        }
    }

    fn one(&mut self, name: &'static str) {
        *self.by.entry(name).or_default() += 1;
    }

    /// One side of a packet was compared.
    pub fn count(&mut self, decision: &Decision, direction: Direction, packet: &Packet, objects: &Objects) {
        self.packets += 1;
        self.one(if packet.source.is_ipv4() { "family IPv4" } else { "family IPv6" });
        self.one(match direction {
            Direction::Ingress => "direction Ingress",
            Direction::Egress => "direction Egress",
        });
        self.one(match decision.outcome {
            Outcome::Allow => "action Allow",
            Outcome::Deny => "action Deny",
        });
        let by = |step: &Step| match step {
            Step::Log(_) => "action Log",
            Step::Pass(By::TierEnd { .. }) => "default: end of tier passes",
            Step::Pass(_) => "action Pass",
        };
        let mut met: Vec<&'static str> = decision.path.iter().map(by).collect();
        met.sort_unstable();
        met.dedup();
        met.into_iter().for_each(|name| self.one(name));
        if decision.path.is_empty() && decision.by.tier() == tortie_analysis::PROFILE_TIER {
            self.one("default: no tier applies");
        }
        let mut rules = vec![&decision.by];
        // A rule that passed the packet on has decided as much as the one that ended it.
        rules.extend(decision.path.iter().map(|step| match step {
            Step::Log(by) | Step::Pass(by) => by,
        }));
        let mut names = Vec::new();
        for by in rules {
            self.rule(by, direction, objects, &mut names);
        }
        match &decision.by {
            By::TierEnd { .. } => names.push("default: end of tier denies"),
            By::Profile { .. } => names.push("default: profile rule"),
            By::NoProfile => names.push("default: no profile rule matches"),
            By::MissingProfile { .. } => names.push("default: profile is missing"),
            _ => {}
        }
        names.sort_unstable();
        names.dedup();
        names.into_iter().for_each(|name| self.one(name));
    }

    fn rule(&self, by: &By, direction: Direction, objects: &Objects, names: &mut Vec<&'static str>) {
        let By::Rule { policy, rule, .. } = by else { return };
        names.push(match policy.kind {
            Kind::NetworkPolicy => "kind NetworkPolicy",
            Kind::GlobalNetworkPolicy => "kind GlobalNetworkPolicy",
            Kind::KubernetesNetworkPolicy => "kind KubernetesNetworkPolicy",
            _ => "kind KubernetesClusterNetworkPolicy",
        });
        let of_namespace = |spec: &NetworkPolicySpec| match direction {
            Direction::Ingress => spec.ingress.clone(),
            Direction::Egress => spec.egress.clone(),
        };
        let of_all = |spec: &GlobalNetworkPolicySpec| match direction {
            Direction::Ingress => spec.ingress.clone(),
            Direction::Egress => spec.egress.clone(),
        };
        let rules = match objects.get(policy) {
            Some(Resource::NetworkPolicy(policy)) => of_namespace(&policy.spec),
            Some(Resource::KubernetesNetworkPolicy(policy)) => of_namespace(&policy.spec),
            Some(Resource::GlobalNetworkPolicy(policy)) => of_all(&policy.spec),
            Some(Resource::KubernetesClusterNetworkPolicy(policy)) => of_all(&policy.spec),
            _ => return,
        };
        if let Some(rule) = rules.get(*rule) {
            fields(rule, names);
        }
    }
}

fn fields(rule: &Rule, names: &mut Vec<&'static str>) {
    let Rule {
        action: _,
        ip_version,
        protocol,
        icmp,
        not_protocol,
        not_icmp,
        source,
        destination,
        http: _,
        metadata: _,
    } = rule;
    let mut given = |there: bool, name: &'static str| {
        if there {
            names.push(name);
        }
    };
    given(ip_version.is_some(), "field ipVersion");
    given(protocol.is_some(), "field protocol");
    given(icmp.is_some(), "field icmp");
    given(not_protocol.is_some(), "field notProtocol");
    given(not_icmp.is_some(), "field notICMP");
    for (side, name) in [(source, "side source"), (destination, "side destination")] {
        let EntityRule {
            nets,
            selector,
            namespace_selector,
            services,
            ports,
            not_nets,
            not_selector,
            not_ports,
            service_accounts,
        } = side;
        given(*side != EntityRule::default(), name);
        given(services.is_some(), "field services");
        given(!nets.is_empty(), "field nets");
        given(!not_nets.is_empty(), "field notNets");
        given(!selector.is_empty(), "field selector");
        given(!not_selector.is_empty(), "field notSelector");
        given(!namespace_selector.is_empty(), "field namespaceSelector");
        given(!not_ports.is_empty(), "field notPorts");
        let port = |wanted: fn(&Port) -> bool| ports.iter().any(wanted);
        given(port(|port| matches!(port, Port::Range(first, last) if first == last)), "field ports: number");
        given(port(|port| matches!(port, Port::Range(first, last) if first < last)), "field ports: range");
        given(port(|port| matches!(port, Port::Named(_))), "field ports: name");
        if let Some(ServiceAccountMatch { names: accounts, selector }) = service_accounts {
            given(!accounts.is_empty(), "field serviceAccounts.names");
            given(!selector.is_empty(), "field serviceAccounts.selector");
        }
    }
}
