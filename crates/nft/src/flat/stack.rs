//! The chain of a stack: the other side's class, then the lookups that the stack needs, then its default.
//!
//! The mark carries the class, to which each key adds the stack; the priority carries the L4 class ([`super::keys`]).
//! A map's miss ends its rule, a hit counts and goes on to the verdict; allowing is `return`, because the other side is
//! asked after. The default is an element too, so that a stack whose default is called by another policy keeps its chain.

use super::chains::DROPPED_UNKNOWN;
use super::keys::{self, log_name, mark, path_name, stack_name};
use super::layout::{Fate, Generation, Level, Map};
use super::open;
use super::phrases::{self as say, Address, rule};
use super::settings::LogTarget;
use crate::expression::{Expression, Verdict};
use crate::object::{Chain, Rule};
use tortie_api::policy::Direction;
use tortie_dataplane::flat::{ClassId, Levels, Outcome, PathId, StackChain, StackId};

/// Bytes of a logged packet: the headers and a little more.
const SNAP_LENGTH: u32 = 128;
/// The mark's bits that are a class.
const CLASS_BITS: u32 = 0xffff;

/// The chain of a stack; `default_logs` says whether its default's path has Log rules.
#[must_use]
pub fn chain(
    id: StackId,
    stack: &StackChain,
    default_logs: bool,
    generation: Generation,
) -> (Chain, Vec<Rule>) {
    let StackChain { direction, family: _, levels, default } = stack;
    let of_default = Fate::of(default.outcome, default_logs);
    let Levels { class_l4, class_protocol, class_any, any_l4, any_protocol, allow, deny, log: logs } =
        *levels;
    let fates: Vec<Fate> = [(Fate::Allow, allow), (Fate::Deny, deny), (Fate::Log, logs)]
        .into_iter()
        .filter_map(|(fate, present)| present.then_some(fate))
        .collect();
    let mut rules = Vec::new();
    if open::asks(id, levels) {
        // counter name meta priority & 88:ffff | 88:0 map @open_l4.3 return
        let key = say::open_key(keys::L4_BITS, keys::open_word(id));
        let map = Map::Open.name(generation);
        rules.push(rule([key, say::count_by(map), say::verdict(Verdict::Return)]));
    }
    if class_l4 || class_protocol || class_any {
        rules.extend(class(stack, generation));
        for (level, present) in
            [(Level::L4, class_l4), (Level::Protocol, class_protocol), (Level::Any, class_any)]
        {
            if present {
                // meta mark & 0x0011ffff | 0x00110000, which is: & 0x0000ffff | 0x00110000
                let key = say::entry_key(level, CLASS_BITS, mark(id, ClassId::NONE));
                rules.extend(lookups(level, &key, &fates, generation));
            }
        }
    }
    for (level, present) in [(Level::L4, any_l4), (Level::Protocol, any_protocol)] {
        if present {
            // meta mark & 0x0011ffff | 0x0011ffff, which is: 0x0011ffff
            let key = say::entry_key(level, 0, mark(id, ClassId::ANY));
            rules.extend(lookups(level, &key, &fates, generation));
        }
    }
    let key = say::entry_key(Level::Any, 0, mark(id, ClassId::ANY));
    rules.extend(lookups(Level::Any, &key, &[of_default], generation));
    // counter name "dropped_unknown" drop
    rules.push(rule([say::count(DROPPED_UNKNOWN), say::verdict(Verdict::Drop)]));
    (Chain::regular(stack_name(*direction, id, generation)), rules)
}

/// The other side's class into the mark.
fn class(stack: &StackChain, generation: Generation) -> Vec<Rule> {
    let other = match stack.direction {
        Direction::Ingress => Address::Source,
        Direction::Egress => Address::Destination,
    };
    let by_address = Map::Address(stack.family).name(generation);
    let by_net = Map::Net(stack.family).name(generation);
    vec![
        // meta mark set ip saddr map @address4.3
        rule([say::set_mark_by_address(other, stack.family, by_address)]),
        // meta mark 0x00000000 meta mark set ip saddr map @net4.3
        rule([say::mark_is(0), say::set_mark_by_address(other, stack.family, by_net)]),
    ]
}

fn lookups(level: Level, key: &[Expression], fates: &[Fate], generation: Generation) -> Vec<Rule> {
    fates
        .iter()
        .map(|fate| {
            let map = Map::Entry(level, *fate).name(generation);
            let key = key.to_vec();
            match fate {
                // counter name KEY map @allow_l4.3 return
                Fate::Allow => rule([key, say::count_by(map), say::verdict(Verdict::Return)]),
                // counter name KEY map @deny_l4.3 drop
                Fate::Deny => rule([key, say::count_by(map), say::verdict(Verdict::Drop)]),
                // KEY vmap @log_l4.3
                Fate::Log => rule([key, say::verdict_by(map)]),
            }
        })
        .collect()
}

/// The chain that entries of a path with Log rules lead to.
#[must_use]
pub fn log_chain(
    path: PathId,
    outcome: Outcome,
    log: LogTarget,
    generation: Generation,
) -> (Chain, Vec<Rule>) {
    // log prefix "log_deny5.3" group 9 snaplen 128 counter name "path5.3" drop
    let verdict = match outcome {
        Outcome::Allow => Verdict::Return,
        Outcome::Deny => Verdict::Drop,
    };
    let phrases = [
        vec![log_expression(path, outcome, log, generation)],
        say::count(path_name(path, generation)),
        say::verdict(verdict),
    ];
    (Chain::regular(keys::log_name(path, outcome, generation)), vec![rule(phrases)])
}

fn log_expression(path: PathId, outcome: Outcome, log: LogTarget, generation: Generation) -> Expression {
    let prefix = log_name(path, outcome, generation);
    match log {
        LogTarget::Group(group) => Expression::Log { group, prefix, snap_length: SNAP_LENGTH },
        // The kernel puts nothing between the prefix and the packet.
        LogTarget::Kernel => Expression::KernelLog { prefix: format!("{prefix} ") },
    }
}
