//! Which packets are sent to a cluster, and what `analysis` says must become of each.
//!
//! Chosen so that every class of addresses, every class of ports and ICMP types, every protocol and every way to
//! a verdict that some hundred tries find is met, on every endpoint's both sides.

use std::collections::BTreeSet;
use std::net::IpAddr;

use fastrand::Rng;
use tortie_analysis::{Answer, Cluster, Node as Machine, Outcome, Packet, ToHost, Transport, judge_at};
use tortie_api::policy::Direction;
use tortie_classify::lookup::{self, Detail};
use tortie_dataplane::flat::{ClassId, L4Match};
use tortie_lab::packet as raw;
use tortie_proof::check::{Met, way};
use tortie_proof::node::Node;
use tortie_proof::packets;
use tortie_proof::random::{NODE, Objects, pick};
use tortie_proof::rules::Theme;

use crate::world::{UPLINK, World};

/// Random packets that are tried for something new.
const TRIES: usize = 150;

/// A packet, where it is sent from and to, and what must become of it.
#[derive(Debug, Clone)]
pub struct Probe {
    pub packet: Packet,
    pub from: String,
    pub to: String,
    pub fate: Fate,
    pub answer: Answer,
}

/// What must become of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// A side's policy drops it.
    Denied,
    /// No new connection begins with it: connection tracking calls it invalid, and it is dropped unjudged.
    Invalid,
    /// Its interface does not have its source: dropped unjudged.
    Spoofed,
}

impl Probe {
    /// The sides that judge it, with all that it meets there.
    pub fn ways(&self) -> Vec<(Direction, Vec<Met>)> {
        if !matches!(self.fate, Fate::Arrives | Fate::Denied) {
            return Vec::new();
        }
        let Answer { egress, ingress, .. } = &self.answer;
        let egress = egress.iter().map(|decision| (Direction::Egress, decision));
        let ingress = ingress.iter().map(|decision| (Direction::Ingress, decision));
        let mut ways = Vec::new();
        for (direction, decision) in egress.chain(ingress) {
            ways.push((direction, way(&decision.by, &decision.path)));
            if decision.outcome == Outcome::Deny {
                break;
            }
        }
        ways
    }

    /// The packet as it is sent.
    pub fn raw(&self, port: u16, cookie: u64) -> raw::Packet {
        let Packet { source, destination, protocol, transport } = self.packet;
        let transport = match (protocol, transport) {
            (6, Transport::Ports { destination, .. }) => raw::Transport::Tcp { source: port, destination },
            (17, Transport::Ports { destination, .. }) => raw::Transport::Udp { source: port, destination },
            (132, Transport::Ports { destination, .. }) => raw::Transport::Sctp { source: port, destination },
            (136, Transport::Ports { destination, .. }) => {
                raw::Transport::UdpLite { source: port, destination }
            }
            (_, Transport::Icmp { icmp_type: kind, code }) => {
                raw::Transport::Icmp { kind, code, identifier: port }
            }
            (other, _) => raw::Transport::Other(other),
        };
        raw::Packet { source, destination, transport, cookie }
    }
}

/// What is asked about.
pub struct Sampler<'a> {
    pub world: &'a World,
    pub cluster: &'a Cluster,
    pub objects: &'a Objects,
    pub node: &'a Node,
    pub theme: Theme,
}

impl Sampler<'_> {
    /// The packets, and how many classes of addresses they come from or go to.
    pub fn sample(&self, random: &mut Rng) -> (Vec<Probe>, usize) {
        let places = packets::addresses(self.objects);
        let local: Vec<IpAddr> =
            places.iter().copied().filter(|address| self.world.place(*address) != UPLINK).collect();
        if local.is_empty() {
            return (Vec::new(), 0);
        }
        let mut candidates = Vec::new();
        for other in self.one_of_each_class(&places) {
            let near: Vec<IpAddr> =
                local.iter().copied().filter(|address| address.is_ipv4() == other.is_ipv4()).collect();
            if !near.is_empty() {
                for to_endpoint in [true, false] {
                    let near = pick(random, &near);
                    let (source, destination) = if to_endpoint { (other, near) } else { (near, other) };
                    candidates.push(self.between(random, source, destination));
                }
            }
        }
        for matched in self.node.tables().l4.keys() {
            candidates.extend(self.of_l4(random, *matched, &local, &places));
        }
        candidates.extend((0..TRIES).map(|_| packets::packet(random, self.theme, &places)));
        let (mut seen, mut classes, mut probes) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for packet in candidates {
            let probe = self.probe(vary(random, packet));
            let kinds = self.kinds(&probe, &mut classes);
            let known = seen.len();
            seen.extend(kinds);
            if seen.len() > known {
                probes.push(probe);
            }
        }
        probes.extend((0..2).filter_map(|_| self.spoofed(random, &local)));
        (probes, classes.len())
    }

    fn probe(&self, packet: Packet) -> Probe {
        let machine = Machine { name: NODE.to_owned(), addresses: Vec::new(), to_host: ToHost::Drop };
        let answer = judge_at(self.cluster, &machine, &packet);
        let judged = answer.egress.is_some() || answer.ingress.is_some();
        let fate = match answer.verdict {
            _ if judged && !begins_a_connection(&packet) => Fate::Invalid,
            Outcome::Allow => Fate::Arrives,
            Outcome::Deny => Fate::Denied,
        };
        let place = |address| self.world.place(address).to_owned();
        Probe { packet, from: place(packet.source), to: place(packet.destination), fate, answer }
    }

    /// What the probe is an example of.
    fn kinds(&self, probe: &Probe, classes: &mut BTreeSet<ClassId>) -> Vec<String> {
        let Packet { source, destination, protocol, transport } = probe.packet;
        let mut kinds = Vec::new();
        for (direction, met) in probe.ways() {
            let (interface, other) = match direction {
                Direction::Ingress => (&probe.to, source),
                Direction::Egress => (&probe.from, destination),
            };
            let v4 = source.is_ipv4();
            kinds.push(format!("{interface} {direction:?} v4 {v4} {met:?}"));
            let class = lookup::class_of(self.node.tables(), other);
            classes.insert(class);
            kinds.push(format!("{direction:?} class {class:?}"));
            let detail = match transport {
                Transport::Ports { destination, .. } => Detail::Port(destination),
                Transport::Icmp { icmp_type, code } => Detail::Icmp { icmp_type, code },
                Transport::Other => Detail::Nothing,
            };
            let asked = lookup::Packet { own: other, other, protocol, detail };
            let l4 = lookup::l4_class_of(self.node.tables(), &asked);
            kinds.push(format!("{interface} {direction:?} protocol {protocol} l4 {l4:?}"));
        }
        if probe.fate == Fate::Invalid {
            kinds.push(format!("{} to {}: {protocol} {transport:?}", probe.from, probe.to));
        }
        kinds
    }

    /// An address of every class that packets can come from: endpoints', single ones, both ends of every net.
    fn one_of_each_class(&self, places: &[IpAddr]) -> Vec<IpAddr> {
        let tables = self.node.tables();
        let nets = tables.nets.keys().flat_map(|range| [range.first, range.last]);
        let all = places.iter().copied().chain(tables.addresses.keys().copied()).chain(nets);
        let mut seen = BTreeSet::new();
        // A class may have addresses of both families, and is looked for in both.
        all.filter(|address| is_routable(*address))
            .filter(|address| seen.insert((lookup::class_of(tables, *address), address.is_ipv4())))
            .collect()
    }

    fn between(&self, random: &mut Rng, source: IpAddr, destination: IpAddr) -> Packet {
        let packet = packets::packet(random, self.theme, &[source]);
        Packet { source, destination, ..packet }
    }

    /// A packet of a class of ports or ICMP types, to an endpoint and from one.
    fn of_l4(&self, random: &mut Rng, matched: L4Match, local: &[IpAddr], places: &[IpAddr]) -> Vec<Packet> {
        let ports = |random: &mut Rng, first, last| Transport::Ports {
            source: 40_000,
            destination: pick(random, &[first, last]),
        };
        let (protocol, transport) = match matched {
            L4Match::Port { protocol, port } => (protocol, ports(random, port, port)),
            L4Match::PortRange { protocol, first, last } => (protocol, ports(random, first, last)),
            L4Match::Icmp { protocol, icmp_type, code } => (protocol, Transport::Icmp { icmp_type, code }),
            L4Match::IcmpType { protocol, icmp_type } => (protocol, Transport::Icmp { icmp_type, code: 7 }),
        };
        let fits = |address: &IpAddr| match protocol {
            1 => address.is_ipv4(),
            58 => address.is_ipv6(),
            _ => true,
        };
        let near: Vec<IpAddr> = local.iter().copied().filter(fits).collect();
        if near.is_empty() {
            return Vec::new();
        }
        let near = pick(random, &near);
        let far: Vec<IpAddr> =
            places.iter().copied().filter(|address| address.is_ipv4() == near.is_ipv4()).collect();
        let far = pick(random, &far);
        [(near, far), (far, near)]
            .map(|(source, destination)| Packet { source, destination, protocol, transport })
            .into()
    }

    /// A packet from an endpoint's interface with another's address.
    fn spoofed(&self, random: &mut Rng, local: &[IpAddr]) -> Option<Probe> {
        let at = pick(random, local);
        let from = self.world.place(at).to_owned();
        let source: IpAddr =
            if at.is_ipv4() { [192, 0, 2, 77].into() } else { "2001:db8::77".parse().ok()? };
        let probe = self.probe(Packet::with_ports(source, at, 17, (40_000, 53)));
        Some(Probe { from, fate: Fate::Spoofed, ..probe })
    }
}

/// Where the random packets have ICMP messages that begin no connection, half become requests of a rarer type.
fn vary(random: &mut Rng, packet: Packet) -> Packet {
    match packet.transport {
        Transport::Icmp { code, .. } if !begins_a_connection(&packet) && random.bool() => {
            let rare = if packet.protocol == 1 { pick(random, &[13, 15, 17]) } else { 139 };
            Packet { transport: Transport::Icmp { icmp_type: rare, code }, ..packet }
        }
        _ => packet,
    }
}

/// What connection tracking takes for the first packet of a connection: of ICMP only requests.
fn begins_a_connection(packet: &Packet) -> bool {
    match (packet.protocol, packet.transport) {
        (1, Transport::Icmp { icmp_type, .. }) => [8, 13, 15, 17].contains(&icmp_type),
        (58, Transport::Icmp { icmp_type, .. }) => [128, 139].contains(&icmp_type),
        _ => true,
    }
}

/// Whether a router forwards packets from and to it.
fn is_routable(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && match address {
            IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_link_local() && v4.octets()[0] != 0,
            IpAddr::V6(_) => true,
        }
}
