//! Which stacks an endpoint's packets are judged by: finds or makes them, and leads the endpoints there.

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
use crate::compile::{Compiled, own_sets};
use crate::stacks::StackKey;

/// The stacks that came, and the endpoints that have others now (none: the endpoint is gone).
pub(super) struct Bindings {
    pub(super) fresh: Vec<(StackId, StackKey, Compiled)>,
    pub(super) rebound: FxHashMap<ResourceKey, Option<Binding>>,
}

impl Classifier {
    /// Finds or makes the stacks of all endpoints that may have come to others.
    pub(super) fn bind(&mut self) -> Result<Bindings, Error> {
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
