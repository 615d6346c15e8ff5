//! One pod's wires: a veth pair, addresses, routes, neighbours and settings on both ends; made, checked, removed.
//!
//! ```text
//!  pod netns                               host netns
//!  eth0 10.0.0.5/32 fd00::5/128 ---veth--- cali... (ee:ee:ee:ee:ee:ee, proxy ARP)
//!  default via 169.254.1.1                 10.0.0.5/32 dev cali... proto boot scope link
//!  169.254.1.1 lladdr ee:... PERMANENT     10.0.0.5 lladdr POD PERMANENT
//! ```
//! Both sides are written by the calling process over sockets of the two namespaces. What fails half-way is undone here.
//! Opens nothing to packets by itself: that is the gate's.

use crate::{Error, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tortie_netlink::rtnetlink::{LinkChange, LinkRef, Mac, Route, RouteFilter, VethEnd, VethPair};
use tortie_netlink::{Conntrack, Namespace, Rtnetlink, sysctl};

/// The host side of every pod's veth.
pub const HOST_MAC: Mac = Mac([0xee; 6]);
/// Every pod's IPv4 gateway; the host side answers for it by proxy ARP.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Every pod's IPv6 gateway: the host side's link-local address, made from [`HOST_MAC`].
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);
/// Metric of a pod's IPv6 routes, the kernel's own default.
const METRIC_V6: u32 = 1024;

/// The two ends of a veth pair, before it is known which addresses they carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The interface on the host.
    pub host_interface: String,
    /// The interface inside, `eth0`.
    pub pod_interface: String,
    /// Bytes; none for the kernel's 1500.
    pub mtu: Option<u32>,
    /// The MAC address inside; none for a random one.
    pub mac: Option<Mac>,
}

/// How a pod is to be wired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// The interfaces.
    pub pair: Pair,
    /// Its addresses, at most a few.
    pub addresses: Vec<IpAddr>,
    /// Where the pod sends over its gateway; the default routes of its families as a rule.
    pub routes: Vec<IpNet>,
    /// Whether the pod may forward packets.
    pub forwarding: bool,
}

/// A pair that is there: down inside, without addresses.
#[derive(Debug)]
pub struct Created {
    /// Index of the interface on the host.
    pub host_index: u32,
    /// The MAC address inside.
    pub mac: Mac,
    pod_index: u32,
    host: Rtnetlink,
    pod: Rtnetlink,
}

/// The default routes of the families of `addresses`.
#[must_use]
pub fn default_routes(addresses: &[IpAddr]) -> Vec<IpNet> {
    let mut routes = Vec::new();
    if addresses.iter().any(IpAddr::is_ipv4) {
        routes.push(Ipv4Net::default().into());
    }
    if addresses.iter().any(IpAddr::is_ipv6) {
        routes.push(Ipv6Net::default().into());
    }
    routes
}

impl Pair {
    /// Makes the pair, one end in the calling thread's namespace. An interface that has its name on the host already is
    /// a remainder and goes first.
    ///
    /// # Errors
    /// [`Error::Netlink`]; what is left then goes with [`remove_from_host`].
    pub fn create(&self, pod: &Namespace) -> Result<Created> {
        let mut host = Rtnetlink::open()?;
        host.delete_link(LinkRef::Name(&self.host_interface))?;
        host.create_veth(&VethPair {
            near: VethEnd { name: &self.host_interface, mac: Some(HOST_MAC), namespace: None },
            far: VethEnd { name: &self.pod_interface, mac: self.mac, namespace: Some(pod.as_fd()) },
            mtu: self.mtu,
            near_up: true,
        })?;
        let host_index = host.index_of(&self.host_interface)?;
        let mut pod = Rtnetlink::open_in(pod)?;
        let link = pod.link(LinkRef::Name(&self.pod_interface))?;
        let (pod_index, mac) = link.and_then(|link| Some((link.index, link.mac?))).ok_or_else(|| {
            Error::Gate(format!("the interface {} vanished while it was wired", self.pod_interface))
        })?;
        Ok(Created { host_index, mac, pod_index, host, pod })
    }
}

impl Created {
    /// Returns when the host's end sends. The kernel notices a new carrier from a worker of its own (`linkwatch`), and
    /// until then discards what goes to the pod: a pod's first packets would be lost without any rule's doing.
    ///
    /// # Errors
    /// [`Error::Netlink`] if the link can't be read. After a second it returns all the same: the wiring itself stands.
    pub fn awake(&mut self) -> Result<()> {
        let patience = Instant::now() + Duration::from_secs(1);
        // As a rule it is awake already; else within a millisecond.
        while self.host.link(LinkRef::Index(self.host_index))?.is_some_and(|link| !link.operational) {
            if Instant::now() > patience {
                tracing::warn!(
                    interface = self.host_index,
                    "the kernel has not taken in the pod's carrier after a second"
                );
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

impl Wiring {
    /// Wires the pod to the calling thread's namespace, from nothing. Returns the MAC address inside.
    ///
    /// # Errors
    /// [`Error::Netlink`]; nothing of it is left then.
    pub fn apply(&self, pod: &Namespace) -> Result<Mac> {
        let done = self.pair.create(pod).and_then(|mut pair| {
            self.dress(&mut pair, pod)?;
            pair.awake()?;
            Ok(pair.mac)
        });
        done.inspect_err(|_| {
            if let Err(error) = remove_from_host(LinkRef::Name(&self.pair.host_interface)) {
                tracing::warn!(interface = self.pair.host_interface, %error, "half-made interface not removed");
            }
        })
    }

    /// Everything after the pair itself: settings, addresses, routes, neighbours. Connections that the addresses had
    /// before are forgotten first.
    ///
    /// # Errors
    /// [`Error::Netlink`]; what is left then goes with [`remove_from_host`].
    pub fn dress(&self, pair: &mut Created, pod: &Namespace) -> Result<()> {
        forget(&self.addresses)?;
        self.host_settings()?;
        pod.run(|| self.pod_settings())??;
        self.dress_pod(pair)?;
        for address in &self.addresses {
            pair.host.replace_neighbour(pair.host_index, *address, pair.mac)?;
            pair.host.replace_route(&Route::direct(single(*address), pair.host_index))?;
        }
        Ok(())
    }

    fn host_settings(&self) -> Result<()> {
        let name = &self.pair.host_interface;
        if self.addresses.iter().any(IpAddr::is_ipv4) {
            sysctl::write(&format!("net/ipv4/neigh/{name}/proxy_delay"), "0")?;
            sysctl::write(&format!("net/ipv4/conf/{name}/proxy_arp"), "1")?;
            sysctl::write(&format!("net/ipv4/conf/{name}/forwarding"), "1")?;
        }
        if self.addresses.iter().any(IpAddr::is_ipv6) {
            sysctl::write(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0")?;
            sysctl::write(&format!("net/ipv6/conf/{name}/proxy_ndp"), "1")?;
            sysctl::write(&format!("net/ipv6/conf/{name}/forwarding"), "1")?;
        }
        Ok(())
    }

    /// The pod's settings, by a thread inside.
    fn pod_settings(&self) -> Result<()> {
        let forwarding = if self.forwarding { "1" } else { "0" };
        sysctl::write("net/ipv4/ip_forward", forwarding)?;
        if self.addresses.iter().any(IpAddr::is_ipv6) {
            for scope in ["all", "default", "lo", &self.pair.pod_interface] {
                sysctl::write(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "0")?;
            }
            sysctl::write(&format!("net/ipv6/conf/{}/accept_dad", self.pair.pod_interface), "0")?;
            sysctl::write("net/ipv6/conf/all/forwarding", forwarding)?;
        }
        Ok(())
    }

    fn dress_pod(&self, pair: &mut Created) -> Result<()> {
        let (links, index) = (&mut pair.pod, pair.pod_index);
        links.set_up(LinkRef::Name("lo"))?;
        links.set_up(LinkRef::Index(index))?;
        for address in &self.addresses {
            links.add_address(index, single(*address))?;
        }
        for route in pod_routes(&self.addresses, &self.routes, index) {
            if let Some(gateway) = route.gateway {
                links.replace_neighbour(index, gateway, HOST_MAC)?;
            }
            links.replace_route(&route)?;
        }
        Ok(())
    }

    /// What differs from [`Wiring::apply`]'s work, in words; empty if nothing does.
    ///
    /// # Errors
    /// [`Error::Netlink`] if the kernel can't be read.
    pub fn faults(&self, pod: &Namespace) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        let mut host = Rtnetlink::open()?;
        match host.link(LinkRef::Name(&self.pair.host_interface))? {
            None => faults.push(format!("interface {} is missing on the host", self.pair.host_interface)),
            Some(link) => {
                if !link.up {
                    faults.push(format!("interface {} is down", self.pair.host_interface));
                }
                let routes =
                    host.routes(RouteFilter { interface: Some(link.index), ..RouteFilter::default() })?;
                for address in &self.addresses {
                    if !routes.iter().any(|route| route.destination == single(*address)) {
                        faults.push(format!("route {} is missing on the host", single(*address)));
                    }
                }
            }
        }
        let mut inside = Rtnetlink::open_in(pod)?;
        let Some(link) = inside.link(LinkRef::Name(&self.pair.pod_interface))? else {
            faults.push(format!("interface {} is missing in the container", self.pair.pod_interface));
            return Ok(faults);
        };
        let addresses = inside.addresses()?;
        for address in &self.addresses {
            if !addresses.iter().any(|found| found.index == link.index && found.net.addr() == *address) {
                faults.push(format!("address {address} is missing in the container"));
            }
        }
        let routes = inside.routes(RouteFilter { interface: Some(link.index), ..RouteFilter::default() })?;
        for wanted in &self.routes {
            if !routes.iter().any(|route| route.destination == *wanted) {
                faults.push(format!("route {wanted} is missing in the container"));
            }
        }
        Ok(faults)
    }
}

/// Sets the host's interface down: nothing passes any more, and the kernel is done at once. Its index, or `None` if
/// there is none.
///
/// # Errors
/// [`Error::Netlink`].
pub fn take_down(host_interface: &str) -> Result<Option<u32>> {
    let mut host = Rtnetlink::open()?;
    let Some(link) = host.link(LinkRef::Name(host_interface))? else { return Ok(None) };
    let down = LinkChange { up: Some(false), ..LinkChange::default() };
    match host.set_link(LinkRef::Index(link.index), &down) {
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(Some(link.index)),
    }
}

/// Removes a pod's wires from inside. No error if there are none.
///
/// # Errors
/// [`Error::Netlink`].
pub fn remove(pod: &Namespace, pod_interface: &str) -> Result<bool> {
    Ok(Rtnetlink::open_in(pod)?.delete_link(LinkRef::Name(pod_interface))?)
}

/// Removes a pod's wires from the host. No error if there are none.
///
/// # Errors
/// [`Error::Netlink`].
pub fn remove_from_host(interface: LinkRef<'_>) -> Result<bool> {
    Ok(Rtnetlink::open()?.delete_link(interface)?)
}

/// Forgets the connections of addresses that begin or end to be someone's.
///
/// # Errors
/// [`Error::Netlink`].
pub fn forget(addresses: &[IpAddr]) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let mut conntrack = Conntrack::open()?;
    for address in addresses {
        conntrack.delete_address(*address)?;
    }
    Ok(())
}

/// The pod's routes: to the IPv4 gateway on the link, then everything through the gateway of its family.
fn pod_routes(addresses: &[IpAddr], destinations: &[IpNet], index: u32) -> Vec<Route> {
    let mut routes = Vec::new();
    if addresses.iter().any(IpAddr::is_ipv4) {
        routes.push(Route::direct(single(GATEWAY_V4.into()), index));
    }
    for destination in destinations {
        let v4 = destination.addr().is_ipv4();
        if !addresses.iter().any(|address| address.is_ipv4() == v4) {
            continue;
        }
        let (gateway, priority) = if v4 { (GATEWAY_V4.into(), 0) } else { (GATEWAY_V6.into(), METRIC_V6) };
        routes.push(Route { priority, ..Route::via(*destination, gateway, index) });
    }
    routes
}

fn single(address: IpAddr) -> IpNet {
    IpNet::from(address)
}
