//! Packets by hand, sent as they are and caught at the other end.
//!
//! A packet carries a number that the catcher looks for. What was dropped is known without waiting: a sentinel that is
//! always allowed follows on the same path, and order is kept because the sender stays on one processor.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto,
    setsockopt, socket,
    sockopt::{RcvBufForce, ReceiveTimeout},
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use tortie_netlink::Namespace;

/// UDP port of the sentinel.
pub const SENTINEL: u16 = 7;
const MAGIC: [u8; 2] = [0x74, 0x57];
/// Number of the next packet of this process.
static NEXT: AtomicU16 = AtomicU16::new(2);

/// What follows the IP header.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// The first packet of a connection.
    Tcp(u16),
    Udp(u16),
    UdpLite(u16),
    /// An INIT.
    Sctp(u16),
    /// Type and code, of ICMP or ICMPv6 after the address.
    Icmp(u8, u8),
    /// Another protocol by its number.
    Other(u8),
}

/// One packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub body: Body,
    /// IPv4's type of service.
    pub tos: u8,
}

impl Packet {
    pub fn new(source: IpAddr, destination: IpAddr, body: Body) -> Packet {
        Packet { source, destination, body, tos: 0 }
    }

    /// The bytes; `number` also is the source port or identifier, so that every packet is a flow of its own.
    fn bytes(&self, number: u16) -> Vec<u8> {
        let id = [MAGIC[0], MAGIC[1], number.to_be_bytes()[0], number.to_be_bytes()[1]];
        let source_port = (1024 + number % 60000).to_be_bytes();
        let ports = |port: u16| [source_port, port.to_be_bytes()].concat();
        let (protocol, mut body, checksum_at) = match self.body {
            Body::Tcp(port) => {
                let rest = [&id[..], &[0; 4], &[0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]].concat();
                (6, [ports(port), rest].concat(), Some(16))
            }
            Body::Udp(port) => (17, [&ports(port)[..], &[0, 12, 0, 0], &id].concat(), Some(6)),
            Body::UdpLite(port) => (136, [&ports(port)[..], &[0, 12, 0, 0], &id].concat(), Some(6)),
            Body::Sctp(port) => {
                let chunk = [&[1, 0, 0, 20][..], &id, &[0, 1, 0, 0, 0, 1, 0, 1], &id].concat();
                (132, [&ports(port)[..], &[0; 8], &chunk].concat(), None)
            }
            Body::Icmp(kind, code) => {
                let protocol = if self.source.is_ipv4() { 1 } else { 58 };
                (protocol, [&[kind, code, 0, 0][..], &source_port, &[0, 1], &id].concat(), Some(2))
            }
            Body::Other(protocol) => (protocol, id.to_vec(), None),
        };
        let mut sum = match (self.source, self.destination) {
            _ if protocol == 1 => 0,
            (IpAddr::V4(a), IpAddr::V4(b)) => ones(&[a.octets(), b.octets()].concat()),
            (IpAddr::V6(a), IpAddr::V6(b)) => ones(&[a.octets(), b.octets()].concat()),
            _ => panic!("addresses of two families"),
        };
        if protocol != 1 {
            // The kernel's connection tracking checks UDPLite with UDP's number (udplite_error).
            let number = if protocol == 136 { 17 } else { protocol };
            sum += u32::from(number) + u32::try_from(body.len()).unwrap();
        }
        if let Some(at) = checksum_at {
            // Of UDP, zero would mean none.
            let value = Some(!fold(sum + ones(&body))).filter(|value| *value != 0).unwrap_or(0xffff);
            body[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
        if protocol == 132 {
            let crc = crc32c(&body).to_le_bytes();
            body[8..12].copy_from_slice(&crc);
        }
        let length = u16::try_from(body.len()).unwrap();
        let header = match (self.source, self.destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let total = (length + 20).to_be_bytes();
                let fixed = [0x45, self.tos, total[0], total[1], 0, 0, 0, 0, 64, protocol, 0, 0];
                [&fixed[..], &a.octets(), &b.octets()].concat()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let length = length.to_be_bytes();
                [&[0x60, 0, 0, 0, length[0], length[1], protocol, 64][..], &a.octets(), &b.octets()].concat()
            }
            _ => panic!("addresses of two families"),
        };
        [header, body].concat()
    }
}

fn ones(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// Sends packets from a namespace.
pub struct Sender {
    v4: OwnedFd,
    v6: OwnedFd,
}

impl Sender {
    pub fn open(namespace: &Namespace) -> Sender {
        let raw = |family| socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
        let (v4, v6) = namespace.run(|| (raw(AddressFamily::Inet), raw(AddressFamily::Inet6))).unwrap();
        Sender { v4, v6 }
    }

    /// Sends one packet; returns its number.
    pub fn send(&mut self, packet: &Packet) -> u16 {
        let mut one = CpuSet::new();
        one.set(0).unwrap();
        sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        // A reset acknowledges number + 1: that must not be another packet's.
        let number = NEXT.fetch_add(2, Ordering::Relaxed);
        let bytes = packet.bytes(number);
        let sent = match SocketAddr::new(packet.destination, 0) {
            SocketAddr::V4(to) => {
                sendto(self.v4.as_raw_fd(), &bytes, &SockaddrIn::from(to), MsgFlags::empty())
            }
            SocketAddr::V6(to) => {
                sendto(self.v6.as_raw_fd(), &bytes, &SockaddrIn6::from(to), MsgFlags::empty())
            }
        };
        assert_eq!(sent.unwrap(), bytes.len());
        number
    }
}

/// Sees every packet that reaches a namespace.
pub struct Catcher(OwnedFd);

impl Catcher {
    pub fn open(namespace: &Namespace) -> Catcher {
        let family = AddressFamily::Packet;
        let flags = SockFlag::SOCK_CLOEXEC;
        let catch = || socket(family, SockType::Datagram, flags, SockProtocol::EthAll).unwrap();
        let caught = namespace.run(catch).unwrap();
        // Room for all packets of a test, however late they are read.
        setsockopt(&caught, RcvBufForce, &(256 << 20)).unwrap();
        // A lost sentinel is a failure, not a test that hangs.
        setsockopt(&caught, ReceiveTimeout, &TimeVal::seconds(20)).unwrap();
        Catcher(caught)
    }

    /// The numbers of the packets that came before the one with number `sentinel`.
    pub fn until(&mut self, sentinel: u16) -> BTreeSet<u16> {
        let mut seen = BTreeSet::new();
        let mut buffer = [0u8; 4096];
        // The receiver's ICMP errors quote what they answer; they come after it and change nothing.
        while !seen.contains(&sentinel) {
            let length =
                recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("the sentinel arrives");
            seen.extend(numbers(&buffer[..length]));
        }
        seen.remove(&sentinel);
        seen
    }
}

impl Catcher {
    /// The numbers of the packets that are there now.
    pub fn waiting(&mut self) -> BTreeSet<u16> {
        let mut seen = BTreeSet::new();
        let mut buffer = [0u8; 4096];
        while let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            seen.extend(numbers(&buffer[..length]));
        }
        seen
    }
}

/// Whatever may be a packet's number: a checksum can look like the mark that it stands after.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let marked = bytes.windows(4).filter(|window| window[..2] == MAGIC);
    marked.map(|window| u16::from_be_bytes([window[2], window[3]]))
}

/// Sends each packet with a sentinel after the last; whether each came.
pub fn arrive(sender: &mut Sender, catcher: &mut Catcher, packets: &[Packet]) -> Vec<bool> {
    let numbers: Vec<u16> = packets.iter().map(|packet| sender.send(packet)).collect();
    // Over both families, since each has a path of its own.
    let mut seen = BTreeSet::new();
    for v4 in [true, false] {
        if let Some(packet) = packets.iter().find(|packet| packet.destination.is_ipv4() == v4) {
            let source = sentinel_source(packets, v4);
            let sentinel = Packet::new(source, packet.destination, Body::Udp(SENTINEL));
            let number = sender.send(&sentinel);
            seen.extend(catcher.until(number));
        }
    }
    numbers.iter().map(|number| seen.contains(number)).collect()
}

/// The first packet's source; a test puts an honest one first.
fn sentinel_source(packets: &[Packet], v4: bool) -> IpAddr {
    packets.iter().map(|packet| packet.source).find(|source| source.is_ipv4() == v4).unwrap()
}
