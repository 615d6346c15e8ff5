//! Random rules and selectors, with a theme: a field that most rules of a cluster have, so that
//! every field decides its share of the packets.

use fastrand::Rng;
use tortie_api::policy::{EntityRule, IcmpFields, Rule, ServiceAccountMatch, ServiceMatch};
use tortie_api::value::{Port, Protocol};

use crate::random::{LABELS, NAMESPACES, SERVICES, VALUES, net, pick};

/// What most rules of a cluster say something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Theme {
    /// `ipVersion`
    IpVersion,
    /// `protocol`
    Protocol,
    /// `notProtocol`
    NotProtocol,
    /// `icmp`
    Icmp,
    /// `notICMP`
    NotIcmp,
    /// `nets`
    Nets,
    /// `notNets`
    NotNets,
    /// `selector`
    Selector,
    /// `notSelector`
    NotSelector,
    /// `namespaceSelector`
    NamespaceSelector,
    /// `serviceAccounts`
    ServiceAccounts,
    /// `services`
    Services,
    /// `ports`: numbers and ranges
    Ports,
    /// `ports`: names
    NamedPorts,
    /// `notPorts`
    NotPorts,
    /// Rules that pass and log
    PassAndLog,
    /// Few rules, so that defaults decide
    Defaults,
}

impl Theme {
    /// A theme; those whose field seldom decides come more often.
    pub fn pick(random: &mut Rng) -> Self {
        let rare = [
            Self::Icmp,
            Self::Icmp,
            Self::NotIcmp,
            Self::ServiceAccounts,
            Self::ServiceAccounts,
            Self::ServiceAccounts,
            Self::NamedPorts,
            Self::NamedPorts,
            Self::NamedPorts,
            Self::Ports,
            Self::NotPorts,
            Self::NotNets,
        ];
        let all: Vec<Self> = Self::ALL.into_iter().chain(rare).chain(rare).collect();
        pick(random, &all)
    }

    /// All themes.
    pub const ALL: [Self; 17] = [
        Self::IpVersion,
        Self::Protocol,
        Self::NotProtocol,
        Self::Icmp,
        Self::NotIcmp,
        Self::Nets,
        Self::NotNets,
        Self::Selector,
        Self::NotSelector,
        Self::NamespaceSelector,
        Self::ServiceAccounts,
        Self::Services,
        Self::Ports,
        Self::NamedPorts,
        Self::NotPorts,
        Self::PassAndLog,
        Self::Defaults,
    ];
}

/// Rules of one direction: up to five, often none.
pub fn rules(random: &mut Rng, theme: Theme, namespace: Option<&str>) -> Vec<Rule> {
    let most = if theme == Theme::Defaults { 2 } else { 6 };
    (0..random.usize(0..most)).map(|_| rule(random, theme, namespace)).collect()
}

/// A rule that the API takes.
pub fn rule(random: &mut Rng, theme: Theme, namespace: Option<&str>) -> Rule {
    let mut rule = Rule::default();
    let actions: &[&str] = if theme == Theme::PassAndLog {
        &["Allow", "Deny", "Pass", "Pass", "Log", "Log"]
    } else {
        &["Allow", "Allow", "Allow", "Deny", "Deny", "Pass", "Log"]
    };
    rule.action = pick(random, actions).to_owned();
    let wants = |random: &mut Rng, of: Theme, odds: u8| {
        if theme == of { random.u8(0..5) > 0 } else { random.u8(0..odds) == 0 }
    };
    let v6 = random.u8(0..3) == 0;
    if wants(random, Theme::Icmp, 16) || wants(random, Theme::NotIcmp, 16) {
        rule.protocol = Some(Protocol::Name(if v6 { "ICMPv6" } else { "ICMP" }.into()));
        let fields = IcmpFields {
            icmp_type: Some(if v6 { pick(random, &[128, 1]) } else { pick(random, &[8, 3]) }),
            code: pick(random, &[None, Some(0), Some(4)]),
        };
        if theme == Theme::NotIcmp || theme != Theme::Icmp && random.bool() {
            rule.not_icmp = Some(fields);
        } else {
            rule.icmp = Some(fields);
        }
    } else {
        layer4(random, &mut rule, theme, wants);
    }
    if wants(random, Theme::IpVersion, 10) {
        rule.ip_version = match rule.protocol.as_ref().and_then(Protocol::number) {
            Some(1) => Some(4),
            Some(58) => Some(6),
            _ => Some(if v6 { 6 } else { 4 }),
        };
    }
    if rule.not_protocol.is_none() && wants(random, Theme::NotProtocol, 12) {
        let named = |name: &str| Protocol::Name(name.into());
        rule.not_protocol = Some(match (rule.ip_version, random.u8(0..4)) {
            (None | Some(4), 0) => named("ICMP"),
            (_, 1) => named("UDP"),
            (_, 2) => Protocol::Number(132),
            _ => named("TCP"),
        });
    }
    let family = match rule.ip_version {
        Some(version) => version == 6,
        None => rule.protocol.as_ref().and_then(Protocol::number) == Some(58) || v6 && rule.icmp.is_none(),
    };
    let family = family && rule.protocol.as_ref().and_then(Protocol::number) != Some(1);
    entity(random, &mut rule.source, namespace, family, wants);
    entity(random, &mut rule.destination, namespace, family, wants);
    if wants(random, Theme::Services, 60) {
        // It stands alone on its side.
        let side = if random.bool() { &mut rule.source } else { &mut rule.destination };
        let of = match namespace {
            Some(own) => pick(random, &["", own, "bank"]),
            None => pick(random, &NAMESPACES),
        };
        let services = ServiceMatch { name: pick(random, &SERVICES).to_owned(), namespace: of.to_owned() };
        *side = EntityRule { services: Some(services), ..EntityRule::default() };
    }
    rule
}

fn layer4(random: &mut Rng, rule: &mut Rule, theme: Theme, wants: impl Fn(&mut Rng, Theme, u8) -> bool) {
    let ports = wants(random, Theme::Ports, 5);
    let named = wants(random, Theme::NamedPorts, 10);
    let not = wants(random, Theme::NotPorts, 10);
    if ports || named || not {
        // A port by its name alone, as ClusterNetworkPolicy has them.
        let by_name = named && !ports && random.u8(0..4) == 0;
        rule.protocol = (!by_name).then(|| with_ports(random));
    } else if wants(random, Theme::Protocol, 4) {
        let any = [
            Protocol::Name("TCP".into()),
            Protocol::Name("UDP".into()),
            Protocol::Number(6),
            Protocol::Number(47),
        ];
        let more = [
            Protocol::Name("SCTP".into()),
            Protocol::Name("UDPLite".into()),
            Protocol::Number(1),
            Protocol::Number(58),
        ];
        let all: Vec<&Protocol> = any.iter().chain(&more).collect();
        rule.protocol = random.choice(all).cloned();
    }
    let some = |random: &mut Rng| -> Vec<Port> { (0..random.usize(1..3)).map(|_| port(random)).collect() };
    if ports {
        rule.destination.ports = some(random);
    }
    if named {
        rule.destination.ports.push(Port::Named(pick(random, &["http", "http", "dns", "none"]).into()));
    }
    if not {
        rule.destination.not_ports = some(random);
        if theme == Theme::NamedPorts && random.bool() {
            rule.destination.not_ports.push(Port::Named("http".into()));
        }
    }
}

fn with_ports(random: &mut Rng) -> Protocol {
    Protocol::Name(pick(random, &["TCP", "TCP", "TCP", "UDP", "SCTP"]).into())
}

fn port(random: &mut Rng) -> Port {
    let (first, last) = pick(
        random,
        &[(80, 80), (443, 443), (53, 53), (79, 81), (1, 100), (8000, 9000), (8080, 8080), (0, 65535)],
    );
    Port::Range(first, last)
}

fn entity(
    random: &mut Rng,
    side: &mut EntityRule,
    namespace: Option<&str>,
    v6: bool,
    wants: impl Fn(&mut Rng, Theme, u8) -> bool,
) {
    // One side has the theme's field, the other as often not, lest nothing matches.
    if random.bool() {
        return;
    }
    if wants(random, Theme::Nets, 8) {
        side.nets = (0..random.usize(1..3)).map(|_| net(random, v6)).collect();
    }
    if wants(random, Theme::NotNets, 12) {
        side.not_nets = (0..random.usize(1..3)).map(|_| net(random, v6)).collect();
    }
    if wants(random, Theme::Selector, 5) {
        side.selector = selector(random, 2);
    }
    if wants(random, Theme::NotSelector, 12) {
        side.not_selector = selector(random, 1);
    }
    if wants(random, Theme::NamespaceSelector, 10) {
        side.namespace_selector = match random.u8(0..5) {
            0 => "all()".to_owned(),
            1 => "global()".to_owned(),
            2 => format!("projectcalico.org/name == '{}'", namespace.unwrap_or("shop")),
            _ => selector(random, 1),
        };
    }
    if wants(random, Theme::ServiceAccounts, 12) {
        let mut accounts = ServiceAccountMatch::default();
        if random.bool() {
            accounts.names = vec![pick(random, &["web", "web", "db", "other"]).to_owned(), "db".to_owned()];
        }
        if random.bool() || accounts.names.is_empty() {
            accounts.selector = selector(random, 1);
        }
        side.service_accounts = Some(accounts);
    }
}

/// A selector over the few labels there are.
pub fn selector(random: &mut Rng, depth: u8) -> String {
    let (name, value) = (pick(random, &LABELS), pick(random, &VALUES));
    if depth == 0 || random.u8(0..3) > 0 {
        return match random.u8(0..12) {
            0 | 1 => format!("{name} == '{value}'"),
            2 => format!("{name} != '{value}'"),
            3 | 4 => format!("has({name})"),
            5 => format!("!has({name})"),
            6 => format!("{name} in {{'{value}', 'db'}}"),
            7 => format!("{name} not in {{'{value}'}}"),
            8 => format!("{name} contains '{value}'"),
            9 => format!("{name} starts with 'w'"),
            _ => "all()".to_owned(),
        };
    }
    let (left, right) = (selector(random, depth - 1), selector(random, depth - 1));
    match random.u8(0..3) {
        0 => format!("({left}) && ({right})"),
        1 => format!("({left}) || ({right})"),
        _ => format!("!({left})"),
    }
}
