//! L4 classes: which ports, and which ICMP types and codes, no rule can tell apart.
//!
//! An *atom* is what a rule or a named port speaks of: a range of ports of a protocol, or an
//! ICMP type with or without a code. The port space of a protocol is cut at every atom's ends;
//! pieces inside the same atoms are one class. What is inside none has no class: there the
//! protocol alone counts. Atoms are only ever added; `Classifier::rebuild` starts anew.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use tortie_dataplane::flat::{L4ClassId, L4Match};
use tortie_dataplane::policy::{IcmpMatch, PortRange};

/// What a rule can say of ports or ICMP types of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    /// Ports.
    Ports(PortRange),
    /// An ICMP type, and perhaps a code.
    Icmp(IcmpMatch),
}

/// A packet's layer 4 as a rule sees it: one that stands for its whole class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A protocol that no rule names.
    Other,
    /// A protocol's port, or ICMP type, that no atom holds.
    Protocol(u8),
    /// A port.
    Port(u8, u16),
    /// An ICMP type; the code is one that no atom names if none is given.
    Icmp(u8, u8, Option<u8>),
}

impl Sample {
    /// The protocol, if a rule names it.
    pub fn protocol(self) -> Option<u8> {
        match self {
            Self::Other => None,
            Self::Protocol(protocol) | Self::Port(protocol, _) | Self::Icmp(protocol, ..) => Some(protocol),
        }
    }

    /// Whether an atom of the same protocol holds it.
    pub fn within(self, atom: Atom) -> bool {
        match (self, atom) {
            (Self::Port(_, port), Atom::Ports(range)) => (range.first..=range.last).contains(&port),
            (Self::Icmp(_, icmp_type, code), Atom::Icmp(matched)) => {
                icmp_type == matched.icmp_type && (matched.code.is_none() || matched.code == code)
            }
            _ => false,
        }
    }
}

/// One class: the atoms that hold it and one of its packets.
#[derive(Debug, Clone)]
struct Class {
    atoms: Box<[Atom]>,
    sample: Sample,
}

/// All L4 classes of the node.
#[derive(Debug, Default)]
pub struct L4 {
    atoms: BTreeMap<u8, BTreeSet<Atom>>,
    matches: BTreeMap<L4Match, L4ClassId>,
    classes: FxHashMap<L4ClassId, Class>,
    by_atoms: FxHashMap<(u8, Box<[Atom]>), L4ClassId>,
    by_atom: FxHashMap<(u8, Atom), Vec<L4ClassId>>,
    next: BTreeMap<u8, u16>,
    touched: BTreeSet<u8>,
}

/// What [`L4::settle`] changed.
#[derive(Debug, Default)]
pub struct L4Change {
    /// Matches with their new class.
    pub set: Vec<(L4Match, L4ClassId)>,
    /// Matches that were replaced by finer ones.
    pub removed: Vec<L4Match>,
    /// New classes that were cut out of an older one: (new, old). Entries of the old one hold for the new.
    pub split: Vec<(L4ClassId, L4ClassId)>,
}

/// A protocol has more classes than its numbers reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The protocol.
    pub protocol: u8,
}

impl L4 {
    /// Adds an atom; the cut is made at the next [`Self::settle`].
    pub fn add(&mut self, protocol: u8, atom: Atom) {
        if self.atoms.entry(protocol).or_default().insert(atom) {
            self.touched.insert(protocol);
        }
    }

    /// A packet that stands for a class.
    pub fn sample(&self, id: L4ClassId) -> Option<Sample> {
        self.classes.get(&id).map(|class| class.sample)
    }

    /// The classes inside an atom.
    pub fn within(&self, protocol: u8, atom: Atom) -> &[L4ClassId] {
        self.by_atom.get(&(protocol, atom)).map_or(&[], Vec::as_slice)
    }

    /// All matches with their class.
    pub fn matches(&self) -> &BTreeMap<L4Match, L4ClassId> {
        &self.matches
    }

    /// Cuts the port spaces at the atoms that came since the last call.
    pub fn settle(&mut self) -> Result<L4Change, Exhausted> {
        let mut change = L4Change::default();
        for protocol in std::mem::take(&mut self.touched) {
            self.settle_protocol(protocol, &mut change)?;
        }
        Ok(change)
    }

    fn settle_protocol(&mut self, protocol: u8, change: &mut L4Change) -> Result<(), Exhausted> {
        let pieces = match self.atoms.get(&protocol) {
            Some(atoms) => pieces(protocol, atoms),
            None => return Ok(()),
        };
        let old: BTreeMap<L4Match, L4ClassId> = self
            .matches
            .iter()
            .filter(|(matched, _)| protocol_of(matched) == protocol)
            .map(|(matched, id)| (*matched, *id))
            .collect();
        let wanted: std::collections::HashSet<&[Atom]> = pieces.iter().map(|piece| &*piece.atoms).collect();
        // A class all of whose atoms' lists are gone lives on in the first piece that was cut from it.
        let mut heirless: BTreeSet<L4ClassId> = old
            .values()
            .filter(|id| self.classes.get(id).is_some_and(|class| !wanted.contains(&*class.atoms)))
            .copied()
            .collect();
        let mut fresh = BTreeMap::new();
        for piece in &pieces {
            let key = (protocol, piece.atoms.clone());
            let before = covering(&old, piece.sample);
            let id = match self.by_atoms.get(&key) {
                Some(id) => *id,
                None => match before {
                    Some(id) if heirless.remove(&id) => {
                        self.rename(id, piece);
                        id
                    }
                    _ => {
                        let index = self.next.entry(protocol).or_insert(0);
                        *index = index.checked_add(1).ok_or(Exhausted { protocol })?;
                        let id = L4ClassId { protocol, index: *index };
                        self.insert(id, piece);
                        id
                    }
                },
            };
            if let Some(before) = before
                && before != id
                && !change.split.contains(&(id, before))
            {
                change.split.push((id, before));
            }
            fresh.insert(piece.matched, id);
        }
        for matched in old.keys().filter(|matched| !fresh.contains_key(*matched)) {
            self.matches.remove(matched);
            change.removed.push(*matched);
        }
        for (matched, id) in fresh {
            if self.matches.insert(matched, id) != Some(id) {
                change.set.push((matched, id));
            }
        }
        Ok(())
    }

    fn insert(&mut self, id: L4ClassId, piece: &Piece) {
        self.by_atoms.insert((id.protocol, piece.atoms.clone()), id);
        for atom in &piece.atoms {
            self.by_atom.entry((id.protocol, *atom)).or_default().push(id);
        }
        self.classes.insert(id, Class { atoms: piece.atoms.clone(), sample: piece.sample });
    }

    fn rename(&mut self, id: L4ClassId, piece: &Piece) {
        if let Some(class) = self.classes.remove(&id) {
            self.by_atoms.remove(&(id.protocol, class.atoms.clone()));
            for atom in &class.atoms {
                if let Some(ids) = self.by_atom.get_mut(&(id.protocol, *atom)) {
                    ids.retain(|other| *other != id);
                }
            }
        }
        self.insert(id, piece);
    }
}

/// A part of a protocol's space that no atom cuts.
#[derive(Debug)]
struct Piece {
    matched: L4Match,
    atoms: Box<[Atom]>,
    sample: Sample,
}

fn protocol_of(matched: &L4Match) -> u8 {
    match *matched {
        L4Match::Port { protocol, .. }
        | L4Match::PortRange { protocol, .. }
        | L4Match::Icmp { protocol, .. }
        | L4Match::IcmpType { protocol, .. } => protocol,
    }
}

/// The class that held a packet before the cut.
fn covering(old: &BTreeMap<L4Match, L4ClassId>, sample: Sample) -> Option<L4ClassId> {
    match sample {
        Sample::Port(protocol, port) => old.get(&L4Match::Port { protocol, port }).copied().or_else(|| {
            old.range(
                L4Match::PortRange { protocol, first: 0, last: 0 }..=L4Match::PortRange {
                    protocol,
                    first: port,
                    last: u16::MAX,
                },
            )
            .next_back()
            .and_then(|(matched, id)| match *matched {
                L4Match::PortRange { last, .. } if port <= last => Some(*id),
                _ => None,
            })
        }),
        Sample::Icmp(protocol, icmp_type, code) => code
            .and_then(|code| old.get(&L4Match::Icmp { protocol, icmp_type, code }))
            .or_else(|| old.get(&L4Match::IcmpType { protocol, icmp_type }))
            .copied(),
        Sample::Other | Sample::Protocol(_) => None,
    }
}

fn pieces(protocol: u8, atoms: &BTreeSet<Atom>) -> Vec<Piece> {
    let mut pieces = port_pieces(protocol, atoms);
    let mut types = BTreeMap::<u8, BTreeSet<u8>>::new();
    for atom in atoms {
        if let Atom::Icmp(IcmpMatch { icmp_type, code }) = atom {
            types.entry(*icmp_type).or_default().extend(code);
        }
    }
    for (icmp_type, codes) in types {
        let holding = |sample: Sample| -> Box<[Atom]> {
            atoms.iter().filter(|atom| sample.within(**atom)).copied().collect()
        };
        for code in codes {
            let sample = Sample::Icmp(protocol, icmp_type, Some(code));
            let matched = L4Match::Icmp { protocol, icmp_type, code };
            pieces.push(Piece { matched, atoms: holding(sample), sample });
        }
        let sample = Sample::Icmp(protocol, icmp_type, None);
        let atoms = holding(sample);
        if !atoms.is_empty() {
            pieces.push(Piece { matched: L4Match::IcmpType { protocol, icmp_type }, atoms, sample });
        }
    }
    pieces
}

/// Sweeps over the ports once: at each end of an atom the set of atoms around changes.
fn port_pieces(protocol: u8, atoms: &BTreeSet<Atom>) -> Vec<Piece> {
    let mut ends = BTreeMap::<u32, (Vec<Atom>, Vec<Atom>)>::new();
    for atom in atoms {
        if let Atom::Ports(range) = atom {
            ends.entry(u32::from(range.first)).or_default().0.push(*atom);
            ends.entry(u32::from(range.last) + 1).or_default().1.push(*atom);
        }
    }
    let mut pieces = Vec::new();
    let mut around = BTreeSet::new();
    let mut from = 0_u32;
    for (at, (begin, end)) in ends {
        if !around.is_empty()
            && let (Ok(first), Ok(last)) = (u16::try_from(from), u16::try_from(at - 1))
        {
            let matched = if first == last {
                L4Match::Port { protocol, port: first }
            } else {
                L4Match::PortRange { protocol, first, last }
            };
            let sample = Sample::Port(protocol, first);
            pieces.push(Piece { matched, atoms: around.iter().copied().collect(), sample });
        }
        for atom in end {
            around.remove(&atom);
        }
        around.extend(begin);
        from = at;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(first: u16, last: u16) -> Atom {
        Atom::Ports(PortRange { first, last })
    }

    fn range(first: u16, last: u16) -> L4Match {
        L4Match::PortRange { protocol: 6, first, last }
    }

    #[test]
    fn a_port_cut_out_of_a_range_leaves_the_rest_its_class() {
        let mut l4 = L4::default();
        l4.add(6, ports(1000, 2000));
        let first = l4.settle().expect("one class");
        let whole = first.set[0].1;
        l4.add(6, ports(1500, 1500));
        let change = l4.settle().expect("two classes");
        assert_eq!(l4.matches()[&range(1000, 1499)], whole);
        assert_eq!(l4.matches()[&range(1501, 2000)], whole);
        let cut = l4.matches()[&L4Match::Port { protocol: 6, port: 1500 }];
        assert_eq!(change.split, [(cut, whole)]);
        assert_eq!(change.removed, [range(1000, 2000)]);
    }

    #[test]
    fn a_port_that_nothing_held_splits_nothing() {
        let mut l4 = L4::default();
        l4.add(6, ports(80, 80));
        l4.settle().expect("one class");
        l4.add(6, ports(81, 81));
        assert_eq!(l4.settle().expect("two classes").split, []);
    }

    #[test]
    fn a_class_that_moves_whole_keeps_its_number() {
        let mut l4 = L4::default();
        l4.add(6, ports(80, 80));
        let before = l4.settle().expect("one class").set[0].1;
        l4.add(6, ports(1, 100));
        let change = l4.settle().expect("two classes");
        assert_eq!(l4.matches()[&L4Match::Port { protocol: 6, port: 80 }], before);
        assert_eq!(change.split, []);
    }

    #[test]
    fn icmp_codes_are_cut_out_of_their_type() {
        let mut l4 = L4::default();
        l4.add(1, Atom::Icmp(IcmpMatch { icmp_type: 3, code: None }));
        l4.add(1, Atom::Icmp(IcmpMatch { icmp_type: 3, code: Some(4) }));
        l4.add(1, Atom::Icmp(IcmpMatch { icmp_type: 8, code: Some(0) }));
        l4.settle().expect("three classes");
        let found: Vec<_> = l4.matches().keys().copied().collect();
        assert_eq!(
            found,
            [
                L4Match::Icmp { protocol: 1, icmp_type: 3, code: 4 },
                L4Match::Icmp { protocol: 1, icmp_type: 8, code: 0 },
                L4Match::IcmpType { protocol: 1, icmp_type: 3 },
            ]
        );
    }
}
