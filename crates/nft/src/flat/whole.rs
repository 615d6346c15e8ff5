//! All of a generation: what an install writes, and what a check expects to find.
//!
//! Verdicts and addresses may be many. They are made one by one and written as they come, while the kernel works through
//! the transactions before them: half of an install's time is the kernel's.
//!
//! ```text
//!  tables --[write_whole]--> Writer --(a few transactions)--> commits, on a thread of their own
//! ```

use super::chains::{self, COUNTERS};
use super::change::{AT_ONCE, Changes, Cutting, Writer};
use super::driver::{Ahead, Current, Flat, following};
use super::keys::{self, Placed, default_key, path_name};
use super::layout::{Generation, Map};
use super::open::Open;
use super::settings::Settings;
use super::stack;
use crate::batch::Batch;
use crate::object::{Counter, Element};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use tortie_dataplane::flat::{EntryKey, Outcome, PathId, Tables, Verdict};

/// Transactions that wait for the kernel, at most: enough that it never waits for us.
const WAITING: usize = 4;
/// Counters that aren't worth a thread.
const FEW: u32 = 1_000;

impl Flat {
    /// Makes counters for the paths below this number, which [`Flat::install`] will probably be given, while `work` goes
    /// on. Those that it isn't given go again.
    pub fn ahead<T>(&mut self, paths: u32, work: impl FnOnce() -> T) -> T {
        if paths < FEW {
            return work();
        }
        std::thread::scope(|scope| {
            let made = scope.spawn(|| self.make_counters(paths));
            let result = work();
            if let Err(error) = made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                tracing::warn!(%error, "counters could not be made ahead");
            }
            result
        })
    }

    fn make_counters(&mut self, paths: u32) -> Result<()> {
        self.install_closed()?;
        let generation = following(&self.generations()?);
        let Flat { client, settings, features, .. } = self;
        let new = || Batch::new(&settings.table).with_destroy(features.destroy);
        let mut commit = |batch| client.commit(batch);
        let mut writer = Writer::new(Cutting::Allowed, &new, &mut commit);
        // How large the others must be isn't known yet.
        writer.batch()?.add_set(&Map::FIRST.set(generation, 0));
        for path in 0..paths {
            let name = path_name(PathId(path), generation);
            writer.batch()?.add_counter(&Counter { name, packets: 0, bytes: 0 });
        }
        writer.finish()?;
        self.ahead = Some(Ahead { generation, paths });
        Ok(())
    }

    /// Writes all of `tables` as a generation that nothing leads to yet, with room to grow. Counters of the paths below
    /// `made` are there.
    pub(super) fn write_whole(&mut self, generation: Generation, made: u32) -> Result<Current> {
        let indexes = self.indexes()?;
        let Flat { client, settings, features, tables, .. } = self;
        let new = || Batch::new(&settings.table).with_destroy(features.destroy);
        std::thread::scope(|scope| {
            let (hand_on, handed_on) = sync_channel(WAITING);
            let commits =
                scope.spawn(move || handed_on.into_iter().try_for_each(|batch| client.commit(batch)));
            // The other end is gone only if a commit failed; that error is the one to tell of.
            let mut hand_on = move |batch| hand_on.send(batch).map_err(|_| Error::Stopped);
            let mut writer = Writer::new(Cutting::Allowed, &new, &mut hand_on);
            let current = Whole::new(tables, generation).write(settings, indexes, made, &mut writer);
            let written = current.and_then(|current| writer.finish().map(|()| current));
            drop(hand_on);
            let committed = commits.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            committed.and(written)
        })
    }

    /// The index of each endpoint's interface that is there.
    fn indexes(&mut self) -> Result<BTreeMap<Arc<str>, u32>> {
        let interfaces: Vec<Arc<str>> = self.tables.endpoints.keys().cloned().collect();
        let mut indexes = BTreeMap::new();
        for interface in interfaces {
            match self.index_of(&interface)? {
                Some(index) => drop(indexes.insert(interface, index)),
                None => {
                    tracing::info!(%interface, "the interface is not there yet: its endpoint waits for it");
                }
            }
        }
        Ok(indexes)
    }
}

/// Tables under the names of a generation.
pub(super) struct Whole<'a> {
    tables: &'a Tables,
    generation: Generation,
    /// Paths with Log rules: few.
    logged: BTreeSet<PathId>,
}

impl<'a> Whole<'a> {
    pub(super) fn new(tables: &'a Tables, generation: Generation) -> Self {
        let logged = tables.paths.iter().filter(|(_, path)| !path.logged.is_empty());
        Self { tables, generation, logged: logged.map(|(id, _)| *id).collect() }
    }

    fn logs(&self, path: PathId) -> bool {
        self.logged.contains(&path)
    }

    /// All verdicts, the stacks' defaults too.
    fn verdicts(&self) -> impl Iterator<Item = (EntryKey, Verdict)> {
        let defaults = self.tables.stacks.iter().map(|(id, stack)| (default_key(*id), stack.default));
        self.tables.entries.iter().map(|(key, verdict)| (*key, *verdict)).chain(defaults)
    }

    /// The elements that may be many: verdicts and addresses.
    pub(super) fn many(&self) -> impl Iterator<Item = Placed> {
        let verdicts = self.verdicts();
        let verdicts = verdicts
            .map(|(key, verdict)| keys::entry(key, verdict, self.logs(verdict.path), self.generation));
        verdicts.chain(self.tables.addresses.iter().map(|(address, class)| keys::address(*address, *class)))
    }

    /// The map of each of [`Self::many`].
    fn maps_of_many(&self) -> impl Iterator<Item = Map> {
        let verdicts = self.verdicts();
        let verdicts = verdicts.map(|(key, verdict)| keys::entry_map(key, verdict, self.logs(verdict.path)));
        verdicts.chain(self.tables.addresses.keys().map(keys::address_map))
    }

    /// The other elements.
    ///
    /// # Errors
    /// [`Error::Inexpressible`] for an L4 class that no packet can have.
    pub(super) fn few(&self, indexes: &BTreeMap<Arc<str>, u32>, open: &Open) -> Result<Vec<Placed>> {
        let mut placed = keys::fixed(self.generation);
        placed.extend(open.elements(self.generation));
        for (range, class) in &self.tables.nets {
            placed.extend(keys::net(range, *class));
        }
        for (matched, class) in &self.tables.l4 {
            placed.extend(keys::l4(*matched, *class)?);
        }
        for (interface, ports) in &self.tables.endpoints {
            if let Some(index) = indexes.get(interface) {
                placed.extend(keys::endpoint(*index, ports, self.generation));
            }
        }
        Ok(placed)
    }

    /// Paths with Log rules, as entries and defaults lead to them.
    fn log_chains(&self) -> BTreeSet<(PathId, Outcome)> {
        if self.logged.is_empty() {
            return BTreeSet::new();
        }
        let leads = self.verdicts().filter(|(_, verdict)| self.logs(verdict.path));
        leads.map(|(_, verdict)| (verdict.path, verdict.outcome)).collect()
    }

    /// First maps, counters, chains and what is few; then what is many, whose order is free by then.
    fn write(
        &self,
        settings: &Settings,
        indexes: BTreeMap<Arc<str>, u32>,
        made: u32,
        writer: &mut Writer<'_>,
    ) -> Result<Current> {
        let generation = self.generation;
        let log_chains = self.log_chains();
        let mut open = Open::default();
        self.tables.entries.keys().for_each(|key| open.add(*key));
        let mut changes = Changes::default();
        open.settle(self.tables, |path| self.logs(path), generation, &mut Changes::default());
        for (map, element) in self.few(&indexes, &open)? {
            changes.add(map, element);
        }
        let mut counts = changes.balance();
        self.maps_of_many().for_each(|map| *counts.entry(map).or_insert(0) += 1);
        let (mut sizes, mut used) = (BTreeMap::new(), BTreeMap::new());
        for map in Map::all() {
            let count = counts.get(&map).map_or(0, |count| u32::try_from(*count).unwrap_or(0));
            let size = (count * 2).max(settings.smallest_map).next_power_of_two();
            changes.add_set(map.set(generation, size));
            sizes.insert(map, size);
            used.insert(map, count);
        }
        COUNTERS.iter().for_each(|name| changes.add_counter((*name).into()));
        let name = |path: PathId| path_name(path, generation);
        let paths = &self.tables.paths;
        paths.range(PathId(made)..).for_each(|(path, _)| changes.add_counter(name(*path)));
        let surplus = (0..made).map(PathId).filter(|path| !paths.contains_key(path));
        surplus.for_each(|path| changes.remove_counter(name(path)));
        chains::generation(settings, generation).into_iter().for_each(|chain| changes.add_chain(chain));
        for (path, outcome) in &log_chains {
            changes.add_chain(stack::log_chain(*path, *outcome, settings.log, generation));
        }
        for (id, stack) in &self.tables.stacks {
            changes.add_chain(stack::chain(*id, stack, self.logs(stack.default.path), generation));
        }
        changes.write(generation, writer)?;
        self.write_many(writer)?;
        Ok(Current { generation, sizes, used, indexes, log_chains, open })
    }

    fn write_many(&self, writer: &mut Writer<'_>) -> Result<()> {
        let mut gathered = BTreeMap::<Map, Vec<Element>>::new();
        let mut write = |map: Map, elements: &mut Vec<Element>| -> Result<()> {
            writer.batch()?.add_elements(&map.name(self.generation), elements.iter());
            elements.clear();
            Ok(())
        };
        for (map, element) in self.many() {
            let elements = gathered.entry(map).or_default();
            elements.push(element);
            if elements.len() == AT_ONCE {
                write(map, elements)?;
            }
        }
        gathered.iter_mut().try_for_each(|(map, elements)| write(*map, elements))
    }
}
