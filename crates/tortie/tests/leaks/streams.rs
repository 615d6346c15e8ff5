//! Two streams of new flows to one pod: one that policy allows and one that it denies.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tortie_lab::flows::{Flows, Plan};
use tortie_lab::packet::{Packet, Transport};
use tortie_lab::raw::{Capture, Sender};
use tortie_netlink::Namespace;

/// UDP ports: policy allows the first and denies the second, in every test.
pub const ALLOWED: u16 = 80;
/// See [`ALLOWED`].
pub const DENIED: u16 = 81;
/// First cookies of the streams, and of sentinels.
const FIRST: [u64; 3] = [1 << 32, 2 << 32, 3 << 32];
const BOUND: Duration = Duration::from_secs(20);

/// See the module.
pub struct Streams {
    flows: [Flows; 2],
    capture: Capture,
    sender: Sender,
    source: IpAddr,
    destination: IpAddr,
}

/// What became of the flows: when each was sent, and whether it arrived.
pub struct Seen {
    pub allowed: Vec<(Instant, bool)>,
    pub denied: Vec<(Instant, bool)>,
}

impl Streams {
    /// From `from`, which has the address `source`, to the address `destination` of `to`.
    pub fn start(from: &Namespace, source: IpAddr, to: &Namespace, destination: IpAddr) -> Streams {
        let capture = Capture::at_interfaces(to).unwrap();
        let start = |port, first_cookie| {
            let every = Duration::from_millis(1);
            let plan = Plan { source, destination, port, every, limit: 30_000, first_cookie };
            Flows::start(from, plan).unwrap()
        };
        let flows = [start(ALLOWED, FIRST[0]), start(DENIED, FIRST[1])];
        Streams { flows, capture, sender: Sender::open(from).unwrap(), source, destination }
    }

    /// Returns when so many more flows were sent by each stream.
    pub fn go_on(&self, flows: u32) {
        let goals = self.flows.each_ref().map(|stream| stream.sent() + flows);
        let start = Instant::now();
        while self.flows.iter().zip(goals).any(|(stream, goal)| stream.sent() < goal) {
            assert!(start.elapsed() < BOUND, "the streams do not run");
            std::thread::yield_now();
        }
    }

    /// Ends the streams. The path must be open to what is allowed.
    pub fn stop(self) -> Seen {
        self.stop_with(ALLOWED)
    }

    /// Ends the streams, with sentinels to another port.
    pub fn stop_with(self, port: u16) -> Seen {
        let Streams { flows, mut capture, sender, source, destination } = self;
        let [allowed, denied] = flows.map(|stream| stream.stop().unwrap());
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).unwrap();
        let mut arrived = BTreeSet::new();
        // What a processor has taken on before the sentinel is done when the sentinel is.
        for cpu in (0..CpuSet::count()).filter(|cpu| before.is_set(*cpu).unwrap()) {
            let mut one = CpuSet::new();
            one.set(cpu).unwrap();
            sched_setaffinity(this, &one).unwrap();
            let cookie = FIRST[2] + cpu as u64;
            let transport = Transport::Udp { source: 5000 + u16::try_from(cpu).unwrap(), destination: port };
            sender.send(&[Packet { source, destination, transport, cookie }]).unwrap();
            arrived.extend(capture.until(cookie, BOUND).unwrap().iter().map(|packet| packet.cookie));
        }
        sched_setaffinity(this, &before).unwrap();
        let seen = |sent: Vec<Instant>, first: u64| {
            let flows = sent.into_iter().zip(first..);
            flows.map(|(at, cookie)| (at, arrived.contains(&cookie))).collect()
        };
        Seen { allowed: seen(allowed, FIRST[0]), denied: seen(denied, FIRST[1]) }
    }
}

impl Seen {
    /// Denied flows that arrived.
    pub fn leaks(&self) -> usize {
        self.denied.iter().filter(|(_, arrived)| *arrived).count()
    }

    /// Allowed flows, sent from `since` on, that did not.
    pub fn drops(&self, since: Instant) -> usize {
        self.allowed.iter().filter(|(at, arrived)| *at >= since && !arrived).count()
    }

    /// That nothing was wrong from beginning to end, and that there was something to see.
    pub fn assert_clean(&self) {
        let start = self.allowed[0].0;
        assert_eq!(
            (self.leaks(), self.drops(start)),
            (0, 0),
            "leaks and wrong drops of {}",
            self.allowed.len()
        );
        self.assert_many();
    }

    /// That there were enough flows to see something.
    pub fn assert_many(&self) {
        assert!(self.allowed.len() > 100 && self.denied.len() > 100, "{} flows", self.allowed.len());
    }
}
