//! One set of namespaces for all clusters: a router with an end on every interface that a random endpoint may
//! have, and an end on the uplink where everybody else is.
//!
//! The ends own none of the clusters' addresses, so nothing answers and every probe stays a new connection; the
//! router's routes say which end an address is at. Sentinels are packets of connections between every two
//! addresses that were established before there was any policy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use ipnet::IpNet;
use tortie_lab::packet::{Packet, Transport};
use tortie_lab::raw::{Capture, Sender};
use tortie_lab::{Lab, Role};
use tortie_netlink::rtnetlink::Route;
use tortie_netlink::{OwnedNamespace, Rtnetlink, sysctl};

/// The router's interface to everybody who is no endpoint of the node.
pub const UPLINK: &str = "up0";
/// A stranger's addresses, which sentinels from and to the uplink have.
const STRANGERS: [&str; 2] = ["198.51.100.1", "2001:db8::1"];
/// Ports of sentinels, which no probe has.
const SENTINEL: (u16, u16) = (9_001, 9_002);
/// Source ports and ICMP identifiers of probes: each is a flow of its own.
const PORTS: std::ops::Range<u16> = 10_000..60_000;
/// How long a packet may be on its way before the test gives up.
const BOUND: Duration = Duration::from_secs(20);

/// The far end of one of the router's interfaces.
struct End {
    sender: Sender,
    capture: Capture,
    index: u32,
    /// What the router's routes to it lead over.
    gateways: [IpAddr; 2],
}

/// See the module.
pub struct World {
    links: Rtnetlink,
    ends: BTreeMap<String, End>,
    /// Where addresses are that aren't at the uplink.
    places: BTreeMap<IpAddr, String>,
    port: u16,
    cookie: u64,
    lab: Lab,
}

impl World {
    pub fn new() -> World {
        let mut lab = Lab::create().unwrap();
        let router = lab.add_host("router", Role::Node).unwrap();
        quiet(lab.hosts()[router].namespace());
        let mut links = Rtnetlink::open_in(lab.hosts()[router].namespace()).unwrap();
        let mut ends = BTreeMap::new();
        for (number, interface) in interfaces().into_iter().enumerate() {
            let number = u8::try_from(number + 1).unwrap();
            let gateways: [IpAddr; 2] =
                [[10, 77, 0, number].into(), [0xfd77, 1, 0, 0, 0, 0, 0, u16::from(number)].into()];
            let pod = lab.add_pod(&interface).unwrap();
            lab.wire(pod, router, &interface, &gateways).unwrap();
            let namespace = lab.pods()[pod].namespace();
            let end = End {
                sender: Sender::open(namespace).unwrap(),
                capture: Capture::at_interfaces(namespace).unwrap(),
                index: links.index_of(&interface).unwrap(),
                gateways,
            };
            ends.insert(interface, end);
        }
        let mut world =
            World { links, ends, places: BTreeMap::new(), port: PORTS.start, cookie: 1 << 32, lab };
        for all in ["0.0.0.0/0", "::/0"] {
            world.route(all.parse().unwrap(), UPLINK);
        }
        world.warm();
        world.track();
        world.establish();
        world
    }

    /// The router.
    pub fn router(&self) -> &OwnedNamespace {
        self.lab.hosts()[0].namespace()
    }

    /// Where an address is.
    pub fn place(&self, address: IpAddr) -> &str {
        self.places.get(&address).map_or(UPLINK, String::as_str)
    }

    /// Moves addresses to where they are now; all others are at the uplink.
    pub fn settle(&mut self, places: BTreeMap<IpAddr, String>) {
        for (address, interface) in &places {
            if self.places.get(address) != Some(interface) {
                self.route((*address).into(), interface);
            }
        }
        let gone: Vec<IpAddr> =
            self.places.keys().filter(|address| !places.contains_key(address)).copied().collect();
        for address in gone {
            self.route(address.into(), UPLINK);
        }
        self.places = places;
    }

    /// A cookie that no packet had before.
    pub fn next_cookie(&mut self) -> u64 {
        self.cookie += 1;
        self.cookie
    }

    /// A source port that no probe had before (none of the last 50,000).
    pub fn next_port(&mut self) -> u16 {
        self.port = if self.port + 1 == PORTS.end { PORTS.start } else { self.port + 1 };
        self.port
    }

    /// Sends each packet from its interface, and behind them a sentinel on every path that `paths` names (from an
    /// interface, to an interface, of a family). When the sentinels have come, what hasn't was dropped. Returns
    /// which cookies arrived, each with where.
    pub fn send(&mut self, packets: &[(String, Packet)], paths: &BTreeSet<Path>) -> BTreeMap<u64, String> {
        // One processor all the way: what is sent first arrives first.
        let pinned = tortie_lab::probe::pin();
        for (interface, packet) in packets {
            self.ends[interface].sender.send(std::slice::from_ref(packet)).unwrap();
        }
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        let mut sentinels = BTreeMap::new();
        for path in paths {
            self.cookie += 1;
            let packet = sentinel(self.own(&path.from, path.v4), self.own(&path.to, path.v4), self.cookie);
            self.ends[&path.from].sender.send(&[packet]).unwrap();
            sentinels.insert(self.cookie, path);
            last.insert(&path.to, self.cookie);
        }
        let mut arrived = BTreeMap::new();
        for (interface, cookie) in &last {
            let end = self.ends.get_mut(*interface).unwrap();
            let came = end.capture.until(*cookie, BOUND).unwrap_or_else(|error| {
                panic!("{interface}: the last sentinel is on {:?}: {error}", sentinels[cookie])
            });
            arrived.extend(came.iter().map(|packet| (packet.cookie, (*interface).to_owned())));
            arrived.insert(*cookie, (*interface).to_owned());
        }
        drop(pinned);
        // Nothing may have gone astray either.
        for (interface, end) in &mut self.ends {
            let came = end.capture.drain().unwrap();
            arrived.extend(came.iter().map(|packet| (packet.cookie, interface.clone())));
        }
        for (cookie, path) in sentinels {
            assert_eq!(arrived.remove(&cookie).as_deref(), Some(&*path.to), "the sentinel on {path:?}");
        }
        arrived
    }

    /// An address that packets from this interface may have.
    fn own(&self, interface: &str, v4: bool) -> IpAddr {
        let strangers = STRANGERS.map(|address| address.parse::<IpAddr>().unwrap());
        let mut all =
            self.places.iter().filter(|(_, place)| *place == interface).map(|(address, _)| *address);
        all.find(|address| address.is_ipv4() == v4).unwrap_or(strangers[usize::from(!v4)])
    }

    fn route(&mut self, net: IpNet, interface: &str) {
        let end = &self.ends[interface];
        let gateway = end.gateways[usize::from(net.addr().is_ipv6())];
        self.links.replace_route(&Route { onlink: true, ..Route::via(net, gateway, end.index) }).unwrap();
    }

    /// The kernel drops packets of a new link until a worker has attached its queue: sends until one comes, both
    /// ways and in both families, as an address of IPv6 also takes its time.
    fn warm(&mut self) {
        let interfaces: Vec<String> = self.ends.keys().cloned().collect();
        for interface in &interfaces {
            for v4 in [true, false] {
                let there = self.ends[interface].gateways[usize::from(!v4)];
                let stranger = self.own(UPLINK, v4);
                for (from, to, source, destination) in
                    [(interface.as_str(), UPLINK, there, stranger), (UPLINK, interface, stranger, there)]
                {
                    let start = std::time::Instant::now();
                    loop {
                        let cookie = self.next_cookie();
                        self.ends[from].sender.send(&[sentinel(source, destination, cookie)]).unwrap();
                        let came = self.ends.get_mut(to).unwrap().capture.drain().unwrap();
                        if came.iter().any(|packet| packet.cookie > 1 << 32) {
                            break;
                        }
                        assert!(start.elapsed() < BOUND, "nothing comes from {from} to {to}");
                    }
                }
            }
        }
    }

    /// Connections are tracked from now on, although no table of ours stands. Those without ports are forgotten
    /// at once, so that each of their packets is a new one. What the ends' kernels say of themselves (multicast
    /// listeners) would be counted, too: it goes no further.
    fn track(&self) {
        let rules = "add table inet foreign; \
                     add chain inet foreign forward { type filter hook forward priority -10; }; \
                     add rule inet foreign forward ct state established counter accept; \
                     add chain inet foreign prerouting { type filter hook prerouting priority -400; }; \
                     add rule inet foreign prerouting ip6 saddr fe80::/10 drop; \
                     add rule inet foreign prerouting ip6 saddr :: drop";
        let output = self.lab.hosts()[0].output(Command::new("nft").arg(rules)).unwrap();
        assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        let set = |name: &str, seconds: &str| {
            sysctl::write_if_present(&format!("net/netfilter/nf_conntrack_{name}"), seconds).unwrap()
        };
        self.router()
            .run(|| {
                assert!(set("udp_timeout", "86400") && set("udp_timeout_stream", "86400"));
                assert!(set("generic_timeout", "0"));
                set("gre_timeout", "0");
            })
            .unwrap();
    }

    /// A packet there and one back between every two addresses that endpoints, or strangers, may have.
    fn establish(&mut self) {
        let all = addresses();
        let pinned = tortie_lab::probe::pin();
        for v4 in [true, false] {
            let family: Vec<IpAddr> = all.iter().copied().filter(|address| address.is_ipv4() == v4).collect();
            let uplink = self.ends.get_mut(UPLINK).unwrap();
            for one in &family {
                for other in &family {
                    let there = sentinel(*one, *other, 1);
                    let transport = Transport::Udp { source: SENTINEL.1, destination: SENTINEL.0 };
                    let back = Packet { source: *other, destination: *one, transport, cookie: 2 };
                    uplink.sender.send(&[there, back]).unwrap();
                }
                self.cookie += 1;
                uplink.sender.send(&[sentinel(*one, *one, self.cookie)]).unwrap();
                uplink.capture.until(self.cookie, BOUND).unwrap();
            }
        }
        drop(pinned);
    }
}

/// A way through the router that probes went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    pub from: String,
    pub to: String,
    pub v4: bool,
}

fn sentinel(source: IpAddr, destination: IpAddr, cookie: u64) -> Packet {
    let transport = Transport::Udp { source: SENTINEL.0, destination: SENTINEL.1 };
    Packet { source, destination, transport, cookie }
}

/// All that `random::cluster` names, and the uplink.
fn interfaces() -> Vec<String> {
    let namespaces = tortie_proof::random::NAMESPACES;
    let pods =
        namespaces.iter().flat_map(|name| (0..9).map(move |number| format!("cali{}{number}", &name[..1])));
    pods.chain([UPLINK.to_owned()]).collect()
}

/// All addresses that `random::cluster` gives to endpoints, and a stranger's of each family.
fn addresses() -> Vec<IpAddr> {
    let strangers = STRANGERS.iter().map(|address| address.parse().unwrap());
    let v4 = [0, 1, 3].into_iter().flat_map(|net| (1..16).map(move |host| [10, 0, net, host].into()));
    let v6 = (1..16).map(|host| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host]));
    strangers.chain(v4).chain(v6).collect()
}

/// A router that forwards whatever comes and says nothing.
fn quiet(router: &OwnedNamespace) {
    router
        .run(|| {
            for all in ["all", "default"] {
                sysctl::write(&format!("net/ipv4/conf/{all}/rp_filter"), "0").unwrap();
                sysctl::write(&format!("net/ipv4/conf/{all}/send_redirects"), "0").unwrap();
            }
        })
        .unwrap();
}
