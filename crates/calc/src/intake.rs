//! Events into the graph: each object is read once, here, and not kept.
//!
//! What can't be read fails closed: a policy denies in its place, a profile denies, an endpoint
//! or network set is not there. The next hop is the flush in `graph`.

use std::sync::Arc;

use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::kubernetes::RuleFault;
use tortie_api::meta::StringMap;
use tortie_api::policy::{Profile, ProfileSpec};
use tortie_api::resource::{Converted, Resource};
use tortie_api::selector::{NAMESPACE_LABEL_PREFIX, SERVICE_ACCOUNT_LABEL_PREFIX};
use tortie_dataplane::policy::{Policy, PolicyId};

use crate::book::Saying;
use crate::compile::{Compiled, CompiledRules, deny_all};
use crate::error::Fault;
use crate::graph::Graph;
use crate::inheritance::{GroupId, ProfileSlot, write_place};
use crate::item::{Item, Name, NamedPort, Profiles as ItemProfiles, Reading as ItemReading};
use crate::label::Labels;
use crate::local::Local;
use crate::policy::{self, Reading};
use crate::profile::{PROFILE_TIER, Rules, Source};
use crate::services;

/// The label that holds a namespace's or a service account's name among those inherited.
const NAME_LABEL: &str = "projectcalico.org/name";

/// Where a profile comes from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Stored,
    Derived,
}

impl Graph {
    /// Takes one change in. Tells nothing: see [`Graph::flush`].
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::InSync => self.in_sync = true,
            Event::Upsert(resource) => self.upsert(resource),
            Event::Delete(key) => {
                self.problems.remove(key);
                self.delete(key);
            }
            Event::Unreadable { key, json, error } => {
                self.problems.insert(key.clone(), error.as_str().into());
                if key.kind.is_policy() {
                    let reading = policy::read_unreadable(key, json.as_ref(), error, &mut self.parser);
                    self.put_policy(key, reading);
                } else if key.kind == Kind::Profile {
                    let denies = Source { labels: Labels::default(), rules: Rules::DenyAll };
                    self.put_profile(&key.name, Some(denies), Origin::Stored);
                } else {
                    self.delete(key);
                }
            }
        }
    }

    fn upsert(&mut self, resource: &Resource) {
        match resource {
            Resource::WorkloadEndpoint(endpoint) => {
                let read = ItemReading::workload(endpoint);
                let key = || endpoint.key();
                let Some(reading) = self.sound(read, key).flatten() else {
                    return self.remove_item(Name::of(&key()));
                };
                let item = self.put_item(reading);
                if endpoint.spec.node == *self.node && !endpoint.spec.interface_name.is_empty() {
                    match Local::read(endpoint) {
                        Ok(local) => self.put_local(item, local),
                        Err(fault) => {
                            self.problems.insert(key(), fault.to_string().into());
                            self.remove_local(item);
                        }
                    }
                } else {
                    self.remove_local(item);
                }
            }
            Resource::HostEndpoint(endpoint) => {
                self.put_item_if_sound(ItemReading::host(endpoint), || endpoint.key());
            }
            Resource::NetworkSet(set) => {
                self.put_item_if_sound(ItemReading::set(set), || set.key());
            }
            Resource::GlobalNetworkSet(set) => {
                self.put_item_if_sound(ItemReading::global_set(set), || set.key());
            }
            Resource::NetworkPolicy(object) => {
                let key = object.key();
                let reading = policy::read_namespaced(&key, &object.spec, &mut self.parser);
                self.put_policy_as_read(&key, reading);
            }
            Resource::GlobalNetworkPolicy(object) => {
                let key = object.key();
                let reading = policy::read_global(&key, &object.spec, &mut self.parser);
                self.put_policy_as_read(&key, reading);
            }
            Resource::KubernetesNetworkPolicy(converted) => {
                let Converted { key, spec, faults } = &**converted;
                let reading = policy::read_namespaced(key, spec, &mut self.parser);
                self.put_policy_as_read(key, reading);
                self.note_faults(key, faults);
            }
            Resource::KubernetesClusterNetworkPolicy(converted) => {
                let Converted { key, spec, faults } = &**converted;
                let reading = policy::read_global(key, spec, &mut self.parser);
                self.put_policy_as_read(key, reading);
                self.note_faults(key, faults);
            }
            Resource::Tier(tier) => self.set_tier(&tier.metadata.name, Some(&tier.spec)),
            Resource::Profile(profile) => self.put_stored_profile(profile),
            Resource::Namespace(namespace) => {
                let name = &namespace.metadata.name;
                let labels = &namespace.metadata.labels;
                let source = self.derive(NAMESPACE_LABEL_PREFIX, name, labels, Rules::AllowAll);
                self.put_profile(&namespace_profile(name), Some(source), Origin::Derived);
            }
            Resource::ServiceAccount(account) => {
                let (namespace, name) = (&account.metadata.namespace, &account.metadata.name);
                let labels = &account.metadata.labels;
                let source = self.derive(SERVICE_ACCOUNT_LABEL_PREFIX, name, labels, Rules::Empty);
                self.put_profile(&account_profile(namespace, name), Some(source), Origin::Derived);
            }
            Resource::EndpointSlice(slice) => self.membership.services.put(slice, &mut self.symbols),
            // Mean nothing to policy; a service is what its slices say.
            Resource::Node(_)
            | Resource::IPPool(_)
            | Resource::IPReservation(_)
            | Resource::IPAMConfiguration(_)
            | Resource::FelixConfiguration(_)
            | Resource::Pod(_)
            | Resource::Service(_) => {}
        }
    }

    fn delete(&mut self, key: &ResourceKey) {
        match key.kind {
            Kind::WorkloadEndpoint | Kind::HostEndpoint | Kind::NetworkSet | Kind::GlobalNetworkSet => {
                self.remove_item(Name::of(key));
            }
            Kind::EndpointSlice => {
                let name = services::name_of(&key.namespace, &key.name);
                self.membership.services.remove(&name, &mut self.symbols);
            }
            Kind::Tier => self.set_tier(&key.name, None),
            Kind::Profile => self.put_profile(&key.name, None, Origin::Stored),
            Kind::Namespace => self.put_profile(&namespace_profile(&key.name), None, Origin::Derived),
            Kind::ServiceAccount => {
                self.put_profile(&account_profile(&key.namespace, &key.name), None, Origin::Derived);
            }
            kind if kind.is_policy() => {
                if let Some(slot) = self.book.find(key) {
                    self.say(slot, None);
                }
            }
            _ => {}
        }
    }

    // ---- items ----

    fn sound<T>(&mut self, read: Result<T, Fault>, key: impl FnOnce() -> ResourceKey) -> Option<T> {
        match read {
            Ok(reading) => {
                if !self.problems.is_empty() {
                    self.problems.remove(&key());
                }
                Some(reading)
            }
            Err(fault) => {
                self.problems.insert(key(), fault.to_string().into());
                None
            }
        }
    }

    fn put_item_if_sound(&mut self, read: Result<ItemReading<'_>, Fault>, key: impl Fn() -> ResourceKey) {
        match self.sound(read, &key) {
            Some(reading) => {
                self.put_item(reading);
            }
            None => self.remove_item(Name::of(&key())),
        }
    }

    fn put_item(&mut self, reading: ItemReading<'_>) -> u32 {
        let own = self.labels.acquire(&mut self.symbols, reading.own_labels());
        let mut ports: Vec<NamedPort> = reading
            .ports
            .iter()
            .map(|(name, protocol, port)| NamedPort {
                name: self.symbols.acquire(name),
                protocol: *protocol,
                port: *port,
            })
            .collect();
        ports.sort_unstable();
        let found = self.membership.items.find(reading.key);
        let index = found.unwrap_or_else(|| self.membership.items.reserve());
        let before = found.and_then(|index| self.membership.items.get(index)).map(|item| item.group);
        let group = self.join(index, &reading);
        if let Some(before) = before
            && before != group
        {
            self.touched_profiles.extend(self.inheritance.group(before).profiles());
        }
        let item = Item::new(reading.key, own, reading.prefixes, ports, group);
        if self.membership.put(index, item, &mut self.symbols, &mut self.inheritance)
            && self.locals.entries.contains_key(&index)
        {
            self.locals.rematch.insert(index);
        }
        index
    }

    /// Puts an item into the group of its place.
    fn join(&mut self, index: u32, reading: &ItemReading<'_>) -> GroupId {
        let mut place = std::mem::take(&mut self.place);
        place.clear();
        for forced in &reading.forced {
            write_place(&mut place, forced.map_or("", |(_, value)| value));
        }
        match &reading.profiles {
            ItemProfiles::Listed(names) => names.iter().for_each(|name| write_place(&mut place, name)),
            ItemProfiles::Namespace(namespace) => write_place(&mut place, &namespace_profile(namespace)),
        }
        let group = self.inheritance.join(index, &place).unwrap_or_else(|| {
            let forced = self.labels.acquire(&mut self.symbols, reading.forced.into_iter().flatten());
            let profiles = match &reading.profiles {
                ItemProfiles::Listed(names) => names.iter().map(|name| self.profile_slot(name)).collect(),
                ItemProfiles::Namespace(namespace) => {
                    vec![self.profile_slot(&namespace_profile(namespace))]
                }
            };
            self.inheritance.begin(index, &place, profiles, forced, &mut self.symbols)
        });
        self.place = place;
        group
    }

    fn remove_item(&mut self, name: Name<'_>) {
        let Some(index) = self.membership.items.find(name) else { return };
        self.remove_local(index);
        if let Some(item) = self.membership.items.get(index) {
            self.touched_profiles.extend(self.inheritance.group(item.group).profiles());
        }
        self.membership.take(index, &mut self.symbols, &mut self.inheritance);
    }

    // ---- local endpoints ----

    fn put_local(&mut self, index: u32, mut local: Local) {
        let group = self.membership.items.get(index).map(|item| item.group);
        if let Some(group) = group {
            local.profiles = self.inheritance.group(group).profiles().into();
        }
        for slot in &local.profiles {
            self.profiles.get_mut(*slot).users += 1;
            self.touched_profiles.insert(*slot);
        }
        match self.locals.entries.remove(&index) {
            Some(before) => {
                self.unuse(&before.profiles);
                (local.matched, local.told) = (before.matched, before.told);
            }
            None => {
                local.told = self.locals.gone.remove(&local.key);
                self.locals.rematch.insert(index);
            }
        }
        self.locals.restack.insert(index);
        self.locals.entries.insert(index, local);
    }

    fn remove_local(&mut self, index: u32) {
        let Some(local) = self.locals.entries.remove(&index) else { return };
        self.unuse(&local.profiles);
        for id in &local.matched {
            self.selection.set_picked(*id, index, false);
        }
        self.locals.rematch.remove(&index);
        self.locals.restack.remove(&index);
        if let Some(told) = local.told {
            self.locals.gone.insert(local.key, told);
        }
    }

    fn unuse(&mut self, profiles: &[ProfileSlot]) {
        for slot in profiles {
            self.profiles.get_mut(*slot).users -= 1;
            self.touched_profiles.insert(*slot);
        }
    }

    // ---- profiles ----

    fn next_id(ids: &mut u32) -> PolicyId {
        let id = PolicyId(*ids);
        *ids = ids.checked_add(1).expect("fewer than 2^32 policies in a process's life");
        id
    }

    fn profile_slot(&mut self, name: &str) -> ProfileSlot {
        self.profiles.slot(name, || Self::next_id(&mut self.ids))
    }

    fn put_stored_profile(&mut self, profile: &Arc<Profile>) {
        let name = &profile.metadata.name;
        let ProfileSpec { ingress, egress, labels_to_apply } = &profile.spec;
        let labels = self.labels.acquire(
            &mut self.symbols,
            labels_to_apply.iter().map(|(key, value)| (key.as_str(), value.as_str())),
        );
        self.problems.remove(&profile.key());
        let rules = if ingress.is_empty() && egress.is_empty() {
            Rules::Empty
        } else {
            let mut read = || {
                Ok(crate::compile::Drafts {
                    ingress: policy::read_rules("ingress", ingress, None, &mut self.parser)?,
                    egress: policy::read_rules("egress", egress, None, &mut self.parser)?,
                })
            };
            let reading = Reading {
                tier: PROFILE_TIER.into(),
                order: f64::INFINITY,
                types: policy::Types::BOTH,
                selector: None,
                rules: read(),
            };
            let key = profile.key();
            if let Err(fault) = &reading.rules {
                self.problems.insert(key.clone(), fault.to_string().into());
            }
            Rules::Compiled(self.compile(&key, reading))
        };
        self.put_profile(name, Some(Source { labels, rules }), Origin::Stored);
    }

    fn derive(&mut self, prefix: &str, name: &str, labels: &StringMap, rules: Rules) -> Source {
        let mut prefixed: Vec<(String, &str)> = Vec::with_capacity(labels.len() + 1);
        prefixed.extend(
            labels
                .iter()
                .filter(|(key, _)| *key != NAME_LABEL)
                .map(|(key, value)| ([prefix, key].concat(), value.as_str())),
        );
        prefixed.push(([prefix, NAME_LABEL].concat(), name));
        let pairs = prefixed.iter().map(|(key, value)| (key.as_str(), *value));
        Source { labels: self.labels.acquire(&mut self.symbols, pairs), rules }
    }

    fn put_profile(&mut self, name: &str, source: Option<Source>, origin: Origin) {
        if source.is_none() && self.profiles.find(name).is_none() {
            return;
        }
        let slot = self.profile_slot(name);
        let entry = self.profiles.get_mut(slot);
        let place = match origin {
            Origin::Stored => &mut entry.stored,
            Origin::Derived => &mut entry.derived,
        };
        let before = std::mem::replace(place, source);
        let labels: Labels = entry.source().map(|source| source.labels.clone()).unwrap_or_default();
        labels.retain(&mut self.symbols);
        self.inheritance.set_labels(slot, labels, &mut self.symbols);
        if let Some(Source { labels, rules }) = before {
            labels.release(&mut self.symbols);
            if let Rules::Compiled(compiled) = rules {
                compiled.release(&mut self.compiler());
            }
        }
        self.touched_profiles.insert(slot);
    }

    // ---- policies and tiers ----

    fn put_policy_as_read(&mut self, key: &ResourceKey, reading: Reading) {
        match &reading.rules {
            Ok(_) if self.problems.is_empty() => {}
            Ok(_) => {
                self.problems.remove(key);
            }
            Err(fault) => {
                self.problems.insert(key.clone(), fault.to_string().into());
            }
        }
        self.put_policy(key, reading);
    }

    /// The conversion has put what denies or allows nothing in the place of these rules.
    fn note_faults(&mut self, key: &ResourceKey, faults: &[RuleFault]) {
        if !faults.is_empty() {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            self.problems.insert(key.clone(), faults.join("; ").into());
        }
    }

    fn put_policy(&mut self, key: &ResourceKey, reading: Reading) {
        let tier = self.tiers.slot(&reading.tier);
        let (order, types) = (reading.order, reading.types);
        let selector =
            reading.selector.as_ref().map(|selector| self.expressions.acquire(selector, &mut self.symbols));
        let compiled = self.compile(key, reading);
        let slot = self.book.slot(key, || Self::next_id(&mut self.ids));
        self.say(slot, Some(Saying { tier, order, types, selector, compiled }));
    }

    fn compile(&mut self, key: &ResourceKey, reading: Reading) -> Compiled {
        let Reading { tier, order: _, types, selector: _, rules } = reading;
        let (rules, not_enforced) = match rules {
            Ok(drafts) => (self.compiler().rules(drafts), None),
            Err(fault) => {
                let deny = |wanted: bool| if wanted { deny_all() } else { Box::default() };
                let (ingress, egress) = (deny(types.ingress), deny(types.egress));
                (CompiledRules { ingress, egress, sets: Arc::default() }, Some(fault.to_string().into()))
            }
        };
        let CompiledRules { ingress, egress, sets } = rules;
        let policy = Policy { key: key.clone(), tier: (*tier).into(), ingress, egress, not_enforced };
        Compiled { policy: Arc::new(policy), sets }
    }

    fn say(&mut self, slot: crate::book::PolicySlot, saying: Option<Saying>) {
        let selector = saying.as_ref().and_then(|saying| saying.selector);
        let before = self.book.say(slot, saying);
        let entry = self.book.get(slot);
        let is_placed_alike = match (&before, &entry.saying) {
            (Some(before), Some(after)) => before.is_placed_as(after),
            (None, None) => true,
            _ => false,
        };
        self.touched.insert(slot);
        if !is_placed_alike {
            let old = before.as_ref().and_then(|before| before.selector);
            if old != selector {
                if let Some(id) = selector {
                    self.selection.add(id, slot, &self.expressions);
                }
                if let Some(id) = old {
                    self.locals.restack.extend(self.selection.picked(id));
                    self.unselect(id, slot);
                }
            }
            if let Some(id) = selector {
                self.locals.restack.extend(self.selection.picked(id));
            }
        }
        if let Some(Saying { selector, compiled, .. }) = before {
            compiled.release(&mut self.compiler());
            if let Some(id) = selector {
                self.expressions.release(id, &mut self.symbols);
            }
        }
    }

    fn unselect(&mut self, id: crate::expression::ExpressionId, slot: crate::book::PolicySlot) {
        for index in self.selection.remove(id, slot, &self.expressions).unwrap_or_default() {
            if let Some(local) = self.locals.entries.get_mut(&index) {
                local.matched.retain(|other| *other != id);
            }
        }
    }

    fn set_tier(&mut self, name: &str, spec: Option<&tortie_api::policy::TierSpec>) {
        if self.tiers.set(name, spec) {
            self.book.disorder();
            self.locals.restack.extend(self.locals.entries.keys());
        }
    }
}

fn namespace_profile(namespace: &str) -> String {
    ["kns.", namespace].concat()
}

fn account_profile(namespace: &str, name: &str) -> String {
    ["ksa.", namespace, ".", name].concat()
}
