//! The host's side of pods that are attached: what is missing of it is put back.
//!
//! For the agent's start, when policy is in force: while it was away somebody may have flushed routes, or set an
//! interface down and up. What others have put there is left alone, and nothing inside a pod is touched.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use tortie_netlink::rtnetlink::{LinkRef, Mac, Route, RouteFilter};
use tortie_netlink::{Rtnetlink, sysctl};

use crate::Result;
use crate::wiring::{host_settings, single};

/// `RT_TABLE_MAIN`.
const TABLE_MAIN: u32 = 254;

/// What the host's kernel holds for pods, as it was read.
pub struct Host {
    links: Rtnetlink,
    /// Destinations that have a route, whoever made it.
    routed: HashSet<IpNet>,
    /// Interface and address of permanent entries.
    neighbours: HashSet<(u32, IpAddr)>,
}

impl Host {
    /// Reads routes and neighbours of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`crate::Error::Netlink`].
    pub fn read() -> Result<Self> {
        let mut links = Rtnetlink::open()?;
        let main = RouteFilter { table: Some(TABLE_MAIN), ..RouteFilter::default() };
        let routed = links.routes(main)?.into_iter().map(|route| route.destination).collect();
        let permanent = links.neighbours()?.into_iter().filter(|entry| entry.permanent && !entry.proxy);
        let neighbours = permanent.map(|entry| (entry.index, entry.address)).collect();
        Ok(Self { links, routed, neighbours })
    }

    /// Puts back what is missing of a pod's side; what that was, in words. `mac` is asked for the pod's own address if it
    /// is needed; `has_ports`: ports of the host lead to it. An interface that is gone or down is left as it is.
    ///
    /// # Errors
    /// [`crate::Error::Netlink`].
    pub fn mend(
        &mut self,
        interface: &str,
        addresses: &[IpAddr],
        has_ports: bool,
        mac: impl Fn() -> Option<Mac>,
    ) -> Result<Vec<String>> {
        let mut done = Vec::new();
        let Some(link) = self.links.link(LinkRef::Name(interface))?.filter(|link| link.up) else {
            return Ok(done);
        };
        for (name, value) in host_settings(interface, addresses, has_ports) {
            if sysctl::read(&name)? != value {
                sysctl::write(&name, value)?;
                done.push(format!("{name} = {value}"));
            }
        }
        for address in addresses {
            if !self.neighbours.contains(&(link.index, *address))
                && let Some(mac) = mac()
            {
                self.links.replace_neighbour(link.index, *address, mac)?;
                done.push(format!("neighbour {address}"));
            }
            if self.routed.insert(single(*address)) {
                match self.links.add_route(&Route::direct(single(*address), link.index)) {
                    // The plugin, just now.
                    Err(error) if error.is_exists() => {}
                    added => {
                        added?;
                        done.push(format!("route {}", single(*address)));
                    }
                }
            }
        }
        Ok(done)
    }
}
