//! Seeded faults: each is a mistake that a calculation could make; the comparison must find it.

use std::sync::Arc;

use tortie_api::policy::{EntityRule, Rule};
use tortie_api::resource::Resource;
use tortie_dataplane::policy::{Member, Stack, StackTier, TierEnd, Update};

use crate::check::Fault;

/// All faults by name.
pub fn all() -> Vec<(&'static str, Fault)> {
    let object = |change: fn(&mut Resource)| Fault { object: Some(change), update: None };
    let update = |change: fn(&mut Update)| Fault { object: None, update: Some(change) };
    vec![
        ("policies of one order are not asked by name", object(ties)),
        ("policies of a tier are asked the last first", update(reversed)),
        ("notSelector is ignored", object(|object| sides(object, |side| side.not_selector.clear()))),
        ("notNets is ignored", object(|object| sides(object, |side| side.not_nets.clear()))),
        ("a missing order counts as zero", object(missing_order)),
        ("types are taken as both when none is given", object(types)),
        ("notICMP is ignored", object(|object| rules(object, |rule| rule.not_icmp = None))),
        ("ipVersion is ignored", object(|object| rules(object, |rule| rule.ip_version = None))),
        (
            "a Log rule ends the evaluation",
            object(|object| {
                rules(object, |rule| {
                    if rule.action == "Log" {
                        rule.action = "Allow".to_owned();
                    }
                })
            }),
        ),
        ("the end of a tier always denies", update(tier_end)),
        ("a named port matches any address's number", update(named_port)),
        ("a missing profile is passed over", update(missing_profile)),
        (
            "a service account's selector is ignored",
            object(|object| {
                sides(object, |side| {
                    if let Some(accounts) = &mut side.service_accounts {
                        accounts.selector.clear();
                    }
                })
            }),
        ),
        ("an endpoint's second address is forgotten", object(second_address)),
        ("a service's slice is forgotten", object(no_slice)),
    ]
}

fn no_slice(object: &mut Resource) {
    if let Resource::EndpointSlice(slice) = object {
        Arc::make_mut(slice).endpoints.truncate(1);
    }
}

fn rules(object: &mut Resource, change: fn(&mut Rule)) {
    let (ingress, egress) = match object {
        Resource::NetworkPolicy(policy) => {
            let spec = &mut Arc::make_mut(policy).spec;
            (&mut spec.ingress, &mut spec.egress)
        }
        Resource::GlobalNetworkPolicy(policy) => {
            let spec = &mut Arc::make_mut(policy).spec;
            (&mut spec.ingress, &mut spec.egress)
        }
        Resource::Profile(profile) => {
            let spec = &mut Arc::make_mut(profile).spec;
            (&mut spec.ingress, &mut spec.egress)
        }
        _ => return,
    };
    ingress.iter_mut().chain(egress).for_each(change);
}

fn sides(object: &mut Resource, change: impl Fn(&mut EntityRule) + Copy) {
    let (ingress, egress) = match object {
        Resource::NetworkPolicy(policy) => {
            let spec = &mut Arc::make_mut(policy).spec;
            (&mut spec.ingress, &mut spec.egress)
        }
        Resource::GlobalNetworkPolicy(policy) => {
            let spec = &mut Arc::make_mut(policy).spec;
            (&mut spec.ingress, &mut spec.egress)
        }
        _ => return,
    };
    for rule in ingress.iter_mut().chain(egress) {
        change(&mut rule.source);
        change(&mut rule.destination);
    }
}

fn ties(object: &mut Resource) {
    let shifted = |order: Option<f64>, name: &str| {
        let by = f64::from(
            name.bytes().rev().fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte)) % 97,
        );
        Some(order.map_or(1e300 + by * 1e290, |order| order + by * 1e-6))
    };
    match object {
        Resource::NetworkPolicy(policy) => {
            let policy = Arc::make_mut(policy);
            policy.spec.order = shifted(policy.spec.order, &policy.metadata.name);
        }
        Resource::GlobalNetworkPolicy(policy) => {
            let policy = Arc::make_mut(policy);
            policy.spec.order = shifted(policy.spec.order, &policy.metadata.name);
        }
        _ => {}
    }
}

fn missing_order(object: &mut Resource) {
    match object {
        Resource::NetworkPolicy(policy) => {
            Arc::make_mut(policy).spec.order.get_or_insert(0.0);
        }
        Resource::GlobalNetworkPolicy(policy) => {
            Arc::make_mut(policy).spec.order.get_or_insert(0.0);
        }
        _ => {}
    }
}

fn types(object: &mut Resource) {
    let both = || vec!["Ingress".to_owned(), "Egress".to_owned()];
    match object {
        Resource::NetworkPolicy(policy) if policy.spec.types.is_empty() => {
            Arc::make_mut(policy).spec.types = both();
        }
        Resource::GlobalNetworkPolicy(policy) if policy.spec.types.is_empty() => {
            Arc::make_mut(policy).spec.types = both();
        }
        _ => {}
    }
}

fn second_address(object: &mut Resource) {
    if let Resource::WorkloadEndpoint(endpoint) = object {
        Arc::make_mut(endpoint).spec.ip_networks.truncate(1);
    }
}

fn stacks(update: &mut Update, change: impl Fn(&mut Stack)) {
    if let Update::Endpoint { endpoint, .. } = update {
        let endpoint = Arc::make_mut(endpoint);
        for stack in [&mut endpoint.ingress, &mut endpoint.egress] {
            change(Arc::make_mut(stack));
        }
    }
}

fn reversed(update: &mut Update) {
    stacks(update, |stack| {
        for StackTier { policies, .. } in &mut stack.tiers {
            policies.reverse();
        }
    });
}

fn tier_end(update: &mut Update) {
    stacks(update, |stack| {
        for StackTier { end, .. } in &mut stack.tiers {
            *end = TierEnd::Deny;
        }
    });
}

fn missing_profile(update: &mut Update) {
    // A missing profile is told as a policy with one rule each way that denies all.
    if let Update::Policy { policy, .. } = update
        && &*policy.key.name == "missing"
    {
        let policy = Arc::make_mut(policy);
        policy.ingress = [].into();
        policy.egress = [].into();
    }
}

fn named_port(update: &mut Update) {
    if let Update::Address { members, .. } = update {
        *members = members
            .iter()
            .map(|member| match *member {
                Member::Port { set, protocol, .. } => Member::Port { set, protocol, port: 80 },
                other => other,
            })
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
    }
}
