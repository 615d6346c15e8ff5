//! Numbered datagrams from pod to pod, so that one that is lost is known by its number.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tortie_netlink::Namespace;

const PORT: u16 = 7777;
/// What the last one says instead of a number. It takes the way of all others, so they come before it.
const LAST: u64 = u64::MAX;

pub struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<(BTreeSet<u64>, BTreeSet<IpAddr>)>,
}

impl Stream {
    /// Begins to send a datagram each millisecond.
    pub fn start(from: &Namespace, to: &Namespace, address: IpAddr) -> Self {
        let receiver = to.run(|| UdpSocket::bind((address, PORT)).unwrap()).unwrap();
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let sender = from.run(|| UdpSocket::bind((any, 0)).unwrap()).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let receiver = std::thread::spawn(move || {
            let (mut numbers, mut senders, mut bytes) = (BTreeSet::new(), BTreeSet::new(), [0; 8]);
            loop {
                let (_, sender) = receiver.recv_from(&mut bytes).expect("the last one came");
                senders.insert(sender.ip());
                match u64::from_be_bytes(bytes) {
                    LAST => return (numbers, senders),
                    number => drop(numbers.insert(number)),
                }
            }
        });
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let sender = std::thread::spawn(move || {
            let send = |number: u64| sender.send_to(&number.to_be_bytes(), (address, PORT)).unwrap();
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                send(number);
                number += 1;
                counter.store(number, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
            send(LAST);
            number
        });
        Self { stop, sent, sender, receiver }
    }

    /// Returns when so many more are on their way.
    pub fn go_on_for(&self, more: u64) {
        let enough = self.sent.load(Ordering::Relaxed) + more;
        while self.sent.load(Ordering::Relaxed) < enough {
            std::thread::yield_now();
        }
    }

    /// Ends it. How many were sent, how many of them came, and from whom.
    pub fn stop(self) -> (u64, u64, Vec<IpAddr>) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let (numbers, senders) = self.receiver.join().unwrap();
        (sent, numbers.len() as u64, senders.into_iter().collect())
    }
}
