//! Answers to probes: TCP listeners, UDP echo, and the sentinel's echo, all on one thread in one namespace.
//!
//! The sentinel's datagram is answered only after everything that arrived before it was: when it is seen, the
//! other sockets are emptied once more first. With one thread on one processor, answers leave in that order too.
//! ICMP echo is the kernel's own.

use crate::probe::pin;
use crate::{Error, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use tortie_netlink::Namespace;

/// The UDP port of sentinels.
pub const SENTINEL_PORT: u16 = 65_001;

/// A running responder; it ends when dropped.
#[derive(Debug)]
pub struct Responder {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

struct Sockets {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
    sentinel: Vec<UdpSocket>,
}

impl Responder {
    /// Listens on these ports of both families inside `namespace`. When it returns, all sockets are open.
    pub fn start(namespace: &Namespace, tcp: &[u16], udp: &[u16]) -> Result<Self> {
        let sockets = namespace.run(|| Sockets::open(tcp, udp))??;
        let stop = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| Error::system("open an event descriptor", errno))?;
        let stop = Arc::new(stop);
        let thread_stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("responder".into())
            .spawn(move || {
                let _pinned = pin();
                if let Err(error) = sockets.serve(&thread_stop) {
                    tracing::error!(%error, "responder ended");
                }
            })
            .map_err(|source| Error::system("start the responder", source))?;
        Ok(Responder { stop, thread: Some(thread) })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let woken = self.stop.write(1).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            // Its own error was logged; a panic in it was printed.
            let _ = thread.join();
        }
    }
}

impl Sockets {
    fn open(tcp: &[u16], udp: &[u16]) -> Result<Self> {
        let mut sockets = Sockets { tcp: Vec::new(), udp: Vec::new(), sentinel: Vec::new() };
        for port in tcp {
            // One listener takes both families.
            let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let listener =
                TcpListener::bind(address).and_then(|found| found.set_nonblocking(true).map(|()| found));
            sockets.tcp.push(
                listener.map_err(|source| Error::system(format!("listen on tcp port {port}"), source))?,
            );
        }
        for port in udp {
            for address in wildcards(*port) {
                sockets.udp.push(bind_udp(address)?);
            }
        }
        for address in wildcards(SENTINEL_PORT) {
            sockets.sentinel.push(bind_udp(address)?);
        }
        Ok(sockets)
    }

    fn serve(&self, stop: &EventFd) -> std::io::Result<()> {
        let all = self.tcp.iter().map(AsFd::as_fd);
        let all = all.chain(self.udp.iter().map(AsFd::as_fd)).chain(self.sentinel.iter().map(AsFd::as_fd));
        let mut polled: Vec<_> =
            std::iter::once(stop.as_fd()).chain(all).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        loop {
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if polled[0].any().unwrap_or(false) {
                return Ok(());
            }
            let mut waiting = Vec::new();
            for socket in &self.sentinel {
                drain(socket, |bytes, from| waiting.push((socket, bytes.to_vec(), from)));
            }
            // What was sent before those sentinels is in these queues by now.
            self.answer();
            for (socket, bytes, from) in waiting {
                // Lost answers are seen by the prober.
                let _ = socket.send_to(&bytes, from);
            }
        }
    }

    fn answer(&self) {
        for listener in &self.tcp {
            // The connection stands already (the kernel made it); taking it off the queue closes it.
            while let Ok((stream, _)) = listener.accept() {
                drop(stream);
            }
        }
        for socket in &self.udp {
            drain(socket, |bytes, from| drop(socket.send_to(bytes, from)));
        }
    }
}

fn drain(socket: &UdpSocket, mut each: impl FnMut(&[u8], SocketAddr)) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => each(&buffer[..length], from),
            // An ICMP error for an earlier answer.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable) => {}
            Err(_) => return,
        }
    }
}

fn wildcards(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

/// Both families listen on one port, each on a socket of its own (`IPV6_V6ONLY`), so that answers leave with the
/// address that was asked.
fn bind_udp(address: SocketAddr) -> Result<UdpSocket> {
    let failed = |source: std::io::Error| Error::system(format!("bind udp {address}"), source);
    let socket =
        crate::probe::open(address, nix::libc::SOCK_DGRAM | nix::libc::SOCK_NONBLOCK, 0).map_err(failed)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true).map_err(|errno| failed(errno.into()))?;
    }
    crate::probe::bind(&socket, address).map_err(failed)?;
    Ok(UdpSocket::from(socket))
}
