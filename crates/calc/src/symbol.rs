//! Texts as numbers: names and values of labels, names of ports.
//!
//! Each text is held once and counted, so that the names of pods that are long gone take no
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
}

fn hash(text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
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
        let Self { table, entries, free } = self;
        let hash_of = hash(text);
        let found = table.find(hash_of, |index| same(&entries[*index as usize].text, text));
        let index = match found {
            Some(index) => *index,
            None => {
                let index = free.pop().unwrap_or_else(|| {
                    entries.push(Entry::default());
                    u32::try_from(entries.len() - 1).expect("fewer than 2^32 texts fit in memory")
                });
                entries[index as usize].text = text.into();
                table.insert_unique(hash_of, index, |index| hash(&entries[*index as usize].text));
                index
            }
        };
        entries[index as usize].holders += 1;
        Symbol(index)
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
            if let Ok(occupied) = table.find_entry(hash(&entry.text), |index| *index == symbol.0) {
                occupied.remove();
            }
            entry.text = Box::default();
            free.push(symbol.0);
        }
    }

    /// The text of a symbol that is held.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
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
