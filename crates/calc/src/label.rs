//! Labels: names as symbols, values as texts, and an item's own over those that it inherits.
//!
//! Names are few and asked for by every selector, so they are numbers. Values are many, and most
//! are of labels that no selector names (hashes of templates, names of pods): they are copied,
//! nothing else, and compared as texts by whoever asks. Nothing here knows selectors.

use crate::symbol::{Symbol, Symbols};

/// A label: name and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label<'a> {
    /// The name.
    pub(crate) key: Symbol,
    /// The value.
    pub(crate) value: &'a str,
}

/// Labels in the order in which they came, a name once at most. Holds the symbols of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    heads: Box<[Head]>,
    /// The values, one after the other.
    values: Box<str>,
}

/// A name, and where its value begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    key: Symbol,
    begin: u32,
}

impl Labels {
    /// The value of a label.
    pub(crate) fn get(&self, key: Symbol) -> Option<&str> {
        let at = self.heads.iter().position(|head| head.key == key)?;
        Some(self.value(at))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Label<'_>> {
        self.heads.iter().enumerate().map(|(at, head)| Label { key: head.key, value: self.value(at) })
    }

    fn value(&self, at: usize) -> &str {
        let place = |at: usize| self.heads.get(at).map_or(self.values.len(), |head| head.begin as usize);
        &self.values[place(at)..place(at + 1)]
    }

    /// Holds the symbols once more, for a copy.
    pub(crate) fn retain(&self, symbols: &mut Symbols) {
        self.heads.iter().for_each(|head| symbols.retain(head.key));
    }

    /// Gives the symbols back.
    pub(crate) fn release(&self, symbols: &mut Symbols) {
        self.heads.iter().for_each(|head| symbols.release(head.key));
    }
}

/// Puts labels together.
#[derive(Default)]
pub(crate) struct Collector {
    heads: Vec<Head>,
    values: String,
}

impl Collector {
    /// Labels from names and values; acquires the symbols.
    pub(crate) fn acquire<'a>(
        &mut self,
        symbols: &mut Symbols,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Labels {
        let mut before = None;
        for (key, value) in labels {
            let key = symbols.acquire_after(before, key);
            self.push(Label { key, value });
            before = Some(key);
        }
        self.finish()
    }

    /// Adds a label unless one of its name is there. The symbol isn't acquired.
    pub(crate) fn push_new(&mut self, label: Label<'_>) {
        if self.heads.iter().all(|head| head.key != label.key) {
            self.push(label);
        }
    }

    /// What was added.
    pub(crate) fn finish(&mut self) -> Labels {
        let labels = Labels { heads: self.heads.as_slice().into(), values: self.values.as_str().into() };
        self.heads.clear();
        self.values.clear();
        labels
    }

    fn push(&mut self, Label { key, value }: Label<'_>) {
        let begin = u32::try_from(self.values.len()).expect("an object's labels are less than 4 GiB");
        self.heads.push(Head { key, begin });
        self.values.push_str(value);
    }
}

/// What selectors see of an item.
#[derive(Clone, Copy)]
pub(crate) struct Effective<'a> {
    /// Its own labels.
    pub(crate) own: &'a Labels,
    /// What it has from its place and its profiles, where it has none of its own.
    pub(crate) inherited: &'a Labels,
}

impl<'a> Effective<'a> {
    /// The value of a label.
    pub(crate) fn get(&self, key: Symbol) -> Option<&'a str> {
        self.own.get(key).or_else(|| self.inherited.get(key))
    }

    /// All labels, each name once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Label<'a>> + use<'a> {
        let Self { own, inherited } = *self;
        own.iter().chain(inherited.iter().filter(move |label| own.get(label.key).is_none()))
    }
}
