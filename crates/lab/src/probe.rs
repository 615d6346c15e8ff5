//! Connections as programs make them: one TCP connect, one UDP datagram, one ICMP echo, each one new flow, and
//! whether it went through.
//!
//! A drop is known without waiting: after the probe a [`Sentinel`] goes from the same namespace to the same
//! address, over a flow that is established (so no new-connection rule judges it). When its answer is back and
//! the probe's isn't, the probe was dropped. The order holds because a veth hands packets to a queue of the
//! sending processor, first in, first out, through every hop; so the prober stays on one processor, and the
//! responder answers in order ([`crate::respond`]).

use crate::respond::SENTINEL_PORT;
use crate::{Error, Result, sys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::socket::{self, SockaddrStorage, sockopt};
use nix::unistd::Pid;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tortie_netlink::Namespace;

/// How long a sentinel may take before the path counts as broken; only a failure ever waits this long.
const BOUND: Duration = Duration::from_secs(5);
static NONCE: AtomicU64 = AtomicU64::new(1);

/// What a probe tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// A TCP connection to this port.
    Tcp(u16),
    /// A UDP datagram to this port, echoed.
    Udp(u16),
    /// An ICMP echo (of the address's family).
    Icmp,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Tcp(port) => write!(f, "tcp/{port}"),
            Service::Udp(port) => write!(f, "udp/{port}"),
            Service::Icmp => write!(f, "icmp"),
        }
    }
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It was answered.
    Open,
    /// Something said no: a closed port, or a rule that rejects.
    Refused,
    /// It vanished.
    Blocked,
}

/// A processor the calling thread stays on until this is dropped.
#[derive(Debug)]
pub struct Pinned(Option<CpuSet>);

/// Keeps the calling thread on the processor where it is.
#[must_use]
pub fn pin() -> Pinned {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).ok();
    let mut only = CpuSet::new();
    let pinned = sched_getcpu().and_then(|cpu| only.set(cpu)).and_then(|()| sched_setaffinity(this, &only));
    Pinned(before.filter(|_| pinned.is_ok()))
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            // The thread then merely stays where it is.
            let _ = sched_setaffinity(Pid::from_raw(0), &before);
        }
    }
}

/// An established UDP flow from a namespace to the responder at an address.
#[derive(Debug)]
pub struct Sentinel {
    socket: UdpSocket,
    path: String,
}

impl Sentinel {
    /// Opens the flow and sends it once there and back. Do it while the path is open (before policy), or where
    /// policy allows UDP to [`SENTINEL_PORT`], and when the node tracks connections already. An idle flow is forgotten by the kernel after two minutes.
    pub fn establish(from: &Namespace, to: IpAddr) -> Result<Self> {
        let target = SocketAddr::new(to, SENTINEL_PORT);
        let path = format!("from {} to {target}", from.label());
        let failed = |source: io::Error| Error::system(format!("sentinel {path}"), source);
        let opened = from.run(|| {
            let socket = UdpSocket::bind(wildcard(to))?;
            socket.connect(target)?;
            socket.set_read_timeout(Some(BOUND))?;
            Ok(socket)
        })?;
        let socket = opened.map_err(failed)?;
        let sentinel = Sentinel { socket, path };
        // The second round finds the flow established in both directions ("assured").
        sentinel.pass()?;
        sentinel.pass()?;
        Ok(sentinel)
    }

    /// Sends it there and back; everything that the calling (pinned) thread sent before on this path has arrived
    /// or is lost when this returns.
    pub fn pass(&self) -> Result<()> {
        let nonce = next_nonce();
        let failed = |source| Error::system(format!("sentinel {}", self.path), source);
        self.socket.send(&nonce).map_err(failed)?;
        let mut buffer = [0; 64];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) if buffer[..length] == nonce => return Ok(()),
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                    ) =>
                {
                    return Err(Error::SentinelLost { path: self.path.clone(), bound: BOUND });
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Sends one probe from inside `from` to `to` and says what became of it. Exactly one new flow, one packet in
/// its first direction.
pub fn probe(from: &Namespace, sentinel: &Sentinel, to: IpAddr, service: Service) -> Result<Outcome> {
    let attempt = || format!("probe {service} from {} to {to}", from.label());
    from.run(|| probe_here(sentinel, to, service))?.map_err(|error| match error {
        Failure::Io(source) => Error::system(attempt(), source),
        Failure::Lab(error) => error,
    })
}

/// As [`probe`], for a thread that is inside the namespace already.
pub(crate) fn probe_here(sentinel: &Sentinel, to: IpAddr, service: Service) -> Result<Outcome, Failure> {
    let _pinned = pin();
    match service {
        Service::Tcp(port) => tcp(sentinel, SocketAddr::new(to, port)),
        Service::Udp(port) => udp(sentinel, SocketAddr::new(to, port)),
        Service::Icmp => icmp(sentinel, to),
    }
}

/// A failed attempt, before its text is known.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(io::Error),
    Lab(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

impl From<nix::Error> for Failure {
    fn from(errno: nix::Error) -> Self {
        Failure::Io(errno.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Lab(error)
    }
}

fn tcp(sentinel: &Sentinel, to: SocketAddr) -> Result<Outcome, Failure> {
    let stream = open(to, nix::libc::SOCK_STREAM | nix::libc::SOCK_NONBLOCK, 0)?;
    // Closed by a reset, so that nothing lingers in the tables.
    socket::setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    match socket::connect(stream.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) => return Ok(Outcome::Open),
        Err(nix::Error::EINPROGRESS) => {}
        Err(nix::Error::ECONNREFUSED | nix::Error::EHOSTUNREACH | nix::Error::ENETUNREACH) => {
            return Ok(Outcome::Refused);
        }
        Err(errno) => return Err(errno.into()),
    }
    sentinel.pass()?;
    let mut polled = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut polled, PollTimeout::ZERO)? == 0 {
        return Ok(Outcome::Blocked);
    }
    let error = socket::getsockopt(&stream, sockopt::SocketError)?;
    Ok(if error == 0 { Outcome::Open } else { Outcome::Refused })
}

fn udp(sentinel: &Sentinel, to: SocketAddr) -> Result<Outcome, Failure> {
    let datagram = UdpSocket::bind(wildcard(to.ip()))?;
    datagram.connect(to)?;
    datagram.set_nonblocking(true)?;
    let nonce = next_nonce();
    datagram.send(&nonce)?;
    sentinel.pass()?;
    let mut buffer = [0; 64];
    match datagram.recv(&mut buffer) {
        Ok(length) if buffer[..length] == nonce => Ok(Outcome::Open),
        Ok(length) => Err(io::Error::other(format!("the echo of {to} is {length} foreign bytes")).into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Outcome::Blocked),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
            ) =>
        {
            Ok(Outcome::Refused)
        }
        Err(error) => Err(error.into()),
    }
}

fn icmp(sentinel: &Sentinel, to: IpAddr) -> Result<Outcome, Failure> {
    let (request, reply, protocol) = match to {
        IpAddr::V4(_) => (8, 0, nix::libc::IPPROTO_ICMP),
        IpAddr::V6(_) => (128, 129, nix::libc::IPPROTO_ICMPV6),
    };
    let raw = open(SocketAddr::new(to, 0), nix::libc::SOCK_RAW | nix::libc::SOCK_NONBLOCK, protocol)?;
    socket::connect(raw.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(to, 0)))?;
    let nonce = next_nonce();
    let mut message = vec![request, 0, 0, 0, nonce[6], nonce[7], 0, 1];
    message.extend_from_slice(&nonce);
    if to.is_ipv4() {
        let sum = crate::packet::checksum(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    } // The kernel fills in ICMPv6's checksum.
    let raw = UdpSocket::from(raw);
    raw.send(&message)?;
    sentinel.pass()?;
    let mut buffer = [0; 256];
    loop {
        match raw.recv(&mut buffer) {
            Ok(length) => {
                // An IPv4 raw socket shows the IP header, IPv6's doesn't.
                let start = if to.is_ipv4() { usize::from(buffer[0] & 15) * 4 } else { 0 };
                let answer = buffer.get(start..length).unwrap_or_default();
                if answer.first() == Some(&reply) && answer.ends_with(&nonce) {
                    return Ok(Outcome::Open);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Outcome::Blocked),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(Outcome::Refused);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A socket of the address's family.
pub(crate) fn open(address: SocketAddr, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { nix::libc::AF_INET } else { nix::libc::AF_INET6 };
    sys::socket(family, kind, protocol)
}

/// Binds a socket to an address.
pub(crate) fn bind(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(io::Error::from)
}

fn wildcard(like: IpAddr) -> SocketAddr {
    let any: IpAddr = match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, 0)
}

fn next_nonce() -> [u8; 8] {
    NONCE.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}
