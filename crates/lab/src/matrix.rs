//! The connectivity matrix: every pair of parties, every service, measured by real packets.

use crate::probe::{Failure, Outcome, Sentinel, Service, probe_here};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use tortie_netlink::Namespace;

/// An end of traffic: a pod or a host.
#[derive(Debug)]
pub struct Party {
    /// What the matrix calls it.
    pub name: String,
    /// Where its sockets are.
    pub namespace: Namespace,
    /// Its addresses, at least one; the first is what is probed unless said otherwise.
    pub addresses: Vec<IpAddr>,
}

impl Party {
    /// A party with these addresses.
    pub fn new(name: &str, namespace: Namespace, addresses: Vec<IpAddr>) -> Result<Self> {
        if addresses.is_empty() {
            return Err(Error::Invalid {
                field: "party",
                found: format!("{name} without an address"),
                expected: "at least one address",
            });
        }
        Ok(Party { name: name.into(), namespace, addresses })
    }

    /// Its first address of a family.
    #[must_use]
    pub fn address(&self, ipv4: bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == ipv4)
    }
}

/// Established flows between every ordered pair, to be opened while everything is allowed.
#[derive(Debug)]
pub struct Sentinels {
    flows: BTreeMap<(usize, usize), (IpAddr, Sentinel)>,
}

impl Sentinels {
    /// Opens a flow from each party to the first address (of the chosen family) of each other party that has
    /// one. All parties need a running [`crate::Responder`].
    pub fn establish(parties: &[Party], ipv4: bool) -> Result<Self> {
        let mut flows = BTreeMap::new();
        for (from, source) in parties.iter().enumerate() {
            for (to, target) in parties.iter().enumerate().filter(|(to, _)| *to != from) {
                if let (Some(_), Some(address)) = (source.address(ipv4), target.address(ipv4)) {
                    flows.insert((from, to), (address, Sentinel::establish(&source.namespace, address)?));
                }
            }
        }
        Ok(Sentinels { flows })
    }
}

/// One place of the matrix: who sends to whom, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Index of the sender in [`Matrix::names`].
    pub from: usize,
    /// Index of the receiver.
    pub to: usize,
    /// What is tried.
    pub service: Service,
}

/// A place where two matrices differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub place: Place,
    /// What this matrix has.
    pub here: Option<Outcome>,
    /// What the other has.
    pub there: Option<Outcome>,
}

/// What every probe became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// Names of the parties, rows and columns.
    pub names: Vec<String>,
    /// What became of each probe.
    pub cells: BTreeMap<Place, Outcome>,
}

impl Matrix {
    /// Probes each of `services(to)` from each party to each other; one probe is one new flow.
    pub fn measure(
        parties: &[Party],
        sentinels: &Sentinels,
        services: impl Fn(&Party) -> Vec<Service> + Sync,
    ) -> Result<Self> {
        let mut cells = BTreeMap::new();
        for (from, source) in parties.iter().enumerate() {
            let flows = sentinels.flows.range((from, 0)..(from + 1, 0));
            let row = source.namespace.run(|| -> Result<Vec<_>> {
                let mut row = Vec::new();
                for ((_, to), (address, sentinel)) in flows {
                    for service in services(&parties[*to]) {
                        let outcome =
                            probe_here(sentinel, *address, service).map_err(|failure| match failure {
                                Failure::Lab(error) => error,
                                Failure::Io(error) => Error::system(
                                    format!("probe {service} from {} to {}", source.name, parties[*to].name),
                                    error,
                                ),
                            })?;
                        row.push((Place { from, to: *to, service }, outcome));
                    }
                }
                Ok(row)
            })??;
            cells.extend(row);
        }
        Ok(Matrix { names: parties.iter().map(|party| party.name.clone()).collect(), cells })
    }

    /// How many probes were sent and how many of them had this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.cells.values().filter(|found| **found == outcome).count()
    }

    /// The cells that differ from another measurement, or a prediction.
    #[must_use]
    pub fn differences(&self, other: &Matrix) -> Vec<Difference> {
        let places: BTreeSet<Place> = self.cells.keys().chain(other.cells.keys()).copied().collect();
        let compared = places.into_iter().map(|place| Difference {
            place,
            here: self.cells.get(&place).copied(),
            there: other.cells.get(&place).copied(),
        });
        compared.filter(|difference| difference.here != difference.there).collect()
    }
}

/// Rows send, columns receive. In a cell each service of the column, in the column's order: its letter (T, U, I)
/// when open, `r` when refused, `·` when blocked, space when it wasn't tried.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = 0..self.names.len();
        let columns: Vec<Vec<Service>> = places
            .clone()
            .map(|to| {
                let mut services: Vec<_> =
                    self.cells.keys().filter(|place| place.to == to).map(|place| place.service).collect();
                services.sort();
                services.dedup();
                services
            })
            .collect();
        let first = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(9);
        let width = |to: usize| self.names[to].chars().count().max(columns[to].len());
        write!(f, "{:first$}", "from \\ to")?;
        for to in places.clone() {
            write!(f, "  {:w$}", self.names[to], w = width(to))?;
        }
        writeln!(f)?;
        for from in places.clone() {
            write!(f, "{:first$}", self.names[from])?;
            for to in places.clone() {
                let cell: String = if from == to {
                    "-".into()
                } else {
                    columns[to]
                        .iter()
                        .map(|service| {
                            letter(*service, self.cells.get(&Place { from, to, service: *service }))
                        })
                        .collect()
                };
                write!(f, "  {cell:w$}", w = width(to))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn letter(service: Service, outcome: Option<&Outcome>) -> char {
    match (outcome, service) {
        (None, _) => ' ',
        (Some(Outcome::Blocked), _) => '·',
        (Some(Outcome::Refused), _) => 'r',
        (Some(Outcome::Open), Service::Tcp(_)) => 'T',
        (Some(Outcome::Open), Service::Udp(_)) => 'U',
        (Some(Outcome::Open), Service::Icmp) => 'I',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_row_to_column() {
        let at = |from, to, service| Place { from, to, service };
        let mut matrix = Matrix { names: vec!["web".into(), "intruder".into()], cells: BTreeMap::new() };
        matrix.cells.insert(at(1, 0, Service::Tcp(80)), Outcome::Open);
        matrix.cells.insert(at(1, 0, Service::Udp(53)), Outcome::Blocked);
        matrix.cells.insert(at(0, 1, Service::Icmp), Outcome::Refused);
        let lines: Vec<_> = matrix.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(lines, ["from \\ to  web  intruder", "web        -    r", "intruder   T·   -"]);
        assert_eq!(matrix.count(Outcome::Blocked), 1);
        let mut other = matrix.clone();
        other.cells.insert(at(1, 0, Service::Udp(53)), Outcome::Open);
        let want = [Difference {
            place: at(1, 0, Service::Udp(53)),
            here: Some(Outcome::Blocked),
            there: Some(Outcome::Open),
        }];
        assert_eq!(matrix.differences(&other), want);
    }
}
