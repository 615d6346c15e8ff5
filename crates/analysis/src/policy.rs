//! One policy or profile: whom it applies to, where it stands, and its rules.
//!
//! What can't be understood is one Deny in its place, for its types, and a fault that is shown.
//! Built by `cluster`, put in order by it, and evaluated by `stack`.

use std::sync::Arc;

use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey, Scope};
use tortie_api::policy::{
    Direction, GlobalNetworkPolicySpec, NetworkPolicySpec, ProfileSpec, Rule as ApiRule,
};
use tortie_api::selector::{NAMESPACE_LABEL, NAMESPACE_LABEL_PREFIX, SERVICE_ACCOUNT_LABEL, Selector};

use crate::cluster::Endpoint;
use crate::entity::read_selector;
use crate::rule::Rule;

/// The tier of a policy that names none.
pub(crate) const DEFAULT_TIER: &str = "default";

/// The order that every NetworkPolicy of Kubernetes has.
const KUBERNETES_ORDER: f64 = 1000.0;

/// A policy, read.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) key: ResourceKey,
    pub(crate) tier: Arc<str>,
    /// Infinity if the policy has none.
    pub(crate) order: f64,
    pub(crate) stage: Stage,
    applies: Applies,
    /// `None`: the policy isn't of that type.
    pub(crate) ingress: Option<Vec<Rule>>,
    pub(crate) egress: Option<Vec<Rule>>,
}

/// When a policy is asked. Workloads know `Normal` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// doNotTrack: before connection tracking.
    Untracked,
    /// preDNAT: before the destination is rewritten.
    PreDnat,
    /// With the host's own packets, and with forwarded ones if so set.
    Normal { forward: bool },
}

#[derive(Debug)]
enum Applies {
    Selected(Selector),
    /// What stands for a selector of a namespaced policy that can't be read.
    Namespace(Arc<str>),
    /// ... and of one without a namespace.
    Workloads,
}

impl Policy {
    /// Reads a policy of a namespace; `denied` puts a Deny in the place of its rules.
    pub(crate) fn namespaced(
        key: &ResourceKey,
        spec: &NetworkPolicySpec,
        denied: bool,
    ) -> (Self, Vec<String>) {
        let NetworkPolicySpec {
            tier,
            order,
            ingress,
            egress,
            selector,
            types,
            service_account_selector,
            // Where it is calculated, not what it means.
            performance_hints: _,
        } = spec;
        let namespace = &*key.namespace;
        let applies = (|| {
            let mut applies = Selector::in_namespace(namespace);
            if let Some(selector) = read_selector("selector", selector)? {
                applies = selector.and(applies);
            }
            if let Some(accounts) = read_selector("serviceAccountSelector", service_account_selector)? {
                applies = applies.and(accounts.in_service_accounts());
            }
            Ok(applies)
        })();
        Self::read(
            key,
            tier,
            *order,
            Stage::Normal { forward: false },
            applies,
            types,
            [ingress, egress],
            denied,
        )
    }

    /// Reads a policy without a namespace.
    pub(crate) fn global(
        key: &ResourceKey,
        spec: &GlobalNetworkPolicySpec,
        denied: bool,
    ) -> (Self, Vec<String>) {
        let GlobalNetworkPolicySpec {
            tier,
            order,
            ingress,
            egress,
            selector,
            types,
            do_not_track,
            pre_dnat,
            apply_on_forward,
            service_account_selector,
            namespace_selector,
            performance_hints: _,
        } = spec;
        let stage = match (do_not_track, pre_dnat) {
            (true, _) => Stage::Untracked,
            (false, true) => Stage::PreDnat,
            (false, false) => Stage::Normal { forward: *apply_on_forward },
        };
        let applies = global_selector(selector, namespace_selector, service_account_selector);
        Self::read(key, tier, *order, stage, applies, types, [ingress, egress], denied)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of two specs, each once")]
    fn read(
        key: &ResourceKey,
        tier: &str,
        order: Option<f64>,
        stage: Stage,
        applies: Result<Selector, String>,
        types: &[String],
        [ingress, egress]: [&Vec<ApiRule>; 2],
        denied: bool,
    ) -> (Self, Vec<String>) {
        let mut faults = Vec::new();
        let (for_ingress, for_egress) = match read_types(types.iter().map(String::as_str)) {
            Ok(None) => (!ingress.is_empty() || egress.is_empty(), !egress.is_empty()),
            Ok(Some(given)) => given,
            Err(error) => {
                faults.push(format!("spec.{error}"));
                (true, true)
            }
        };
        let mut read = |name: &str, rules: &[ApiRule]| -> Vec<Rule> {
            let read: Vec<_> = (rules.iter().enumerate())
                .map(|(index, rule)| {
                    Rule::read(rule, &key.namespace).map_err(|error| format!("spec.{name}[{index}].{error}"))
                })
                .collect();
            let mut rules = Vec::with_capacity(read.len());
            for rule in read {
                match rule {
                    Ok(rule) => rules.push(rule),
                    Err(fault) => faults.push(fault),
                }
            }
            rules
        };
        // Rules of another direction than the policy's types are never asked.
        let mut ingress = for_ingress.then(|| read("ingress", ingress));
        let mut egress = for_egress.then(|| read("egress", egress));
        let applies = match applies {
            Ok(selector) => Applies::Selected(selector),
            Err(error) => {
                faults.push(format!("spec.{error}"));
                unread_selector(key)
            }
        };
        if denied || !faults.is_empty() {
            for rules in [&mut ingress, &mut egress].into_iter().flatten() {
                *rules = vec![Rule::deny()];
            }
        }
        let policy = Self {
            key: key.clone(),
            tier: if tier.is_empty() { DEFAULT_TIER.into() } else { tier.into() },
            order: order.unwrap_or(f64::INFINITY),
            stage,
            applies,
            ingress,
            egress,
        };
        (policy, faults)
    }

    /// A Deny for a stored policy that can't be decoded, from what of it can be.
    ///
    /// An order that can't be read is before all others of the tier, so that nothing allows what
    /// the policy might have denied; types that can't be read are both, those not given follow
    /// from the lists of rules that are there.
    pub(crate) fn unreadable(key: &ResourceKey, json: Option<&Value>) -> Self {
        let spec = json.and_then(|json| json.get("spec"));
        let text = |name: &str| match spec.map(|spec| spec.get(name)) {
            None => None,
            Some(None | Some(Value::Null)) => Some(String::new()),
            Some(Some(value)) => value.as_str().map(str::to_owned),
        };
        let number = |name: &str| match spec.map(|spec| spec.get(name)) {
            None => None,
            Some(None | Some(Value::Null)) => Some(f64::INFINITY),
            Some(Some(value)) => value.as_f64(),
        };
        let tier = text("tier").filter(|tier| !tier.is_empty());
        // Kubernetes' policies keep their place in other fields.
        let (tier, order) = match key.kind {
            Kind::KubernetesNetworkPolicy => (None, Some(KUBERNETES_ORDER)),
            Kind::KubernetesClusterNetworkPolicy => {
                let tier = if tier.as_deref() == Some("Baseline") { "kube-baseline" } else { "kube-admin" };
                (Some(tier.to_owned()), number("priority"))
            }
            _ => (tier, number("order")),
        };
        let applies = (|| {
            if key.kind.scope() == Scope::Namespaced {
                let mut applies = read_selector("", &text("selector")?).ok()?.unwrap_or_else(Selector::all);
                applies = applies.and(Selector::in_namespace(&key.namespace));
                let accounts = read_selector("", &text("serviceAccountSelector")?).ok()?;
                Some(match accounts {
                    Some(accounts) => applies.and(accounts.in_service_accounts()),
                    None => applies,
                })
            } else {
                global_selector(
                    &text("selector")?,
                    &text("namespaceSelector")?,
                    &text("serviceAccountSelector")?,
                )
                .ok()
            }
        })();
        // A policy of Kubernetes keeps its selector in another form.
        let applies = applies.filter(|_| {
            !matches!(key.kind, Kind::KubernetesNetworkPolicy | Kind::KubernetesClusterNetworkPolicy)
        });
        let (for_ingress, for_egress) = unreadable_types(key.kind, spec);
        let of = |is_of_type: bool| is_of_type.then(|| vec![Rule::deny()]);
        let flag = |name: &str| spec.and_then(|spec| spec.get(name)?.as_bool()).unwrap_or(false);
        Self {
            key: key.clone(),
            tier: tier.map_or(DEFAULT_TIER.into(), Arc::from),
            order: order.unwrap_or(f64::NEG_INFINITY),
            stage: match (flag("doNotTrack"), flag("preDNAT")) {
                (true, _) => Stage::Untracked,
                (false, true) => Stage::PreDnat,
                (false, false) => Stage::Normal { forward: flag("applyOnForward") },
            },
            applies: applies.map_or_else(|| unread_selector(key), Applies::Selected),
            ingress: of(for_ingress),
            egress: of(for_egress),
        }
    }

    /// Whether the policy applies to an endpoint, in any direction.
    pub(crate) fn applies_to(&self, endpoint: &Endpoint) -> bool {
        match &self.applies {
            Applies::Selected(selector) => selector.matches(&endpoint.labels),
            Applies::Namespace(namespace) => endpoint.key.namespace == *namespace,
            Applies::Workloads => !endpoint.is_host(),
        }
    }

    /// The rules of a direction, if the policy is of that type.
    pub(crate) fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// What decides between equal orders.
    pub(crate) fn tie(&self) -> String {
        let ResourceKey { kind, namespace, name } = &self.key;
        format!("{name}/{namespace}/{}", kind.qualified_name())
    }
}

/// The types given, as (ingress, egress); none if none is given.
fn read_types<'a>(types: impl IntoIterator<Item = &'a str>) -> Result<Option<(bool, bool)>, String> {
    let (mut ingress, mut egress) = (false, false);
    for found in types {
        if found.eq_ignore_ascii_case(Direction::Ingress.name()) {
            ingress = true;
        } else if found.eq_ignore_ascii_case(Direction::Egress.name()) {
            egress = true;
        } else {
            return Err(format!("types: {found:?}: expected Ingress or Egress"));
        }
    }
    Ok((ingress || egress).then_some((ingress, egress)))
}

/// The types of a policy that can't be decoded.
fn unreadable_types(kind: Kind, spec: Option<&Value>) -> (bool, bool) {
    let Some(spec) = spec else { return (true, true) };
    let there = |name: &str| match spec.get(name) {
        None | Some(Value::Null) => None,
        Some(value) => Some(value),
    };
    let filled = |name| there(name).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()));
    let field = if kind == Kind::KubernetesNetworkPolicy { "policyTypes" } else { "types" };
    let given = match there(field).map(|value| value.as_array().map(Vec::as_slice)) {
        None => Ok(None),
        Some(None) => return (true, true),
        // What is no text is no type.
        Some(Some(list)) => read_types(list.iter().map(|value| value.as_str().unwrap_or("?"))),
    };
    match (given, kind) {
        (Ok(Some(given)), _) => given,
        (Ok(None), Kind::KubernetesNetworkPolicy) => (true, false),
        (Ok(None), _) => (filled("ingress") || !filled("egress"), filled("egress")),
        (Err(_), _) => (true, true),
    }
}

fn unread_selector(key: &ResourceKey) -> Applies {
    match key.kind.scope() {
        Scope::Namespaced => Applies::Namespace(key.namespace.clone()),
        Scope::Cluster => Applies::Workloads,
    }
}

/// The endpoints that a policy without a namespace applies to. Beside a namespaceSelector, each
/// `all()` means what has a namespace; beside a serviceAccountSelector, what has an account.
fn global_selector(selector: &str, namespaces: &str, accounts: &str) -> Result<Selector, String> {
    let mut applies = read_selector("selector", selector)?;
    let and = |left: Option<Selector>, right: Selector| match left {
        Some(left) => left.and(right),
        None => right,
    };
    if let Some(namespaces) = read_selector("namespaceSelector", namespaces)? {
        let namespaces = namespaces.with_label_prefix(NAMESPACE_LABEL_PREFIX);
        applies = applies.map(|selector| selector.with_all_as_has(NAMESPACE_LABEL));
        applies = Some(and(applies, namespaces.with_all_as_has(NAMESPACE_LABEL)));
    }
    if let Some(accounts) = read_selector("serviceAccountSelector", accounts)? {
        applies = applies.map(|selector| selector.with_all_as_has(SERVICE_ACCOUNT_LABEL));
        applies = Some(and(applies, accounts.in_service_accounts().with_all_as_has(SERVICE_ACCOUNT_LABEL)));
    }
    Ok(applies.unwrap_or_else(Selector::all))
}

/// A profile, read.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
}

impl Profile {
    /// Reads a profile. If a rule can't be read, the profile is one Deny.
    pub(crate) fn read(spec: &ProfileSpec) -> (Self, Vec<String>) {
        let ProfileSpec { ingress, egress, labels_to_apply } = spec;
        let mut faults = Vec::new();
        let mut read = |name: &str, rules: &[ApiRule]| {
            let mut read = Vec::with_capacity(rules.len());
            for (index, rule) in rules.iter().enumerate() {
                match Rule::read(rule, "") {
                    Ok(rule) => read.push(rule),
                    Err(error) => faults.push(format!("spec.{name}[{index}].{error}")),
                }
            }
            read
        };
        let (mut ingress, mut egress) = (read("ingress", ingress), read("egress", egress));
        if !faults.is_empty() {
            (ingress, egress) = (vec![Rule::deny()], vec![Rule::deny()]);
        }
        (Self { ingress, egress, labels: labels_to_apply.clone() }, faults)
    }

    /// The rules of a direction.
    pub(crate) fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}
