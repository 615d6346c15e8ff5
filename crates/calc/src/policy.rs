//! What a policy object says: its place, whom it applies to, and its rules.
//!
//! Every kind of policy comes down to a [`Reading`]. What can't be read, or isn't enforced yet,
//! becomes a reading too: one that denies, in the policy's place and for its types. The next hop
//! is `book`.

use std::sync::Arc;

use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::{Direction, GlobalNetworkPolicySpec, NetworkPolicySpec, Rule};
use tortie_api::selector::{NAMESPACE_LABEL, SERVICE_ACCOUNT_LABEL, Selector};

use crate::compile::Drafts;
use crate::error::{Fault, PolicyFault};
use crate::parse::{self, Parser};
use crate::rule;

/// The tier of a policy that names none.
pub(crate) const DEFAULT_TIER: &str = "default";

/// For which directions a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Types {
    pub(crate) ingress: bool,
    pub(crate) egress: bool,
}

impl Types {
    /// For both.
    pub(crate) const BOTH: Self = Self { ingress: true, egress: true };
    /// For neither.
    pub(crate) const NONE: Self = Self { ingress: false, egress: false };

    /// What `spec.types` says, or what the rules suggest.
    ///
    /// # Errors
    /// A type that is none.
    pub(crate) fn read<'a>(
        types: impl IntoIterator<Item = &'a str>,
        has_ingress: bool,
        has_egress: bool,
    ) -> Result<Self, Fault> {
        let mut read = Self { ingress: false, egress: false };
        for found in types {
            match found {
                _ if found.eq_ignore_ascii_case(Direction::Ingress.name()) => read.ingress = true,
                _ if found.eq_ignore_ascii_case(Direction::Egress.name()) => read.egress = true,
                _ => return Err(Fault::Type { found: found.into() }),
            }
        }
        Ok(match (read, has_ingress, has_egress) {
            (Self { ingress: false, egress: false }, ingress, egress) => {
                Self { ingress: ingress || !egress, egress }
            }
            _ => read,
        })
    }

    /// Whether it is for a direction.
    pub(crate) fn has(self, direction: Direction) -> bool {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }
}

/// A policy that was read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) tier: Box<str>,
    /// Infinite if the policy has none.
    pub(crate) order: f64,
    pub(crate) types: Types,
    /// The workload endpoints that it applies to; none: it applies to no workload.
    pub(crate) selector: Option<Arc<Selector>>,
    /// The rules, of the directions that it is for; or why it denies instead.
    pub(crate) rules: Result<Drafts, PolicyFault>,
}

/// The workload endpoints that a policy whose selector can't be read applies to.
pub(crate) fn fallback_selector(key: &ResourceKey) -> Arc<Selector> {
    if key.namespace.is_empty() {
        Arc::new(Selector::all())
    } else {
        parse::in_namespace(&key.namespace).unwrap_or_else(|_| Arc::new(Selector::all()))
    }
}

/// Reads a policy of one namespace.
pub(crate) fn read_namespaced(key: &ResourceKey, spec: &NetworkPolicySpec, parser: &mut Parser) -> Reading {
    let NetworkPolicySpec {
        tier,
        order,
        ingress,
        egress,
        selector,
        types,
        service_account_selector,
        performance_hints: _,
    } = spec;
    let selects = (|| {
        let selector = parser.optional("selector", selector)?;
        let place = parse::in_namespace(&key.namespace)?;
        let accounts = parser
            .optional("serviceAccountSelector", service_account_selector)?
            .map(|accounts| Arc::new(Arc::unwrap_or_clone(accounts).in_service_accounts()));
        Ok(parse::all_of([selector, accounts, Some(place)]))
    })();
    finish(key, Parts { tier, order: *order, types, ingress, egress }, selects, parser)
}

/// Reads a policy of all namespaces. What it says of hosts alone isn't for workloads.
pub(crate) fn read_global(key: &ResourceKey, spec: &GlobalNetworkPolicySpec, parser: &mut Parser) -> Reading {
    let GlobalNetworkPolicySpec {
        tier,
        order,
        ingress,
        egress,
        selector,
        types,
        do_not_track,
        pre_dnat,
        apply_on_forward: _,
        service_account_selector,
        namespace_selector,
        performance_hints: _,
    } = spec;
    let selects = (|| {
        let selector = parser.optional("selector", selector)?;
        let namespaces = parser.optional("namespaceSelector", namespace_selector)?;
        let accounts = parser.optional("serviceAccountSelector", service_account_selector)?;
        if let (Some(_), None, None) = (&selector, &namespaces, &accounts) {
            return Ok(selector);
        }
        let mut selector = selector.map(Arc::unwrap_or_clone);
        // Beside a selector of namespaces, `all()` is what has a namespace, wherever it stands;
        // beside one of service accounts, what has a service account.
        if let Some(namespaces) = namespaces {
            let namespaces = Arc::unwrap_or_clone(namespaces).in_rule_namespaces();
            selector = Some(match selector {
                Some(selector) => selector.with_all_as_has(NAMESPACE_LABEL).and(namespaces),
                None => namespaces,
            });
        }
        if let Some(accounts) = accounts {
            let accounts =
                Arc::unwrap_or_clone(accounts).in_service_accounts().with_all_as_has(SERVICE_ACCOUNT_LABEL);
            selector = Some(match selector {
                Some(selector) => selector.with_all_as_has(SERVICE_ACCOUNT_LABEL).and(accounts),
                None => accounts,
            });
        }
        Ok(Some(Arc::new(selector.unwrap_or_else(Selector::all))))
    })();
    if *do_not_track || *pre_dnat {
        return Reading {
            tier: tier_name(tier),
            order: order.unwrap_or(f64::INFINITY),
            types: Types::BOTH,
            selector: None,
            rules: Ok(Drafts::default()),
        };
    }
    finish(key, Parts { tier, order: *order, types, ingress, egress }, selects, parser)
}

struct Parts<'a> {
    tier: &'a str,
    order: Option<f64>,
    types: &'a [String],
    ingress: &'a [Rule],
    egress: &'a [Rule],
}

fn finish(
    key: &ResourceKey,
    parts: Parts<'_>,
    selects: Result<Option<Arc<Selector>>, Fault>,
    parser: &mut Parser,
) -> Reading {
    let Parts { tier, order, types, ingress, egress } = parts;
    let types = Types::read(types.iter().map(String::as_str), !ingress.is_empty(), !egress.is_empty());
    let namespace = (!key.namespace.is_empty()).then_some(&*key.namespace);
    let read = || {
        let types = types.clone()?;
        selects.as_ref().map_err(Clone::clone)?;
        let mut drafts = Drafts::default();
        if types.ingress {
            drafts.ingress = read_rules("ingress", ingress, namespace, parser)?;
        }
        if types.egress {
            drafts.egress = read_rules("egress", egress, namespace, parser)?;
        }
        Ok(drafts)
    };
    let rules = { read }();
    Reading {
        tier: tier_name(tier),
        order: order.unwrap_or(f64::INFINITY),
        types: types.unwrap_or(Types::BOTH),
        selector: selects.unwrap_or_else(|_| Some(fallback_selector(key))),
        rules,
    }
}

/// Reads the rules of one direction, or of a profile.
pub(crate) fn read_rules(
    direction: &'static str,
    rules: &[Rule],
    namespace: Option<&str>,
    parser: &mut Parser,
) -> Result<Vec<Option<rule::Draft>>, PolicyFault> {
    // Collecting results would grow a list of large values step by step.
    let mut drafts = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let fault = |fault| PolicyFault::Rule { direction, index, fault };
        drafts.push(rule::read(rule, namespace, parser).map_err(fault)?);
    }
    Ok(drafts)
}

fn tier_name(tier: &str) -> Box<str> {
    if tier.is_empty() { DEFAULT_TIER.into() } else { tier.into() }
}

/// Reads what can be read of a policy whose stored form can't be.
pub(crate) fn read_unreadable(
    key: &ResourceKey,
    json: Option<&serde_json::Value>,
    error: &str,
    parser: &mut Parser,
) -> Reading {
    let spec = json.and_then(|json| json.get("spec"));
    let field = |name: &str| spec.and_then(|spec| spec.get(name)).filter(|value| !value.is_null());
    let text = |name: &str| field(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let is_filled =
        |name: &str| field(name).and_then(|rules| rules.as_array()).is_some_and(|rules| !rules.is_empty());
    // Where a policy stands that doesn't say so legibly: before all others of its tier.
    let order = |name: &str| match (spec, field(name)) {
        (Some(_), None) => f64::INFINITY,
        (_, value) => value.and_then(serde_json::Value::as_f64).unwrap_or(f64::NEG_INFINITY),
    };
    let types = |name: &str, has_ingress, has_egress| match (spec, field(name)) {
        (None, _) => Types::BOTH,
        (Some(_), None) => Types::read([], has_ingress, has_egress).unwrap_or(Types::BOTH),
        (Some(_), Some(value)) => {
            let list: Option<Vec<&str>> =
                value.as_array().and_then(|types| types.iter().map(serde_json::Value::as_str).collect());
            list.and_then(|types| Types::read(types, has_ingress, has_egress).ok()).unwrap_or(Types::BOTH)
        }
    };
    let (tier, order, types, selector) = match key.kind {
        Kind::KubernetesNetworkPolicy => {
            (DEFAULT_TIER.into(), 1000.0, types("policyTypes", true, false), Some(fallback_selector(key)))
        }
        Kind::KubernetesClusterNetworkPolicy => {
            let tier = if text("tier") == "Baseline" { "kube-baseline" } else { "kube-admin" };
            let types = types("policyTypes", is_filled("ingress"), is_filled("egress"));
            (tier.into(), order("priority"), types, Some(fallback_selector(key)))
        }
        _ => {
            let types = types("types", is_filled("ingress"), is_filled("egress"));
            let for_hosts =
                ["doNotTrack", "preDNAT"].map(|name| field(name).and_then(serde_json::Value::as_bool));
            let selector = match for_hosts.contains(&Some(true)) {
                true => None,
                false => readable_selector(key, &text, spec.is_some(), parser),
            };
            (tier_name(text("tier")), order("order"), types, selector)
        }
    };
    let fault = Fault::Unreadable { error: error.into() };
    Reading { tier, order, types, selector, rules: Err(fault.into()) }
}

/// Whom an unreadable policy of Calico's applies to, if that part of it can be read.
fn readable_selector<'a>(
    key: &ResourceKey,
    text: &impl Fn(&str) -> &'a str,
    has_spec: bool,
    parser: &mut Parser,
) -> Option<Arc<Selector>> {
    let part = |name: &str| text(name).to_owned();
    let reading = if !has_spec {
        return Some(fallback_selector(key));
    } else if key.kind == Kind::GlobalNetworkPolicy {
        let spec = GlobalNetworkPolicySpec {
            selector: part("selector"),
            namespace_selector: part("namespaceSelector"),
            service_account_selector: part("serviceAccountSelector"),
            ..GlobalNetworkPolicySpec::default()
        };
        read_global(key, &spec, parser)
    } else {
        let spec = NetworkPolicySpec {
            selector: part("selector"),
            service_account_selector: part("serviceAccountSelector"),
            ..NetworkPolicySpec::default()
        };
        read_namespaced(key, &spec, parser)
    };
    reading.selector
}
