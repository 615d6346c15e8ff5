//! The same rules in Calico's shape: a chain a policy, a jump to each, a set a selector, mark and return.
//!
//! ```text
//!  forward -> ct state -> iif vmap -> from-client -> jump policy ... ; mark & accept: return
//!                      -> oif vmap -> to-server   -> jump policy ... ; mark & accept: return
//!  policy: l4proto tcp, saddr @set, dport PORT, mark |= accept
//!          mark & accept: return
//! ```
//! Cheaper than Calico's own in what it leaves out: no reverse path check, no counters on rules that don't match,
//! dispatch by index and not by name.

use std::net::Ipv4Addr;

use tortie_nft::expression::{Base, Comparison, Ct, Expression, Meta, Register, Verdict};
use tortie_nft::object::{
    Chain, Counter, Data, Element, Field, HookPoint, Rule as NftRule, Set, TableId, Value,
};
use tortie_nft::{Batch, Client, Place};

use super::rules::{Other, PER_POLICY, PORTS, Rule, SENDER_RULES, remote, rules};

/// The accept bit of the mark.
const ACCEPT: u32 = 0x1_0000;
const R0: Register = Register::word(0);
/// Bytes of a transaction, roughly.
const CUT: usize = 1 << 20;

/// Which side of a packet the rules of a chain speak of.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    /// Offset of the other side's address in the IPv4 header.
    other: u32,
}

const INGRESS: Side = Side { name: "pi", other: 12 };
const EGRESS: Side = Side { name: "po", other: 16 };

/// Loads the table with so many rules on the receiver; `interfaces` are the sender's and the receiver's indexes.
///
/// # Errors
/// If the kernel refuses.
pub fn load(client: &mut Client, table: &TableId, count: usize, interfaces: [u32; 2]) -> anyhow::Result<()> {
    let mut writer = Writer { client, table, batch: Batch::new(table) };
    writer.batch.add_table(0, "benchmark");
    writer.sets()?;
    writer.batch.add_counter(&Counter { name: "allowed".to_owned(), packets: 0, bytes: 0 });
    writer.endpoint("from-client", EGRESS, &rules(SENDER_RULES))?;
    writer.endpoint("to-server", INGRESS, &rules(count))?;
    writer.base(interfaces);
    writer.flush()
}

struct Writer<'a> {
    client: &'a mut Client,
    table: &'a TableId,
    batch: Batch,
}

impl Writer<'_> {
    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.client.commit(std::mem::replace(&mut self.batch, Batch::new(self.table)))?)
    }

    fn rule(&mut self, chain: &str, expressions: Vec<Expression>) -> anyhow::Result<()> {
        self.batch.add_rule(chain, &NftRule { expressions, comment: None }, Place::End);
        if self.batch.len() > CUT { self.flush() } else { Ok(()) }
    }

    /// A set for each selector, and one of the load's ports.
    fn sets(&mut self) -> anyhow::Result<()> {
        let mut members: Vec<Vec<Element>> = vec![Vec::new(); super::rules::SELECTORS];
        for (address, app) in remote() {
            members[app].push(Element::exact(address.octets(), Value::None));
        }
        let set = |name: String, field, size: usize| Set {
            name,
            key: vec![field],
            data: Data::None,
            interval: false,
            size: u32::try_from(size).unwrap_or(0),
        };
        for (number, members) in members.iter().enumerate() {
            let name = selector_set(number);
            self.batch.add_set(&set(name.clone(), Field::Ipv4Address, members.len()));
            self.batch.add_elements(&name, members);
        }
        let ports: Vec<Element> = PORTS.map(|port| Element::exact(port.to_be_bytes(), Value::None)).collect();
        self.batch.add_set(&set("ports".to_owned(), Field::Port, ports.len()));
        self.batch.add_elements("ports", &ports);
        self.flush()
    }

    /// An endpoint's chain and those of its policies.
    fn endpoint(&mut self, chain: &str, side: Side, rules: &[Rule]) -> anyhow::Result<()> {
        let policies: Vec<String> =
            (0..rules.len().div_ceil(PER_POLICY)).map(|number| format!("{}-{number}", side.name)).collect();
        for (name, rules) in policies.iter().zip(rules.chunks(PER_POLICY)) {
            self.batch.add_chain(&Chain::regular(name.clone()));
            for rule in rules {
                self.rule(name, matching(side, rule))?;
                self.rule(name, accepted())?;
            }
        }
        let last = format!("{}-last", side.name);
        self.batch.add_chain(&Chain::regular(last.clone()));
        for protocol in [6, 17] {
            let mut allow = protocol_is(protocol);
            allow.push(destination_port());
            allow.push(Expression::Lookup { set: "ports".to_owned(), key: R0, to: None });
            allow.push(Expression::CounterByName("allowed".to_owned()));
            allow.extend(set_mark(ACCEPT));
            self.rule(&last, allow)?;
            self.rule(&last, accepted())?;
        }
        self.batch.add_chain(&Chain::regular(chain.to_owned()));
        self.rule(chain, set_mark(0))?;
        for policy in policies.iter().chain([&last]) {
            self.rule(chain, vec![Expression::Verdict(Verdict::Jump(policy.clone()))])?;
            self.rule(chain, accepted())?;
        }
        self.rule(chain, vec![Expression::Verdict(Verdict::Drop)])
    }

    /// The base chain: established connections, then both sides.
    fn base(&mut self, [client, server]: [u32; 2]) {
        let maps = [
            ("from", client, "from-client", Meta::InputInterface),
            ("to", server, "to-server", Meta::OutputInterface),
        ];
        self.batch.add_chain(&Chain::base("forward", HookPoint::Forward, 0));
        for rule in super::tracking() {
            self.batch.add_rule("forward", &rule, Place::End);
        }
        for (name, index, chain, key) in maps {
            let set = Set {
                name: name.to_owned(),
                key: vec![Field::InterfaceIndex],
                data: Data::Verdict,
                interval: false,
                size: 1024,
            };
            self.batch.add_set(&set);
            let leads = Value::Verdict(Verdict::Jump(chain.to_owned()));
            self.batch.add_elements(name, &[Element::exact(index.to_ne_bytes(), leads)]);
            let expressions = vec![
                Expression::Meta { key, to: R0 },
                Expression::Lookup { set: name.to_owned(), key: R0, to: Some(Register::VERDICT) },
            ];
            self.batch.add_rule("forward", &NftRule { expressions, comment: None }, Place::End);
        }
    }
}

fn selector_set(number: usize) -> String {
    format!("selector-{number}")
}

/// What a rule matches, and that it accepts.
fn matching(side: Side, rule: &Rule) -> Vec<Expression> {
    let mut expressions = protocol_is(6);
    expressions.push(Expression::Payload { base: Base::Network, offset: side.other, length: 4, to: R0 });
    match rule.other {
        Other::Selector(number) => {
            expressions.push(Expression::Lookup { set: selector_set(number), key: R0, to: None });
        }
        Other::Net(net) => {
            let mask = net.netmask().octets().to_vec();
            expressions.push(Expression::Bitwise { from: R0, to: R0, mask, xor: vec![0; 4] });
            expressions.push(equals(Ipv4Addr::octets(&net.network()).to_vec()));
        }
    }
    expressions.push(destination_port());
    expressions.push(equals(rule.port.to_be_bytes().to_vec()));
    expressions.extend(set_mark(ACCEPT));
    expressions
}

/// `mark & accept: return`
fn accepted() -> Vec<Expression> {
    let bit = ACCEPT.to_ne_bytes().to_vec();
    vec![
        Expression::Meta { key: Meta::Mark, to: R0 },
        Expression::Bitwise { from: R0, to: R0, mask: bit.clone(), xor: vec![0; 4] },
        equals(bit),
        Expression::Verdict(Verdict::Return),
    ]
}

/// The accept bit as `bits` has it, and the rest of the mark as it was.
fn set_mark(bits: u32) -> Vec<Expression> {
    vec![
        Expression::Meta { key: Meta::Mark, to: R0 },
        Expression::Bitwise {
            from: R0,
            to: R0,
            mask: (!ACCEPT).to_ne_bytes().to_vec(),
            xor: bits.to_ne_bytes().to_vec(),
        },
        Expression::SetMeta { key: Meta::Mark, from: R0 },
    ]
}

fn protocol_is(number: u8) -> Vec<Expression> {
    vec![Expression::Meta { key: Meta::Protocol, to: R0 }, equals(vec![number])]
}

fn destination_port() -> Expression {
    Expression::Payload { base: Base::Transport, offset: 2, length: 2, to: R0 }
}

fn equals(data: Vec<u8>) -> Expression {
    Expression::Compare { comparison: Comparison::Equal, from: R0, data }
}

/// `ct state BITS`
pub fn state(bits: u32) -> Vec<Expression> {
    vec![
        Expression::Ct { key: Ct::State, to: R0 },
        Expression::Bitwise { from: R0, to: R0, mask: bits.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        Expression::Compare { comparison: Comparison::NotEqual, from: R0, data: vec![0; 4] },
    ]
}
