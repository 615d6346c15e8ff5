//! What is understood and not enforced yet, and what happens instead.
//!
//! The one place that decides: the calculation denies by it, the agent's status and the commands that
//! store objects tell by it. Beside it stands only what can't be read at all.

use std::fmt;

use tortie_api::policy::{EntityRule, HttpMatch, Rule};
use tortie_api::resource::Resource;

use crate::error::{Fault, PolicyFault};
use crate::policy::Types;
use crate::settings;

/// Why an object doesn't do what it says, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotEnforced {
    /// What it does instead.
    pub effect: Effect,
    /// Which of its fields isn't enforced, in words.
    pub reason: String,
}

/// What an object does whose meaning isn't enforced yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A policy or profile denies, for its types.
    Denies,
    /// A policy for hosts alone does nothing.
    Nothing,
    /// A policy judges workloads and leaves hosts alone.
    WorkloadsAlone,
    /// A host endpoint leaves the host as it is.
    HostUntouched,
    /// Settings, a pool or a workload: done but for what is named.
    InPart,
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Denies => "denies in its place",
            Self::Nothing => "has no effect",
            Self::WorkloadsAlone => "applies to workloads alone",
            Self::HostUntouched => "leaves the host untouched",
            Self::InPart => "isn't carried out in full",
        })
    }
}

/// What of an object isn't enforced yet; `None` if all of it is. Cheap for what there are many of: nothing is parsed.
pub fn not_enforced(resource: &Resource) -> Option<NotEnforced> {
    let told = |effect, reason: String| Some(NotEnforced { effect, reason });
    let field = |effect, field| told(effect, Fault::NotEnforced { field }.to_string());
    let denies = |fault: Option<PolicyFault>| fault.and_then(|fault| told(Effect::Denies, fault.to_string()));
    match resource {
        Resource::HostEndpoint(_) => {
            told(Effect::HostUntouched, "host endpoints are not enforced yet".to_owned())
        }
        Resource::GlobalNetworkPolicy(policy) => {
            let spec = &policy.spec;
            if spec.do_not_track {
                return field(Effect::Nothing, "doNotTrack");
            }
            if spec.pre_dnat {
                return field(Effect::Nothing, "preDNAT");
            }
            denies(in_policy(&spec.types, &spec.ingress, &spec.egress)).or_else(|| {
                spec.apply_on_forward.then(|| field(Effect::WorkloadsAlone, "applyOnForward")).flatten()
            })
        }
        Resource::NetworkPolicy(policy) => {
            denies(in_policy(&policy.spec.types, &policy.spec.ingress, &policy.spec.egress))
        }
        Resource::KubernetesNetworkPolicy(policy) => {
            denies(in_policy(&policy.spec.types, &policy.spec.ingress, &policy.spec.egress))
        }
        Resource::KubernetesClusterNetworkPolicy(policy) => {
            denies(in_policy(&policy.spec.types, &policy.spec.ingress, &policy.spec.egress))
        }
        Resource::FelixConfiguration(settings) => told(Effect::InPart, settings::missed_of(&settings.spec)?),
        Resource::IPPool(pool) if !pool.spec.ipip_mode.is_empty() && pool.spec.ipip_mode != "Never" => told(
            Effect::InPart,
            "ipipMode: nothing is carried in IPIP, so other nodes don't reach its workloads".to_owned(),
        ),
        Resource::WorkloadEndpoint(endpoint) if endpoint.spec.qos_controls.is_some() => {
            field(Effect::InPart, "qosControls")
        }
        Resource::Profile(profile) => denies(
            in_rules("ingress", &profile.spec.ingress).or_else(|| in_rules("egress", &profile.spec.egress)),
        ),
        _ => None,
    }
}

/// The first field of a rule that tables of destination addresses and ports can't tell apart yet.
pub(crate) fn in_rule(rule: &Rule) -> Option<&'static str> {
    let EntityRule { ports, not_ports, .. } = &rule.source;
    let EntityRule { services, ports: served, not_ports: not_served, .. } = &rule.destination;
    match &rule.http {
        Some(HttpMatch { methods, paths }) if !(methods.is_empty() && paths.is_empty()) => Some("http"),
        // A service says which ports; a rule that says them too passes no validation.
        _ if services.is_some() && !(served.is_empty() && not_served.is_empty()) => {
            Some("destination.services")
        }
        _ if !(ports.is_empty() && not_ports.is_empty()) => Some("source.ports"),
        _ => None,
    }
}

/// The first rule that isn't enforced, of the directions that a policy is for.
fn in_policy(types: &[String], ingress: &[Rule], egress: &[Rule]) -> Option<PolicyFault> {
    let types = types.iter().map(String::as_str);
    let types = Types::read(types, !ingress.is_empty(), !egress.is_empty()).ok()?;
    let of_ingress = types.ingress.then(|| in_rules("ingress", ingress)).flatten();
    of_ingress.or_else(|| types.egress.then(|| in_rules("egress", egress)).flatten())
}

fn in_rules(direction: &'static str, rules: &[Rule]) -> Option<PolicyFault> {
    rules.iter().enumerate().find_map(|(index, rule)| {
        let fault = Fault::NotEnforced { field: in_rule(rule)? };
        Some(PolicyFault::Rule { direction, index, fault })
    })
}
