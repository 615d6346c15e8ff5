//! VXLAN devices, as the kernel makes and lists them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;

use tortie_netlink::rtnetlink::{Forwarding, LinkRef, Mac, Vxlan};
use tortie_netlink::{OwnedNamespace, Rtnetlink};

#[test]
fn a_vxlan_device_of_each_family_is_made_listed_and_given_peers() {
    let host = OwnedNamespace::create(&format!("tt-{}-vxlan", std::process::id())).unwrap();
    let mut links = Rtnetlink::open_in(&host).unwrap();
    links.create_bridge("br0").unwrap();
    let parent = links.index_of("br0").unwrap();
    assert!(links.vxlan("vxlan0").unwrap().is_none());
    assert_eq!(links.vxlan("br0").unwrap().unwrap().1, None, "a bridge is none");
    for (name, local, peers) in [
        ("vxlan0", "192.168.77.11", ["192.168.77.12", "192.168.77.13"]),
        ("vxlan6", "fd77::11", ["fd77::12", "fd77::13"]),
    ] {
        let id = if name == "vxlan0" { 4096 } else { 4097 };
        let wanted = Vxlan {
            id,
            port: 4789,
            local: Some(local.parse().unwrap()),
            parent: Some(parent),
            learning: false,
        };
        links.create_vxlan(name, Mac([0x66, 1, 2, 3, 4, 5]), 1400, &wanted).unwrap();
        links.set_up(LinkRef::Name(name)).unwrap();
        let (link, found) = links.vxlan(name).unwrap().unwrap();
        assert_eq!(found, Some(wanted));
        assert_eq!((link.mac, link.mtu, link.up), (Some(Mac([0x66, 1, 2, 3, 4, 5])), 1400, true));
        let at = |host: &str| Forwarding {
            mac: Mac([0x66, 9, 9, 9, 9, 9]),
            host: host.parse::<IpAddr>().unwrap(),
        };
        for host in peers {
            links.replace_forwarding(link.index, at(host)).unwrap();
            assert_eq!(links.forwarding(link.index).unwrap(), [at(host)]);
        }
        assert!(links.delete_forwarding(link.index, at(peers[1])).unwrap());
        assert!(!links.delete_forwarding(link.index, at(peers[1])).unwrap());
        assert_eq!(links.forwarding(link.index).unwrap(), []);
    }
}
