//! The matrix with counters: every pair, every service, and which rules counted each probe.
//!
//! Each round takes its source ports from a range of its own, so that no probe meets a connection that an earlier
//! one left behind: every probe is one new connection, and one first packet is what counters count.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tortie_agent::ledger::RuleName;
use tortie_agent::status::{PolicyStatus, RuleStatus, Status};
use tortie_lab::matrix::Place;
use tortie_lab::probe::probe;
use tortie_lab::respond::SENTINEL_PORT;
use tortie_lab::{Matrix, Outcome, Party, Sentinel, Service};
use tortie_netlink::sysctl;

use super::interrupt::Interrupt;
use super::stage::Stage;

/// Where the first round's source ports begin.
const FIRST_PORT: u16 = 10_000;
/// Source ports of a round; far more than it has probes.
const PORTS: u16 = 5_000;
/// How long after a SYN the kernel is far from sending another (it does so after a second, `TCP_TIMEOUT_INIT`).
const ONE_SYN: Duration = Duration::from_millis(800);
/// How often a probe is sent anew because the machine stood still for longer than that.
const ATTEMPTS: usize = 5;
/// How long one answer is waited for before the next packet is sent over a new link.
const AWAKE_AFTER: Duration = Duration::from_millis(20);
/// How long a new link may take.
const PATIENCE: Duration = Duration::from_secs(10);
const RANGE: &str = "net/ipv4/ip_local_port_range";

/// How often rules counted.
pub type Counts = BTreeMap<RuleName, u64>;

/// The flows that are always allowed, because they are older than any policy.
#[derive(Debug)]
pub struct Probes {
    parties: Vec<Party>,
    services: Vec<Vec<Service>>,
    sentinels: BTreeMap<(usize, usize, bool), Sentinel>,
    rounds: u16,
}

/// What was found.
#[derive(Debug)]
pub struct Measured {
    /// What became of each probe.
    pub matrix: Matrix,
    /// By how much the counters rose, by cell.
    pub counts: BTreeMap<Place, Counts>,
    /// Probes per cell.
    pub rounds: u64,
}

impl Probes {
    /// Opens the sentinels between all pairs. To be done while everything is allowed.
    pub fn open(
        parties: Vec<Party>,
        services: Vec<Vec<Service>>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        if let Some((outside, pods)) = parties.split_last() {
            for (pod, address) in
                pods.iter().flat_map(|pod| outside.addresses.iter().map(move |to| (pod, *to)))
            {
                interrupt.check()?;
                awaken(pod, address)?;
            }
        }
        let mut sentinels = BTreeMap::new();
        for (from, to) in pairs(parties.len()) {
            for ipv4 in [true, false] {
                interrupt.check()?;
                let address = parties[to]
                    .address(ipv4)
                    .with_context(|| format!("{} has no such address", parties[to].name))?;
                sentinels.insert((from, to, ipv4), Sentinel::establish(&parties[from].namespace, address)?);
            }
        }
        Ok(Self { parties, services, sentinels, rounds: 0 })
    }

    /// Who takes part.
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// All cells.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        pairs(self.parties.len())
            .flat_map(|(from, to)| self.services[to].iter().map(move |&service| Place { from, to, service }))
    }

    /// Sends `rounds` probes per cell, of one family.
    pub fn measure(
        &mut self,
        stage: &Stage,
        ipv4: bool,
        rounds: u16,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Measured> {
        let names = self.parties.iter().map(|party| party.name.clone()).collect();
        let mut matrix = Matrix { names, cells: BTreeMap::new() };
        let mut counts: BTreeMap<Place, Counts> = BTreeMap::new();
        let places: Vec<Place> = self.places().collect();
        for _ in 0..rounds {
            self.take_ports()?;
            let mut before = counted(&stage.status()?);
            for &place in &places {
                let (outcome, after) = self.probe(stage, place, ipv4, &mut before, interrupt)?;
                add_rise(counts.entry(place).or_default(), &before, &after);
                before = after;
                if let Some(other) = matrix.cells.insert(place, outcome).filter(|other| *other != outcome) {
                    bail!("{} was {other:?} once and {outcome:?} once", self.describe(place));
                }
            }
        }
        Ok(Measured { matrix, counts, rounds: rounds.into() })
    }

    /// One probe: what became of it, and the counters after it. If it took so long that the kernel may have sent its SYN
    /// twice, it does not count: `before` becomes what the counters are now, and another is sent.
    fn probe(
        &self,
        stage: &Stage,
        place: Place,
        ipv4: bool,
        before: &mut Counts,
        interrupt: &Interrupt,
    ) -> anyhow::Result<(Outcome, Counts)> {
        let Place { from, to, service } = place;
        let sentinel = self.sentinels.get(&(from, to, ipv4)).context("a sentinel for each pair")?;
        let address = self.parties[to].address(ipv4).context("an address of the family")?;
        for _ in 0..ATTEMPTS {
            interrupt.check()?;
            let since = Instant::now();
            let outcome = probe(&self.parties[from].namespace, sentinel, address, service)?;
            let took = since.elapsed();
            let after = counted(&stage.status()?);
            if took < ONE_SYN || !matches!(service, Service::Tcp(_)) {
                return Ok((outcome, after));
            }
            *before = after;
        }
        bail!(
            "{} took longer than {ONE_SYN:?} {ATTEMPTS} times: this machine is too busy",
            self.describe(place)
        )
    }

    /// Gives all parties the next range of source ports.
    fn take_ports(&mut self) -> anyhow::Result<()> {
        let Range { start, end } = self.next_ports().context("too many rounds: no source ports are left")?;
        for party in &self.parties {
            party.namespace.run(|| sysctl::write(RANGE, &format!("{start} {}", end - 1)))??;
        }
        Ok(())
    }

    fn next_ports(&mut self) -> Option<Range<u16>> {
        let start = FIRST_PORT.checked_add(self.rounds.checked_mul(PORTS)?)?;
        self.rounds += 1;
        Some(start..start.checked_add(PORTS)?)
    }

    /// `web -> db tcp/5432`.
    pub fn describe(&self, place: Place) -> String {
        let Place { from, to, service } = place;
        format!("{} -> {} {service}", self.parties[from].name, self.parties[to].name)
    }
}

/// The kernel drops what is sent over a new link until a worker of its own has attached the link's queue, which may be
/// after everything else is ready: sends until an answer comes, so that both ends of every link have carried a packet.
fn awaken(from: &Party, to: IpAddr) -> anyhow::Result<()> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = from.namespace.run(|| UdpSocket::bind((any, 0)))??;
    socket.connect((to, SENTINEL_PORT))?;
    socket.set_read_timeout(Some(AWAKE_AFTER))?;
    let since = Instant::now();
    loop {
        // An ICMP error for an earlier one may be told here.
        drop(socket.send(b"awake?"));
        match socket.recv(&mut [0; 16]) {
            Ok(_) => return Ok(()),
            Err(error) if since.elapsed() > PATIENCE => {
                bail!("nothing comes from {to} to {} in {PATIENCE:?}: {error}", from.name);
            }
            Err(_) => {}
        }
    }
}

/// All ordered pairs of different parties.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |from| (0..count).filter(move |to| *to != from).map(move |to| (from, to)))
}

/// What each rule has counted.
fn counted(status: &Status) -> Counts {
    let rules = status.policies.iter().flat_map(|PolicyStatus { kind, name, tier, rules }| {
        rules.iter().map(move |RuleStatus { direction, rule, packets, bytes: _ }| {
            let name = RuleName {
                kind: kind.clone(),
                policy: name.clone(),
                tier: tier.clone(),
                direction: direction.clone(),
                rule: *rule,
            };
            (name, *packets)
        })
    });
    rules.collect()
}

/// Adds by how much counters rose.
fn add_rise(sum: &mut Counts, before: &Counts, after: &Counts) {
    for (rule, count) in after {
        let rise = count - before.get(rule).copied().unwrap_or(0).min(*count);
        if rise > 0 {
            *sum.entry(rule.clone()).or_default() += rise;
        }
    }
}
