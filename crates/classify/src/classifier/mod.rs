//! The classifier: takes updates, and says in which steps a driver follows.
//!
//! # The order of a commit
//! 1. Grow: entries of new address and L4 classes in the stacks that are in use.
//! 2. Switch: addresses and ports to their new classes. Stacks in use can't tell the new classes
//!    from the old by what is new in them, so this changes no verdict of theirs but where a
//!    membership that they name has changed.
//! 3. Grow: new stacks with all their entries, and entries that come into stacks that are changed in place.
//! 4. Switch: what else those stacks change ([`crate::edit`]), and endpoints to their new stacks.
//! 5. Shrink: stacks, classes and counters that nothing leads to any more.
//!
//! A small change is one switch. A membership that only stacks of before name must stay until these
//! are gone: the class keeps it over the commit, and a [follow-up](Change::follow_up) takes it away.

mod bind;
mod moves;

use self::bind::Bindings;

use std::collections::BTreeMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::kind::ResourceKey;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::{
    AddressRange, ClassId, EndpointPorts, Op, Path, PathId, Phase, StackId, Step, Tables,
};
use tortie_dataplane::policy::{Endpoint, Family, Member, Policy, PolicyId, PortRange, SetId, Update};

use crate::classes::{self, Classes, Members};
use crate::compile::Effect;
use crate::edit::{Around, Edit, Moves};
use crate::ids::Ids;
use crate::intervals::Intervals;
use crate::item::{atoms_of, own_sets_of};
use crate::l4::{self, Atom, L4};
use crate::paths::Paths;
use crate::stacks::{Live, StackKey};

/// A change with at most so many operations is one step: a packet that sees any of it sees all that this leads to.
const SMALL: usize = 1024;
/// More changes of stacks in use than this aren't made in place: they would be one long transaction.
const LARGEST_EDIT: usize = 20_000;

/// What can't be expressed in the driver's numbers. The tables stay as they were; nothing new is enforced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More address classes than 16 bits tell apart.
    #[error("more than 65533 address classes: too many different combinations of sets on this node")]
    Classes,
    /// More stacks than 16 bits tell apart.
    #[error("more than 65535 stacks: too many different lists of policies on this node")]
    Stacks,
    /// More port classes of one protocol than 16 bits tell apart.
    #[error("more than 65535 port classes of protocol {protocol}")]
    Ports {
        /// The protocol's number.
        protocol: u8,
    },
}

impl From<classes::Exhausted> for Error {
    fn from(_: classes::Exhausted) -> Self {
        Self::Classes
    }
}

impl From<l4::Exhausted> for Error {
    fn from(exhausted: l4::Exhausted) -> Self {
        Self::Ports { protocol: exhausted.protocol }
    }
}

/// What a commit asks of the driver.
#[derive(Debug, Default)]
pub struct Change {
    /// In this order.
    pub steps: Vec<Step>,
    /// Whether another [`Classifier::commit`] is due after the grace period, even if nothing comes.
    pub follow_up: bool,
    /// Numbers to [release](Classifier::release) when the last step is done.
    pub freed: Freed,
}

/// Numbers that may be given again once no packet can meet their old meaning.
#[derive(Debug, Default)]
pub struct Freed {
    classes: Vec<u32>,
    stacks: Vec<u32>,
}

/// How large the tables are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Address classes.
    pub classes: usize,
    /// Addresses and nets with a class.
    pub prefixes: usize,
    /// L4 matches.
    pub l4: usize,
    /// Stacks.
    pub stacks: usize,
    /// Entries of all stacks.
    pub entries: usize,
    /// Counters.
    pub paths: usize,
    /// Endpoints.
    pub endpoints: usize,
}

/// One endpoint's stacks: for each direction and family, by own address.
type Binding = BTreeMap<(Direction, Family), Vec<(IpAddr, StackId)>>;

/// See the module.
#[derive(Debug)]
pub struct Classifier {
    // What was told.
    policies: FxHashMap<PolicyId, Arc<Policy>>,
    /// The sets that policies name on the endpoint's own side; only of those that name any.
    own_named: FxHashMap<(PolicyId, Direction), Box<[SetId]>>,
    members: FxHashMap<IpNet, Members>,
    endpoints: BTreeMap<ResourceKey, Arc<Endpoint>>,
    // What changed since the last commit.
    changed_policies: FxHashSet<PolicyId>,
    changed_prefixes: FxHashSet<IpNet>,
    changed_endpoints: FxHashSet<ResourceKey>,
    // What was made of it.
    /// Whether a commit was begun.
    committed: bool,
    classes: Classes,
    intervals: Intervals,
    nets: BTreeMap<AddressRange, ClassId>,
    l4: L4,
    paths: Paths,
    stacks: BTreeMap<StackId, Live>,
    stack_ids: Ids,
    by_key: FxHashMap<StackKey, StackId>,
    by_set: FxHashMap<SetId, FxHashSet<StackId>>,
    by_policy: FxHashMap<PolicyId, FxHashSet<StackId>>,
    bindings: FxHashMap<ResourceKey, Binding>,
    ports: FxHashMap<ResourceKey, (Arc<str>, Arc<EndpointPorts>)>,
}

impl Default for Classifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Classifier {
    /// Nothing told yet.
    pub fn new() -> Self {
        Self {
            policies: FxHashMap::default(),
            own_named: FxHashMap::default(),
            members: FxHashMap::default(),
            endpoints: BTreeMap::new(),
            changed_policies: FxHashSet::default(),
            changed_prefixes: FxHashSet::default(),
            changed_endpoints: FxHashSet::default(),
            committed: false,
            classes: Classes::default(),
            intervals: Intervals::default(),
            nets: BTreeMap::new(),
            l4: L4::default(),
            paths: Paths::default(),
            stacks: BTreeMap::new(),
            stack_ids: Ids::new(1, u32::from(u16::MAX)),
            by_key: FxHashMap::default(),
            by_set: FxHashMap::default(),
            by_policy: FxHashMap::default(),
            bindings: FxHashMap::default(),
            ports: FxHashMap::default(),
        }
    }

    /// Remembers a change; nothing follows from it before [`Self::commit`].
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Policy { id, policy } => {
                for (protocol, atom) in atoms_of(&policy) {
                    self.l4.add(protocol, atom);
                }
                self.note_own_sets(id, Some(&policy));
                self.policies.insert(id, policy);
                self.changed_policies.insert(id);
            }
            Update::PolicyRemoved { id } => {
                self.policies.remove(&id);
                self.note_own_sets(id, None);
                self.changed_policies.insert(id);
            }
            Update::Address { prefix, members } => {
                if members.is_empty() {
                    self.members.remove(&prefix);
                } else {
                    for member in members.iter() {
                        if let Member::Port { protocol, port, .. } = member {
                            self.l4.add(*protocol, Atom::Ports(PortRange { first: *port, last: *port }));
                        }
                    }
                    self.members.insert(prefix, members);
                }
                self.changed_prefixes.insert(prefix);
            }
            Update::Endpoint { key, endpoint } => {
                self.endpoints.insert(key.clone(), endpoint);
                self.changed_endpoints.insert(key);
            }
            Update::EndpointRemoved { key } => {
                self.endpoints.remove(&key);
                self.changed_endpoints.insert(key);
            }
        }
    }

    /// Works out what a driver has to do since the last commit. Empty steps are left out.
    ///
    /// # Errors
    /// When the tables outgrow the driver's numbers. What the driver holds is still right for the
    /// state before; [`Self::rebuild`] is due.
    pub fn commit(&mut self) -> Result<Change, Error> {
        self.committed = true;
        let mut bindings = self.bind()?;
        let cut = self.l4.settle()?;
        let mut moves = Moves::of_ports(&cut);
        let mut grow_old = Vec::new();
        let mut switch_classes = Vec::new();
        self.cut_ports(&cut, &mut grow_old, &mut switch_classes);
        let (empty, follow_up) =
            self.move_prefixes(&bindings, &mut moves, &mut grow_old, &mut switch_classes)?;

        let Edit { new: mut grow_new, other: mut switch } = self.edit_stacks(&mut bindings, &moves)?;
        let Bindings { fresh, edits: _, dying, rebound } = bindings;
        for (id, key, compiled) in fresh {
            let live = Live::new(key, compiled, &self.classes, &self.l4, &mut self.paths);
            grow_new.push(Op::AddStack(id, live.chain.clone()));
            grow_new.extend(live.entries(id).map(|(key, verdict)| Op::AddEntry(key, verdict)));
            self.enter_stack(id, live);
        }
        let switch_endpoints = self.switch_endpoints(rebound);
        // An edit has seen to packets that looked up an old class; where endpoints go to other stacks, such packets
        // must have gone by before.
        let at_once = switch_classes.is_empty() || switch_endpoints.is_empty();
        switch.extend(switch_endpoints);
        let mut shrink = Vec::new();
        for id in dying {
            self.remove_stack(id, &mut shrink);
        }
        for class in empty {
            for (id, stack) in &mut self.stacks {
                stack.shrink(*id, class, &mut self.paths, &mut shrink);
            }
            self.classes.remove(class);
        }
        let (added, removed) = self.paths.settle();
        grow_old.splice(0..0, added.into_iter().map(|(id, path)| Op::AddPath(id, path)));
        shrink.extend(removed.into_iter().map(Op::RemovePath));

        let mut steps = vec![
            (Phase::Grow, grow_old),
            (Phase::Switch, switch_classes),
            (Phase::Grow, grow_new),
            (Phase::Switch, switch),
        ];
        if at_once && steps.iter().map(|(_, ops)| ops.len()).sum::<usize>() <= SMALL {
            steps = vec![(Phase::Switch, steps.into_iter().flat_map(|(_, ops)| ops).collect())];
        }
        steps.push((Phase::Shrink, shrink));
        let steps = steps.into_iter().filter(|(_, ops)| !ops.is_empty());
        Ok(Change {
            steps: steps.map(|(phase, ops)| Step { phase, ops }).collect(),
            follow_up,
            freed: Freed { classes: self.classes.drain_freed(), stacks: self.stack_ids.drain_quarantine() },
        })
    }

    fn note_own_sets(&mut self, id: PolicyId, policy: Option<&Policy>) {
        for direction in [Direction::Ingress, Direction::Egress] {
            let sets = policy.map(|policy| own_sets_of(policy, direction)).unwrap_or_default();
            if sets.is_empty() {
                self.own_named.remove(&(id, direction));
            } else {
                self.own_named.insert((id, direction), sets);
            }
        }
    }

    /// Brings stacks that become others there in place. Where that can't be, a new stack is made instead.
    fn edit_stacks(&mut self, bindings: &mut Bindings, moves: &Moves) -> Result<Edit, Error> {
        let mut edit = Edit::default();
        let mut anew = FxHashMap::default();
        for (id, key, plan) in std::mem::take(&mut bindings.edits) {
            let Some(live) = self.stacks.get_mut(&id) else { continue };
            let effect = live.compiled.carry_out(plan);
            live.key = key;
            let around = Around { classes: &self.classes, l4: &self.l4, moves };
            let allowed = LARGEST_EDIT.saturating_sub(edit.len());
            match live.edit(id, &effect, &around, &mut self.paths, allowed) {
                Some(changes) => edit.append(changes),
                None => {
                    let new = bind::take(&mut self.stack_ids)?;
                    self.by_key.insert(live.key.clone(), new);
                    bindings.fresh.push((new, live.key.clone(), live.compiled.clone()));
                    anew.insert(id, new);
                }
            }
            let Effect { went, came, named, unnamed, sets: _, all: _, renamed: _ } = effect;
            unnamed.iter().for_each(|set| leave(&mut self.by_set, set, id));
            went.iter().for_each(|policy| leave(&mut self.by_policy, policy, id));
            for set in named {
                self.by_set.entry(set).or_default().insert(id);
            }
            for policy in came {
                self.by_policy.entry(policy).or_default().insert(id);
            }
        }
        bindings.replace(&anew);
        Ok(edit)
    }

    /// The last step of a change is done: its numbers may be given again.
    pub fn release(&mut self, freed: Freed) {
        let Freed { classes, stacks } = freed;
        self.classes.release(classes);
        self.stack_ids.release(stacks);
    }

    /// Forgets all numbers but the counters' and works everything out anew from what was told: for
    /// a new generation.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn rebuild(&mut self) -> Result<Tables, Error> {
        if !self.committed {
            // There is nothing to forget.
            self.commit()?;
            return Ok(self.tables());
        }
        let mut fresh = Self { paths: self.paths.restart(), ..Self::new() };
        for (id, policy) in &self.policies {
            fresh.apply(Update::Policy { id: *id, policy: Arc::clone(policy) });
        }
        for (prefix, members) in &self.members {
            fresh.apply(Update::Address { prefix: *prefix, members: Arc::clone(members) });
        }
        for (key, endpoint) in &self.endpoints {
            fresh.apply(Update::Endpoint { key: key.clone(), endpoint: Arc::clone(endpoint) });
        }
        fresh.commit()?;
        *self = fresh;
        Ok(self.tables())
    }

    /// All that a driver should hold after the last commit.
    pub fn tables(&self) -> Tables {
        let addresses = self.classes.prefixes();
        Tables {
            paths: self.paths.iter().map(|(id, path)| (id, Arc::clone(path))).collect(),
            stacks: self.stacks.iter().map(|(id, live)| (*id, live.chain.clone())).collect(),
            entries: self.stacks.iter().flat_map(|(id, live)| live.entries(*id)).collect(),
            addresses: addresses.filter_map(|(prefix, class)| Some((single(prefix)?, class))).collect(),
            nets: self.nets.clone(),
            l4: self.l4.matches().clone(),
            endpoints: self.ports.values().cloned().collect(),
        }
    }

    /// A policy or profile in use.
    pub fn policy(&self, id: PolicyId) -> Option<&Arc<Policy>> {
        self.policies.get(&id)
    }

    /// All policies and profiles in use.
    pub fn policies(&self) -> impl Iterator<Item = (PolicyId, &Arc<Policy>)> {
        self.policies.iter().map(|(id, policy)| (*id, policy))
    }

    /// How many rules they have: about as many paths there will be.
    pub fn rules(&self) -> usize {
        self.policies.values().map(|policy| policy.ingress.len() + policy.egress.len()).sum()
    }

    /// The endpoints of this node.
    pub fn endpoints(&self) -> &BTreeMap<ResourceKey, Arc<Endpoint>> {
        &self.endpoints
    }

    /// What a counter counts.
    pub fn path(&self, id: PathId) -> Option<&Arc<Path>> {
        self.paths.get(id)
    }

    /// How large the tables are.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            classes: self.classes.len(),
            prefixes: self.classes.prefixes().count(),
            l4: self.l4.matches().len(),
            stacks: self.stacks.len(),
            entries: self.stacks.values().map(Live::len).sum(),
            paths: self.paths.len(),
            endpoints: self.ports.len(),
        }
    }

    fn enter_stack(&mut self, id: StackId, live: Live) {
        for set in live.sets() {
            self.by_set.entry(set).or_default().insert(id);
        }
        for policy in live.policies() {
            self.by_policy.entry(policy).or_default().insert(id);
        }
        self.stacks.insert(id, live);
    }

    fn remove_stack(&mut self, id: StackId, shrink: &mut Vec<Op>) {
        let Some(live) = self.stacks.remove(&id) else { return };
        live.table.let_go(&mut self.paths);
        shrink.extend(live.entries(id).map(|(key, _)| Op::RemoveEntry(key)));
        shrink.push(Op::RemoveStack(id));
        live.sets().for_each(|set| leave(&mut self.by_set, &set, id));
        live.policies().for_each(|policy| leave(&mut self.by_policy, &policy, id));
        if self.by_key.get(&live.key) == Some(&id) {
            self.by_key.remove(&live.key);
        }
        self.stack_ids.put(u32::from(id.0));
    }
}

/// A stack is no longer found by this.
fn leave<K: Eq + Hash>(stacks: &mut FxHashMap<K, FxHashSet<StackId>>, by: &K, id: StackId) {
    if let Some(found) = stacks.get_mut(by) {
        found.remove(&id);
        if found.is_empty() {
            stacks.remove(by);
        }
    }
}

/// A prefix and all those around it, the narrowest first.
pub(crate) fn wider(prefix: IpNet) -> impl Iterator<Item = IpNet> {
    (0..=prefix.prefix_len())
        .rev()
        .filter_map(move |length| IpNet::new(prefix.addr(), length).ok())
        .map(|net| net.trunc())
}

/// The address of a prefix that is no wider than one.
fn single(prefix: &IpNet) -> Option<IpAddr> {
    (prefix.prefix_len() == prefix.max_prefix_len()).then(|| prefix.addr())
}
