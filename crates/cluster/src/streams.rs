//! New flows from pod to pod, one after the other, and which of them arrived.
//!
//! What was dropped is known by sentinels: they follow on the same path, by each processor, to a port that every policy here allows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid as Process;
use tortie_lab::flows::{Flows, LIMIT, Plan};
use tortie_lab::packet::{Packet, Transport};
use tortie_lab::raw::{Capture, Sender};

use crate::kube::{PATIENCE, Pod};

/// UDP ports: policies here may close the first, and none opens the second or closes the third.
pub const ASKED: u16 = 80;
/// See [`ASKED`].
pub const CLOSED: u16 = 81;
/// See [`ASKED`].
pub const SENTINEL: u16 = 7;

/// Cookies: of the flows to each port, and of sentinels.
const FIRST: u64 = 1 << 32;

/// A running stream.
pub struct Stream {
    port: u16,
    flows: Flows,
    capture: Capture,
    sender: Sender,
    path: Packet,
}

/// What became of each flow: when it was sent, and whether it arrived.
pub struct Seen(pub Vec<(Instant, bool)>);

impl Stream {
    /// A flow each interval, from one pod to a port of another.
    pub fn start(from: &Pod, to: &Pod, port: u16, every: Duration) -> Result<Self> {
        let (source, destination) = (from.address, to.address);
        let capture = Capture::at_interfaces(&to.namespace)?;
        let first_cookie = FIRST * u64::from(port);
        let plan = Plan { source, destination, port, every, limit: LIMIT, first_cookie };
        let transport = Transport::Udp { source: 5000, destination: SENTINEL };
        Ok(Stream {
            port,
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
        let Stream { port, flows, mut capture, sender, path } = self;
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
            let cookie = FIRST * u64::from(SENTINEL) + (u64::from(port) << 16) + cpu as u64;
            let transport = Transport::Udp { source: 5000 + u16::try_from(cpu)?, destination: SENTINEL };
            sender.send_one(&Packet { transport, cookie, ..path })?;
            arrived.extend(capture.until(cookie, PATIENCE)?.iter().map(|packet| packet.cookie));
        }
        sched_setaffinity(this, &before)?;
        let first = FIRST * u64::from(port);
        Ok(Seen(sent.into_iter().zip(first..).map(|(at, cookie)| (at, arrived.contains(&cookie))).collect()))
    }
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
