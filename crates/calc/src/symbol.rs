//! Texts as numbers: names of labels, names of ports.
//!
//! Each text is held once and counted, so that labels that are long gone take no
//! room. Whoever keeps a [`Symbol`] has acquired it and releases it; a symbol that nobody holds
//! is given to another text later. Nothing here knows what the texts mean.

use std::hash::Hasher as _;

use hashbrown::HashTable;
use rustc_hash::FxHasher;

/// A text by number: equal texts have equal symbols while anybody holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Symbol(u32);

/// All texts in use.
#[derive(Default)]
pub(crate) struct Symbols {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Entry {
    text: Box<str>,
    holders: u32,
    /// Of the text, so that a table that grows reads no texts.
    hash: u32,
    /// Which one was asked for after this one the last time.
    next: u32,
}

fn hash(text: &str) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    fold(hasher.finish())
}

/// The half of a hash that is kept.
pub(crate) fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// A hash for a table from the half that was kept: it is told by the upper bits, too.
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Whether two texts are equal. Most are short, and for those a call costs more than comparing.
fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    match one.len() {
        length if length != other.len() => false,
        8..=16 => {
            one.first_chunk::<8>() == other.first_chunk::<8>()
                && one.last_chunk::<8>() == other.last_chunk::<8>()
        }
        4..8 => {
            one.first_chunk::<4>() == other.first_chunk::<4>()
                && one.last_chunk::<4>() == other.last_chunk::<4>()
        }
        _ => one == other,
    }
}

impl Symbols {
    /// The text's symbol, held once more.
    pub(crate) fn acquire(&mut self, text: &str) -> Symbol {
        let hash = hash(text);
        let Self { table, entries, free } = self;
        let found = table.find(spread(hash), |index| {
            let entry = &entries[*index as usize];
            entry.hash == hash && same(&entry.text, text)
        });
        let index = match found {
            Some(index) => *index,
            None => {
                let index = free.pop().unwrap_or_else(|| {
                    entries.push(Entry::default());
                    u32::try_from(entries.len() - 1).expect("fewer than 2^32 texts fit in memory")
                });
                entries[index as usize] = Entry { text: text.into(), holders: 0, hash, next: 0 };
                table.insert_unique(spread(hash), index, |index| spread(entries[*index as usize].hash));
                index
            }
        };
        entries[index as usize].holders += 1;
        Symbol(index)
    }

    /// The same for a text that comes after another. Objects name their labels in one order, so what came then is
    /// looked at first.
    pub(crate) fn acquire_after(&mut self, before: Option<Symbol>, text: &str) -> Symbol {
        let Some(before) = before else { return self.acquire(text) };
        let next = self.entries[before.0 as usize].next;
        if let Some(entry) = self.entries.get_mut(next as usize)
            && entry.holders > 0
            && same(&entry.text, text)
        {
            entry.holders += 1;
            return Symbol(next);
        }
        let found = self.acquire(text);
        self.entries[before.0 as usize].next = found.0;
        found
    }

    /// Holds a symbol once more.
    pub(crate) fn retain(&mut self, symbol: Symbol) {
        self.entries[symbol.0 as usize].holders += 1;
    }

    /// Gives a symbol back that was acquired or retained.
    pub(crate) fn release(&mut self, symbol: Symbol) {
        let Self { table, entries, free } = self;
        let entry = &mut entries[symbol.0 as usize];
        debug_assert!(entry.holders > 0, "a symbol is released as often as it was acquired");
        entry.holders -= 1;
        if entry.holders == 0 {
            if let Ok(occupied) = table.find_entry(spread(entry.hash), |index| *index == symbol.0) {
                occupied.remove();
            }
            entry.text = Box::default();
            free.push(symbol.0);
        }
    }

    /// The text of a symbol that is held.
    #[cfg(test)]
    fn text(&self, symbol: Symbol) -> &str {
        &self.entries[symbol.0 as usize].text
    }

    /// How many texts are held.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_after_any_other() {
        let mut symbols = Symbols::default();
        let texts = ["app", "role", "tier"];
        let once: Vec<Symbol> = texts.iter().map(|text| symbols.acquire(text)).collect();
        for before in once.iter().copied().map(Some).chain([None]) {
            for (text, symbol) in texts.iter().zip(&once).chain(texts.iter().rev().zip(once.iter().rev())) {
                assert_eq!(symbols.acquire_after(before, text), *symbol);
                symbols.release(*symbol);
            }
        }
        let [app, role, tier] = once.as_slice() else { unreachable!("three texts") };
        assert_eq!(symbols.acquire_after(Some(*app), "tier"), *tier);
        symbols.release(*tier);
        symbols.release(*tier);
        let other = symbols.acquire_after(Some(*app), "zone");
        assert_eq!((symbols.text(other), symbols.text(*role), symbols.len()), ("zone", "role", 3));
    }

    #[test]
    fn a_text_that_nobody_holds_takes_no_room_and_its_number_is_given_again() {
        let mut symbols = Symbols::default();
        let (first, again) = (symbols.acquire("app"), symbols.acquire("app"));
        assert_eq!((first, symbols.len()), (again, 1));
        symbols.release(first);
        assert_eq!(symbols.text(again), "app");
        symbols.release(again);
        assert_eq!(symbols.len(), 0);
        let other = symbols.acquire("web");
        assert_eq!((other, symbols.text(other)), (first, "web"));
    }
}
