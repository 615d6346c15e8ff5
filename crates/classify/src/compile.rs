//! A stack as one list: tiers, policies and profiles laid end to end.
//!
//! The list is made of blocks, one for each policy, profile and end of a tier. A policy that comes or goes is a block
//! in or out ([`Compiled::plan`], [`Compiled::carry_out`]); the others keep their places. The next hop is `row`, which
//! asks the list for one class.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::policy::Direction;
use tortie_dataplane::flat::RuleRef;
use tortie_dataplane::policy::{Family, Member, Policy, PolicyId, SetId, Stack, TierEnd};

use crate::census::Census;
use crate::item::{Item, Sight, Then, items_of};

/// Distance of two blocks' labels, where there is room for it.
const SPACING: u32 = 1 << 12;

/// Where an item stands: the label of its block, and its index there. In the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    label: u32,
    index: u32,
}

/// What a block stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Policy(PolicyId),
    /// The tier's first policy, by which its end is called, and what happens there.
    TierEnd(PolicyId, TierEnd),
    Profile(PolicyId),
    NoProfile,
}

impl Part {
    /// In order.
    fn all(stack: &Stack) -> Vec<Self> {
        let Stack { tiers, profiles } = stack;
        let mut parts =
            Vec::with_capacity(tiers.iter().map(|tier| tier.policies.len() + 1).sum::<usize>() + 4);
        for tier in tiers {
            parts.extend(tier.policies.iter().map(|id| Self::Policy(*id)));
            parts.extend(tier.policies.first().map(|first| Self::TierEnd(*first, tier.end)));
        }
        parts.extend(profiles.iter().map(|id| Self::Profile(*id)));
        parts.push(Self::NoProfile);
        parts
    }

    /// The same but for the name of a tier's end, which can be changed in place.
    fn nameless(self) -> Self {
        match self {
            Self::TierEnd(_, end) => Self::TierEnd(PolicyId(0), end),
            part => part,
        }
    }

    fn policy(self) -> Option<PolicyId> {
        match self {
            Self::Policy(id) | Self::Profile(id) => Some(id),
            Self::TierEnd(..) | Self::NoProfile => None,
        }
    }

    fn end_of_tier(first: PolicyId, end: TierEnd, direction: Direction) -> Arc<[Item]> {
        let then = match end {
            TierEnd::Deny => Then::Deny,
            TierEnd::Pass => Then::GoOn,
        };
        Arc::new([Item::always(RuleRef::TierEnd { policy: first, direction }, then)])
    }
}

/// What lists are made of. Lives as long as a commit: a policy's items are worked out once for all its stacks.
pub struct Sources<'a> {
    policies: &'a FxHashMap<PolicyId, Arc<Policy>>,
    made: FxHashMap<(Part, Direction, Family), Arc<[Item]>>,
}

impl<'a> Sources<'a> {
    /// From these policies and profiles.
    pub fn new(policies: &'a FxHashMap<PolicyId, Arc<Policy>>) -> Self {
        Self { policies, made: FxHashMap::default() }
    }

    fn items(&mut self, part: Part, sight: &Sight<'_>) -> Arc<[Item]> {
        let (id, pass) = match part {
            Part::Policy(id) => (id, Then::PassTier),
            Part::Profile(id) => (id, Then::PassProfile),
            Part::TierEnd(first, end) => return Part::end_of_tier(first, end, sight.direction),
            Part::NoProfile => {
                let rule = RuleRef::NoProfile { direction: sight.direction };
                return Arc::new([Item::always(rule, Then::Deny)]);
            }
        };
        let policy = self.policies.get(&id).map(|policy| &**policy);
        if !sight.own.is_empty() {
            return items_of(id, policy, sight, pass);
        }
        let made = self.made.entry((part, sight.direction, sight.family));
        Arc::clone(made.or_insert_with(|| items_of(id, policy, sight, pass)))
    }
}

#[derive(Debug, Clone)]
struct Block {
    label: u32,
    part: Part,
    items: Arc<[Item]>,
}

/// How one list becomes another.
#[derive(Debug, Default)]
pub struct Plan {
    /// Blocks that go, by their position before, ascending.
    gone: Vec<usize>,
    /// Blocks that come, by their position after, ascending.
    new: Vec<(usize, Part, Arc<[Item]>)>,
    /// Ends of tiers that are called by another policy, by their position after.
    renamed: Vec<(usize, Part)>,
}

impl Plan {
    /// The sets that what comes names.
    pub fn sets(&self) -> impl Iterator<Item = SetId> {
        self.new.iter().flat_map(|(_, _, items)| items.iter()).flat_map(Item::sets)
    }
}

/// What carrying out a plan came to.
#[derive(Debug, Default)]
pub struct Effect {
    /// An item of these sets came or went: classes in none of them are judged as before ...
    pub sets: Vec<SetId>,
    /// ... unless this says that an item came or went that asks for no membership.
    pub all: bool,
    /// An end of a tier has another name.
    pub renamed: bool,
    /// Policies and profiles that went, perhaps only to come back with other rules.
    pub went: Vec<PolicyId>,
    /// Those that came.
    pub came: Vec<PolicyId>,
    /// Sets that are named now and weren't before.
    pub named: Vec<SetId>,
    /// Sets that were named before and aren't any more.
    pub unnamed: Vec<SetId>,
}

/// A stack as one list, and indexes over it.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Whose packets.
    pub direction: Direction,
    /// Of which family.
    pub family: Family,
    /// What the items ask for.
    pub census: Census,
    /// In order; the last always decides.
    blocks: Vec<Block>,
    /// Items that ask for no membership.
    universal: Vec<Place>,
    /// Items by one of the sets that they ask for.
    by_set: FxHashMap<SetId, Vec<Place>>,
}

impl Compiled {
    /// Lays a stack's policies end to end.
    pub fn new(stack: &Stack, sight: &Sight<'_>, sources: &mut Sources<'_>) -> Self {
        let blocks = Part::all(stack).into_iter();
        let mut compiled = Self {
            direction: sight.direction,
            family: sight.family,
            census: Census::default(),
            blocks: blocks.map(|part| Block { label: 0, part, items: sources.items(part, sight) }).collect(),
            universal: Vec::new(),
            by_set: FxHashMap::default(),
        };
        for block in &compiled.blocks {
            block.items.iter().for_each(|item| compiled.census.add(item, &mut Vec::new()));
        }
        compiled.relabel();
        compiled
    }

    /// How the list becomes that of another stack, seen with the same eyes. `changed` are policies with other rules
    /// than before.
    pub fn plan(
        &self,
        stack: &Stack,
        own: &[Member],
        changed: &FxHashSet<PolicyId>,
        sources: &mut Sources<'_>,
    ) -> Plan {
        let sight = Sight { direction: self.direction, family: self.family, own };
        let parts = Part::all(stack);
        let mut plan = Plan::default();
        let mut come = |plan: &mut Plan, after: usize| {
            plan.new.push((after, parts[after], sources.items(parts[after], &sight)));
        };
        let stays =
            |before: usize, after: usize| self.blocks[before].part.nameless() == parts[after].nameless();
        let both = self.blocks.len().min(parts.len());
        let front = (0..both).take_while(|at| stays(*at, *at)).count();
        let (ends_before, ends_after) = (self.blocks.len(), parts.len());
        let back = (1..=both - front).take_while(|from| stays(ends_before - from, ends_after - from)).count();
        let mut between = Vec::new();
        // In the middle each part that is on both sides stays, as far as the order is the same.
        let middle_before: FxHashSet<Part> =
            self.blocks[front..ends_before - back].iter().map(|block| block.part.nameless()).collect();
        let middle_after: FxHashSet<Part> =
            parts[front..ends_after - back].iter().map(|part| part.nameless()).collect();
        let (mut before, mut after) = (front, front);
        while before < ends_before - back || after < ends_after - back {
            if before == ends_before - back {
                come(&mut plan, after);
                after += 1;
            } else if after == ends_after - back
                || !middle_after.contains(&self.blocks[before].part.nameless())
            {
                plan.gone.push(before);
                before += 1;
            } else if stays(before, after) {
                between.push((before, after));
                (before, after) = (before + 1, after + 1);
            } else if !middle_before.contains(&parts[after].nameless()) {
                come(&mut plan, after);
                after += 1;
            } else {
                plan.gone.push(before);
                before += 1;
            }
        }
        let in_front = (0..front).map(|at| (at, at));
        let behind = (1..=back).rev().map(|from| (ends_before - from, ends_after - from));
        for (before, after) in in_front.chain(between).chain(behind) {
            let block = &self.blocks[before];
            match block.part {
                Part::Policy(id) | Part::Profile(id) if changed.contains(&id) => {
                    let items = sources.items(block.part, &sight);
                    if items != block.items {
                        plan.gone.push(before);
                        plan.new.push((after, block.part, items));
                    }
                }
                Part::TierEnd(..) if block.part != parts[after] => plan.renamed.push((after, parts[after])),
                Part::Policy(_) | Part::Profile(_) | Part::TierEnd(..) | Part::NoProfile => {}
            }
        }
        plan.gone.sort_unstable();
        plan.new.sort_unstable_by_key(|(after, ..)| *after);
        plan
    }

    /// Whether a set that is named now isn't any more once the plan is carried out.
    pub fn loses(&self, set: SetId, plan: &Plan) -> bool {
        let gone =
            plan.gone.iter().filter_map(|at| self.blocks.get(*at)).flat_map(|block| block.items.iter());
        let named = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
        let gone = named(gone.flat_map(Item::sets).filter(|of| *of == set).count());
        gone == self.census.naming(set) && !plan.sets().any(|of| of == set)
    }

    /// Makes the list what the plan says.
    pub fn carry_out(&mut self, plan: Plan) -> Effect {
        let Plan { gone, new, renamed } = plan;
        let mut effect = Effect { renamed: !renamed.is_empty(), ..Effect::default() };
        for at in gone.into_iter().rev() {
            let block = self.blocks.remove(at);
            effect.went.extend(block.part.policy());
            for item in block.items.iter() {
                self.census.remove(item, &mut effect.unnamed);
                match item.within.first() {
                    Some(set) => {
                        effect.sets.push(*set);
                        if let Some(places) = self.by_set.get_mut(set) {
                            places.retain(|place| place.label != block.label);
                            if places.is_empty() {
                                self.by_set.remove(set);
                            }
                        }
                    }
                    None => {
                        effect.all = true;
                        self.universal.retain(|place| place.label != block.label);
                    }
                }
            }
        }
        let mut crowded = false;
        for (at, part, items) in new {
            effect.came.extend(part.policy());
            for item in items.iter() {
                self.census.add(item, &mut effect.named);
                match item.within.first() {
                    Some(set) => effect.sets.push(*set),
                    None => effect.all = true,
                }
            }
            let label = self.label_for(at);
            crowded |= label.is_none();
            let block = Block { label: label.unwrap_or(0), part, items };
            if !crowded {
                self.index(&block);
            }
            self.blocks.insert(at, block);
        }
        for (at, part) in renamed {
            if let (Some(block), Part::TierEnd(first, end)) = (self.blocks.get_mut(at), part) {
                block.part = part;
                block.items = Part::end_of_tier(first, end, self.direction);
            }
        }
        if crowded {
            self.relabel();
        }
        // What another block names as well was there before, and stays.
        let Effect { named, unnamed, .. } = &mut effect;
        let back: FxHashSet<SetId> = unnamed.iter().copied().filter(|set| named.contains(set)).collect();
        named.retain(|set| !back.contains(set));
        unnamed.retain(|set| !back.contains(set));
        effect
    }

    /// A label between those of the neighbours of a block that comes to this position.
    fn label_for(&self, at: usize) -> Option<u32> {
        let below = at.checked_sub(1).and_then(|before| self.blocks.get(before)).map(|block| block.label);
        let above = self.blocks.get(at).map(|block| block.label);
        match (below, above) {
            (None, None) => Some(u32::MAX / 2),
            (Some(below), None) => below.checked_add(SPACING),
            (None, Some(above)) => above.checked_sub(SPACING),
            (Some(below), Some(above)) => {
                above.checked_sub(below).filter(|gap| *gap >= 2).map(|gap| below + gap / 2)
            }
        }
    }

    /// Gives all blocks labels with room between them, and indexes them.
    fn relabel(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        let count = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
        let spacing = SPACING.min(u32::MAX / 2 / count.max(1)).max(1);
        let first = u32::MAX / 2 - spacing.saturating_mul(count / 2);
        self.universal.clear();
        self.by_set.clear();
        self.blocks =
            (0..).zip(blocks).map(|(at, block)| Block { label: first + spacing * at, ..block }).collect();
        for at in 0..self.blocks.len() {
            let block = self.blocks[at].clone();
            self.index(&block);
        }
    }

    fn index(&mut self, block: &Block) {
        for (index, item) in (0..).zip(block.items.iter()) {
            let place = Place { label: block.label, index };
            match item.within.first() {
                Some(set) => self.by_set.entry(*set).or_default().push(place),
                None => self.universal.push(place),
            }
        }
    }

    /// The item at a place.
    pub fn item(&self, place: Place) -> Option<&Item> {
        let block = self.blocks.binary_search_by_key(&place.label, |block| block.label).ok()?;
        self.blocks[block].items.get(usize::try_from(place.index).ok()?)
    }

    /// The place right behind the end of the tier that a place is in.
    pub fn behind_tier(&self, place: Place) -> Place {
        let block = self.blocks.partition_point(|block| block.label < place.label);
        let end = self.blocks[block..].iter().find(|block| matches!(block.part, Part::TierEnd(..)));
        // A Pass rule stands in a tier, and every tier has an end.
        self.behind_block(end.map_or(place, |end| Place { label: end.label, index: 0 }))
    }

    /// The place right behind the policy or profile that a place is in.
    pub fn behind_block(&self, place: Place) -> Place {
        Place { index: u32::MAX, ..place }
    }

    /// The items that a packet of a class can match, in order. Layer 4 isn't looked at.
    pub fn candidates(&self, members: &[Member]) -> Vec<(Place, &Item)> {
        let is_in = |set: &SetId| members.binary_search(&Member::Of(*set)).is_ok();
        let mut found = Vec::with_capacity(self.universal.len() + 8);
        let fits = |place: &Place| {
            let item = self.item(*place)?;
            let fits = item.within.iter().all(is_in) && !item.without.iter().any(is_in);
            fits.then_some((*place, item))
        };
        found.extend(self.universal.iter().filter_map(fits));
        for member in members {
            if let Member::Of(set) = member
                && let Some(places) = self.by_set.get(set)
            {
                found.extend(places.iter().filter_map(fits));
            }
        }
        found.sort_unstable_by_key(|(place, _)| *place);
        found
    }

    /// Whether a class with these memberships can be judged otherwise than one with none.
    pub fn touches(&self, members: &[Member]) -> bool {
        members.iter().any(|member| match member {
            Member::Of(set) | Member::Port { set, .. } => self.census.naming(*set) > 0,
        })
    }
}
