//! Which stacks an endpoint's packets are judged by: finds or makes them, and leads the endpoints there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::kind::ResourceKey;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::{Dispatch, EndpointPorts, Op, StackId};
use tortie_dataplane::policy::{Family, SetId, Stack};

use super::{Binding, Classifier, Error, single};
use crate::classes::set_of;
use crate::compile::{Compiled, Plan, Sources};
use crate::ids::Ids;
use crate::item::Sight;
use crate::stacks::{StackKey, policies};

/// The stacks that come, and the endpoints that have others now.
pub(super) struct Bindings {
    /// Stacks that nothing in use becomes.
    pub(super) fresh: Vec<(StackId, StackKey, Compiled)>,
    /// Stacks in use all of whose users go over to one other: what they become.
    pub(super) edits: Vec<(StackId, StackKey, Plan)>,
    /// Stacks that nobody is led to after.
    pub(super) dying: FxHashSet<StackId>,
    /// Endpoints with the stacks that they have now; none if the endpoint is gone.
    pub(super) rebound: FxHashMap<ResourceKey, Option<Binding>>,
}

impl Bindings {
    /// These stacks are replaced by others after all.
    pub(super) fn replace(&mut self, by: &FxHashMap<StackId, StackId>) {
        for (_, id) in self.rebound.values_mut().flatten().flat_map(Binding::values_mut).flatten() {
            if let Some(new) = by.get(id) {
                *id = *new;
            }
        }
        self.dying.extend(by.keys().copied());
    }
}

/// Stacks that are to be.
#[derive(Default)]
struct Wanted {
    keys: Vec<StackKey>,
    places: FxHashMap<StackKey, usize>,
}

/// A stack that is there, or the place of one that is [wanted](Wanted).
enum Found {
    Known(StackId),
    Wanted(usize),
}

type Sought = BTreeMap<(Direction, Family), Vec<(IpAddr, Found)>>;

impl Wanted {
    fn add(&mut self, key: StackKey) -> usize {
        *self.places.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            self.keys.len() - 1
        })
    }
}

impl Classifier {
    /// Finds or makes the stacks of all endpoints that may have come to others.
    pub(super) fn bind(&mut self) -> Result<Bindings, Error> {
        let changed = std::mem::take(&mut self.changed_policies);
        // A policy with other rules makes other stacks, even from the same list.
        for id in changed.iter().filter_map(|policy| self.by_policy.get(policy)).flatten() {
            if let Some(live) = self.stacks.get(id) {
                self.by_key.remove(&live.key);
            }
        }
        let (sought, wanted) = self.seek();
        let mut dying: FxHashSet<StackId> = self.stacks.keys().copied().collect();
        let stay = self.bindings.iter().filter(|(key, _)| !sought.contains_key(*key));
        for (_, id) in stay.flat_map(|(_, binding)| binding.values()).flatten() {
            dying.remove(id);
        }
        for (_, found) in sought.values().flatten().flat_map(Sought::values).flatten() {
            if let Found::Known(id) = found {
                dying.remove(id);
            }
        }
        let mut heirs = self.heirs(&sought);
        let mut sources = Sources::new(&self.policies);
        let (mut fresh, mut edits, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for (place, key) in wanted.keys.into_iter().enumerate() {
            let heir = heirs.remove(&place).into_iter().flatten().find_map(|id| {
                let live =
                    self.stacks.get(&id).filter(|live| dying.contains(&id) && live.key.own == key.own)?;
                Some((id, live))
            });
            let id = match heir {
                Some((id, live)) => {
                    dying.remove(&id);
                    if self.by_key.get(&live.key) == Some(&id) {
                        self.by_key.remove(&live.key);
                    }
                    edits.push((
                        id,
                        key.clone(),
                        live.compiled.plan(&key.stack, &key.own, &changed, &mut sources),
                    ));
                    id
                }
                None => {
                    let id = take(&mut self.stack_ids)?;
                    let StackKey { stack, direction, family, own } = &key;
                    let sight = Sight { direction: *direction, family: *family, own };
                    fresh.push((id, key.clone(), Compiled::new(stack, &sight, &mut sources)));
                    id
                }
            };
            self.by_key.insert(key, id);
            ids.push(id);
        }
        let bound = |sought: Sought| -> Binding {
            let id = |found| match found {
                Found::Known(id) => id,
                Found::Wanted(place) => ids[place],
            };
            let stacks = |found: Vec<(IpAddr, Found)>| {
                found.into_iter().map(|(address, found)| (address, id(found))).collect()
            };
            sought.into_iter().map(|(side, found)| (side, stacks(found))).collect()
        };
        let rebound = sought.into_iter().map(|(key, sought)| (key, sought.map(bound))).collect();
        Ok(Bindings { fresh, edits, dying, rebound })
    }

    /// Of each wanted stack those in use, in order, all of whose users go over to it: only such a one may be changed in
    /// place to become it, because packets under way are still in it.
    fn heirs(&self, sought: &BTreeMap<ResourceKey, Option<Sought>>) -> FxHashMap<usize, BTreeSet<StackId>> {
        let mut goes_to = FxHashMap::default();
        for (key, after) in sought {
            for (side, stacks) in self.bindings.get(key).into_iter().flatten() {
                let after = after.as_ref().and_then(|after| after.get(side));
                for (address, id) in stacks {
                    let found = after.and_then(|found| found.iter().find(|(of, _)| of == address));
                    let place = match found {
                        Some((_, Found::Wanted(place))) => Some(*place),
                        Some((_, Found::Known(_))) | None => None,
                    };
                    let known = goes_to.entry(*id).or_insert(place);
                    if *known != place {
                        *known = None;
                    }
                }
            }
        }
        let mut heirs = FxHashMap::<usize, BTreeSet<StackId>>::default();
        for (id, place) in goes_to {
            if let Some(place) = place {
                heirs.entry(place).or_default().insert(id);
            }
        }
        heirs
    }

    /// Which stacks the endpoints should have that may have come to others.
    fn seek(&mut self) -> (BTreeMap<ResourceKey, Option<Sought>>, Wanted) {
        let dirty = self.dirty_endpoints();
        let mut wanted = Wanted::default();
        let mut own = FxHashMap::<(*const Stack, Direction), FxHashSet<SetId>>::default();
        let mut all = BTreeMap::new();
        for key in dirty {
            let Some(endpoint) = self.endpoints.get(&key) else {
                all.insert(key, None);
                continue;
            };
            let mut sought = Sought::new();
            for address in &endpoint.addresses {
                for (direction, stack) in
                    [(Direction::Ingress, &endpoint.ingress), (Direction::Egress, &endpoint.egress)]
                {
                    let family = Family::of(address);
                    let sets = own
                        .entry((Arc::as_ptr(stack), direction))
                        .or_insert_with(|| self.own_sets(stack, direction));
                    let members = if sets.is_empty() { None } else { self.told(IpNet::from(*address)) };
                    let members = members.map_or(&[][..], |members| members);
                    let own =
                        members.iter().filter(|member| sets.contains(&set_of(**member))).copied().collect();
                    let stack_key = StackKey { stack: Arc::clone(stack), direction, family, own };
                    let found = match self.by_key.get(&stack_key) {
                        Some(id) => Found::Known(*id),
                        None => Found::Wanted(wanted.add(stack_key)),
                    };
                    sought.entry((direction, family)).or_default().push((*address, found));
                }
            }
            all.insert(key, Some(sought));
        }
        (all, wanted)
    }

    /// Endpoints that are new, gone or changed, whose policies have other rules, or whose address is in other sets.
    fn dirty_endpoints(&mut self) -> FxHashSet<ResourceKey> {
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
        dirty
    }

    /// The sets that a stack's rules name on the endpoint's own side.
    fn own_sets(&self, stack: &Stack, direction: Direction) -> FxHashSet<SetId> {
        if self.own_named.is_empty() {
            return FxHashSet::default();
        }
        let named = policies(stack).filter_map(|id| self.own_named.get(&(id, direction)));
        named.flat_map(|sets| sets.iter().copied()).collect()
    }

    pub(super) fn switch_endpoints(&mut self, rebound: FxHashMap<ResourceKey, Option<Binding>>) -> Vec<Op> {
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
}

fn dispatch(binding: &Binding, direction: Direction, family: Family) -> Dispatch {
    let Some(stacks) = binding.get(&(direction, family)) else { return Dispatch::Drop };
    match stacks.first() {
        Some((_, first)) if stacks.iter().all(|(_, id)| id == first) => Dispatch::Stack(*first),
        _ => Dispatch::ByAddress(stacks.clone().into()),
    }
}

/// The next stack's number.
pub(super) fn take(ids: &mut Ids) -> Result<StackId, Error> {
    ids.take().and_then(|id| u16::try_from(id).ok()).map(StackId).ok_or(Error::Stacks)
}
