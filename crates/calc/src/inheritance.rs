//! Which labels an item has from its place and its profiles.
//!
//! Items with the same profiles in the same namespace share one *group*, and the group's labels
//! are worked out once: what the place forces on its items (namespace, orchestrator, service
//! account), then the labels of the profiles, the first profile that has a label wins. When a
//! profile's labels change, its groups are marked; the graph asks for them when it flushes.
//! What a profile's rules say is not known here: see `profiles`.

use roaring::RoaringBitmap;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::label::{Collector, Labels};
use crate::symbol::Symbols;

/// A profile by number: one that exists, or one that an item names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ProfileSlot(pub(crate) u32);

/// A group by number, given again when it has no items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupId(u32);

/// Items that inherit the same.
#[derive(Debug, Default)]
pub(crate) struct Group {
    key: GroupKey,
    place: Place,
    inherited: Labels,
    items: RoaringBitmap,
}

/// What puts an item into a group, as it is written in objects: each text with its length before
/// it. Found by it, a group costs no symbols.
pub(crate) type Place = Box<[u8]>;

/// Writes a text of a [`Place`].
pub(crate) fn write_place(place: &mut Vec<u8>, text: &str) {
    place.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    place.extend(text.as_bytes());
}

#[derive(Debug, Default)]
struct GroupKey {
    profiles: Box<[ProfileSlot]>,
    forced: Labels,
}

impl Group {
    /// The profiles, in the order in which items name them.
    pub(crate) fn profiles(&self) -> &[ProfileSlot] {
        &self.key.profiles
    }

    /// What the items inherit.
    pub(crate) fn inherited(&self) -> &Labels {
        &self.inherited
    }

    /// The items' numbers.
    pub(crate) fn items(&self) -> &RoaringBitmap {
        &self.items
    }
}

/// All groups, and the labels of all profiles.
#[derive(Default)]
pub(crate) struct Inheritance {
    groups: Vec<Group>,
    by_place: FxHashMap<Place, GroupId>,
    free: Vec<GroupId>,
    profiles: FxHashMap<ProfileSlot, ProfileLabels>,
    dirty: FxHashSet<GroupId>,
}

#[derive(Default)]
struct ProfileLabels {
    labels: Labels,
    groups: Vec<GroupId>,
}

/// A group whose labels changed.
pub(crate) struct GroupChange {
    /// Which one.
    pub(crate) group: GroupId,
    /// What its items inherited until now. The caller releases it when it is done.
    pub(crate) before: Labels,
}

impl Inheritance {
    /// Adds an item to the group of its place, if there is one.
    pub(crate) fn join(&mut self, item: u32, place: &[u8]) -> Option<GroupId> {
        let id = *self.by_place.get(place)?;
        let items = &mut self.groups[id.0 as usize].items;
        // Most items come in the order of their numbers.
        if items.try_push(item).is_err() {
            items.insert(item);
        }
        Some(id)
    }

    /// Begins a group for a place that has none. Takes the hold on the forced labels over.
    pub(crate) fn begin(
        &mut self,
        item: u32,
        place: &[u8],
        profiles: Vec<ProfileSlot>,
        forced: Labels,
        symbols: &mut Symbols,
    ) -> GroupId {
        let key = GroupKey { profiles: profiles.into(), forced };
        let id = self.free.pop().unwrap_or_else(|| {
            self.groups.push(Group::default());
            GroupId(u32::try_from(self.groups.len() - 1).expect("fewer than 2^32 groups fit in memory"))
        });
        for profile in &key.profiles {
            let groups = &mut self.profiles.entry(*profile).or_default().groups;
            if !groups.contains(&id) {
                groups.push(id);
            }
        }
        let inherited = self.inherit(&key);
        inherited.retain(symbols);
        self.by_place.insert(place.into(), id);
        let items = RoaringBitmap::from_iter([item]);
        self.groups[id.0 as usize] = Group { key, place: place.into(), inherited, items };
        id
    }

    /// Takes an item out of its group.
    pub(crate) fn leave(&mut self, item: u32, id: GroupId, symbols: &mut Symbols) {
        let group = &mut self.groups[id.0 as usize];
        group.items.remove(item);
        if !group.items.is_empty() {
            return;
        }
        let Group { key, place, inherited, items: _ } = std::mem::take(group);
        self.by_place.remove(&place);
        for profile in &key.profiles {
            if let Some(labels) = self.profiles.get_mut(profile) {
                labels.groups.retain(|other| *other != id);
            }
        }
        inherited.release(symbols);
        key.forced.release(symbols);
        self.dirty.remove(&id);
        self.free.push(id);
    }

    /// A group that has items.
    pub(crate) fn group(&self, id: GroupId) -> &Group {
        &self.groups[id.0 as usize]
    }

    /// Gives a profile other labels; none for a profile that doesn't exist. Takes the hold on
    /// them over.
    pub(crate) fn set_labels(&mut self, profile: ProfileSlot, labels: Labels, symbols: &mut Symbols) {
        let entry = self.profiles.entry(profile).or_default();
        if entry.labels == labels {
            labels.release(symbols);
        } else {
            let before = std::mem::replace(&mut entry.labels, labels);
            before.release(symbols);
            self.dirty.extend(&entry.groups);
        }
    }

    /// Whether any item names the profile.
    pub(crate) fn is_named(&self, profile: ProfileSlot) -> bool {
        self.profiles.get(&profile).is_some_and(|labels| !labels.groups.is_empty())
    }

    /// Drops a profile that no item names and that doesn't exist.
    pub(crate) fn forget(&mut self, profile: ProfileSlot, symbols: &mut Symbols) {
        if let Some(ProfileLabels { labels, groups: _ }) = self.profiles.remove(&profile) {
            labels.release(symbols);
        }
    }

    /// Works out the labels of groups whose profiles changed.
    pub(crate) fn refresh(&mut self, symbols: &mut Symbols) -> Vec<GroupChange> {
        let mut dirty: Vec<GroupId> = self.dirty.drain().collect();
        dirty.sort_unstable();
        let mut changes = Vec::new();
        for id in dirty {
            let inherited = self.inherit(&self.groups[id.0 as usize].key);
            let group = &mut self.groups[id.0 as usize];
            if group.inherited != inherited {
                inherited.retain(symbols);
                let before = std::mem::replace(&mut group.inherited, inherited);
                changes.push(GroupChange { group: id, before });
            }
        }
        changes
    }

    /// The symbols aren't held yet.
    fn inherit(&self, key: &GroupKey) -> Labels {
        let profiles = key.profiles.iter().filter_map(|profile| self.profiles.get(profile));
        let mut collector = Collector::default();
        key.forced.iter().for_each(|label| collector.push_new(label));
        profiles.flat_map(|profile| profile.labels.iter()).for_each(|label| collector.push_new(label));
        collector.finish()
    }
}
