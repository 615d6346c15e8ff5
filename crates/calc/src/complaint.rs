//! What people are told of an object that isn't enforced as it is written: what is wrong with it, and what is done instead.
//!
//! Reads the object as the calculation does and says what that notes; next hop: the events and conditions of a cluster's API, and
//! whoever else tells people.

use tortie_api::event::Event;
use tortie_api::kind::Kind;
use tortie_api::kubernetes::RuleFault;
use tortie_api::resource::Resource;

use crate::enforced::{Effect, not_enforced};
use crate::item::Reading as ItemReading;
use crate::parse::Parser;
use crate::policy::{self, Reading};

/// What is wrong, in words; `None` if all of the object is enforced, or it is gone.
pub fn complaint(event: &Event) -> Option<String> {
    match event {
        Event::InSync | Event::Delete(_) => None,
        Event::Unreadable { key, error, .. } => {
            Some(match key.kind.is_policy() || key.kind == Kind::Profile {
                true => format!("{}: {error}", Effect::Denies),
                false => format!("is not used: {error}"),
            })
        }
        Event::Upsert(resource) => of_resource(resource),
    }
}

fn of_resource(resource: &Resource) -> Option<String> {
    let mut parser = Parser::default();
    let unusable = |fault: Option<crate::Fault>| fault.map(|fault| format!("is not used: {fault}"));
    match resource {
        Resource::NetworkPolicy(object) => {
            let reading = policy::read_namespaced(&object.key(), &object.spec, &mut parser);
            of_policy(resource, &reading, &[])
        }
        Resource::GlobalNetworkPolicy(object) => {
            let reading = policy::read_global(&object.key(), &object.spec, &mut parser);
            of_policy(resource, &reading, &[])
        }
        Resource::KubernetesNetworkPolicy(converted) => {
            let reading = policy::read_namespaced(&converted.key, &converted.spec, &mut parser);
            of_policy(resource, &reading, &converted.faults)
        }
        Resource::KubernetesClusterNetworkPolicy(converted) => {
            let reading = policy::read_global(&converted.key, &converted.spec, &mut parser);
            of_policy(resource, &reading, &converted.faults)
        }
        Resource::NetworkSet(set) => unusable(ItemReading::set(set).err()),
        Resource::GlobalNetworkSet(set) => unusable(ItemReading::global_set(set).err()),
        Resource::HostEndpoint(endpoint) => unusable(ItemReading::host(endpoint).err()),
        Resource::FelixConfiguration(_) | Resource::IPPool(_) => in_words(resource),
        _ => None,
    }
}

fn in_words(resource: &Resource) -> Option<String> {
    not_enforced(resource).map(|found| format!("{}: {}", found.effect, found.reason))
}

/// A policy that denies says why; one of which rules couldn't be kept says which.
fn of_policy(resource: &Resource, reading: &Reading, faults: &[RuleFault]) -> Option<String> {
    let whole = match &reading.rules {
        Err(fault) => Some(format!("{}: {fault}", Effect::Denies)),
        Ok(_) => in_words(resource),
    };
    let rules = faults.iter().map(|fault| format!("fails closed: {fault}"));
    let all: Vec<String> = whole.into_iter().chain(rules).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde_json::{Value, json};

    fn said(kind: Kind, object: &Value) -> Option<String> {
        complaint(&Event::Upsert(Resource::from_value(kind, object).unwrap()))
    }

    #[test]
    fn what_is_not_enforced_as_written_is_told_with_what_is_done_instead() {
        let metadata = json!({ "name": "p", "namespace": "shop" });
        let mk = |spec: Value| json!({ "metadata": metadata, "spec": spec });
        let rule = |rule: Value| mk(json!({ "ingress": [rule] }));
        for (kind, object, wanted) in [
            (Kind::NetworkPolicy, rule(json!({ "action": "Allow" })), None),
            (
                Kind::NetworkPolicy,
                rule(json!({ "action": "Allow", "source": { "nets": ["10.0.0.0/33"] } })),
                Some(
                    "denies in its place: ingress rule 0: source.nets: found \"10.0.0.0/33\", expected an IP address or a CIDR",
                ),
            ),
            (
                Kind::GlobalNetworkPolicy,
                mk(json!({ "preDNAT": true, "ingress": [{ "action": "Allow" }] })),
                Some("has no effect: preDNAT: not enforced yet"),
            ),
            (
                Kind::KubernetesNetworkPolicy,
                mk(json!({ "podSelector": {}, "ingress": [{ "ports": [{ "port": 70000 }] }, {}] })),
                Some(
                    "fails closed: ingress[0] (k8s rule couldn't be converted: failed to parse k8s port: invalid port 70000: ",
                ),
            ),
            (
                Kind::NetworkSet,
                mk(json!({ "nets": ["here"] })),
                Some("is not used: spec.nets: found \"here\", expected an IP address or a CIDR"),
            ),
            (Kind::NetworkSet, mk(json!({ "nets": ["10.0.0.0/8"] })), None),
            (
                Kind::FelixConfiguration,
                mk(
                    json!({ "wireguardEnabled": true, "bpfEnabled": false, "externalNodesList": ["10.0.0.0/8"] }),
                ),
                Some(
                    "isn't carried out in full: externalNodesList: VXLAN is taken from known nodes alone; \
                     wireguardEnabled: what goes from node to node isn't encrypted",
                ),
            ),
            (
                Kind::FelixConfiguration,
                mk(
                    json!({ "logSeverityScreen": "Debug", "nftablesFilterDenyAction": "Drop", "failsafeInboundHostPorts": [] }),
                ),
                None,
            ),
            (
                Kind::IPPool,
                mk(json!({ "cidr": "10.0.0.0/16", "ipipMode": "CrossSubnet" })),
                Some("isn't carried out in full: ipipMode: "),
            ),
            (
                Kind::IPPool,
                mk(json!({ "cidr": "10.0.0.0/16", "ipipMode": "Never", "vxlanMode": "Always" })),
                None,
            ),
        ] {
            let found = said(kind, &object);
            match wanted {
                None => assert_eq!(found, None, "{object}"),
                Some(wanted) => {
                    let found = found.unwrap();
                    assert!(found.starts_with(wanted), "{object}: {found}");
                }
            }
        }
        let key = tortie_api::kind::ResourceKey::cluster(Kind::Tier, "t");
        let unreadable = Event::Unreadable { key, json: None, error: "no JSON".to_owned() };
        assert_eq!(complaint(&unreadable).as_deref(), Some("is not used: no JSON"));
    }
}
