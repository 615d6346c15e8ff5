//! Stacks: the policies of an endpoint's direction in order, tier by tier; equal lists shared.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::policy::Direction;
use tortie_dataplane::policy::{PolicyId, Stack, StackTier};

use crate::book::{Book, PolicySlot, Saying};
use crate::expression::ExpressionId;
use crate::selection::Selection;
use crate::tier::{TierSlot, Tiers};

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
                let tiers = [Direction::Ingress, Direction::Egress].map(|way| tiers(matched, way, sources));
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

fn tiers(matched: &[ExpressionId], direction: Direction, sources: &Sources<'_>) -> Box<[StackTier]> {
    let Sources { book, tiers, selection } = sources;
    let policies = matched.iter().filter_map(|id| selection.get(*id)).flat_map(|entry| &entry.policies);
    let mut ordered: Vec<(u32, PolicySlot)> = policies
        .filter(|slot| book.get(**slot).saying.as_ref().is_some_and(|saying| saying.types.has(direction)))
        .map(|slot| (book.rank(*slot), *slot))
        .collect();
    ordered.sort_unstable();
    let tier_of = |slot: PolicySlot| book.get(slot).saying.as_ref().map(|Saying { tier, .. }| *tier);
    ordered
        .chunk_by(|(_, one), (_, other)| tier_of(*one) == tier_of(*other))
        .filter_map(|chunk| {
            let tier: TierSlot = tier_of(chunk.first()?.1)?;
            Some(StackTier {
                policies: chunk.iter().map(|(_, slot)| book.get(*slot).id).collect(),
                end: tiers.get(tier).end,
            })
        })
        .collect()
}
