//! From rules that were read to rules of the data plane: sets get their ids.
//!
//! A policy is compiled once, when it comes, whether it is in use or not; what is kept of it is
//! what is told. The next hop is `graph`, which tells it while it applies to a local endpoint.

use std::sync::Arc;

use ipnet::IpNet;
use tortie_api::policy::Action;
use tortie_api::selector::Selector;
use tortie_dataplane::policy::{Policy, Ports, Rule, SetId, Side};

use crate::expression::Expressions;
use crate::rule::{Draft, DraftPorts, DraftSide};
use crate::sets::{Meaning, Sets};
use crate::symbol::Symbols;

/// A policy as it is told, and the sets that it names: sorted, each defined once by it.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) policy: Arc<Policy>,
    pub(crate) sets: Arc<[SetId]>,
}

impl Compiled {
    /// Gives the sets back.
    pub(crate) fn release(&self, compiler: &mut Compiler<'_>) {
        for set in &*self.sets {
            compiler.sets.undefine(*set, compiler.expressions, compiler.symbols);
        }
    }
}

/// Rules of both directions, with their places: drafts, and none for rules that match nothing.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    pub(crate) ingress: Vec<Option<Draft>>,
    pub(crate) egress: Vec<Option<Draft>>,
}

/// Rules as they are told, and the sets that they name.
pub(crate) struct CompiledRules {
    pub(crate) ingress: Box<[Rule]>,
    pub(crate) egress: Box<[Rule]>,
    pub(crate) sets: Arc<[SetId]>,
}

/// A rule that denies everything, as the first.
pub(crate) fn deny_all() -> Box<[Rule]> {
    everything(Action::Deny)
}

/// A rule that allows everything, as the first.
pub(crate) fn allow_all() -> Box<[Rule]> {
    everything(Action::Allow)
}

fn everything(action: Action) -> Box<[Rule]> {
    Box::new([Rule {
        index: 0,
        action,
        family: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Side::default(),
        destination: Side::default(),
    }])
}

const TCP: u8 = 6;
/// The protocols that a service can serve. A rule that names none is one for each.
const SERVED: [u8; 3] = [TCP, 17, 132];

/// Where sets get their ids.
pub(crate) struct Compiler<'a> {
    pub(crate) symbols: &'a mut Symbols,
    pub(crate) expressions: &'a mut Expressions,
    pub(crate) sets: &'a mut Sets,
}

impl Compiler<'_> {
    /// Compiles the rules of both directions; says which sets they name.
    pub(crate) fn rules(&mut self, drafts: Drafts) -> CompiledRules {
        let mut named = Vec::new();
        let Drafts { ingress, egress } = drafts;
        let ingress = self.list(ingress, &mut named);
        let egress = self.list(egress, &mut named);
        named.sort_unstable();
        // A policy defines each of its sets once, however often it names it.
        named.dedup_by(|later, earlier| {
            let double = later == earlier;
            if double {
                self.sets.undefine(*later, self.expressions, self.symbols);
            }
            double
        });
        CompiledRules { ingress, egress, sets: named.into() }
    }

    fn list(&mut self, drafts: Vec<Option<Draft>>, named: &mut Vec<SetId>) -> Box<[Rule]> {
        let mut rules = Vec::with_capacity(drafts.len());
        for (index, draft) in (0u32..).zip(drafts) {
            match draft {
                None => {}
                Some(draft) if draft.protocol.is_none() && draft.destination.service.is_some() => {
                    for protocol in SERVED {
                        let draft = Draft { protocol: Some(protocol), ..draft.clone() };
                        rules.push(self.rule(index, draft, named));
                    }
                }
                // Calico looks a port up among those of TCP if the rule doesn't say a protocol.
                Some(draft) if draft.protocol.is_none() && !draft.destination.ports.names.is_empty() => {
                    rules.push(self.rule(index, Draft { protocol: Some(TCP), ..draft }, named));
                }
                Some(draft) => rules.push(self.rule(index, draft, named)),
            }
        }
        rules.into()
    }

    fn rule(&mut self, index: u32, draft: Draft, named: &mut Vec<SetId>) -> Rule {
        let Draft { action, family, protocol, not_protocol, icmp, not_icmp, source, destination } = draft;
        Rule {
            index,
            action,
            family,
            protocol,
            not_protocol,
            icmp,
            not_icmp,
            source: self.side(source, protocol, false, named),
            destination: self.side(destination, protocol, true, named),
        }
    }

    fn side(
        &mut self,
        side: DraftSide,
        protocol: Option<u8>,
        is_destination: bool,
        named: &mut Vec<SetId>,
    ) -> Side {
        let DraftSide { selector, not_selector, nets, not_nets, ports, not_ports, service } = side;
        let (mut within, mut without) = (Vec::new(), Vec::new());
        // A named port's set holds only what the selector picks: it says the same as both.
        let by_port_only = ports.ranges.is_empty() && !ports.names.is_empty();
        let mut ports = self.ports(ports, selector.as_ref(), protocol, named);
        let not_ports = self.ports(not_ports, selector.as_ref(), protocol, named);
        if let Some(selector) = &selector
            && !by_port_only
        {
            within.push(self.selector(selector));
        }
        if !nets.is_empty() {
            within.push(self.nets(nets));
        }
        if let Some(service) = service {
            let name = self.symbols.acquire(&service);
            let meaning = Meaning::Service { name, with_ports: is_destination };
            let set = self.sets.define(meaning, self.expressions, self.symbols);
            if is_destination {
                named.push(set);
                ports.named = [set].into();
            } else {
                within.push(set);
            }
        }
        if let Some(selector) = &not_selector {
            without.push(self.selector(selector));
        }
        if !not_nets.is_empty() {
            without.push(self.nets(not_nets));
        }
        named.extend(&within);
        named.extend(&without);
        Side { within: within.into(), without: without.into(), ports, not_ports }
    }

    fn ports(
        &mut self,
        ports: DraftPorts,
        selector: Option<&Arc<Selector>>,
        protocol: Option<u8>,
        named: &mut Vec<SetId>,
    ) -> Ports {
        let DraftPorts { ranges, mut names } = ports;
        names.sort_unstable();
        names.dedup();
        let mut sets = Vec::with_capacity(names.len());
        for name in names {
            let selector = match selector {
                Some(selector) => self.expressions.acquire(selector, self.symbols),
                None => self.expressions.acquire(&Arc::new(Selector::all()), self.symbols),
            };
            let name = self.symbols.acquire(&name);
            // A rule with ports has a protocol: it was read so, or got one in `list`.
            let meaning = Meaning::Port { name, protocol: protocol.unwrap_or_default(), selector };
            sets.push(self.sets.define(meaning, self.expressions, self.symbols));
        }
        named.extend(&sets);
        Ports { ranges: ranges.into(), named: sets.into() }
    }

    fn selector(&mut self, selector: &Arc<Selector>) -> SetId {
        let expression = self.expressions.acquire(selector, self.symbols);
        self.sets.define(Meaning::Selector(expression), self.expressions, self.symbols)
    }

    fn nets(&mut self, nets: Vec<IpNet>) -> SetId {
        self.sets.define(Meaning::Nets(nets.into()), self.expressions, self.symbols)
    }
}
