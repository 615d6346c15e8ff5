//! One rule of the API as values: selectors as trees, nets as nets, nothing left as text.
//!
//! All that a rule means in its place is decided here (which namespace its peers are in, which
//! family it is of), and nothing of a cluster is needed for it. The next hop is `compile`,
//! which gives the sets their ids.

use std::sync::Arc;

use ipnet::IpNet;
use tortie_api::policy::{
    Action, EntityRule, HttpMatch, IcmpFields, Rule, RuleMetadata, ServiceAccountMatch, ServiceMatch,
};
use tortie_api::selector::Selector;
use tortie_api::value::{Port, Protocol};
use tortie_dataplane::policy::{Family, IcmpMatch, PortRange};

use crate::enforced;
use crate::error::Fault;
use crate::parse::{self, Parser};
use crate::services::name_of;

/// A rule that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    pub(crate) action: Action,
    pub(crate) family: Option<Family>,
    pub(crate) protocol: Option<u8>,
    pub(crate) not_protocol: Option<u8>,
    pub(crate) icmp: Option<IcmpMatch>,
    pub(crate) not_icmp: Option<IcmpMatch>,
    pub(crate) source: DraftSide,
    pub(crate) destination: DraftSide,
}

/// One side of a rule that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DraftSide {
    pub(crate) selector: Option<Arc<Selector>>,
    pub(crate) not_selector: Option<Arc<Selector>>,
    pub(crate) nets: Vec<IpNet>,
    pub(crate) not_nets: Vec<IpNet>,
    pub(crate) ports: DraftPorts,
    pub(crate) not_ports: DraftPorts,
    /// A service behind which the side stands, `namespace/name`.
    pub(crate) service: Option<Box<str>>,
}

/// Ports of one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DraftPorts {
    pub(crate) ranges: Vec<PortRange>,
    pub(crate) names: Vec<Box<str>>,
}

/// Which families a rule may still match.
#[derive(Clone, Copy)]
struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    fn limit(&mut self, v4: bool, v6: bool) {
        self.v4 &= v4;
        self.v6 &= v6;
    }

    /// A list that isn't empty limits the rule to the families that are in it.
    fn limit_to(&mut self, nets: &[IpNet]) {
        if !nets.is_empty() {
            let has = |wanted| nets.iter().any(|net| Family::of_net(net) == wanted);
            self.limit(has(Family::V4), has(Family::V6));
        }
    }
}

/// Reads a rule of a policy of that namespace. `None`: the rule matches no packet.
///
/// # Errors
/// What is wrong with the rule, or not enforced yet.
pub(crate) fn read(
    rule: &Rule,
    namespace: Option<&str>,
    parser: &mut Parser,
) -> Result<Option<Draft>, Fault> {
    let Rule {
        action,
        ip_version,
        protocol,
        icmp,
        not_protocol,
        not_icmp,
        source,
        destination,
        http,
        metadata,
    } = rule;
    if let Some(RuleMetadata { annotations: _ }) = metadata {
        // Free text: means nothing to packets.
    }
    if let Some(HttpMatch { methods: _, paths: _ }) = http {
        // Means nothing to packets unless it says something: then the rule isn't enforced.
    }
    if let Some(field) = enforced::in_rule(rule) {
        return Err(Fault::NotEnforced { field });
    }
    let action = Action::parse(action).ok_or_else(|| Fault::Action { found: action.as_str().into() })?;
    let mut families = Families { v4: true, v6: true };
    match ip_version {
        None => {}
        Some(4) => families.limit(true, false),
        Some(6) => families.limit(false, true),
        Some(found) => return Err(Fault::IpVersion { found: *found }),
    }
    if let Some(Protocol::Name(name)) = protocol {
        families.limit(!name.eq_ignore_ascii_case("ICMPv6"), !name.eq_ignore_ascii_case("ICMP"));
    }
    let protocol = read_protocol("protocol", protocol.as_ref())?;
    let not_protocol = read_protocol("notProtocol", not_protocol.as_ref())?;
    let icmp = read_icmp("icmp", icmp.as_ref(), protocol)?;
    let not_icmp = read_icmp("notICMP", not_icmp.as_ref(), protocol)?;
    let source = read_side(source, &SOURCE, namespace, parser)?;
    let destination = read_side(destination, &DESTINATION, namespace, parser)?;
    let has_ports =
        destination.ports != DraftPorts::default() || destination.not_ports != DraftPorts::default();
    // A port by its name alone (only a converted ClusterNetworkPolicy asks so) is one of TCP.
    let DraftPorts { ranges, names } = &destination.ports;
    let by_name = protocol.is_none() && ranges.is_empty() && !names.is_empty();
    if has_ports && !by_name && !protocol.is_some_and(|number| Protocol::Number(number).has_ports()) {
        return Err(Fault::Ports { field: "destination.ports" });
    }
    if destination.service.is_some() && protocol.is_some_and(|number| !Protocol::Number(number).has_ports()) {
        // A service is met at its ports.
        return Ok(None);
    }
    for side in [&source, &destination] {
        families.limit_to(&side.nets);
        families.limit_to(&side.not_nets);
    }
    let family = match families {
        Families { v4: false, v6: false } => return Ok(None),
        Families { v4: true, v6: false } => Some(Family::V4),
        Families { v4: false, v6: true } => Some(Family::V6),
        Families { v4: true, v6: true } => None,
    };
    Ok(Some(Draft { action, family, protocol, not_protocol, icmp, not_icmp, source, destination }))
}

fn read_protocol(field: &'static str, protocol: Option<&Protocol>) -> Result<Option<u8>, Fault> {
    let Some(protocol) = protocol else { return Ok(None) };
    match protocol.number() {
        Some(number) => Ok(Some(number)),
        None => Err(Fault::Protocol { field, found: protocol.to_string().into() }),
    }
}

fn read_icmp(
    field: &'static str,
    icmp: Option<&IcmpFields>,
    protocol: Option<u8>,
) -> Result<Option<IcmpMatch>, Fault> {
    let (icmp_type, code) = match icmp {
        None | Some(IcmpFields { icmp_type: None, code: None }) => return Ok(None),
        Some(IcmpFields { icmp_type: None, code: Some(_) }) => return Err(Fault::Icmp { field }),
        Some(IcmpFields { icmp_type: Some(icmp_type), code }) => (*icmp_type, *code),
    };
    if !matches!(protocol, Some(1 | 58)) {
        return Err(Fault::Icmp { field });
    }
    let byte = |number: i64| u8::try_from(number).map_err(|_| Fault::Icmp { field });
    Ok(Some(IcmpMatch { icmp_type: byte(icmp_type)?, code: code.map(byte).transpose()? }))
}

/// The names of a side's fields, for messages.
struct SideFields {
    nets: &'static str,
    not_nets: &'static str,
    selector: &'static str,
    not_selector: &'static str,
    namespace_selector: &'static str,
    service_accounts: &'static str,
}

const SOURCE: SideFields = SideFields {
    nets: "source.nets",
    not_nets: "source.notNets",
    selector: "source.selector",
    not_selector: "source.notSelector",
    namespace_selector: "source.namespaceSelector",
    service_accounts: "source.serviceAccounts",
};

const DESTINATION: SideFields = SideFields {
    nets: "destination.nets",
    not_nets: "destination.notNets",
    selector: "destination.selector",
    not_selector: "destination.notSelector",
    namespace_selector: "destination.namespaceSelector",
    service_accounts: "destination.serviceAccounts",
};

fn read_side(
    side: &EntityRule,
    fields: &SideFields,
    namespace: Option<&str>,
    parser: &mut Parser,
) -> Result<DraftSide, Fault> {
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
    let service = services.as_ref().map(|ServiceMatch { name, namespace: of }| {
        let of = if of.is_empty() { namespace.unwrap_or_default() } else { of };
        name_of(of, name).into()
    });
    let selector = parser.optional(fields.selector, selector)?;
    let not_selector = parser.optional(fields.not_selector, not_selector)?;
    let accounts = match service_accounts {
        Some(accounts) => read_service_accounts(accounts, fields, parser)?,
        None => None,
    };
    let place = match (parser.optional(fields.namespace_selector, namespace_selector)?, namespace) {
        (Some(selector), _) => Some(Arc::new(Arc::unwrap_or_clone(selector).in_rule_namespaces())),
        (None, Some(namespace)) if selector.is_some() || not_selector.is_some() || accounts.is_some() => {
            Some(parse::in_namespace(namespace)?)
        }
        (None, _) => None,
    };
    // In one order, so that the same peer is the same set whoever names it.
    let selector = parse::all_of([selector, accounts, place]);
    // Calico makes one selector of both, so that one object must meet it: an address that a network
    // set covers is not excluded by what the set lacks if its own endpoint is selected.
    let (selector, not_selector) = match (selector, not_selector) {
        (Some(selector), Some(not)) => {
            let not = Arc::new(Arc::unwrap_or_clone(not).not());
            (parse::all_of([Some(selector), Some(not)]), None)
        }
        either => either,
    };
    Ok(DraftSide {
        selector,
        not_selector,
        nets: parse::nets(fields.nets, nets)?,
        not_nets: parse::nets(fields.not_nets, not_nets)?,
        ports: read_ports(ports),
        not_ports: read_ports(not_ports),
        service,
    })
}

fn read_service_accounts(
    accounts: &ServiceAccountMatch,
    fields: &SideFields,
    parser: &mut Parser,
) -> Result<Option<Arc<Selector>>, Fault> {
    let ServiceAccountMatch { names, selector } = accounts;
    let selector = parser
        .optional(fields.service_accounts, selector)?
        .map(|selector| Arc::new(Arc::unwrap_or_clone(selector).in_service_accounts()));
    let names = (!names.is_empty())
        .then(|| Arc::new(Selector::service_account_names(names.iter().map(String::as_str))));
    Ok(parse::all_of([selector, names]))
}

fn read_ports(ports: &[Port]) -> DraftPorts {
    let mut read = DraftPorts::default();
    for port in ports {
        match port {
            Port::Range(first, last) => read.ranges.push(PortRange { first: *first, last: *last }),
            Port::Named(name) => read.names.push(name.clone()),
        }
    }
    read
}
