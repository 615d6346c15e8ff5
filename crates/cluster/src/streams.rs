//! New flows from pod to pod, one after the other, and which of them arrived.
//!
//! What was dropped is known by sentinels: they follow on the same path, by each processor, to a port that every policy here allows.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid as Process;
use tortie_lab::flows::{Flows, LIMIT, Plan};
use tortie_lab::packet::{Packet, Transport};
use tortie_lab::raw::{Capture, Sender};

use crate::kube::{PATIENCE, Pod, until};

/// UDP ports: policies here may close the first, and none opens the second or closes the third.
pub const ASKED: u16 = 80;
/// See [`ASKED`].
pub const CLOSED: u16 = 81;
/// See [`ASKED`].
pub const SENTINEL: u16 = 7;

/// Cookies are a stream's own: its number, then the flow's or, from this on, the processor's of a sentinel.
const SENTINELS: u64 = 1 << 31;
/// Streams so far.
static STREAMS: AtomicU64 = AtomicU64::new(1);

/// A running stream.
pub struct Stream {
    first: u64,
    flows: Flows,
    capture: Capture,
    sender: Sender,
    path: Packet,
}

/// What became of each flow: when it was sent, and whether it arrived.
pub struct Seen(pub Vec<(Instant, bool)>);

impl Stream {
    /// A flow each interval, from one pod to a port of another, by the first family of theirs.
    pub fn start(from: &Pod, to: &Pod, port: u16, every: Duration) -> Result<Self> {
        Stream::by(from, to, to.addresses[0], port, every)
    }

    /// The same by each family.
    pub fn start_each(from: &Pod, to: &Pod, port: u16, every: Duration) -> Result<Vec<Self>> {
        to.addresses.iter().map(|address| Stream::by(from, to, *address, port, every)).collect()
    }

    /// The same by an address that leads to the other pod.
    pub fn by(from: &Pod, to: &Pod, destination: IpAddr, port: u16, every: Duration) -> Result<Self> {
        let source = from.addresses.iter().find(|address| address.is_ipv6() == destination.is_ipv6());
        let source =
            *source.with_context(|| format!("{} has no address of {destination}'s family", from.name))?;
        let capture = Capture::at_interfaces(&to.namespace)?;
        let first = STREAMS.fetch_add(1, Ordering::Relaxed) << 32;
        let plan = Plan { source, destination, port, every, limit: LIMIT, first_cookie: first };
        let transport = Transport::Udp { source: 5000, destination: SENTINEL };
        Ok(Stream {
            first,
            flows: Flows::start(&from.namespace, plan)?,
            capture,
            sender: Sender::open(&from.namespace)?,
            path: Packet { source, destination, transport, cookie: 0 },
        })
    }

    /// Returns when so many more are sent.
    pub fn go_on(&self, flows: u32) -> Result<()> {
        let goal = (self.flows.sent() + flows).min(LIMIT.into());
        let end = Instant::now() + PATIENCE;
        while self.flows.sent() < goal {
            ensure!(Instant::now() < end, "a stream does not run");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends it.
    pub fn stop(self) -> Result<Seen> {
        let Stream { first, flows, mut capture, sender, path } = self;
        ensure!(flows.sent() < u32::from(LIMIT), "a stream has ended by itself");
        let sent = flows.stop()?;
        let this = Process::from_raw(0);
        let before = sched_getaffinity(this)?;
        let mut arrived = BTreeSet::new();
        // What a processor has taken on before the sentinel is done when the sentinel is.
        for cpu in 0..CpuSet::count() {
            if !before.is_set(cpu)? {
                continue;
            }
            let mut one = CpuSet::new();
            one.set(cpu)?;
            sched_setaffinity(this, &one)?;
            let cookie = first + SENTINELS + cpu as u64;
            let transport = Transport::Udp { source: 5000 + u16::try_from(cpu)?, destination: SENTINEL };
            sender.send_one(&Packet { transport, cookie, ..path })?;
            arrived.extend(capture.until(cookie, PATIENCE)?.iter().map(|packet| packet.cookie));
        }
        sched_setaffinity(this, &before)?;
        Ok(Seen(sent.into_iter().zip(first..).map(|(at, cookie)| (at, arrived.contains(&cookie))).collect()))
    }
}

/// When the first flow to an address that leads to the other pod arrived.
pub fn reached(from: &Pod, to: &Pod, destination: IpAddr, port: u16) -> Result<Instant> {
    let source = from.addresses.iter().find(|address| address.is_ipv6() == destination.is_ipv6());
    let source = *source.context("addresses of two families")?;
    let mut capture = Capture::at_interfaces(&to.namespace)?;
    let sender = Sender::open(&from.namespace)?;
    // Each a connection of its own: what was sent too early may be remembered.
    let mut ports = 4000..5000;
    until(&format!("{} reaches {} by {destination}", from.name, to.name), PATIENCE, || {
        let transport = Transport::Udp { source: ports.next().context("all ports")?, destination: port };
        sender.send_one(&Packet { source, destination, transport, cookie: 1 })?;
        Ok(capture.until(1, Duration::from_millis(200)).ok().map(|_| Instant::now()))
    })
}

impl Seen {
    /// How many arrived, of how many.
    pub fn count(&self) -> (usize, usize) {
        (self.0.iter().filter(|(_, arrived)| *arrived).count(), self.0.len())
    }

    /// That all arrived, or none.
    pub fn ensure(&self, all: bool, whose: &str) -> Result<()> {
        let (arrived, sent) = self.count();
        ensure!(sent > 100, "{whose}: only {sent} flows");
        let wanted = if all { sent } else { 0 };
        ensure!(arrived == wanted, "{whose}: {arrived} of {sent} flows arrived, {wanted} should have");
        Ok(())
    }

    /// How long after `since` the last flow before `end` fared differently from what is `wanted`; `None` if the last still did.
    pub fn settled(&self, since: Instant, end: Instant, wanted: bool) -> Option<Duration> {
        let window = self.0.iter().filter(|(at, _)| (since..end).contains(at));
        let (mut settled, mut last) = (since, !wanted);
        for (at, arrived) in window {
            if last != wanted && *arrived == wanted {
                settled = *at;
            }
            last = *arrived;
        }
        (last == wanted).then(|| settled - since)
    }
}
