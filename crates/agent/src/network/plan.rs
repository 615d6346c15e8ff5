//! What differs between the routes that should be there and those that are, as steps. Pure.
//!
//! Ours are known by their protocol, [`PROTOCOL`]. A destination that has somebody else's route of the same metric is his:
//! it is left to him and told.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use tortie_dataplane::network::{Hop, Network};
use tortie_dataplane::policy::Family;
use tortie_netlink::rtnetlink::route::TABLE_MAIN;
use tortie_netlink::rtnetlink::{Address, Link, Route, RouteKind, Scope};

/// Who made our routes; what Calico's own agent writes for them.
pub const PROTOCOL: u8 = 80;

/// The kernel's metric of IPv6 routes for which none is named.
const METRIC_V6: u32 = 1024;

/// What the kernel holds.
#[derive(Debug, Default)]
pub struct Seen {
    /// All links.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// The main table's routes, everybody's.
    pub routes: Vec<Route>,
}

/// The steps, in the order in which they go: what nothing led to yet, what leads elsewhere from now on, what goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Destinations without a route.
    pub add: Vec<Route>,
    /// Destinations of ours with another route.
    pub replace: Vec<Route>,
    /// Ours that should not be there.
    pub delete: Vec<Route>,
    /// Destinations that somebody else leads somewhere.
    pub taken: Vec<IpNet>,
    /// How many routes wait for an interface that has the node's address and is up.
    pub waiting: usize,
}

impl Plan {
    /// Whether the kernel holds what it should, as far as we may say.
    pub fn is_done(&self) -> bool {
        self.add.is_empty() && self.replace.is_empty() && self.delete.is_empty()
    }
}

/// What to do so that `wanted` is there.
pub fn plan(wanted: &Network, seen: &Seen) -> Plan {
    let mut plan = Plan::default();
    let mut kept = BTreeSet::new();
    let mut there: Vec<&Route> = seen.routes.iter().filter(|route| route.table == TABLE_MAIN).collect();
    there.sort_by_key(|route| (route.destination, route.priority));
    for (destination, hop) in &wanted.routes {
        let Some(route) = route(*destination, *hop, seen) else {
            plan.waiting += 1;
            continue;
        };
        let metric = if route.destination.addr().is_ipv6() { METRIC_V6 } else { 0 };
        let key = (*destination, metric);
        let found = there.partition_point(|route| (route.destination, route.priority) < key);
        match there.get(found).filter(|found| (found.destination, found.priority) == key) {
            None => plan.add.push(route),
            Some(found) if found.protocol != PROTOCOL => plan.taken.push(*destination),
            Some(found) => {
                kept.insert(key);
                if !same(&route, found) {
                    plan.replace.push(route);
                }
            }
        }
    }
    let ours = there.into_iter().filter(|route| route.protocol == PROTOCOL);
    let surplus = ours.filter(|route| !kept.contains(&(route.destination, route.priority)));
    plan.delete.extend(surplus.cloned());
    plan
}

/// The kernel's form of a route; `None` if there is no interface for it now.
fn route(destination: IpNet, hop: Hop, seen: &Seen) -> Option<Route> {
    let route = match hop {
        Hop::Blackhole => Route {
            interface: None,
            kind: RouteKind::Blackhole,
            scope: Scope::Universe,
            ..Route::direct(destination, 0)
        },
        Hop::Node { address, own } => Route::via(destination, address, interface_of(own, seen)?),
        Hop::Tunnel { peer } => {
            let device = device(Family::of(&peer));
            let link = seen.links.iter().find(|link| link.name == device && link.up)?;
            Route { onlink: true, ..Route::via(destination, peer, link.index) }
        }
    };
    Some(Route { protocol: PROTOCOL, ..route })
}

/// The VXLAN devices of both families.
pub fn devices() -> [&'static str; 2] {
    [Family::V4, Family::V6].map(device)
}

/// The VXLAN device of a family, as Calico names it.
pub fn device(family: Family) -> &'static str {
    match family {
        Family::V4 => "vxlan.calico",
        Family::V6 => "vxlan-v6.calico",
    }
}

/// The interface that has an address, if packets can go out there.
pub fn interface_of(own: IpAddr, seen: &Seen) -> Option<u32> {
    let index = seen.addresses.iter().find(|address| address.net.addr() == own)?.index;
    seen.links.iter().any(|link| link.index == index && link.up).then_some(index)
}

/// Whether the kernel's is the wanted one. For IPv6 it names loopback as the interface of a blackhole.
fn same(wanted: &Route, found: &Route) -> bool {
    let Route { destination: _, interface, gateway, source, table: _, protocol: _, scope: _, kind, .. } =
        wanted;
    *kind == found.kind
        && (*kind == RouteKind::Blackhole || *interface == found.interface)
        && *gateway == found.gateway
        && *source == found.source
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::fixtures::mk_link;
    use super::*;
    use tortie_netlink::rtnetlink::route::PROTOCOL_BOOT;

    const ETH0: u32 = 7;

    fn mk_seen(routes: Vec<Route>) -> Seen {
        let address =
            |net: &str| Address { index: ETH0, net: net.parse().unwrap(), scope: 0, tentative: false };
        let eth0 = mk_link(ETH0, "eth0", 1500, true);
        let addresses = vec![address("192.168.77.11/24"), address("fd77::11/64")];
        Seen { links: vec![eth0], addresses, routes }
    }

    fn via(destination: &str, gateway: &str) -> Route {
        let destination: IpNet = destination.parse().unwrap();
        let priority = if destination.addr().is_ipv6() { METRIC_V6 } else { 0 };
        let route = Route::via(destination, gateway.parse().unwrap(), ETH0);
        Route { protocol: PROTOCOL, priority, ..route }
    }

    fn node(address: &str, own: &str) -> Hop {
        Hop::Node { address: address.parse().unwrap(), own: own.parse().unwrap() }
    }

    fn mk_network(routes: &[(&str, Hop)]) -> Network {
        let routes = routes.iter().map(|(destination, hop)| (destination.parse().unwrap(), *hop));
        Network { routes: routes.collect(), ..Network::default() }
    }

    #[test]
    fn only_what_differs_is_written_and_only_ours_goes() {
        let wanted = mk_network(&[
            ("10.65.0.0/26", Hop::Blackhole),
            ("10.65.0.64/26", node("192.168.77.12", "192.168.77.11")),
            ("10.65.0.128/26", node("192.168.77.13", "192.168.77.11")),
            ("fd65::40/122", node("fd77::12", "fd77::11")),
            ("fd65::80/122", node("fd77::13", "fd77::11")),
        ]);
        let foreign = Route { protocol: PROTOCOL_BOOT, ..via("10.70.0.0/16", "192.168.77.99") };
        let seen = mk_seen(vec![
            via("10.65.0.64/26", "192.168.77.12"),
            via("10.65.0.128/26", "192.168.77.14"),
            via("fd65::40/122", "fd77::12"),
            via("10.65.9.0/26", "192.168.77.12"),
            foreign,
        ]);
        let plan = plan(&wanted, &seen);
        let names =
            |routes: &[Route]| routes.iter().map(|route| route.destination.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&plan.add), ["10.65.0.0/26", "fd65::80/122"]);
        assert_eq!(names(&plan.replace), ["10.65.0.128/26"]);
        assert_eq!(names(&plan.delete), ["10.65.9.0/26"]);
        assert_eq!((plan.taken, plan.waiting), (vec![], 0));
    }

    #[test]
    fn a_destination_that_somebody_else_leads_somewhere_is_his() {
        let theirs = Route { protocol: 12, ..via("10.65.0.64/26", "192.168.77.250") };
        let wanted = mk_network(&[("10.65.0.64/26", node("192.168.77.12", "192.168.77.11"))]);
        let found = plan(&wanted, &mk_seen(vec![theirs.clone()]));
        assert!(found.is_done());
        assert_eq!(found.taken, ["10.65.0.64/26".parse().unwrap()]);
        // Of another metric, or in another table, it is another route.
        for other in [Route { priority: 32, ..theirs.clone() }, Route { table: 100, ..theirs }] {
            assert_eq!(plan(&wanted, &mk_seen(vec![other])).add.len(), 1);
        }
    }

    #[test]
    fn without_an_interface_a_route_waits_and_the_old_one_goes() {
        let wanted = mk_network(&[("10.65.0.64/26", node("192.168.77.12", "192.168.77.200"))]);
        let old = via("10.65.0.64/26", "192.168.77.12");
        let found = plan(&wanted, &mk_seen(vec![old.clone()]));
        assert_eq!((found.waiting, found.delete), (1, vec![old]));
        let wanted = mk_network(&[("10.65.0.64/26", node("192.168.77.12", "192.168.77.11"))]);
        let mut down = mk_seen(Vec::new());
        down.links[0].up = false;
        assert_eq!(plan(&wanted, &down).waiting, 1);
    }

    #[test]
    fn the_kernels_blackhole_of_ipv6_is_over_loopback() {
        let blackhole = Route { interface: Some(1), ..via("fd65::40/122", "::") };
        let blackhole = Route { gateway: None, kind: RouteKind::Blackhole, ..blackhole };
        let wanted = mk_network(&[("fd65::40/122", Hop::Blackhole)]);
        assert!(plan(&wanted, &mk_seen(vec![blackhole])).is_done());
    }
}
