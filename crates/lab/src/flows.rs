//! A steady stream of new flows, for leak tests: one UDP datagram each interval, each a flow of its own.
//!
//! The cookie of flow `n` is `first_cookie + n`; what a [`crate::raw::Capture`] then met says which flows went
//! through, and the times say when each was sent.

use crate::packet::{Packet, Transport};
use crate::raw::Sender;
use crate::{Error, Result};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tortie_netlink::Namespace;

/// The lowest source port; a flow's port is this plus its number, so a stream has at most 50,000 flows.
const FIRST_PORT: u16 = 15_000;
/// Flows of one stream at most.
pub const LIMIT: u16 = 50_000;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Destination port.
    pub port: u16,
    /// Time between flows.
    pub every: Duration,
    /// Flows at most; the stream ends by itself then.
    pub limit: u16,
    /// Cookie of the first flow.
    pub first_cookie: u64,
}

/// A running stream; it ends when dropped.
#[derive(Debug)]
pub struct Flows {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<Result<Vec<Instant>>>>,
}

impl Flows {
    /// Starts sending from inside `namespace`.
    pub fn start(namespace: &Namespace, plan: Plan) -> Result<Self> {
        if plan.limit > LIMIT {
            return Err(Error::Invalid {
                field: "flows",
                found: plan.limit.to_string(),
                expected: "at most 50,000, a source port each",
            });
        }
        let sender = Sender::open(namespace)?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU32::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::Builder::new()
            .name("flows".into())
            .spawn(move || run(&sender, plan, &stopped, &counter))
            .map_err(|source| Error::system("start a stream of flows", source))?;
        Ok(Flows { stop, sent, thread: Some(thread) })
    }

    /// Flows sent so far.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::Acquire)
    }

    /// Ends the stream; returns when each flow was sent (index `n` has cookie `first_cookie + n`).
    pub fn stop(mut self) -> Result<Vec<Instant>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread =
            self.thread.take().ok_or_else(|| Error::Panicked { what: "a stream of flows".into() })?;
        thread.join().map_err(|_| Error::Panicked { what: "a stream of flows".into() })?
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(sender: &Sender, plan: Plan, stop: &AtomicBool, counter: &AtomicU32) -> Result<Vec<Instant>> {
    let Plan { source, destination, port, every, limit, first_cookie } = plan;
    let _pinned = crate::probe::pin();
    let mut sent = Vec::with_capacity(limit.into());
    let start = Instant::now();
    for number in 0..limit {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        sent.push(Instant::now());
        let transport = Transport::Udp { source: FIRST_PORT + number, destination: port };
        sender.send_one(&Packet {
            source,
            destination,
            transport,
            cookie: first_cookie + u64::from(number),
        })?;
        counter.store(u32::from(number) + 1, Ordering::Release);
        // Paced by the clock: a late flow is followed by the next one sooner.
        std::thread::sleep(
            (start + every * (u32::from(number) + 1)).saturating_duration_since(Instant::now()),
        );
    }
    Ok(sent)
}
