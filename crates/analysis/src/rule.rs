//! One rule: which packets it matches.
//!
//! All that is given must hold; what isn't given doesn't matter. Asked by `stack`.

use std::net::IpAddr;

use ipnet::IpNet;
use tortie_api::policy::{Action, IcmpFields, Rule as ApiRule};
use tortie_api::value::Protocol;

use crate::cluster::Cluster;
use crate::entity::{Entity, Role, Side};
use crate::flow::{Packet, Transport};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// A rule, read.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    /// Whether packets of a family can match at all.
    ipv4: bool,
    ipv6: bool,
    protocol: Option<u8>,
    not_protocol: Option<u8>,
    icmp: Option<Icmp>,
    not_icmp: Option<Icmp>,
    source: Entity,
    destination: Entity,
    /// The protocol of the named ports of both sides: UDP or SCTP if the rule says so, else TCP.
    named: u8,
}

#[derive(Debug, Clone, Copy)]
struct Icmp {
    icmp_type: u8,
    code: Option<u8>,
}

impl Rule {
    /// A rule that denies everything.
    pub(crate) fn deny() -> Self {
        Self::every(Action::Deny)
    }

    /// A rule that allows everything.
    pub(crate) fn allow() -> Self {
        Self::every(Action::Allow)
    }

    fn every(action: Action) -> Self {
        Self {
            action,
            ipv4: true,
            ipv6: true,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Entity::default(),
            destination: Entity::default(),
            named: TCP,
        }
    }

    /// Reads a rule of a policy in that namespace (empty: of none).
    pub(crate) fn read(rule: &ApiRule, namespace: &str) -> Result<Self, String> {
        let ApiRule {
            action,
            ip_version,
            protocol,
            icmp,
            not_protocol,
            not_icmp,
            source,
            destination,
            // Judged by a proxy: a packet matches by the rest.
            http: _,
            metadata: _,
        } = rule;
        let action = Action::parse(action)
            .ok_or_else(|| format!("action: {action:?}: expected Allow, Deny, Log or Pass"))?;
        let source = Entity::read(source, namespace).map_err(|error| format!("source.{error}"))?;
        let destination =
            Entity::read(destination, namespace).map_err(|error| format!("destination.{error}"))?;
        let number = protocol.as_ref().map(|protocol| read_protocol("protocol", protocol)).transpose()?;
        let named = match number {
            Some(UDP) => UDP,
            Some(SCTP) => SCTP,
            _ => TCP,
        };
        // A list of nets of one family says that the rule is of that family, even a list of what is left out.
        let lists = [&source.nets, &source.not_nets, &destination.nets, &destination.not_nets];
        let all_lists =
            |of: fn(&IpNet) -> bool| lists.iter().all(|list| list.is_empty() || list.iter().any(of));
        let (version4, version6) = match ip_version {
            None => (true, true),
            Some(4) => (true, false),
            Some(6) => (false, true),
            Some(other) => return Err(format!("ipVersion: {other}: expected 4 or 6")),
        };
        Ok(Self {
            action,
            ipv4: version4 && !names(protocol.as_ref(), "ICMPv6") && all_lists(|net| net.addr().is_ipv4()),
            ipv6: version6 && !names(protocol.as_ref(), "ICMP") && all_lists(|net| net.addr().is_ipv6()),
            protocol: number,
            not_protocol: not_protocol
                .as_ref()
                .map(|protocol| read_protocol("notProtocol", protocol))
                .transpose()?,
            icmp: Icmp::read("icmp", icmp.as_ref())?,
            not_icmp: Icmp::read("notICMP", not_icmp.as_ref())?,
            source,
            destination,
            named,
        })
    }

    /// Whether the packet is one that the rule speaks of.
    pub(crate) fn matches(&self, cluster: &Cluster, packet: &Packet) -> bool {
        let Self {
            action: _,
            ipv4,
            ipv6,
            protocol,
            not_protocol,
            icmp,
            not_icmp,
            source,
            destination,
            named,
        } = self;
        let (source_port, destination_port) = match packet.transport {
            Transport::Ports { source, destination } => (Some(source), Some(destination)),
            Transport::Icmp { .. } | Transport::Other => (None, None),
        };
        let side = |role, address: IpAddr, port| Side { role, address, port, protocol: packet.protocol };
        (if packet.source.is_ipv4() { *ipv4 } else { *ipv6 })
            && protocol.is_none_or(|protocol| protocol == packet.protocol)
            && not_protocol.is_none_or(|protocol| protocol != packet.protocol)
            && icmp.is_none_or(|icmp| icmp.matches(packet.transport))
            && !not_icmp.is_some_and(|icmp| icmp.matches(packet.transport))
            && source.matches(cluster, side(Role::Source, packet.source, source_port), *named)
            && destination.matches(
                cluster,
                side(Role::Destination, packet.destination, destination_port),
                *named,
            )
    }
}

impl Icmp {
    /// Reads a type and perhaps a code; neither is no condition.
    fn read(field: &str, fields: Option<&IcmpFields>) -> Result<Option<Self>, String> {
        let number = |name: &str, value: Option<i64>| {
            value
                .map(|value| {
                    u8::try_from(value).map_err(|_| format!("{field}.{name}: {value}: expected 0 to 255"))
                })
                .transpose()
        };
        let Some(IcmpFields { icmp_type, code }) = fields else { return Ok(None) };
        match (number("type", *icmp_type)?, number("code", *code)?) {
            (Some(icmp_type), code) => Ok(Some(Self { icmp_type, code })),
            (None, None) => Ok(None),
            (None, Some(code)) => Err(format!("{field}.code: {code}: expected a type beside it")),
        }
    }

    fn matches(self, transport: Transport) -> bool {
        match transport {
            Transport::Icmp { icmp_type, code } => {
                self.icmp_type == icmp_type && self.code.is_none_or(|wanted| wanted == code)
            }
            Transport::Ports { .. } | Transport::Other => false,
        }
    }
}

/// Whether the protocol is given by that name; a number implies nothing.
fn names(protocol: Option<&Protocol>, name: &str) -> bool {
    matches!(protocol, Some(Protocol::Name(found)) if found.eq_ignore_ascii_case(name))
}

fn read_protocol(field: &str, protocol: &Protocol) -> Result<u8, String> {
    protocol.number().ok_or_else(|| {
        format!("{field}: {protocol}: expected TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number")
    })
}
