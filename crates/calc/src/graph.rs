//! The graph: events in, updates out.
//!
//! ```text
//!  Event --apply--> symbols, items, profiles, policies (each marks what it touches)
//!  flush:
//!    profiles' labels --> groups --> items, local endpoints
//!    policies' selectors x local endpoints --> stacks, policies in use --> sets that are active
//!    active sets x items --> lists --> prefixes
//! ```
//! Applying is cheap and tells nothing. A flush works out what was touched and tells it in an
//! order in which nothing is named before it was told and nothing is taken away while it is
//! named: what addresses join; policies; endpoints gone; endpoints; policies gone; what
//! addresses leave. Before [`Event::InSync`] a flush tells nothing. The next hop is `classify`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tortie_api::event::Event;
use tortie_api::kind::ResourceKey;
use tortie_dataplane::policy::{Endpoint, PolicyId, SetId, Update};

use crate::ahead;
use crate::book::{Book, PolicySlot};
use crate::compile::{Compiled, Compiler};
use crate::expression::Expressions;
use crate::inheritance::{Inheritance, ProfileSlot};
use crate::label::Collector;
use crate::local::Locals;
use crate::membership::{Membership, Reader};
use crate::parse::Parser;
use crate::profile::Profiles;
use crate::selection::Selection;
use crate::sets::Sets;
use crate::stack::{Sources, Stacks};
use crate::symbol::Symbols;
use crate::tier::Tiers;

/// With more new policy selectors than this at once, the local endpoints ask, not the selectors.
const MANY_SELECTORS: usize = 32;

/// What a graph is for.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name, as in `spec.node` of its workload endpoints.
    pub node: Arc<str>,
}

/// The calculation of one node.
pub struct Graph {
    pub(crate) node: Arc<str>,
    pub(crate) symbols: Symbols,
    pub(crate) expressions: Expressions,
    pub(crate) parser: Parser,
    pub(crate) sets: Sets,
    pub(crate) inheritance: Inheritance,
    pub(crate) membership: Membership,
    pub(crate) profiles: Profiles,
    pub(crate) tiers: Tiers,
    pub(crate) book: Book,
    pub(crate) selection: Selection,
    pub(crate) locals: Locals,
    pub(crate) stacks: Stacks,
    /// Policies whose use or saying changed.
    pub(crate) touched: BTreeSet<PolicySlot>,
    /// Profiles whose use or saying changed.
    pub(crate) touched_profiles: BTreeSet<ProfileSlot>,
    /// Objects that can't be used as they are, and why.
    pub(crate) problems: BTreeMap<ResourceKey, Box<str>>,
    /// Where labels and places are put together, to be used again.
    pub(crate) labels: Collector,
    pub(crate) place: Vec<u8>,
    pub(crate) ids: u32,
    pub(crate) in_sync: bool,
}

/// What a flush will tell, in the order of the fields.
#[derive(Default)]
struct Plan {
    policies: Vec<(PolicyId, Compiled)>,
    endpoints_gone: Vec<ResourceKey>,
    endpoints: Vec<(ResourceKey, Arc<Endpoint>)>,
    policies_gone: Vec<PolicyId>,
    /// What was told of policies before: their sets are let go when all is told.
    before: Vec<Compiled>,
}

impl Graph {
    /// An empty graph.
    pub fn new(config: Config) -> Self {
        let Config { node } = config;
        Self {
            node,
            symbols: Symbols::default(),
            expressions: Expressions::default(),
            parser: Parser::default(),
            sets: Sets::default(),
            inheritance: Inheritance::default(),
            membership: Membership::default(),
            profiles: Profiles::default(),
            tiers: Tiers::default(),
            book: Book::default(),
            selection: Selection::default(),
            locals: Locals::default(),
            stacks: Stacks::default(),
            touched: BTreeSet::new(),
            touched_profiles: BTreeSet::new(),
            problems: BTreeMap::new(),
            labels: Collector::default(),
            place: Vec::new(),
            ids: 0,
            in_sync: false,
        }
    }

    /// Takes several changes in.
    pub fn apply_batch(&mut self, events: &[Event]) {
        for window in events.chunks(ahead::WINDOW) {
            ahead::read(window, &self.membership.items);
            window.iter().for_each(|event| self.apply(event));
        }
    }

    /// Tells what changed since the last flush: each address, policy and endpoint at most once,
    /// but for addresses that join one set and leave another, which may be told twice. Tells
    /// nothing before [`Event::InSync`].
    pub fn flush(&mut self, emit: &mut impl FnMut(Update)) {
        if !self.in_sync {
            return;
        }
        self.inherit();
        self.select();
        self.book.order(&self.tiers);
        let mut plan = Plan::default();
        self.plan_endpoints(&mut plan);
        self.plan_policies(&mut plan);
        self.plan_profiles(&mut plan);

        let (begun, _) = self.sets.take_changes();
        let reader = Reader { expressions: &self.expressions, inheritance: &self.inheritance };
        self.membership.begin(&begun, &self.sets, reader);
        self.membership.refresh(emit);

        let Plan { policies, endpoints_gone, endpoints, policies_gone, before } = plan;
        for (id, Compiled { policy, sets: _ }) in policies {
            emit(Update::Policy { id, policy });
        }
        for key in endpoints_gone {
            emit(Update::EndpointRemoved { key });
        }
        for (key, endpoint) in endpoints {
            emit(Update::Endpoint { key, endpoint });
        }
        for id in policies_gone {
            emit(Update::PolicyRemoved { id });
        }
        self.end_sets(&before, emit);
        self.stacks.sweep();
        self.membership.lists.sweep();
    }

    pub(crate) fn compiler(&mut self) -> Compiler<'_> {
        Compiler { symbols: &mut self.symbols, expressions: &mut self.expressions, sets: &mut self.sets }
    }

    /// Groups whose profiles changed, and their items.
    fn inherit(&mut self) {
        for change in self.inheritance.refresh(&mut self.symbols) {
            self.membership.regroup(&change, &self.inheritance);
            for item in self.inheritance.group(change.group).items() {
                if self.locals.entries.contains_key(&item) {
                    self.locals.rematch.insert(item);
                }
            }
            change.before.release(&mut self.symbols);
        }
    }

    /// Which selectors of policies pick which local endpoints.
    fn select(&mut self) {
        let Self { expressions, inheritance, membership, selection, locals, .. } = self;
        let reader = Reader { expressions, inheritance };
        let fresh = selection.take_fresh();
        if fresh.len() > MANY_SELECTORS {
            locals.rematch.extend(locals.entries.keys());
        } else {
            for id in fresh {
                let expression = expressions.get(id);
                for (index, local) in &mut locals.entries {
                    let Some(item) = membership.items.get(*index) else { continue };
                    if !locals.rematch.contains(index)
                        && expression.matches(&reader.labels(item))
                        && let Err(at) = local.matched.binary_search(&id)
                    {
                        local.matched.insert(at, id);
                        selection.set_picked(id, *index, true);
                        locals.restack.insert(*index);
                    }
                }
            }
        }
        for index in std::mem::take(&mut locals.rematch) {
            let (Some(local), Some(item)) = (locals.entries.get_mut(&index), membership.items.get(index))
            else {
                continue;
            };
            let labels = reader.labels(item);
            let mut matched = Vec::new();
            selection.index.candidates(&labels, |id| {
                if expressions.get(id).matches(&labels) {
                    matched.push(id);
                }
            });
            matched.sort_unstable();
            if matched != local.matched {
                let before = std::mem::replace(&mut local.matched, matched);
                for id in before.iter().filter(|id| local.matched.binary_search(id).is_err()) {
                    selection.set_picked(*id, index, false);
                }
                for id in local.matched.iter().filter(|id| before.binary_search(id).is_err()) {
                    selection.set_picked(*id, index, true);
                }
                locals.restack.insert(index);
            }
        }
        self.touched.extend(self.selection.take_toggled());
    }

    /// The endpoints that are to be told, with their stacks.
    fn plan_endpoints(&mut self, plan: &mut Plan) {
        let Self { locals, profiles, stacks, book, tiers, selection, .. } = self;
        let sources = Sources { book, tiers, selection };
        for index in std::mem::take(&mut locals.restack) {
            let Some(local) = locals.entries.get_mut(&index) else { continue };
            let ids: Vec<PolicyId> = local.profiles.iter().map(|slot| profiles.get(*slot).id).collect();
            let [ingress, egress] = stacks.build(&local.matched, &ids, &sources);
            let endpoint = Endpoint {
                interface: Arc::clone(&local.interface),
                addresses: local.addresses.clone(),
                allowed_sources: local.allowed_sources.clone(),
                ingress,
                egress,
            };
            if local.told.as_deref() != Some(&endpoint) {
                let endpoint = Arc::new(endpoint);
                local.told = Some(Arc::clone(&endpoint));
                plan.endpoints.push((local.key.clone(), endpoint));
            }
        }
        plan.endpoints_gone = std::mem::take(&mut locals.gone).into_keys().collect();
    }

    /// The policies that are to be told, and those that are no longer in use.
    fn plan_policies(&mut self, plan: &mut Plan) {
        for slot in std::mem::take(&mut self.touched) {
            let entry = self.book.get_mut(slot);
            let wanted = entry.saying.as_ref().and_then(|saying| {
                let picked = self.selection.get(saying.selector?)?;
                (!picked.locals.is_empty()).then_some(&saying.compiled)
            });
            plan.change(entry.id, &mut entry.told, wanted, &mut self.sets);
            self.book.forget(slot);
        }
    }

    /// The profiles that are to be told, and those that are no longer in use.
    fn plan_profiles(&mut self, plan: &mut Plan) {
        for slot in std::mem::take(&mut self.touched_profiles) {
            if self.profiles.get_if_kept(slot).is_none() {
                continue;
            }
            let entry = self.profiles.get_mut(slot);
            let wanted = (entry.users > 0).then(|| entry.compiled());
            plan.change(entry.id, &mut entry.told, wanted.as_ref(), &mut self.sets);
            if !self.inheritance.is_named(slot) && self.profiles.forget(slot) {
                self.inheritance.forget(slot, &mut self.symbols);
            }
        }
    }

    /// Lets the sets of what was told before go, and tells which addresses leave them.
    fn end_sets(&mut self, before: &[Compiled], emit: &mut impl FnMut(Update)) {
        for Compiled { policy: _, sets } in before {
            for set in &**sets {
                self.sets.deactivate(*set, &mut self.expressions, &mut self.symbols);
            }
        }
        let (_, ended): (Vec<SetId>, Vec<SetId>) = self.sets.take_changes();
        if ended.is_empty() {
            return;
        }
        let reader = Reader { expressions: &self.expressions, inheritance: &self.inheritance };
        self.membership.end(&ended, &self.sets, reader);
        self.membership.refresh(emit);
        for set in ended {
            self.sets.end(set, &mut self.expressions, &mut self.symbols);
        }
    }
}

impl Plan {
    /// Plans what must be told of a policy or profile so that it is as wanted.
    fn change(
        &mut self,
        id: PolicyId,
        told: &mut Option<Compiled>,
        wanted: Option<&Compiled>,
        sets: &mut Sets,
    ) {
        match (&*told, wanted) {
            (None, None) => return,
            (Some(told), Some(wanted)) if told.policy == wanted.policy => return,
            (Some(_), None) => self.policies_gone.push(id),
            (_, Some(wanted)) => {
                wanted.sets.iter().for_each(|set| sets.activate(*set));
                self.policies.push((id, wanted.clone()));
            }
        }
        self.before.extend(std::mem::replace(told, wanted.cloned()));
    }
}
