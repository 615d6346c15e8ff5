//! All profiles: those that exist, those that derive from namespaces and service accounts, and
//! those that an endpoint names though they don't exist.
//!
//! `kns.NAMESPACE` has the namespace's labels under `pcns.` and allows everything;
//! `ksa.NAMESPACE.NAME` has the service account's under `pcsa.` and no rules. A profile that
//! doesn't exist denies by its first rule. A stored profile goes before a derived one of its name.
//! The labels go on to `inheritance`, the rules to `graph`.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_dataplane::policy::{Policy, PolicyId};

use crate::compile::{Compiled, allow_all, deny_all};
use crate::inheritance::ProfileSlot;
use crate::label::Labels;

/// The tier under which profiles are told.
pub(crate) const PROFILE_TIER: &str = "__PROFILE__";

/// The profile that always exists and allows everything.
pub(crate) const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

/// What a profile says.
#[derive(Debug)]
pub(crate) struct Source {
    /// The labels that items inherit; holds their symbols.
    pub(crate) labels: Labels,
    /// Its rules.
    pub(crate) rules: Rules,
}

/// What a profile's rules are.
#[derive(Debug, Clone)]
pub(crate) enum Rules {
    /// None.
    Empty,
    /// Everything is denied, for a profile that can't be read.
    DenyAll,
    /// Everything is allowed.
    AllowAll,
    /// As compiled.
    Compiled(Compiled),
}

/// A profile.
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) id: PolicyId,
    /// As stored.
    pub(crate) stored: Option<Source>,
    /// As derived from a namespace or a service account.
    pub(crate) derived: Option<Source>,
    /// How many local endpoints name it.
    pub(crate) users: u32,
    /// What was told of it while it is in use.
    pub(crate) told: Option<Compiled>,
}

impl Entry {
    /// What is told of it.
    pub(crate) fn compiled(&self) -> Compiled {
        let (ingress, egress) = match self.source().map(|source| &source.rules) {
            Some(Rules::Compiled(compiled)) => return compiled.clone(),
            Some(Rules::DenyAll) => (deny_all(), deny_all()),
            Some(Rules::Empty) => (Box::default(), Box::default()),
            Some(Rules::AllowAll) => (allow_all(), allow_all()),
            None if &*self.name == DEFAULT_ALLOW => (allow_all(), allow_all()),
            None => (deny_all(), deny_all()),
        };
        let policy = Policy {
            key: ResourceKey::cluster(Kind::Profile, &self.name),
            tier: PROFILE_TIER.into(),
            ingress,
            egress,
            not_enforced: None,
        };
        Compiled { policy: Arc::new(policy), sets: Arc::default() }
    }

    /// What counts of it, if it exists.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.stored.as_ref().or(self.derived.as_ref())
    }

    /// Whether it exists.
    pub(crate) fn exists(&self) -> bool {
        self.stored.is_some() || self.derived.is_some()
    }
}

/// All profiles.
#[derive(Default)]
pub(crate) struct Profiles {
    by_name: FxHashMap<Arc<str>, ProfileSlot>,
    entries: Vec<Option<Entry>>,
    free: Vec<ProfileSlot>,
}

impl Profiles {
    /// The place of a profile that may be new; `id` is asked for one that is.
    pub(crate) fn slot(&mut self, name: &str, id: impl FnOnce() -> PolicyId) -> ProfileSlot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            ProfileSlot(
                u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 profiles fit in memory"),
            )
        });
        let name: Arc<str> = name.into();
        let entry =
            Entry { name: Arc::clone(&name), id: id(), stored: None, derived: None, users: 0, told: None };
        self.entries[slot.0 as usize] = Some(entry);
        self.by_name.insert(name, slot);
        slot
    }

    /// The place of a profile.
    pub(crate) fn find(&self, name: &str) -> Option<ProfileSlot> {
        self.by_name.get(name).copied()
    }

    /// A profile.
    pub(crate) fn get(&self, slot: ProfileSlot) -> &Entry {
        self.entries[slot.0 as usize].as_ref().expect("a profile's place is kept while anything names it")
    }

    /// A profile.
    pub(crate) fn get_mut(&mut self, slot: ProfileSlot) -> &mut Entry {
        self.entries[slot.0 as usize].as_mut().expect("a profile's place is kept while anything names it")
    }

    /// A profile, if its place is still kept.
    pub(crate) fn get_if_kept(&self, slot: ProfileSlot) -> Option<&Entry> {
        self.entries.get(slot.0 as usize)?.as_ref()
    }

    /// Drops a profile that doesn't exist and isn't in use. Says whether it did.
    pub(crate) fn forget(&mut self, slot: ProfileSlot) -> bool {
        match self.entries.get(slot.0 as usize) {
            Some(Some(entry)) if !entry.exists() && entry.users == 0 && entry.told.is_none() => {
                self.by_name.remove(&entry.name);
                self.entries[slot.0 as usize] = None;
                self.free.push(slot);
                true
            }
            _ => false,
        }
    }

    /// All profiles.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }
}
