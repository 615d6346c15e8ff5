//! Against the real kernel, in namespaces of the tests' own (needs root).

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tortie_netlink::rtnetlink::{
    LinkChange, LinkEvent, LinkMonitor, LinkRef, Mac, Route, RouteFilter, Scope, VethEnd, VethPair,
};
use tortie_netlink::{Conntrack, Nflog, OwnedNamespace, Rtnetlink, namespace, sysctl};

static NEXT: AtomicU32 = AtomicU32::new(0);

fn mk_namespace() -> OwnedNamespace {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OwnedNamespace::create(&format!("tt-{}-{number}-nl", std::process::id())).unwrap()
}

/// Two namespaces joined by a veth pair with 10.0.0.1/24 fd00::1/64 and 10.0.0.2/24 fd00::2/64.
fn mk_pair() -> (OwnedNamespace, OwnedNamespace) {
    let (left, right) = (mk_namespace(), mk_namespace());
    let mut near = Rtnetlink::open_in(&left).unwrap();
    let pair = VethPair {
        near: VethEnd { name: "left0", ..VethEnd::default() },
        far: VethEnd { name: "right0", namespace: Some(right.as_fd()), ..VethEnd::default() },
        mtu: None,
        near_up: true,
    };
    near.create_veth(&pair).unwrap();
    for (namespace, name, nets) in
        [(&left, "left0", ["10.0.0.1/24", "fd00::1/64"]), (&right, "right0", ["10.0.0.2/24", "fd00::2/64"])]
    {
        let mut links = Rtnetlink::open_in(namespace).unwrap();
        links.set_up(LinkRef::Name("lo")).unwrap();
        links.set_up(LinkRef::Name(name)).unwrap();
        let index = links.index_of(name).unwrap();
        for net in nets {
            links.add_address(index, net.parse().unwrap()).unwrap();
        }
    }
    (left, right)
}

fn nft(namespace: &OwnedNamespace, rules: &str) {
    let status = namespace.run(|| Command::new("nft").arg(rules).status().unwrap()).unwrap();
    assert!(status.success(), "nft {rules}");
}

#[test]
fn a_named_namespace_is_removed_when_its_owner_is_dropped_even_by_a_panic() {
    let owner = mk_namespace();
    let name = owner.name().to_owned();
    assert!(namespace::named().unwrap().contains(&name));
    let inside = owner.run(|| namespace::Namespace::current().unwrap()).unwrap();
    assert!(inside.is_same(&owner).unwrap());
    assert!(!namespace::Namespace::current().unwrap().is_same(&owner).unwrap());
    let panicked = std::thread::spawn(move || {
        let _owner = owner;
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.join().is_err());
    assert!(!namespace::named().unwrap().contains(&name));
}

#[test]
fn a_panic_inside_a_namespace_comes_back_as_an_error() {
    let owner = mk_namespace();
    let error = owner.run(|| std::panic::resume_unwind(Box::new("boom"))).unwrap_err();
    assert!(error.to_string().contains("boom"), "{error}");
}

#[test]
fn a_veth_pair_is_made_with_both_ends_final_in_one_request() {
    let (host, pod) = (mk_namespace(), mk_namespace());
    let mut links = Rtnetlink::open_in(&host).unwrap();
    let mac: Mac = "ee:ee:ee:ee:ee:ee".parse().unwrap();
    let pair = VethPair {
        near: VethEnd { name: "cali0123456789a", mac: Some(mac), ..VethEnd::default() },
        far: VethEnd { name: "eth0", namespace: Some(pod.as_fd()), ..VethEnd::default() },
        mtu: Some(1410),
        near_up: true,
    };
    links.create_veth(&pair).unwrap();
    Rtnetlink::open_in(&pod).unwrap().set_up(LinkRef::Name("eth0")).unwrap();
    let near = links.link(LinkRef::Name("cali0123456789a")).unwrap().unwrap();
    let far = Rtnetlink::open_in(&pod).unwrap().link(LinkRef::Name("eth0")).unwrap().unwrap();
    assert_eq!((near.mac, near.mtu, near.up, near.running), (Some(mac), 1410, true, true));
    assert_eq!((far.mtu, far.up, far.kind.as_deref()), (1410, true, Some("veth")));
    assert_eq!((near.peer_index, far.peer_index), (Some(far.index), Some(near.index)));
    let again = links.create_veth(&pair).unwrap_err();
    assert!(again.is_exists(), "{again}");
    assert!(links.delete_link(LinkRef::Name("cali0123456789a")).unwrap());
    assert!(!links.delete_link(LinkRef::Name("cali0123456789a")).unwrap());
    assert!(Rtnetlink::open_in(&pod).unwrap().link(LinkRef::Name("eth0")).unwrap().is_none());
}

#[test]
fn a_link_is_renamed_aliased_moved_and_made_a_bridge_port() {
    let (host, pod) = (mk_namespace(), mk_namespace());
    let mut links = Rtnetlink::open_in(&host).unwrap();
    links.create_bridge("br0").unwrap();
    let bridge = links.index_of("br0").unwrap();
    let mk = |name| VethEnd { name, ..VethEnd::default() };
    links.create_veth(&VethPair { near: mk("a0"), far: mk("b0"), mtu: None, near_up: false }).unwrap();
    let (a, b) = (links.index_of("a0").unwrap(), links.index_of("b0").unwrap());
    links.rename(a, "c0").unwrap();
    let change = LinkChange {
        mtu: Some(1300),
        alias: Some("tortie pod"),
        master: Some(bridge),
        up: Some(true),
        ..LinkChange::default()
    };
    links.set_link(LinkRef::Name("c0"), &change).unwrap();
    let c = links.link(LinkRef::Index(a)).unwrap().unwrap();
    assert_eq!((c.name.as_str(), c.mtu, c.alias.as_deref()), ("c0", 1300, Some("tortie pod")));
    assert_eq!((c.master, c.up, c.running), (Some(bridge), true, false));
    links.move_link(LinkRef::Index(b), pod.as_fd()).unwrap();
    assert!(links.link(LinkRef::Name("b0")).unwrap().is_none());
    let names: Vec<_> =
        Rtnetlink::open_in(&pod).unwrap().links().unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!(names, ["lo", "b0"]);
}

#[test]
fn the_kernels_own_words_are_in_the_error() {
    let host = mk_namespace();
    let mut links = Rtnetlink::open_in(&host).unwrap();
    let route = Route::via("10.1.0.0/16".parse().unwrap(), "192.0.2.1".parse().unwrap(), 1);
    let error = links.add_route(&route).unwrap_err().to_string();
    assert!(error.starts_with("add route 10.1.0.0/16: "), "{error}");
    assert!(error.contains("(Nexthop") || error.contains("(Device"), "{error}");
}

#[test]
fn routes_of_both_families_are_written_listed_replaced_and_deleted() {
    let (left, _right) = mk_pair();
    let mut links = Rtnetlink::open_in(&left).unwrap();
    let index = links.index_of("left0").unwrap();
    let direct = Route::direct("10.9.0.1/32".parse().unwrap(), index);
    let direct6 = Route::direct("fd09::1/128".parse().unwrap(), index);
    let onlink = Route {
        onlink: true,
        ..Route::via("0.0.0.0/0".parse().unwrap(), "169.254.1.1".parse().unwrap(), index)
    };
    let table = Route { table: 1000, protocol: 80, ..direct.clone() };
    for route in [&direct, &direct6, &onlink, &table] {
        links.add_route(route).unwrap();
        assert!(links.add_route(route).unwrap_err().is_exists());
        links.replace_route(route).unwrap();
    }
    let boot = RouteFilter { protocol: Some(3), table: Some(254), interface: None };
    let mut found = links.routes(boot).unwrap();
    found.sort_by_key(|route| route.destination);
    let direct6_as_read = Route { priority: 1024, ..direct6.clone() };
    assert_eq!(found, [onlink.clone(), direct.clone(), direct6_as_read]);
    assert_eq!(found[1].scope, Scope::Link);
    let other = links.routes(RouteFilter { table: Some(1000), ..RouteFilter::default() }).unwrap();
    assert_eq!(other, [table]);
    for route in [&direct, &direct6, &onlink] {
        assert!(links.delete_route(route).unwrap());
        assert!(!links.delete_route(route).unwrap());
    }
    assert!(links.routes(boot).unwrap().is_empty());
    assert!(links.routes(RouteFilter { table: Some(77), ..RouteFilter::default() }).unwrap().is_empty());
}

#[test]
fn ten_thousand_routes_are_listed_whole() {
    let (left, _right) = mk_pair();
    let mut links = Rtnetlink::open_in(&left).unwrap();
    let index = links.index_of("left0").unwrap();
    for number in 0..10_000u32 {
        let address = std::net::Ipv4Addr::from(0x0a40_0000 + number);
        links.add_route(&Route::direct(format!("{address}/32").parse().unwrap(), index)).unwrap();
    }
    let found = links.routes(RouteFilter { protocol: Some(3), ..RouteFilter::default() }).unwrap();
    assert_eq!(found.len(), 10_000);
}

#[test]
fn addresses_and_neighbours_are_written_listed_and_deleted() {
    let (left, _right) = mk_pair();
    let mut links = Rtnetlink::open_in(&left).unwrap();
    let index = links.index_of("left0").unwrap();
    let addresses = links.addresses().unwrap();
    let v6 = addresses.iter().find(|address| address.net.to_string() == "fd00::1/64").unwrap();
    assert!(!v6.tentative && v6.index == index);
    assert!(links.delete_address(index, "10.0.0.1/24".parse().unwrap()).unwrap());
    assert!(!links.delete_address(index, "10.0.0.1/24".parse().unwrap()).unwrap());
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    for address in ["169.254.1.1", "fe80::1"] {
        let address: IpAddr = address.parse().unwrap();
        links.replace_neighbour(index, address, mac).unwrap();
        links.replace_neighbour(index, address, mac).unwrap();
        let all = links.neighbours().unwrap();
        let found = all.iter().find(|neighbour| neighbour.address == address).unwrap();
        assert_eq!((found.mac, found.permanent, found.proxy), (Some(mac), true, false));
        assert!(links.delete_neighbour(index, address).unwrap());
        assert!(!links.delete_neighbour(index, address).unwrap());
    }
    links.add_proxy(index, "fe80::2".parse().unwrap()).unwrap();
    assert!(links.neighbours().unwrap().iter().any(|neighbour| neighbour.proxy));
}

#[test]
fn link_events_arrive_in_order() {
    let host = mk_namespace();
    let mut monitor = LinkMonitor::open_in(&host).unwrap();
    let mut links = Rtnetlink::open_in(&host).unwrap();
    let mk = |name| VethEnd { name, ..VethEnd::default() };
    links.create_veth(&VethPair { near: mk("a0"), far: mk("b0"), mtu: None, near_up: false }).unwrap();
    links.delete_link(LinkRef::Name("a0")).unwrap();
    let events = monitor.drain().unwrap();
    let name = |event: &LinkEvent| match event {
        LinkEvent::Changed(link) => format!("+{}", link.name),
        LinkEvent::Gone(link) => format!("-{}", link.name),
    };
    let names: Vec<_> = events.iter().map(name).collect();
    let position = |wanted: &str| names.iter().position(|name| name == wanted).unwrap();
    assert!(position("+a0") < position("-a0"), "{names:?}");
    assert!(position("+b0") < position("-b0"), "{names:?}");
    assert!(monitor.drain().unwrap().is_empty());
}

#[test]
fn a_sysctl_is_written_in_the_namespace_of_the_thread_only() {
    let host = mk_namespace();
    let before = sysctl::read("net/ipv4/conf/lo/proxy_arp").unwrap();
    let inside = host
        .run(|| {
            sysctl::write("net/ipv4/conf/lo/proxy_arp", "1")?;
            assert!(!sysctl::write_if_present("net/ipv4/conf/nosuch/proxy_arp", "1")?);
            sysctl::read("net/ipv4/conf/lo/proxy_arp")
        })
        .unwrap()
        .unwrap();
    assert_eq!(inside, "1");
    assert_eq!(sysctl::read("net/ipv4/conf/lo/proxy_arp").unwrap(), before);
    assert!(sysctl::write("../etc/passwd", "x").is_err());
}

#[test]
fn all_connections_of_an_address_are_forgotten_and_no_other() {
    forgets(|conntrack| conntrack);
}

#[test]
fn all_connections_of_an_address_are_forgotten_on_kernels_that_delete_one_by_one() {
    forgets(Conntrack::one_by_one);
}

fn forgets(as_on: fn(Conntrack) -> Conntrack) {
    let (left, right) = mk_pair();
    nft(
        &right,
        "add table inet t; add chain inet t c { type filter hook prerouting priority 0; }; add rule inet t c ct state established accept",
    );
    let mut links = Rtnetlink::open_in(&right).unwrap();
    let index = links.index_of("right0").unwrap();
    links.add_address(index, "10.0.0.3/24".parse().unwrap()).unwrap();
    // Ports of their own: two flows with one source port would be one connection.
    // A connection is tracked when its packet is delivered.
    let receiver = right.run(|| UdpSocket::bind("[::]:9").unwrap()).unwrap();
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let send = |to: &str, from: &str, ports: std::ops::Range<u16>| {
        let (to, from): (SocketAddr, IpAddr) = (to.parse().unwrap(), from.parse().unwrap());
        left.run(|| {
            for port in ports {
                assert_eq!(UdpSocket::bind((from, port)).unwrap().send_to(b"x", to).unwrap(), 1);
                receiver.recv(&mut [0; 1]).unwrap();
            }
        })
        .unwrap();
    };
    send("10.0.0.2:9", "10.0.0.1", 20_000..20_300);
    send("10.0.0.3:9", "10.0.0.1", 21_000..21_007);
    send("[fd00::2]:9", "fd00::1", 22_000..22_005);
    let mut conntrack = as_on(Conntrack::open_in(&right).unwrap());
    let counts = |conntrack: &mut Conntrack| {
        ["10.0.0.2", "10.0.0.3", "10.0.0.1", "fd00::2"]
            .map(|address| conntrack.of_address(address.parse().unwrap()).unwrap().len())
    };
    let one = conntrack.of_address("10.0.0.2".parse().unwrap()).unwrap()[0];
    assert_eq!((one.source.to_string().as_str(), one.destination_port, one.protocol), ("10.0.0.1", 9, 17));
    assert!(conntrack.count().unwrap() >= 312);
    assert_eq!(counts(&mut conntrack), [300, 7, 307, 5]);
    for _ in 0..2 {
        conntrack.delete_addresses(&["10.0.0.2".parse().unwrap()]).unwrap();
        assert_eq!(counts(&mut conntrack), [0, 7, 7, 5]);
    }
    conntrack.delete_addresses(&["fd00::1".parse().unwrap()]).unwrap();
    assert_eq!(counts(&mut conntrack), [0, 7, 7, 0]);
    send("[fd00::2]:9", "fd00::1", 23_000..23_004);
    send("10.0.0.2:9", "10.0.0.1", 24_000..24_001);
    assert_eq!(counts(&mut conntrack), [1, 7, 8, 4]);
    let both = ["10.0.0.3", "fd00::2"].map(|address| address.parse().unwrap());
    conntrack.delete_addresses(&both).unwrap();
    assert_eq!(counts(&mut conntrack), [1, 0, 1, 0]);
}

#[test]
fn a_logged_packet_comes_with_prefix_interface_and_bytes() {
    let (left, right) = mk_pair();
    nft(
        &right,
        "add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c udp dport 9 log prefix \"deny|web\" group 7",
    );
    let mut log = Nflog::open_in(&right, 7, 64).unwrap();
    let busy = Nflog::open_in(&right, 7, 64).unwrap_err();
    assert_eq!(busy.errno(), Some(nix::libc::EPERM), "{busy}");
    let receiver = right.run(|| UdpSocket::bind("10.0.0.2:9").unwrap()).unwrap();
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    left.run(|| UdpSocket::bind("10.0.0.1:0").unwrap().send_to(&[7; 100], "10.0.0.2:9").unwrap()).unwrap();
    // Logged before it is delivered.
    receiver.recv(&mut [0; 1]).unwrap();
    let index = Rtnetlink::open_in(&right).unwrap().index_of("right0").unwrap();
    let packets = log.drain().unwrap();
    assert_eq!(packets.len(), 1);
    assert_eq!((packets[0].prefix.as_str(), packets[0].ether_type), ("deny|web", 0x0800));
    assert_eq!((packets[0].in_interface, packets[0].out_interface), (Some(index), None));
    assert_eq!(packets[0].payload.len(), 64);
    assert_eq!(packets[0].payload[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
}
