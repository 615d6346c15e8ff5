//! A router namespace with pods `a`, `b` (and more) wired as Calico wires them, and an uplink to a host outside.
//!
//! Pod n has 10.65.0.n and fd65::n on `eth0`, the router `calin`, permanent neighbours on both sides; the host outside
//! has 10.66.0.1 and fd66::1. No packet leaves the namespaces.

use super::namespace;
use super::packets::{Body, Catcher, Packet, Sender};
use std::collections::BTreeSet;
use std::net::IpAddr;
use tortie_netlink::rtnetlink::link::{LinkRef, VethEnd, VethPair};
use tortie_netlink::rtnetlink::route::Route;
use tortie_netlink::{OwnedNamespace, Rtnetlink, sysctl};

/// One namespace with an interface to the router.
pub struct Pod {
    pub namespace: OwnedNamespace,
    /// The router's end.
    pub interface: String,
    pub v4: IpAddr,
    pub v6: IpAddr,
}

/// The router and what is wired to it.
pub struct Wiring {
    pub router: OwnedNamespace,
    /// Pods 1, 2, ... on `cali1`, `cali2`, ...
    pub pods: Vec<Pod>,
    /// On `up0`.
    pub outside: Pod,
}

impl Wiring {
    /// A router with `pods` pods.
    pub fn new(label: &str, pods: u8) -> Wiring {
        let router = namespace(label);
        router
            .run(|| {
                up("lo");
                sysctl::write("net/ipv4/ip_forward", "1").unwrap();
                sysctl::write("net/ipv6/conf/all/forwarding", "1").unwrap();
                sysctl::write("net/ipv4/conf/all/rp_filter", "0").unwrap();
                sysctl::write("net/ipv4/conf/default/rp_filter", "0").unwrap();
                sysctl::write("net/ipv6/conf/default/accept_dad", "0").unwrap();
            })
            .unwrap();
        let pods = (1..=pods)
            .map(|number| {
                wire(
                    &router,
                    &format!("cali{number}"),
                    &format!("10.65.0.{number}"),
                    &format!("fd65::{number}"),
                )
            })
            .collect();
        let outside = wire(&router, "up0", "10.66.0.1", "fd66::1");
        Wiring { router, pods, outside }
    }
}

fn up(name: &str) -> u32 {
    let mut links = Rtnetlink::open().unwrap();
    links.set_up(LinkRef::Name(name)).unwrap();
    links.index_of(name).unwrap()
}

fn wire(router: &OwnedNamespace, interface: &str, v4: &str, v6: &str) -> Pod {
    let pod = namespace("pod");
    let (v4, v6): (IpAddr, IpAddr) = (v4.parse().unwrap(), v6.parse().unwrap());
    let near = router
        .run(|| {
            let mut links = Rtnetlink::open().unwrap();
            links
                .create_veth(&VethPair {
                    near: VethEnd { name: interface, ..VethEnd::default() },
                    far: VethEnd {
                        name: "eth0",
                        namespace: Some(std::os::fd::AsFd::as_fd(&*pod)),
                        ..VethEnd::default()
                    },
                    ..VethPair::default()
                })
                .unwrap();
            let index = up(interface);
            for (address, bits) in [(v4, 32), (v6, 128)] {
                links.add_route(&Route::direct(ipnet::IpNet::new(address, bits).unwrap(), index)).unwrap();
            }
            links.link(LinkRef::Name(interface)).unwrap().unwrap()
        })
        .unwrap();
    let far = pod
        .run(|| {
            sysctl::write("net/ipv6/conf/all/accept_dad", "0").unwrap();
            sysctl::write("net/ipv6/conf/default/accept_dad", "0").unwrap();
            sysctl::write("net/ipv6/conf/eth0/accept_dad", "0").unwrap();
            up("lo");
            let index = up("eth0");
            let mut links = Rtnetlink::open().unwrap();
            for (address, bits, gateway, all) in
                [(v4, 32, "169.254.1.1", "0.0.0.0/0"), (v6, 128, "fe80::1", "::/0")]
            {
                let gateway: IpAddr = gateway.parse().unwrap();
                links.add_address(index, ipnet::IpNet::new(address, bits).unwrap()).unwrap();
                links.replace_neighbour(index, gateway, near.mac.unwrap()).unwrap();
                if gateway.is_ipv4() {
                    links.add_route(&Route::direct("169.254.1.1/32".parse().unwrap(), index)).unwrap();
                }
                links.add_route(&Route::via(all.parse().unwrap(), gateway, index)).unwrap();
            }
            links.link(LinkRef::Name("eth0")).unwrap().unwrap()
        })
        .unwrap();
    router
        .run(|| {
            let mut links = Rtnetlink::open().unwrap();
            for address in [v4, v6] {
                links.replace_neighbour(near.index, address, far.mac.unwrap()).unwrap();
            }
        })
        .unwrap();
    let pod = Pod { namespace: pod, interface: interface.into(), v4, v6 };
    warm(router, &pod);
    pod
}

/// The kernel drops packets of a new link until a worker has attached its queue: sends until one comes, both ways.
fn warm(router: &OwnedNamespace, pod: &Pod) {
    let elsewhere: IpAddr = "10.64.0.1".parse().unwrap();
    for (from, to, source, destination) in
        [(router, &pod.namespace, elsewhere, pod.v4), (&pod.namespace, router, pod.v4, elsewhere)]
    {
        let (mut sender, mut catcher) = (Sender::open(from), Catcher::open(to));
        let mut sent = BTreeSet::new();
        while catcher.waiting().is_disjoint(&sent) {
            sent.insert(sender.send(&Packet::new(source, destination, Body::Udp(9))));
        }
    }
}
