//! The order of tiers and of the policies in them.
//!
//! Policies go by their tier's order and name, then by their own order, then by the text
//! `name/namespace/kind` (so `a-b` before `a`, since `-` is before `/`). A missing order is
//! infinite. A tier that doesn't exist goes last and denies at its end, unless it is one of
//! those that always exist: those are as Calico creates them.

use std::cmp::Ordering;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tortie_api::kind::ResourceKey;
use tortie_api::policy::{Action, TierSpec};
use tortie_dataplane::policy::TierEnd;

/// A tier by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TierSlot(u32);

/// A tier that exists, or that a policy names.
#[derive(Debug, Clone)]
pub(crate) struct Tier {
    pub(crate) name: Arc<str>,
    pub(crate) order: f64,
    pub(crate) end: TierEnd,
    /// Whether it exists; a tier that doesn't goes after all that do, also after those without an order.
    exists: bool,
}

/// All tiers that were ever named. A cluster has a handful.
#[derive(Default)]
pub(crate) struct Tiers {
    by_name: FxHashMap<Arc<str>, TierSlot>,
    entries: Vec<Tier>,
}

impl Tiers {
    /// The number of a tier.
    pub(crate) fn slot(&mut self, name: &str) -> TierSlot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = TierSlot(u32::try_from(self.entries.len()).expect("fewer than 2^32 tiers fit in memory"));
        let name: Arc<str> = name.into();
        let (order, end, exists) = absent(&name);
        self.entries.push(Tier { name: Arc::clone(&name), order, end, exists });
        self.by_name.insert(name, slot);
        slot
    }

    /// Sets what a tier is, none if it doesn't exist any more. Says whether anything changed.
    pub(crate) fn set(&mut self, name: &str, spec: Option<&TierSpec>) -> bool {
        let slot = self.slot(name);
        let (order, end, exists) = match spec {
            None => absent(name),
            Some(TierSpec { order, default_action }) => {
                let end = match default_action.as_deref().map(Action::parse) {
                    Some(Some(Action::Pass)) => TierEnd::Pass,
                    _ => TierEnd::Deny,
                };
                (order.unwrap_or(f64::INFINITY), end, true)
            }
        };
        let tier = &mut self.entries[slot.0 as usize];
        let changed =
            tier.order.total_cmp(&order) != Ordering::Equal || tier.end != end || tier.exists != exists;
        (tier.order, tier.end, tier.exists) = (order, end, exists);
        changed
    }

    /// A tier.
    pub(crate) fn get(&self, slot: TierSlot) -> &Tier {
        &self.entries[slot.0 as usize]
    }

    /// Which of two tiers goes first.
    pub(crate) fn compare(&self, one: TierSlot, other: TierSlot) -> Ordering {
        if one == other {
            return Ordering::Equal;
        }
        let (one, other) = (self.get(one), self.get(other));
        other
            .exists
            .cmp(&one.exists)
            .then_with(|| compare_orders(one.order, other.order))
            .then_with(|| one.name.cmp(&other.name))
    }
}

/// What a tier is that isn't stored; the three that Calico always has exist all the same.
fn absent(name: &str) -> (f64, TierEnd, bool) {
    match name {
        "kube-admin" => (1_000.0, TierEnd::Pass, true),
        "default" => (1_000_000.0, TierEnd::Deny, true),
        "kube-baseline" => (10_000_000.0, TierEnd::Pass, true),
        _ => (f64::INFINITY, TierEnd::Deny, false),
    }
}

/// Numerically; -0 is 0.
pub(crate) fn compare_orders(one: f64, other: f64) -> Ordering {
    (one + 0.0).total_cmp(&(other + 0.0))
}

/// Which of two policies of equal order goes first: by the text `name/namespace/kind`.
pub(crate) fn compare_keys(one: &ResourceKey, other: &ResourceKey) -> Ordering {
    let kinds = || one.kind.qualified_name().cmp(other.kind.qualified_name());
    compare_parts(&one.name, &other.name)
        .or_else(|| compare_parts(&one.namespace, &other.namespace))
        .unwrap_or_else(kinds)
}

/// How texts compare that begin with these parts and go on with a `/`; none if the parts are equal.
fn compare_parts(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let shared = one.len().min(other.len());
    let next = |part: &[u8]| part.get(shared).copied().unwrap_or(b'/');
    match one[..shared].cmp(&other[..shared]) {
        Ordering::Equal if one.len() == other.len() => None,
        // No name has a slash in it.
        Ordering::Equal => Some(next(one).cmp(&next(other))),
        decided => Some(decided),
    }
}

#[cfg(test)]
mod tests {
    use tortie_api::kind::Kind;

    use super::*;

    #[test]
    fn a_name_that_goes_on_with_a_dash_comes_before_the_name_itself() {
        let key = |name| ResourceKey::cluster(Kind::GlobalNetworkPolicy, name);
        assert_eq!(compare_keys(&key("a-b"), &key("a")), Ordering::Less);
        assert_eq!(compare_keys(&key("a"), &key("a0")), Ordering::Less);
        assert_eq!(compare_keys(&key("a"), &key("a")), Ordering::Equal);
    }

    #[test]
    fn of_equal_names_the_namespace_decides_and_then_the_kind() {
        let key = |kind, namespace| ResourceKey::namespaced(kind, namespace, "a");
        let (calico, kubernetes) = (Kind::NetworkPolicy, Kind::KubernetesNetworkPolicy);
        assert_eq!(compare_keys(&key(calico, "b-c"), &key(calico, "b")), Ordering::Less);
        assert_eq!(compare_keys(&key(calico, "b"), &key(calico, "bc")), Ordering::Less);
        let by_kind = calico.qualified_name().cmp(kubernetes.qualified_name());
        assert_eq!(compare_keys(&key(calico, "b"), &key(kubernetes, "b")), by_kind);
    }

    #[test]
    fn a_missing_order_goes_after_every_number() {
        assert_eq!(compare_orders(1e15, f64::INFINITY), Ordering::Less);
        assert_eq!(compare_orders(-1.0, 0.0), Ordering::Less);
        assert_eq!(compare_orders(-0.0, 0.0), Ordering::Equal);
    }
}
