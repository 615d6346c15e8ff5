//! The driver: puts the classifier's tables into the kernel, follows their changes, counts, and repairs.
//!
//! What is in the kernel and does not judge yet (a new generation, what a Grow step writes) may be written in many
//! transactions; what leads packets there is one. It keeps [`Tables`] as they are in the kernel, so that a change
//! knows what it replaces. Not here: what the tables should be (`tortie-classify`), when to do what (`tortie-agent`).

use super::chains::{self, COUNTERS, Lead};
use super::change::{Changes, Cutting, Writer};
use super::follow::apply_op;
use super::keys::{path_name, path_of_log, path_of_name};
use super::layout::{Generation, Map};
use super::open::Open;
use super::retire::{Clearing, Retired};
use super::settings::{Ownership, Settings, TABLE_COMMENT, TABLE_COMMENT_PREFIX};
use crate::batch::{Batch, Place};
use crate::client::{Client, Features};
use crate::kernel::{NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST};
use crate::object::{Counter, Family, ListedRule, Rule, Table, TableId};
use crate::{Error, Monitor, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tortie_dataplane::flat::{Op, Outcome, PathId, Phase, Step, Tables};
use tortie_netlink::{Rtnetlink, xtables};

/// What a counter counted: first packets of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, with IP headers.
    pub bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, counter: &Counter) {
        self.packets += counter.packets;
        self.bytes += counter.bytes;
    }
}

/// What [`Flat::install_closed`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// No table of ours judged; now one stands that drops what is new from and to workloads.
    Installed,
    /// A table of ours judges already; it was left as it is.
    Judging,
    /// No table of ours judged, but the rules that Calico's agent has left do: they close what they don't know, so nothing was
    /// closed for the workloads that they know.
    Beside,
}

/// The rules of a chain, in order.
fn of_chain<'r>(rules: &'r [ListedRule], chain: &str) -> impl Iterator<Item = &'r Rule> + use<'r> {
    let of: Vec<&Rule> =
        rules.iter().filter(|listed| listed.chain == chain).map(|listed| &listed.rule).collect();
    of.into_iter()
}

/// Where Calico's agent leads what workloads send with iptables; what it doesn't know is dropped there.
const CALICOS_CHAIN: &str = "cali-from-wl-dispatch";
/// The same as nftables has it: the agent's own table, and that of the iptables which writes nftables.
const CALICOS: [(&str, &str); 2] = [("calico", "filter-cali-from-wl-dispatch"), ("filter", CALICOS_CHAIN)];

/// What carrying out a step came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Last values of the counters that the step removed.
    pub final_counts: Vec<(PathId, Count)>,
    /// The step led to a new generation (a sized map was full, or the kernel had drifted).
    pub regenerated: bool,
    /// Transactions sent.
    pub transactions: u32,
}

/// The flat table of one network namespace.
#[derive(Debug)]
pub struct Flat {
    pub(super) client: Client,
    pub(super) links: Rtnetlink,
    pub(super) settings: Settings,
    pub(super) features: Features,
    pub(super) tables: Tables,
    pub(super) current: Option<Current>,
    pub(super) retired: Vec<Retired>,
    pub(super) clearing: Clearing,
    /// For listings that take long; nothing is changed through it.
    pub(super) lister: Arc<Mutex<Client>>,
    /// What counters of deleted generations had counted.
    pub(super) carried: BTreeMap<PathId, Count>,
    /// Generations that this process made: only in them do path ids mean what they mean now.
    pub(super) ours: BTreeSet<Generation>,
    /// A transaction failed: the kernel holds an older state than `tables`.
    pub(super) behind: bool,
    pub(super) ahead: Option<Ahead>,
    /// What stands while nothing of ours judges yet, since Calico's rules do.
    pub(super) beside: Option<Lead>,
}

/// The generation that judges.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) generation: Generation,
    pub(super) sizes: BTreeMap<Map, u32>,
    pub(super) used: BTreeMap<Map, u32>,
    /// Index of each endpoint's interface, as its elements have it.
    pub(super) indexes: BTreeMap<Arc<str>, u32>,
    pub(super) log_chains: BTreeSet<(PathId, Outcome)>,
    pub(super) open: Open,
}

/// A generation that has counters and is not installed yet.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) generation: Generation,
    /// Those of the paths below this number.
    pub(super) paths: u32,
}

impl Flat {
    /// Opens the driver in the calling thread's network namespace. Writes nothing.
    pub fn open(settings: Settings) -> Result<Self> {
        let mut client = Client::open()?;
        let mut features = client.probe()?;
        if settings.owned == Ownership::Never {
            features.owned_tables = false;
        }
        Ok(Flat {
            client,
            links: Rtnetlink::open()?,
            settings,
            features,
            tables: Tables::default(),
            current: None,
            retired: Vec::new(),
            clearing: Clearing::default(),
            lister: Arc::new(Mutex::new(Client::open()?)),
            carried: BTreeMap::new(),
            ours: BTreeSet::new(),
            behind: false,
            ahead: None,
            beside: None,
        })
    }

    /// Whether the kernel keeps other processes from changing the table. If not, listen with [`Flat::monitor`].
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.features.owned_tables
    }

    /// A listener for changes that others make to the table; call it in the driver's network namespace.
    pub fn monitor(&self) -> Result<Monitor> {
        Monitor::open(&self.settings.table, self.client.port())
    }

    /// What is in the kernel, as this process put it there.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Makes sure that something judges: a table of ours that does is left as it is, else one is installed, in one
    /// transaction, that drops what is new from and to workload interfaces. Established connections go on. Where Calico's agent
    /// has judged until now its rules go on with it, and the table that is installed drops nothing yet.
    ///
    /// # Errors
    /// [`Error::Foreign`] if a table has our name and is not ours.
    pub fn install_closed(&mut self) -> Result<Closed> {
        let present = self.own_table()?;
        if let Some(present) = &present {
            self.claim(present)?;
        }
        let table = self.settings.table.clone();
        let chains = self.client.chains(&table)?;
        let rules = self.client.rules(&table)?;
        let is = |lead| {
            let expected = chains::base(&self.settings, lead);
            expected.iter().all(|(chain, wanted)| of_chain(&rules, &chain.name).eq(wanted))
        };
        // What was left open since Calico's rules judged counts for this process alone: they may be gone.
        let open = [true, false].map(|judges_v6| Lead::Beside { judges_v6 });
        let judging = chains::base(&self.settings, Lead::Closed).iter().all(|(chain, closed)| {
            chains.contains(chain) && (closed.is_empty() || of_chain(&rules, &chain.name).count() > 1)
        });
        if (judging && !open.into_iter().any(is)) || self.beside.is_some_and(is) {
            return Ok(Closed::Judging);
        }
        self.beside = self.calico_judges()?;
        let mut batch = self.batch();
        if present.is_none() {
            batch.add_table(self.flags(), TABLE_COMMENT);
        }
        self.lead(&mut batch, self.beside.unwrap_or(Lead::Closed));
        self.client.commit(batch)?;
        Ok(if self.beside.is_some() { Closed::Beside } else { Closed::Installed })
    }

    /// What is to stand beside Calico's rules, if there are such, for IPv4 at least.
    fn calico_judges(&mut self) -> Result<Option<Lead>> {
        let mut judges = |family| -> Result<bool> {
            for (table, chain) in CALICOS {
                let id = TableId { family, name: table.to_owned() };
                if !self.client.rules_of(&id, chain)?.is_empty() {
                    return Ok(true);
                }
            }
            Ok(xtables::judges(family == Family::Ipv6, CALICOS_CHAIN)?)
        };
        match judges(Family::Ipv4)? {
            true => Ok(Some(Lead::Beside { judges_v6: judges(Family::Ipv6)? })),
            false => Ok(None),
        }
    }

    /// Puts all of `tables` in place as a new generation beside what is there, and leads packets to it in one
    /// transaction. The old generation goes with [`Flat::retire`].
    pub fn install(&mut self, tables: Tables) -> Result<()> {
        self.install_closed()?;
        let mut present = self.generations()?;
        self.tables = tables;
        self.behind = true;
        let ahead = self.ahead.take().filter(|ahead| present.last() == Some(&ahead.generation));
        let generation = match &ahead {
            Some(ahead) => ahead.generation,
            None => following(&present),
        };
        present.remove(&generation);
        let current = self.write_whole(generation, ahead.map_or(0, |ahead| ahead.paths))?;
        let mut batch = self.batch();
        self.write_nodes(&mut batch)?;
        self.lead(&mut batch, Lead::To(generation));
        self.lead_out(&mut batch)?;
        self.client.commit(batch)?;
        (self.behind, self.beside) = (false, None);
        self.current = Some(current);
        self.ours.insert(generation);
        self.rest(present);
        Ok(())
    }

    /// Carries out a step. If a sized map is full, or the kernel is not as this process left it, all tables are
    /// installed anew instead, the step included.
    ///
    /// # Errors
    /// If the kernel refuses even that; what judges is what judged before, and the next step tries again.
    pub fn apply(&mut self, step: &Step) -> Result<Applied> {
        let mut applied = Applied { final_counts: self.final_counts(&step.ops)?, ..Applied::default() };
        let Some(mut current) = self.current.take().filter(|_| !self.behind) else {
            return self.apply_anew(step, applied);
        };
        let changes = self.follow(&mut current, &step.ops);
        self.current = Some(current);
        let (changes, full) = changes?;
        if full {
            return self.regenerate(applied);
        }
        match self.send(changes, step.phase) {
            Ok(transactions) => applied.transactions += transactions,
            Err(error) if error.is_drift() => {
                tracing::warn!(%error, phase = ?step.phase, "the table is not as it was left: installing it anew");
                return self.regenerate(applied);
            }
            Err(error) => {
                self.behind = true;
                return Err(error);
            }
        }
        Ok(applied)
    }

    /// Looks the interface up again: it came, went, or came back with another index.
    pub fn interface_changed(&mut self, interface: &str) -> Result<()> {
        let Some((name, ports)) = self.tables.endpoints.get_key_value(interface) else { return Ok(()) };
        let step =
            Step { phase: Phase::Switch, ops: vec![Op::SetEndpoint(Arc::clone(name), Arc::clone(ports))] };
        self.apply(&step).map(|_| ())
    }

    /// What each path has counted since this process first installed it.
    pub fn counts(&mut self) -> Result<BTreeMap<PathId, Count>> {
        let mut counts = self.carried.clone();
        if self.ours.is_empty() {
            return Ok(counts);
        }
        for counter in self.client.counters(&self.settings.table)? {
            if let Some((path, _)) = path_of_name(&counter.name).filter(|(_, of)| self.ours.contains(of)) {
                counts.entry(path).or_default().add(&counter);
            }
        }
        counts.retain(|path, _| self.tables.paths.contains_key(path));
        Ok(counts)
    }

    /// What was dropped without asking policy, by the names in [`chains::COUNTERS`].
    pub fn drops(&mut self) -> Result<BTreeMap<&'static str, Count>> {
        let names = COUNTERS.map(String::from);
        let found = self.client.find_counters(&self.settings.table, &names)?;
        let counts = found.iter().map(|counter| {
            let mut count = Count::default();
            counter.iter().for_each(|counter| count.add(counter));
            count
        });
        Ok(COUNTERS.into_iter().zip(counts).collect())
    }

    /// The path that a log packet's prefix names; `None` if it is of an earlier process's, or not ours.
    #[must_use]
    pub fn logged_path(&self, prefix: &str) -> Option<PathId> {
        path_of_log(prefix).filter(|(_, generation)| self.ours.contains(generation)).map(|(path, _)| path)
    }

    /// The table, if it is there; an error if it is not ours.
    fn own_table(&mut self) -> Result<Option<Table>> {
        let table = self.client.table(&self.settings.table)?;
        let comment = table.as_ref().and_then(|table| table.comment.clone()).unwrap_or_default();
        if table.is_none() || comment.starts_with(TABLE_COMMENT_PREFIX) {
            return Ok(table);
        }
        Err(Error::Foreign {
            table: self.settings.table.to_string(),
            expected: TABLE_COMMENT.into(),
            found: comment,
        })
    }

    fn flags(&self) -> u32 {
        if self.features.owned_tables { NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST } else { 0 }
    }

    /// Takes over a table whose owner is gone. Flags can't be given to a table that was made without them, nor
    /// taken away, so those of a table that is there decide.
    fn claim(&mut self, table: &Table) -> Result<()> {
        self.features.owned_tables &= table.flags & NFT_TABLE_F_PERSIST != 0;
        if !self.features.owned_tables {
            return Ok(());
        }
        let mut batch = self.batch();
        batch.add_table(self.flags(), TABLE_COMMENT);
        self.client.commit(batch)
    }

    pub(super) fn batch(&self) -> Batch {
        Batch::new(&self.settings.table).with_destroy(self.features.destroy)
    }

    /// Writes the base chains anew: all their rules change at once.
    pub(super) fn lead(&self, batch: &mut Batch, lead: Lead) {
        for name in COUNTERS {
            batch.add_counter(&Counter { name: name.into(), packets: 0, bytes: 0 });
        }
        for (chain, rules) in chains::base(&self.settings, lead) {
            batch.add_chain(&chain);
            batch.flush_chain(&chain.name);
            for rule in &rules {
                batch.add_rule(&chain.name, rule, Place::End);
            }
        }
    }

    /// Generations of which there is anything in the kernel, in order. Maps are the first that is written and go with the
    /// rest, so counters, which may be many, needn't be listed.
    pub(super) fn generations(&mut self) -> Result<BTreeSet<Generation>> {
        let table = self.settings.table.clone();
        let mut names: Vec<String> = self.client.sets(&table)?.into_iter().map(|set| set.name).collect();
        names.extend(self.client.chains(&table)?.into_iter().map(|chain| chain.name));
        Ok(names.iter().filter_map(|name| Generation::of(name)).collect())
    }

    /// The last values of the counters that the ops remove, read before they go.
    fn final_counts(&mut self, ops: &[Op]) -> Result<Vec<(PathId, Count)>> {
        let removed: Vec<PathId> = ops
            .iter()
            .filter_map(|op| match op {
                Op::RemovePath(path) => Some(*path),
                _ => None,
            })
            .collect();
        if removed.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = removed
            .iter()
            .flat_map(|path| self.ours.iter().map(|generation| path_name(*path, *generation)))
            .collect();
        let found = self.client.find_counters(&self.settings.table, &names)?;
        let mut counts: Vec<(PathId, Count)> =
            removed.iter().map(|path| (*path, self.carried.remove(path).unwrap_or_default())).collect();
        let generations = self.ours.len().max(1);
        for (place, counter) in found.iter().enumerate() {
            counter.iter().for_each(|counter| counts[place / generations].1.add(counter));
        }
        Ok(counts)
    }

    /// The kernel does not hold `tables`: carries the ops out here and installs everything.
    fn apply_anew(&mut self, step: &Step, mut applied: Applied) -> Result<Applied> {
        for op in &step.ops {
            apply_op(&mut self.tables, op);
        }
        applied.regenerated = true;
        let tables = std::mem::take(&mut self.tables);
        self.install(tables)?;
        Ok(applied)
    }

    fn regenerate(&mut self, mut applied: Applied) -> Result<Applied> {
        applied.regenerated = true;
        let tables = std::mem::take(&mut self.tables);
        self.install(tables)?;
        Ok(applied)
    }

    fn send(&mut self, changes: Changes, phase: Phase) -> Result<u32> {
        let Some(current) = &self.current else { return Ok(0) };
        let cutting = if phase.may_be_cut() { Cutting::Allowed } else { Cutting::Forbidden };
        let mut transactions = 0;
        let mut commit = |batch| {
            transactions += 1;
            self.client.commit(batch)
        };
        let (table, features) = (&self.settings.table, self.features);
        let new = || Batch::new(table).with_destroy(features.destroy);
        let mut writer = Writer::new(cutting, &new, &mut commit);
        changes.write(current.generation, &mut writer)?;
        writer.finish()?;
        Ok(transactions)
    }
}

/// The number of the next generation.
pub(super) fn following(present: &BTreeSet<Generation>) -> Generation {
    Generation(present.last().map_or(1, |last| last.0 + 1))
}
