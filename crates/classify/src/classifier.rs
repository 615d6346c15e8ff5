//! The classifier: takes updates, and says in which steps a driver follows.
//!
//! # The order of a commit
//! 1. Grow: entries of new address and L4 classes in the stacks that are in use.
//! 2. Switch: addresses and ports to their new classes. Stacks in use can't tell the new classes
//!    from the old by what is new in them, so this changes no verdict of theirs but where a
//!    membership that they name has changed.
//! 3. Grow: new stacks with all their entries.
//! 4. Switch: endpoints to their new stacks.
//! 5. Shrink: stacks, classes and counters that nothing leads to any more.
//!
//! A membership that only stacks of before name must stay until these are gone: the class keeps
//! it over the commit, and a [follow-up](Change::follow_up) takes it away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::kind::ResourceKey;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::{
    AddressRange, ClassId, Dispatch, EndpointPorts, Op, Path, PathId, Phase, StackId, Step, Tables,
};
use tortie_dataplane::policy::{Endpoint, Family, Member, Policy, PolicyId, PortRange, SetId, Stack, Update};

use crate::classes::{self, Classes, Members, set_of};
use crate::compile::{Compiled, atoms_of, own_sets};
use crate::ids::Ids;
use crate::intervals::{Cut, Intervals};
use crate::l4::{self, Atom, L4, L4Change};
use crate::paths::Paths;
use crate::stacks::{Live, StackKey};

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
    members: FxHashMap<IpNet, Members>,
    endpoints: BTreeMap<ResourceKey, Arc<Endpoint>>,
    // What changed since the last commit.
    changed_policies: FxHashSet<PolicyId>,
    changed_prefixes: FxHashSet<IpNet>,
    changed_endpoints: FxHashSet<ResourceKey>,
    // What was made of it.
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
            members: FxHashMap::default(),
            endpoints: BTreeMap::new(),
            changed_policies: FxHashSet::default(),
            changed_prefixes: FxHashSet::default(),
            changed_endpoints: FxHashSet::default(),
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
                self.policies.insert(id, policy);
                self.changed_policies.insert(id);
            }
            Update::PolicyRemoved { id } => {
                self.policies.remove(&id);
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
        let bindings = self.bind()?;
        let mut dying: FxHashSet<StackId> = self.stacks.keys().copied().collect();
        for stack in self
            .bindings
            .iter()
            .filter(|(key, _)| !bindings.rebound.contains_key(*key))
            .flat_map(|(_, binding)| binding.values())
            .chain(bindings.rebound.values().flatten().flat_map(|binding| binding.values()))
            .flatten()
            .map(|(_, stack)| stack)
        {
            dying.remove(stack);
        }

        let cut = self.l4.settle()?;
        let mut grow_old = Vec::new();
        let mut switch_classes = Vec::new();
        self.cut_ports(&cut, &mut grow_old, &mut switch_classes);
        let (empty, follow_up) =
            self.move_prefixes(&bindings.fresh, &dying, &mut grow_old, &mut switch_classes)?;

        let mut grow_new = Vec::new();
        for (id, key, compiled) in bindings.fresh {
            let live = Live::new(key, compiled, &self.classes, &self.l4, &mut self.paths);
            grow_new.push(Op::AddStack(id, live.chain.clone()));
            grow_new.extend(live.entries(id).map(|(key, verdict)| Op::AddEntry(key, verdict)));
            for set in live.sets() {
                self.by_set.entry(set).or_default().insert(id);
            }
            for policy in live.policies() {
                self.by_policy.entry(policy).or_default().insert(id);
            }
            self.stacks.insert(id, live);
        }

        let switch_endpoints = self.switch_endpoints(bindings.rebound);
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

        let steps = [
            (Phase::Grow, grow_old),
            (Phase::Switch, switch_classes),
            (Phase::Grow, grow_new),
            (Phase::Switch, switch_endpoints),
            (Phase::Shrink, shrink),
        ];
        let steps = steps.into_iter().filter(|(_, ops)| !ops.is_empty());
        Ok(Change {
            steps: steps.map(|(phase, ops)| Step { phase, ops }).collect(),
            follow_up,
            freed: Freed { classes: self.classes.drain_freed(), stacks: self.stack_ids.drain_quarantine() },
        })
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

    /// The memberships of a prefix as told: its own, or those of the narrowest net around it.
    fn told(&self, prefix: IpNet) -> Option<&Members> {
        wider(prefix).find_map(|net| self.members.get(&net))
    }

    /// Finds or makes the stacks of all endpoints that may have come to others.
    fn bind(&mut self) -> Result<Bindings, Error> {
        // A policy with other rules makes other stacks, even from the same list.
        for policy in std::mem::take(&mut self.changed_policies) {
            for id in self.by_policy.get(&policy).into_iter().flatten() {
                if let Some(live) = self.stacks.get(id) {
                    self.by_key.remove(&live.key);
                }
            }
        }
        let moved: FxHashSet<IpAddr> = self.changed_prefixes.iter().filter_map(single).collect();
        let moved_nets: Vec<IpNet> =
            self.changed_prefixes.iter().filter(|prefix| single(prefix).is_none()).copied().collect();
        let mut dirty = std::mem::take(&mut self.changed_endpoints);
        for (key, endpoint) in &self.endpoints {
            let stale = || {
                self.bindings.get(key).is_none_or(|binding| {
                    binding.values().flatten().any(|(_, id)| {
                        self.stacks.get(id).is_none_or(|live| self.by_key.get(&live.key) != Some(id))
                    })
                })
            };
            let elsewhere = || {
                endpoint.addresses.iter().any(|address| {
                    moved.contains(address) || moved_nets.iter().any(|net| net.contains(address))
                })
            };
            if !dirty.contains(key) && (stale() || elsewhere()) {
                dirty.insert(key.clone());
            }
        }
        let mut fresh = Vec::new();
        let mut rebound = FxHashMap::default();
        let mut own = FxHashMap::<(*const Stack, Direction), FxHashSet<SetId>>::default();
        let mut dirty: Vec<ResourceKey> = dirty.into_iter().collect();
        dirty.sort();
        for key in dirty {
            let Some(endpoint) = self.endpoints.get(&key).cloned() else {
                rebound.insert(key, None);
                continue;
            };
            let mut binding = Binding::new();
            for address in &endpoint.addresses {
                for (direction, stack) in
                    [(Direction::Ingress, &endpoint.ingress), (Direction::Egress, &endpoint.egress)]
                {
                    let family = Family::of(address);
                    let sets = own
                        .entry((Arc::as_ptr(stack), direction))
                        .or_insert_with(|| own_sets(stack, direction, &self.policies));
                    let members = if sets.is_empty() { None } else { self.told(IpNet::from(*address)) };
                    let members = members.map_or(&[][..], |members| members);
                    let own =
                        members.iter().filter(|member| sets.contains(&set_of(**member))).copied().collect();
                    let stack_key = StackKey { stack: Arc::clone(stack), direction, family, own };
                    let id = match self.by_key.get(&stack_key) {
                        Some(id) => *id,
                        None => {
                            let id = self.stack_ids.take().and_then(|id| u16::try_from(id).ok());
                            let id = StackId(id.ok_or(Error::Stacks)?);
                            let compiled =
                                Compiled::new(stack, direction, family, &stack_key.own, &self.policies);
                            self.by_key.insert(stack_key.clone(), id);
                            fresh.push((id, stack_key, compiled));
                            id
                        }
                    };
                    binding.entry((direction, family)).or_default().push((*address, id));
                }
            }
            rebound.insert(key, Some(binding));
        }
        Ok(Bindings { fresh, rebound })
    }

    /// Tells the stacks in use of ports that were cut.
    fn cut_ports(&mut self, cut: &L4Change, grow: &mut Vec<Op>, switch: &mut Vec<Op>) {
        let L4Change { set, removed, split } = cut;
        for (new, old) in split {
            for (id, live) in &mut self.stacks {
                live.split(*id, *new, *old, &mut self.paths, grow);
            }
        }
        switch.extend(removed.iter().map(|matched| Op::RemoveL4(*matched)));
        switch.extend(set.iter().map(|(matched, class)| Op::SetL4(*matched, *class)));
    }

    /// Moves prefixes to the classes of what they belong to now. Gives the classes that are empty
    /// after, and whether a membership had to stay until the stacks that name it are gone.
    fn move_prefixes(
        &mut self,
        fresh: &[(StackId, StackKey, Compiled)],
        dying: &FxHashSet<StackId>,
        grow: &mut Vec<Op>,
        switch: &mut Vec<Op>,
    ) -> Result<(Vec<ClassId>, bool), Error> {
        let named_before = |set: &SetId| self.by_set.get(set).is_some_and(|stacks| !stacks.is_empty());
        let named_after = |set: &SetId| {
            self.by_set.get(set).is_some_and(|stacks| stacks.iter().any(|id| !dying.contains(id)))
                || fresh.iter().any(|(_, _, compiled)| compiled.sets.contains(set))
        };
        let mut kept = FxHashSet::default();
        let mut groups = BTreeMap::<(Option<ClassId>, Family, Members), Vec<IpNet>>::new();
        let mut unnamed = FxHashMap::<(Option<ClassId>, Members), bool>::default();
        for prefix in std::mem::take(&mut self.changed_prefixes) {
            let own = self.classes.members_of(&prefix);
            let told = self.members.get(&prefix);
            if told.is_none() && own.is_empty() {
                continue;
            }
            // What packets met, and will meet: a prefix without a class of its own has that of the net around it.
            let before = self.classes.around(&prefix);
            let after = told.or_else(|| self.told(prefix.trunc()));
            let after = after.map_or(&[][..], |members| members);
            let stays: Vec<Member> = before
                .iter()
                .filter(|member| !after.contains(member))
                .filter(|member| named_before(&set_of(**member)) && !named_after(&set_of(**member)))
                .copied()
                .collect();
            let wanted: Members = if stays.is_empty() {
                told.cloned().unwrap_or_default()
            } else {
                kept.insert(prefix);
                let mut all: Vec<Member> = after.iter().copied().chain(stays).collect();
                all.sort_unstable();
                all.into()
            };
            if own != &*wanted {
                let class = self.classes.of(&prefix);
                // Whether no stack in use can tell the new memberships from the old.
                unnamed.entry((class, Arc::clone(&wanted))).or_insert_with(|| {
                    let differs = before
                        .iter()
                        .filter(|member| !wanted.contains(member))
                        .chain(wanted.iter().filter(|member| !before.contains(member)));
                    differs.into_iter().all(|member| !named_before(&set_of(*member)))
                });
                groups.entry((class, Family::of_net(&prefix), wanted)).or_default().push(prefix);
            }
        }
        let mut empty = Vec::new();
        let mut cut_anew = BTreeSet::new();
        for ((before, family, wanted), mut prefixes) in groups {
            prefixes.sort_unstable();
            let known = if wanted.is_empty() { None } else { self.classes.find(family, &wanted) };
            let same_verdicts = unnamed.get(&(before, Arc::clone(&wanted))).copied().unwrap_or(false);
            if let Some(class) = before
                && known.is_none()
                && !wanted.is_empty()
                && same_verdicts
                && self.classes.size(class) == prefixes.len()
            {
                self.classes.rename(class, &wanted);
                continue;
            }
            let class = match (wanted.is_empty(), known) {
                (true, _) => None,
                (false, Some(class)) => Some(class),
                (false, None) => {
                    let class = self.classes.create(family, &wanted)?;
                    for (id, live) in &mut self.stacks {
                        if live.chain.family == family {
                            live.grow(*id, class, &wanted, &self.l4, &mut self.paths, grow);
                        }
                    }
                    Some(class)
                }
            };
            for prefix in prefixes {
                empty.extend(self.classes.assign(prefix, class));
                self.move_prefix(prefix, class, switch, &mut cut_anew);
            }
        }
        self.switch_nets(cut_anew, switch);
        // A class may have been left by one group and entered by another.
        empty.retain(|class| self.classes.size(*class) == 0);
        empty.sort_unstable();
        empty.dedup();
        let follow_up = !kept.is_empty();
        self.changed_prefixes = kept;
        Ok((empty, follow_up))
    }

    fn move_prefix(
        &mut self,
        prefix: IpNet,
        class: Option<ClassId>,
        switch: &mut Vec<Op>,
        cut_anew: &mut BTreeSet<AddressRange>,
    ) {
        match (single(&prefix), class) {
            (Some(address), Some(class)) => switch.push(Op::SetAddress(address, class)),
            (Some(address), None) => switch.push(Op::RemoveAddress(address)),
            (None, Some(_)) if self.intervals.contains(&prefix) => {
                cut_anew.extend(self.intervals.of(&prefix))
            }
            (None, class) => {
                let Cut { removed, added } = match class {
                    Some(_) => self.intervals.insert(prefix),
                    None => self.intervals.remove(prefix),
                };
                cut_anew.extend(removed);
                cut_anew.extend(added.into_iter().map(|(range, _)| range));
            }
        }
    }

    /// Brings the driver's intervals to what the prefixes cut now: first what goes, then what comes.
    fn switch_nets(&mut self, cut_anew: BTreeSet<AddressRange>, switch: &mut Vec<Op>) {
        let mut added = Vec::new();
        for range in cut_anew {
            let class = self.intervals.ruler(&range).and_then(|by| self.classes.of(&by));
            match (self.nets.get(&range).copied(), class) {
                (before, Some(class)) if before != Some(class) => {
                    self.nets.insert(range, class);
                    added.push(Op::AddNet(range, class));
                }
                (Some(_), None) => {
                    self.nets.remove(&range);
                    switch.push(Op::RemoveNet(range));
                }
                _ => {}
            }
        }
        switch.extend(added);
    }

    fn switch_endpoints(&mut self, rebound: FxHashMap<ResourceKey, Option<Binding>>) -> Vec<Op> {
        let mut switch = Vec::new();
        let mut rebound: Vec<_> = rebound.into_iter().collect();
        rebound.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut freed = Vec::new();
        for (key, binding) in rebound {
            let before = self.ports.remove(&key);
            let (Some(binding), Some(endpoint)) = (binding, self.endpoints.get(&key)) else {
                self.bindings.remove(&key);
                freed.extend(before.map(|(interface, _)| interface));
                continue;
            };
            let ports = Arc::new(EndpointPorts {
                addresses: endpoint.addresses.clone(),
                allowed_sources: endpoint.allowed_sources.clone(),
                ingress_v4: dispatch(&binding, Direction::Ingress, Family::V4),
                ingress_v6: dispatch(&binding, Direction::Ingress, Family::V6),
                egress_v4: dispatch(&binding, Direction::Egress, Family::V4),
                egress_v6: dispatch(&binding, Direction::Egress, Family::V6),
            });
            let now = (Arc::clone(&endpoint.interface), ports);
            if before.as_ref() != Some(&now) {
                freed.extend(before.map(|(interface, _)| interface).filter(|interface| *interface != now.0));
                switch.push(Op::SetEndpoint(Arc::clone(&now.0), Arc::clone(&now.1)));
            }
            self.ports.insert(key.clone(), now);
            self.bindings.insert(key, binding);
        }
        // An interface that one endpoint left may be another's by now.
        let users: FxHashMap<&Arc<str>, &Arc<EndpointPorts>> =
            self.ports.values().map(|(interface, ports)| (interface, ports)).collect();
        let left = freed.into_iter().map(|interface| match users.get(&interface) {
            Some(ports) => Op::SetEndpoint(interface, Arc::clone(ports)),
            None => Op::RemoveEndpoint(interface),
        });
        switch.splice(0..0, left);
        switch
    }

    fn remove_stack(&mut self, id: StackId, shrink: &mut Vec<Op>) {
        let Some(live) = self.stacks.remove(&id) else { return };
        live.let_go(&mut self.paths);
        shrink.extend(live.entries(id).map(|(key, _)| Op::RemoveEntry(key)));
        shrink.push(Op::RemoveStack(id));
        for set in live.sets() {
            if let Some(stacks) = self.by_set.get_mut(&set) {
                stacks.remove(&id);
                if stacks.is_empty() {
                    self.by_set.remove(&set);
                }
            }
        }
        for policy in live.policies() {
            if let Some(stacks) = self.by_policy.get_mut(&policy) {
                stacks.remove(&id);
                if stacks.is_empty() {
                    self.by_policy.remove(&policy);
                }
            }
        }
        if self.by_key.get(&live.key) == Some(&id) {
            self.by_key.remove(&live.key);
        }
        self.stack_ids.put(u32::from(id.0));
    }
}

/// The stacks that came, and the endpoints that have others now (none: the endpoint is gone).
struct Bindings {
    fresh: Vec<(StackId, StackKey, Compiled)>,
    rebound: FxHashMap<ResourceKey, Option<Binding>>,
}

fn dispatch(binding: &Binding, direction: Direction, family: Family) -> Dispatch {
    let Some(stacks) = binding.get(&(direction, family)) else { return Dispatch::Drop };
    match stacks.first() {
        Some((_, first)) if stacks.iter().all(|(_, id)| id == first) => Dispatch::Stack(*first),
        _ => Dispatch::ByAddress(stacks.clone().into()),
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
