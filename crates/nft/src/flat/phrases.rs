//! Short phrases of `nft` text as expressions, of which the chains are put together.
//!
//! Each function's comment is the text that it stands for. Registers end with a rule, so phrases use the lowest.

use crate::expression::{Base, Comparison, Ct, Expression, Meta, Nat, Ports, Register, Verdict};
use crate::kernel::{NFPROTO_IPV4, NFPROTO_IPV6};
use crate::object::Rule;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use tortie_dataplane::policy::Family;

pub const R0: Register = Register::word(0);
const R1: Register = Register::word(1);
/// Behind an address of either family.
const R4: Register = Register::word(4);
const R8: Register = Register::word(8);

/// `ct state` bits (`NF_CT_STATE_BIT`).
pub const INVALID: u32 = 1;
pub const ESTABLISHED: u32 = 2;
pub const RELATED: u32 = 4;

/// A rule of several phrases.
pub fn rule(phrases: impl IntoIterator<Item = Vec<Expression>>) -> Rule {
    Rule { expressions: phrases.into_iter().flatten().collect(), comment: None }
}

fn compare(comparison: Comparison, data: &[u8]) -> Expression {
    Expression::Compare { comparison, from: R0, data: data.to_vec() }
}

/// `KEY == data`
fn meta_is(key: Meta, data: &[u8]) -> Vec<Expression> {
    vec![Expression::Meta { key, to: R0 }, compare(Comparison::Equal, data)]
}

/// `ct state BITS`
pub fn ct_state(bits: u32) -> Vec<Expression> {
    vec![
        Expression::Ct { key: Ct::State, to: R0 },
        Expression::Bitwise { from: R0, to: R0, mask: bits.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        compare(Comparison::NotEqual, &[0; 4]),
    ]
}

/// `iifname "PREFIX*"`
pub fn from_interface(prefix: &str) -> Vec<Expression> {
    meta_is(Meta::InputInterfaceName, prefix.as_bytes())
}

/// `oifname "PREFIX*"`
pub fn to_interface(prefix: &str) -> Vec<Expression> {
    meta_is(Meta::OutputInterfaceName, prefix.as_bytes())
}

/// `meta nfproto ipv4`; also what `nft` puts before `ip saddr` in a table of both families, and leaves out when it
/// lists.
pub fn family(family: Family) -> Vec<Expression> {
    let number = match family {
        Family::V4 => NFPROTO_IPV4,
        Family::V6 => NFPROTO_IPV6,
    };
    meta_is(Meta::Family, &[number])
}

/// `meta l4proto NUMBER`
pub fn protocol(number: u8) -> Vec<Expression> {
    meta_is(Meta::Protocol, &[number])
}

/// `udp dport PORT`
pub fn udp_to(port: u16) -> Vec<Expression> {
    to_port(libc::IPPROTO_UDP as u8, port)
}

/// `tcp dport PORT`, of TCP, UDP or SCTP by its number.
pub fn to_port(number: u8, port: u16) -> Vec<Expression> {
    let mut phrase = protocol(number);
    phrase.push(Expression::Payload { base: Base::Transport, offset: 2, length: 2, to: R0 });
    phrase.push(compare(Comparison::Equal, &port.to_be_bytes()));
    phrase
}

/// `meta mark VALUE`
pub fn mark_is(value: u32) -> Vec<Expression> {
    meta_is(Meta::Mark, &value.to_ne_bytes())
}

/// `meta mark != 0x00000000`
pub fn is_marked() -> Vec<Expression> {
    vec![Expression::Meta { key: Meta::Mark, to: R0 }, compare(Comparison::NotEqual, &[0; 4])]
}

/// `meta mark & BITS != 0x00000000`
pub fn mark_has(bits: u32) -> Vec<Expression> {
    vec![
        Expression::Meta { key: Meta::Mark, to: R0 },
        Expression::Bitwise { from: R0, to: R0, mask: bits.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        compare(Comparison::NotEqual, &[0; 4]),
    ]
}

/// `meta mark set VALUE`
pub fn set_mark(value: u32) -> Vec<Expression> {
    vec![
        Expression::Immediate { to: R0, data: value.to_ne_bytes().to_vec() },
        Expression::SetMeta { key: Meta::Mark, from: R0 },
    ]
}

/// `ct mark 0x00000000`
pub fn ct_is_unmarked() -> Vec<Expression> {
    vec![Expression::Ct { key: Ct::Mark, to: R0 }, compare(Comparison::Equal, &[0; 4])]
}

/// `ct mark set meta mark`
pub fn save_mark() -> Vec<Expression> {
    vec![Expression::Meta { key: Meta::Mark, to: R0 }, Expression::SetCt { key: Ct::Mark, from: R0 }]
}

/// `meta mark set ct mark`
pub fn restore_mark() -> Vec<Expression> {
    vec![Expression::Ct { key: Ct::Mark, to: R0 }, Expression::SetMeta { key: Meta::Mark, from: R0 }]
}

/// `ct mark set 0x00000000`
pub fn clear_ct_mark() -> Vec<Expression> {
    vec![Expression::Immediate { to: R0, data: vec![0; 4] }, Expression::SetCt { key: Ct::Mark, from: R0 }]
}

/// `meta priority VALUE`
pub fn priority_is(value: u32) -> Vec<Expression> {
    meta_is(Meta::Priority, &value.to_ne_bytes())
}

/// `meta priority set VALUE`
pub fn set_priority(value: u32) -> Vec<Expression> {
    vec![
        Expression::Immediate { to: R0, data: value.to_ne_bytes().to_vec() },
        Expression::SetMeta { key: Meta::Priority, from: R0 },
    ]
}

/// `meta mark set 0x00000000 meta priority set none`
pub fn clear_carriers() -> Vec<Expression> {
    let mut phrase = set_mark(0);
    phrase.push(Expression::SetMeta { key: Meta::Priority, from: R0 });
    phrase
}

/// Loads the TOS of an IPv4 packet.
fn load_type_of_service() -> Expression {
    Expression::Payload { base: Base::Network, offset: 1, length: 1, to: R0 }
}

/// `@nh,8,8 != 0x00`: an IPv4 packet has a TOS.
pub fn has_type_of_service() -> Vec<Expression> {
    vec![load_type_of_service(), compare(Comparison::NotEqual, &[0])]
}

/// `@nh,8,8 & 0x18 == VALUE`: of an IPv4 packet, the two bits of the TOS that the kernel makes a priority of.
pub fn type_of_service(value: u8) -> Vec<Expression> {
    vec![
        load_type_of_service(),
        Expression::Bitwise { from: R0, to: R0, mask: vec![0x18], xor: vec![0] },
        compare(Comparison::Equal, &[value]),
    ]
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    Source,
    Destination,
}

/// Loads `ip saddr`, `ip6 daddr` and so on; [`family`] must have been compared before in the same rule.
fn address(which: Address, of: Family, to: Register) -> Expression {
    let (offset, length) = match (of, which) {
        (Family::V4, Address::Source) => (12, 4),
        (Family::V4, Address::Destination) => (16, 4),
        (Family::V6, Address::Source) => (8, 16),
        (Family::V6, Address::Destination) => (24, 16),
    };
    Expression::Payload { base: Base::Network, offset, length, to }
}

/// Which interface of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    Input,
    Output,
}

fn interface_index(which: Interface) -> Expression {
    let key = match which {
        Interface::Input => Meta::InputInterface,
        Interface::Output => Meta::OutputInterface,
    };
    Expression::Meta { key, to: R0 }
}

/// `iif @SET`
pub fn input_interface_in(set: String) -> Vec<Expression> {
    vec![interface_index(Interface::Input), Expression::Lookup { set, key: R0, to: None }]
}

/// `iif vmap @MAP`
pub fn interface_verdict(which: Interface, map: String) -> Vec<Expression> {
    vec![interface_index(which), Expression::Lookup { set: map, key: R0, to: Some(Register::VERDICT) }]
}

/// `iif . ip saddr @SET`
pub fn interface_and_address_in(which: Address, of: Family, set: String) -> Vec<Expression> {
    let mut phrase = family(of);
    phrase.extend([
        interface_index(Interface::Input),
        address(which, of, R1),
        Expression::Lookup { set, key: R0, to: None },
    ]);
    phrase
}

/// `iif . ip saddr @SET` for a set of ranges, whose fields are all in network order.
pub fn interface_and_address_within(which: Address, of: Family, set: String) -> Vec<Expression> {
    let mut phrase = family(of);
    phrase.extend([
        interface_index(Interface::Input),
        Expression::ToNetworkOrder { from: R0, to: R0 },
        address(which, of, R1),
        Expression::Lookup { set, key: R0, to: None },
    ]);
    phrase
}

/// `iif . ip saddr vmap @MAP`
pub fn interface_and_address_verdict(
    interface: Interface,
    which: Address,
    of: Family,
    map: String,
) -> Vec<Expression> {
    let mut phrase = family(of);
    phrase.extend([
        interface_index(interface),
        address(which, of, R1),
        Expression::Lookup { set: map, key: R0, to: Some(Register::VERDICT) },
    ]);
    phrase
}

/// `meta mark set ip saddr map @MAP`
pub fn set_mark_by_address(which: Address, of: Family, map: String) -> Vec<Expression> {
    let mut phrase = family(of);
    phrase.extend([
        address(which, of, R0),
        Expression::Lookup { set: map, key: R0, to: Some(R0) },
        Expression::SetMeta { key: Meta::Mark, from: R0 },
    ]);
    phrase
}

/// `ip6 saddr fe80::/10`: `saddr` masked with `mask` equals `value`.
pub fn source6_is(mask: [u8; 16], value: [u8; 16]) -> Vec<Expression> {
    let mut phrase = family(Family::V6);
    phrase.push(address(Address::Source, Family::V6, R0));
    if mask != [0xff; 16] {
        phrase.push(Expression::Bitwise { from: R0, to: R0, mask: mask.to_vec(), xor: vec![0; 16] });
    }
    phrase.push(compare(Comparison::Equal, &value));
    phrase
}

/// `ip saddr NET`
pub fn within(which: Address, net: IpNet) -> Vec<Expression> {
    let (of, mask, value) = match net {
        IpNet::V4(net) => (Family::V4, net.netmask().octets().to_vec(), net.network().octets().to_vec()),
        IpNet::V6(net) => (Family::V6, net.netmask().octets().to_vec(), net.network().octets().to_vec()),
    };
    let mut phrase = family(of);
    phrase.push(address(which, of, R0));
    if net.prefix_len() < net.max_prefix_len() {
        let xor = vec![0; mask.len()];
        phrase.push(Expression::Bitwise { from: R0, to: R0, mask, xor });
    }
    phrase.push(compare(Comparison::Equal, &value));
    phrase
}

/// `dnat ip to ADDRESS`, `snat ip to ADDRESS`
pub fn nat(which: Nat, to: IpAddr) -> Vec<Expression> {
    let (family, data) = family_and_bytes(to);
    let address = Expression::Immediate { to: R0, data };
    vec![address, Expression::Nat { which, family, address: R0, ports: None, random: false }]
}

/// `dnat ip to ADDRESS:PORT`
pub fn lead_to(to: SocketAddr) -> Vec<Expression> {
    let (family, data) = family_and_bytes(to.ip());
    let port = Expression::Immediate { to: R4, data: to.port().to_be_bytes().to_vec() };
    let ports = Some(Ports { first: R4, last: R4 });
    let lead = Expression::Nat { which: Nat::Destination, family, address: R0, ports, random: false };
    vec![Expression::Immediate { to: R0, data }, port, lead]
}

/// `masquerade fully-random`, `masquerade to :PORT-PORT fully-random`, and with an address `snat ip to ADDRESS:PORT-PORT
/// fully-random`
pub fn leave_as(address: Option<IpAddr>, ports: Option<(u16, u16)>) -> Vec<Expression> {
    let mut phrase = Vec::new();
    let ports = ports.map(|(first, last)| {
        let load = |to, port: u16| Expression::Immediate { to, data: port.to_be_bytes().to_vec() };
        phrase.extend([load(R4, first), load(R8, last)]);
        Ports { first: R4, last: R8 }
    });
    phrase.extend(match address.map(family_and_bytes) {
        None => vec![Expression::Masquerade { ports }],
        Some((family, data)) => vec![
            Expression::Immediate { to: R0, data },
            Expression::Nat { which: Nat::Source, family, address: R0, ports, random: true },
        ],
    });
    phrase
}

/// `fib daddr type local`
pub fn to_this_host() -> Vec<Expression> {
    let local = u32::from(libc::RTN_LOCAL).to_ne_bytes();
    vec![Expression::DestinationType { to: R0 }, compare(Comparison::Equal, &local)]
}

fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (NFPROTO_IPV4, address.octets().to_vec()),
        IpAddr::V6(address) => (NFPROTO_IPV6, address.octets().to_vec()),
    }
}

/// `ip saddr @SET`
pub fn source_in(of: Family, set: String) -> Vec<Expression> {
    let mut phrase = family(of);
    phrase.extend([address(Address::Source, of, R0), Expression::Lookup { set, key: R0, to: None }]);
    phrase
}

/// `icmpv6 type @SET`
pub fn icmp6_type_in(set: String) -> Vec<Expression> {
    let mut phrase = protocol(crate::flat::keys::ICMP6);
    phrase.extend([
        Expression::Payload { base: Base::Transport, offset: 0, length: 1, to: R0 },
        Expression::Lookup { set, key: R0, to: None },
    ]);
    phrase
}

/// Sets the priority to what a map has for the register.
fn set_priority_by(map: String) -> [Expression; 2] {
    [
        Expression::Lookup { set: map, key: R0, to: Some(R0) },
        Expression::SetMeta { key: Meta::Priority, from: R0 },
    ]
}

/// `meta priority set meta l4proto . th dport map @MAP`
pub fn set_priority_by_port(map: String) -> Vec<Expression> {
    let mut phrase = vec![
        Expression::Meta { key: Meta::Protocol, to: R0 },
        Expression::Payload { base: Base::Transport, offset: 2, length: 2, to: R1 },
    ];
    phrase.extend(set_priority_by(map));
    phrase
}

/// `meta priority set tcp dport map @MAP`
pub fn set_priority_by_port_of(number: u8, map: String) -> Vec<Expression> {
    let mut phrase = protocol(number);
    phrase.push(Expression::Payload { base: Base::Transport, offset: 2, length: 2, to: R0 });
    phrase.extend(set_priority_by(map));
    phrase
}

/// `meta priority set icmp type map @MAP`
pub fn set_priority_by_icmp_type(number: u8, map: String) -> Vec<Expression> {
    let mut phrase = protocol(number);
    phrase.push(Expression::Payload { base: Base::Transport, offset: 0, length: 1, to: R0 });
    phrase.extend(set_priority_by(map));
    phrase
}

/// `meta priority set icmp type . icmp code map @MAP`
pub fn set_priority_by_icmp(number: u8, map: String) -> Vec<Expression> {
    let mut phrase = protocol(number);
    phrase.extend([
        Expression::Payload { base: Base::Transport, offset: 0, length: 1, to: R0 },
        Expression::Payload { base: Base::Transport, offset: 1, length: 1, to: R1 },
    ]);
    phrase.extend(set_priority_by(map));
    phrase
}

/// `KEY & MASK | BITS` into the first key register.
fn masked(key: Meta, mask: u32, bits: u32) -> Vec<Expression> {
    let (mask, xor) = (mask.to_ne_bytes().to_vec(), bits.to_ne_bytes().to_vec());
    vec![Expression::Meta { key, to: R0 }, Expression::Bitwise { from: R0, to: R0, mask, xor }]
}

/// `meta priority & MASK | BITS` into the key register.
pub fn open_key(mask: u32, bits: u32) -> Vec<Expression> {
    masked(Meta::Priority, mask, bits)
}

/// `meta mark & MASK | BITS`, alone or with `meta priority` or `meta l4proto`, into the key registers.
pub fn entry_key(level: super::layout::Level, mask: u32, bits: u32) -> Vec<Expression> {
    use super::layout::Level;
    let mut phrase = masked(Meta::Mark, mask, bits);
    match level {
        Level::L4 => phrase.push(Expression::Meta { key: Meta::Priority, to: R1 }),
        Level::Protocol => phrase.push(Expression::Meta { key: Meta::Protocol, to: R1 }),
        Level::Any => {}
    }
    phrase
}

/// `counter name KEY map @MAP`, after [`entry_key`] or [`open_key`].
pub fn count_by(map: String) -> Vec<Expression> {
    vec![Expression::CounterByMap { map, key: R0 }]
}

/// `KEY vmap @MAP`, after [`entry_key`].
pub fn verdict_by(map: String) -> Vec<Expression> {
    vec![Expression::Lookup { set: map, key: R0, to: Some(Register::VERDICT) }]
}

/// `counter name "NAME"`
pub fn count(name: impl Into<String>) -> Vec<Expression> {
    vec![Expression::CounterByName(name.into())]
}

/// `accept`, `drop`, `return`
pub fn verdict(verdict: Verdict) -> Vec<Expression> {
    vec![Expression::Verdict(verdict)]
}

/// `jump CHAIN`
pub fn jump(chain: impl Into<String>) -> Vec<Expression> {
    verdict(Verdict::Jump(chain.into()))
}

/// `goto CHAIN`
pub fn goto(chain: impl Into<String>) -> Vec<Expression> {
    verdict(Verdict::Goto(chain.into()))
}
