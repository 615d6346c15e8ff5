//! Which policies apply to which local endpoints: by the policies' selectors.
//!
//! Policies with equal selectors are looked up as one. A policy is in use while its selector
//! picks a local endpoint; selectors that begin or cease to pick any are remembered for `graph`.

use rustc_hash::FxHashMap;

use crate::book::PolicySlot;
use crate::expression::{ExpressionId, Expressions};
use crate::index::SelectorIndex;

/// The selectors of policies.
#[derive(Default)]
pub(crate) struct Selection {
    /// From labels to selectors.
    pub(crate) index: SelectorIndex,
    entries: FxHashMap<ExpressionId, Selected>,
    fresh: Vec<ExpressionId>,
    toggled: Vec<ExpressionId>,
}

/// A selector: whose it is, and whom it picks.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    /// The policies.
    pub(crate) policies: Vec<PolicySlot>,
    /// The local endpoints, by item.
    pub(crate) locals: Vec<u32>,
}

impl Selection {
    /// A policy has the selector now. Whom it picks is found out when the graph flushes.
    pub(crate) fn add(&mut self, id: ExpressionId, policy: PolicySlot, expressions: &Expressions) {
        let entry = self.entries.entry(id).or_default();
        if entry.policies.is_empty() {
            self.index.insert(id, expressions.get(id));
            self.fresh.push(id);
        }
        entry.policies.push(policy);
    }

    /// A policy no longer has the selector. If no other policy has it, those that it picked are
    /// handed back: it picks them no more.
    pub(crate) fn remove(
        &mut self,
        id: ExpressionId,
        policy: PolicySlot,
        expressions: &Expressions,
    ) -> Option<Vec<u32>> {
        let entry = self.entries.get_mut(&id)?;
        entry.policies.retain(|other| *other != policy);
        if !entry.policies.is_empty() {
            return None;
        }
        self.index.remove(id, expressions.get(id));
        self.entries.remove(&id).map(|entry| entry.locals)
    }

    /// Selectors whose picks aren't known yet.
    pub(crate) fn take_fresh(&mut self) -> Vec<ExpressionId> {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.retain(|id| self.entries.contains_key(id));
        fresh.sort_unstable();
        fresh.dedup();
        fresh
    }

    /// A selector picks a local endpoint, or no longer does.
    pub(crate) fn set_picked(&mut self, id: ExpressionId, local: u32, picked: bool) {
        let Some(Selected { policies: _, locals }) = self.entries.get_mut(&id) else { return };
        let were_any = !locals.is_empty();
        match (locals.binary_search(&local), picked) {
            (Err(at), true) => locals.insert(at, local),
            (Ok(at), false) => {
                locals.remove(at);
            }
            (Ok(_), true) | (Err(_), false) => return,
        }
        if were_any == locals.is_empty() {
            self.toggled.push(id);
        }
    }

    /// The policies whose selectors began or ceased to pick anyone.
    pub(crate) fn take_toggled(&mut self) -> Vec<PolicySlot> {
        let toggled = std::mem::take(&mut self.toggled);
        toggled
            .iter()
            .filter_map(|id| self.entries.get(id))
            .flat_map(|entry| entry.policies.iter().copied())
            .collect()
    }

    /// Whom a selector picks, as far as is known.
    pub(crate) fn picked(&self, id: ExpressionId) -> impl Iterator<Item = u32> {
        self.entries.get(&id).into_iter().flat_map(|entry| entry.locals.iter().copied())
    }

    /// A selector.
    pub(crate) fn get(&self, id: ExpressionId) -> Option<&Selected> {
        self.entries.get(&id)
    }
}
