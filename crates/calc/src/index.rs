//! From an item's labels to the selectors that may match it.
//!
//! A selector is filed under one of the terms that it requires: under the one that the fewest
//! selectors require at that time. So of 10,000 selectors that all require `env == "prod"` and
//! each something else, a new item meets a few, not 10,000. Selectors that require nothing are
//! asked every time.

use rustc_hash::FxHashMap;

use crate::expression::{Expression, ExpressionId, Term};
use crate::label::Effective;
use crate::symbol::Symbol;

/// Which selectors to ask about an item.
#[derive(Default)]
pub(crate) struct SelectorIndex {
    keys: FxHashMap<Symbol, KeyEntry>,
    unrestricted: Vec<ExpressionId>,
    filed: FxHashMap<ExpressionId, Option<Term>>,
}

/// The selectors that require something of one label.
#[derive(Default)]
struct KeyEntry {
    present: Posting,
    values: FxHashMap<Box<str>, Posting>,
}

#[derive(Default)]
struct Posting {
    /// How many selectors require the term, filed here or not.
    required: u32,
    filed: Vec<ExpressionId>,
}

impl Posting {
    fn is_unused(&self) -> bool {
        self.required == 0 && self.filed.is_empty()
    }
}

impl SelectorIndex {
    /// Files a selector. It must not be filed already.
    pub(crate) fn insert(&mut self, id: ExpressionId, expression: &Expression) {
        if expression.impossible {
            return;
        }
        let rarest = expression.terms.iter().min_by_key(|term| self.cost(term));
        for term in &expression.terms {
            self.postings(term, |posting| posting.required += 1);
        }
        match rarest {
            Some(term) => self.postings(term, |posting| posting.filed.push(id)),
            None => self.unrestricted.push(id),
        }
        self.filed.insert(id, rarest.cloned());
    }

    /// Takes a selector out.
    pub(crate) fn remove(&mut self, id: ExpressionId, expression: &Expression) {
        let Some(filed) = self.filed.remove(&id) else { return };
        match filed {
            Some(term) => self.postings(&term, |posting| posting.filed.retain(|other| *other != id)),
            None => self.unrestricted.retain(|other| *other != id),
        }
        for term in &expression.terms {
            self.postings(term, |posting| posting.required -= 1);
            if let Some(entry) = self.keys.get_mut(&term.key()) {
                if let Term::OneOf(_, values) = term {
                    for value in values {
                        if entry.values.get(value).is_some_and(Posting::is_unused) {
                            entry.values.remove(value);
                        }
                    }
                }
                if entry.present.is_unused() && entry.values.is_empty() {
                    self.keys.remove(&term.key());
                }
            }
        }
    }

    /// Calls with each selector that may match, once. Those not named don't match.
    pub(crate) fn candidates(&self, labels: &Effective<'_>, mut found: impl FnMut(ExpressionId)) {
        self.unrestricted.iter().copied().for_each(&mut found);
        if self.keys.is_empty() {
            return;
        }
        for label in labels.iter() {
            if let Some(entry) = self.keys.get(&label.key) {
                entry.present.filed.iter().copied().for_each(&mut found);
                if let Some(posting) = entry.values.get(label.value) {
                    posting.filed.iter().copied().for_each(&mut found);
                }
            }
        }
    }

    /// Whether any selector requires something of the label.
    pub(crate) fn requires(&self, key: Symbol) -> bool {
        self.keys.contains_key(&key)
    }

    fn cost(&self, term: &Term) -> u32 {
        let Some(entry) = self.keys.get(&term.key()) else { return 0 };
        match term {
            Term::Present(_) => entry.present.required,
            Term::OneOf(_, values) => {
                values.iter().map(|value| entry.values.get(value).map_or(0, |posting| posting.required)).sum()
            }
        }
    }

    fn postings(&mut self, term: &Term, mut change: impl FnMut(&mut Posting)) {
        let entry = self.keys.entry(term.key()).or_default();
        match term {
            Term::Present(_) => change(&mut entry.present),
            Term::OneOf(_, values) => {
                for value in values {
                    change(entry.values.entry(value.clone()).or_default());
                }
            }
        }
    }
}
