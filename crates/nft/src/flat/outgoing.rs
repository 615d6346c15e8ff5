//! The chain that gives connections from pools to elsewhere this host's address. Beside policy: it judges nothing, and sees
//! packets after policy has.
//!
//! ```text
//!  postrouting: ip daddr 10.65.0.0/16 accept              every pool
//!               ip saddr 10.65.0.0/16 masquerade fully-random   pools with natOutgoing
//! ```
//! There is no such chain as long as no pool asks for it. It belongs to no generation; an agent that ends leaves it, and
//! the next one writes it with its first installation.

use super::Flat;
use super::chains::{Filled, Lead};
use super::phrases::{self as say, Address, rule};
use crate::Result;
use crate::batch::{Batch, Place};
use crate::expression::{Expression, Verdict};
use crate::object::{Chain, HookPoint};
use ipnet::IpNet;
use tortie_dataplane::network::Outgoing;

/// The chain's name.
const NAME: &str = "outgoing";
/// `NF_IP_PRI_NAT_SRC`.
const PRIORITY_SOURCE_NAT: i32 = 100;

/// The chain that should be there, if one should.
pub fn chain(outgoing: &Outgoing) -> Option<Filled> {
    let Outgoing { from, inside, vxlan: _ } = outgoing;
    if from.is_empty() {
        return None;
    }
    let same_family = |net: &&IpNet| from.iter().any(|from| from.addr().is_ipv4() == net.addr().is_ipv4());
    // ip daddr 10.65.0.0/16 accept
    let inside = inside.iter().filter(same_family);
    let inside =
        inside.map(|net| rule([say::within(Address::Destination, *net), say::verdict(Verdict::Accept)]));
    // ip saddr 10.65.0.0/16 masquerade fully-random
    let from =
        from.iter().map(|net| rule([say::within(Address::Source, *net), vec![Expression::Masquerade]]));
    let rules = inside.chain(from).collect();
    Some((Chain::nat(NAME, HookPoint::Postrouting, PRIORITY_SOURCE_NAT), rules))
}

impl Flat {
    /// Changes which connections leave with this host's address, and whether workloads' VXLAN is dropped: at once where tables of this process judge, in one
    /// transaction; else with the next [`Flat::install`]. Connections that are there keep the address that they have.
    pub fn set_outgoing(&mut self, outgoing: Outgoing) -> Result<()> {
        let wraps = self.settings.outgoing.vxlan != outgoing.vxlan;
        self.settings.outgoing = outgoing;
        let Some(generation) = self.current.as_ref().map(|current| current.generation) else { return Ok(()) };
        let mut batch = self.batch();
        if wraps {
            self.lead(&mut batch, Lead::To(generation));
        }
        self.lead_out(&mut batch)?;
        self.client.commit(batch)
    }

    /// Writes the chain anew, or deletes it.
    pub(super) fn lead_out(&mut self, batch: &mut Batch) -> Result<()> {
        match chain(&self.settings.outgoing) {
            Some((chain, rules)) => {
                batch.add_chain(&chain);
                batch.flush_chain(NAME);
                rules.iter().for_each(|rule| batch.add_rule(NAME, rule, Place::End));
            }
            None => {
                let table = self.settings.table.clone();
                if self.client.chains(&table)?.iter().any(|chain| chain.name == NAME) {
                    batch.flush_chain(NAME);
                    batch.delete_chain(NAME);
                }
            }
        }
        Ok(())
    }
}
