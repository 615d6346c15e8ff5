//! Typed values to the bytes of keys and data, and the elements that each of the classifier's items becomes.
//!
//! ```text
//!  meta mark     = class                       (0: none)
//!  verdict's key = stack << 16 | class         (class 0xffff: ANY), with the L4 class or the protocol
//!  meta priority = protocol << 16 | L4 index   (0: no L4 class; protocols numbered from 1, see `l4_word`)
//!  open port     = stack << 19 | meta priority
//! ```

use super::chains::{self, NEIGHBOUR_TYPES};
use super::layout::{Fate, Generation, Level, Map, PortProtocol};
use crate::expression::Verdict;
use crate::object::{Element, Value};
use crate::{Error, Result};
use ipnet::IpNet;
use std::net::IpAddr;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::{
    AddressRange, ClassId, Dispatch, EndpointPorts, EntryKey, L4ClassId, L4Key, L4Match, Outcome, PathId,
    StackId,
};
use tortie_dataplane::policy::Family;

/// The protocol's number.
pub const ICMP4: u8 = 1;
/// The protocol's number.
pub const ICMP6: u8 = 58;
/// In an address map: the address is in no set although a net around it is. Above the class's 16 bits, which alone
/// are kept, so that the net map is not asked.
const NO_CLASS: u32 = 0x10000;

/// Bits of the priority that are an L4 class.
pub const L4_BITS: u32 = 0x7ffff;
/// Stacks whose id fits beside them.
pub const OPEN_STACKS: u16 = 1 << 13;

/// An element and the map that it belongs to.
pub type Placed = (Map, Element);

/// Name of a path's counter.
#[must_use]
pub fn path_name(path: PathId, generation: Generation) -> String {
    format!("path{}.{}", path.0, generation.0)
}

/// The path that a counter's name is of, with its generation.
#[must_use]
pub fn path_of_name(name: &str) -> Option<(PathId, Generation)> {
    let (stem, _) = name.rsplit_once('.')?;
    Some((PathId(stem.strip_prefix("path")?.parse().ok()?), Generation::of(name)?))
}

/// Name of the chain that logs a path and then allows or denies; also the log's prefix.
#[must_use]
pub fn log_name(path: PathId, outcome: Outcome, generation: Generation) -> String {
    let stem = match outcome {
        Outcome::Allow => "log_allow",
        Outcome::Deny => "log_deny",
    };
    generation.name(&format!("{stem}{}", path.0))
}

/// The path that a log prefix is of, with its generation.
#[must_use]
pub fn path_of_log(prefix: &str) -> Option<(PathId, Generation)> {
    let (stem, _) = prefix.trim_end().rsplit_once('.')?;
    let number = stem.strip_prefix("log_allow").or_else(|| stem.strip_prefix("log_deny"))?;
    Some((PathId(number.parse().ok()?), Generation::of(prefix.trim_end())?))
}

/// Name of a stack's chain.
#[must_use]
pub fn stack_name(direction: Direction, stack: StackId, generation: Generation) -> String {
    generation.name(&format!("{}{}", super::layout::side(direction), stack.0))
}

/// Stack and class in one word.
#[must_use]
pub fn mark(stack: StackId, class: ClassId) -> u32 {
    u32::from(stack.0) << 16 | u32::from(class.0)
}

/// A stack's id beside an L4 class in one word; only of a stack below [`OPEN_STACKS`].
#[must_use]
pub fn open_word(stack: StackId) -> u32 {
    u32::from(stack.0) << 19
}

/// An L4 class as the priority carries it. Three bits for the protocol, so that a stack's id has room beside it.
fn l4_word(class: L4ClassId) -> u32 {
    let protocol = match class.protocol {
        6 => 1,
        17 => 2,
        132 => 3,
        136 => 4,
        ICMP4 => 5,
        ICMP6 => 6,
        // No packet has a class of another protocol: `l4` refuses it.
        _ => 7,
    };
    protocol << 16 | u32::from(class.index)
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn word(number: u32) -> Value {
    Value::Bytes(number.to_ne_bytes().to_vec())
}

/// Fields of a key, each padded to a register.
fn joined<const N: usize>(fields: [&[u8]; N]) -> Vec<u8> {
    let mut key = Vec::with_capacity(20);
    for field in fields {
        key.extend_from_slice(field);
        key.resize(key.len().next_multiple_of(4), 0);
    }
    key
}

/// Start and end of a range in a set of one field.
fn interval(first: Vec<u8>, last: &[u8], value: Value) -> Vec<Element> {
    let mut end = last.to_vec();
    let mut carry = true;
    for byte in end.iter_mut().rev() {
        (*byte, carry) = byte.overflowing_add(u8::from(carry));
    }
    let mut elements = vec![Element::exact(first, value)];
    if !carry {
        elements.push(Element { is_end: true, ..Element::exact(end, Value::None) });
    }
    elements
}

/// What a generation's maps hold whatever the policy: no class of an address or port that has none, the chains of
/// interfaces that have no stack, and ICMPv6 types.
#[must_use]
pub fn fixed(generation: Generation) -> Vec<Placed> {
    let mut placed = vec![(Map::Port, Element::catch_all(word(0)))];
    for family in [Family::V4, Family::V6] {
        placed.push((Map::Address(family), Element::catch_all(word(0))));
        for direction in [Direction::Egress, Direction::Ingress] {
            let unknown = Verdict::Jump(chains::unknown_name(direction, generation));
            placed.push((Map::Dispatch(direction, family), Element::catch_all(Value::Verdict(unknown))));
        }
    }
    placed.extend(NEIGHBOUR_TYPES.map(|kind| (Map::NeighbourTypes, Element::exact([kind], Value::None))));
    placed
}

/// The map that an address is in.
#[must_use]
pub fn address_map(address: &IpAddr) -> Map {
    Map::Address(Family::of(address))
}

/// An address's class.
#[must_use]
pub fn address(address: IpAddr, class: ClassId) -> Placed {
    let number = if class == ClassId::NONE { NO_CLASS } else { u32::from(class.0) };
    (address_map(&address), Element::exact(bytes(address), word(number)))
}

/// The class of an interval of addresses.
#[must_use]
pub fn net(range: &AddressRange, class: ClassId) -> Vec<Placed> {
    let map = Map::Net(Family::of(&range.first));
    let elements = interval(bytes(range.first), &bytes(range.last), word(u32::from(class.0)));
    elements.into_iter().map(|element| (map, element)).collect()
}

/// The L4 class of a port, a range of ports, or an ICMP type.
///
/// # Errors
/// [`Error::Inexpressible`] for ports of a protocol that has none.
pub fn l4(matched: L4Match, class: L4ClassId) -> Result<Vec<Placed>> {
    let value = word(l4_word(class));
    let ported = |number: u8| {
        PortProtocol::of(number).ok_or_else(|| Error::Inexpressible {
            what: format!("{matched:?}: protocol"),
            expected: "6, 17, 132 or 136, which have ports".into(),
            found: number.to_string(),
        })
    };
    let icmp = |number: u8| match number {
        ICMP4 => Ok(Family::V4),
        ICMP6 => Ok(Family::V6),
        _ => Err(Error::Inexpressible {
            what: format!("{matched:?}: protocol"),
            expected: "1 or 58".into(),
            found: number.to_string(),
        }),
    };
    Ok(match matched {
        L4Match::Port { protocol, port } => {
            ported(protocol)?;
            vec![(Map::Port, Element::exact(joined([&[protocol], &port.to_be_bytes()]), value))]
        }
        L4Match::PortRange { protocol, first, last } => {
            let map = Map::PortRange(ported(protocol)?);
            let elements = interval(first.to_be_bytes().to_vec(), &last.to_be_bytes(), value);
            elements.into_iter().map(|element| (map, element)).collect()
        }
        L4Match::Icmp { protocol, icmp_type, code } => {
            vec![(Map::Icmp(icmp(protocol)?), Element::exact(joined([&[icmp_type], &[code]]), value))]
        }
        L4Match::IcmpType { protocol, icmp_type } => {
            vec![(Map::IcmpType(icmp(protocol)?), Element::exact([icmp_type], value))]
        }
    })
}

/// The map that a verdict is in; `logs` says whether its path has Log rules.
#[must_use]
pub fn entry_map(key: EntryKey, verdict: tortie_dataplane::flat::Verdict, logs: bool) -> Map {
    let level = match key.l4 {
        L4Key::Class(_) => Level::L4,
        L4Key::Protocol(_) => Level::Protocol,
        L4Key::Any => Level::Any,
    };
    Map::Entry(level, Fate::of(verdict.outcome, logs))
}

/// A verdict; `logs` says whether its path has Log rules.
#[must_use]
pub fn entry(
    key: EntryKey,
    verdict: tortie_dataplane::flat::Verdict,
    logs: bool,
    generation: Generation,
) -> Placed {
    let mark = mark(key.stack, key.class).to_ne_bytes();
    let bytes = match key.l4 {
        L4Key::Class(class) => joined([&mark, &l4_word(class).to_ne_bytes()]),
        L4Key::Protocol(protocol) => joined([&mark, &[protocol]]),
        L4Key::Any => mark.to_vec(),
    };
    let value = if logs {
        Value::Verdict(Verdict::Goto(log_name(verdict.path, verdict.outcome, generation)))
    } else {
        Value::Counter(path_name(verdict.path, generation))
    };
    (entry_map(key, verdict, logs), Element::exact(bytes, value))
}

/// A port that a stack opens to everyone.
#[must_use]
pub fn open(stack: StackId, class: L4ClassId, path: PathId, generation: Generation) -> Placed {
    let key = (open_word(stack) | l4_word(class)).to_ne_bytes();
    (Map::Open, Element::exact(key, Value::Counter(path_name(path, generation))))
}

/// The key of a stack's default among the entries.
#[must_use]
pub const fn default_key(stack: StackId) -> EntryKey {
    EntryKey { stack, class: ClassId::ANY, l4: L4Key::Any }
}

/// All that an endpoint on the interface with index `index` becomes.
#[must_use]
pub fn endpoint(index: u32, ports: &EndpointPorts, generation: Generation) -> Vec<Placed> {
    let EndpointPorts { addresses, allowed_sources, ingress_v4, ingress_v6, egress_v4, egress_v6 } = ports;
    let interface = index.to_ne_bytes();
    let mut placed = vec![(Map::Interfaces, Element::exact(interface, Value::None))];
    for address in addresses {
        let key = joined([&interface, &bytes(*address)]);
        placed.push((Map::Source(Family::of(address)), Element::exact(key, Value::None)));
    }
    // Ranges of one set may not overlap.
    for net in IpNet::aggregate(&allowed_sources.to_vec()) {
        placed.push(source_net(index, &net));
    }
    for (direction, family, dispatch) in [
        (Direction::Ingress, Family::V4, ingress_v4),
        (Direction::Ingress, Family::V6, ingress_v6),
        (Direction::Egress, Family::V4, egress_v4),
        (Direction::Egress, Family::V6, egress_v6),
    ] {
        // The other side is asked after.
        let asks = |chain| Value::Verdict(Verdict::Jump(chain));
        let map = Map::Dispatch(direction, family);
        match dispatch {
            Dispatch::Stack(stack) => {
                let chain = stack_name(direction, *stack, generation);
                placed.push((map, Element::exact(interface, asks(chain))));
            }
            Dispatch::ByAddress(stacks) => {
                let chain = own_name(direction, family, generation);
                placed.push((map, Element::exact(interface, asks(chain))));
                for (address, stack) in stacks.iter().filter(|(address, _)| Family::of(address) == family) {
                    let chain = stack_name(direction, *stack, generation);
                    let key = joined([&interface, &bytes(*address)]);
                    let leads = Value::Verdict(Verdict::Goto(chain));
                    placed.push((Map::DispatchOwn(direction, family), Element::exact(key, leads)));
                }
            }
            // A miss is dropped.
            Dispatch::Drop => {}
        }
    }
    placed
}

/// Name of the chain that chooses a stack by the endpoint's own address.
#[must_use]
pub fn own_name(direction: Direction, family: Family, generation: Generation) -> String {
    generation.name(&format!("{}_by_own{}", super::layout::side(direction), super::layout::digit(family)))
}

/// Ranges compare bytes in order, so here the interface's index is in network order too.
fn source_net(index: u32, net: &IpNet) -> Placed {
    let interface = index.to_be_bytes();
    let element = Element {
        last: Some(joined([&interface, &bytes(net.broadcast())])),
        ..Element::exact(joined([&interface, &bytes(net.network())]), Value::None)
    };
    (Map::SourceNet(Family::of_net(net)), element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_ends_at_the_last_address_has_no_end() {
        let all = interval(vec![0, 0], &[0xff, 0xff], Value::None);
        assert_eq!(all.len(), 1);
        let some = interval(vec![0, 80], &[0, 0xff], Value::None);
        assert_eq!(some[1].key, [1, 0]);
        assert!(some[1].is_end);
    }

    #[test]
    fn names_say_which_path_they_are_of() {
        let (path, generation) = (PathId(17), Generation(3));
        assert_eq!(path_of_name(&path_name(path, generation)), Some((path, generation)));
        for outcome in [Outcome::Allow, Outcome::Deny] {
            assert_eq!(path_of_log(&log_name(path, outcome, generation)), Some((path, generation)));
        }
        assert_eq!(path_of_name("dropped_spoofed"), None);
    }
}
