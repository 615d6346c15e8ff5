//! Nested prefixes as disjoint intervals: what an interval map of a driver holds.
//!
//! The narrowest prefix around an address is the one that counts. A change of one prefix cuts
//! anew only the stretch that it and the intervals it touches cover.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use tortie_dataplane::flat::AddressRange;

/// Prefixes wider than one address, and the intervals that they cut.
#[derive(Debug, Default)]
pub struct Intervals {
    prefixes: BTreeMap<Key, IpNet>,
    intervals: BTreeMap<IpAddr, (IpAddr, IpNet)>,
}

/// Orders a prefix before those inside it.
type Key = (IpAddr, u8);

/// What a change of prefixes did: intervals that went, and those that came with the prefix that rules them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Gone.
    pub removed: Vec<AddressRange>,
    /// New.
    pub added: Vec<(AddressRange, IpNet)>,
}

impl Intervals {
    /// Whether the prefix is there.
    pub fn contains(&self, net: &IpNet) -> bool {
        self.prefixes.contains_key(&key(net))
    }

    /// Adds a prefix.
    pub fn insert(&mut self, net: IpNet) -> Cut {
        let net = net.trunc();
        self.prefixes.insert(key(&net), net);
        self.cut(net)
    }

    /// Takes a prefix away.
    pub fn remove(&mut self, net: IpNet) -> Cut {
        let net = net.trunc();
        self.prefixes.remove(&key(&net));
        self.cut(net)
    }

    /// The intervals that a prefix rules.
    pub fn of(&self, net: &IpNet) -> impl Iterator<Item = AddressRange> {
        let net = net.trunc();
        self.intervals
            .range(net.network()..=last(&net))
            .filter(move |(_, (_, by))| *by == net)
            .map(|(first, (last, _))| AddressRange { first: *first, last: *last })
    }

    /// The prefix that rules exactly this interval.
    pub fn ruler(&self, range: &AddressRange) -> Option<IpNet> {
        self.intervals.get(&range.first).filter(|(last, _)| *last == range.last).map(|(_, by)| *by)
    }

    /// The narrowest prefix around an address.
    #[cfg(test)]
    fn around(&self, address: IpAddr) -> Option<IpNet> {
        let (_, (last, by)) = self.intervals.range(..=address).next_back()?;
        (address.is_ipv4() == last.is_ipv4() && address <= *last).then_some(*by)
    }

    fn cut(&mut self, net: IpNet) -> Cut {
        // A step beyond each end, so that pieces of one prefix that a narrower one kept apart grow together again.
        let mut first = previous(net.network()).unwrap_or(net.network());
        let mut last = next(last(&net)).unwrap_or(last(&net));
        if let Some((start, (end, _))) = self.intervals.range(..=first).next_back()
            && start.is_ipv4() == first.is_ipv4()
            && *end >= first
        {
            first = *start;
            last = last.max(*end);
        }
        if let Some((start, (end, _))) = self.intervals.range(..=last).next_back()
            && start.is_ipv4() == last.is_ipv4()
        {
            last = last.max(*end);
        }
        let old: BTreeMap<IpAddr, (IpAddr, IpNet)> =
            self.intervals.range(first..=last).map(|(start, rest)| (*start, *rest)).collect();
        let new = self.pieces(first, last);
        let mut cut = Cut::default();
        for (start, (end, by)) in &old {
            if new.get(start) != Some(&(*end, *by)) {
                self.intervals.remove(start);
                cut.removed.push(AddressRange { first: *start, last: *end });
            }
        }
        for (start, (end, by)) in new {
            if old.get(&start) != Some(&(end, by)) {
                self.intervals.insert(start, (end, by));
                cut.added.push((AddressRange { first: start, last: end }, by));
            }
        }
        cut
    }

    /// Cuts a stretch: goes over the prefixes that begin in it, from the left and the widest
    /// first, with those that are open on a stack.
    fn pieces(&self, first: IpAddr, end: IpAddr) -> BTreeMap<IpAddr, (IpAddr, IpNet)> {
        let mut pieces = BTreeMap::new();
        let mut open: Vec<IpNet> = self.enclosing(first);
        let mut at = Some(first);
        let mut emit = |from: IpAddr, to: IpAddr, by: &IpNet| {
            if from <= to {
                pieces.insert(from, (to, *by));
            }
        };
        let inside: Vec<IpNet> = self
            .prefixes
            .range((first, 0)..=(end, u8::MAX))
            .map(|(_, net)| *net)
            .filter(|net| !open.contains(net))
            .collect();
        for net in inside {
            while let Some(top) = open.last().filter(|top| last(top) < net.network()).copied() {
                if let Some(from) = at {
                    emit(from, last(&top), &top);
                }
                at = at.max(next(last(&top)));
                open.pop();
            }
            if let (Some(top), Some(from), Some(before)) = (open.last(), at, previous(net.network())) {
                emit(from, before, top);
            }
            at = Some(net.network());
            open.push(net);
        }
        while let Some(top) = open.pop() {
            let to = last(&top).min(end);
            if let Some(from) = at {
                emit(from, to, &top);
            }
            at = next(to).filter(|_| to < end).map(|after| at.map_or(after, |from| from.max(after)));
        }
        pieces
    }

    /// The prefixes that hold an address and begin at or before it, the widest first.
    fn enclosing(&self, address: IpAddr) -> Vec<IpNet> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (0..=bits)
            .filter_map(|length| IpNet::new(address, length).ok())
            .filter_map(|net| self.prefixes.get(&key(&net.trunc())).copied())
            .filter(|net| net.network() < address || net.network() == address)
            .collect()
    }
}

fn key(net: &IpNet) -> Key {
    (net.network(), net.prefix_len())
}

fn last(net: &IpNet) -> IpAddr {
    net.broadcast()
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn previous(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_sub(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address.to_bits().checked_sub(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a prefix")
    }

    #[test]
    fn a_narrow_prefix_cuts_a_wide_one_in_three() {
        let mut intervals = Intervals::default();
        intervals.insert(net("10.0.0.0/8"));
        let cut = intervals.insert(net("10.1.0.0/16"));
        assert_eq!((cut.removed.len(), cut.added.len()), (1, 3));
        let cut = intervals.remove(net("10.1.0.0/16"));
        assert_eq!((cut.removed.len(), cut.added.len()), (3, 1));
    }

    #[test]
    fn intervals_are_disjoint_and_each_address_belongs_to_its_narrowest_prefix() {
        let mut random = 7_u32;
        let mut next_random = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        for _ in 0..30 {
            let mut intervals = Intervals::default();
            let mut prefixes = std::collections::BTreeSet::new();
            for _ in 0..40 {
                let length = u8::try_from(next_random(9)).expect("small") + 24;
                let address = Ipv4Addr::from_bits(0xffff_ff00 | next_random(256));
                let prefix = IpNet::new(address.into(), length.min(31)).expect("a length up to 31").trunc();
                let cut = if prefixes.remove(&prefix) {
                    intervals.remove(prefix)
                } else {
                    prefixes.insert(prefix);
                    intervals.insert(prefix)
                };
                drop(cut);
                for host in 0..=255_u32 {
                    let address = IpAddr::V4(Ipv4Addr::from_bits(0xffff_ff00 | host));
                    let narrowest = prefixes
                        .iter()
                        .filter(|net| net.contains(&address))
                        .max_by_key(|net| net.prefix_len());
                    assert_eq!(intervals.around(address), narrowest.copied(), "{address} among {prefixes:?}");
                }
            }
        }
    }
}
