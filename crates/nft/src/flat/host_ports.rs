//! The chains that lead ports of this host to workloads, before policy, which sees the workload's own address and port and who
//! really asks.
//!
//! ```text
//!  prerouting, output: ip daddr 192.168.77.11 tcp dport 8443 dnat ip to 10.65.0.7:443   of one address, first
//!                      fib daddr type local goto host_port                               of all that are this host's
//!  host_port:          meta nfproto ipv4 tcp dport 8080 dnat ip to 10.65.0.7:80
//!  postrouting:        ip saddr 10.65.0.7 ip daddr 10.65.0.7 masquerade    a workload that asks for itself
//!                      ip saddr 127.0.0.0/8 ip daddr 10.65.0.7 masquerade  this host, by its loopback
//! ```
//! What a port of a loopback address leads to is led there for this host alone. The answers to what comes by 127.0.0.1
//! arrive for that address at the workload's interface, where the plugin has allowed it (`route_localnet`); what a workload sends
//! there on its own is dropped.

use super::chains::{DROPPED_SPOOFED, Filled};
use super::outgoing::PRIORITY_DESTINATION_NAT;
use super::phrases::{self as say, Address, rule};
use super::settings::Settings;
use crate::expression::Verdict;
use crate::object::{Chain, HookPoint, Rule};
use ipnet::{IpNet, Ipv4Net};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use tortie_dataplane::network::HostPort;
use tortie_dataplane::policy::Family;

const FROM_ELSEWHERE: &str = "host_ports";
const FROM_HOST: &str = "host_ports_host";
const OF_ALL: &str = "host_port";
/// The chains' names; one that others lead to comes after them.
pub const NAMES: [&str; 3] = [FROM_ELSEWHERE, FROM_HOST, OF_ALL];

/// The chains that should be there; one that others lead to comes before them.
pub fn chains(ports: &[HostPort]) -> Vec<Filled> {
    if ports.is_empty() {
        return Vec::new();
    }
    let of_all = ports.iter().filter(|port| port.address.is_none());
    // meta nfproto ipv4 tcp dport 8080 dnat ip to 10.65.0.7:80
    let of_all = of_all.map(|port| rule([say::family(Family::of(&port.to.ip())), lead(port)]));
    let base = |name, point, loopback| {
        let of_one = ports.iter().filter_map(|port| {
            // ip daddr 192.168.77.11 tcp dport 8443 dnat ip to 10.65.0.7:443
            let address = port.address.filter(|address| loopback || !address.is_loopback())?;
            Some(rule([say::within(Address::Destination, IpNet::from(address)), lead(port)]))
        });
        // fib daddr type local goto host_port
        let others = rule([say::to_this_host(), say::goto(OF_ALL)]);
        (Chain::nat(name, point, PRIORITY_DESTINATION_NAT), of_one.chain([others]).collect())
    };
    vec![
        (Chain::regular(OF_ALL), of_all.collect()),
        base(FROM_ELSEWHERE, HookPoint::Prerouting, false),
        base(FROM_HOST, HookPoint::Output, true),
    ]
}

/// tcp dport 8080 dnat ip to 10.65.0.7:80
fn lead(port: &HostPort) -> Vec<crate::expression::Expression> {
    [say::to_port(port.protocol, port.port), say::lead_to(port.to)].concat()
}

/// The rules behind routing for what else would be answered past this host.
pub fn answered_here(ports: &[HostPort]) -> Vec<Rule> {
    let workloads: BTreeSet<IpAddr> = ports.iter().map(|port| port.to.ip()).collect();
    let to = |source: IpNet, workload: IpAddr| {
        let destination = say::within(Address::Destination, IpNet::from(workload));
        rule([say::within(Address::Source, source), destination, say::leave_as(None, None)])
    };
    let of = |workload: &IpAddr| {
        let itself = to(IpNet::from(*workload), *workload);
        let host = workload.is_ipv4().then(|| to(IpNet::V4(loopback()), *workload));
        [Some(itself), host].into_iter().flatten()
    };
    workloads.iter().flat_map(of).collect()
}

/// iifname "cali*" ip daddr 127.0.0.0/8 counter name "dropped_spoofed" drop
pub fn input(settings: &Settings) -> Vec<Rule> {
    let dropped = |prefix: &String| {
        rule([
            say::from_interface(prefix),
            say::within(Address::Destination, IpNet::V4(loopback())),
            say::count(DROPPED_SPOOFED),
            say::verdict(Verdict::Drop),
        ])
    };
    let used = !settings.outgoing.ports.is_empty();
    settings.interface_prefixes.iter().filter(|_| used).map(dropped).collect()
}

fn loopback() -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).expect("8 bits are no more than 32")
}
