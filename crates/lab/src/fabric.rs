//! The lab itself: a fabric, hosts on it, and namespaces for pods.
//!
//! ```text
//!   pod netns --veth-- host netns --eth0-- bridge in the fabric netns --eth0-- host netns ...
//! ```
//! Addresses: hosts have 192.168.77.N/24 and fd77::N/64 on the fabric. Nothing is joined to the machine's own
//! network, so that no packet leaves.

use crate::sweep::{self, LabId};
use crate::{Error, Party, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::process::{Child, Command, Output};
use tortie_netlink::rtnetlink::{LinkChange, LinkRef, Mac, Route, VethEnd, VethPair};
use tortie_netlink::{Namespace, OwnedNamespace, Rtnetlink, sysctl};

/// The first host's last address byte.
const FIRST_HOST: u8 = 11;
/// The host side of every pod's veth, as Calico sets it.
pub const HOST_SIDE_MAC: Mac = Mac([0xee; 6]);

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs pods: forwards packets.
    Node,
    /// Just a machine on the network.
    Outside,
}

/// A host: its own namespace, one interface on the fabric.
#[derive(Debug)]
pub struct Host {
    name: String,
    // Dropped in this order: what runs in the namespace, then the namespace.
    children: Children,
    namespace: OwnedNamespace,
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
}

/// A namespace for a pod, empty until a CNI plugin (or [`Lab::wire`]) wires it.
#[derive(Debug)]
pub struct Pod {
    name: String,
    namespace: OwnedNamespace,
}

/// A fabric with hosts and pods; all of it goes when the value is dropped.
#[derive(Debug)]
pub struct Lab {
    id: LabId,
    // Dropped in this order: pods, then hosts (with their processes), then the fabric.
    pods: Vec<Pod>,
    hosts: Vec<Host>,
    fabric: OwnedNamespace,
}

impl Lab {
    /// Makes the fabric. Labs that dead processes left behind are removed first.
    pub fn create() -> Result<Self> {
        for name in sweep::sweep()? {
            tracing::info!(namespace = name, "stale lab removed");
        }
        let id = LabId::unique();
        let fabric = OwnedNamespace::create(&id.namespace("fabric"))?;
        let mut links = Rtnetlink::open_in(&fabric)?;
        links.create_bridge("br0")?;
        links.set_up(LinkRef::Name("lo"))?;
        Ok(Lab { id, pods: Vec::new(), hosts: Vec::new(), fabric })
    }

    /// The name all namespaces of this lab begin with.
    #[must_use]
    pub fn id(&self) -> &LabId {
        &self.id
    }

    /// Adds a host with an interface `eth0` on the fabric and a default route into it. Returns its place.
    pub fn add_host(&mut self, name: &str, role: Role) -> Result<usize> {
        let number = u8::try_from(self.hosts.len()).ok().and_then(|count| count.checked_add(FIRST_HOST));
        let number = number.ok_or_else(|| Error::Invalid {
            field: "host",
            found: name.into(),
            expected: "at most 244 hosts in a lab",
        })?;
        let namespace = OwnedNamespace::create(&self.id.namespace(name))?;
        let (ipv4, ipv6) =
            (Ipv4Addr::new(192, 168, 77, number), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into()));
        let port = format!("p{number}");
        let mut fabric = Rtnetlink::open_in(&self.fabric)?;
        fabric.create_veth(&VethPair {
            near: VethEnd { name: &port, ..VethEnd::default() },
            far: VethEnd { name: "eth0", namespace: Some(namespace.as_fd()), ..VethEnd::default() },
            mtu: None,
            near_up: true,
        })?;
        let bridge = fabric.index_of("br0")?;
        let change = LinkChange { master: Some(bridge), ..LinkChange::default() };
        fabric.set_link(LinkRef::Name(&port), &change)?;
        let mut links = Rtnetlink::open_in(&namespace)?;
        links.set_up(LinkRef::Name("lo"))?;
        links.set_up(LinkRef::Name("eth0"))?;
        let index = links.index_of("eth0")?;
        links.add_address(index, net(ipv4.into(), 24))?;
        links.add_address(index, net(ipv6.into(), 64))?;
        if role == Role::Node {
            namespace.run(|| {
                sysctl::write("net/ipv4/ip_forward", "1")?;
                sysctl::write("net/ipv6/conf/all/forwarding", "1")
            })??;
        }
        self.hosts.push(Host { name: name.into(), namespace, ipv4, ipv6, children: Children::default() });
        Ok(self.hosts.len() - 1)
    }

    /// Adds an empty namespace for a pod. Returns its place.
    pub fn add_pod(&mut self, name: &str) -> Result<usize> {
        let namespace =
            OwnedNamespace::create(&self.id.namespace(&format!("pod-{}", name.replace('/', "."))))?;
        self.pods.push(Pod { name: name.into(), namespace });
        Ok(self.pods.len() - 1)
    }

    /// The hosts in the order added.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// A host to run something on.
    pub fn host_mut(&mut self, place: usize) -> &mut Host {
        &mut self.hosts[place]
    }

    /// The pods in the order added.
    #[must_use]
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Routes `net` (a pool's prefix) to the node at `node`, on every other host.
    pub fn route_pods(&self, pods: IpNet, node: usize) -> Result<()> {
        let gateway = self.hosts[node].address(pods.addr().is_ipv4());
        for (place, host) in self.hosts.iter().enumerate() {
            if place != node {
                let mut links = Rtnetlink::open_in(&host.namespace)?;
                let index = links.index_of("eth0")?;
                links.replace_route(&Route::via(pods, gateway, index))?;
            }
        }
        Ok(())
    }

    /// Wires a pod to a host without a CNI plugin, for tests of what lies below it: a veth `interface`, /32 and
    /// /128 addresses, gateways 169.254.1.1 and fe80::ecee:eeff:feee:eeee, host routes, permanent neighbours.
    pub fn wire(&self, pod: usize, host: usize, interface: &str, addresses: &[IpAddr]) -> Result<()> {
        let (pod, host) = (&self.pods[pod].namespace, &self.hosts[host].namespace);
        let mut near = Rtnetlink::open_in(host)?;
        near.create_veth(&VethPair {
            near: VethEnd { name: interface, mac: Some(HOST_SIDE_MAC), ..VethEnd::default() },
            far: VethEnd { name: "eth0", namespace: Some(pod.as_fd()), ..VethEnd::default() },
            mtu: None,
            near_up: true,
        })?;
        let near_index = near.index_of(interface)?;
        host.run(|| {
            sysctl::write(&format!("net/ipv4/conf/{interface}/proxy_arp"), "1")?;
            sysctl::write(&format!("net/ipv4/neigh/{interface}/proxy_delay"), "0")
        })??;
        let mut far = Rtnetlink::open_in(pod)?;
        far.set_up(LinkRef::Name("lo"))?;
        far.set_up(LinkRef::Name("eth0"))?;
        let far_link = far.link(LinkRef::Name("eth0"))?;
        let (far_index, far_mac) =
            far_link.map_or((0, HOST_SIDE_MAC), |link| (link.index, link.mac.unwrap_or(HOST_SIDE_MAC)));
        for address in addresses {
            let single = net(*address, if address.is_ipv4() { 32 } else { 128 });
            let (gateway, default): (IpAddr, IpNet) = if address.is_ipv4() {
                (Ipv4Addr::new(169, 254, 1, 1).into(), Ipv4Net::default().into())
            } else {
                (
                    Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee).into(),
                    Ipv6Net::default().into(),
                )
            };
            far.add_address(far_index, single)?;
            far.replace_neighbour(far_index, gateway, HOST_SIDE_MAC)?;
            far.replace_route(&Route { onlink: true, ..Route::via(default, gateway, far_index) })?;
            near.replace_route(&Route::direct(single, near_index))?;
            near.replace_neighbour(near_index, *address, far_mac)?;
        }
        Ok(())
    }

    /// Leaves everything standing after this process; `tt-...` names tell where. Processes started on hosts go on.
    pub fn keep(self) -> Result<LabId> {
        sweep::keep(&self.id)?;
        let Lab { id, pods, hosts, fabric } = self;
        for Pod { namespace, .. } in pods {
            drop(namespace.keep());
        }
        for Host { mut children, namespace, .. } in hosts {
            children.0.clear();
            drop(namespace.keep());
        }
        drop(fabric.keep());
        Ok(id)
    }
}

impl Host {
    /// The name given to [`Lab::add_host`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &OwnedNamespace {
        &self.namespace
    }

    /// Its address on the fabric.
    #[must_use]
    pub fn ipv4(&self) -> Ipv4Addr {
        self.ipv4
    }

    /// Its IPv6 address on the fabric.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        self.ipv6
    }

    /// The host as an end of traffic.
    pub fn party(&self) -> Result<Party> {
        Party::new(&self.name, self.namespace.try_clone()?, vec![self.ipv4.into(), self.ipv6.into()])
    }

    /// Starts a program inside the host's namespace; it is killed when the lab is dropped. Returns its pid.
    pub fn spawn(&mut self, command: &mut Command) -> Result<u32> {
        let child = spawn_in(&self.namespace, command)?;
        let pid = child.id();
        self.children.0.push(child);
        Ok(pid)
    }

    /// Ends a program started by [`Host::spawn`] with this signal and waits for it.
    pub fn stop(&mut self, pid: u32, signal: nix::sys::signal::Signal) -> Result<std::process::ExitStatus> {
        let place =
            self.children.0.iter().position(|child| child.id() == pid).ok_or_else(|| Error::Invalid {
                field: "pid",
                found: pid.to_string(),
                expected: "a program that this host started",
            })?;
        let mut child = self.children.0.swap_remove(place);
        if nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal).is_err() {
            // Not reaped yet, so only a wrong signal number can fail: it has to end all the same.
            let _ = child.kill();
        }
        child.wait().map_err(|source| Error::system(format!("stop process {pid}"), source))
    }

    /// Runs a program inside the host's namespace to its end.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        let what = format!("{command:?}");
        self.namespace
            .run(|| command.output())?
            .map_err(|source| Error::system(format!("run {what}"), source))
    }

    fn address(&self, ipv4: bool) -> IpAddr {
        if ipv4 { self.ipv4.into() } else { self.ipv6.into() }
    }
}

impl Pod {
    /// The name given to [`Lab::add_pod`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace; the path is what CNI calls `CNI_NETNS`.
    #[must_use]
    pub fn namespace(&self) -> &OwnedNamespace {
        &self.namespace
    }

    /// The pod as an end of traffic, with the addresses it has now.
    pub fn party(&self) -> Result<Party> {
        let addresses = Rtnetlink::open_in(&self.namespace)?.addresses()?;
        let global = addresses.iter().filter(|address| address.scope == 0).map(|address| address.net.addr());
        Party::new(&self.name, self.namespace.try_clone()?, global.collect())
    }
}

/// Starts a program whose network namespace is `namespace`.
pub fn spawn_in(namespace: &Namespace, command: &mut Command) -> Result<Child> {
    let what = format!("{command:?}");
    namespace.run(|| command.spawn())?.map_err(|source| Error::system(format!("start {what}"), source))
}

/// Programs that are killed and reaped when dropped.
#[derive(Debug, Default)]
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                tracing::warn!(pid = child.id(), %error, "process not ended");
            }
        }
    }
}

fn net(address: IpAddr, prefix_len: u8) -> IpNet {
    IpNet::new(address, prefix_len).expect("24 and 32 fit IPv4, 64 and 128 fit IPv6")
}
