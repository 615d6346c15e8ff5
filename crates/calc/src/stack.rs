//! Stacks: the policies of an endpoint's direction in order, tier by tier; equal lists shared.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::policy::Direction;
use tortie_dataplane::policy::{PolicyId, Stack, StackTier};

use crate::book::{Book, Place, PolicySlot};
use crate::expression::ExpressionId;
use crate::selection::Selection;
use crate::tier::Tiers;

/// Stacks in use.
#[derive(Default)]
pub(crate) struct Stacks {
    shared: FxHashSet<Arc<Stack>>,
    /// Of this flush: the tiers of endpoints that the same selectors pick.
    tiers: FxHashMap<Box<[ExpressionId]>, [Box<[StackTier]>; 2]>,
}

/// What stacks are made from.
pub(crate) struct Sources<'a> {
    pub(crate) book: &'a Book,
    pub(crate) tiers: &'a Tiers,
    pub(crate) selection: &'a Selection,
}

impl Stacks {
    /// The stacks for ingress and egress of an endpoint that these selectors pick.
    pub(crate) fn build(
        &mut self,
        matched: &[ExpressionId],
        profiles: &[PolicyId],
        sources: &Sources<'_>,
    ) -> [Arc<Stack>; 2] {
        let tiers = match self.tiers.get(matched) {
            Some(tiers) => tiers.clone(),
            None => {
                let tiers = tiers(matched, sources);
                self.tiers.insert(matched.into(), tiers.clone());
                tiers
            }
        };
        tiers.map(|tiers| {
            let stack = Stack { tiers, profiles: profiles.into() };
            match self.shared.get(&stack) {
                Some(stack) => Arc::clone(stack),
                None => {
                    let stack = Arc::new(stack);
                    self.shared.insert(Arc::clone(&stack));
                    stack
                }
            }
        })
    }

    /// Forgets what nobody uses, and what holds for one flush only.
    pub(crate) fn sweep(&mut self) {
        if !self.tiers.is_empty() {
            self.tiers = FxHashMap::default();
            self.shared.retain(|stack| Arc::strong_count(stack) > 1);
        }
    }
}

/// The tiers of both directions, in one pass over the policies.
fn tiers(matched: &[ExpressionId], sources: &Sources<'_>) -> [Box<[StackTier]>; 2] {
    let Sources { book, tiers, selection } = sources;
    let mut picking: Vec<&[PolicySlot]> =
        matched.iter().filter_map(|id| selection.get(*id)).map(|entry| entry.policies.as_slice()).collect();
    // The policies of one selector nearly always come in order: a stable sort finds that out, of the longest first.
    picking.sort_by_key(|policies| std::cmp::Reverse(policies.len()));
    let mut places: Vec<Place> = Vec::with_capacity(picking.iter().map(|policies| policies.len()).sum());
    places.extend(picking.into_iter().flatten().map(|slot| book.place(*slot)));
    places.sort_by_key(|place| place.rank);
    let mut chosen: Vec<&Place> = Vec::with_capacity(places.len());
    [Direction::Ingress, Direction::Egress].map(|direction| {
        chosen.clear();
        chosen.extend(places.iter().filter(|place| place.types.has(direction)));
        let tier = |chunk: &[&Place]| {
            let policies = chunk.iter().map(|place| place.id).collect();
            Some(StackTier { policies, end: tiers.get(chunk.first()?.tier).end })
        };
        chosen.chunk_by(|one, other| one.tier == other.tier).filter_map(tier).collect()
    })
}
