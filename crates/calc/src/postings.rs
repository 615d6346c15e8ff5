//! From a selector to the items that may match it: which items have a label, and with which value.
//!
//! Only labels that a selector was looked up by are posted, so that a hundred labels on each of
//! a million pods cost nothing until somebody asks. Bitmaps over item numbers.

use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;

use crate::expression::Expression;
use crate::expression::Term;
use crate::label::{Effective, Label};
use crate::symbol::Symbol;

/// The items by label, for the labels that were asked for.
#[derive(Default)]
pub(crate) struct Postings {
    keys: FxHashMap<Symbol, KeyPostings>,
}

#[derive(Default)]
struct KeyPostings {
    present: RoaringBitmap,
    values: FxHashMap<Box<str>, RoaringBitmap>,
}

impl KeyPostings {
    fn insert(&mut self, item: u32, value: &str) {
        self.present.insert(item);
        match self.values.get_mut(value) {
            Some(items) => {
                items.insert(item);
            }
            None => {
                self.values.insert(value.into(), RoaringBitmap::from_iter([item]));
            }
        }
    }
}

impl Postings {
    /// Whether any label is posted.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Posts an item's label, if such labels are posted.
    pub(crate) fn insert(&mut self, item: u32, label: Label<'_>) {
        if let Some(entry) = self.keys.get_mut(&label.key) {
            entry.insert(item, label.value);
        }
    }

    /// Takes an item's label out.
    pub(crate) fn remove(&mut self, item: u32, label: Label<'_>) {
        if let Some(entry) = self.keys.get_mut(&label.key) {
            entry.present.remove(item);
            if let Some(items) = entry.values.get_mut(label.value) {
                items.remove(item);
                if items.is_empty() {
                    entry.values.remove(label.value);
                }
            }
        }
    }

    /// Begins to post all labels that the expressions require: one pass over the items for those
    /// that weren't posted yet.
    pub(crate) fn cover<'a>(
        &mut self,
        expressions: impl Iterator<Item = &'a Expression>,
        items: impl Iterator<Item = (u32, Effective<'a>)>,
    ) {
        let mut fresh: FxHashMap<Symbol, KeyPostings> = FxHashMap::default();
        for term in expressions.flat_map(|expression| &expression.terms) {
            if !self.keys.contains_key(&term.key()) {
                fresh.entry(term.key()).or_default();
            }
        }
        if fresh.is_empty() {
            return;
        }
        for (item, labels) in items {
            for label in labels.iter() {
                if let Some(entry) = fresh.get_mut(&label.key) {
                    entry.insert(item, label.value);
                }
            }
        }
        self.keys.extend(fresh);
    }

    /// The items that may match, by the rarest of the terms. `None`: any item may.
    pub(crate) fn candidates(&self, expression: &Expression) -> Option<RoaringBitmap> {
        if expression.impossible {
            return Some(RoaringBitmap::new());
        }
        let rarest = expression.terms.iter().min_by_key(|term| self.size(term))?;
        let Some(entry) = self.keys.get(&rarest.key()) else { return Some(RoaringBitmap::new()) };
        Some(match rarest {
            Term::Present(_) => entry.present.clone(),
            Term::OneOf(_, values) => values.iter().filter_map(|value| entry.values.get(value)).fold(
                RoaringBitmap::new(),
                |mut all, items| {
                    all |= items;
                    all
                },
            ),
        })
    }

    /// Stops to post labels that nothing asks for any more.
    pub(crate) fn forget(&mut self, unused: impl Fn(Symbol) -> bool) {
        self.keys.retain(|key, _| !unused(*key));
    }

    fn size(&self, term: &Term) -> u64 {
        let Some(entry) = self.keys.get(&term.key()) else { return 0 };
        match term {
            Term::Present(_) => entry.present.len(),
            Term::OneOf(_, values) => {
                values.iter().filter_map(|value| entry.values.get(value)).map(RoaringBitmap::len).sum()
            }
        }
    }
}
