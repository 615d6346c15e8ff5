//! What Calico's validator asks of whole objects and parts of them, beyond the schema.
//!
//! Each rule belongs to one type, by its name in Go, and names the field that it blames.

use ipnet::IpNet;
use serde_json::Value;

use super::check::{self, go_field, plain};
use super::view::View;
use crate::fault::Fault;
use crate::value::{Port, Protocol};

/// Takes the faults of one object, with the object's path before theirs.
pub struct Report<'faults> {
    /// The object's path.
    pub path: &'faults str,
    /// All faults so far.
    pub faults: &'faults mut Vec<Fault>,
}

impl Report<'_> {
    /// Blames a field, `ports[0]` or `bgp.ipv4Address`, and shows its value.
    fn field(&mut self, field: &str, found: &str, reason: &str) {
        let path = match (self.path, field) {
            ("", field) => field.to_owned(),
            (path, "") => path.to_owned(),
            (path, field) => format!("{path}.{field}"),
        };
        let last = path.rsplit('.').next().unwrap_or_default();
        let name = go_field(last.split('[').next().unwrap_or_default());
        let message = format!("error with field {name} = '{found}' ({reason})");
        let found = if found.is_empty() { "nothing" } else { found };
        self.faults.push(Fault::new(&path, message).found(found).expected(reason));
    }
}

/// Runs the rules of a type.
pub fn run(go_name: &str, view: View<'_>, report: &mut Report<'_>) {
    match go_name {
        "Rule" => rule(view, report),
        "EntityRule" => entity(view, report),
        "HTTPMatch" => http(view, report),
        "NetworkPolicySpec" | "StagedNetworkPolicySpec" => services(view, report, false),
        "GlobalNetworkPolicySpec" | "StagedGlobalNetworkPolicySpec" => services(view, report, true),
        "EndpointPort" | "WorkloadEndpointPort" => endpoint_port(view, report),
        "WorkloadEndpointSpec" => workload_endpoint(view, report),
        "NodeSpec" => node(view, report),
        "BGPPeerSpec" => peer(view, report),
        "BGPConfigurationSpec" => bgp_configuration(view, report),
        "BGPFilterRuleV4" | "BGPFilterRuleV6" => filter_rule(view, report),
        "BGPFilterOperation" => filter_operation(view, report),
        "NetworkSet" | "GlobalNetworkSet" => network_set(view, report),
        "FelixConfigurationSpec" => felix(view, report),
        "ProtoPort" => proto_port(view, report),
        "IPPoolSpec" => pool(view, report),
        "ProfileSpec" => profile(view, report),
        _ => {}
    }
}

const PORTS_NEED_PROTOCOL: &str = "rules that specify ports must set protocol to TCP or UDP or SCTP";
const PORT_RANGE: &str = "port range invalid, port number must be between 1 and 65535";

fn rule(rule: View<'_>, report: &mut Report<'_>) {
    for field in ["protocol", "notProtocol"] {
        if let Some(reason) = rule.0.get(field).and_then(bad_protocol) {
            report.field(field, &plain(&rule.0[field]), reason);
        }
    }
    let ports = rule.0.get("protocol").is_some_and(has_ports);
    let mut families = (false, false);
    for side in ["source", "destination"] {
        let Some(entity) = rule.object(side) else { continue };
        for field in ["ports", "notPorts"] {
            if entity.full(field) && !ports {
                report.field(&format!("{side}.{field}"), &plain(&entity.0[field]), PORTS_NEED_PROTOCOL);
            }
        }
        for field in ["nets", "notNets"] {
            let (v4, v6) = families_of(entity, field);
            families = (families.0 || v4, families.1 || v6);
            let version = rule.int("ipVersion");
            if (version == Some(6) && v4) || (version == Some(4) && v6) {
                report.field(
                    &format!("{side}.{field}"),
                    &plain(&entity.0[field]),
                    "rule IP version doesn't match CIDR version",
                );
            }
        }
    }
    if families == (true, true) {
        report.field("", &plain(&Value::Object(rule.0.clone())), "rule contains both IPv4 and IPv6 CIDRs");
    }
}

fn families_of(entity: View<'_>, field: &str) -> (bool, bool) {
    let v6 = |net: &str| net.contains(':');
    (entity.texts(field).any(|net| !v6(net)), entity.texts(field).any(v6))
}

fn entity(entity: View<'_>, report: &mut Report<'_>) {
    for (at, net) in entity.texts("notNets").enumerate() {
        if net.parse::<IpNet>().is_ok_and(|net| net.prefix_len() == 0) {
            report.field(
                &format!("notNets[{at}]"),
                net,
                "catch-all CIDR is not allowed in notNets: nothing would match",
            );
        }
    }
    for field in ["ports", "notPorts"] {
        for (at, port) in entity.list(field).iter().enumerate() {
            if let Some(reason) = bad_port(port) {
                report.field(&format!("{field}[{at}]"), &plain(port), reason);
            }
        }
    }
    if let Some(accounts) = entity.object("serviceAccounts") {
        for (at, name) in accounts.texts("names").enumerate() {
            if !check::is_name(name) {
                report.field(
                    &format!("serviceAccounts.names[{at}]"),
                    name,
                    "name is not a valid service account name",
                );
            }
        }
    }
}

fn http(http: View<'_>, report: &mut Report<'_>) {
    for (at, path) in http.list("paths").iter().enumerate() {
        let Some(path) = path.as_object().map(View) else { continue };
        if path.full("exact") == path.full("prefix") {
            report.field(
                &format!("paths[{at}]"),
                &plain(&Value::Object(path.0.clone())),
                "one of exact or prefix must be set, and not both",
            );
            continue;
        }
        for field in ["exact", "prefix"] {
            if path.full(field)
                && (!path.text(field).starts_with('/') || path.text(field).contains(['?', '#', ' ']))
            {
                report.field(
                    &format!("paths[{at}].{field}"),
                    path.text(field),
                    "must be a URL path: start with / and have no query or fragment",
                );
            }
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for (at, method) in http.texts("methods").enumerate() {
        if seen.contains(&method) {
            report.field(&format!("methods[{at}]"), method, "duplicate method");
        }
        seen.push(method);
    }
}

/// A service may only be the far side; a global policy must say in which namespace it is.
fn services(spec: View<'_>, report: &mut Report<'_>, global: bool) {
    for (direction, far, near) in [("ingress", "source", "destination"), ("egress", "destination", "source")]
    {
        for (at, rule) in spec.list(direction).iter().enumerate() {
            let Some(rule) = rule.as_object().map(View) else { continue };
            let services = |side: &str| rule.object(side).and_then(|entity| entity.object("services"));
            if let Some(services) = services(near) {
                let reason = format!("not allowed in {direction} rule");
                report.field(
                    &format!("{direction}[{at}].{near}.services"),
                    &plain(&Value::Object(services.0.clone())),
                    &reason,
                );
            }
            if let Some(services) = services(far)
                && global
                && !services.full("namespace")
            {
                report.field(
                    &format!("{direction}[{at}].{far}.services"),
                    &plain(&Value::Object(services.0.clone())),
                    "must specify a namespace",
                );
            }
        }
    }
}

fn bad_protocol(protocol: &Value) -> Option<&'static str> {
    match (protocol.as_i64(), protocol.as_str()) {
        (Some(number), _) => (!(1..=255).contains(&number)).then_some("protocol number invalid"),
        (None, Some(name)) => {
            let known = name.parse::<Protocol>().is_ok_and(|protocol| protocol.number().is_some());
            (!known).then_some("protocol name invalid")
        }
        _ => None,
    }
}

fn has_ports(protocol: &Value) -> bool {
    serde_json::from_value::<Protocol>(protocol.clone()).is_ok_and(|protocol| protocol.has_ports())
}

fn bad_port(port: &Value) -> Option<&'static str> {
    match serde_json::from_value::<Port>(port.clone()) {
        Ok(Port::Range(0, _) | Port::Range(_, 0)) => Some(PORT_RANGE),
        _ => None,
    }
}

fn endpoint_port(port: View<'_>, report: &mut Report<'_>) {
    let Some(protocol) = port.0.get("protocol") else { return };
    if let Some(reason) = bad_protocol(protocol) {
        report.field("protocol", &plain(protocol), reason);
    } else if !has_ports(protocol) {
        report.field("protocol", &plain(protocol), "EndpointPort protocol does not support ports.");
    }
}

fn workload_endpoint(spec: View<'_>, report: &mut Report<'_>) {
    for (at, net) in spec.texts("ipNetworks").enumerate() {
        if net.parse::<IpNet>().is_ok_and(|net| net.prefix_len() != net.max_prefix_len()) {
            report.field(&format!("ipNetworks[{at}]"), net, "IP network contains multiple addresses");
        }
    }
    let address = |net: &str| net.split('/').next().unwrap_or_default().parse::<std::net::IpAddr>().ok();
    let own: Vec<_> = spec.texts("ipNetworks").filter_map(address).collect();
    for (at, nat) in spec.list("ipNATs").iter().enumerate() {
        let Some(nat) = nat.as_object().map(View) else { continue };
        let (internal, external) = (address(nat.text("internalIP")), address(nat.text("externalIP")));
        if internal.is_some_and(|internal| !own.contains(&internal)) {
            report.field(
                &format!("ipNATs[{at}].internalIP"),
                nat.text("internalIP"),
                "NAT is not in the endpoint networks",
            );
        }
        if internal.zip(external).is_some_and(|(internal, external)| internal.is_ipv4() != external.is_ipv4())
        {
            report.field(
                &format!("ipNATs[{at}].externalIP"),
                nat.text("externalIP"),
                "mismatched IP versions",
            );
        }
    }
}

fn node(spec: View<'_>, report: &mut Report<'_>) {
    if let Some(bgp) = spec.object("bgp")
        && !bgp.full("ipv4Address")
        && !bgp.full("ipv6Address")
    {
        report.field("bgp", "", "no BGP IP address and subnet configured");
    }
}

fn peer(spec: View<'_>, report: &mut Report<'_>) {
    let address = spec.text("peerIP");
    let bare = match address.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if check::is_ip(address) => address,
        None => address.split(':').next().unwrap_or_default(),
    };
    let gateway = spec.text("reachableBy");
    if check::is_ip(gateway) && check::is_ip(bare) && check::is_ipv4(gateway) != check::is_ipv4(bare) {
        report.field("reachableBy", gateway, "reachableBy and peerIP address family mismatched");
    }
}

fn bgp_configuration(spec: View<'_>, report: &mut Report<'_>) {
    let mut names = Vec::new();
    for (at, community) in spec.list("communities").iter().enumerate() {
        let Some(community) = community.as_object().map(View) else { continue };
        names.push(community.text("name"));
        if community.full("value") && !check::is_community(community.text("value")) {
            report.field(
                &format!("communities[{at}].value"),
                community.text("value"),
                "invalid community value",
            );
        }
    }
    for (at, advertisement) in spec.list("prefixAdvertisements").iter().enumerate() {
        let Some(advertisement) = advertisement.as_object().map(View) else { continue };
        for (index, community) in advertisement.texts("communities").enumerate() {
            if !check::is_community(community) && !names.contains(&community) {
                report.field(
                    &format!("prefixAdvertisements[{at}].communities[{index}]"),
                    community,
                    "community used is invalid or undefined",
                );
            }
        }
    }
}

fn filter_rule(rule: View<'_>, report: &mut Report<'_>) {
    let Some(lengths) = rule.object("prefixLength") else { return };
    if let (Some(min), Some(max)) = (lengths.int("min"), lengths.int("max"))
        && min > max
    {
        report.field("prefixLength.min", &min.to_string(), "min must not be greater than max");
    }
}

fn filter_operation(operation: View<'_>, report: &mut Report<'_>) {
    let set =
        ["addCommunity", "prependASPath", "setPriority"].iter().filter(|field| operation.has(field)).count();
    if set != 1 {
        report.field("", &plain(&Value::Object(operation.0.clone())), "exactly one operation must be set");
    }
}

fn network_set(object: View<'_>, report: &mut Report<'_>) {
    const NAMESPACE: &str = "projectcalico.org/namespace";
    let labels = object.object("metadata").and_then(|metadata| metadata.object("labels"));
    if labels.is_some_and(|labels| labels.has(NAMESPACE)) {
        report.field("metadata.labels", NAMESPACE, "label is not permitted on a network set");
    }
}

fn felix(spec: View<'_>, report: &mut Report<'_>) {
    for field in ["natPortRange", "bpfPSNATPorts"] {
        if let Some(port) = spec.0.get(field) {
            let named = port.as_str().is_some_and(|text| matches!(text.parse(), Ok(Port::Named(_))));
            if named || bad_port(port).is_some() {
                report.field(field, &plain(port), PORT_RANGE);
            }
        }
    }
    for (at, port) in spec.list("kubeNodePortRanges").iter().enumerate() {
        if bad_port(port).is_some() {
            report.field(&format!("kubeNodePortRanges[{at}]"), &plain(port), PORT_RANGE);
        }
    }
}

fn proto_port(port: View<'_>, report: &mut Report<'_>) {
    let protocol = port.text("protocol");
    let known = ["", "tcp", "udp", "sctp"].iter().any(|known| known.eq_ignore_ascii_case(protocol));
    if !known {
        report.field("protocol", protocol, "protocol must be one of: TCP, UDP, SCTP");
    }
    if port.int("port") == Some(0) {
        report.field("port", "0", PORT_RANGE);
    }
}

fn pool(spec: View<'_>, report: &mut Report<'_>) {
    if let Ok(cidr) = spec.text("cidr").parse::<IpNet>()
        && (cidr.addr().is_multicast() || cidr.addr().is_unspecified())
    {
        report.field("cidr", spec.text("cidr"), "IP pool is not a routable range");
    }
}

fn profile(spec: View<'_>, report: &mut Report<'_>) {
    let Some(labels) = spec.object("labelsToApply") else { return };
    for (key, value) in labels.0 {
        let value = value.as_str().unwrap_or_default();
        let key_ok = crate::selector::is_label_name(key);
        if !key_ok || !super::metadata::is_label_value(value) {
            report.field(
                "labelsToApply",
                &format!("{key}: {value}"),
                &check::tag_reason("labelsToApply", "labels"),
            );
        }
    }
}
