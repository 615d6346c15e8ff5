//! The VXLAN device of a family: what differs between the one that should be there and the one that is, and the writing.
//!
//! A device that can't become the right one (another network, port, address or interface) is made anew. It learns nothing:
//! for each peer it has a permanent neighbour (address to MAC) and a forwarding entry (MAC to host). What is new comes
//! before routes lead to it, what goes afterwards.

use std::net::IpAddr;

use ipnet::IpNet;
use tortie_dataplane::network::Tunnel;
use tortie_netlink::Rtnetlink;
use tortie_netlink::rtnetlink::{Forwarding, Link, LinkChange, LinkRef, Mac, Vxlan};

use crate::Result;

/// A device as the kernel has it.
#[derive(Debug, Clone)]
pub struct Device {
    link: Link,
    /// `None` for a link of our name that is something else.
    vxlan: Option<Vxlan>,
    addresses: Vec<IpNet>,
    neighbours: Vec<(IpAddr, Mac)>,
    forwarding: Vec<Forwarding>,
}

/// What a device should be.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// What can't be changed.
    pub vxlan: Vxlan,
    /// Bytes.
    pub mtu: u32,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Delete what is there and make it.
    make: bool,
    /// Give it its MAC address, MTU, and set it up.
    dress: bool,
    add_addresses: Vec<IpNet>,
    add_neighbours: Vec<(IpAddr, Mac)>,
    add_forwarding: Vec<Forwarding>,
    /// Delete it.
    remove: bool,
    drop_addresses: Vec<IpNet>,
    drop_neighbours: Vec<(IpAddr, Mac)>,
    drop_forwarding: Vec<Forwarding>,
}

impl Device {
    /// Reads the device of this name.
    ///
    /// # Errors
    /// If the kernel can't be read.
    pub fn read(netlink: &mut Rtnetlink, name: &str) -> Result<Option<Self>> {
        let Some((link, vxlan)) = netlink.vxlan(name)? else { return Ok(None) };
        let index = link.index;
        let addresses = netlink.addresses()?.into_iter();
        let addresses = addresses.filter(|address| address.index == index && address.scope == 0);
        let neighbours = netlink.neighbours()?.into_iter();
        let neighbours = neighbours.filter(|entry| entry.index == index && entry.permanent && !entry.proxy);
        let forwarding = if vxlan.is_some() { netlink.forwarding(index)? } else { Vec::new() };
        Ok(Some(Self {
            link,
            vxlan,
            addresses: addresses.map(|address| address.net).collect(),
            neighbours: neighbours.filter_map(|entry| Some((entry.address, entry.mac?))).collect(),
            forwarding,
        }))
    }
}

impl Steps {
    /// What to do so that the device is what it should be, or there is none.
    pub fn plan(wanted: Option<(&Tunnel, Shape)>, found: Option<&Device>) -> Self {
        let Some((tunnel, shape)) = wanted else {
            // A link of our name that is something else is not ours to delete unless the name is needed.
            return Self { remove: found.is_some_and(|found| found.vxlan.is_some()), ..Self::default() };
        };
        let fits = found.filter(|found| found.vxlan == Some(shape.vxlan));
        let dressed = |found: &Device| {
            found.link.up && found.link.mtu == shape.mtu && found.link.mac == Some(Mac(tunnel.mac))
        };
        let addresses = vec![IpNet::from(tunnel.address)];
        let neighbours: Vec<_> = tunnel.peers.iter().map(|(peer, there)| (*peer, Mac(there.mac))).collect();
        let forwarding: Vec<_> =
            tunnel.peers.values().map(|there| Forwarding { mac: Mac(there.mac), host: there.host }).collect();
        let (no_addresses, no_neighbours, no_forwarding) = (Vec::new(), Vec::new(), Vec::new());
        let there = (
            fits.map_or(&no_addresses, |found| &found.addresses),
            fits.map_or(&no_neighbours, |found| &found.neighbours),
            fits.map_or(&no_forwarding, |found| &found.forwarding),
        );
        // Written over: an address has one neighbour, a MAC address one host.
        let gone = |old: &(IpAddr, Mac)| !neighbours.iter().any(|(address, _)| *address == old.0);
        let unled = |old: &Forwarding| !forwarding.iter().any(|entry| entry.mac == old.mac);
        Self {
            make: fits.is_none(),
            dress: !fits.is_some_and(dressed),
            drop_addresses: without(there.0, &addresses),
            drop_neighbours: there.1.iter().filter(|old| gone(old)).copied().collect(),
            drop_forwarding: there.2.iter().filter(|old| unled(old)).copied().collect(),
            add_addresses: without(&addresses, there.0),
            add_neighbours: without(&neighbours, there.1),
            add_forwarding: without(&forwarding, there.2),
            remove: false,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        *self == Self::default()
    }

    /// Does what comes before the routes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn grow(&self, netlink: &mut Rtnetlink, name: &str, wanted: Option<(&Tunnel, Shape)>) -> Result<()> {
        let Some((tunnel, Shape { vxlan, mtu })) = wanted else { return Ok(()) };
        let mac = Mac(tunnel.mac);
        if self.make {
            netlink.delete_link(LinkRef::Name(name))?;
            netlink.create_vxlan(name, mac, mtu, &vxlan)?;
        }
        if self.dress {
            let change =
                LinkChange { mac: Some(mac), mtu: Some(mtu), up: Some(true), ..LinkChange::default() };
            netlink.set_link(LinkRef::Name(name), &change)?;
        }
        let index = netlink.index_of(name)?;
        for address in &self.add_addresses {
            netlink.add_address(index, *address)?;
        }
        for entry in &self.add_forwarding {
            netlink.replace_forwarding(index, *entry)?;
        }
        for (address, mac) in &self.add_neighbours {
            netlink.replace_neighbour(index, *address, *mac)?;
        }
        Ok(())
    }

    /// Does what comes after them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn shrink(&self, netlink: &mut Rtnetlink, name: &str) -> Result<()> {
        if self.remove {
            netlink.delete_link(LinkRef::Name(name))?;
            return Ok(());
        }
        if self.drop_addresses.is_empty()
            && self.drop_neighbours.is_empty()
            && self.drop_forwarding.is_empty()
        {
            return Ok(());
        }
        let index = netlink.index_of(name)?;
        for (address, _) in &self.drop_neighbours {
            netlink.delete_neighbour(index, *address)?;
        }
        for entry in &self.drop_forwarding {
            netlink.delete_forwarding(index, *entry)?;
        }
        for address in &self.drop_addresses {
            netlink.delete_address(index, *address)?;
        }
        Ok(())
    }
}

/// What is in `all` and not in `known`; both may have thousands.
fn without<T: Copy + Ord>(all: &[T], known: &[T]) -> Vec<T> {
    let known: std::collections::BTreeSet<T> = known.iter().copied().collect();
    all.iter().filter(|one| !known.contains(one)).copied().collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use tortie_dataplane::network::Peer;

    fn mk_tunnel(peers: &[(&str, u8, &str)]) -> Tunnel {
        let peer = |(address, mac, host): &(&str, u8, &str)| {
            (address.parse().unwrap(), Peer { mac: [*mac; 6], host: host.parse().unwrap() })
        };
        Tunnel {
            own: [192, 168, 77, 11].into(),
            address: [10, 65, 0, 1].into(),
            mac: [0x66; 6],
            peers: peers.iter().map(peer).collect(),
        }
    }

    const SHAPE: Shape = Shape {
        vxlan: Vxlan { id: 4096, port: 4789, local: None, parent: Some(7), learning: false },
        mtu: 1450,
    };

    /// The device that `tunnel` describes, as it is when all is done.
    fn mk_device(tunnel: &Tunnel) -> Device {
        Device {
            link: Link {
                index: 9,
                name: "vxlan.calico".to_owned(),
                mac: Some(Mac(tunnel.mac)),
                mtu: 1450,
                up: true,
                running: true,
                operational: true,
                alias: None,
                kind: Some("vxlan".to_owned()),
                peer_index: None,
                master: None,
            },
            vxlan: Some(SHAPE.vxlan),
            addresses: vec![tunnel.address.into()],
            neighbours: tunnel.peers.iter().map(|(address, peer)| (*address, Mac(peer.mac))).collect(),
            forwarding: tunnel
                .peers
                .values()
                .map(|peer| Forwarding { mac: Mac(peer.mac), host: peer.host })
                .collect(),
        }
    }

    #[test]
    fn a_device_that_is_right_is_left_alone_and_one_that_cannot_be_is_made_anew() {
        let tunnel = mk_tunnel(&[("10.65.0.65", 2, "192.168.77.12")]);
        let mut device = mk_device(&tunnel);
        assert!(Steps::plan(Some((&tunnel, SHAPE)), Some(&device)).is_done());
        let anew = Steps::plan(Some((&tunnel, SHAPE)), None);
        assert!(anew.make && anew.dress);
        assert_eq!(
            (anew.add_addresses.len(), anew.add_neighbours.len(), anew.add_forwarding.len()),
            (1, 1, 1)
        );
        device.vxlan = Some(Vxlan { id: 1, ..SHAPE.vxlan });
        assert_eq!(Steps::plan(Some((&tunnel, SHAPE)), Some(&device)), anew);
        device.vxlan = None;
        assert_eq!(Steps::plan(Some((&tunnel, SHAPE)), Some(&device)), anew);
        assert!(!Steps::plan(None, Some(&device)).remove, "it is none of ours");
        assert!(Steps::plan(None, Some(&mk_device(&tunnel))).remove);
        let mut small = mk_device(&tunnel);
        small.link.mtu = 1400;
        assert_eq!(
            Steps::plan(Some((&tunnel, SHAPE)), Some(&small)),
            Steps { dress: true, ..Steps::default() }
        );
    }

    #[test]
    fn a_peer_that_moves_is_written_over_and_one_that_goes_is_deleted() {
        let before = mk_tunnel(&[("10.65.0.65", 2, "192.168.77.12"), ("10.65.0.129", 3, "192.168.77.13")]);
        let after = mk_tunnel(&[("10.65.0.65", 2, "192.168.77.200")]);
        let steps = Steps::plan(Some((&after, SHAPE)), Some(&mk_device(&before)));
        let entry = |mac, host: &str| Forwarding { mac: Mac([mac; 6]), host: host.parse().unwrap() };
        assert_eq!(
            steps,
            Steps {
                add_forwarding: vec![entry(2, "192.168.77.200")],
                drop_neighbours: vec![([10, 65, 0, 129].into(), Mac([3; 6]))],
                drop_forwarding: vec![entry(3, "192.168.77.13")],
                ..Steps::default()
            }
        );
    }
}
