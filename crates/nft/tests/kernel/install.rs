//! The flat table as a whole: closed first, installed, listed, loaded again, changed, retired.

use crate::changes::retire;
use crate::support::tables::*;
use crate::support::{comparable, list_ruleset, namespace, run, run_with_input};
use std::net::IpAddr;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::*;
use tortie_dataplane::policy::Family;
use tortie_netlink::rtnetlink::link::{VethEnd, VethPair};
use tortie_netlink::{OwnedNamespace, Rtnetlink};
use tortie_nft::flat::{Closed, Flat, Ownership, Settings};

/// A namespace with the interfaces cali1 and cali2, and a driver that does not own its table, so that the `nft`
/// program may play the foreigner.
pub fn open(label: &str) -> (OwnedNamespace, Flat) {
    open_with(label, Settings { owned: Ownership::Never, ..Settings::default() })
}

/// As [`open`], with other settings.
pub fn open_with(label: &str, settings: Settings) -> (OwnedNamespace, Flat) {
    let namespace = namespace(label);
    let flat = namespace
        .run(|| {
            let pair = VethPair {
                near: VethEnd { name: "cali1", ..VethEnd::default() },
                far: VethEnd { name: "cali2", ..VethEnd::default() },
                ..VethPair::default()
            };
            Rtnetlink::open().unwrap().create_veth(&pair).unwrap();
            Flat::open(settings).unwrap()
        })
        .unwrap();
    (namespace, flat)
}

/// Something of everything.
pub fn mk_tables() -> Tables {
    let mut tables = Tables::default();
    for (path, logs) in [(1, false), (2, false), (3, true), (4, true)] {
        tables.paths.insert(PathId(path), mk_path(path, logs));
    }
    let any = |name: &str| -> IpAddr { name.parse().unwrap() };
    for (id, direction, family) in [
        (1, Direction::Ingress, Family::V4),
        (2, Direction::Ingress, Family::V6),
        (3, Direction::Egress, Family::V4),
        (4, Direction::Egress, Family::V6),
    ] {
        let mut stack = mk_stack(direction, family, deny(1));
        stack.levels.log = true;
        tables.stacks.insert(StackId(id), stack);
        let class = ClassId(7);
        for (key, verdict) in [
            (entry(id, class, L4Key::Class(l4(6, 1))), allow(2)),
            (entry(id, class, L4Key::Class(l4(6, 2))), deny(2)),
            (entry(id, class, L4Key::Class(l4(1, 1))), allow(3)),
            (entry(id, class, L4Key::Protocol(17)), allow(2)),
            (entry(id, class, L4Key::Any), deny(4)),
            (entry(id, ClassId::ANY, L4Key::Class(l4(6, 1))), deny(2)),
            (entry(id, ClassId::ANY, L4Key::Protocol(132)), allow(2)),
        ] {
            tables.entries.insert(key, verdict);
        }
    }
    tables.addresses.insert(any("10.65.0.2"), ClassId(7));
    tables.addresses.insert(any("10.65.0.3"), ClassId::NONE);
    tables.addresses.insert(any("fd65::2"), ClassId(7));
    for (first, last, class) in [
        ("10.0.0.0", "10.0.255.255", 8),
        ("10.1.0.0", "10.1.255.255", 9),
        ("192.168.0.0", "255.255.255.255", 10),
        ("fd00::", "fd00::ffff", 8),
    ] {
        tables.nets.insert(AddressRange { first: any(first), last: any(last) }, ClassId(class));
    }
    for (matched, class) in [
        (L4Match::Port { protocol: 6, port: 80 }, l4(6, 1)),
        (L4Match::Port { protocol: 132, port: 80 }, l4(132, 1)),
        (L4Match::PortRange { protocol: 6, first: 8000, last: 8999 }, l4(6, 2)),
        (L4Match::PortRange { protocol: 6, first: 9000, last: 65535 }, l4(6, 3)),
        (L4Match::PortRange { protocol: 17, first: 0, last: 1023 }, l4(17, 1)),
        (L4Match::Icmp { protocol: 1, icmp_type: 8, code: 0 }, l4(1, 1)),
        (L4Match::IcmpType { protocol: 1, icmp_type: 3 }, l4(1, 2)),
        (L4Match::Icmp { protocol: 58, icmp_type: 128, code: 0 }, l4(58, 1)),
        (L4Match::IcmpType { protocol: 58, icmp_type: 1 }, l4(58, 2)),
    ] {
        tables.l4.insert(matched, class);
    }
    let mut endpoint = (*mk_endpoint(&[any("10.65.0.1"), any("fd65::1")], (1, 2), (3, 4))).clone();
    endpoint.allowed_sources =
        ["10.70.0.0/16", "10.70.1.0/24", "fd70::/64"].map(|net| net.parse().unwrap()).into();
    tables.endpoints.insert("cali1".into(), endpoint.clone().into());
    let own = [(any("10.65.0.1"), StackId(1)), (any("fd65::1"), StackId(2))];
    endpoint.ingress_v4 = Dispatch::ByAddress(own.into());
    endpoint.ingress_v6 = Dispatch::ByAddress(own.into());
    endpoint.egress_v6 = Dispatch::Drop;
    tables.endpoints.insert("cali2".into(), endpoint.into());
    tables
}

#[test]
fn the_closed_table_comes_first_and_disturbs_no_table_of_ours() {
    let (namespace, mut flat) = open("closed");
    assert_eq!(flat.install_closed().unwrap(), Closed::Installed);
    let listing = list_ruleset(&namespace);
    assert!(listing.contains("iifname \"cali*\" counter name \"dropped_closed\" drop"), "{listing}");
    assert_eq!(flat.install_closed().unwrap(), Closed::Judging);
    assert_eq!(list_ruleset(&namespace), listing);
    flat.install(mk_tables()).unwrap();
    let listing = list_ruleset(&namespace);
    assert_eq!(flat.install_closed().unwrap(), Closed::Judging);
    assert_eq!(list_ruleset(&namespace), listing);
    run(&namespace, "nft", &["flush", "chain", "inet", "tortie", "forward"]);
    assert_eq!(flat.install_closed().unwrap(), Closed::Installed);
}

#[test]
fn while_the_rules_that_calicos_agent_has_left_judge_nothing_of_theirs_is_closed() {
    for (at, (table, prefix, has_v6)) in
        [("calico", "filter-", true), ("calico", "filter-", false), ("filter", "", true)]
            .into_iter()
            .enumerate()
    {
        let (namespace, mut flat) = open(&format!("beside-{at}"));
        let dispatch = format!("{prefix}cali-from-wl-dispatch");
        let nft = |words: &[&str]| run(&namespace, "nft", words);
        nft(&["add", "table", "ip", table]);
        nft(&["add", "chain", "ip", table, &dispatch]);
        // A chain without rules judges nothing.
        assert_eq!(flat.install_closed().unwrap(), Closed::Installed);
        nft(&["delete", "table", "inet", "tortie"]);
        nft(&["add", "rule", "ip", table, &dispatch, "iifname", "{ cali1, cali2 }", "counter", "return"]);
        nft(&["add", "rule", "ip", table, &dispatch, "counter", "drop"]);
        if has_v6 {
            nft(&["add", "table", "ip6", table]);
            nft(&["add", "chain", "ip6", table, &dispatch]);
            nft(&["add", "rule", "ip6", table, &dispatch, "counter", "drop"]);
        }
        assert_eq!(flat.install_closed().unwrap(), Closed::Beside);
        let listing = list_ruleset(&namespace);
        let of_v6 = "meta nfproto ipv6 iifname \"cali*\" counter name \"dropped_closed\" drop";
        assert_eq!(listing.contains(of_v6), !has_v6, "{listing}");
        assert!(!listing.contains("\t\tiifname \"cali*\" counter name"), "nothing of IPv4: {listing}");
        assert_eq!(flat.install_closed().unwrap(), Closed::Judging);
        flat.install(mk_tables()).unwrap();
        assert!(list_ruleset(&namespace).contains("iifname \"cali*\" goto"), "ours judges now");
        assert_eq!(flat.install_closed().unwrap(), Closed::Judging);
        // Another process finds what was left open, and Calico's rules gone.
        nft(&["delete", "table", "inet", "tortie"]);
        let settings = Settings { owned: Ownership::Never, ..Settings::default() };
        let next = || namespace.run(|| Flat::open(settings.clone())).unwrap().unwrap();
        assert_eq!(next().install_closed().unwrap(), Closed::Beside);
        nft(&["delete", "table", "ip", table]);
        assert_eq!(next().install_closed().unwrap(), Closed::Installed);
        assert!(
            list_ruleset(&namespace).contains("\t\tiifname \"cali*\" counter name \"dropped_closed\" drop")
        );
    }
}

#[test]
fn a_table_of_our_name_that_is_not_ours_is_left_alone() {
    let (namespace, mut flat) = open("foreign");
    run(&namespace, "nft", &["add", "table", "inet", "tortie"]);
    let error = flat.install_closed().unwrap_err().to_string();
    assert!(error.contains("inet tortie") && error.contains("not ours"), "{error}");
}

#[test]
fn the_listing_of_the_whole_table_reads_well_and_loads_again() {
    let (first, mut flat) = open("whole");
    flat.install(mk_tables()).unwrap();
    let listing = list_ruleset(&first);
    for line in [
        "comment \"tortie flat 1\"",
        "iif . ip saddr @source4.1 accept",
        "meta priority set meta l4proto . th dport map @l4_port.1",
        "meta mark set ip saddr map @address4.1",
        "10.65.0.3 : 0x00010000",
        "* : 0x00000000",
        "iif vmap @egress_stack4.1",
        "* : jump egress_unknown.1",
        "meta mark set 0x00000000 meta priority set none",
        "\"cali1\" . 10.70.0.0/16",
        "counter name meta mark & 0x0001ffff | 0x00010000 . meta priority map @allow_l4.1 return",
        "counter name meta mark & 0x0001ffff | 0x0001ffff . meta l4proto map @deny_protocol.1 drop",
        "meta mark & 0x0001ffff | 0x00010000 vmap @log_any.1",
        "log prefix \"log_deny4.1\" group 9 snaplen 128 counter name \"path4.1\" drop",
    ] {
        assert!(listing.contains(line), "{line} is not in\n{listing}");
    }
    let (second, _driver) = open("again");
    run_with_input(&second, "nft", &["-f", "-"], &listing);
    assert_eq!(comparable(&list_ruleset(&second)), comparable(&listing));
}

/// So many paths more, each with an entry.
fn with_many(paths: std::ops::Range<u32>) -> Tables {
    let mut tables = mk_tables();
    for path in paths {
        tables.paths.insert(PathId(path), mk_path(path, false));
        let key = entry(1, ClassId(7), L4Key::Class(l4(17, u16::try_from(path).unwrap())));
        tables.entries.insert(key, allow(path));
    }
    tables
}

fn counters(namespace: &OwnedNamespace) -> usize {
    let listing = run(namespace, "nft", &["list", "counters"]);
    listing.lines().filter(|line| line.trim_start().starts_with("counter path")).count()
}

#[test]
fn counters_that_were_made_ahead_are_used_and_those_that_nobody_needs_go_again() {
    for wanted in [100..1_500, 100..5_000] {
        let (namespace, mut flat) = open("ahead");
        let tables = with_many(wanted);
        let count = tables.paths.len();
        let made = flat.ahead(2_000, || 7);
        assert_eq!((made, counters(&namespace)), (7, 2_000));
        flat.install(tables.clone()).unwrap();
        assert!(list_ruleset(&namespace).contains("@address4.1"), "the generation that was begun is used");
        assert_eq!(counters(&namespace), count);
        assert!(flat.check().unwrap().is_none());
        // Nothing was made ahead of this one.
        flat.install(tables).unwrap();
        assert_eq!(counters(&namespace), 2 * count);
        assert!(flat.check().unwrap().is_none());
    }
}

#[test]
fn counters_that_were_made_ahead_by_a_process_that_died_go_with_the_next_one_s() {
    let (namespace, mut died) = open("ahead-died");
    died.ahead(2_000, || ());
    drop(died);
    let mut flat = namespace
        .run(|| Flat::open(Settings { owned: Ownership::Never, ..Settings::default() }))
        .unwrap()
        .unwrap();
    flat.install(mk_tables()).unwrap();
    assert_eq!(counters(&namespace), 2_000 + 4);
    retire(&mut flat);
    assert_eq!(counters(&namespace), 4);
    assert!(flat.check().unwrap().is_none());
}

#[test]
fn a_generation_that_the_kernel_refuses_leads_nobody_and_the_error_says_what_was_refused() {
    let (namespace, mut flat) = open("refused");
    flat.install(mk_tables()).unwrap();
    let before = run(&namespace, "nft", &["list", "chain", "inet", "tortie", "forward"]);
    // Many transactions come after the one with this.
    let mut tables = with_many(100..20_000);
    tables.entries.insert(entry(1, ClassId(1), L4Key::Class(l4(6, 1))), allow(50));
    let error = flat.install(tables.clone()).unwrap_err().to_string();
    assert!(error.contains("add elements to set allow_l4.2"), "{error}");
    assert_eq!(run(&namespace, "nft", &["list", "chain", "inet", "tortie", "forward"]), before);
    tables.paths.insert(PathId(50), mk_path(50, false));
    flat.install(tables).unwrap();
    assert!(flat.check().unwrap().is_none());
}
