//! What the loop says of itself: [`Status`] from the tables, the counters and what was refused.

use std::collections::{BTreeMap, BTreeSet};

use tortie_api::kind::Kind;
use tortie_calc::Effect;
use tortie_nft::flat::Count;

use super::Agent;
use crate::ledger::PROFILES;
use crate::status::{Counted, Done, EndpointStatus, Fault, PolicyStatus, RuleStatus, Sizes, Status};

impl Agent<'_> {
    pub fn status(&mut self) -> Status {
        let counts = self.driver.counts().unwrap_or_else(|error| {
            tracing::warn!(%error, "counters could not be read");
            BTreeMap::new()
        });
        let drops = self.driver.drops().unwrap_or_default();
        let classifier = self.core.classifier();
        let mut there: BTreeSet<(&str, String)> = classifier
            .policies()
            .map(|(_, policy)| (policy.key.kind.qualified_name(), policy.key.full_name()))
            .collect();
        there.insert((Kind::Profile.name(), PROFILES.to_owned()));
        self.ledger.retain(|rule| there.contains(&(rule.kind.as_str(), rule.policy.clone())));
        let mut rules = BTreeMap::<(String, String), Vec<RuleStatus>>::new();
        for total in &self.ledger.totals(&counts, classifier) {
            let of = (total.0.kind.clone(), total.0.policy.clone());
            rules.entry(of).or_default().push(RuleStatus::from(total));
        }
        let mut policy_status = |kind: &str, name: String, tier: String| PolicyStatus {
            rules: rules.remove(&(kind.to_owned(), name.clone())).unwrap_or_default(),
            kind: kind.to_owned(),
            name,
            tier,
        };
        let sizes = classifier.sizes();
        let name = |id: &_| {
            classifier.policy(*id).map(|policy| format!("{}|{}", policy.tier, policy.key.full_name()))
        };
        let stack = |stack: &tortie_dataplane::policy::Stack| {
            let ids = stack.tiers.iter().flat_map(|tier| &tier.policies).chain(&stack.profiles);
            ids.filter_map(name).collect::<Vec<_>>()
        };
        let endpoints = classifier.endpoints().iter().map(|(key, endpoint)| EndpointStatus {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            interface: endpoint.interface.to_string(),
            addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
            ingress: stack(&endpoint.ingress),
            egress: stack(&endpoint.egress),
        });
        let mut policies: Vec<PolicyStatus> = classifier
            .policies()
            .map(|(_, policy)| {
                let key = &policy.key;
                policy_status(key.kind.qualified_name(), key.full_name(), policy.tier.to_string())
            })
            .collect();
        policies.push(policy_status(Kind::Profile.name(), PROFILES.to_owned(), PROFILES.to_owned()));
        policies.sort_by(|one, other| {
            (&one.tier, &one.name, &one.kind).cmp(&(&other.tier, &other.name, &other.kind))
        });
        Status {
            node: self.settings.node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            in_sync: self.core.is_in_sync(),
            ready: self.is_ready(),
            table_owned: self.driver.is_owned(),
            sizes: Sizes {
                classes: sizes.classes,
                prefixes: sizes.prefixes,
                l4: sizes.l4,
                stacks: sizes.stacks,
                entries: sizes.entries,
                paths: sizes.paths,
            },
            endpoints: endpoints.collect(),
            policies,
            settings: self.configured.status(),
            faults: self.faults(),
            drops: drops
                .into_iter()
                .map(|(reason, Count { packets, bytes })| (reason.to_owned(), Counted { packets, bytes }))
                .collect(),
            done: Done::of(self.core.counts(), self.logged),
        }
    }

    fn faults(&self) -> Vec<Fault> {
        let unreadable = self.core.unreadable().iter().map(|(key, unreadable)| Fault {
            kind: key.kind.qualified_name().to_owned(),
            name: key.full_name(),
            effect: if key.kind.is_policy() { "denies what it selects" } else { "is passed over" }.to_owned(),
            error: unreadable.error.clone(),
        });
        let not_enforced = self.core.not_enforced().iter().map(|(key, found)| Fault {
            kind: key.kind.qualified_name().to_owned(),
            name: key.full_name(),
            effect: found.effect.to_string(),
            error: found.reason.clone(),
        });
        // What can be read, but not in a way that means something.
        let unclear = self.core.classifier().policies().filter_map(|(_, policy)| {
            Some(Fault {
                kind: policy.key.kind.qualified_name().to_owned(),
                name: policy.key.full_name(),
                effect: Effect::Denies.to_string(),
                error: policy.not_enforced.as_ref()?.to_string(),
            })
        });
        let unserved = self.unserved.iter().map(|(address, error)| Fault {
            kind: "Address".to_owned(),
            name: address.clone(),
            effect: "is not answered at".to_owned(),
            error: error.clone(),
        });
        let mut faults: Vec<Fault> =
            unreadable.chain(not_enforced).chain(self.configured.faults()).chain(unserved).collect();
        for fault in unclear {
            if !faults.iter().any(|known| known.kind == fault.kind && known.name == fault.name) {
                faults.push(fault);
            }
        }
        faults
    }
}
