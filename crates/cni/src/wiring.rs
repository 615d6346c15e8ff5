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
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
use tortie_dataplane::network::HostPort;
use tortie_netlink::rtnetlink::{
    LinkEvent, LinkMonitor, LinkRef, Mac, Route, RouteFilter, VethEnd, VethPair,
};
use tortie_netlink::{Conntrack, Namespace, Rtnetlink, sysctl};

const UDP: u8 = 17;

/// The host side of every pod's veth.
pub const HOST_MAC: Mac = Mac([0xee; 6]);
/// Every pod's IPv4 gateway; the host side answers for it by proxy ARP.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Every pod's IPv6 gateway: the host side's link-local address, made from [`HOST_MAC`].
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);
/// `RT_TABLE_LOCAL`: what is delivered here.
const TABLE_LOCAL: u32 = 255;
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
    /// The MAC address inside.
    pub mac: Mac,
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
    /// Whether ports of the host lead to the pod.
    pub has_ports: bool,
}

/// A pair that is there: down on both sides, without addresses.
#[derive(Debug)]
pub struct Created {
    /// Index of the interface on the host.
    pub host_index: u32,
    pod_index: u32,
    host: Rtnetlink,
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

/// A random address of the kind that software gives itself. Known before the interface is there, so that the endpoint can
/// be stored while the kernel makes it.
#[must_use]
pub fn random_mac() -> Mac {
    let [_, _, mut first, b, c, d, e, f] = RandomState::new().build_hasher().finish().to_be_bytes();
    first = (first & !1) | 2;
    Mac([first, b, c, d, e, f])
}

impl Pair {
    /// Makes the pair, one end in the calling thread's namespace. An interface that has its name on the host already is
    /// a remainder and goes first.
    ///
    /// # Errors
    /// [`Error::Netlink`]; what is left then goes with [`remove_from_host`].
    pub fn create(&self, pod: &Namespace) -> Result<Created> {
        let mut host = Rtnetlink::open()?;
        let pair = VethPair {
            near: VethEnd { name: &self.host_interface, mac: Some(HOST_MAC), namespace: None },
            far: VethEnd { name: &self.pod_interface, mac: Some(self.mac), namespace: Some(pod.as_fd()) },
            mtu: self.mtu,
            // An end that is up before the other is has no carrier: whoever asks for it then has the kernel take it out
            // of use, for an RCU grace period.
            near_up: false,
        };
        match host.create_veth(&pair) {
            Err(error) if error.is_exists() => {
                host.delete_link(LinkRef::Name(&self.host_interface))?;
                host.create_veth(&pair)?;
            }
            made => made?,
        }
        let link = host.existing(LinkRef::Name(&self.host_interface))?;
        // The kernel leaves it out when both have the same.
        let pod_index = link.peer_index.unwrap_or(link.index);
        Ok(Created { host_index: link.index, pod_index, host })
    }
}

/// Returns when the interface sends. The kernel notices a new carrier from a worker of its own (`linkwatch`), or when it is
/// asked, and until then discards what is sent.
fn awake(links: &mut Rtnetlink, index: u32) -> Result<()> {
    taken_in("carrier", || Ok(links.link(LinkRef::Index(index))?.is_none_or(|link| link.operational)))
}

/// Returns when the kernel's own workers have taken in what was written, or a pod's first packets would be lost without
/// any rule's doing. After a second it returns all the same: the wiring itself stands.
fn taken_in(what: &str, mut is_there: impl FnMut() -> Result<bool>) -> Result<()> {
    let patience = Instant::now() + Duration::from_secs(1);
    // As a rule it is there already; else within a millisecond.
    while !is_there()? {
        if Instant::now() > patience {
            tracing::warn!(what, "the kernel has not taken in the pod's wiring after a second");
            break;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

impl Wiring {
    /// Wires the pod to the calling thread's namespace, from nothing.
    ///
    /// # Errors
    /// [`Error::Netlink`]; nothing of it is left then.
    pub fn apply(&self, pod: &Namespace) -> Result<()> {
        let done = std::thread::scope(|scope| {
            let forgetting = scope.spawn(|| forget(&self.addresses));
            let wires = scope.spawn(move || {
                self.pair.create(pod).and_then(|pair| self.dress(pair, pod, || forgotten(forgetting)))
            });
            let panicked = |_| Err(Error::Gate("the thread that wires the pod panicked".into()));
            wires.join().unwrap_or_else(panicked)
        });
        done.inspect_err(|_| {
            if let Err(error) = remove_from_host(LinkRef::Name(&self.pair.host_interface)) {
                tracing::warn!(interface = self.pair.host_interface, %error, "half-made interface not removed");
            }
        })
    }

    /// Everything after the pair itself: settings, addresses, routes, neighbours, and the kernel has taken all of it in.
    /// `forgotten` returns when the connections that the addresses had before are forgotten; it is called before any route
    /// leads here, for those of established connections pass without a judge. The host's end comes up last. For a thread that
    /// ends then: it enters the pod for good.
    ///
    /// # Errors
    /// [`Error::Netlink`]; what is left then goes with [`remove_from_host`].
    pub fn dress(
        &self,
        mut pair: Created,
        pod: &Namespace,
        forgotten: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        for (name, value) in host_settings(&self.pair.host_interface, &self.addresses, self.has_ports) {
            sysctl::write(&name, value)?;
        }
        pod.enter()?;
        self.pod_settings()?;
        let mut inside = Rtnetlink::open()?;
        self.dress_pod(&mut inside, pair.pod_index)?;
        forgotten()?;
        self.dress_host(&mut pair.host, pair.host_index)?;
        awake(&mut pair.host, pair.host_index)?;
        awake(&mut inside, pair.pod_index)?;
        self.listening(&mut inside)
    }

    fn dress_host(&self, links: &mut Rtnetlink, index: u32) -> Result<()> {
        links.set_up(LinkRef::Index(index))?;
        for address in &self.addresses {
            links.replace_neighbour(index, *address, self.pair.mac)?;
            links.replace_route(&Route::direct(single(*address), index))?;
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

    fn dress_pod(&self, links: &mut Rtnetlink, index: u32) -> Result<()> {
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

    /// An IPv6 address is delivered to when a worker (`addrconf`) has made its local route.
    fn listening(&self, links: &mut Rtnetlink) -> Result<()> {
        let late: Vec<IpNet> =
            self.addresses.iter().filter(|address| address.is_ipv6()).copied().map(single).collect();
        let local = RouteFilter { table: Some(TABLE_LOCAL), ..RouteFilter::default() };
        taken_in("addresses", || {
            let found = if late.is_empty() { Vec::new() } else { links.routes(local)? };
            Ok(late.iter().all(|address| found.iter().any(|route| route.destination == *address)))
        })
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

/// The host's settings of a pod's interface, with their values.
pub(crate) fn host_settings(
    interface: &str,
    addresses: &[IpAddr],
    has_ports: bool,
) -> Vec<(String, &'static str)> {
    let mut settings = Vec::new();
    if addresses.iter().any(IpAddr::is_ipv4) && has_ports {
        // The answers to what the host has sent from 127.0.0.1 arrive for that address.
        settings.push((format!("net/ipv4/conf/{interface}/route_localnet"), "1"));
    }
    if addresses.iter().any(IpAddr::is_ipv4) {
        settings.push((format!("net/ipv4/neigh/{interface}/proxy_delay"), "0"));
        settings.push((format!("net/ipv4/conf/{interface}/proxy_arp"), "1"));
        settings.push((format!("net/ipv4/conf/{interface}/forwarding"), "1"));
    }
    if addresses.iter().any(IpAddr::is_ipv6) {
        settings.push((format!("net/ipv6/conf/{interface}/disable_ipv6"), "0"));
        settings.push((format!("net/ipv6/conf/{interface}/proxy_ndp"), "1"));
        settings.push((format!("net/ipv6/conf/{interface}/forwarding"), "1"));
    }
    settings
}

/// The index of an interface on the host, if there is one.
///
/// # Errors
/// [`Error::Netlink`].
pub fn index_on_host(interface: &str) -> Result<Option<u32>> {
    Ok(Rtnetlink::open()?.link(LinkRef::Name(interface))?.map(|link| link.index))
}

/// Removes a pod's wires from the host, and calls `then` when nothing passes through them any more. The kernel says so
/// (`RTM_DELLINK`) long before it answers: it goes on to wait until nobody holds what it frees, some 10 ms, and longer if
/// nftables has removed something at the same time. So `then` is the time to do so, and not before. It is called once,
/// whatever else fails. Nor is the kernel's answer waited for where its word was heard: the interface is gone, and a
/// thread of its own hears the rest out (a process that ends waits for it in the kernel).
///
/// # Errors
/// [`Error::Netlink`].
pub fn take_away(index: u32, then: impl FnOnce()) -> Result<()> {
    let watched = LinkMonitor::open().map_err(Error::from).and_then(|monitor| {
        let ends = UnixStream::pair().map_err(|error| Error::system("make a pair of sockets", error))?;
        Ok((monitor, ends))
    });
    let (mut monitor, (answered, answer)) = match watched {
        Ok(watched) => watched,
        Err(error) => {
            tracing::debug!(%error, "waiting for the kernel's answer instead of its word");
            let removed = remove_from_host(LinkRef::Index(index)).map(drop);
            then();
            return removed;
        }
    };
    let removal = std::thread::spawn(move || {
        let removed = remove_from_host(LinkRef::Index(index)).map(drop);
        drop(answered);
        removed
    });
    let gone = until_gone(&mut monitor, index, &answer);
    then();
    if gone {
        return Ok(());
    }
    let panicked = |_| Err(Error::Gate("the thread that removes the interface panicked".into()));
    removal.join().unwrap_or_else(panicked)
}

/// Returns when the link is gone, or `answer` is closed from the other side, which happens in any case; whether it was
/// seen to go.
fn until_gone(monitor: &mut LinkMonitor, index: u32, answer: &UnixStream) -> bool {
    let gone = |event: &LinkEvent| matches!(event, LinkEvent::Gone(link) if link.index == index);
    loop {
        // Who has lost events, or can't wait for them, waits for the answer.
        let wanted = match monitor.drain() {
            Ok(events) if events.iter().any(gone) => return true,
            Ok(_) => PollFlags::POLLIN,
            Err(_) => PollFlags::empty(),
        };
        let mut fds = [PollFd::new(answer.as_fd(), PollFlags::POLLIN), PollFd::new(monitor.as_fd(), wanted)];
        let polled = poll(&mut fds, PollTimeout::NONE);
        if polled.is_ok() && fds[0].any() == Some(true) {
            return false;
        }
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
    Conntrack::open()?.delete_addresses(addresses)?;
    Ok(())
}

/// Forgets what goes on past ports of the host that have just begun to lead to pods: UDP's connections end only when nobody
/// has sent for a while, so a client that goes on sending would never be led there.
///
/// # Errors
/// [`Error::Netlink`].
pub fn forget_ports(ports: &[HostPort]) -> Result<()> {
    let of_udp: Vec<&HostPort> = ports.iter().filter(|port| port.protocol == UDP).collect();
    if of_udp.is_empty() {
        return Ok(());
    }
    let own: Vec<IpAddr> = Rtnetlink::open()?.addresses()?.iter().map(|address| address.net.addr()).collect();
    Conntrack::open()?.delete_if(|connection| {
        let leads = |port: &&HostPort| {
            let to = connection.destination;
            port.port == connection.destination_port
                && port.to.is_ipv4() == to.is_ipv4()
                && port.address.map_or(own.contains(&to) || to.is_loopback(), |address| address == to)
                && connection.reply_source != port.to.ip()
        };
        connection.protocol == UDP && of_udp.iter().any(leads)
    })?;
    Ok(())
}

/// Addresses whose connections are to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Somebody is about to get these.
    Maybe(Vec<IpAddr>),
    /// He has got these, or none; nothing follows.
    Surely(Vec<IpAddr>),
}

/// Forgets the connections of what is planned while it is being written: that takes the kernel as long as a store's disk. Who
/// has not got an address that he planned has lost somebody's connection its entry; its next packet makes a new one.
///
/// # Errors
/// [`Error::Netlink`].
pub fn forget_planned(planned: &Receiver<Plan>) -> Result<()> {
    let mut done = Vec::new();
    loop {
        match planned.recv() {
            // What fails now fails again, and is told then.
            Ok(Plan::Maybe(addresses)) => done = forget(&addresses).map_or(Vec::new(), |()| addresses),
            Ok(Plan::Surely(addresses)) if addresses == done => return Ok(()),
            Ok(Plan::Surely(addresses)) => return forget(&addresses),
            Err(_) => return Ok(()),
        }
    }
}

/// The end of a thread that forgets.
///
/// # Errors
/// Its own.
pub fn forgotten(thread: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    thread.join().unwrap_or_else(|_| Err(Error::Gate("the thread that forgets connections panicked".into())))
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

pub(crate) fn single(address: IpAddr) -> IpNet {
    IpNet::from(address)
}
