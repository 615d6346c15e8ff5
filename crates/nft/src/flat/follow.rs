//! From the classifier's operations to changes of elements, chains and counters. `self.tables` follows them.
//!
//! Next hop: `change`, which writes them as transactions.

use super::change::Changes;
use super::driver::{Current, Flat};
use super::keys::{self, default_key, log_name, path_name, stack_name};
use super::layout::{Fate, Generation, Shape};
use super::stack;
use crate::Result;
use std::sync::Arc;
use tortie_dataplane::flat::{
    ClassId, EntryKey, L4Key, Op, Outcome, PathId, StackChain, StackId, Tables, Verdict,
};
use tortie_netlink::rtnetlink::link::LinkRef;

impl Flat {
    /// What the ops change in the kernel; also carries them out on `tables`. The flag: a sized map has no room.
    pub(super) fn follow(&mut self, current: &mut Current, ops: &[Op]) -> Result<(Changes, bool)> {
        let mut changes = Changes::default();
        let mut result = Ok(());
        for op in ops {
            result = result.and_then(|()| self.follow_op(current, &mut changes, op));
            apply_op(&mut self.tables, op);
        }
        if let Err(error) = result {
            self.behind = true;
            return Err(error);
        }
        let generation = current.generation;
        current.open.settle(&self.tables, |path| self.logs(path), generation, &mut changes);
        let full = changes.growth().iter().any(|(map, more)| {
            map.shape() == Shape::Sized
                && current.used.get(map).unwrap_or(&0) + more > *current.sizes.get(map).unwrap_or(&0)
        });
        for (map, difference) in changes.balance() {
            let used = current.used.entry(map).or_insert(0);
            *used = u32::try_from(i64::from(*used) + difference).unwrap_or(0);
        }
        Ok((changes, full))
    }

    /// Adds what one op changes to `changes`; `self.tables` is as before the op.
    fn follow_op(&mut self, current: &mut Current, changes: &mut Changes, op: &Op) -> Result<()> {
        let generation = current.generation;
        match op {
            Op::AddPath(id, _) => {
                if !self.tables.paths.contains_key(id) {
                    changes.add_counter(path_name(*id, generation));
                }
            }
            Op::RemovePath(id) => {
                for outcome in [Outcome::Allow, Outcome::Deny] {
                    if current.log_chains.remove(&(*id, outcome)) {
                        changes.remove_chain(log_name(*id, outcome, generation));
                    }
                }
                if self.tables.paths.contains_key(id) {
                    changes.remove_counter(path_name(*id, generation));
                }
            }
            Op::AddStack(id, stack) => {
                let logs = self.logs(stack.default.path);
                let chain = || stack::chain(*id, stack, logs, generation);
                match self.tables.stacks.get(id) {
                    None => changes.add_chain(chain()),
                    Some(before) => {
                        self.forget_default(*id, before, changes, generation);
                        let shape = |stack: &StackChain, logs| {
                            let StackChain { direction, family, levels, default } = stack;
                            (*direction, *family, *levels, Fate::of(default.outcome, logs))
                        };
                        if shape(before, self.logs(before.default.path)) != shape(stack, logs) {
                            changes.rewrite_chain(chain());
                            current.open.look_again(*id, &self.tables);
                        }
                    }
                }
                self.add_entry(default_key(*id), stack.default, current, changes);
            }
            Op::RemoveStack(id) => {
                for (key, verdict) in self.tables.entries.range(entries_of(*id)) {
                    let (map, element) = keys::entry(*key, *verdict, self.logs(verdict.path), generation);
                    changes.remove(map, element);
                    current.open.remove(*key);
                }
                if let Some(stack) = self.tables.stacks.get(id) {
                    self.forget_default(*id, stack, changes, generation);
                    changes.remove_chain(stack_name(stack.direction, *id, generation));
                }
            }
            Op::AddEntry(key, verdict) => {
                self.forget_entry(*key, current, changes);
                self.add_entry(*key, *verdict, current, changes);
            }
            Op::RemoveEntry(key) => self.forget_entry(*key, current, changes),
            Op::SetAddress(address, class) => {
                self.forget_address(address, changes);
                let (map, element) = keys::address(*address, *class);
                changes.add(map, element);
            }
            Op::RemoveAddress(address) => self.forget_address(address, changes),
            Op::AddNet(range, class) => {
                self.forget_net(range, changes);
                keys::net(range, *class).into_iter().for_each(|(map, element)| changes.add(map, element));
            }
            Op::RemoveNet(range) => self.forget_net(range, changes),
            Op::SetL4(matched, class) => {
                self.forget_l4(matched, changes)?;
                keys::l4(*matched, *class)?.into_iter().for_each(|(map, element)| changes.add(map, element));
            }
            Op::RemoveL4(matched) => self.forget_l4(matched, changes)?,
            Op::SetEndpoint(interface, ports) => {
                self.forget_endpoint(interface, current, changes);
                let Some(index) = self.index_of(interface)? else {
                    tracing::info!(%interface, "the interface is not there yet: its endpoint waits for it");
                    return Ok(());
                };
                current.indexes.insert(Arc::clone(interface), index);
                let placed = keys::endpoint(index, ports, generation);
                placed.into_iter().for_each(|(map, element)| changes.add(map, element));
            }
            Op::RemoveEndpoint(interface) => self.forget_endpoint(interface, current, changes),
        }
        Ok(())
    }

    pub(super) fn index_of(&mut self, interface: &str) -> Result<Option<u32>> {
        Ok(self.links.link(LinkRef::Name(interface))?.map(|link| link.index))
    }

    /// Whether packets of the path are logged.
    pub(super) fn logs(&self, path: PathId) -> bool {
        self.tables.paths.get(&path).is_some_and(|path| !path.logged.is_empty())
    }

    fn add_entry(&self, key: EntryKey, verdict: Verdict, current: &mut Current, changes: &mut Changes) {
        let logs = self.logs(verdict.path);
        if logs && current.log_chains.insert((verdict.path, verdict.outcome)) {
            let log = self.settings.log;
            changes.add_chain(stack::log_chain(verdict.path, verdict.outcome, log, current.generation));
        }
        let (map, element) = keys::entry(key, verdict, logs, current.generation);
        changes.add(map, element);
        current.open.add(key);
    }

    fn forget_entry(&self, key: EntryKey, current: &mut Current, changes: &mut Changes) {
        if let Some(verdict) = self.tables.entries.get(&key) {
            let (map, element) = keys::entry(key, *verdict, self.logs(verdict.path), current.generation);
            changes.remove(map, element);
            current.open.remove(key);
        }
    }

    fn forget_default(&self, id: StackId, stack: &StackChain, changes: &mut Changes, generation: Generation) {
        let logs = self.logs(stack.default.path);
        let (map, element) = keys::entry(default_key(id), stack.default, logs, generation);
        changes.remove(map, element);
    }

    fn forget_address(&self, address: &std::net::IpAddr, changes: &mut Changes) {
        if let Some(class) = self.tables.addresses.get(address) {
            let (map, element) = keys::address(*address, *class);
            changes.remove(map, element);
        }
    }

    fn forget_net(&self, range: &tortie_dataplane::flat::AddressRange, changes: &mut Changes) {
        if let Some(class) = self.tables.nets.get(range) {
            keys::net(range, *class).into_iter().for_each(|(map, element)| changes.remove(map, element));
        }
    }

    fn forget_l4(&self, matched: &tortie_dataplane::flat::L4Match, changes: &mut Changes) -> Result<()> {
        if let Some(class) = self.tables.l4.get(matched) {
            keys::l4(*matched, *class)?.into_iter().for_each(|(map, element)| changes.remove(map, element));
        }
        Ok(())
    }

    fn forget_endpoint(&self, interface: &str, current: &mut Current, changes: &mut Changes) {
        let Some(index) = current.indexes.remove(interface) else { return };
        if let Some(ports) = self.tables.endpoints.get(interface) {
            let placed = keys::endpoint(index, ports, current.generation);
            placed.into_iter().for_each(|(map, element)| changes.remove(map, element));
        }
    }
}

/// The keys of a stack's entries.
fn entries_of(stack: StackId) -> std::ops::RangeInclusive<EntryKey> {
    // `L4Key::Any` and the highest class are the last in order.
    EntryKey {
        stack,
        class: ClassId(0),
        l4: L4Key::Class(tortie_dataplane::flat::L4ClassId { protocol: 0, index: 0 }),
    }..=EntryKey { stack, class: ClassId(u16::MAX), l4: L4Key::Any }
}

/// Carries an op out; a removed stack takes time by its own entries, not by all there are.
pub(super) fn apply_op(tables: &mut Tables, op: &Op) {
    if let Op::RemoveStack(id) = op {
        let keys: Vec<EntryKey> = tables.entries.range(entries_of(*id)).map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| {
            tables.entries.remove(key);
        });
        tables.stacks.remove(id);
    } else {
        tables.apply(op);
    }
}
