//! One side of a rule: which addresses and ports it speaks of.
//!
//! Where the API's fields of a side meet the policy's namespace, as Calico puts them together:
//! any of selector, notSelector, namespaceSelector and serviceAccounts ties a namespaced
//! policy's peer to a namespace. Asked by `rule`.

use std::net::IpAddr;

use ipnet::IpNet;
use tortie_api::policy::{EntityRule, ServiceAccountMatch, ServiceMatch};
use tortie_api::selector::Selector;
use tortie_api::value::Port;

use crate::cluster::Cluster;

/// One side of a rule, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entity {
    pub(crate) nets: Vec<IpNet>,
    pub(crate) not_nets: Vec<IpNet>,
    selector: Option<Selector>,
    not_selector: Option<Selector>,
    ports: Ports,
    not_ports: Ports,
    /// Namespace and name.
    service: Option<(String, String)>,
}

#[derive(Debug, Clone, Default)]
struct Ports {
    ranges: Vec<(u16, u16)>,
    names: Vec<Box<str>>,
}

/// Which side of the packet an [`Entity`] is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Destination,
}

/// One side of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) role: Role,
    pub(crate) address: IpAddr,
    /// `None` for a protocol without ports.
    pub(crate) port: Option<u16>,
    pub(crate) protocol: u8,
}

impl Entity {
    /// Reads one side of a rule of a policy in that namespace (empty: of none).
    pub(crate) fn read(rule: &EntityRule, namespace: &str) -> Result<Self, String> {
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
        } = rule;
        Ok(Self {
            nets: read_nets("nets", nets)?,
            not_nets: read_nets("notNets", not_nets)?,
            selector: positive(
                selector,
                not_selector,
                namespace_selector,
                service_accounts.as_ref(),
                namespace,
            )?,
            not_selector: read_selector("notSelector", not_selector)?,
            ports: Ports::read(ports),
            not_ports: Ports::read(not_ports),
            service: services.as_ref().map(|ServiceMatch { name, namespace: of }| {
                let of = if of.is_empty() { namespace } else { of };
                (of.to_owned(), name.clone())
            }),
        })
    }

    /// Whether a side of a packet is one that the rule speaks of. `named` is the protocol that the
    /// rule's named ports are looked up under.
    pub(crate) fn matches(&self, cluster: &Cluster, side: Side, named: u8) -> bool {
        let Self { nets, not_nets, selector, not_selector, ports, not_ports, service } = self;
        let contains = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&side.address));
        let port_in = |ports: &Ports| {
            ports.has_number(side.port)
                || ports.has_name(cluster, side, named, selector.as_ref(), not_selector.as_ref())
        };
        (nets.is_empty() || contains(nets))
            && !contains(not_nets)
            && (ports.is_empty() || port_in(ports))
            && !port_in(not_ports)
            && self.selects(cluster, side.address)
            && service.as_ref().is_none_or(|(namespace, name)| cluster.serves(namespace, name, side))
    }

    fn selects(&self, cluster: &Cluster, address: IpAddr) -> bool {
        match (&self.selector, &self.not_selector) {
            (None, None) => true,
            // Without a positive selector, an address that nobody knows is not excluded either.
            (None, Some(not)) => !cluster.anyone_at(address, |labels| not.matches(labels)),
            (Some(selector), not) => cluster.anyone_at(address, |labels| {
                selector.matches(labels) && !not.as_ref().is_some_and(|not| not.matches(labels))
            }),
        }
    }
}

impl Ports {
    fn read(ports: &[Port]) -> Self {
        let mut read = Self::default();
        for port in ports {
            match port {
                Port::Range(first, last) => read.ranges.push((*first, *last)),
                Port::Named(name) => read.names.push(name.clone()),
            }
        }
        read
    }

    fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.names.is_empty()
    }

    fn has_number(&self, port: Option<u16>) -> bool {
        port.is_some_and(|port| self.ranges.iter().any(|&(first, last)| (first..=last).contains(&port)))
    }

    /// Whether the address is of an endpoint that is selected and has a port of one of the names,
    /// of that protocol and number.
    fn has_name(
        &self,
        cluster: &Cluster,
        side: Side,
        named: u8,
        selector: Option<&Selector>,
        not: Option<&Selector>,
    ) -> bool {
        if self.names.is_empty() || side.protocol != named {
            return false;
        }
        cluster.owners(side.address).any(|endpoint| {
            endpoint.ports.iter().any(|port| {
                Some(port.number) == side.port && port.protocol == named && self.names.contains(&port.name)
            }) && selector.is_none_or(|selector| {
                selector.matches(&endpoint.labels) && !not.is_some_and(|not| not.matches(&endpoint.labels))
            })
        })
    }
}

/// What the address must belong to; `None` if it may be anyone's.
fn positive(
    selector: &str,
    not_selector: &str,
    namespace_selector: &str,
    accounts: Option<&ServiceAccountMatch>,
    namespace: &str,
) -> Result<Option<Selector>, String> {
    let own = match (read_selector("selector", selector)?, accounts.map(read_accounts).transpose()?.flatten())
    {
        (Some(own), Some(accounts)) => Some(accounts.and(own)),
        (own, accounts) => own.or(accounts),
    };
    let namespaces = if let Some(selector) = read_selector("namespaceSelector", namespace_selector)? {
        Some(selector.in_rule_namespaces())
    } else if !namespace.is_empty() && (own.is_some() || !not_selector.is_empty()) {
        Some(Selector::in_namespace(namespace))
    } else {
        None
    };
    Ok(match (namespaces, own) {
        (Some(namespaces), Some(own)) => Some(namespaces.and(own)),
        (namespaces, own) => namespaces.or(own),
    })
}

fn read_accounts(accounts: &ServiceAccountMatch) -> Result<Option<Selector>, String> {
    let ServiceAccountMatch { names, selector } = accounts;
    let selector = read_selector("serviceAccounts.selector", selector)?.map(Selector::in_service_accounts);
    let names =
        (!names.is_empty()).then(|| Selector::service_account_names(names.iter().map(String::as_str)));
    Ok(match (selector, names) {
        (Some(selector), Some(names)) => Some(selector.and(names)),
        (selector, names) => selector.or(names),
    })
}

/// Reads a selector; an empty one is none.
pub(crate) fn read_selector(field: &str, text: &str) -> Result<Option<Selector>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    Selector::parse(text).map(Some).map_err(|error| format!("{field}: {text:?}: {error}"))
}

/// Reads all of a list.
pub(crate) fn read_nets(field: &str, nets: &[String]) -> Result<Vec<IpNet>, String> {
    nets.iter()
        .map(|net| read_net(net).ok_or_else(|| format!("{field}: {net:?}: expected an address or a CIDR")))
        .collect()
}

/// Reads `address/length` or a bare address. Bits behind the length are cut off.
fn read_net(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(net.trunc())
}
