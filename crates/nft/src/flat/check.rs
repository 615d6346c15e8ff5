//! Reads the kernel back and compares it with what this process put there: as a whole, or in slices between commits.
//!
//! The comparison is of elements, chains and rules as the kernel lists them, so nothing is lost in translation. Slices
//! get elements by key, which is right at any time; listings lie while somebody writes, so they count only when the
//! generation stood still. Next hop: the agent, which counts the drift and calls [`Flat::repair`].

use super::chains::{self, COUNTERS, Filled, Lead};
use super::driver::{Current, Flat};
use super::keys::{self, Placed, path_name};
use super::layout::{Generation, Map, Shape};
use super::outgoing;
use super::whole::Whole;
use super::{settings::TABLE_COMMENT_PREFIX, stack};
use crate::Result;
use crate::object::{Element, Set};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use tortie_dataplane::flat::{EntryKey, PathId, StackChain, StackId};

/// How the kernel differs from what this process put there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// Elements, chains, rules, maps or counters that are not there.
    pub missing: usize,
    /// Those that are there with other contents.
    pub different: usize,
    /// Those that should not be there.
    pub surplus: usize,
    /// The first few of them in words.
    pub examples: Vec<String>,
}

impl Drift {
    /// Nothing differs.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.missing + self.different + self.surplus == 0
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.examples.len() < 5 {
            self.examples.push(words());
        }
    }

    fn missing(&mut self, what: impl FnOnce() -> String) {
        self.missing += 1;
        self.note(|| format!("missing: {}", what()));
    }

    fn different(&mut self, what: impl FnOnce() -> String) {
        self.different += 1;
        self.note(|| format!("different: {}", what()));
    }

    fn surplus(&mut self, what: impl FnOnce() -> String) {
        self.surplus += 1;
        self.note(|| format!("surplus: {}", what()));
    }
}

/// Where the next slice of a check begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cursor {
    /// The chains that do not depend on policy with their rules, the names of all others, and the number of elements
    /// of each map.
    #[default]
    Structure,
    /// Counters of paths after this one.
    Counters(Option<PathId>),
    /// The rules of stacks after this one.
    Stacks(Option<StackId>),
    /// Verdicts after this one.
    Entries(Option<EntryKey>),
    /// Addresses after this one.
    Addresses(Option<IpAddr>),
    /// L4 classes, nets and endpoints.
    Rest,
}

impl Flat {
    /// Compares everything. Takes as long as listing the table (about 4 ms for 10,000 elements); use
    /// [`Flat::check_slice`] while changes are to be made quickly.
    pub fn check(&mut self) -> Result<Drift> {
        let Some(current) = self.current.take() else { return self.check_closed() };
        let table = self.settings.table.clone();
        let mut drift = Drift::default();
        let result = self.compare_structure(&current, &mut drift).and_then(|()| {
            self.compare_counters(&current, &mut drift)?;
            let stacks = self.stack_chains(&current, None, usize::MAX);
            self.compare_rules(stacks.iter().map(|(_, chain)| chain), &mut drift)?;
            for (map, expected) in self.elements_by_map(&current)? {
                let name = map.name(current.generation);
                let (_, found) = self.client.stable(&name, |client| client.elements(&table, &name))?;
                compare_elements(&name, &expected, &found, &mut drift);
            }
            Ok(())
        });
        self.current = Some(current);
        // A missing map's listing is refused; the structure has told of it.
        match result {
            Err(error) if error.is_drift() && !drift.is_none() => Ok(drift),
            other => other.map(|()| drift),
        }
    }

    /// Compares the next `amount` elements, and moves `cursor` on; round and round.
    pub fn check_slice(&mut self, cursor: &mut Cursor, amount: usize) -> Result<Drift> {
        let Some(current) = self.current.take() else { return self.check_closed() };
        let result = self.slice(&current, cursor, amount);
        self.current = Some(current);
        result
    }

    /// Installs what this process believes to be there as a new generation, whatever is there now.
    pub fn repair(&mut self) -> Result<()> {
        let tables = std::mem::take(&mut self.tables);
        self.install(tables)
    }

    /// Nothing was installed yet: something of ours must judge all the same.
    fn check_closed(&mut self) -> Result<Drift> {
        let mut drift = Drift::default();
        let table = self.settings.table.clone();
        let chains = self.client.chains(&table)?;
        for (chain, _) in chains::base(&self.settings, Lead::Closed) {
            if !chains.contains(&chain) {
                drift.missing(|| format!("chain {}", chain.name));
            }
        }
        Ok(drift)
    }

    fn slice(&mut self, current: &Current, cursor: &mut Cursor, amount: usize) -> Result<Drift> {
        let generation = current.generation;
        let mut drift = Drift::default();
        let (placed, next) = match *cursor {
            Cursor::Structure => {
                self.compare_structure(current, &mut drift)?;
                self.find_counters(COUNTERS.map(String::from).as_slice(), &mut drift)?;
                (Vec::new(), Cursor::Counters(None))
            }
            Cursor::Counters(after) => {
                let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
                let part: Vec<PathId> =
                    self.tables.paths.range(range).take(amount).map(|(path, _)| *path).collect();
                let names: Vec<String> = part.iter().map(|path| path_name(*path, generation)).collect();
                self.find_counters(&names, &mut drift)?;
                (Vec::new(), part.last().map_or(Cursor::Stacks(None), |last| Cursor::Counters(Some(*last))))
            }
            Cursor::Stacks(after) => {
                // A rule is about as much work as an element, and a stack has some twenty.
                let part = self.stack_chains(current, after, (amount / 20).max(1));
                self.compare_rules(part.iter().map(|(_, chain)| chain), &mut drift)?;
                let last = part.last().map(|(id, _)| *id);
                let defaults = part.iter().filter_map(|(id, _)| self.default_of(*id, generation));
                (defaults.collect(), last.map_or(Cursor::Entries(None), |last| Cursor::Stacks(Some(last))))
            }
            Cursor::Entries(after) => {
                let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
                let part: Vec<_> = self.tables.entries.range(range).take(amount).collect();
                let last = part.last().map(|(key, _)| **key);
                let entry = |(key, verdict): &(&EntryKey, &tortie_dataplane::flat::Verdict)| {
                    keys::entry(**key, **verdict, self.logs(verdict.path), generation)
                };
                let placed = part.iter().map(entry).collect();
                (placed, last.map_or(Cursor::Addresses(None), |last| Cursor::Entries(Some(last))))
            }
            Cursor::Addresses(after) => {
                let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
                let part: Vec<_> = self.tables.addresses.range(range).take(amount).collect();
                let last = part.last().map(|(address, _)| **address);
                let placed = part.iter().map(|(address, class)| keys::address(**address, **class)).collect();
                (placed, last.map_or(Cursor::Rest, |last| Cursor::Addresses(Some(last))))
            }
            Cursor::Rest => {
                let whole = Whole::new(&self.tables, generation);
                (whole.few(&current.indexes, &current.open)?, Cursor::Structure)
            }
        };
        self.compare_placed(placed, generation, &mut drift)?;
        *cursor = next;
        Ok(drift)
    }

    /// A stack's default as an element.
    fn default_of(&self, id: StackId, generation: Generation) -> Option<Placed> {
        let default = self.tables.stacks.get(&id)?.default;
        Some(keys::entry(keys::default_key(id), default, self.logs(default.path), generation))
    }

    /// By key; maps of ranges are listed, because a get of a range's bound finds its neighbour too.
    fn compare_placed(
        &mut self,
        placed: Vec<Placed>,
        generation: Generation,
        drift: &mut Drift,
    ) -> Result<()> {
        let table = self.settings.table.clone();
        let mut by_map: BTreeMap<Map, BTreeSet<Element>> = BTreeMap::new();
        for (map, element) in placed {
            by_map.entry(map).or_default().insert(element);
        }
        for (map, expected) in by_map {
            let name = map.name(generation);
            if map.shape() == Shape::Interval {
                let (_, found) = self.client.stable(&name, |client| client.elements(&table, &name))?;
                compare_elements(&name, &expected, &found, drift);
                continue;
            }
            let expected: Vec<Element> = expected.into_iter().collect();
            for (expected, found) in expected.iter().zip(self.client.find_elements(&table, &name, &expected)?)
            {
                match found {
                    None => drift.missing(|| format!("{expected:?} of {name}")),
                    Some(found) if found != *expected => drift.different(|| format!("{found:?} of {name}")),
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn elements_by_map(&self, current: &Current) -> Result<BTreeMap<Map, BTreeSet<Element>>> {
        let mut by_map: BTreeMap<Map, BTreeSet<Element>> =
            Map::all().into_iter().map(|map| (map, BTreeSet::new())).collect();
        let whole = Whole::new(&self.tables, current.generation);
        for (map, element) in whole.many().chain(whole.few(&current.indexes, &current.open)?) {
            by_map.entry(map).or_default().insert(element);
        }
        Ok(by_map)
    }

    /// The table itself, chains with their rules, maps with their number of elements.
    fn compare_structure(&mut self, current: &Current, drift: &mut Drift) -> Result<()> {
        let table = self.settings.table.clone();
        let (_, (found, chains, sets)) = self.client.stable("the flat table", |client| {
            Ok((client.table(&table)?, client.chains(&table)?, client.sets(&table)?))
        })?;
        // Counters that nobody asked for are seen by the number of all objects.
        let wanted = chains.len() + sets.len() + COUNTERS.len() + self.tables.paths.len();
        let objects = found.as_ref().map_or(0, |table| table.objects as usize);
        if self.retired.is_empty() && objects > wanted {
            drift.surplus(|| format!("{objects} chains, maps and counters instead of {wanted}"));
        }
        let comment = found.and_then(|table| table.comment).unwrap_or_default();
        if !comment.starts_with(TABLE_COMMENT_PREFIX) {
            drift.missing(|| format!("table {table}"));
        }
        let relevant = |name: &str| Generation::of(name).is_none_or(|of| of == current.generation);
        let fixed = self.fixed_chains(current);
        let missing = fixed.iter().filter(|(chain, _)| !chains.contains(chain));
        missing.for_each(|(chain, _)| drift.missing(|| format!("chain {}", chain.name)));
        self.compare_rules(fixed.iter().filter(|(chain, _)| chains.contains(chain)), drift)?;
        let present: BTreeSet<&str> = chains.iter().map(|chain| chain.name.as_str()).collect();
        let mut names: BTreeSet<String> = fixed.into_iter().map(|(chain, _)| chain.name).collect();
        for (id, stack) in &self.tables.stacks {
            let name = keys::stack_name(stack.direction, *id, current.generation);
            if !present.contains(name.as_str()) {
                drift.missing(|| format!("chain {name}"));
            }
            names.insert(name);
        }
        for chain in chains.iter().filter(|chain| relevant(&chain.name) && !names.contains(&chain.name)) {
            drift.surplus(|| format!("chain {}", chain.name));
        }
        let nodes = outgoing::sets(&self.settings.outgoing).into_iter();
        let nodes = nodes.map(|(set, elements)| (set.name.clone(), (set, elements.len() as u32)));
        let expected: BTreeMap<String, (Set, u32)> = Map::all()
            .into_iter()
            .map(|map| {
                let set = map.set(current.generation, *current.sizes.get(&map).unwrap_or(&0));
                (set.name.clone(), (set, *current.used.get(&map).unwrap_or(&0)))
            })
            .chain(nodes)
            .collect();
        for set in sets.iter().filter(|set| relevant(&set.name)) {
            match expected.get(&set.name) {
                None => drift.surplus(|| format!("map {}", set.name)),
                Some((expected, _)) if set.set.as_ref() != Some(expected) => {
                    drift.different(|| format!("map {}", set.name));
                }
                Some((expected, used))
                    if !expected.interval && set.count.is_some_and(|count| count != *used) =>
                {
                    drift.different(|| {
                        format!("map {} has {:?} elements instead of {used}", set.name, set.count)
                    });
                }
                Some(_) => {}
            }
        }
        let present: BTreeSet<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        for name in expected.keys().filter(|name| !present.contains(name.as_str())) {
            drift.missing(|| format!("map {name}"));
        }
        Ok(())
    }

    /// All counters, also those that should not be there: listing 50,000 takes a tenth of a second.
    fn compare_counters(&mut self, current: &Current, drift: &mut Drift) -> Result<()> {
        let table = self.settings.table.clone();
        let (_, counters) = self.client.stable("the counters", |client| client.counters(&table))?;
        let relevant = |name: &str| Generation::of(name).is_none_or(|of| of == current.generation);
        let mut expected: BTreeSet<String> = COUNTERS.map(String::from).into();
        expected.extend(self.tables.paths.keys().map(|path| path_name(*path, current.generation)));
        let present: BTreeSet<String> =
            counters.into_iter().map(|counter| counter.name).filter(|name| relevant(name)).collect();
        expected.difference(&present).for_each(|name| drift.missing(|| format!("counter {name}")));
        present.difference(&expected).for_each(|name| drift.surplus(|| format!("counter {name}")));
        Ok(())
    }

    /// Whether these counters are there.
    fn find_counters(&mut self, names: &[String], drift: &mut Drift) -> Result<()> {
        let found = self.client.find_counters(&self.settings.table, names)?;
        for (name, _) in names.iter().zip(found).filter(|(_, counter)| counter.is_none()) {
            drift.missing(|| format!("counter {name}"));
        }
        Ok(())
    }

    /// Chains that are compared together: few, but for one for each logged path.
    fn fixed_chains(&self, current: &Current) -> Vec<Filled> {
        let generation = current.generation;
        let mut expected = chains::base(&self.settings, Lead::To(generation));
        expected.extend(outgoing::chains(&self.settings.outgoing));
        expected.extend(chains::generation(&self.settings, generation));
        for (path, outcome) in &current.log_chains {
            expected.push(stack::log_chain(*path, *outcome, self.settings.log, generation));
        }
        expected
    }

    /// The chains of at most `amount` stacks after `after`.
    fn stack_chains(
        &self,
        current: &Current,
        after: Option<StackId>,
        amount: usize,
    ) -> Vec<(StackId, Filled)> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let stacks = self.tables.stacks.range(range).take(amount);
        let chain = |(id, chain): (&StackId, &StackChain)| {
            let logs = self.logs(chain.default.path);
            (*id, stack::chain(*id, chain, logs, current.generation))
        };
        stacks.map(chain).collect()
    }

    fn compare_rules<'c>(
        &mut self,
        expected: impl Iterator<Item = &'c Filled>,
        drift: &mut Drift,
    ) -> Result<()> {
        let table = self.settings.table.clone();
        for (chain, rules) in expected {
            let found = self.client.rules_of(&table, &chain.name)?;
            if !found.iter().map(|listed| &listed.rule).eq(rules) {
                drift.different(|| format!("rules of chain {}", chain.name));
            }
        }
        Ok(())
    }
}

fn compare_elements(name: &str, expected: &BTreeSet<Element>, found: &[Element], drift: &mut Drift) {
    let found: BTreeSet<Element> = found.iter().cloned().collect();
    let keys = |elements: &BTreeSet<Element>| -> BTreeSet<(Vec<u8>, bool)> {
        elements.iter().map(|element| (element.key.clone(), element.is_end)).collect()
    };
    let (expected_keys, found_keys) = (keys(expected), keys(&found));
    for element in expected.difference(&found) {
        if found_keys.contains(&(element.key.clone(), element.is_end)) {
            drift.different(|| format!("{element:?} of {name}"));
        } else {
            drift.missing(|| format!("{element:?} of {name}"));
        }
    }
    for element in found.difference(expected) {
        if !expected_keys.contains(&(element.key.clone(), element.is_end)) {
            drift.surplus(|| format!("{element:?} of {name}"));
        }
    }
}
