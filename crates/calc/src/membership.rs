//! Which prefixes are in which active sets, kept up to date.
//!
//! ```text
//!  item changes --> dirty --+
//!  a set begins ------------+--> lists of items --> prefixes --> told
//!  a set ends --------------+
//! ```
//! A new item asks the selectors that its labels lead to; a new selector asks the items that its
//! terms lead to; a set that ends is found by the lists that name it. The graph calls, in this
//! order within a flush: [`Membership::begin`], [`Membership::refresh`], [`Membership::end`],
//! [`Membership::refresh`].

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tortie_api::kind::Kind;
use tortie_dataplane::policy::{Member, SetId, Update};

use crate::expression::{ExpressionId, Expressions};
use crate::index::SelectorIndex;
use crate::inheritance::{GroupChange, GroupId, Inheritance};
use crate::item::{Item, Items, NamedPort};
use crate::label::{Effective, Label};
use crate::members::{ListId, Lists};
use crate::postings::Postings;
use crate::prefixes::{Owner, Prefixes};
use crate::services::Services;
use crate::sets::{Meaning, Sets};
use crate::symbol::{Symbol, Symbols};

/// With more selectors than this at once, all items are asked instead of looked up by them.
const MANY_SELECTORS: usize = 64;

/// Items and services, their lists, and the prefixes.
#[derive(Default)]
pub(crate) struct Membership {
    pub(crate) items: Items,
    pub(crate) lists: Lists,
    pub(crate) prefixes: Prefixes,
    pub(crate) services: Services,
    index: SelectorIndex,
    postings: Postings,
    picks: FxHashMap<ExpressionId, Pick>,
    dirty: Vec<u32>,
    buffer: Vec<Member>,
}

/// The active sets that one selector feeds.
#[derive(Debug, Clone, Default)]
struct Pick {
    plain: Option<SetId>,
    ports: Vec<(Symbol, u8, SetId)>,
}

impl Pick {
    fn is_empty(&self) -> bool {
        self.plain.is_none() && self.ports.is_empty()
    }

    fn insert(&mut self, meaning: &Meaning, set: SetId) {
        match meaning {
            Meaning::Selector(_) => self.plain = Some(set),
            Meaning::Port { name, protocol, selector: _ } => self.ports.push((*name, *protocol, set)),
            Meaning::Nets(_) | Meaning::Service { .. } => {}
        }
    }

    fn remove(&mut self, set: SetId) {
        self.plain = self.plain.filter(|plain| *plain != set);
        self.ports.retain(|(_, _, other)| *other != set);
    }

    fn members(&self, ports: &[NamedPort], found: &mut Vec<Member>) {
        found.extend(self.plain.map(Member::Of));
        for (name, protocol, set) in &self.ports {
            let has = ports.iter().filter(|port| port.name == *name && port.protocol == *protocol);
            found.extend(has.map(|port| Member::Port {
                set: *set,
                protocol: port.protocol,
                port: port.port,
            }));
        }
    }
}

/// What the items' labels are read with.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) expressions: &'a Expressions,
    pub(crate) inheritance: &'a Inheritance,
}

impl<'a> Reader<'a> {
    /// What selectors see of an item.
    pub(crate) fn labels(&self, item: &'a Item) -> Effective<'a> {
        Effective { own: &item.own, inherited: self.inheritance.group(item.group).inherited() }
    }
}

impl Membership {
    /// Puts an item in, or in the place of what was there under its number. Says whether its
    /// labels or its group changed. The item holds its symbols and its group.
    pub(crate) fn put(
        &mut self,
        index: u32,
        mut item: Item,
        symbols: &mut Symbols,
        inheritance: &mut Inheritance,
    ) -> bool {
        if self.items.get(index).is_none() {
            self.lists.hold(ListId::EMPTY);
            post(&mut self.postings, index, &item, inheritance);
            item.dirty = true;
            self.dirty.push(index);
            self.items.insert(index, item);
            return true;
        }
        let Some(slot) = self.items.get_mut(index) else { return false };
        item.list = slot.list;
        item.dirty = true;
        let before = std::mem::replace(slot, item);
        let Some(item) = self.items.get(index) else { return false };
        let same_labels = before.own == item.own && before.group == item.group;
        if !same_labels {
            unpost(&mut self.postings, index, &before, inheritance);
            post(&mut self.postings, index, item, inheritance);
        }
        let Self { items, lists, prefixes, .. } = self;
        let Some(item) = items.get(index) else { return false };
        if before.prefixes != item.prefixes {
            for prefix in before.prefixes.as_slice() {
                prefixes.set(*prefix, Owner::Item(index), ListId::EMPTY, lists);
            }
            for prefix in item.prefixes.as_slice() {
                prefixes.set(*prefix, Owner::Item(index), item.list, lists);
            }
        }
        if before.group != item.group {
            inheritance.leave(index, before.group, symbols);
        }
        if !before.dirty {
            self.dirty.push(index);
        }
        release(&before, symbols);
        !same_labels
    }

    /// Takes an item out. Gives its group and kind.
    pub(crate) fn take(
        &mut self,
        index: u32,
        symbols: &mut Symbols,
        inheritance: &mut Inheritance,
    ) -> Option<(Kind, GroupId)> {
        let item = self.items.remove(index)?;
        unpost(&mut self.postings, index, &item, inheritance);
        for prefix in item.prefixes.as_slice() {
            self.prefixes.set(*prefix, Owner::Item(index), ListId::EMPTY, &mut self.lists);
        }
        self.lists.drop(item.list);
        release(&item, symbols);
        inheritance.leave(index, item.group, symbols);
        Some((item.kind(), item.group))
    }

    /// A group inherits something else: its items must be asked again.
    pub(crate) fn regroup(&mut self, change: &GroupChange, inheritance: &Inheritance) {
        let GroupChange { group, before } = change;
        let group = inheritance.group(*group);
        for index in group.items() {
            let Some(item) = self.items.get_mut(index) else { continue };
            if !std::mem::replace(&mut item.dirty, true) {
                self.dirty.push(index);
            }
            if !self.postings.is_empty() {
                let not_own = |label: &Label<'_>| item.own.get(label.key).is_none();
                for label in before.iter().filter(not_own) {
                    self.postings.remove(index, label);
                }
                for label in group.inherited().iter().filter(not_own) {
                    self.postings.insert(index, label);
                }
            }
        }
    }

    /// Gives the prefixes of sets that are active now their memberships, and asks all items whose
    /// labels changed again.
    pub(crate) fn begin(&mut self, begun: &[SetId], sets: &Sets, reader: Reader<'_>) {
        let mut fresh: FxHashMap<ExpressionId, Pick> = FxHashMap::default();
        for set in begun {
            let meaning = sets.meaning(*set);
            match meaning {
                Meaning::Nets(nets) => {
                    let list = self.lists.intern(&[Member::Of(*set)]);
                    for net in &**nets {
                        self.prefixes.set(*net, Owner::Nets(set.0), list, &mut self.lists);
                    }
                }
                Meaning::Service { name, with_ports } => self.services.begin(*name, *with_ports, *set),
                Meaning::Selector(selector) | Meaning::Port { name: _, protocol: _, selector } => {
                    let pick = self.picks.entry(*selector).or_default();
                    if pick.is_empty() {
                        self.index.insert(*selector, reader.expressions.get(*selector));
                    }
                    pick.insert(meaning, *set);
                    fresh.entry(*selector).or_default().insert(meaning, *set);
                }
            }
        }
        self.services.settle(&mut self.prefixes, &mut self.lists);
        if !fresh.is_empty() && self.items.iter().any(|(_, item)| !item.dirty) {
            self.ask_items_of(fresh, reader);
        }
        for index in std::mem::take(&mut self.dirty) {
            let Some(item) = self.items.get_mut(index) else { continue };
            if std::mem::take(&mut item.dirty) {
                self.ask_selectors_of(index, reader);
            }
        }
    }

    /// Takes the memberships of sets away that aren't active any more.
    pub(crate) fn end(&mut self, ended: &[SetId], sets: &Sets, reader: Reader<'_>) {
        if ended.is_empty() {
            return;
        }
        let mut forgotten = false;
        for set in ended {
            match sets.meaning(*set) {
                Meaning::Nets(nets) => {
                    for net in &**nets {
                        self.prefixes.set(*net, Owner::Nets(set.0), ListId::EMPTY, &mut self.lists);
                    }
                }
                Meaning::Service { name, with_ports } => self.services.end(*name, *with_ports),
                Meaning::Selector(selector) | Meaning::Port { name: _, protocol: _, selector } => {
                    if let Some(pick) = self.picks.get_mut(selector) {
                        pick.remove(*set);
                        if pick.is_empty() {
                            self.picks.remove(selector);
                            self.index.remove(*selector, reader.expressions.get(*selector));
                            forgotten = true;
                        }
                    }
                }
            }
        }
        self.services.settle(&mut self.prefixes, &mut self.lists);
        if forgotten {
            let index = &self.index;
            self.postings.forget(|key| !index.requires(key));
        }
        let ended_in = |member: &Member| match member {
            Member::Of(set) | Member::Port { set, .. } => ended.binary_search(set).is_ok(),
        };
        let shrunk: Vec<(ListId, Vec<Member>)> = self
            .lists
            .iter()
            .filter(|(_, members)| members.iter().any(ended_in))
            .map(|(id, members)| (id, members.iter().copied().filter(|member| !ended_in(member)).collect()))
            .collect();
        if shrunk.is_empty() {
            return;
        }
        let mut becomes: Vec<Option<ListId>> = vec![None; self.lists.bound()];
        for (id, members) in shrunk {
            becomes[id.0 as usize] = Some(self.lists.intern(&members));
        }
        for index in 0..self.items.bound() {
            let list = self.items.get(index).and_then(|item| becomes[item.list.0 as usize]);
            if let Some(list) = list {
                self.assign(index, list);
            }
        }
    }

    /// Tells which prefixes are in other sets than before.
    pub(crate) fn refresh(&mut self, emit: &mut impl FnMut(Update)) {
        let Self { lists, prefixes, .. } = self;
        prefixes.refresh(lists, |prefix, list, lists| {
            emit(Update::Address { prefix, members: Arc::clone(lists.members(list)) });
        });
    }

    /// Asks the items that selectors lead to, those aside that will be asked anyway.
    fn ask_items_of(&mut self, fresh: FxHashMap<ExpressionId, Pick>, reader: Reader<'_>) {
        if fresh.len() > MANY_SELECTORS {
            for index in 0..self.items.bound() {
                if let Some(item) = self.items.get_mut(index)
                    && !std::mem::replace(&mut item.dirty, true)
                {
                    self.dirty.push(index);
                }
            }
            return;
        }
        let mut fresh: Vec<(ExpressionId, Pick)> = fresh.into_iter().collect();
        fresh.sort_unstable_by_key(|(id, _)| *id);
        let Self { postings, items, .. } = self;
        postings.cover(
            fresh.iter().map(|(id, _)| reader.expressions.get(*id)),
            items.iter().map(|(index, item)| (index, reader.labels(item))),
        );
        for (id, pick) in fresh {
            // Most items have no ports of interest and few different lists.
            let mut grown: FxHashMap<ListId, ListId> = FxHashMap::default();
            let expression = reader.expressions.get(id);
            let candidates = self.postings.candidates(expression);
            let all = candidates.is_none().then(|| 0..self.items.bound());
            for index in candidates.iter().flatten().chain(all.into_iter().flatten()) {
                let Some(item) = self.items.get(index) else { continue };
                if item.dirty || !expression.matches(&reader.labels(item)) {
                    continue;
                }
                let shares = item.ports.is_none() || pick.ports.is_empty();
                let list = match grown.get(&item.list) {
                    Some(list) if shares => *list,
                    _ => {
                        let mut members = self.lists.members(item.list).to_vec();
                        pick.members(item.ports(), &mut members);
                        members.sort_unstable();
                        members.dedup();
                        let list = self.lists.intern(&members);
                        if shares {
                            grown.insert(item.list, list);
                        }
                        list
                    }
                };
                self.assign(index, list);
            }
        }
    }

    /// Works out an item's list from nothing.
    fn ask_selectors_of(&mut self, index: u32, reader: Reader<'_>) {
        let Self { items, lists, index: selectors, picks, buffer, .. } = self;
        let Some(item) = items.get(index) else { return };
        let labels = reader.labels(item);
        buffer.clear();
        selectors.candidates(&labels, |id| {
            if reader.expressions.get(id).matches(&labels)
                && let Some(pick) = picks.get(&id)
            {
                pick.members(item.ports(), buffer);
            }
        });
        buffer.sort_unstable();
        buffer.dedup();
        let list = lists.intern(buffer);
        self.assign(index, list);
    }

    fn assign(&mut self, index: u32, list: ListId) {
        let Self { items, lists, prefixes, .. } = self;
        let Some(item) = items.get_mut(index) else { return };
        if item.list == list {
            return;
        }
        lists.swap(&mut item.list, list);
        for prefix in item.prefixes.as_slice() {
            prefixes.set(*prefix, Owner::Item(index), list, lists);
        }
    }
}

/// Gives an item's symbols back.
fn release(item: &Item, symbols: &mut Symbols) {
    item.own.release(symbols);
    for port in item.ports() {
        symbols.release(port.name);
    }
}

fn post(postings: &mut Postings, index: u32, item: &Item, inheritance: &Inheritance) {
    if !postings.is_empty() {
        let inherited = inheritance.group(item.group).inherited();
        (Effective { own: &item.own, inherited }).iter().for_each(|label| postings.insert(index, label));
    }
}

fn unpost(postings: &mut Postings, index: u32, item: &Item, inheritance: &Inheritance) {
    if !postings.is_empty() {
        let inherited = inheritance.group(item.group).inherited();
        (Effective { own: &item.own, inherited }).iter().for_each(|label| postings.remove(index, label));
    }
}
