//! Takes generations away that judge no more, part by part: a change of policy never waits for the whole of it.
//!
//! The kernel lists objects in time that grows with their square (0.3 s for 50,000 counters), so a thread lists them, on
//! a socket of its own. What it found goes in transactions of a few milliseconds; the generation's first set goes last,
//! since it tells of a generation that isn't gone yet.

use super::change::CUT_BYTES;
use super::driver::Flat;
use super::keys::path_of_name;
use super::layout::{Generation, Map};
use crate::Result;
use crate::client::Client;
use crate::object::{Counter, TableId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tortie_dataplane::flat::GRACE;

/// How often it is looked whether a listing is done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a listing that failed rests: others changed the tables all the time.
const REST: Duration = Duration::from_secs(1);

/// A generation that judges no more.
#[derive(Debug)]
pub(super) struct Retired {
    generation: Generation,
    /// From when on no packet is in it.
    due: Instant,
}

/// How far the deletion of those that are due has come.
#[derive(Debug, Default)]
pub(super) enum Clearing {
    #[default]
    Nothing,
    Listing {
        wanted: BTreeSet<Generation>,
        listing: JoinHandle<Result<BTreeMap<Generation, Contents>>>,
        look_at: Instant,
    },
    /// What is left of them.
    Going(BTreeMap<Generation, Contents>),
}

/// What there is of a generation.
#[derive(Debug, Default)]
pub(super) struct Contents {
    sets: Vec<String>,
    chains: Vec<String>,
    counters: Vec<Counter>,
}

impl Flat {
    /// These generations judge no more.
    pub(super) fn rest(&mut self, generations: BTreeSet<Generation>) {
        let due = Instant::now() + GRACE;
        self.retired = generations.into_iter().map(|generation| Retired { generation, due }).collect();
        self.clearing = Clearing::Nothing;
    }

    /// When [`Flat::retire`] will have something to do.
    #[must_use]
    pub fn next_retirement(&self) -> Option<Instant> {
        match &self.clearing {
            Clearing::Nothing => self.retired.iter().map(|retired| retired.due).min(),
            Clearing::Listing { look_at, .. } => Some(*look_at),
            Clearing::Going(_) => Some(Instant::now()),
        }
    }

    /// Goes on with deleting generations that stopped judging at least [`GRACE`] ago, for a few milliseconds; how many
    /// transactions that took.
    ///
    /// # Errors
    /// If a generation can't be listed or deleted; a later call tries again.
    pub fn retire(&mut self) -> Result<u32> {
        let now = Instant::now();
        match std::mem::take(&mut self.clearing) {
            Clearing::Nothing => {
                let due = self.retired.iter().filter(|retired| retired.due <= now);
                let wanted: BTreeSet<Generation> = due.map(|retired| retired.generation).collect();
                if !wanted.is_empty() {
                    self.clearing = self.list(wanted);
                }
            }
            Clearing::Listing { wanted, listing, .. } if !listing.is_finished() => {
                self.clearing = Clearing::Listing { wanted, listing, look_at: now + LOOK_AGAIN };
            }
            Clearing::Listing { wanted, listing, .. } => {
                let found = listing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                let mut found = found.inspect_err(|_| self.put_off(&wanted))?;
                let contents = wanted.into_iter().map(|of| (of, found.remove(&of).unwrap_or_default()));
                self.clearing = Clearing::Going(contents.collect());
            }
            Clearing::Going(mut left) => {
                if let Some((generation, mut contents)) = left.pop_first() {
                    // What is there may not be what was listed.
                    self.take_away(generation, &mut contents)
                        .inspect_err(|_| self.put_off(&BTreeSet::from([generation])))?;
                    if contents.is_empty() {
                        self.retired.retain(|retired| retired.generation != generation);
                    } else {
                        left.insert(generation, contents);
                    }
                }
                if !left.is_empty() {
                    self.clearing = Clearing::Going(left);
                }
                return Ok(1);
            }
        }
        Ok(0)
    }

    fn put_off(&mut self, generations: &BTreeSet<Generation>) {
        let due = Instant::now() + REST;
        let these = self.retired.iter_mut().filter(|retired| generations.contains(&retired.generation));
        these.for_each(|retired| retired.due = due);
    }

    fn list(&self, wanted: BTreeSet<Generation>) -> Clearing {
        let (lister, table) = (Arc::clone(&self.lister), self.settings.table.clone());
        let listing = std::thread::spawn(move || {
            Contents::list(&mut lister.lock().unwrap_or_else(PoisonError::into_inner), &table)
        });
        Clearing::Listing { wanted, listing, look_at: Instant::now() + LOOK_AGAIN }
    }

    /// Deletes a part: first all rules, maps but the first, and chains, then counters, at last the first map.
    fn take_away(&mut self, generation: Generation, contents: &mut Contents) -> Result<()> {
        let Contents { sets, chains, counters } = contents;
        let first = Map::FIRST.name(generation);
        let mut batch = self.batch();
        let mut gone = Vec::new();
        if !chains.is_empty() || sets.iter().any(|set| *set != first) {
            chains.iter().for_each(|chain| batch.flush_chain(chain));
            sets.iter().filter(|set| **set != first).for_each(|set| batch.delete_set(set));
            chains.drain(..).for_each(|chain| batch.delete_chain(&chain));
            sets.retain(|set| *set == first);
        } else {
            while batch.len() < CUT_BYTES
                && let Some(counter) = counters.pop()
            {
                batch.delete_counter(&counter.name);
                gone.push(counter);
            }
            if counters.is_empty() {
                sets.drain(..).for_each(|set| batch.delete_set(&set));
            }
        }
        self.client.commit(batch)?;
        if self.ours.contains(&generation) {
            for counter in &gone {
                let path = path_of_name(&counter.name).map(|(path, _)| path);
                if let Some(path) = path.filter(|path| self.tables.paths.contains_key(path)) {
                    self.carried.entry(path).or_default().add(counter);
                }
            }
        }
        if contents.is_empty() {
            self.ours.remove(&generation);
        }
        Ok(())
    }
}

impl Contents {
    fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.chains.is_empty() && self.counters.is_empty()
    }

    /// By generation. Nothing of those that judge no more changes, so only what others change meanwhile can make the
    /// listing untrue.
    fn list(client: &mut Client, table: &TableId) -> Result<BTreeMap<Generation, Self>> {
        let mut found = BTreeMap::<Generation, Self>::new();
        for set in client.sets(table)? {
            if let Some(of) = Generation::of(&set.name) {
                found.entry(of).or_default().sets.push(set.name);
            }
        }
        for chain in client.chains(table)? {
            if let Some(of) = Generation::of(&chain.name) {
                found.entry(of).or_default().chains.push(chain.name);
            }
        }
        for counter in client.counters(table)? {
            if let Some(of) = Generation::of(&counter.name) {
                found.entry(of).or_default().counters.push(counter);
            }
        }
        Ok(found)
    }
}
