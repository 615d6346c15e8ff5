//! Real packets through the flat table: what passes, what is dropped, what is counted, logged and carried over.

use crate::support::packets::{Body, Catcher, Packet, SENTINEL, Sender, arrive};
use crate::support::tables::*;
use crate::support::wiring::{Pod, Wiring};
use crate::support::{run, run_with_input};
use std::collections::BTreeMap;
use std::net::IpAddr;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::*;
use tortie_dataplane::policy::Family;
use tortie_netlink::Nflog;
use tortie_nft::flat::{Count, EndpointToHost, Flat, Settings};
use tortie_nft::object::TableId;

/// The receiver's protocol of the sentinel and of nothing else, in every stack.
const SENTINEL_CLASS: L4ClassId = L4ClassId { protocol: 17, index: 99 };
const SENTINEL_PATH: u32 = 99;
const EGRESS_DEFAULT: u32 = 1;
const INGRESS_DEFAULT: u32 = 2;

fn key(family: Family) -> [u16; 2] {
    match family {
        Family::V4 => [1, 2],
        Family::V6 => [3, 4],
    }
}

/// Both pods may send anything; what they receive is `entries`, else nothing.
fn mk_tables(wiring: &Wiring, entries: &[(ClassId, L4Key, Verdict)], l4: &[(L4Match, L4ClassId)]) -> Tables {
    let mut tables = Tables::default();
    let logged = [30, 31];
    for path in 1..100 {
        tables.paths.insert(PathId(path), mk_path(path, logged.contains(&path)));
    }
    for family in [Family::V4, Family::V6] {
        let [egress, ingress] = key(family);
        let allow_all = StackChain {
            levels: Levels::default(),
            ..mk_stack(Direction::Egress, family, allow(EGRESS_DEFAULT))
        };
        tables.stacks.insert(StackId(egress), allow_all);
        let mut stack = mk_stack(Direction::Ingress, family, deny(INGRESS_DEFAULT));
        stack.levels.log = true;
        tables.stacks.insert(StackId(ingress), stack);
        for (class, l4, verdict) in entries {
            tables.entries.insert(entry(ingress, *class, *l4), *verdict);
        }
        tables
            .entries
            .insert(entry(ingress, ClassId::ANY, L4Key::Class(SENTINEL_CLASS)), allow(SENTINEL_PATH));
    }
    tables.l4.extend(l4.iter().copied());
    tables.l4.insert(L4Match::Port { protocol: 17, port: SENTINEL }, SENTINEL_CLASS);
    for pod in &wiring.pods {
        let ports = mk_endpoint(&[pod.v4, pod.v6], (2, 4), (1, 3));
        tables.endpoints.insert(pod.interface.as_str().into(), ports);
        for address in [pod.v4, pod.v6] {
            tables.addresses.insert(address, ClassId(7));
        }
    }
    let net =
        |first: &str, last: &str| AddressRange { first: first.parse().unwrap(), last: last.parse().unwrap() };
    tables.nets.insert(net("10.66.0.0", "10.66.255.255"), ClassId(8));
    tables.nets.insert(net("fd66::", "fd66::ffff"), ClassId(8));
    tables
}

fn open(wiring: &Wiring, settings: Settings) -> Flat {
    wiring.router.run(|| Flat::open(settings).unwrap()).unwrap()
}

fn packets(flat: &mut Flat, path: u32) -> u64 {
    flat.counts().unwrap().get(&PathId(path)).map_or(0, |count: &Count| count.packets)
}

/// The same packet from one pod to another, of both families.
fn both(from: &Pod, to: &Pod, body: Body) -> [Packet; 2] {
    [Packet::new(from.v4, to.v4, body), Packet::new(from.v6, to.v6, body)]
}

#[test]
fn each_protocol_is_judged_by_class_port_range_type_and_number_and_counted_exactly() {
    let wiring = Wiring::new("judge", 2);
    let (class, other) = (ClassId(7), ClassId(8));
    let port = |protocol, port| L4Match::Port { protocol, port };
    let l4_classes = [
        (port(6, 80), l4(6, 1)),
        (L4Match::PortRange { protocol: 6, first: 8000, last: 8999 }, l4(6, 2)),
        (port(17, 53), l4(17, 1)),
        (port(132, 80), l4(132, 1)),
        (port(136, 80), l4(136, 1)),
        (L4Match::Icmp { protocol: 1, icmp_type: 8, code: 0 }, l4(1, 1)),
        (L4Match::IcmpType { protocol: 1, icmp_type: 13 }, l4(1, 2)),
        (L4Match::Icmp { protocol: 1, icmp_type: 13, code: 3 }, l4(1, 3)),
        (L4Match::Icmp { protocol: 58, icmp_type: 128, code: 0 }, l4(58, 1)),
    ];
    let of = |class| L4Key::Class(class);
    let entries = [
        (class, of(l4(6, 1)), allow(10)),
        (class, of(l4(6, 2)), allow(11)),
        (class, of(l4(17, 1)), deny(12)),
        (class, L4Key::Protocol(17), allow(13)),
        (class, of(l4(132, 1)), allow(14)),
        (class, of(l4(136, 1)), allow(15)),
        (class, of(l4(1, 1)), allow(16)),
        (class, of(l4(58, 1)), allow(16)),
        (class, of(l4(1, 2)), allow(17)),
        (class, of(l4(1, 3)), deny(18)),
        (class, L4Key::Protocol(47), allow(19)),
        (other, of(l4(6, 1)), deny(20)),
        (other, L4Key::Any, allow(21)),
        (ClassId::ANY, L4Key::Protocol(48), allow(22)),
    ];
    let mut flat = open(&wiring, Settings::default());
    flat.install(mk_tables(&wiring, &entries, &l4_classes)).unwrap();
    let [a, b] = &wiring.pods[..] else { panic!("two pods") };
    let mut catcher = Catcher::open(&b.namespace);
    let cases: Vec<(&Pod, Body, Option<u32>)> = vec![
        (a, Body::Tcp(80), Some(10)),
        (a, Body::Tcp(81), None),
        (a, Body::Tcp(7999), None),
        (a, Body::Tcp(8000), Some(11)),
        (a, Body::Tcp(8999), Some(11)),
        (a, Body::Tcp(9000), None),
        (a, Body::Udp(80), Some(13)),
        (a, Body::Udp(53), None),
        (a, Body::Sctp(80), Some(14)),
        (a, Body::Sctp(81), None),
        (a, Body::UdpLite(80), Some(15)),
        (a, Body::UdpLite(53), None),
        (a, Body::Other(47), Some(19)),
        (a, Body::Other(48), Some(22)),
        (a, Body::Other(49), None),
        (&wiring.outside, Body::Tcp(80), None),
        (&wiring.outside, Body::Tcp(81), Some(21)),
        (&wiring.outside, Body::Other(49), Some(21)),
    ];
    let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
    for from in [a, &wiring.outside] {
        let mut sender = Sender::open(&from.namespace);
        let cases: Vec<_> = cases.iter().filter(|(source, ..)| std::ptr::eq(*source, from)).collect();
        let sent: Vec<Packet> = cases.iter().flat_map(|(_, body, _)| both(from, b, *body)).collect();
        let came = arrive(&mut sender, &mut catcher, &sent);
        for (place, (_, body, path)) in cases.iter().enumerate() {
            for (packet, came) in sent[place * 2..].iter().zip(&came[place * 2..]).take(2) {
                assert_eq!(*came, path.is_some(), "{body:?} of {packet:?}; {:?}", flat.drops());
            }
            if let Some(path) = path {
                *expected.entry(*path).or_default() += 2;
            }
        }
    }
    let mut sender = Sender::open(&a.namespace);
    let icmp = [
        (both(a, b, Body::Icmp(8, 0))[0], Some(16)),
        (both(a, b, Body::Icmp(8, 1))[0], None),
        (both(a, b, Body::Icmp(13, 0))[0], Some(17)),
        (both(a, b, Body::Icmp(13, 3))[0], None),
        (both(a, b, Body::Icmp(128, 0))[1], Some(16)),
        (both(a, b, Body::Icmp(128, 1))[1], None),
    ];
    let came = arrive(&mut sender, &mut catcher, &icmp.map(|(packet, _)| packet));
    for ((packet, path), came) in icmp.iter().zip(came) {
        assert_eq!(came, path.is_some(), "{packet:?}");
        if let Some(path) = path {
            *expected.entry(*path).or_default() += 1;
        }
    }
    // Sentinels: UDP from a twice in both families, anything from outside.
    *expected.entry(13).or_default() += 4;
    *expected.entry(21).or_default() += 2;
    for (path, count) in expected {
        assert_eq!(packets(&mut flat, path), count, "path {path}");
    }
    for (path, count) in [(12, 2), (18, 1), (20, 2)] {
        assert_eq!(packets(&mut flat, path), count, "denied, path {path}");
    }
    // tcp 81, 7999, 9000; sctp 81; udplite 53; protocol 49; and two of ICMP.
    assert_eq!(packets(&mut flat, INGRESS_DEFAULT), 6 * 2 + 2);
    // All that pods sent to pods, and sentinels: two of the first round, two of the second.
    assert_eq!(packets(&mut flat, EGRESS_DEFAULT), 15 * 2 + 6 + 4);
}

#[test]
fn a_port_that_is_open_to_everyone_is_judged_by_class_as_soon_as_a_class_has_an_entry() {
    let wiring = Wiring::new("open", 2);
    let port = l4(6, 1);
    let key = |stack, class| entry(stack, class, L4Key::Class(port));
    let l4_classes = [(L4Match::Port { protocol: 6, port: 80 }, port)];
    let everyone = [(ClassId::ANY, L4Key::Class(port), allow(10))];
    let mut tables = mk_tables(&wiring, &everyone, &l4_classes);
    for stack in [2, 4] {
        tables.stacks.get_mut(&StackId(stack)).unwrap().levels = PORTS_ONLY;
    }
    let mut flat = open(&wiring, Settings::default());
    flat.install(tables).unwrap();
    let [a, b] = &wiring.pods[..] else { panic!("two pods") };
    let mut catcher = Catcher::open(&b.namespace);
    let mut from_a = Sender::open(&a.namespace);
    let mut from_outside = Sender::open(&wiring.outside.namespace);
    let mut passes = |flat: &mut Flat| {
        let body = Body::Tcp(80);
        let came = arrive(&mut from_a, &mut catcher, &both(a, b, body));
        let came = [came, arrive(&mut from_outside, &mut catcher, &both(&wiring.outside, b, body))];
        (came.concat(), packets(flat, 10), packets(flat, 20))
    };
    assert_eq!(passes(&mut flat), (vec![true; 4], 4, 0));
    let change = |flat: &mut Flat, op: fn(EntryKey) -> Op| {
        let ops = [2, 4].map(|stack| op(key(stack, ClassId(7)))).into();
        flat.apply(&Step { phase: Phase::Switch, ops }).unwrap();
        assert!(flat.check().unwrap().is_none());
    };
    change(&mut flat, |key| Op::AddEntry(key, deny(20)));
    assert_eq!(passes(&mut flat), (vec![false, false, true, true], 6, 2));
    change(&mut flat, Op::RemoveEntry);
    assert_eq!(passes(&mut flat), (vec![true; 4], 10, 2));
}

#[test]
fn a_source_that_is_not_the_interfaces_own_is_dropped_and_an_allowed_prefix_is_not() {
    let wiring = Wiring::new("spoof", 2);
    let mut tables = mk_tables(&wiring, &[(ClassId::ANY, L4Key::Protocol(6), allow(10))], &[]);
    let [a, b] = &wiring.pods[..] else { panic!("two pods") };
    let ports = tables.endpoints.get_mut("cali1").unwrap();
    let mut own = (**ports).clone();
    own.allowed_sources = ["10.70.0.0/16".parse().unwrap(), "fd70::/64".parse().unwrap()].into();
    *ports = own.into();
    let mut flat = open(&wiring, Settings::default());
    flat.install(tables).unwrap();
    let (mut sender, mut catcher) = (Sender::open(&a.namespace), Catcher::open(&b.namespace));
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let cases = [
        (a.v4, true),
        (a.v6, true),
        (b.v4, false),
        (b.v6, false),
        (address("10.65.0.9"), false),
        (address("10.70.3.4"), true),
        (address("10.71.0.0"), false),
        (address("fd70::5"), true),
        (address("fd71::5"), false),
        (wiring.outside.v4, false),
    ];
    let sent = cases.map(|(source, _)| {
        let to = if source.is_ipv4() { b.v4 } else { b.v6 };
        Packet::new(source, to, Body::Tcp(80))
    });
    let came = arrive(&mut sender, &mut catcher, &sent);
    for ((source, expected), came) in cases.iter().zip(came) {
        assert_eq!(came, *expected, "from {source}");
    }
    let spoofed = cases.iter().filter(|(_, passes)| !passes).count();
    assert_eq!(flat.drops().unwrap()["dropped_spoofed"].packets, u64::try_from(spoofed).unwrap());
}

#[test]
fn an_unknown_workload_interface_sends_and_receives_nothing() {
    let wiring = Wiring::new("unknown", 2);
    let mut tables = mk_tables(&wiring, &[(ClassId::ANY, L4Key::Protocol(6), allow(10))], &[]);
    let [a, b] = &wiring.pods[..] else { panic!("two pods") };
    let ports = tables.endpoints.remove("cali1").unwrap();
    let mut flat = open(&wiring, Settings::default());
    flat.install(tables).unwrap();
    let mut at_a = Catcher::open(&a.namespace);
    let (mut from_b, mut from_a) = (Sender::open(&b.namespace), Sender::open(&a.namespace));
    let to_a = from_b.send(&Packet::new(b.v4, a.v4, Body::Tcp(80)));
    from_a.send(&Packet::new(a.v4, b.v4, Body::Tcp(80)));
    settle(&mut from_b, b, &wiring);
    let drops = flat.drops().unwrap();
    assert_eq!(drops["dropped_unknown"].packets, 1);
    assert!(drops["dropped_spoofed"].packets >= 1);
    let step = Step { phase: Phase::Switch, ops: vec![Op::SetEndpoint("cali1".into(), ports)] };
    flat.apply(&step).unwrap();
    let sentinel = from_b.send(&Packet::new(b.v4, a.v4, Body::Udp(SENTINEL)));
    assert!(!at_a.until(sentinel).contains(&to_a));
    let mut at_b = Catcher::open(&b.namespace);
    assert_eq!(arrive(&mut from_a, &mut at_b, &both(a, b, Body::Tcp(80))), [true, true]);
}

#[test]
fn a_logged_path_sends_its_packet_to_the_group_and_is_counted() {
    let wiring = Wiring::new("log", 2);
    let entries =
        [(ClassId(7), L4Key::Class(l4(6, 1)), allow(30)), (ClassId(7), L4Key::Class(l4(6, 2)), deny(31))];
    let port = |port| L4Match::Port { protocol: 6, port };
    let tables = mk_tables(&wiring, &entries, &[(port(80), l4(6, 1)), (port(81), l4(6, 2))]);
    let mut flat = open(&wiring, Settings::default());
    flat.install(tables).unwrap();
    let mut log = Nflog::open_in(&wiring.router, 9, 128).unwrap();
    let [a, b] = &wiring.pods[..] else { panic!("two pods") };
    let (mut sender, mut catcher) = (Sender::open(&a.namespace), Catcher::open(&b.namespace));
    let sent = [Packet::new(a.v4, b.v4, Body::Tcp(80)), Packet::new(a.v4, b.v4, Body::Tcp(81))];
    let came = arrive(&mut sender, &mut catcher, &sent);
    assert_eq!(came, [true, false]);
    let logged: Vec<Option<PathId>> =
        log.drain().unwrap().iter().map(|packet| flat.logged_path(&packet.prefix)).collect();
    assert_eq!(logged, [Some(PathId(30)), Some(PathId(31))]);
    assert_eq!((packets(&mut flat, 30), packets(&mut flat, 31)), (1, 1));
}

#[test]
fn foreign_mark_bits_and_the_priority_of_the_tos_survive_the_first_packet() {
    let wiring = Wiring::new("mark", 2);
    let mut flat = open(&wiring, Settings::default());
    flat.install(mk_tables(&wiring, &[(ClassId(7), L4Key::Any, allow(10))], &[])).unwrap();
    // Foreign rules before and after ours. Port 5003: the connection's mark is taken, kube-proxy's bit survives.
    run_with_input(
        &wiring.router,
        "nft",
        &["-f", "-"],
        "table inet foreign {
            counter bit {}
            counter whole {}
            counter taken {}
            counter none {}
            counter clean {}
            counter bulk {}
            chain before { type filter hook prerouting priority -100;
                udp dport 5001 meta mark set 0x4000
                udp dport 5002 meta mark set 0x12345678
                udp dport 5003 ct mark set 1 meta mark set 0x7000
            }
            chain after { type filter hook postrouting priority 100;
                udp dport 5000 meta mark 0 meta priority none counter name none
                udp dport 5001 meta mark 0x4000 counter name bit
                udp dport 5002 meta mark 0x12345678 counter name whole
                udp dport 5003 meta mark 0x4000 ct mark 1 counter name taken
                udp dport { 5000, 5001, 5002 } ct mark 0 counter name clean
                udp dport 5000 meta priority 0:2 counter name bulk
            }
        }",
    );
    let [a, b] = &wiring.pods[..] else { panic!("two pods") };
    let (mut sender, mut catcher) = (Sender::open(&a.namespace), Catcher::open(&b.namespace));
    let mut sent: Vec<Packet> =
        [5000, 5001, 5002, 5003].iter().flat_map(|port| both(a, b, Body::Udp(*port))).collect();
    // 0x08 of the TOS is the kernel's bulk priority.
    sent.push(Packet { tos: 0x08, ..Packet::new(a.v4, b.v4, Body::Udp(5000)) });
    assert!(arrive(&mut sender, &mut catcher, &sent).iter().all(|came| *came));
    let mut client = wiring.router.run(tortie_nft::Client::open).unwrap().unwrap();
    let counts: BTreeMap<String, u64> = client
        .counters(&TableId::inet("foreign"))
        .unwrap()
        .into_iter()
        .map(|counter| (counter.name, counter.packets))
        .collect();
    let expected = [("bit", 2), ("whole", 2), ("taken", 2), ("none", 2), ("clean", 7), ("bulk", 1)];
    for (name, count) in expected {
        assert_eq!(counts[name], count, "{name} of {counts:?}");
    }
}

#[test]
fn a_pod_reaches_its_host_only_if_its_egress_and_the_setting_allow_it() {
    for (action, passes) in [(EndpointToHost::Drop, false), (EndpointToHost::Accept, true)] {
        let wiring = Wiring::new("host", 1);
        let mut flat = open(&wiring, Settings { endpoint_to_host: action, ..Settings::default() });
        let mut tables = mk_tables(&wiring, &[], &[(L4Match::Port { protocol: 17, port: 90 }, l4(17, 1))]);
        // Egress denies port 90.
        let stack = tables.stacks.get_mut(&StackId(1)).unwrap();
        stack.levels = LEVELS;
        tables.entries.insert(entry(1, ClassId::ANY, L4Key::Class(l4(17, 1))), deny(10));
        flat.install(tables).unwrap();
        let host: IpAddr = "10.67.0.1".parse().unwrap();
        run(&wiring.router, "ip", &["address", "add", "10.67.0.1/32", "dev", "lo"]);
        run_with_input(
            &wiring.router,
            "nft",
            &["-f", "-"],
            "table inet foreign { counter passed {}
              chain after { type filter hook input priority 100; udp dport { 80, 90 } meta mark 0 counter name passed; }
            }",
        );
        let pod = &wiring.pods[0];
        let mut sender = Sender::open(&pod.namespace);
        for port in [80, 90] {
            sender.send(&Packet::new(pod.v4, host, Body::Udp(port)));
        }
        settle(&mut sender, pod, &wiring);
        let mut client = wiring.router.run(tortie_nft::Client::open).unwrap().unwrap();
        let passed = client.counters(&TableId::inet("foreign")).unwrap()[0].packets;
        assert_eq!(passed, u64::from(passes), "{action:?}");
        assert_eq!(packets(&mut flat, 10), 1);
        assert_eq!(flat.drops().unwrap()["dropped_to_host"].packets, u64::from(!passes));
    }
}

/// Returns when the router has worked through all that the pod sent: a later packet of it arrived outside.
fn settle(sender: &mut Sender, pod: &Pod, wiring: &Wiring) {
    let mut outside = Catcher::open(&wiring.outside.namespace);
    let sentinel = sender.send(&Packet::new(pod.v4, wiring.outside.v4, Body::Udp(SENTINEL)));
    outside.until(sentinel);
}

#[test]
fn neighbour_discovery_from_a_link_local_address_passes_and_other_link_local_packets_do_not() {
    let wiring = Wiring::new("neighbour", 1);
    let mut flat = open(&wiring, Settings::default());
    flat.install(mk_tables(&wiring, &[], &[])).unwrap();
    run_with_input(
        &wiring.router,
        "nft",
        &["-f", "-"],
        "table inet foreign { counter passed {}
          chain after { type filter hook input priority 100; ip6 saddr fe80::77 counter name passed; }\n}",
    );
    let pod = &wiring.pods[0];
    run(&pod.namespace, "ip", &["-6", "route", "add", "fd99::/64", "via", "fe80::1", "dev", "eth0"]);
    run(&wiring.router, "ip", &["address", "add", "fd99::1/128", "dev", "lo"]);
    // The kernel makes an IPv6 address a route later.
    while !run(&wiring.router, "ip", &["-6", "route", "get", "fd99::1"]).contains("local") {}
    let mut sender = Sender::open(&pod.namespace);
    let (from, to) = ("fe80::77".parse().unwrap(), "fd99::1".parse().unwrap());
    for body in [Body::Icmp(135, 0), Body::Icmp(128, 0), Body::Udp(80)] {
        sender.send(&Packet::new(from, to, body));
    }
    settle(&mut sender, pod, &wiring);
    let mut client = wiring.router.run(tortie_nft::Client::open).unwrap().unwrap();
    assert_eq!(client.counters(&TableId::inet("foreign")).unwrap()[0].packets, 1);
    assert!(flat.drops().unwrap()["dropped_spoofed"].packets >= 2);
}
