//! Collects what a step changes, drops what cancels out, and writes it as transactions in a safe order.
//!
//! The order is that of reference: counters, maps and chains before elements and rules that lead to them; elements
//! before the chains and counters that they led to. An element that is replaced is deleted and added in one
//! transaction, which no packet can get between (measured: 145,000 of them without a loss).

use super::chains::Filled;
use super::layout::{Generation, Map, Shape};
use crate::Result;
use crate::batch::{Batch, Place};
use crate::object::{Chain, Counter, Element, Rule, Set, Value};
use std::collections::BTreeMap;

/// Bytes after which a transaction that may be cut is cut: some 2,000 elements, a few milliseconds of the commit
/// lock.
pub const CUT_BYTES: usize = 200_000;
/// Elements of one message, at most.
pub const AT_ONCE: usize = 500;

/// What identifies an element in its map; the last is false for the end of a range, which the kernel wants before
/// the start of the next at the same key.
type ElementKey = (Map, Vec<u8>, Option<Vec<u8>>, bool);

/// What becomes of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fate {
    before: Option<Value>,
    after: Option<Value>,
}

/// Whether a change may take several transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutting {
    /// Each part is safe by itself.
    Allowed,
    /// One transaction, however large.
    Forbidden,
}

/// A set of changes to one generation.
#[derive(Debug, Default)]
pub struct Changes {
    sets: Vec<Set>,
    counters: Vec<String>,
    chains: Vec<Filled>,
    rewritten: Vec<Filled>,
    elements: BTreeMap<ElementKey, Fate>,
    dead_chains: Vec<String>,
    dead_counters: Vec<String>,
}

impl Changes {
    /// A new map.
    pub fn add_set(&mut self, set: Set) {
        self.sets.push(set);
    }

    /// A new counter, from zero.
    pub fn add_counter(&mut self, name: String) {
        self.counters.push(name);
    }

    /// A counter goes, after all elements that name it.
    pub fn remove_counter(&mut self, name: String) {
        self.dead_counters.push(name);
    }

    /// A new chain.
    pub fn add_chain(&mut self, chain: Filled) {
        self.chains.push(chain);
    }

    /// A chain that is there gets other rules, all at once: packets that are in it go on by the old ones.
    pub fn rewrite_chain(&mut self, chain: Filled) {
        self.rewritten.push(chain);
    }

    /// A chain goes, after all elements that lead to it.
    pub fn remove_chain(&mut self, name: String) {
        self.dead_chains.push(name);
    }

    /// An element is to be there. `remove` it first if it may be there with another value.
    pub fn add(&mut self, map: Map, element: Element) {
        let Element { key, last, is_end, value } = element;
        let fate =
            self.elements.entry((map, key, last, !is_end)).or_insert(Fate { before: None, after: None });
        fate.after = Some(value);
    }

    /// An element that is there with this value goes, unless it is added again.
    pub fn remove(&mut self, map: Map, element: Element) {
        let Element { key, last, is_end, value } = element;
        self.elements
            .entry((map, key, last, !is_end))
            .or_insert_with(|| Fate { before: Some(value), after: None })
            .after = None;
    }

    /// The elements that count in a map's size: all but catch-alls, whose key is empty.
    fn counted(&self) -> impl Iterator<Item = (&ElementKey, &Fate)> {
        self.elements.iter().filter(|((_, key, ..), _)| !key.is_empty())
    }

    /// By how many elements each map grows, at most, while the change is carried out.
    pub fn growth(&self) -> BTreeMap<Map, u32> {
        let mut growth = BTreeMap::new();
        for ((map, ..), fate) in self.counted() {
            if fate.after.is_some() && fate.before.is_none() {
                *growth.entry(*map).or_insert(0) += 1;
            }
        }
        growth
    }

    /// How many elements each map has more, or fewer, after it.
    pub fn balance(&self) -> BTreeMap<Map, i64> {
        let mut balance = BTreeMap::new();
        for ((map, ..), fate) in self.counted() {
            let difference = i64::from(fate.after.is_some()) - i64::from(fate.before.is_some());
            *balance.entry(*map).or_insert(0) += difference;
        }
        balance
    }

    /// Writes everything, in the order of the module's head.
    pub fn write(self, generation: Generation, writer: &mut Writer<'_>) -> Result<()> {
        let Changes { sets, counters, chains, rewritten, elements, dead_chains, dead_counters } = self;
        // First, because they tell of a generation that was never finished.
        for set in &sets {
            writer.batch()?.add_set(set);
        }
        for name in counters {
            writer.batch()?.add_counter(&Counter { name, packets: 0, bytes: 0 });
        }
        for (chain, _) in &chains {
            writer.batch()?.add_chain(chain);
        }
        for (chain, rules) in &chains {
            write_rules(writer.batch()?, chain, rules);
        }
        for (chain, rules) in &rewritten {
            let batch = writer.batch()?;
            batch.flush_chain(&chain.name);
            write_rules(batch, chain, rules);
        }
        write_elements(elements, generation, writer)?;
        for name in &dead_chains {
            writer.batch()?.flush_chain(name);
        }
        for name in &dead_chains {
            writer.batch()?.delete_chain(name);
        }
        for name in &dead_counters {
            writer.batch()?.delete_counter(name);
        }
        Ok(())
    }
}

fn write_rules(batch: &mut Batch, chain: &Chain, rules: &[Rule]) {
    for rule in rules {
        batch.add_rule(&chain.name, rule, Place::End);
    }
}

/// Elements map by map, some hundred a message; deletions of a message's keys stand before its additions.
fn write_elements(
    elements: BTreeMap<ElementKey, Fate>,
    generation: Generation,
    writer: &mut Writer<'_>,
) -> Result<()> {
    let mut elements = elements.into_iter().peekable();
    while let Some(map) = elements.peek().map(|((map, ..), _)| *map) {
        // A range is two elements that the kernel checks against their neighbours: all that is touched goes
        // before any of it comes, and no cut parts them.
        let whole = map.shape() == Shape::Interval;
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        while whole || gone.len() + new.len() < AT_ONCE {
            let Some(((_, key, last, is_start), fate)) = elements.next_if(|((next, ..), _)| *next == map)
            else {
                break;
            };
            if fate.before == fate.after && !whole {
                continue;
            }
            let element = |value| Element { key: key.clone(), last: last.clone(), is_end: !is_start, value };
            gone.extend(fate.before.map(&element));
            new.extend(fate.after.map(&element));
        }
        let name = map.name(generation);
        let batch = writer.batch()?;
        batch.delete_elements(&name, &gone);
        batch.add_elements(&name, &new);
    }
    Ok(())
}

/// Cuts what is written into transactions and hands each on as soon as it is whole.
pub struct Writer<'a> {
    batch: Batch,
    cutting: Cutting,
    new: &'a dyn Fn() -> Batch,
    hand_on: &'a mut dyn FnMut(Batch) -> Result<()>,
}

impl<'a> Writer<'a> {
    /// `new` starts a transaction.
    pub fn new(
        cutting: Cutting,
        new: &'a dyn Fn() -> Batch,
        hand_on: &'a mut dyn FnMut(Batch) -> Result<()>,
    ) -> Self {
        Self { batch: new(), cutting, new, hand_on }
    }

    /// The transaction to write to; a new one if the last is long enough.
    ///
    /// # Errors
    /// Those of handing on.
    pub fn batch(&mut self) -> Result<&mut Batch> {
        if self.cutting == Cutting::Allowed && self.batch.len() >= CUT_BYTES {
            (self.hand_on)(std::mem::replace(&mut self.batch, (self.new)()))?;
        }
        Ok(&mut self.batch)
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// Those of handing on.
    pub fn finish(self) -> Result<()> {
        if self.batch.is_empty() { Ok(()) } else { (self.hand_on)(self.batch) }
    }
}
