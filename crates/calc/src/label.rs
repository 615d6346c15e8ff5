//! Labels as pairs of symbols, and an item's labels as its own over those that it inherits.

use crate::symbol::{Symbol, Symbols};

/// A label: name and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Label {
    /// The name.
    pub(crate) key: Symbol,
    /// The value.
    pub(crate) value: Symbol,
}

/// Labels in the order of their names' symbols, a name once at most.
pub(crate) type LabelList = Box<[Label]>;

/// Puts lists of labels together.
#[derive(Default)]
pub(crate) struct Collector {
    scratch: Vec<Label>,
}

impl Collector {
    /// Acquires the symbols of labels.
    pub(crate) fn acquire<'a>(
        &mut self,
        symbols: &mut Symbols,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> LabelList {
        self.scratch.clear();
        for (key, value) in labels {
            self.scratch.push(Label { key: symbols.acquire(key), value: symbols.acquire(value) });
        }
        self.scratch.sort_unstable_by_key(|label| label.key);
        self.scratch.as_slice().into()
    }
}

/// Holds the symbols of labels once more.
pub(crate) fn retain(symbols: &mut Symbols, labels: &[Label]) {
    for label in labels {
        symbols.retain(label.key);
        symbols.retain(label.value);
    }
}

/// Gives the symbols of labels back.
pub(crate) fn release(symbols: &mut Symbols, labels: &[Label]) {
    for label in labels {
        symbols.release(label.key);
        symbols.release(label.value);
    }
}

/// The value of a label in a sorted list.
pub(crate) fn find(labels: &[Label], key: Symbol) -> Option<Symbol> {
    if labels.len() <= 12 {
        return labels.iter().find(|label| label.key == key).map(|label| label.value);
    }
    let at = labels.binary_search_by_key(&key, |label| label.key).ok()?;
    labels.get(at).map(|label| label.value)
}

/// What selectors see of an item.
#[derive(Clone, Copy)]
pub(crate) struct Effective<'a> {
    /// Its own labels.
    pub(crate) own: &'a [Label],
    /// What it has from its place and its profiles, where it has none of its own.
    pub(crate) inherited: &'a [Label],
}

impl<'a> Effective<'a> {
    /// The value of a label.
    pub(crate) fn get(&self, key: Symbol) -> Option<Symbol> {
        find(self.own, key).or_else(|| find(self.inherited, key))
    }

    /// All labels, each name once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Label> + use<'a> {
        let Self { own, inherited } = *self;
        own.iter()
            .copied()
            .chain(inherited.iter().copied().filter(move |label| find(own, label.key).is_none()))
    }
}
