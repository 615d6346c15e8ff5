//! What is asked: a packet, and whose it is.
//!
//! A [`Request`] is what a program writes (names, addresses, a line of JSON); a [`Flow`] is what
//! it means in a [`Cluster`]. Next hop: `judge`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tortie_api::value::Protocol;

use crate::cluster::{Cluster, Endpoint, EndpointId};

/// The source port of a request that names none.
const SOURCE_PORT: u16 = 40000;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// The first packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packet {
    /// From.
    pub source: IpAddr,
    /// To; of the same family.
    pub destination: IpAddr,
    /// The IP protocol's number.
    pub protocol: u8,
    /// What follows the IP header.
    pub transport: Transport,
}

/// What follows the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, UDP, SCTP, UDPLite.
    Ports {
        /// From.
        source: u16,
        /// To.
        destination: u16,
    },
    /// ICMP, ICMPv6.
    Icmp {
        /// The type.
        icmp_type: u8,
        /// The code.
        code: u8,
    },
    /// Anything else.
    Other,
}

impl Packet {
    /// A packet of a protocol with ports.
    pub fn with_ports(source: IpAddr, destination: IpAddr, protocol: u8, ports: (u16, u16)) -> Self {
        let transport = Transport::Ports { source: ports.0, destination: ports.1 };
        Self { source, destination, protocol, transport }
    }

    /// An ICMP or, between IPv6 addresses, an ICMPv6 packet.
    pub fn icmp(source: IpAddr, destination: IpAddr, icmp_type: u8, code: u8) -> Self {
        let protocol = if source.is_ipv6() { ICMP_V6 } else { ICMP };
        Self { source, destination, protocol, transport: Transport::Icmp { icmp_type, code } }
    }
}

/// A packet and the endpoints on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The packet.
    pub packet: Packet,
    /// Who sends it, if known.
    pub from: Option<EndpointId>,
    /// Who receives it, if known.
    pub to: Option<EndpointId>,
    /// The host endpoint that it is forwarded through.
    pub via: Option<EndpointId>,
}

impl Cluster {
    /// A packet between the endpoints that own its addresses.
    pub fn flow(&self, packet: Packet) -> Flow {
        Flow { packet, from: self.owner(packet.source), to: self.owner(packet.destination), via: None }
    }
}

/// One side of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Party {
    /// `namespace/workload endpoint`, `namespace/pod` or an address.
    Name(String),
    /// A host endpoint.
    Host(HostName),
}

/// A host endpoint by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostName {
    /// The host's name.
    pub host: String,
    /// The host endpoint's name, or its interface's; the first by name if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hep: Option<String>,
}

/// A question as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Given back with the answer.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub id: Value,
    /// Who sends.
    pub from: Party,
    /// Who receives.
    pub to: Party,
    /// A name or a number.
    pub protocol: Protocol,
    /// The destination's port, of a protocol with ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The source's port; 40000 if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Echo request if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// 0 if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// 4 or 6; IPv4 if both sides have it and none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<u8>,
    /// The host endpoint that forwards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<HostName>,
}

/// A request that has no meaning in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// No JSON, or not that of a request.
    #[error("not a flow: {0}")]
    Json(String),
    /// Nobody has that name.
    #[error("{field}: {found:?}: expected an address, namespace/endpoint or namespace/pod of the cluster")]
    UnknownEndpoint {
        /// `from` or `to`.
        field: &'static str,
        /// What was found.
        found: String,
    },
    /// There is no such host or host endpoint.
    #[error("{field}: no host endpoint {found:?} on host {host:?}")]
    UnknownHost {
        /// `from`, `to` or `via`.
        field: &'static str,
        /// The host.
        host: String,
        /// The host endpoint, or `any`.
        found: String,
    },
    /// A protocol that isn't known by that name.
    #[error("protocol: {found:?}: expected tcp, udp, icmp, icmpv6, sctp, udplite or a number from 0 to 255")]
    Protocol {
        /// What was found.
        found: String,
    },
    /// A protocol with ports, without a port.
    #[error("port: none found: expected 0 to 65535 for protocol {protocol}")]
    Port {
        /// The protocol's number.
        protocol: u8,
    },
    /// A family other than 4 and 6.
    #[error("ipVersion: {found}: expected 4 or 6")]
    IpVersion {
        /// What was found.
        found: u8,
    },
    /// A side without address of the family.
    #[error("{field}: no IPv{version} address")]
    NoAddress {
        /// `from` or `to`.
        field: &'static str,
        /// 4 or 6.
        version: u8,
    },
    /// Both sides have addresses, but not of the same family.
    #[error("from and to have no address family in common")]
    NoFamily,
}

impl Request {
    /// Reads a line of JSON.
    ///
    /// # Errors
    /// [`FlowError::Json`] with what was found and expected.
    pub fn parse(line: &str) -> Result<Self, FlowError> {
        serde_json::from_str(line).map_err(|error| FlowError::Json(error.to_string()))
    }

    /// What the request means in a cluster.
    ///
    /// # Errors
    /// [`FlowError`] if it names what isn't there or lacks what it needs.
    pub fn resolve(&self, cluster: &Cluster) -> Result<Flow, FlowError> {
        let Self { id: _, from, to, protocol, port, source_port, icmp_type, icmp_code, ip_version, via } =
            self;
        let from = Resolved::of(cluster, "from", from)?;
        let to = Resolved::of(cluster, "to", to)?;
        let (source, destination) = match ip_version {
            Some(4) => (from.in_family(false)?, to.in_family(false)?),
            Some(6) => (from.in_family(true)?, to.in_family(true)?),
            Some(found) => return Err(FlowError::IpVersion { found: *found }),
            None => [false, true]
                .into_iter()
                .find_map(|ipv6| Some((from.in_family(ipv6).ok()?, to.in_family(ipv6).ok()?)))
                .ok_or(FlowError::NoFamily)?,
        };
        let number = protocol.number().ok_or_else(|| FlowError::Protocol { found: protocol.to_string() })?;
        let transport = match number {
            ICMP | ICMP_V6 => Transport::Icmp {
                icmp_type: icmp_type.unwrap_or(if source.is_ipv6() { 128 } else { 8 }),
                code: icmp_code.unwrap_or(0),
            },
            _ if protocol.has_ports() => Transport::Ports {
                source: source_port.unwrap_or(SOURCE_PORT),
                destination: port.ok_or(FlowError::Port { protocol: number })?,
            },
            _ => Transport::Other,
        };
        let via = via
            .as_ref()
            .map(|via| {
                host_endpoint(cluster, via).ok_or_else(|| FlowError::UnknownHost {
                    field: "via",
                    host: via.host.clone(),
                    found: via.hep.clone().unwrap_or_else(|| "any".to_owned()),
                })
            })
            .transpose()?;
        let packet = Packet { source, destination, protocol: number, transport };
        Ok(Flow { packet, from: from.endpoint, to: to.endpoint, via })
    }
}

struct Resolved {
    field: &'static str,
    endpoint: Option<EndpointId>,
    addresses: Vec<IpAddr>,
}

impl Resolved {
    fn of(cluster: &Cluster, field: &'static str, party: &Party) -> Result<Self, FlowError> {
        let (endpoint, addresses) = match party {
            Party::Name(name) => {
                if let Ok(address) = name.parse::<IpAddr>() {
                    (cluster.owner(address), vec![address])
                } else {
                    let id = workload(cluster, name)
                        .ok_or_else(|| FlowError::UnknownEndpoint { field, found: name.clone() })?;
                    (Some(id), cluster.endpoint(id).addresses.clone())
                }
            }
            Party::Host(name) => {
                let endpoint = host_endpoint(cluster, name);
                if endpoint.is_none() && (name.hep.is_some() || !cluster.knows_node(&name.host)) {
                    return Err(FlowError::UnknownHost {
                        field,
                        host: name.host.clone(),
                        found: name.hep.clone().unwrap_or_else(|| "any".to_owned()),
                    });
                }
                let own = endpoint.map(|id| cluster.endpoint(id).addresses.as_slice()).unwrap_or_default();
                (endpoint, [own, cluster.node_addresses(&name.host)].concat())
            }
        };
        Ok(Self { field, endpoint, addresses })
    }

    fn in_family(&self, ipv6: bool) -> Result<IpAddr, FlowError> {
        let address = self.addresses.iter().copied().find(|address| address.is_ipv6() == ipv6);
        let version = if ipv6 { 6 } else { 4 };
        address.ok_or(FlowError::NoAddress { field: self.field, version })
    }
}

/// A workload endpoint by `namespace/name`, else by `namespace/pod`.
fn workload(cluster: &Cluster, text: &str) -> Option<EndpointId> {
    let (namespace, name) = text.split_once('/')?;
    let find = |matches: &dyn Fn(&Endpoint) -> bool| {
        let mut endpoints = cluster.endpoints();
        endpoints
            .find(|(_, endpoint)| {
                !endpoint.is_host() && &*endpoint.key.namespace == namespace && matches(endpoint)
            })
            .map(|(id, _)| id)
    };
    find(&|endpoint| &*endpoint.key.name == name).or_else(|| find(&|endpoint| &*endpoint.pod == name))
}

/// A host's endpoint by its name, else by its interface; the first by name if neither is given.
fn host_endpoint(cluster: &Cluster, name: &HostName) -> Option<EndpointId> {
    let HostName { host, hep } = name;
    let find = |matches: &dyn Fn(&Endpoint) -> bool| {
        let mut endpoints = cluster.endpoints();
        endpoints
            .find(|(_, endpoint)| endpoint.is_host() && *endpoint.node == **host && matches(endpoint))
            .map(|(id, _)| id)
    };
    match hep {
        None => find(&|_| true),
        Some(hep) => find(&|endpoint| *endpoint.key.name == **hep)
            .or_else(|| find(&|endpoint| *endpoint.interface == **hep)),
    }
}
