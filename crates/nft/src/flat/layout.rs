//! The sets and maps of a generation: which there are, their types, and their names.
//!
//! A generation is a complete judge under names of its own: `allow_l4.3` is a map of generation 3. Only the base
//! chains have no generation; they lead to one.

use crate::object::{Data, Field, Set};
use tortie_api::policy::Direction;
use tortie_dataplane::flat::Outcome;
use tortie_dataplane::policy::Family;

/// The number in the names of a generation; from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// The name `stem` in this generation.
    #[must_use]
    pub fn name(self, stem: &str) -> String {
        format!("{stem}.{}", self.0)
    }

    /// The generation that an object's name belongs to.
    #[must_use]
    pub fn of(name: &str) -> Option<Generation> {
        name.rsplit_once('.')?.1.parse().ok().map(Generation)
    }
}

/// Protocols that have ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PortProtocol {
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
    UdpLite = 136,
}

impl PortProtocol {
    /// All of them.
    pub const ALL: [PortProtocol; 4] =
        [PortProtocol::Tcp, PortProtocol::Udp, PortProtocol::Sctp, PortProtocol::UdpLite];

    /// The protocol with this number, if it has ports.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| *protocol as u8 == number)
    }
}

/// Which key an entry has beside its stack and class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// An L4 class.
    L4,
    /// A protocol.
    Protocol,
    /// Nothing.
    Any,
}

/// What an entry leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Counted and allowed.
    Allow,
    /// Counted and dropped.
    Deny,
    /// A chain that logs, counts and allows or drops.
    Log,
}

impl Fate {
    /// Of a verdict; `logs` says whether its path has Log rules.
    #[must_use]
    pub fn of(outcome: Outcome, logs: bool) -> Self {
        match (logs, outcome) {
            (true, _) => Fate::Log,
            (false, Outcome::Allow) => Fate::Allow,
            (false, Outcome::Deny) => Fate::Deny,
        }
    }
}

/// One of a generation's sets and maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Map {
    /// (interface, source address) that is no spoofing.
    Source(Family),
    /// The same with prefixes.
    SourceNet(Family),
    /// Interfaces that may speak neighbour discovery.
    Interfaces,
    /// ICMPv6 types of neighbour discovery and multicast listener discovery.
    NeighbourTypes,
    /// Address to class.
    Address(Family),
    /// Interval of addresses to class.
    Net(Family),
    /// (protocol, destination port) to L4 class.
    Port,
    /// Interval of destination ports to L4 class.
    PortRange(PortProtocol),
    /// (type, code) to L4 class.
    Icmp(Family),
    /// Type, with any code, to L4 class.
    IcmpType(Family),
    /// Interface to stack.
    Dispatch(Direction, Family),
    /// (interface, own address) to stack.
    DispatchOwn(Direction, Family),
    /// (stack and L4 class in one word), whose verdict no class changes, to counter.
    Open,
    /// (stack and class in one word, see [`Level`]) to counter or log chain.
    Entry(Level, Fate),
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// Both, the sender's first.
pub const DIRECTIONS: [Direction; 2] = [Direction::Egress, Direction::Ingress];
const LEVELS: [Level; 3] = [Level::L4, Level::Protocol, Level::Any];
const FATES: [Fate; 3] = [Fate::Allow, Fate::Deny, Fate::Log];

/// How a map is found and sized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A hash with a fixed size: the fast one; a larger one means a new generation.
    Sized,
    /// A hash that grows.
    Growing,
    /// Ranges.
    Interval,
}

impl Map {
    /// Is written before all else of a generation and deleted after it: by it a generation is known.
    pub const FIRST: Map = Map::NeighbourTypes;

    /// Every map of a generation, in the order in which they are made.
    #[must_use]
    pub fn all() -> Vec<Map> {
        let mut maps = vec![Map::FIRST, Map::Interfaces, Map::Port];
        for family in FAMILIES {
            maps.extend([
                Map::Source(family),
                Map::SourceNet(family),
                Map::Address(family),
                Map::Net(family),
            ]);
            maps.extend([Map::Icmp(family), Map::IcmpType(family)]);
            for direction in DIRECTIONS {
                maps.extend([Map::Dispatch(direction, family), Map::DispatchOwn(direction, family)]);
            }
        }
        maps.extend(PortProtocol::ALL.map(Map::PortRange));
        maps.push(Map::Open);
        for level in LEVELS {
            maps.extend(FATES.map(|fate| Map::Entry(level, fate)));
        }
        maps
    }

    /// The name without its generation.
    #[must_use]
    pub fn stem(self) -> String {
        match self {
            Map::Source(family) => format!("source{}", digit(family)),
            Map::SourceNet(family) => format!("source_net{}", digit(family)),
            Map::Interfaces => "interfaces".into(),
            Map::NeighbourTypes => "neighbour_types".into(),
            Map::Address(family) => format!("address{}", digit(family)),
            Map::Net(family) => format!("net{}", digit(family)),
            Map::Port => "l4_port".into(),
            Map::PortRange(protocol) => format!("l4_range_{}", protocol_name(protocol)),
            Map::Icmp(family) => format!("l4_icmp{}", digit(family)),
            Map::IcmpType(family) => format!("l4_icmp_type{}", digit(family)),
            Map::Dispatch(direction, family) => format!("{}_stack{}", side(direction), digit(family)),
            Map::DispatchOwn(direction, family) => format!("{}_own{}", side(direction), digit(family)),
            Map::Open => "open_l4".into(),
            Map::Entry(level, fate) => {
                let fate = match fate {
                    Fate::Allow => "allow",
                    Fate::Deny => "deny",
                    Fate::Log => "log",
                };
                let level = match level {
                    Level::L4 => "l4",
                    Level::Protocol => "protocol",
                    Level::Any => "any",
                };
                format!("{fate}_{level}")
            }
        }
    }

    /// The name in a generation.
    #[must_use]
    pub fn name(self, generation: Generation) -> String {
        generation.name(&self.stem())
    }

    /// How it is found.
    #[must_use]
    pub fn shape(self) -> Shape {
        match self {
            Map::SourceNet(_) | Map::Net(_) | Map::PortRange(_) => Shape::Interval,
            Map::Source(_)
            | Map::Address(_)
            | Map::Port
            | Map::Dispatch(..)
            | Map::Open
            | Map::Entry(_, Fate::Allow | Fate::Deny) => Shape::Sized,
            Map::Interfaces
            | Map::NeighbourTypes
            | Map::Icmp(_)
            | Map::IcmpType(_)
            | Map::DispatchOwn(..)
            | Map::Entry(_, Fate::Log) => Shape::Growing,
        }
    }

    /// Its definition; `size` is the most elements that it must hold, used if it is [`Shape::Sized`].
    #[must_use]
    pub fn set(self, generation: Generation, size: u32) -> Set {
        use Field::*;
        let address = |family| match family {
            Family::V4 => Ipv4Address,
            Family::V6 => Ipv6Address,
        };
        let (key, data) = match self {
            Map::Source(family) | Map::SourceNet(family) => {
                (vec![InterfaceIndex, address(family)], Data::None)
            }
            Map::Interfaces => (vec![InterfaceIndex], Data::None),
            Map::NeighbourTypes => (vec![Icmp6Type], Data::None),
            Map::Address(family) | Map::Net(family) => (vec![address(family)], Data::Value(Mark)),
            Map::Port => (vec![Protocol, Port], Data::Value(ClassId)),
            Map::PortRange(_) => (vec![Port], Data::Value(ClassId)),
            Map::Icmp(Family::V4) => (vec![Icmp4Type, Icmp4Code], Data::Value(ClassId)),
            Map::Icmp(Family::V6) => (vec![Icmp6Type, Icmp6Code], Data::Value(ClassId)),
            Map::IcmpType(Family::V4) => (vec![Icmp4Type], Data::Value(ClassId)),
            Map::IcmpType(Family::V6) => (vec![Icmp6Type], Data::Value(ClassId)),
            Map::Dispatch(..) => (vec![InterfaceIndex], Data::Verdict),
            Map::DispatchOwn(_, family) => (vec![InterfaceIndex, address(family)], Data::Verdict),
            Map::Open => (vec![ClassId], Data::Counter),
            Map::Entry(level, fate) => {
                let key = match level {
                    Level::L4 => vec![Mark, ClassId],
                    Level::Protocol => vec![Mark, Protocol],
                    Level::Any => vec![Mark],
                };
                let data = match fate {
                    Fate::Allow | Fate::Deny => Data::Counter,
                    Fate::Log => Data::Verdict,
                };
                (key, data)
            }
        };
        let shape = self.shape();
        Set {
            name: self.name(generation),
            key,
            data,
            interval: shape == Shape::Interval,
            size: if shape == Shape::Sized { size } else { 0 },
        }
    }
}

/// "4" or "6".
#[must_use]
pub fn digit(family: Family) -> char {
    match family {
        Family::V4 => '4',
        Family::V6 => '6',
    }
}

/// "egress" or "ingress".
#[must_use]
pub fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Egress => "egress",
        Direction::Ingress => "ingress",
    }
}

fn protocol_name(protocol: PortProtocol) -> &'static str {
    match protocol {
        PortProtocol::Tcp => "tcp",
        PortProtocol::Udp => "udp",
        PortProtocol::Sctp => "sctp",
        PortProtocol::UdpLite => "udplite",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_map_is_listed_once_and_has_a_name_of_its_own() {
        let maps = Map::all();
        let names: BTreeSet<String> = maps.iter().map(|map| map.name(Generation(3))).collect();
        assert_eq!(names.len(), maps.len());
        assert!(names.iter().all(|name| Generation::of(name) == Some(Generation(3))));
        assert_eq!(Generation::of("forward"), None);
    }
}
