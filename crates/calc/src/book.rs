//! All policies: what each says, in which order they go, and what was told of each.
//!
//! A policy keeps its place in the book, and its id, as long as its key lives or it is in use.
//! Ranks are the places of the policies in the one order of all: two policies of one endpoint
//! compare by rank. Who selects whom isn't known here.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;
use tortie_api::kind::ResourceKey;
use tortie_dataplane::policy::PolicyId;

use crate::compile::Compiled;
use crate::expression::ExpressionId;
use crate::policy::Types;
use crate::tier::{TierSlot, Tiers, compare_keys, compare_orders};

/// Up to so many policies are put in their places one by one.
const FEW: usize = 32;

/// A policy by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PolicySlot(u32);

/// What a policy says.
#[derive(Debug, Clone)]
pub(crate) struct Saying {
    pub(crate) tier: TierSlot,
    pub(crate) order: f64,
    pub(crate) types: Types,
    /// Whom it applies to; none: to no workload.
    pub(crate) selector: Option<ExpressionId>,
    pub(crate) compiled: Compiled,
}

impl Saying {
    /// Whether the two stand in the same place of the same stacks.
    pub(crate) fn is_placed_as(&self, other: &Self) -> bool {
        self.tier == other.tier
            && compare_orders(self.order, other.order).is_eq()
            && self.types == other.types
            && self.selector == other.selector
    }
}

/// A policy in the book.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: ResourceKey,
    pub(crate) id: PolicyId,
    /// None once it was deleted.
    pub(crate) saying: Option<Saying>,
    /// What was told of it while it is in use.
    pub(crate) told: Option<Compiled>,
}

/// All policies.
#[derive(Default)]
pub(crate) struct Book {
    by_key: FxHashMap<ResourceKey, PolicySlot>,
    entries: Vec<Option<Entry>>,
    free: Vec<PolicySlot>,
    /// In order, but for those that are not placed.
    ordered: Vec<PolicySlot>,
    /// Whose order changed since.
    unplaced: Vec<PolicySlot>,
    /// Whether the tiers changed places since.
    is_disordered: bool,
    /// By slot.
    places: Vec<Place>,
}

/// Where a policy stands: all that a stack needs to know of it. Kept small and together, since one change may
/// read the places of every policy of every endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The place in the order of all, as of the last [`Book::order`].
    pub(crate) rank: u32,
    pub(crate) id: PolicyId,
    pub(crate) tier: TierSlot,
    /// For no direction if the policy says nothing.
    pub(crate) types: Types,
}

impl Book {
    /// The place of a policy.
    pub(crate) fn find(&self, key: &ResourceKey) -> Option<PolicySlot> {
        self.by_key.get(key).copied()
    }

    /// The place of a policy that may be new; `id` is asked for one that is.
    pub(crate) fn slot(&mut self, key: &ResourceKey, id: impl FnOnce() -> PolicyId) -> PolicySlot {
        if let Some(slot) = self.by_key.get(key) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            PolicySlot(u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 policies fit in memory"))
        });
        let id = id();
        self.entries[slot.0 as usize] = Some(Entry { key: key.clone(), id, saying: None, told: None });
        let place = Place { rank: 0, id, tier: TierSlot::default(), types: Types::NONE };
        match self.places.get_mut(slot.0 as usize) {
            Some(old) => *old = place,
            None => self.places.push(place),
        }
        self.by_key.insert(key.clone(), slot);
        slot
    }

    /// A policy.
    pub(crate) fn get(&self, slot: PolicySlot) -> &Entry {
        self.entries[slot.0 as usize].as_ref().expect("a policy's place is kept while anything names it")
    }

    /// A policy.
    pub(crate) fn get_mut(&mut self, slot: PolicySlot) -> &mut Entry {
        self.entries[slot.0 as usize].as_mut().expect("a policy's place is kept while anything names it")
    }

    /// Gives a policy another saying; the one before is handed back.
    pub(crate) fn say(&mut self, slot: PolicySlot, saying: Option<Saying>) -> Option<Saying> {
        let place = &mut self.places[slot.0 as usize];
        (place.tier, place.types) =
            saying.as_ref().map_or((place.tier, Types::NONE), |saying| (saying.tier, saying.types));
        let entry = self.get_mut(slot);
        let before = std::mem::replace(&mut entry.saying, saying);
        let same_order = match (&before, &entry.saying) {
            (Some(before), Some(after)) => {
                before.tier == after.tier && compare_orders(before.order, after.order).is_eq()
            }
            (None, None) => true,
            _ => false,
        };
        if !same_order {
            self.unplaced.push(slot);
        }
        before
    }

    /// Drops a policy that was deleted and isn't in use any more.
    pub(crate) fn forget(&mut self, slot: PolicySlot) {
        if let Some(Some(Entry { key, saying: None, told: None, .. })) = self.entries.get(slot.0 as usize) {
            self.by_key.remove(key);
            self.entries[slot.0 as usize] = None;
            self.unplaced.retain(|other| *other != slot);
            self.free.push(slot);
        }
    }

    /// The tiers changed places.
    pub(crate) fn disorder(&mut self) {
        self.is_disordered = true;
    }

    /// Where a policy stands.
    pub(crate) fn place(&self, slot: PolicySlot) -> Place {
        self.places[slot.0 as usize]
    }

    /// Gives every policy its rank, if an order changed. Costs a pass over the numbers of those from the first
    /// that changed on.
    pub(crate) fn order(&mut self, tiers: &Tiers) {
        let mut unplaced = std::mem::take(&mut self.unplaced);
        let is_disordered = std::mem::take(&mut self.is_disordered);
        if unplaced.is_empty() && !is_disordered {
            return;
        }
        unplaced.sort_unstable();
        unplaced.dedup();
        let mut ordered = std::mem::take(&mut self.ordered);
        let mut first = 0;
        if is_disordered || unplaced.len() > FEW {
            ordered.retain(|slot| unplaced.binary_search(slot).is_err());
            ordered.extend(unplaced.into_iter().filter(|slot| self.get(*slot).saying.is_some()));
            ordered.sort_unstable_by(|one, other| self.compare(*one, *other, tiers));
        } else {
            let rank = |slot: &PolicySlot| self.place(*slot).rank as usize;
            let mut stale: Vec<usize> =
                unplaced.iter().filter(|slot| ordered.get(rank(slot)) == Some(slot)).map(rank).collect();
            stale.sort_unstable();
            first = stale.first().copied().unwrap_or(ordered.len());
            for at in stale.into_iter().rev() {
                ordered.remove(at);
            }
            for slot in unplaced.into_iter().filter(|slot| self.get(*slot).saying.is_some()) {
                let at = ordered.partition_point(|other| self.compare(*other, slot, tiers).is_lt());
                ordered.insert(at, slot);
                first = first.min(at);
            }
        }
        for (rank, slot) in (0u32..).zip(&ordered).skip(first) {
            self.places[slot.0 as usize].rank = rank;
        }
        self.ordered = ordered;
    }

    fn compare(&self, one: PolicySlot, other: PolicySlot, tiers: &Tiers) -> Ordering {
        let (one, other) = (self.get(one), self.get(other));
        match (&one.saying, &other.saying) {
            (Some(said), Some(other_said)) => tiers
                .compare(said.tier, other_said.tier)
                .then_with(|| compare_orders(said.order, other_said.order)),
            _ => Ordering::Equal,
        }
        .then_with(|| compare_keys(&one.key, &other.key))
    }

    /// All policies.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }
}
