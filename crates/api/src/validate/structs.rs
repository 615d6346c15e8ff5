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
        let last = field.rsplit('.').next().unwrap_or_default();
        let last = if last.is_empty() { self.path.rsplit('.').next().unwrap_or_default() } else { last };
        let name = go_field(last.split('[').next().unwrap_or_default());
        self.named(field, &name, found, reason);
    }

    /// The same under the name that Calico's messages have for it.
    fn named(&mut self, field: &str, name: &str, found: &str, reason: &str) {
        let path = match (self.path, field) {
            ("", field) => field.to_owned(),
            (path, "") => path.to_owned(),
            (path, field) => format!("{path}.{field}"),
        };
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
        "NetworkPolicySpec" | "StagedNetworkPolicySpec" => policy(view, report, false),
        "GlobalNetworkPolicySpec" | "StagedGlobalNetworkPolicySpec" => policy(view, report, true),
        "EndpointPort" | "WorkloadEndpointPort" => endpoint_port(go_name, view, report),
        "WorkloadEndpointSpec" => workload_endpoint(view, report),
        "NodeSpec" => node(view, report),
        "BGPPeerSpec" => peer(view, report),
        "BGPConfigurationSpec" => bgp_configuration(view, report),
        "BGPFilterOperation" => filter_operation(view, report),
        "NetworkSet" | "GlobalNetworkSet" => network_set(view, report),
        "FelixConfigurationSpec" => felix(view, report),
        "ProtoPort" => proto_port(view, report),
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
    let mut seen = (false, false);
    for side in ["source", "destination"] {
        let Some(entity) = rule.object(side) else { continue };
        let name = |field: &str| format!("{}.{}", go_field(side), go_field(field));
        for field in ["ports", "notPorts"] {
            if entity.full(field) && !ports {
                let found = go_text(&entity.0[field]);
                report.named(&format!("{side}.{field}"), &name(field), &found, PORTS_NEED_PROTOCOL);
            }
        }
        for field in ["nets", "notNets"] {
            let (v4, v6) = families_of(entity, field);
            let version = rule.int("ipVersion");
            let mut blame = |found: &str, reason| {
                report.named(&format!("{side}.{field}"), &name(field), found, reason);
            };
            if (version == Some(6) && v4) || (version == Some(4) && v6) {
                // Whichever field it is, Calico shows this one.
                let nets = rule.object("source").and_then(|source| source.0.get("nets"));
                let found = nets.map_or_else(|| "[]".to_owned(), go_text);
                blame(&found, "rule IP version doesn't match CIDR version");
            }
            if (v4 && (v6 || seen.1)) || (v6 && seen.0) {
                blame(&go_text(&entity.0[field]), "rule contains both IPv4 and IPv6 CIDRs");
            }
            seen = (seen.0 || v4, seen.1 || v6);
        }
    }
}

/// A value as Go prints it: texts without quotes, lists in brackets, what isn't set as `<nil>`.
fn go_text(value: &Value) -> String {
    let all = |values: &mut dyn Iterator<Item = &Value>| values.map(go_text).collect::<Vec<_>>().join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Array(items) => format!("[{}]", all(&mut items.iter())),
        Value::Object(fields) => format!("{{{}}}", all(&mut fields.values())),
        other => plain(other),
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
    let selector = entity.text("namespaceSelector");
    if selector.contains("global(") && selector != "global()" {
        let alone = selector.split_whitespace().collect::<String>() == "global()";
        if !alone {
            let reason = "global() cannot be combined with other selectors";
            report.named("namespaceSelector", "NamespaceSelector field", selector, reason);
        }
    }
}

fn http(http: View<'_>, report: &mut Report<'_>) {
    let methods: Vec<&str> = http.texts("methods").collect();
    if (1..methods.len()).any(|at| methods[..at].contains(&methods[at])) {
        let found = format!("[{}]", methods.join(" "));
        report.field("methods", &found, &format!("Invalid methods (duplicates): {found}"));
    }
    for path in http.list("paths").iter().filter_map(Value::as_object).map(View) {
        let text = if path.full("exact") { path.text("exact") } else { path.text("prefix") };
        let reason = match (path.full("exact"), path.full("prefix")) {
            (true, true) => "Invalid path match. Both 'exact' and 'prefix' are set".to_owned(),
            (false, false) => "Invalid path match. Either 'exact' or 'prefix' must be set".to_owned(),
            _ if !text.starts_with('/') || text.contains(['?', '#', ' ']) => {
                format!("Invalid path {text}. (must start with `/` and not contain `?` or `#`")
            }
            _ => continue,
        };
        let found = http.list("paths").iter().map(|path| {
            let part = |name: &str| path[name].as_str().unwrap_or_default();
            format!("{{{} {}}}", part("exact"), part("prefix"))
        });
        report.field("paths", &format!("[{}]", found.collect::<Vec<_>>().join(" ")), &reason);
        return;
    }
}

/// A service may only be the far side; a global policy must say in which namespace it is. What the application says is known of
/// what comes in only.
fn policy(spec: View<'_>, report: &mut Report<'_>, global: bool) {
    let types: Vec<&str> = spec.texts("types").collect();
    for (at, word) in types.iter().enumerate().filter(|(at, word)| types[..*at].contains(word)) {
        let name = if global { "GlobalNetworkPolicySpec.Types" } else { "NetworkPolicySpec.Types" };
        let found = format!("[{}]", types.join(" "));
        report.named(
            &format!("types[{at}]"),
            name,
            &found,
            &format!("'{word}' type specified more than once"),
        );
    }
    for (direction, far, near) in [("egress", "destination", "source"), ("ingress", "source", "destination")]
    {
        for (at, rule) in spec.list(direction).iter().enumerate() {
            let Some(rule) = rule.as_object().map(View) else { continue };
            let services = |side: &str| rule.object(side).and_then(|entity| entity.object("services"));
            if let Some(services) = services(near) {
                let reason = format!("not allowed in {direction} rule {near}");
                let found = format!("&{{{} {}}}", services.text("name"), services.text("namespace"));
                report.named(&format!("{direction}[{at}].{near}.services"), "Services", &found, &reason);
            }
            if let Some(http) = rule.object("http").filter(|_| direction == "egress") {
                let reason =
                    if global { "not allowed in egress rules" } else { "not allowed in egress rule" };
                let found = format!("&{}", go_text(&Value::Object(http.0.clone())));
                report.named(&format!("{direction}[{at}].http"), "HTTP", &found, reason);
            }
            if let Some(services) = services(far)
                && global
                && !services.full("namespace")
            {
                let field = format!("{direction}[{at}].{far}.services.namespace");
                report.named(&field, "Namespace", "", "must specify a namespace");
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

fn endpoint_port(go_name: &str, port: View<'_>, report: &mut Report<'_>) {
    if let Some(protocol) = port.0.get("protocol") {
        if let Some(reason) = bad_protocol(protocol) {
            report.field("protocol", &plain(protocol), reason);
        } else if !has_ports(protocol) {
            let reason = format!("{go_name} protocol does not support ports.");
            report.named("protocol", &format!("{go_name}.Protocol"), &plain(protocol), &reason);
        }
    }
    if go_name == "WorkloadEndpointPort"
        && !port.full("name")
        && port.int("hostPort").unwrap_or_default() == 0
    {
        let reason = "WorkloadEndpointPort name must not be empty if no HostPort is specified";
        report.named("name", "WorkloadEndpointPort.Name", "", reason);
    }
}

fn workload_endpoint(spec: View<'_>, report: &mut Report<'_>) {
    let all = spec.0.get("ipNetworks").map(go_text).unwrap_or_default();
    for (at, net) in spec.texts("ipNetworks").enumerate() {
        if net.parse::<IpNet>().is_ok_and(|net| net.prefix_len() != net.max_prefix_len()) {
            report.field(&format!("ipNetworks[{at}]"), &all, "IP network contains multiple addresses");
        }
    }
    let address = |net: &str| net.split('/').next().unwrap_or_default().parse::<std::net::IpAddr>().ok();
    let own: Vec<_> = spec.texts("ipNetworks").filter_map(address).collect();
    let nats: Vec<(&str, &str)> = spec
        .list("ipNATs")
        .iter()
        .filter_map(Value::as_object)
        .map(|nat| (View(nat).text("internalIP"), View(nat).text("externalIP")))
        .collect();
    for (at, (internal, external)) in nats.iter().enumerate() {
        let pair = address(internal).zip(address(external));
        if pair.is_some_and(|(internal, external)| internal.is_ipv4() != external.is_ipv4()) {
            report.field(&format!("ipNATs[{at}].externalIP"), external, "mismatched IP versions");
        }
    }
    if nats.iter().any(|(internal, _)| address(internal).is_some_and(|internal| !own.contains(&internal))) {
        let found: Vec<String> =
            nats.iter().map(|(internal, external)| format!("{{{internal} {external}}}")).collect();
        report.named(
            "ipNATs",
            "IPNATs",
            &format!("[{}]", found.join(" ")),
            "NAT is not in the endpoint networks",
        );
    }
}

fn node(spec: View<'_>, report: &mut Report<'_>) {
    if spec
        .object("bgp")
        .is_some_and(|bgp| !bgp.0.keys().any(|field| bgp.full(field) || bgp.int(field).is_some()))
    {
        report.named("bgp", "BGP", "&{<nil>    }", "Spec.BGP should not be empty");
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
        report.field("reachableBy", gateway, "ReachableBy and PeerIP address family mismatched");
    }
}

fn bgp_configuration(spec: View<'_>, report: &mut Report<'_>) {
    let mut names = Vec::new();
    for (at, community) in spec.list("communities").iter().enumerate() {
        let Some(community) = community.as_object().map(View) else { continue };
        names.push(community.text("name"));
        if let Some(reason) = community_reason(community.text("value")) {
            let field = format!("communities[{at}].value");
            report.named(&field, "Spec.Communities[].Value", community.text("value"), reason);
        }
    }
    for (at, advertisement) in spec.list("prefixAdvertisements").iter().enumerate() {
        let Some(advertisement) = advertisement.as_object().map(View) else { continue };
        for (index, community) in advertisement.texts("communities").enumerate() {
            let reason = match community_reason(community) {
                Some(NO_COMMUNITY) if names.contains(&community) => continue,
                Some(NO_COMMUNITY) => "community used is invalid or not defined.",
                Some(reason) => reason,
                None => continue,
            };
            let field = format!("prefixAdvertisements[{at}].communities[{index}]");
            report.named(&field, "Spec.PrefixAdvertisement[].Communities[]", community, reason);
        }
    }
}

const NO_COMMUNITY: &str = "invalid community value or format used.";

/// What is wrong with a community of BGP.
fn community_reason(text: &str) -> Option<&'static str> {
    let parts: Vec<&str> = text.split(':').collect();
    let numbers = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    match parts.len() {
        2 if numbers => parts.iter().any(|part| part.parse::<u16>().is_err()).then_some(STANDARD_COMMUNITY),
        3 if numbers => parts.iter().any(|part| part.parse::<u32>().is_err()).then_some(LARGE_COMMUNITY),
        _ => Some(NO_COMMUNITY),
    }
}

const STANDARD_COMMUNITY: &str = "invalid community value, expected 16 bit value";
const LARGE_COMMUNITY: &str = "invalid community value, expected 32 bit value";

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
        let reason = "projectcalico.org/namespace is not a valid label name";
        report.named("metadata.labels", "Metadata.Labels (label)", NAMESPACE, reason);
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
        let reason = "protocol must be 'TCP' or 'UDP' or 'SCTP'.";
        report.named("protocol", "ProtoPort.Protocol", protocol, reason);
    }
    if port.int("port") == Some(0) {
        report.field("port", "0", PORT_RANGE);
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
