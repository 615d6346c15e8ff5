//! Calico's conditions on objects of the first API, in its words. What both APIs ask is asked of the converted object.

use std::net::IpAddr;

use ipnet::IpNet;

use super::types::{
    EndpointPort, Entity, HostEndpoint, Node, Peer, Policy, Pool, Profile, Rule, WorkloadEndpoint,
};
use crate::fault::Fault;
use crate::meta::StringMap;
use crate::selector::Selector;
use crate::value::Protocol;

/// A network; an address alone is one with its full length.
pub fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| IpNet::from(address)))
}

/// What is wrong, as it is found.
#[derive(Default)]
pub struct Report(pub Vec<Fault>);

impl Report {
    /// A field that breaks a rule without words of its own.
    fn refuse(&mut self, field: &str, value: &str) {
        self.0.push(Fault::new(field, format!("error with field {field} = '{value}'")).found(value));
    }

    fn because(&mut self, field: &str, value: &str, reason: &str) {
        let fault = Fault::new(field, format!("error with field {field} = '{value}' ({reason})"));
        self.0.push(fault.found(value).expected(reason));
    }

    fn text(&mut self, field: &str, value: &str, holds: impl Fn(&str) -> bool) {
        if !value.is_empty() && !holds(value) {
            self.refuse(field, value);
        }
    }

    fn address(&mut self, field: &str, text: &str) {
        if !text.is_empty() && text.parse::<IpAddr>().is_err() {
            self.0.push(Fault::new(field, format!("invalid IP address: {text}")).expected("an address"));
        }
    }

    fn net(&mut self, field: &str, text: &str) -> Option<IpNet> {
        let net = net(text);
        if net.is_none() {
            let fault = Fault::new(field, format!("invalid CIDR address: {text}"));
            self.0.push(fault.found(text).expected("an address with a prefix length"));
        }
        net
    }

    fn labels(&mut self, labels: &StringMap) {
        let is_good = |(key, value): (&String, &String)| {
            !key.is_empty()
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte))
                && value.len() <= 63
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
                && value.ends_with(|last: char| last.is_ascii_alphanumeric()) != value.is_empty()
        };
        if !labels.iter().all(is_good) {
            let shown: Vec<_> = labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            self.refuse("Labels", &format!("map[{}]", shown.join(" ")));
        }
    }

    fn selector(&mut self, field: &str, text: &str) {
        self.text(field, text, |text| Selector::parse(text).is_ok());
    }

    fn ports(&mut self, ports: &[EndpointPort]) {
        for EndpointPort { name, protocol, port } in ports {
            if !is_name(name) {
                self.refuse("Name", name);
            }
            if !matches!(protocol.number(), Some(6 | 17 | 132)) || matches!(protocol, Protocol::Number(_)) {
                let reason = "EndpointPort protocol must be 'tcp' or 'udp' or 'sctp'.";
                self.because("EndpointPort.Protocol", &protocol.to_string(), reason);
            }
            if *port == 0 {
                self.refuse("Port", "0");
            }
        }
    }

    /// A peer's faults.
    pub fn peer(&mut self, peer: &Peer) {
        let metadata = &peer.metadata;
        self.text("Scope", &metadata.scope, |scope| matches!(scope, "global" | "node"));
        self.text("Node", &metadata.node, is_name);
        self.address("PeerIP", &metadata.peer_ip);
        if metadata.scope == "global" && !metadata.node.is_empty() {
            let reason = "no BGP Peer node name should be specified when scope is global";
            self.because("Metadata.Node", &metadata.node, reason);
        }
    }

    /// A host endpoint's.
    pub fn host_endpoint(&mut self, endpoint: &HostEndpoint) {
        let (metadata, spec) = (&endpoint.metadata, &endpoint.spec);
        self.text("Name", &metadata.name, is_namespaced_name);
        self.text("Node", &metadata.node, is_name);
        self.labels(&metadata.labels);
        self.text("InterfaceName", &spec.interface_name, is_interface);
        spec.expected_ips.iter().for_each(|address| self.address("ExpectedIPs", address));
        spec.profiles.iter().for_each(|profile| self.text("Profiles", profile, is_namespaced_name));
        self.ports(&spec.ports);
        if spec.interface_name.is_empty() && spec.expected_ips.is_empty() {
            self.because("InterfaceName", "", "no interface or expected IPs have been specified");
        }
    }

    /// A pool's.
    pub fn pool(&mut self, pool: &Pool) {
        let cidr = &pool.metadata.cidr;
        let Some(net) = self.net("CIDR", cidr) else { return };
        let ipip = pool.spec.ipip.clone().unwrap_or_default();
        self.text("Mode", &ipip.mode, |mode| matches!(mode, "always" | "cross-subnet"));
        let (is_v6, local) = match net {
            IpNet::V4(_) => (false, IpNet::from(IpAddr::from([169, 254, 0, 0]))),
            IpNet::V6(_) => (true, IpNet::from(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0]))),
        };
        if is_v6 && ipip.enabled {
            self.because("IPIP.Enabled", "true", "IPIP is not supported on an IPv6 IP pool");
        }
        if !pool.spec.disabled && net.max_prefix_len() - net.prefix_len() < 6 {
            let least = if is_v6 { 122 } else { 26 };
            let reason = format!("IP pool size is too small (min /{least}) for use with Calico IPAM");
            self.because("CIDR", cidr, &reason);
        }
        if net.trunc() != net {
            self.because("CIDR", cidr, "IP pool CIDR is not strictly masked");
        }
        let local = IpNet::new(local.addr(), if is_v6 { 10 } else { 16 }).unwrap_or(local);
        if local.contains(&net) || net.contains(&local) {
            let (family, range) = if is_v6 { ("IPv6", "fe80::/10") } else { ("IPv4", "169.254.0.0/16") };
            self.because(
                "CIDR",
                cidr,
                &format!("IP pool range overlaps with {family} Link Local range {range}"),
            );
        }
    }

    /// A node's.
    pub fn node(&mut self, node: &Node) {
        self.text("Name", &node.metadata.name, is_name);
        let Some(bgp) = &node.spec.bgp else { return };
        let (v4, v6) = (&bgp.ipv4_address, &bgp.ipv6_address);
        if v4.is_empty() && v6.is_empty() {
            self.because("BGP.IPv4Address", "<nil>", "no BGP IP address and subnet specified");
        }
        if !v4.is_empty() && self.net("BGP.IPv4Address", v4).is_some_and(|net| net.addr().is_ipv6()) {
            self.because("BGP.IPv4Address", v4, "invalid IPv4 address and subnet specified");
        }
        if !v6.is_empty() && self.net("BGP.IPv6Address", v6).is_some_and(|net| net.addr().is_ipv4()) {
            self.because("BGP.IPv6Address", v6, "invalid IPv6 address and subnet specified");
        }
    }

    /// A policy's.
    pub fn policy(&mut self, policy: &Policy) {
        let spec = &policy.spec;
        self.text("Name", &policy.metadata.name, is_namespaced_name);
        self.text("Tier", &policy.metadata.tier, is_namespaced_name);
        self.selector("Selector", &spec.selector);
        spec.types
            .iter()
            .for_each(|kind| self.text("Types", kind, |kind| matches!(kind, "ingress" | "egress")));
        self.rules(&spec.ingress);
        self.rules(&spec.egress);
        if spec.do_not_track && spec.pre_dnat {
            let reason = "PreDNAT and DoNotTrack cannot both be true, for a given PolicySpec";
            self.because("PolicySpec.PreDNAT", "true", reason);
        }
        if spec.pre_dnat && !spec.egress.is_empty() {
            let reason = "PreDNAT PolicySpec cannot have any EgressRules";
            self.because("PolicySpec.EgressRules", "", reason);
        }
        let types = format!("[{}]", spec.types.join(" "));
        if spec.pre_dnat && spec.types.iter().any(|kind| kind == "egress") {
            self.because("PolicySpec.Types", &types, "PreDNAT PolicySpec cannot have 'egress' Type");
        }
        for (at, kind) in spec.types.iter().enumerate() {
            if spec.types[..at].contains(kind) {
                self.because("PolicySpec.Types", &types, &format!("'{kind}' type specified more than once"));
            }
        }
    }

    /// A profile's.
    pub fn profile(&mut self, profile: &Profile) {
        self.text("Name", &profile.metadata.name, is_namespaced_name);
        self.labels(&profile.metadata.labels);
        profile.metadata.tags.iter().for_each(|tag| self.text("Tags", tag, is_name));
        self.rules(&profile.spec.ingress);
        self.rules(&profile.spec.egress);
    }

    /// A workload endpoint's.
    pub fn workload_endpoint(&mut self, endpoint: &WorkloadEndpoint) {
        let (metadata, spec) = (&endpoint.metadata, &endpoint.spec);
        for (field, name) in [("Name", &metadata.name), ("Workload", &metadata.workload)] {
            self.text(field, name, is_namespaced_name);
        }
        self.text("Orchestrator", &metadata.orchestrator, is_namespaced_name);
        self.text("Node", &metadata.node, is_name);
        self.text("ActiveInstanceID", &metadata.active_instance_id, is_name);
        self.labels(&metadata.labels);
        self.text("InterfaceName", &spec.interface_name, is_interface);
        if spec.interface_name.is_empty() {
            self.refuse("InterfaceName", "");
        }
        spec.profiles.iter().for_each(|profile| self.text("Profiles", profile, is_namespaced_name));
        self.ports(&spec.ports);
        let nets: Vec<_> = spec.ip_networks.iter().filter_map(|text| self.net("IPNetworks", text)).collect();
        if nets.iter().any(|net| net.prefix_len() != net.max_prefix_len()) {
            let shown = format!("[{}]", spec.ip_networks.join(" "));
            self.because("IPNetworks", &shown, "IP network contains multiple addresses");
        }
        let is_other = |text: &str, other: fn(&IpAddr) -> bool| {
            text.parse().is_ok_and(|address: IpAddr| other(&address))
        };
        for (field, gateway, other, version) in [
            ("IPv4Gateway", &spec.ipv4_gateway, IpAddr::is_ipv6 as fn(&IpAddr) -> bool, 4),
            ("IPv6Gateway", &spec.ipv6_gateway, IpAddr::is_ipv4, 6),
        ] {
            self.address(field, gateway);
            if is_other(gateway, other) {
                self.because(field, gateway, &format!("invalid IPv{version} gateway address specified"));
            }
        }
        for nat in &spec.ip_nats {
            self.address("InternalIP", &nat.internal_ip);
            self.address("ExternalIP", &nat.external_ip);
            let (Ok(inside), Ok(outside)) = (nat.internal_ip.parse(), nat.external_ip.parse()) else {
                continue;
            };
            let (inside, outside): (IpAddr, IpAddr) = (inside, outside);
            if inside.is_ipv4() != outside.is_ipv4() {
                self.because("ExternalIP", &nat.external_ip, "mismatched IP versions");
            }
            if !nets.iter().any(|net| net.contains(&inside)) {
                let shown = format!("[{inside}<>{outside}]");
                self.because("IPNATs", &shown, "NAT is not in the endpoint networks");
            }
        }
    }

    fn rules(&mut self, rules: &[Rule]) {
        rules.iter().for_each(|rule| self.rule(rule));
    }

    fn rule(&mut self, rule: &Rule) {
        if !matches!(rule.action.as_str(), "allow" | "deny" | "log" | "pass") {
            self.refuse("Action", &rule.action);
        }
        if let Some(version) = rule.ip_version.filter(|version| !matches!(version, 4 | 6)) {
            self.refuse("IPVersion", &version.to_string());
        }
        for protocol in [&rule.protocol, &rule.not_protocol].into_iter().flatten() {
            match protocol.number() {
                Some(0) => self.because("Protocol", "0", "protocol number invalid"),
                None => self.because("Protocol", &protocol.to_string(), "protocol name invalid"),
                Some(_) => {}
            }
        }
        for icmp in [&rule.icmp, &rule.not_icmp].into_iter().flatten() {
            if let (Some(code), None) = (icmp.code, icmp.icmp_type) {
                self.because("Code", &code.to_string(), "ICMP code specified without an ICMP type");
            }
        }
        let has_ports = rule.protocol.as_ref().is_some_and(Protocol::has_ports);
        let sides = [("Source", &rule.source), ("Destination", &rule.destination)];
        let mut seen: Option<bool> = None;
        for (side, entity) in sides {
            let Entity {
                tag,
                net: _,
                nets: _,
                selector,
                ports,
                not_tag,
                not_net: _,
                not_nets: _,
                not_selector,
                not_ports,
            } = entity;
            self.text("Tag", tag, is_name);
            self.text("NotTag", not_tag, is_name);
            self.selector("Selector", selector);
            self.selector("NotSelector", not_selector);
            for (field, ports) in [("Ports", ports), ("NotPorts", not_ports)] {
                if !has_ports && !ports.is_empty() {
                    let shown: Vec<_> = ports.iter().map(ToString::to_string).collect();
                    let reason = "rules that specify ports must set protocol to TCP or UDP or SCTP";
                    self.because(&format!("{side}.{field}"), &format!("[{}]", shown.join(" ")), reason);
                }
            }
            self.nets(rule, (side, entity), &mut seen);
        }
        let any = |one: fn(&Entity) -> bool| sides.iter().any(|(_, entity)| one(entity));
        if any(|entity| entity.net.is_some() || entity.not_net.is_some())
            && any(|entity| !entity.nets.is_empty() || !entity.not_nets.is_empty())
        {
            self.because("Source/Destination.Net/Nets", "[]", "only one of Net and Nets fields allowed");
        }
    }

    /// All networks of a rule are of one family, and of the rule's; `seen` says whether a network before was IPv6.
    fn nets(&mut self, rule: &Rule, (side, entity): (&str, &Entity), seen: &mut Option<bool>) {
        for (field, net, nets) in
            [("Net(s)", &entity.net, &entity.nets), ("NotNet(s)", &entity.not_net, &entity.not_nets)]
        {
            let field = format!("{side}.{field}");
            let texts: Vec<&String> = nets.iter().chain(net).collect();
            let read: Vec<IpNet> = texts.iter().filter_map(|text| self.net(&field, text)).collect();
            let shown = format!("{:?}", texts).replace(['"', ','], "");
            let is_v6 = |net: &IpNet| net.addr().is_ipv6();
            if read.iter().any(|net| rule.ip_version.is_some_and(|version| (version == 6) != is_v6(net))) {
                self.because(&field, &shown, "rule IP version doesn't match CIDR version");
            }
            let first = seen.or(read.first().map(is_v6));
            if read.iter().any(|net| Some(is_v6(net)) != first) {
                self.because(&field, &shown, "rule contains both IPv4 and IPv6 CIDRs");
            }
            *seen = first;
        }
    }
}

fn has_letters(text: &str, most: usize, beside: &[u8]) -> bool {
    (1..=most).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || beside.contains(&byte))
}

fn is_name(text: &str) -> bool {
    has_letters(text, 128, b"_.-")
}

fn is_namespaced_name(text: &str) -> bool {
    has_letters(text, 128, b"_./-")
}

fn is_interface(text: &str) -> bool {
    text == "*" || has_letters(text, 15, b"_.-")
}
