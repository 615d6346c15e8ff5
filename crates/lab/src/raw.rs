//! Any packet out, and which packets came in.
//!
//! A [`Sender`] writes whole IP packets into its namespace's routing; a [`Capture`] sees what arrives. Send
//! probes, then one allowed packet to each receiver with a cookie of its own, all in one [`Sender::send`]; when
//! [`Capture::until`] has met that cookie, what it hasn't met was dropped (see [`crate::probe`] for the order).

use crate::packet::{Packet, cookie_of};
use crate::probe::pin;
use crate::{Error, Result, sys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvfrom, sendto, setsockopt, sockopt};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use tortie_netlink::Namespace;

/// Bytes a capture may hold unread.
const RECEIVE_BYTES: usize = 32 << 20;
/// `sll_pkttype` of what this host sends itself.
const PACKET_OUTGOING: u8 = 4;
/// Loopback's hardware type; what it carries is seen twice.
const ARPHRD_LOOPBACK: u16 = 772;

/// Writes packets into one namespace.
#[derive(Debug)]
pub struct Sender {
    ipv4: OwnedFd,
    ipv6: OwnedFd,
    label: String,
}

/// What a capture saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The packet's cookie.
    pub cookie: u64,
    /// When it was read (not when it arrived).
    pub at: Instant,
}

/// Listens for packets with a cookie.
#[derive(Debug)]
pub struct Capture {
    sockets: Vec<OwnedFd>,
    label: String,
}

impl Sender {
    /// Opens raw sockets of both families inside the namespace.
    pub fn open(namespace: &Namespace) -> Result<Self> {
        let label = namespace.label().to_owned();
        let open = |family| -> std::io::Result<OwnedFd> {
            let socket = sys::socket(family, nix::libc::SOCK_RAW, nix::libc::IPPROTO_RAW)?;
            setsockopt(&socket, sockopt::SndBuf, &RECEIVE_BYTES)?;
            Ok(socket)
        };
        let opened: std::io::Result<_> =
            namespace.run(|| Ok((open(nix::libc::AF_INET)?, open(nix::libc::AF_INET6)?)))?;
        let (ipv4, ipv6) =
            opened.map_err(|source| Error::system(format!("open raw sockets in {label}"), source))?;
        Ok(Sender { ipv4, ipv6, label })
    }

    /// Sends the packets in order, all from one processor. Packets that the sender's own host refuses (no route)
    /// count as sent and lost.
    pub fn send(&self, packets: &[Packet]) -> Result<()> {
        let _pinned = pin();
        packets.iter().try_for_each(|packet| self.send_one(packet))
    }

    /// Sends one packet, from whatever processor the thread is on.
    pub fn send_one(&self, packet: &Packet) -> Result<()> {
        let bytes = packet.encode().ok_or_else(|| Error::Invalid {
            field: "packet",
            found: format!("{} to {}", packet.source, packet.destination),
            expected: "two addresses of one family",
        })?;
        let socket = if packet.destination.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        let to = SockaddrStorage::from(SocketAddr::new(packet.destination, 0));
        loop {
            match sendto(socket.as_raw_fd(), &bytes, &to, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(
                    nix::Error::ENETUNREACH
                    | nix::Error::EHOSTUNREACH
                    | nix::Error::ECONNREFUSED
                    | nix::Error::ENETDOWN
                    | nix::Error::EPERM,
                ) => return Ok(()),
                Err(errno) => {
                    return Err(Error::system(
                        format!("send to {} from {}", packet.destination, self.label),
                        errno,
                    ));
                }
            }
        }
    }
}

impl Capture {
    /// Sees what reaches any interface of the namespace, before its own firewall: right for a pod, whose packets
    /// were judged on the other side of its veth.
    pub fn at_interfaces(namespace: &Namespace) -> Result<Self> {
        let all = i32::from(u16::try_from(nix::libc::ETH_P_ALL).unwrap_or(3).to_be());
        Self::open(namespace, &[(nix::libc::AF_PACKET, nix::libc::SOCK_DGRAM, all)])
    }

    /// Sees what is delivered to the namespace's own host, after its firewall's input: right for the host that
    /// judges. Raw sockets see one protocol each, so those of interest are given.
    pub fn delivered(namespace: &Namespace, protocols: &[u8]) -> Result<Self> {
        let raw =
            |family| protocols.iter().map(move |number| (family, nix::libc::SOCK_RAW, i32::from(*number)));
        let wanted: Vec<_> = raw(nix::libc::AF_INET).chain(raw(nix::libc::AF_INET6)).collect();
        Self::open(namespace, &wanted)
    }

    fn open(namespace: &Namespace, wanted: &[(i32, i32, i32)]) -> Result<Self> {
        let label = namespace.label().to_owned();
        let opened = namespace.run(|| {
            let open = |(family, kind, protocol): &(i32, i32, i32)| -> std::io::Result<OwnedFd> {
                let socket = sys::socket(*family, kind | nix::libc::SOCK_NONBLOCK, *protocol)?;
                setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BYTES)?;
                Ok(socket)
            };
            wanted.iter().map(open).collect::<std::io::Result<Vec<_>>>()
        })?;
        let sockets = opened.map_err(|source| Error::system(format!("open a capture in {label}"), source))?;
        Ok(Capture { sockets, label })
    }

    /// Everything that has come so far, without waiting.
    pub fn drain(&mut self) -> Result<Vec<Arrived>> {
        let mut arrived = Vec::new();
        let mut buffer = [0; 2048];
        for socket in &self.sockets {
            loop {
                let (length, from) = match recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer) {
                    Ok(found) => found,
                    Err(nix::Error::EAGAIN) => break,
                    Err(nix::Error::EINTR | nix::Error::ENETDOWN) => continue,
                    Err(errno) => {
                        return Err(Error::system(format!("read the capture in {}", self.label), errno));
                    }
                };
                let link = from.as_ref().and_then(SockaddrStorage::as_link_addr);
                let own = link.is_some_and(|link| {
                    link.pkttype() == PACKET_OUTGOING || link.hatype() == ARPHRD_LOOPBACK
                });
                if let Some(cookie) = cookie_of(&buffer[..length]).filter(|_| !own) {
                    arrived.push(Arrived { cookie, at: Instant::now() });
                }
            }
        }
        Ok(arrived)
    }

    /// Reads until the packet with this cookie has come; returns all that came, without that one.
    /// [`Error::SentinelLost`] after `bound`.
    pub fn until(&mut self, sentinel: u64, bound: Duration) -> Result<Vec<Arrived>> {
        let end = Instant::now() + bound;
        let mut arrived = Vec::new();
        loop {
            let found = self.drain()?;
            let met = found.iter().any(|packet| packet.cookie == sentinel);
            arrived.extend(found.into_iter().filter(|packet| packet.cookie != sentinel));
            if met {
                // Another protocol's socket may have been read before it got what came before the sentinel.
                arrived.extend(self.drain()?);
                return Ok(arrived);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::SentinelLost { path: format!("into {}", self.label), bound });
            }
            let mut polled: Vec<_> =
                self.sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut polled, timeout) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(errno) => {
                    return Err(Error::system(format!("wait for the capture in {}", self.label), errno));
                }
            }
        }
    }
}
