//! Ports that a stack opens to everyone: those of its L4 classes that are allowed whatever the other side's class.
//!
//! An entry `(stack, ANY, L4 class)` decides alone if no entry `(stack, class, L4 class)` stands beside it. Then its
//! counter is also in [`Map::Open`], which a stack's chain asks first: the other side's address and the entries of its
//! class are not looked up. The entry itself stays where it is, so that taking it out of that map is safe at any time.
//!
//! Only where entries of a class all have an L4 class is that to be seen from the keys, and only an allowed path
//! without Log rules is worth it.

use super::change::Changes;
use super::keys;
use super::layout::Generation;
use std::collections::{BTreeMap, BTreeSet};
use tortie_dataplane::flat::{ClassId, EntryKey, L4ClassId, L4Key, Levels, Outcome, PathId, StackId, Tables};

/// A stack and an L4 class.
type Port = (StackId, L4ClassId);

/// What is in [`super::layout::Map::Open`], and what it follows from.
#[derive(Debug, Default)]
pub struct Open {
    /// How many entries of a class (not of ANY) there are.
    of_classes: BTreeMap<Port, u32>,
    /// What is in the map.
    placed: BTreeMap<Port, PathId>,
    /// Whose entries changed since [`Open::settle`].
    touched: BTreeSet<Port>,
}

/// Whether a stack's chain asks for open ports.
#[must_use]
pub fn asks(id: StackId, levels: &Levels) -> bool {
    let Levels { class_l4, class_protocol, class_any, any_l4, any_protocol: _, allow, deny: _, log: _ } =
        *levels;
    class_l4 && !class_protocol && !class_any && any_l4 && allow && id.0 < keys::OPEN_STACKS
}

impl Open {
    /// An entry comes.
    pub fn add(&mut self, key: EntryKey) {
        if let Some(count) = self.touch(key) {
            *count += 1;
        }
    }

    /// An entry goes.
    pub fn remove(&mut self, key: EntryKey) {
        if let Some(count) = self.touch(key) {
            *count = count.saturating_sub(1);
        }
    }

    /// A stack's chain asks for other things than before.
    pub fn look_again(&mut self, stack: StackId, tables: &Tables) {
        let of_any = |l4| EntryKey { stack, class: ClassId::ANY, l4 };
        let first = of_any(L4Key::Class(L4ClassId { protocol: 0, index: 0 }));
        for (key, _) in tables.entries.range(first..=of_any(L4Key::Any)) {
            self.touch(*key);
        }
    }

    /// The count that an entry belongs to, if it is one of a class.
    fn touch(&mut self, key: EntryKey) -> Option<&mut u32> {
        let L4Key::Class(l4) = key.l4 else { return None };
        self.touched.insert((key.stack, l4));
        (key.class != ClassId::ANY).then(|| self.of_classes.entry((key.stack, l4)).or_insert(0))
    }

    /// Brings the map up to date with `tables`, which are as after all changes.
    pub fn settle(
        &mut self,
        tables: &Tables,
        logs: impl Fn(PathId) -> bool,
        generation: Generation,
        changes: &mut Changes,
    ) {
        for port @ (stack, l4) in std::mem::take(&mut self.touched) {
            let classes = self.of_classes.get(&port).copied().unwrap_or(0);
            if classes == 0 {
                self.of_classes.remove(&port);
            }
            let asks = tables.stacks.get(&stack).is_some_and(|chain| asks(stack, &chain.levels));
            let key = EntryKey { stack, class: ClassId::ANY, l4: L4Key::Class(l4) };
            let wanted = tables
                .entries
                .get(&key)
                .filter(|verdict| asks && classes == 0 && verdict.outcome == Outcome::Allow)
                .map(|verdict| verdict.path)
                .filter(|path| !logs(*path));
            let before = match wanted {
                Some(path) => self.placed.insert(port, path),
                None => self.placed.remove(&port),
            };
            if before == wanted {
                continue;
            }
            if let Some(path) = before {
                let (map, element) = keys::open(stack, l4, path, generation);
                changes.remove(map, element);
            }
            if let Some(path) = wanted {
                let (map, element) = keys::open(stack, l4, path, generation);
                changes.add(map, element);
            }
        }
    }

    /// All that is in the map.
    pub fn elements(&self, generation: Generation) -> impl Iterator<Item = keys::Placed> {
        self.placed.iter().map(move |((stack, l4), path)| keys::open(*stack, *l4, *path, generation))
    }
}
