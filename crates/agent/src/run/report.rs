//! What the loop says of itself: [`Status`] from the tables, the counters and what was refused.

use std::collections::BTreeMap;

use tortie_api::kind::Kind;
use tortie_calc::Effect;
use tortie_nft::flat::Count;

use super::Agent;
use crate::ledger::RuleName;
use crate::status::{Counted, Done, EndpointStatus, Fault, PolicyStatus, RuleStatus, Sizes, Status};

impl Agent<'_> {
    pub fn status(&mut self) -> Status {
        let counts = self.driver.counts().unwrap_or_else(|error| {
            tracing::warn!(%error, "counters could not be read");
            BTreeMap::new()
        });
        let drops = self.driver.drops().unwrap_or_default();
        let classifier = self.core.classifier();
        self.ledger.retain(|rule| {
            classifier.policies().any(|(_, policy)| rule.is_of(&policy.key))
                || rule.policy == crate::ledger::PROFILES
        });
        let totals = self.ledger.totals(&counts);
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
            .map(|(_, policy)| PolicyStatus {
                kind: policy.key.kind.qualified_name().to_owned(),
                name: policy.key.full_name(),
                tier: policy.tier.to_string(),
                rules: rules_of(&totals, |rule| rule.is_of(&policy.key)),
            })
            .collect();
        policies.push(PolicyStatus {
            kind: Kind::Profile.name().to_owned(),
            name: crate::ledger::PROFILES.to_owned(),
            tier: crate::ledger::PROFILES.to_owned(),
            rules: rules_of(&totals, |rule| rule.policy == crate::ledger::PROFILES),
        });
        policies.sort_by(|one, other| {
            (&one.tier, &one.name, &one.kind).cmp(&(&other.tier, &other.name, &other.kind))
        });
        Status {
            node: self.settings.node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            in_sync: self.core.is_in_sync(),
            ready: self.core.is_ready(),
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

fn rules_of(totals: &BTreeMap<RuleName, Count>, of: impl Fn(&RuleName) -> bool) -> Vec<RuleStatus> {
    totals.iter().filter(|(rule, _)| of(rule)).map(RuleStatus::from).collect()
}
