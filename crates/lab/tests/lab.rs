//! The lab's own tests: is what it says about packets true? (Needs root and the `nft` program, as the referee.)

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;
use tortie_lab::flows::{Flows, Plan};
use tortie_lab::matrix::{Place, Sentinels};
use tortie_lab::packet::{Packet, Transport};
use tortie_lab::raw::{Capture, Sender};
use tortie_lab::respond::SENTINEL_PORT;
use tortie_lab::{Error, Lab, Matrix, Outcome, Party, Responder, Role, Sentinel, Service};
use tortie_netlink::namespace;

const BOUND: Duration = Duration::from_secs(10);

/// One node with two pods, and a host outside.
struct Small {
    lab: Lab,
    parties: Vec<Party>,
    _responders: Vec<Responder>,
}

fn mk_small() -> Small {
    let mut lab = Lab::create().unwrap();
    let node = lab.add_host("node", Role::Node).unwrap();
    let outside = lab.add_host("outside", Role::Outside).unwrap();
    for (name, interface, addresses) in
        [("web", "calia", ["10.9.0.1", "fd09::1"]), ("db", "calib", ["10.9.0.2", "fd09::2"])]
    {
        let pod = lab.add_pod(name).unwrap();
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        lab.wire(pod, node, interface, &addresses).unwrap();
    }
    lab.route_pods("10.9.0.0/24".parse().unwrap(), node).unwrap();
    lab.route_pods("fd09::/64".parse().unwrap(), node).unwrap();
    let parties = vec![
        lab.pods()[0].party().unwrap(),
        lab.pods()[1].party().unwrap(),
        lab.hosts()[outside].party().unwrap(),
    ];
    let responders =
        parties.iter().map(|party| Responder::start(&party.namespace, &[80], &[53]).unwrap()).collect();
    Small { lab, parties, _responders: responders }
}

fn nft(lab: &Lab, rules: &str) -> String {
    let output = lab.hosts()[0].output(Command::new("nft").args(rules.split(' '))).unwrap();
    assert!(output.status.success(), "nft {rules}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const SERVICES: [Service; 3] = [Service::Tcp(80), Service::Udp(53), Service::Icmp];

#[test]
fn an_open_lab_is_open_in_both_families_and_a_rule_blocks_exactly_its_cells_counted_exactly() {
    let small = mk_small();
    for ipv4 in [true, false] {
        // The node tracks connections from the moment that a rule asks for their state.
        nft(&small.lab, "add table inet t");
        nft(&small.lab, "add chain inet t c { type filter hook forward priority 0; }");
        nft(&small.lab, "add rule inet t c ct state established,related accept");
        let sentinels = Sentinels::establish(&small.parties, ipv4).unwrap();
        let open = Matrix::measure(&small.parties, &sentinels, |_| SERVICES.to_vec()).unwrap();
        assert_eq!((open.count(Outcome::Open), open.cells.len()), (18, 18), "{open}");
        nft(&small.lab, "add rule inet t c oifname calib meta l4proto tcp counter drop");
        nft(&small.lab, "add rule inet t c iifname calia meta l4proto udp counter drop");
        nft(&small.lab, "add rule inet t c iifname calib meta l4proto { icmp, icmpv6 } counter drop");
        nft(&small.lab, "add rule inet t c oifname calia tcp dport 80 counter reject with tcp reset");
        let closed = Matrix::measure(&small.parties, &sentinels, |_| SERVICES.to_vec()).unwrap();
        let [web, db, outside] = [0, 1, 2];
        let mut want = open.clone();
        for (from, to, service, outcome) in [
            (web, db, Service::Tcp(80), Outcome::Blocked),
            (outside, db, Service::Tcp(80), Outcome::Blocked),
            (web, db, Service::Udp(53), Outcome::Blocked),
            (web, outside, Service::Udp(53), Outcome::Blocked),
            (db, web, Service::Icmp, Outcome::Blocked),
            (db, outside, Service::Icmp, Outcome::Blocked),
            (db, web, Service::Tcp(80), Outcome::Refused),
            (outside, web, Service::Tcp(80), Outcome::Refused),
        ] {
            want.cells.insert(Place { from, to, service }, outcome);
        }
        assert_eq!(closed.differences(&want), [], "{closed}");
        let listing = nft(&small.lab, "list chain inet t c");
        assert_eq!(listing.matches("counter packets 2 ").count(), 4, "{listing}");
        nft(&small.lab, "delete table inet t");
    }
}

#[test]
fn a_lost_sentinel_is_an_error_and_not_a_blocked_probe() {
    let small = mk_small();
    let web = &small.parties[0];
    let db = small.parties[1].address(true).unwrap();
    let sentinel = Sentinel::establish(&web.namespace, db).unwrap();
    nft(&small.lab, "add table inet t");
    nft(&small.lab, "add chain inet t c { type filter hook forward priority 0; policy drop; }");
    let error = tortie_lab::probe::probe(&web.namespace, &sentinel, db, Service::Icmp).unwrap_err();
    assert!(matches!(error, Error::SentinelLost { .. }), "{error}");
}

#[test]
fn raw_packets_of_every_kind_arrive_or_are_known_to_be_dropped() {
    let small = mk_small();
    nft(&small.lab, "add table inet t");
    nft(&small.lab, "add chain inet t c { type filter hook forward priority 0; }");
    nft(&small.lab, &format!("add rule inet t c udp dport {SENTINEL_PORT} accept"));
    nft(&small.lab, "add rule inet t c ct state invalid counter drop");
    nft(&small.lab, "add rule inet t c meta mark set 1");
    nft(&small.lab, "add rule inet t c th dport 7000 drop");
    nft(&small.lab, "add rule inet t c meta l4proto 99 drop");
    nft(&small.lab, "add rule inet t c icmp type timestamp-request drop");
    let sender = Sender::open(&small.parties[0].namespace).unwrap();
    let mut capture = Capture::at_interfaces(&small.parties[1].namespace).unwrap();
    for ipv4 in [true, false] {
        let (source, destination) =
            (small.parties[0].address(ipv4).unwrap(), small.parties[1].address(ipv4).unwrap());
        let echo = if ipv4 { 8 } else { 128 };
        let wanted = [
            (Transport::Tcp { source: 4000, destination: 7001 }, true),
            (Transport::Tcp { source: 4000, destination: 7000 }, false),
            (Transport::Udp { source: 4000, destination: 7001 }, true),
            (Transport::Udp { source: 4000, destination: 7000 }, false),
            (Transport::UdpLite { source: 4000, destination: 7001 }, true),
            (Transport::UdpLite { source: 4000, destination: 7000 }, false),
            (Transport::Sctp { source: 4000, destination: 7001 }, true),
            (Transport::Sctp { source: 4000, destination: 7000 }, false),
            (Transport::Icmp { kind: echo, code: 0, identifier: 77 }, true),
            (Transport::Icmp { kind: 13, code: 0, identifier: 78 }, !ipv4),
            (Transport::Other(98), true),
            (Transport::Other(99), false),
        ];
        let mk = |(number, (transport, _)): (usize, &(Transport, bool))| Packet {
            source,
            destination,
            transport: *transport,
            cookie: number as u64,
        };
        let mut packets: Vec<Packet> = wanted.iter().enumerate().map(mk).collect();
        packets.push(Packet {
            source,
            destination,
            transport: Transport::Udp { source: 4001, destination: SENTINEL_PORT },
            cookie: u64::MAX,
        });
        sender.send(&packets).unwrap();
        let mut arrived: Vec<u64> =
            capture.until(u64::MAX, BOUND).unwrap().iter().map(|packet| packet.cookie).collect();
        arrived.sort_unstable();
        let expected: Vec<u64> = wanted
            .iter()
            .enumerate()
            .filter(|(_, (_, passes))| *passes)
            .map(|(number, _)| number as u64)
            .collect();
        let listing = nft(&small.lab, "list chain inet t c");
        let expected: Vec<u64> = expected.into_iter().filter(|number| ipv4 || *number != 9).collect();
        assert_eq!(arrived, expected, "ipv4 {ipv4}: {listing}");
    }
}

#[test]
fn a_stream_of_flows_arrives_whole_and_stops_arriving_when_a_rule_says_so() {
    let small = mk_small();
    let [source, destination] = [0, 1].map(|place| small.parties[place].address(true).unwrap());
    nft(&small.lab, "add table inet t");
    nft(&small.lab, "add chain inet t c { type filter hook forward priority 0; }");
    let mut capture = Capture::at_interfaces(&small.parties[1].namespace).unwrap();
    let sender = Sender::open(&small.parties[0].namespace).unwrap();
    let plan = Plan {
        source,
        destination,
        port: 9,
        every: Duration::from_millis(1),
        limit: 20_000,
        first_cookie: 1000,
    };
    let flows = Flows::start(&small.parties[0].namespace, plan).unwrap();
    // Wait for the 50th flow, then close.
    let mut arrived = capture.until(1050, BOUND).unwrap();
    nft(&small.lab, "add rule inet t c udp dport 9 drop");
    let closed_at = std::time::Instant::now();
    // And until ten more were sent after the rule stood.
    let mark = |cookie| Packet {
        source,
        destination,
        transport: Transport::Udp { source: 4001, destination: SENTINEL_PORT },
        cookie,
    };
    let goal = flows.sent() + 10;
    while flows.sent() < goal && closed_at.elapsed() < BOUND {
        std::thread::yield_now();
    }
    let sent = flows.stop().unwrap();
    sender.send(&[mark(1)]).unwrap();
    arrived.extend(capture.until(1, BOUND).unwrap());
    let last = arrived.iter().map(|packet| packet.cookie).max().unwrap();
    assert_eq!(arrived.len() as u64 + 1, last.max(1050) - 1000 + 1, "flows are missing in the middle");
    let after = sent.iter().filter(|at| **at > closed_at).count();
    assert!(after >= 5, "{after}");
    assert!(sent.len() as u64 - after as u64 > last - 1000, "a flow went through after the rule stood");
}

#[test]
fn two_hosts_have_processes_of_their_own_and_nothing_is_left_after_a_panic() {
    let name = std::thread::spawn(|| {
        let mut small = mk_small();
        let id = small.lab.id().to_string();
        let pid = small.lab.host_mut(0).spawn(Command::new("sleep").arg("600")).unwrap();
        let inside = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        let here = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_ne!(inside, here);
        assert!(namespace::named().unwrap().iter().any(|name| name.starts_with(&format!("{id}-"))));
        std::panic::resume_unwind(Box::new((id, pid)));
    })
    .join()
    .unwrap_err();
    let Ok(found) = name.downcast::<(String, u32)>() else { panic!("another panic than the one on purpose") };
    let (id, pid) = *found;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the process is still there");
    assert!(!namespace::named().unwrap().iter().any(|name| name.starts_with(&format!("{id}-"))));
}

#[test]
fn ten_thousand_probes_are_judged_without_one_mistake() {
    let small = mk_small();
    let [source, destination] = [0, 1].map(|place| small.parties[place].address(true).unwrap());
    nft(&small.lab, "add table inet t");
    nft(&small.lab, "add chain inet t c { type filter hook forward priority 0; }");
    nft(&small.lab, "add rule inet t c udp dport & 1 == 1 drop");
    let mut capture = Capture::at_interfaces(&small.parties[1].namespace).unwrap();
    let sender = Sender::open(&small.parties[0].namespace).unwrap();
    let mk = |number: u16| Packet {
        source,
        destination,
        transport: Transport::Udp { source: number, destination: number },
        cookie: number.into(),
    };
    for first in (10_000..20_000).step_by(500) {
        let mut packets: Vec<_> = (first..first + 500).map(mk).collect();
        packets.push(Packet { cookie: 7, ..mk(30_000) });
        sender.send(&packets).unwrap();
        let arrived: Vec<u64> = capture.until(7, BOUND).unwrap().iter().map(|packet| packet.cookie).collect();
        let want: Vec<u64> = (first..first + 500).filter(|number| number % 2 == 0).map(u64::from).collect();
        assert_eq!(arrived, want);
    }
}
