//! What the tables say of a packet: for `tortie explain`.

use std::net::IpAddr;

use tortie_api::policy::Direction;
use tortie_classify::lookup::{self, Detail};
use tortie_dataplane::flat::Outcome as Verdicts;

use super::Agent;
use crate::protocol::{SideVerdict, TableVerdict};

impl Agent<'_> {
    /// The tables' verdict, as a packet of this node's endpoints would meet it.
    pub(super) fn judge(
        &self,
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        detail: Detail,
    ) -> TableVerdict {
        let tables = self.driver.tables();
        let side = |direction, own, other| {
            let (key, endpoint) = self
                .core
                .classifier()
                .endpoints()
                .iter()
                .find(|(_, endpoint)| endpoint.addresses.contains(&own))?;
            let packet = lookup::Packet { own, other, protocol, detail };
            let verdict = lookup::judge(tables, &endpoint.interface, direction, &packet)?;
            let rules = self.ledger.rules(verdict.path, self.core.classifier())?;
            let (rule, passed) = rules.split_last()?;
            let action = match verdict.outcome {
                Verdicts::Allow => "allow",
                Verdicts::Deny => "deny",
            };
            Some(SideVerdict {
                endpoint: key.full_name(),
                action: action.to_owned(),
                rule: rule.clone(),
                passed: passed.to_vec(),
            })
        };
        TableVerdict {
            egress: side(Direction::Egress, source, destination),
            ingress: side(Direction::Ingress, destination, source),
        }
    }
}
