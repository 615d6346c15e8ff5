//! Routes of both families: add, replace, delete, list.

use super::{Rtnetlink, family, family_of};
use crate::attribute::Attributes;
use crate::message::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use crate::{Encoder, Error, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const RTMSG: usize = 12;
const RTNH_F_ONLINK: u32 = 4;
/// The main table.
pub const TABLE_MAIN: u32 = 254;
/// Origin: made by the kernel.
pub const PROTOCOL_KERNEL: u8 = 2;
/// Origin: installed at boot; what Calico's CNI plugin writes.
pub const PROTOCOL_BOOT: u8 = 3;
/// Origin: a static route.
pub const PROTOCOL_STATIC: u8 = 4;

/// How far away a route's destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Through a gateway.
    Universe,
    /// On the link.
    Link,
    /// On this host.
    Host,
    /// Any other number of `/etc/iproute2/rt_scopes`.
    Other(u8),
}

impl Scope {
    fn number(self) -> u8 {
        match self {
            Scope::Universe => 0,
            Scope::Link => 253,
            Scope::Host => 254,
            Scope::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            0 => Scope::Universe,
            253 => Scope::Link,
            254 => Scope::Host,
            other => Scope::Other(other),
        }
    }
}

/// What the route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Forward.
    Unicast,
    /// Deliver here.
    Local,
    /// Drop silently.
    Blackhole,
    /// Any other `RTN_*`.
    Other(u8),
}

impl RouteKind {
    fn number(self) -> u8 {
        match self {
            RouteKind::Unicast => libc::RTN_UNICAST,
            RouteKind::Local => libc::RTN_LOCAL,
            RouteKind::Blackhole => libc::RTN_BLACKHOLE,
            RouteKind::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            libc::RTN_UNICAST => RouteKind::Unicast,
            libc::RTN_LOCAL => RouteKind::Local,
            libc::RTN_BLACKHOLE => RouteKind::Blackhole,
            other => RouteKind::Other(other),
        }
    }
}

/// A route with at most one next hop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destination; `0.0.0.0/0` or `::/0` is the default route.
    pub destination: IpNet,
    /// Outgoing interface.
    pub interface: Option<u32>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Routing table number.
    pub table: u32,
    /// Who made it (`/etc/iproute2/rt_protos`).
    pub protocol: u8,
    /// Distance.
    pub scope: Scope,
    /// What it does.
    pub kind: RouteKind,
    /// Metric; the kernel turns 0 into 1024 for IPv6.
    pub priority: u32,
    /// The gateway is on the link although no prefix says so.
    pub onlink: bool,
}

impl Route {
    /// A direct route to `destination` over an interface: main table, protocol boot, scope link (IPv6 knows no
    /// scopes and reports universe).
    #[must_use]
    pub fn direct(destination: IpNet, interface: u32) -> Self {
        let scope = if destination.addr().is_ipv4() { Scope::Link } else { Scope::Universe };
        Route {
            destination,
            interface: Some(interface),
            gateway: None,
            source: None,
            table: TABLE_MAIN,
            protocol: PROTOCOL_BOOT,
            scope,
            kind: RouteKind::Unicast,
            priority: 0,
            onlink: false,
        }
    }

    /// A route through a gateway on an interface: main table, protocol boot, scope universe.
    #[must_use]
    pub fn via(destination: IpNet, gateway: IpAddr, interface: u32) -> Self {
        Route { gateway: Some(gateway), scope: Scope::Universe, ..Self::direct(destination, interface) }
    }
}

/// Which routes a dump returns; the kernel filters.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteFilter {
    /// Only this table.
    pub table: Option<u32>,
    /// Only this origin.
    pub protocol: Option<u8>,
    /// Only over this interface.
    pub interface: Option<u32>,
}

impl Rtnetlink {
    /// Adds a route; the error `is_exists` when there is one for the destination.
    pub fn add_route(&mut self, route: &Route) -> Result<()> {
        self.write_route(route, NLM_F_CREATE | NLM_F_EXCL, "add")
    }

    /// Adds a route or replaces the one with the same destination, table and metric.
    pub fn replace_route(&mut self, route: &Route) -> Result<()> {
        self.write_route(route, NLM_F_CREATE | NLM_F_REPLACE, "replace")
    }

    /// Deletes a route. `false`: there was none that matched.
    pub fn delete_route(&mut self, route: &Route) -> Result<bool> {
        let attempt = format!("delete route {}", route.destination);
        match self.socket.request(libc::RTM_DELROUTE, 0, &attempt, |message| put(message, route)) {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The routes of both families that match.
    pub fn routes(&mut self, filter: RouteFilter) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [family::IPV4, family::IPV6] {
            let dumped = self.socket.dump(libc::RTM_GETROUTE, "list routes", |message| {
                let mut header = [0; RTMSG];
                header[0] = family;
                header[5] = filter.protocol.unwrap_or(0);
                message.fixed(&header);
                if let Some(table) = filter.table {
                    message.put_u32(RTA_TABLE, table);
                }
                if let Some(interface) = filter.interface {
                    message.put_u32(RTA_OIF, interface);
                }
            });
            let replies = match dumped {
                // A table that no route ever was in.
                Err(error) if error.is_not_found() => continue,
                other => other?,
            };
            for (_, payload) in replies.iter() {
                routes.extend(parse(payload)?);
            }
        }
        Ok(routes)
    }

    fn write_route(&mut self, route: &Route, flags: u16, verb: &str) -> Result<()> {
        let attempt = format!("{verb} route {}", route.destination);
        self.socket.request(libc::RTM_NEWROUTE, flags, &attempt, |message| put(message, route))
    }
}

/// `struct rtmsg` and the attributes.
fn put(message: &mut Encoder, route: &Route) {
    let Route { destination, interface, gateway, source, table, protocol, scope, kind, priority, onlink } =
        route;
    let family = family_of(destination.addr());
    let small_table = u8::try_from(*table).unwrap_or(0);
    let header =
        [family, destination.prefix_len(), 0, 0, small_table, *protocol, scope.number(), kind.number()];
    let flags = if *onlink { RTNH_F_ONLINK } else { 0 };
    let mut fixed = [0; RTMSG];
    fixed[..8].copy_from_slice(&header);
    fixed[8..].copy_from_slice(&flags.to_ne_bytes());
    message.fixed(&fixed);
    message.put_address(RTA_DST, destination.network());
    message.put_u32(RTA_TABLE, *table);
    if let Some(interface) = interface {
        message.put_u32(RTA_OIF, *interface);
    }
    if let Some(gateway) = gateway {
        message.put_address(RTA_GATEWAY, *gateway);
    }
    if let Some(source) = source {
        message.put_address(RTA_PREFSRC, *source);
    }
    if *priority != 0 {
        message.put_u32(RTA_PRIORITY, *priority);
    }
}

/// `None` for families other than IP.
pub(super) fn parse(payload: &[u8]) -> Result<Option<Route>> {
    let Some(&[family, prefix_len, _, _, table, protocol, scope, kind, a, b, c, d]) =
        payload.first_chunk::<RTMSG>()
    else {
        return Err(Error::Malformed {
            what: "route".into(),
            expected: format!("a header of {RTMSG} bytes"),
            found: format!("{}", payload.len()),
        });
    };
    let default: IpNet = match family {
        family::IPV4 => Ipv4Net::default().into(),
        family::IPV6 => Ipv6Net::default().into(),
        _ => return Ok(None),
    };
    let mut route = Route {
        destination: default,
        interface: None,
        gateway: None,
        source: None,
        table: u32::from(table),
        protocol,
        scope: Scope::from_number(scope),
        kind: RouteKind::from_number(kind),
        priority: 0,
        onlink: u32::from_ne_bytes([a, b, c, d]) & RTNH_F_ONLINK != 0,
    };
    for attribute in Attributes::after(payload, RTMSG) {
        match attribute.kind {
            RTA_DST => {
                route.destination =
                    IpNet::new(attribute.address()?, prefix_len).map_err(|_| Error::Malformed {
                        what: "route".into(),
                        expected: "a prefix length that fits".into(),
                        found: prefix_len.to_string(),
                    })?;
            }
            RTA_OIF => route.interface = Some(attribute.u32()?),
            RTA_GATEWAY => route.gateway = Some(attribute.address()?),
            RTA_PREFSRC => route.source = Some(attribute.address()?),
            RTA_PRIORITY => route.priority = attribute.u32()?,
            RTA_TABLE => route.table = attribute.u32()?,
            _ => {}
        }
    }
    Ok(Some(route))
}
