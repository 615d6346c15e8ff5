//! The chain that gives connections this host's address: written, listed, loaded again, changed, repaired, taken away.

use crate::install::{mk_tables, open};
use crate::support::{comparable, list_ruleset, run, run_with_input};
use ipnet::IpNet;
use tortie_dataplane::network::{LeavesAs, Outgoing};

const CHAIN: &str = "chain outgoing";

fn mk_outgoing(from: &[&str], inside: &[&str]) -> Outgoing {
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse::<IpNet>().unwrap()).collect();
    Outgoing { from: nets(from), inside: nets(inside), ..Outgoing::default() }
}

#[test]
fn connections_from_pools_to_elsewhere_are_masqueraded_by_a_chain_that_is_there_only_if_a_pool_asks() {
    let (first, mut flat) = open("out");
    let four = mk_outgoing(&["10.65.0.0/16"], &["10.65.0.0/16", "10.66.0.0/15", "fd65::/64"]);
    flat.install_closed().unwrap();
    flat.set_outgoing(four).unwrap();
    assert!(!list_ruleset(&first).contains(CHAIN), "nothing is written before all is known");
    flat.install(mk_tables()).unwrap();
    let listing = list_ruleset(&first);
    for line in [
        "type nat hook postrouting priority srcnat; policy accept;",
        "ip daddr 10.66.0.0/15 accept",
        "ip saddr 10.65.0.0/16 masquerade fully-random",
    ] {
        assert!(listing.contains(line), "{line} is not in\n{listing}");
    }
    assert!(!listing.contains("ip6 daddr fd65"), "no pool of IPv6 asks:\n{listing}");
    assert!(flat.check().unwrap().is_none());

    let both = mk_outgoing(&["10.65.0.0/16", "fd65::/64"], &["10.65.0.0/16", "fd65::/64", "10.9.9.9/32"]);
    flat.set_outgoing(both).unwrap();
    let listing = list_ruleset(&first);
    for line in [
        "ip6 daddr fd65::/64 accept",
        "ip6 saddr fd65::/64 masquerade fully-random",
        "ip daddr 10.9.9.9 accept",
    ] {
        assert!(listing.contains(line), "{line} is not in\n{listing}");
    }
    assert!(!listing.contains("10.66.0.0/15"), "{listing}");
    let (second, _driver) = open("out-again");
    run_with_input(&second, "nft", &["-f", "-"], &listing);
    assert_eq!(comparable(&list_ruleset(&second)), comparable(&listing));

    run(&first, "nft", &["flush", "chain", "inet", "tortie", "outgoing"]);
    let drift = flat.check().unwrap();
    assert_eq!((drift.missing, drift.different, drift.surplus), (0, 1, 0), "{drift:?}");
    flat.repair().unwrap();
    assert!(flat.check().unwrap().is_none());
    assert!(list_ruleset(&first).contains("ip saddr 10.65.0.0/16 masquerade fully-random"));

    flat.set_outgoing(Outgoing::default()).unwrap();
    assert!(!list_ruleset(&first).contains(CHAIN));
    assert!(flat.check().unwrap().is_none());
}

#[test]
fn floating_addresses_lead_to_workloads_by_chains_that_are_there_only_if_there_are_some() {
    let (first, mut flat) = open("floating");
    flat.install(mk_tables()).unwrap();
    let pair = |external: &str, internal: &str| (external.parse().unwrap(), internal.parse().unwrap());
    let floating = vec![pair("203.0.113.4", "10.65.0.7"), pair("fd99::4", "fd65::7")];
    flat.set_outgoing(Outgoing { floating, ..mk_outgoing(&["10.65.0.0/16"], &["10.65.0.0/16"]) }).unwrap();
    let listing = list_ruleset(&first);
    for line in [
        "type nat hook prerouting priority dstnat; policy accept;",
        "type nat hook output priority -100; policy accept;",
        "ip daddr 203.0.113.4 dnat ip to 10.65.0.7",
        "ip6 daddr fd99::4 dnat ip6 to fd65::7",
        "ip saddr 10.65.0.7 ip daddr 10.65.0.7 snat ip to 203.0.113.4",
    ] {
        assert!(listing.contains(line), "{line} is not in\n{listing}");
    }
    let at = |text: &str| listing.find(text).unwrap();
    assert!(
        at("snat ip to 203.0.113.4") < at("ip daddr 10.65.0.0/16 accept"),
        "before pools are passed by:\n{listing}"
    );
    assert!(flat.check().unwrap().is_none());
    let (second, _driver) = open("floating-again");
    run_with_input(&second, "nft", &["-f", "-"], &listing);
    assert_eq!(comparable(&list_ruleset(&second)), comparable(&listing));
    flat.set_outgoing(Outgoing::default()).unwrap();
    assert!(!list_ruleset(&first).contains("chain floating"));
    assert!(flat.check().unwrap().is_none());
}

#[test]
fn while_vxlan_is_in_use_only_nodes_may_send_it() {
    let (namespace, mut flat) = open("out-vxlan");
    let workloads = "iifname \"cali*\" udp dport 4789 counter name \"dropped_spoofed\" drop";
    let among = |nodes: &[&str]| Outgoing {
        vxlan: Some(nodes.iter().map(|node| node.parse().unwrap()).collect()),
        ..Outgoing::default()
    };
    flat.install(mk_tables()).unwrap();
    assert!(!list_ruleset(&namespace).contains("4789"));
    flat.set_outgoing(among(&["192.168.77.11", "192.168.77.12", "fd77::11"])).unwrap();
    let listing = list_ruleset(&namespace);
    assert_eq!(listing.matches(workloads).count(), 2, "to others and to this host:\n{listing}");
    for line in [
        "udp dport 4789 ip saddr @nodes4 accept",
        "udp dport 4789 ip6 saddr @nodes6 accept",
        "\t\tudp dport 4789 counter name \"dropped_spoofed\" drop",
        "fd77::11",
    ] {
        assert!(listing.contains(line), "{line} is not in\n{listing}");
    }
    assert!(flat.check().unwrap().is_none());
    let (second, _driver) = open("out-vxlan-again");
    run_with_input(&second, "nft", &["-f", "-"], &listing);
    assert_eq!(comparable(&list_ruleset(&second)), comparable(&listing));

    flat.set_outgoing(among(&["192.168.77.12", "192.168.77.13"])).unwrap();
    let listing = list_ruleset(&namespace);
    assert!(listing.contains("192.168.77.13") && !listing.contains("192.168.77.11"), "{listing}");
    assert!(flat.check().unwrap().is_none());
    run(&namespace, "nft", &["delete", "element", "inet", "tortie", "nodes4", "{ 192.168.77.12 }"]);
    assert_eq!(flat.check().unwrap().different, 1);
    flat.repair().unwrap();
    assert!(flat.check().unwrap().is_none());
    assert!(list_ruleset(&namespace).contains("192.168.77.12"));
    flat.set_outgoing(Outgoing::default()).unwrap();
    let listing = list_ruleset(&namespace);
    assert!(!listing.contains("4789") && !listing.contains("nodes4"), "{listing}");
    assert!(flat.check().unwrap().is_none());
}

#[test]
fn connections_leave_with_the_address_and_the_ports_that_are_set() {
    let (first, mut flat) = open("out-as");
    flat.install(mk_tables()).unwrap();
    let pools = || mk_outgoing(&["10.65.0.0/16", "fd65::/64"], &["10.65.0.0/16", "fd65::/64"]);
    let address = Some("192.0.2.7".parse().unwrap());
    let ports = Some((32000, 40000));
    for (leaves_as, lines) in [
        (
            LeavesAs { address, ports },
            vec![
                "ip saddr 10.65.0.0/16 meta l4proto tcp snat ip to 192.0.2.7:32000-40000 fully-random",
                "ip saddr 10.65.0.0/16 meta l4proto udp snat ip to 192.0.2.7:32000-40000 fully-random",
                "ip saddr 10.65.0.0/16 snat ip to 192.0.2.7 fully-random",
                "ip6 saddr fd65::/64 meta l4proto tcp masquerade to :32000-40000 fully-random",
                "ip6 saddr fd65::/64 masquerade fully-random",
            ],
        ),
        (LeavesAs { address, ports: None }, vec!["ip saddr 10.65.0.0/16 snat ip to 192.0.2.7 fully-random"]),
        (LeavesAs::default(), vec!["ip saddr 10.65.0.0/16 masquerade fully-random"]),
    ] {
        flat.set_outgoing(Outgoing { leaves_as, ..pools() }).unwrap();
        let listing = list_ruleset(&first);
        for line in lines {
            assert!(listing.contains(line), "{line} is not in\n{listing}");
        }
        assert!(flat.check().unwrap().is_none());
        let (second, _driver) = open("out-as-again");
        run_with_input(&second, "nft", &["-f", "-"], &listing);
        assert_eq!(comparable(&list_ruleset(&second)), comparable(&listing));
    }
}
