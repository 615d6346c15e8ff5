//! What the items of a stack ask for, counted: which lookups the stack needs follows from the counts, without a
//! look at the items again when some of them come or go.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use tortie_dataplane::flat::Levels;
use tortie_dataplane::policy::SetId;

use crate::item::{Item, Layer4, Then};

/// Counts of items.
#[derive(Debug, Clone, Default)]
pub struct Census {
    allow: u32,
    log: u32,
    /// Take packets out of what a shorter key allows: "all ports but one", written down, is "the protocol: allow" and
    /// "that port: deny".
    cut: u32,
    /// Name a named port of the other side.
    named_ports: u32,
    /// Ask for membership and for no protocol.
    member_any: u32,
    /// Ask for a whole protocol.
    protocol: u32,
    /// ... and for membership.
    member_protocol: u32,
    /// Ask for ports, or for ICMP types.
    ports: u32,
    /// ... and for membership.
    member_ports: u32,
    sets: FxHashMap<SetId, u32>,
    protocols: BTreeMap<u8, u32>,
}

impl Census {
    /// An item came. Sets that it is the first to name are added to `news`.
    pub fn add(&mut self, item: &Item, news: &mut Vec<SetId>) {
        self.count(item, |count| *count += 1);
        for set in item.sets() {
            let count = self.sets.entry(set).or_default();
            *count += 1;
            if *count == 1 {
                news.push(set);
            }
        }
        for protocol in item.layer4.protocols() {
            *self.protocols.entry(protocol).or_default() += 1;
        }
    }

    /// An item went. Sets that nothing names any more are added to `gone`.
    pub fn remove(&mut self, item: &Item, gone: &mut Vec<SetId>) {
        self.count(item, |count| *count -= 1);
        for set in item.sets() {
            if let Some(count) = self.sets.get_mut(&set) {
                *count -= 1;
                if *count == 0 {
                    self.sets.remove(&set);
                    gone.push(set);
                }
            }
        }
        for protocol in item.layer4.protocols() {
            if let Some(count) = self.protocols.get_mut(&protocol) {
                *count -= 1;
                if *count == 0 {
                    self.protocols.remove(&protocol);
                }
            }
        }
    }

    fn count(&mut self, item: &Item, change: impl Fn(&mut u32)) {
        let Item { rule: _, then, within, without, layer4 } = item;
        let named = layer4.named().next().is_some();
        let member = !within.is_empty() || !without.is_empty() || named;
        let whole_protocol = layer4.is_whole_protocol();
        let ports = named || layer4.atoms().next().is_some();
        let cuts = !without.is_empty()
            || layer4.excludes()
            || match then {
                Then::Allow => false,
                Then::Deny => !within.is_empty() || *layer4 != Layer4::default(),
                Then::Log | Then::GoOn | Then::PassTier | Then::PassProfile => true,
            };
        for (holds, count) in [
            (*then == Then::Allow, &mut self.allow),
            (*then == Then::Log, &mut self.log),
            (cuts, &mut self.cut),
            (named, &mut self.named_ports),
            (member && !layer4.has_protocol(), &mut self.member_any),
            (whole_protocol, &mut self.protocol),
            (whole_protocol && member, &mut self.member_protocol),
            (ports, &mut self.ports),
            (ports && member, &mut self.member_ports),
        ] {
            if holds {
                change(count);
            }
        }
    }

    /// How many items name a set.
    pub fn naming(&self, set: SetId) -> u32 {
        self.sets.get(&set).copied().unwrap_or(0)
    }

    /// Every set that an item names: a class in none of them is judged like one in no set at all.
    pub fn sets(&self) -> impl Iterator<Item = SetId> {
        self.sets.keys().copied()
    }

    /// Every protocol that an item names, in order.
    pub fn protocols(&self) -> impl Iterator<Item = u8> {
        self.protocols.keys().copied()
    }

    /// Whether an item asks for a named port of the other side.
    pub fn names_ports(&self) -> bool {
        self.named_ports > 0
    }

    /// The lookups that entries can need, whatever classes come; those of
    /// [`tortie_dataplane::flat::ClassId::ANY`] are left to the caller, who knows its entries.
    ///
    /// `base_is_none` says that entries are what differs from the row of an address in no set.
    pub fn levels(&self, base_is_none: bool) -> Levels {
        let class_any = self.member_any > 0 || !base_is_none;
        let class_protocol = self.member_protocol > 0 || class_any && self.protocol > 0;
        let class_l4 = self.member_ports > 0 || (class_any || class_protocol) && self.ports > 0;
        Levels {
            class_l4,
            class_protocol,
            class_any,
            any_l4: false,
            any_protocol: false,
            allow: self.allow > 0,
            deny: self.cut > 0 || !base_is_none,
            log: self.log > 0,
        }
    }
}
