//! The sets that rules name: equal meaning is one set, counted, active only while a policy in
//! use on this node names it.
//!
//! ```text
//!  define / undefine        a compiled policy names the set, in use or not
//!  activate / deactivate    a policy that applies to a local endpoint names it
//!  applied                  addresses have been given their membership (the graph says so)
//! ```
//! Which addresses are in a set isn't known here.

use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use tortie_dataplane::policy::SetId;

use crate::expression::{ExpressionId, Expressions};
use crate::symbol::{Symbol, Symbols};

/// What a set means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Meaning {
    /// The addresses of what the selector picks.
    Selector(ExpressionId),
    /// What is within any of these nets: sorted, without doubles.
    Nets(Arc<[IpNet]>),
    /// The addresses of endpoints that the selector picks and that have the named port.
    Port {
        /// The port's name.
        name: Symbol,
        /// The protocol's number.
        protocol: u8,
        /// Which endpoints.
        selector: ExpressionId,
    },
    /// What stands behind a service.
    Service {
        /// `namespace/name`.
        name: Symbol,
        /// Whether the port must be one that is served there.
        with_ports: bool,
    },
}

struct Entry {
    meaning: Meaning,
    defined: u32,
    active: u32,
    applied: bool,
}

/// All sets.
#[derive(Default)]
pub(crate) struct Sets {
    by_meaning: FxHashMap<Meaning, SetId>,
    entries: FxHashMap<SetId, Entry>,
    given: u32,
    changed: Vec<SetId>,
}

impl Sets {
    /// The set of that meaning, defined once more. Takes the hold on the expression and the
    /// symbol over.
    pub(crate) fn define(
        &mut self,
        meaning: Meaning,
        expressions: &mut Expressions,
        symbols: &mut Symbols,
    ) -> SetId {
        if let Some(id) = self.by_meaning.get(&meaning) {
            let id = *id;
            release(&meaning, expressions, symbols);
            self.entries.get_mut(&id).expect("a set that has a meaning is there").defined += 1;
            return id;
        }
        let id = SetId(self.given);
        self.given = self.given.checked_add(1).expect("fewer than 2^32 sets in a process's life");
        self.by_meaning.insert(meaning.clone(), id);
        self.entries.insert(id, Entry { meaning, defined: 1, active: 0, applied: false });
        id
    }

    /// Takes a definition back.
    pub(crate) fn undefine(&mut self, id: SetId, expressions: &mut Expressions, symbols: &mut Symbols) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.defined -= 1;
            self.forget(id, expressions, symbols);
        }
    }

    /// A policy in use names the set.
    pub(crate) fn activate(&mut self, id: SetId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.active += 1;
            if entry.active == 1 {
                self.changed.push(id);
            }
        }
    }

    /// A policy that was in use named the set.
    pub(crate) fn deactivate(&mut self, id: SetId, expressions: &mut Expressions, symbols: &mut Symbols) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.active -= 1;
            if entry.active == 0 {
                self.changed.push(id);
            }
            self.forget(id, expressions, symbols);
        }
    }

    /// The sets that are active and not applied, or applied and not active any more; sorted.
    /// Marks them so.
    pub(crate) fn take_changes(&mut self) -> (Vec<SetId>, Vec<SetId>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for id in changed {
            if let Some(entry) = self.entries.get_mut(&id) {
                match (entry.active > 0, entry.applied) {
                    (true, false) => begun.push(id),
                    (false, true) => ended.push(id),
                    (true, true) | (false, false) => continue,
                }
                entry.applied = !entry.applied;
            }
        }
        (begun, ended)
    }

    /// Drops a set that [`Self::take_changes`] said has ended, once its memberships are gone.
    pub(crate) fn end(&mut self, id: SetId, expressions: &mut Expressions, symbols: &mut Symbols) {
        self.forget(id, expressions, symbols);
    }

    /// What a set means.
    pub(crate) fn meaning(&self, id: SetId) -> &Meaning {
        &self.entries.get(&id).expect("a set is there while it is defined, active or applied").meaning
    }

    /// How many sets are active.
    pub(crate) fn active(&self) -> usize {
        self.entries.values().filter(|entry| entry.active > 0).count()
    }

    fn forget(&mut self, id: SetId, expressions: &mut Expressions, symbols: &mut Symbols) {
        let Some(Entry { meaning: _, defined: 0, active: 0, applied: false }) = self.entries.get(&id) else {
            return;
        };
        if let Some(entry) = self.entries.remove(&id) {
            self.by_meaning.remove(&entry.meaning);
            release(&entry.meaning, expressions, symbols);
        }
    }
}

fn release(meaning: &Meaning, expressions: &mut Expressions, symbols: &mut Symbols) {
    match meaning {
        Meaning::Selector(selector) => expressions.release(*selector, symbols),
        Meaning::Nets(_) => {}
        Meaning::Port { name, protocol: _, selector } => {
            expressions.release(*selector, symbols);
            symbols.release(*name);
        }
        Meaning::Service { name, with_ports: _ } => symbols.release(*name),
    }
}
