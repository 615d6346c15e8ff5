//! What the ways to a node depend on.

use std::net::IpAddr;

use ipnet::IpNet;
use sha1::{Digest as _, Sha1};
use tortie_api::endpoint::Node;
use tortie_dataplane::policy::Family;

/// A node's addresses, for each family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    v4: Ways,
    v6: Ways,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ways {
    /// The node's own address with its subnet.
    address: Option<IpNet>,
    /// That of its VXLAN device.
    tunnel: Option<IpAddr>,
    /// Of the same device.
    mac: [u8; 6],
}

impl Host {
    /// What a Node object says.
    pub fn of(node: &Node) -> Self {
        let (name, spec) = (&node.metadata.name, &node.spec);
        let bgp = spec.bgp.as_ref();
        let ways = |family, address: Option<&String>, tunnel: &str, mac: &str, name: &str| Ways {
            address: address.and_then(|text| net(text)).filter(|net| Family::of_net(net) == family),
            tunnel: tunnel.parse().ok().filter(|address| Family::of(address) == family),
            mac: parse_mac(mac).unwrap_or_else(|| mac_of(name)),
        };
        Self {
            v4: ways(
                Family::V4,
                bgp.map(|bgp| &bgp.ipv4_address),
                &spec.ipv4_vxlan_tunnel_addr,
                &spec.vxlan_tunnel_mac_addr,
                name,
            ),
            v6: ways(
                Family::V6,
                bgp.map(|bgp| &bgp.ipv6_address),
                &spec.ipv6_vxlan_tunnel_addr,
                &spec.vxlan_tunnel_mac_addr_v6,
                &format!("{name}-v6"),
            ),
        }
    }

    /// The node's own address with its subnet.
    pub fn address(&self, family: Family) -> Option<IpNet> {
        self.ways(family).address
    }

    /// The address of its VXLAN device.
    pub fn tunnel(&self, family: Family) -> Option<IpAddr> {
        self.ways(family).tunnel
    }

    /// The MAC address of its VXLAN device.
    pub fn mac(&self, family: Family) -> [u8; 6] {
        self.ways(family).mac
    }

    fn ways(&self, family: Family) -> &Ways {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// The MAC address that all nodes expect of a node that names none: `66` and the first five bytes of its name's SHA-1.
fn mac_of(name: &str) -> [u8; 6] {
    let [a, b, c, d, e, ..] = <[u8; 20]>::from(Sha1::digest(name));
    [b'f', a, b, c, d, e]
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut parts = text.split([':', '-']);
    let mut bytes = [0; 6];
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// An address with its prefix length; one without is alone on its subnet.
fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_those_that_calico_derives() {
        // Names and addresses of Calico's own tests (felix/calc/states_for_test.go); the last one is IPv6's.
        for (name, mac) in [
            ("remotehostname", "66:3e:ca:a4:db:65"),
            ("localhostname", "66:48:f6:56:dc:f1"),
            ("remotehostname-v6", "66:a0:68:c9:4c:79"),
        ] {
            assert_eq!(Some(mac_of(name)), parse_mac(mac), "{name}");
        }
        assert_eq!(parse_mac("66:00:0a:0b:0c:ff"), Some([0x66, 0, 10, 11, 12, 255]));
        assert_eq!(parse_mac(""), None);
    }
}
