//! The chains that lead ports of the host to workloads: written, listed, loaded again, repaired, changed, taken away.

use crate::install::{mk_tables, open};
use crate::support::{comparable, list_ruleset, run, run_with_input};
use tortie_dataplane::network::{HostPort, Outgoing};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

fn mk_port(address: Option<&str>, protocol: u8, port: u16, to: &str) -> HostPort {
    HostPort { address: address.map(|text| text.parse().unwrap()), protocol, port, to: to.parse().unwrap() }
}

fn mk_outgoing(ports: &[HostPort]) -> Outgoing {
    let pool: ipnet::IpNet = "10.65.0.0/16".parse().unwrap();
    Outgoing { from: vec![pool], inside: vec![pool], ports: ports.to_vec(), ..Outgoing::default() }
}

#[test]
fn ports_of_the_host_lead_to_workloads_by_chains_that_are_there_only_if_there_are_some() {
    let (first, mut flat) = open("ports");
    let all = [
        mk_port(None, TCP, 8080, "10.65.0.7:80"),
        mk_port(None, TCP, 8080, "[fd65::7]:80"),
        mk_port(None, SCTP, 36412, "10.65.0.7:36412"),
        mk_port(Some("192.168.77.11"), UDP, 53, "10.65.0.8:5353"),
        mk_port(Some("127.0.0.1"), TCP, 9000, "10.65.0.8:90"),
    ];
    flat.install(mk_tables()).unwrap();
    flat.set_outgoing(mk_outgoing(&all)).unwrap();
    let listing = list_ruleset(&first);
    for line in [
        "type nat hook prerouting priority dstnat; policy accept;",
        "type nat hook output priority -100; policy accept;",
        "fib daddr type local goto host_port",
        "meta nfproto ipv4 tcp dport 8080 dnat ip to 10.65.0.7:80",
        "meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd65::7]:80",
        "meta nfproto ipv4 sctp dport 36412 dnat ip to 10.65.0.7:36412",
        "ip daddr 192.168.77.11 udp dport 53 dnat ip to 10.65.0.8:5353",
        "ip saddr 10.65.0.7 ip daddr 10.65.0.7 masquerade fully-random",
        "ip6 saddr fd65::7 ip6 daddr fd65::7 masquerade fully-random",
        "ip saddr 127.0.0.0/8 ip daddr 10.65.0.8 masquerade fully-random",
        "iifname \"cali*\" ip daddr 127.0.0.0/8 counter name \"dropped_spoofed\" drop",
    ] {
        assert!(listing.contains(line), "{line} is not in\n{listing}");
    }
    assert_eq!(
        listing.matches("ip daddr 127.0.0.1 tcp dport 9000 dnat ip to 10.65.0.8:90").count(),
        1,
        "for the host alone:\n{listing}"
    );
    let at = |text: &str| listing.find(text).unwrap();
    assert!(at("ip saddr 10.65.0.8 ip daddr 10.65.0.8 masquerade") < at("ip daddr 10.65.0.0/16 accept"));
    assert!(flat.check().unwrap().is_none());
    let (second, _driver) = open("ports-again");
    run_with_input(&second, "nft", &["-f", "-"], &listing);
    assert_eq!(comparable(&list_ruleset(&second)), comparable(&listing));

    run(&first, "nft", &["flush", "chain", "inet", "tortie", "host_port"]);
    assert_eq!(flat.check().unwrap().different, 1);
    flat.repair().unwrap();
    assert!(flat.check().unwrap().is_none());
    assert!(list_ruleset(&first).contains("dnat ip6 to [fd65::7]:80"));

    flat.set_outgoing(mk_outgoing(&all[3..4])).unwrap();
    let listing = list_ruleset(&first);
    assert!(!listing.contains("8080") && listing.contains("10.65.0.8:5353"), "{listing}");
    assert!(flat.check().unwrap().is_none());
    flat.set_outgoing(Outgoing::default()).unwrap();
    let listing = list_ruleset(&first);
    assert!(!listing.contains("host_port") && !listing.contains("127.0.0.0"), "{listing}");
    assert!(flat.check().unwrap().is_none());
}
