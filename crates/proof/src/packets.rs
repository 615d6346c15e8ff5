//! Random packets, from the addresses, ports and types that the cluster's objects speak of.

use std::net::IpAddr;

use fastrand::Rng;
use ipnet::IpNet;
use tortie_analysis::{Packet, Transport};
use tortie_api::resource::Resource;

use crate::random::{Objects, pick};
use crate::rules::Theme;

/// Addresses that packets go between: all endpoints', some of every net, and strangers.
pub fn addresses(objects: &Objects) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> =
        ["10.0.0.200", "198.51.100.1", "fd00::200", "2001:db8::1", "192.0.2.5", "10.9.9.9"]
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
    for object in objects.values() {
        if let Resource::WorkloadEndpoint(endpoint) = object {
            let nets = endpoint.spec.ip_networks.iter().filter_map(|net| net.parse::<IpNet>().ok());
            // Twice, so that most packets have an endpoint on a side.
            for net in nets {
                all.extend([net.addr(), net.addr()]);
            }
        }
    }
    all
}

/// A packet between two of the addresses, of one family; mostly of the kind that the theme is about.
pub fn packet(random: &mut Rng, theme: Theme, addresses: &[IpAddr]) -> Packet {
    let source = pick(random, addresses);
    let same: Vec<IpAddr> =
        addresses.iter().filter(|address| address.is_ipv4() == source.is_ipv4()).copied().collect();
    let destination = pick(random, &same);
    let icmp = if source.is_ipv4() { 1 } else { 58 };
    let protocol = match theme {
        Theme::Icmp | Theme::NotIcmp if random.bool() => icmp,
        Theme::NamedPorts | Theme::Ports if random.bool() => 6,
        _ => pick(random, &[6, 6, 6, 6, 17, 17, 132, 136, 47, icmp, icmp, icmp]),
    };
    let transport = match protocol {
        6 | 17 | 132 | 136 => Transport::Ports {
            source: 40000,
            destination: pick(random, &[80, 80, 443, 53, 8080, 8500, 79, 81, 100, 101, 0, 1, 65535]),
        },
        1 => Transport::Icmp { icmp_type: pick(random, &[8, 8, 3, 0]), code: pick(random, &[0, 0, 4, 1]) },
        58 => Transport::Icmp {
            icmp_type: pick(random, &[128, 128, 1, 129]),
            code: pick(random, &[0, 0, 4, 1]),
        },
        _ => Transport::Other,
    };
    Packet { source, destination, protocol, transport }
}
