//! Prefixes, who names them, and the memberships that each inherits from those around it.
//!
//! ```text
//!  owners (endpoints, network sets, nets of rules), each with a list
//!     --union--> own --with what is around--> effective --if it changed--> told
//! ```
//! A prefix is here only while an owner with memberships names it. Prefixes are kept in the
//! order of their addresses, the wider first, so that all that lies within one follows it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Bound, RangeBounds};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::members::{ListId, Lists};
use crate::symbol::Symbol;

/// Who names a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// An item by number.
    Item(u32),
    /// A set of nets by its id.
    Nets(u32),
    /// A service by its name.
    Service(Symbol),
}

/// The prefixes of both families.
#[derive(Default)]
pub(crate) struct Prefixes {
    v4: Tree<u32>,
    v6: Tree<u128>,
}

impl Prefixes {
    /// Gives an owner of a prefix a list; an empty one if it no longer names the prefix.
    /// The prefix must have no bits behind its length.
    pub(crate) fn set(&mut self, prefix: IpNet, owner: Owner, list: ListId, lists: &mut Lists) {
        match prefix {
            IpNet::V4(net) => self.v4.set((net.addr().into(), net.prefix_len()), owner, list, lists),
            IpNet::V6(net) => self.v6.set((net.addr().into(), net.prefix_len()), owner, list, lists),
        }
    }

    /// Works out what changed since the last time, and tells it: in the order of the addresses.
    pub(crate) fn refresh(&mut self, lists: &mut Lists, mut tell: impl FnMut(IpNet, ListId, &Lists)) {
        self.v4.refresh(lists, |(address, length), list, lists| {
            let net = Ipv4Net::new(Ipv4Addr::from(address), length).expect("lengths come from valid nets");
            tell(net.into(), list, lists);
        });
        self.v6.refresh(lists, |(address, length), list, lists| {
            let net = Ipv6Net::new(Ipv6Addr::from(address), length).expect("lengths come from valid nets");
            tell(net.into(), list, lists);
        });
    }

    /// How many prefixes there are.
    pub(crate) fn len(&self) -> usize {
        self.v4.nodes.len() + self.v6.nodes.len()
    }

    /// Each prefix's own list, without what it inherits.
    pub(crate) fn for_each_own(&self, lists: &mut Lists, mut found: impl FnMut(ListId, &Lists)) {
        for node in self.v4.nodes.values().chain(self.v6.nodes.values()) {
            let own = node.own(lists);
            found(own, lists);
        }
    }

    /// What is told of an address: the list of the longest prefix around it.
    pub(crate) fn lookup(&self, address: IpAddr) -> ListId {
        match address {
            IpAddr::V4(address) => self.v4.around((address.into(), 33)),
            IpAddr::V6(address) => self.v6.around((address.into(), 129)),
        }
        .unwrap_or(ListId::EMPTY)
    }
}

/// An address as a number.
trait Bits: Copy + Ord {
    const WIDTH: u8;
    fn first(self, length: u8) -> Self;
    fn last(self, length: u8) -> Self;
}

macro_rules! bits {
    ($($type:ident, $width:literal;)*) => {$(
        impl Bits for $type {
            const WIDTH: u8 = $width;
            fn first(self, length: u8) -> Self {
                self & !$type::MAX.checked_shr(length.into()).unwrap_or(0)
            }
            fn last(self, length: u8) -> Self {
                self | $type::MAX.checked_shr(length.into()).unwrap_or(0)
            }
        }
    )*};
}

bits! {
    u32, 32;
    u128, 128;
}

struct Tree<A> {
    nodes: BTreeMap<(A, u8), Node>,
    /// How many prefixes of each length there are, single addresses aside; longest first.
    lengths: Vec<(u8, u32)>,
    dirty: Vec<(A, u8)>,
}

impl<A> Default for Tree<A> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), lengths: Vec::new(), dirty: Vec::new() }
    }
}

struct Node {
    owners: Owners,
    effective: ListId,
}

enum Owners {
    None,
    One(Owner, ListId),
    Several(Box<[(Owner, ListId)]>),
}

impl Node {
    /// Whether nobody names it any more.
    fn is_gone(&self) -> bool {
        matches!(self.owners, Owners::None)
    }

    /// Works out the effective list; says whether it changed. A prefix that nobody names any
    /// more is told empty whatever lies around it: it falls back to what is around it.
    fn refresh(&mut self, around: ListId, lists: &mut Lists) -> bool {
        let effective = match self.owners {
            Owners::None => ListId::EMPTY,
            Owners::One(..) | Owners::Several(_) => {
                let own = self.own(lists);
                lists.union(own, around)
            }
        };
        if effective == self.effective {
            return false;
        }
        lists.swap(&mut self.effective, effective);
        true
    }

    fn own(&self, lists: &mut Lists) -> ListId {
        match &self.owners {
            Owners::None => ListId::EMPTY,
            Owners::One(_, list) => *list,
            Owners::Several(owners) => {
                owners.iter().fold(ListId::EMPTY, |all, (_, list)| lists.union(all, *list))
            }
        }
    }

    /// Sets an owner's list; says whether anything changed.
    fn set(&mut self, owner: Owner, list: ListId, lists: &mut Lists) -> bool {
        let mut owners = match std::mem::replace(&mut self.owners, Owners::None) {
            Owners::None => Vec::new(),
            Owners::One(other, mut its) if other == owner && list != ListId::EMPTY => {
                let changed = its != list;
                lists.swap(&mut its, list);
                self.owners = Owners::One(other, its);
                return changed;
            }
            Owners::One(other, its) => vec![(other, its)],
            Owners::Several(owners) => owners.into_vec(),
        };
        let at = owners.binary_search_by_key(&owner, |(owner, _)| *owner);
        let changed = match at {
            Ok(at) if list == ListId::EMPTY => {
                let (_, before) = owners.remove(at);
                lists.drop(before);
                true
            }
            Ok(at) => {
                let changed = owners[at].1 != list;
                lists.swap(&mut owners[at].1, list);
                changed
            }
            Err(_) if list == ListId::EMPTY => false,
            Err(at) => {
                lists.hold(list);
                owners.insert(at, (owner, list));
                true
            }
        };
        self.owners = match owners.as_slice() {
            [] => Owners::None,
            [(owner, list)] => Owners::One(*owner, *list),
            _ => Owners::Several(owners.into()),
        };
        changed
    }
}

impl<A: Bits> Tree<A> {
    fn set(&mut self, prefix: (A, u8), owner: Owner, list: ListId, lists: &mut Lists) {
        use std::collections::btree_map::Entry;
        match self.nodes.entry(prefix) {
            Entry::Occupied(mut node) => {
                if node.get_mut().set(owner, list, lists) {
                    self.dirty.push(prefix);
                }
            }
            Entry::Vacant(_) if list == ListId::EMPTY => {}
            Entry::Vacant(vacant) => {
                lists.hold(list);
                lists.hold(ListId::EMPTY);
                vacant.insert(Node { owners: Owners::One(owner, list), effective: ListId::EMPTY });
                self.dirty.push(prefix);
                if prefix.1 < A::WIDTH {
                    match self.lengths.binary_search_by(|(length, _)| prefix.1.cmp(length)) {
                        Ok(at) => self.lengths[at].1 += 1,
                        Err(at) => self.lengths.insert(at, (prefix.1, 1)),
                    }
                }
            }
        }
    }

    /// The effective list of the longest prefix that is around this one and wider.
    fn around(&self, (address, length): (A, u8)) -> Option<ListId> {
        let own = (length > A::WIDTH).then(|| self.nodes.get(&(address, A::WIDTH))).flatten();
        own.or_else(|| {
            self.lengths
                .iter()
                .filter(|(wider, _)| *wider < length)
                .filter_map(|(wider, _)| self.nodes.get(&(address.first(*wider), *wider)))
                .find(|node| !node.is_gone())
        })
        .map(|node| node.effective)
    }

    fn refresh(&mut self, lists: &mut Lists, mut tell: impl FnMut((A, u8), ListId, &Lists)) {
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut gone = Vec::new();
        if dirty.len() > self.nodes.len() / 4 {
            self.refresh_range(.., Vec::new(), lists, &mut gone, &mut tell);
            dirty.clear();
        }
        dirty.sort_unstable();
        dirty.dedup();
        let mut done = None;
        for prefix in dirty {
            if done.is_some_and(|done| prefix.0 <= done) {
                continue;
            }
            let around = self.around(prefix).unwrap_or(ListId::EMPTY);
            let Some(node) = self.nodes.get_mut(&prefix) else { continue };
            if node.refresh(around, lists) {
                tell(prefix, node.effective, lists);
                let inherited = if node.is_gone() { around } else { node.effective };
                if prefix.1 < A::WIDTH {
                    done = Some(prefix.0.last(prefix.1));
                    let last = prefix.0.last(prefix.1);
                    let within = (Bound::Excluded(prefix), Bound::Included((last, A::WIDTH)));
                    self.refresh_range(within, vec![(last, inherited)], lists, &mut gone, &mut tell);
                }
            }
            if self.nodes.get(&prefix).is_some_and(Node::is_gone) {
                gone.push(prefix);
            }
        }
        for prefix in gone {
            self.remove(prefix, lists);
        }
    }

    /// Works all of a range out in one pass. What is around it comes as the last addresses and the effective lists
    /// of the prefixes, the widest first.
    fn refresh_range(
        &mut self,
        range: impl RangeBounds<(A, u8)>,
        mut around: Vec<(A, ListId)>,
        lists: &mut Lists,
        gone: &mut Vec<(A, u8)>,
        tell: &mut impl FnMut((A, u8), ListId, &Lists),
    ) {
        for (inner, node) in self.nodes.range_mut(range) {
            while around.last().is_some_and(|(last, _)| *last < inner.0) {
                around.pop();
            }
            let inherited = around.last().map_or(ListId::EMPTY, |(_, list)| *list);
            if node.refresh(inherited, lists) {
                tell(*inner, node.effective, lists);
            }
            if node.is_gone() {
                gone.push(*inner);
            } else if inner.1 < A::WIDTH {
                around.push((inner.0.last(inner.1), node.effective));
            }
        }
    }

    fn remove(&mut self, prefix: (A, u8), lists: &mut Lists) {
        let Some(Node { owners: _, effective }) = self.nodes.remove(&prefix) else { return };
        lists.drop(effective);
        if prefix.1 < A::WIDTH
            && let Ok(at) = self.lengths.binary_search_by(|(length, _)| prefix.1.cmp(length))
        {
            self.lengths[at].1 -= 1;
            if self.lengths[at].1 == 0 {
                self.lengths.remove(at);
            }
        }
    }
}
