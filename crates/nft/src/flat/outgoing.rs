//! The chain that gives connections from pools to elsewhere this host's address, and those that lead floating addresses to
//! workloads here. Beside policy: they judge nothing, and policy sees the workload's own address.
//!
//! ```text
//!  prerouting, output: ip daddr 203.0.113.4 dnat ip to 10.65.0.7
//!  postrouting: ip saddr 10.65.0.7 ip daddr 10.65.0.7 snat ip to 203.0.113.4   a workload that asks for itself
//!               ip daddr 10.65.0.0/16 accept              every pool
//!               ip saddr 10.65.0.0/16 masquerade fully-random   pools with natOutgoing
//! ```
//! And, before policy, the rules by which nobody but nodes sends VXLAN while a pool uses it: what comes out of such a packet
//! could speak for any pod. The nodes are in two sets.
//!
//! Ports of this host that lead to workloads stand in [`super::host_ports`].
//!
//! There is no such chain as long as nothing asks for it. They belong to no generation; an agent that ends leaves them, and
//! the next one writes them with its first installation.

use super::Flat;
use super::chains::{DROPPED_SPOOFED, Filled, Lead};
use super::host_ports;
use super::phrases::{self as say, Address, rule};
use super::settings::Settings;
use crate::Result;
use crate::batch::{Batch, Place};
use crate::expression::{Nat, Verdict};
use crate::object::{Chain, Data, Element, Field, HookPoint, Rule, Set, Value};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;
use tortie_dataplane::network::{LeavesAs, Outgoing};
use tortie_dataplane::policy::Family;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The chains' names.
const NAME: &str = "outgoing";
const FLOATING: &str = "floating";
const FLOATING_OF_HOST: &str = "floating_host";
/// `NF_IP_PRI_NAT_SRC`.
const PRIORITY_SOURCE_NAT: i32 = 100;
/// `NF_IP_PRI_NAT_DST`.
pub const PRIORITY_DESTINATION_NAT: i32 = -100;

/// The rules about VXLAN in the base chains.
pub struct Vxlan {
    pub forward: Vec<Rule>,
    pub input: Vec<Rule>,
}

/// What the base chains begin with while VXLAN is in use.
pub fn vxlan(settings: &Settings) -> Vxlan {
    let to_port = || say::udp_to(settings.vxlan_port);
    let dropped = || [say::count(DROPPED_SPOOFED), say::verdict(Verdict::Drop)].concat();
    // iifname "cali*" udp dport 4789 counter name "dropped_spoofed" drop
    let of_workload = |prefix: &String| rule([say::from_interface(prefix), to_port(), dropped()]);
    let of_workloads = || settings.interface_prefixes.iter().map(of_workload);
    let forward = if settings.vxlan_of_workloads { Vec::new() } else { of_workloads().collect() };
    let mut input: Vec<Rule> = of_workloads().collect();
    // udp dport 4789 ip saddr @nodes4 accept
    // udp dport 4789 ip6 saddr @nodes6 accept
    input.extend(FAMILIES.map(|family| {
        rule([to_port(), say::source_in(family, nodes(family).name), say::verdict(Verdict::Accept)])
    }));
    // udp dport 4789 counter name "dropped_spoofed" drop
    input.push(rule([to_port(), dropped()]));
    Vxlan { forward, input }
}

/// The set of a family's addresses of nodes.
fn nodes(family: Family) -> Set {
    let (name, field) = match family {
        Family::V4 => ("nodes4", Field::Ipv4Address),
        Family::V6 => ("nodes6", Field::Ipv6Address),
    };
    Set { name: name.into(), key: vec![field], data: Data::None, interval: false, size: 0 }
}

/// The sets that should be there, with their elements.
pub fn sets(outgoing: &Outgoing) -> Vec<(Set, BTreeSet<Element>)> {
    let Some(addresses) = &outgoing.vxlan else { return Vec::new() };
    let of = |family| {
        let addresses = addresses.iter().filter(move |address| Family::of(address) == family);
        addresses.map(|address| match address {
            IpAddr::V4(v4) => Element::exact(v4.octets(), Value::None),
            IpAddr::V6(v6) => Element::exact(v6.octets(), Value::None),
        })
    };
    FAMILIES.into_iter().map(|family| (nodes(family), of(family).collect())).collect()
}

/// The chains that should be there.
pub fn chains(outgoing: &Outgoing) -> Vec<Filled> {
    let Outgoing { from, inside, leaves_as, vxlan: _, floating, ports } = outgoing;
    let mut chains = host_ports::chains(ports);
    // ip saddr INTERNAL ip daddr INTERNAL snat ip to EXTERNAL
    let own = |(external, internal): &(IpAddr, IpAddr)| {
        let at = |which| say::within(which, IpNet::from(*internal));
        rule([at(Address::Source), at(Address::Destination), say::nat(Nat::Source, *external)])
    };
    let same_family = |net: &&IpNet| from.iter().any(|from| from.addr().is_ipv4() == net.addr().is_ipv4());
    // ip daddr 10.65.0.0/16 accept
    let inside = inside.iter().filter(same_family);
    let inside =
        inside.map(|net| rule([say::within(Address::Destination, *net), say::verdict(Verdict::Accept)]));
    let leaving = from.iter().flat_map(|net| leaving(*net, *leaves_as));
    let own = floating.iter().map(own).chain(host_ports::answered_here(ports));
    let rules: Vec<Rule> = own.chain(inside).chain(leaving).collect();
    if !rules.is_empty() {
        chains.push((Chain::nat(NAME, HookPoint::Postrouting, PRIORITY_SOURCE_NAT), rules));
    }
    if !floating.is_empty() {
        // ip daddr EXTERNAL dnat ip to INTERNAL
        let lead = |(external, internal): &(IpAddr, IpAddr)| {
            rule([
                say::within(Address::Destination, IpNet::from(*external)),
                say::nat(Nat::Destination, *internal),
            ])
        };
        for (name, point) in [(FLOATING, HookPoint::Prerouting), (FLOATING_OF_HOST, HookPoint::Output)] {
            let chain = Chain::nat(name, point, PRIORITY_DESTINATION_NAT);
            chains.push((chain, floating.iter().map(lead).collect()));
        }
    }
    chains
}

/// The rules by which a pool's connections leave.
fn leaving(net: IpNet, LeavesAs { address, ports }: LeavesAs) -> Vec<Rule> {
    let address = address.filter(|_| net.addr().is_ipv4()).map(IpAddr::V4);
    let from = || say::within(Address::Source, net);
    // ip saddr 10.65.0.0/16 meta l4proto tcp masquerade to :32000-40000 fully-random
    let of = |protocol| rule([from(), say::protocol(protocol), say::leave_as(address, ports)]);
    let ranged = ports.iter().flat_map(|_| [TCP, UDP].map(of));
    // ip saddr 10.65.0.0/16 masquerade fully-random
    ranged.chain([rule([from(), say::leave_as(address, None)])]).collect()
}

impl Flat {
    /// Changes which connections leave with this host's address, and whether workloads' VXLAN is dropped: at once where tables of this process judge, in one
    /// transaction; else with the next [`Flat::install`]. Connections that are there keep the address that they have.
    pub fn set_outgoing(&mut self, outgoing: Outgoing) -> Result<()> {
        if self.settings.outgoing == outgoing {
            return Ok(());
        }
        let in_base = |of: &Outgoing| (of.vxlan.is_some(), of.ports.is_empty());
        let leads = in_base(&self.settings.outgoing) != in_base(&outgoing);
        self.settings.outgoing = outgoing;
        let Some(generation) = self.current.as_ref().map(|current| current.generation) else { return Ok(()) };
        let mut batch = self.batch();
        self.write_nodes(&mut batch)?;
        if leads {
            self.lead(&mut batch, Lead::To(generation));
        }
        self.lead_out(&mut batch)?;
        self.client.commit(batch)
    }

    /// Makes the sets of nodes what they should be; before the rules that ask them.
    pub(super) fn write_nodes(&mut self, batch: &mut Batch) -> Result<()> {
        let table = self.settings.table.clone();
        let present = self.client.sets(&table)?;
        for (set, wanted) in sets(&self.settings.outgoing) {
            let found: BTreeSet<Element> = if present.iter().any(|listed| listed.name == set.name) {
                self.client.elements(&table, &set.name)?.into_iter().collect()
            } else {
                batch.add_set(&set);
                BTreeSet::new()
            };
            batch.add_elements(&set.name, wanted.difference(&found));
            batch.delete_elements(&set.name, found.difference(&wanted));
        }
        Ok(())
    }

    /// Writes the chains anew, deletes those that nothing asks for, and sets that no rule asks any more.
    pub(super) fn lead_out(&mut self, batch: &mut Batch) -> Result<()> {
        let wanted = chains(&self.settings.outgoing);
        for (chain, rules) in &wanted {
            batch.add_chain(chain);
            batch.flush_chain(&chain.name);
            rules.iter().for_each(|rule| batch.add_rule(&chain.name, rule, Place::End));
        }
        // A chain comes after those that lead to it.
        let names = [NAME, FLOATING, FLOATING_OF_HOST].into_iter().chain(host_ports::NAMES);
        if wanted.len() < names.clone().count() {
            let table = self.settings.table.clone();
            let present = self.client.chains(&table)?;
            for name in names {
                let is_there = present.iter().any(|chain| chain.name == name);
                if is_there && !wanted.iter().any(|(chain, _)| chain.name == name) {
                    batch.flush_chain(name);
                    batch.delete_chain(name);
                }
            }
        }
        if self.settings.outgoing.vxlan.is_none() {
            let table = self.settings.table.clone();
            let names = FAMILIES.map(|family| nodes(family).name);
            let present = self.client.sets(&table)?;
            present
                .iter()
                .filter(|set| names.contains(&set.name))
                .for_each(|set| batch.delete_set(&set.name));
        }
        Ok(())
    }
}
