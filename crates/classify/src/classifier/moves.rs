//! Which classes ports and prefixes are in: moves them when what they belong to has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};
use tortie_dataplane::flat::{AddressRange, ClassId, Op, StackId};
use tortie_dataplane::policy::{Family, Member, SetId};

use super::bind::Bindings;
use super::{Classifier, Error, single, wider};
use crate::classes::{Members, set_of};
use crate::compile::Plan;
use crate::edit::Moves;
use crate::intervals::Cut;
use crate::l4::L4Change;

impl Classifier {
    /// The memberships of a prefix as told: its own, or those of the narrowest net around it.
    pub(super) fn told(&self, prefix: IpNet) -> Option<&Members> {
        wider(prefix).find_map(|net| self.members.get(&net))
    }

    /// Tells the stacks in use of ports that were cut.
    pub(super) fn cut_ports(&mut self, cut: &L4Change, grow: &mut Vec<Op>, switch: &mut Vec<Op>) {
        let L4Change { set, removed, split } = cut;
        for (new, old) in split {
            for (id, live) in &mut self.stacks {
                live.split(*id, *new, *old, &mut self.paths, grow);
            }
        }
        switch.extend(removed.iter().map(|matched| Op::RemoveL4(*matched)));
        switch.extend(set.iter().map(|(matched, class)| Op::SetL4(*matched, *class)));
    }

    /// Moves prefixes to the classes of what they belong to now. Gives the classes that are empty
    /// after, and whether a membership had to stay until the stacks that name it are gone.
    pub(super) fn move_prefixes(
        &mut self,
        bindings: &Bindings,
        moves: &mut Moves,
        grow: &mut Vec<Op>,
        switch: &mut Vec<Op>,
    ) -> Result<(Vec<ClassId>, bool), Error> {
        let Bindings { fresh, edits, dying, rebound: _ } = bindings;
        let plans: FxHashMap<StackId, &Plan> = edits.iter().map(|(id, _, plan)| (*id, plan)).collect();
        let coming: FxHashSet<SetId> = fresh
            .iter()
            .flat_map(|(_, _, compiled)| compiled.census.sets())
            .chain(edits.iter().flat_map(|(_, _, plan)| plan.sets()))
            .collect();
        let keeps = |id: &StackId, set: SetId| match (plans.get(id), self.stacks.get(id)) {
            (Some(plan), Some(live)) => !live.compiled.loses(set, plan),
            _ => !dying.contains(id),
        };
        let named_before = |set: &SetId| self.by_set.get(set).is_some_and(|stacks| !stacks.is_empty());
        let named_after = |set: &SetId| {
            coming.contains(set)
                || self.by_set.get(set).is_some_and(|stacks| stacks.iter().any(|id| keeps(id, *set)))
        };
        let mut kept = FxHashSet::default();
        let mut groups = BTreeMap::<(Option<ClassId>, Family, Members), Vec<IpNet>>::new();
        let mut unnamed = FxHashMap::<(Option<ClassId>, Members), bool>::default();
        for prefix in std::mem::take(&mut self.changed_prefixes) {
            let own = self.classes.members_of(&prefix);
            let told = self.members.get(&prefix);
            if told.is_none() && own.is_empty() {
                continue;
            }
            // What packets met, and will meet: a prefix without a class of its own has that of the net around it.
            let before = self.classes.around(&prefix);
            let after = told.or_else(|| self.told(prefix.trunc()));
            let after = after.map_or(&[][..], |members| members);
            let stays: Vec<Member> = before
                .iter()
                .filter(|member| !after.contains(member))
                .filter(|member| named_before(&set_of(**member)) && !named_after(&set_of(**member)))
                .copied()
                .collect();
            let wanted: Members = if stays.is_empty() {
                told.cloned().unwrap_or_default()
            } else {
                kept.insert(prefix);
                let mut all: Vec<Member> = after.iter().copied().chain(stays).collect();
                all.sort_unstable();
                all.into()
            };
            if own != &*wanted {
                let class = self.classes.of(&prefix);
                // Whether no stack in use can tell the new memberships from the old.
                unnamed.entry((class, Arc::clone(&wanted))).or_insert_with(|| {
                    let differs = before
                        .iter()
                        .filter(|member| !wanted.contains(member))
                        .chain(wanted.iter().filter(|member| !before.contains(member)));
                    differs.into_iter().all(|member| !named_before(&set_of(*member)))
                });
                groups.entry((class, Family::of_net(&prefix), wanted)).or_default().push(prefix);
            }
        }
        let mut empty = Vec::new();
        let mut cut_anew = BTreeSet::new();
        for ((before, family, wanted), mut prefixes) in groups {
            prefixes.sort_unstable();
            let known = if wanted.is_empty() { None } else { self.classes.find(family, &wanted) };
            let same_verdicts = unnamed.get(&(before, Arc::clone(&wanted))).copied().unwrap_or(false);
            if let Some(class) = before
                && known.is_none()
                && !wanted.is_empty()
                && same_verdicts
                && self.classes.size(class) == prefixes.len()
            {
                self.classes.rename(class, &wanted);
                continue;
            }
            let class = match (wanted.is_empty(), known) {
                (true, _) => None,
                (false, Some(class)) => Some(class),
                (false, None) => {
                    let class = self.classes.create(family, &wanted)?;
                    for (id, live) in &mut self.stacks {
                        if live.chain.family == family {
                            live.grow(*id, class, &wanted, &self.l4, &mut self.paths, grow);
                        }
                    }
                    Some(class)
                }
            };
            for prefix in prefixes {
                let from = if edits.is_empty() { ClassId::NONE } else { self.classes.met_by(&prefix) };
                empty.extend(self.classes.assign(prefix, class));
                if !edits.is_empty() {
                    moves.classes.insert((from, self.classes.met_by(&prefix)));
                }
                self.move_prefix(prefix, class, switch, &mut cut_anew);
            }
        }
        self.switch_nets(cut_anew, switch);
        // A class may have been left by one group and entered by another.
        empty.retain(|class| self.classes.size(*class) == 0);
        empty.sort_unstable();
        empty.dedup();
        let follow_up = !kept.is_empty();
        self.changed_prefixes = kept;
        Ok((empty, follow_up))
    }

    pub(super) fn move_prefix(
        &mut self,
        prefix: IpNet,
        class: Option<ClassId>,
        switch: &mut Vec<Op>,
        cut_anew: &mut BTreeSet<AddressRange>,
    ) {
        match (single(&prefix), class) {
            (Some(address), Some(class)) => switch.push(Op::SetAddress(address, class)),
            (Some(address), None) => switch.push(Op::RemoveAddress(address)),
            (None, Some(_)) if self.intervals.contains(&prefix) => {
                cut_anew.extend(self.intervals.of(&prefix))
            }
            (None, class) => {
                let Cut { removed, added } = match class {
                    Some(_) => self.intervals.insert(prefix),
                    None => self.intervals.remove(prefix),
                };
                cut_anew.extend(removed);
                cut_anew.extend(added.into_iter().map(|(range, _)| range));
            }
        }
    }

    /// Brings the driver's intervals to what the prefixes cut now: first what goes, then what comes.
    pub(super) fn switch_nets(&mut self, cut_anew: BTreeSet<AddressRange>, switch: &mut Vec<Op>) {
        let mut added = Vec::new();
        for range in cut_anew {
            let class = self.intervals.ruler(&range).and_then(|by| self.classes.of(&by));
            match (self.nets.get(&range).copied(), class) {
                (before, Some(class)) if before != Some(class) => {
                    self.nets.insert(range, class);
                    added.push(Op::AddNet(range, class));
                }
                (Some(_), None) => {
                    self.nets.remove(&range);
                    switch.push(Op::RemoveNet(range));
                }
                _ => {}
            }
        }
        switch.extend(added);
    }
}
