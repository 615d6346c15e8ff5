//! The chain that gives connections this host's address: written, listed, loaded again, changed, repaired, taken away.

use crate::install::{mk_tables, open};
use crate::support::{comparable, list_ruleset, run, run_with_input};
use ipnet::IpNet;
use tortie_dataplane::network::Outgoing;

const CHAIN: &str = "chain outgoing";

fn mk_outgoing(from: &[&str], inside: &[&str]) -> Outgoing {
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse::<IpNet>().unwrap()).collect();
    Outgoing { from: nets(from), inside: nets(inside), vxlan: false }
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
fn while_vxlan_is_in_use_workloads_may_not_send_any() {
    let (namespace, mut flat) = open("out-vxlan");
    let line = "iifname \"cali*\" udp dport 4789 counter name \"dropped_spoofed\" drop";
    flat.install(mk_tables()).unwrap();
    assert!(!list_ruleset(&namespace).contains(line));
    flat.set_outgoing(Outgoing { vxlan: true, ..Outgoing::default() }).unwrap();
    let listing = list_ruleset(&namespace);
    assert_eq!(listing.matches(line).count(), 2, "to others and to this host:\n{listing}");
    assert!(flat.check().unwrap().is_none());
    flat.repair().unwrap();
    assert_eq!(list_ruleset(&namespace).matches(line).count(), 2);
    flat.set_outgoing(Outgoing::default()).unwrap();
    assert!(!list_ruleset(&namespace).contains(line));
    assert!(flat.check().unwrap().is_none());
}
