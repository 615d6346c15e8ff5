//! How large packets may be: the machine's interfaces say, what wraps packets takes its header off, pods get what is left.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use regex_lite::Regex;
use tortie_dataplane::policy::Family;
use tortie_netlink::rtnetlink::Link;

/// How long whoever wires a pod waits for what pods get. It is known as soon as the store is read.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the machine's interfaces let through, bytes: the least of those whose names the pattern finds, or if it finds none,
/// that of `parent`.
pub fn host(links: &[Link], pattern: &Regex, parent: Option<u32>) -> Option<u32> {
    let smallest =
        links.iter().filter(|link| link.up && pattern.is_match(&link.name)).map(|link| link.mtu).min();
    smallest.or_else(|| links.iter().find(|link| Some(link.index) == parent).map(|link| link.mtu))
}

/// What a VXLAN device lets through, bytes: as told, or what the header leaves of `host`.
pub fn device(family: Family, told: [u32; 2], host: u32) -> u32 {
    let (told, header) = match family {
        Family::V4 => (told[0], 50),
        Family::V6 => (told[1], 70),
    };
    if told > 0 { told } else { host.saturating_sub(header) }
}

/// What pods get: what passes all the ways that their packets may take.
pub fn pods(wrapped: impl Iterator<Item = Family>, told: [u32; 2], host: u32) -> u32 {
    wrapped.map(|family| device(family, told, host)).fold(host, u32::min)
}

/// What pods get, for the threads that wire them.
#[derive(Debug, Default)]
pub struct PodMtu {
    /// `None` as long as nobody knows.
    known: Mutex<Option<Option<u32>>>,
    told: Condvar,
}

impl PodMtu {
    /// Tells it; `None` leaves it to the kernel.
    pub fn set(&self, mtu: Option<u32>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(mtu);
        self.told.notify_all();
    }

    /// Asks for it; waits a few seconds as long as nobody knows.
    pub fn get(&self) -> Option<u32> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.wait_timeout_while(known, PATIENCE, |known| known.is_none());
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        known.flatten()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::fixtures::mk_link;
    use super::*;

    fn mk_links(links: &[(&str, u32)]) -> Vec<Link> {
        let link =
            |(index, (name, mtu)): (u32, &(&str, u32))| mk_link(index, name, *mtu, !name.ends_with("down"));
        (1..).zip(links).map(link).collect()
    }

    #[test]
    fn the_least_of_the_machines_interfaces_counts_and_each_header_is_taken_off() {
        let pattern = Regex::new("^eth.*").unwrap();
        let links =
            mk_links(&[("lo", 65536), ("eth0", 9000), ("eth1", 1500), ("eth2-down", 1000), ("bond0", 1400)]);
        assert_eq!(host(&links, &pattern, Some(5)), Some(1500));
        assert_eq!(host(&links, &Regex::new("^none").unwrap(), Some(5)), Some(1400));
        assert_eq!(host(&links, &Regex::new("^none").unwrap(), None), None);
        assert_eq!(pods([].into_iter(), [0, 0], 1500), 1500);
        assert_eq!(pods([Family::V4].into_iter(), [0, 0], 1500), 1450);
        assert_eq!(pods([Family::V4, Family::V6].into_iter(), [0, 0], 1500), 1430);
        assert_eq!(pods([Family::V4].into_iter(), [1300, 0], 1500), 1300);
        assert_eq!(pods([Family::V4].into_iter(), [8950, 0], 1500), 1500, "without VXLAN they go, too");
    }
}
