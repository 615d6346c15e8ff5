//! Load from the sender to the receiver: TCP connections, and UDP packets that each are a new flow.
//!
//! Everything stays inside the lab's namespaces and ends after a time or a number of packets.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, connect, sendmmsg, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeVal;
use tortie_netlink::Namespace;

use super::rules::{CLIENT, LABEL_PORTS, PORTS, SERVER};

/// Threads that connect.
const CONNECTORS: usize = 4;
/// Packets of one system call.
const BURST: usize = 64;
/// Bytes of a packet: IPv4 and UDP headers, 18 bytes.
const PACKET: usize = 46;
/// The first source port.
const FIRST_PORT: u16 = 1024;
/// How long an attempt to connect may take.
const PATIENCE: TimeVal = TimeVal::new(3, 0);

/// Starts what answers, in the receiver's namespace: threads that accept and close until this process ends.
/// UDP is received by sockets that nobody reads.
///
/// # Errors
/// If a port can't be opened.
pub fn serve(receiver: &Namespace) -> anyhow::Result<Vec<UdpSocket>> {
    let mut mute = Vec::new();
    for port in PORTS {
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let listener = receiver
            .run(|| TcpListener::bind(address))?
            .with_context(|| format!("listening at TCP port {port}"))?;
        std::thread::Builder::new().spawn(move || listener.incoming().for_each(drop))?;
    }
    for port in PORTS.chain(LABEL_PORTS) {
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let datagrams = receiver
            .run(|| UdpSocket::bind(address))?
            .with_context(|| format!("listening at UDP port {port}"))?;
        setsockopt(&datagrams, sockopt::RcvBuf, &4096)?;
        mute.push(datagrams);
    }
    Ok(mute)
}

/// New TCP connections a second, from several threads for so long. Each is reset when it stands.
///
/// # Errors
/// If an attempt to connect fails: then it isn't the same work.
pub fn connections(sender: &Namespace, time: Duration) -> anyhow::Result<f64> {
    let barrier = Barrier::new(CONNECTORS);
    let connector = |first: usize| -> anyhow::Result<(u64, Duration)> {
        sender.enter()?;
        barrier.wait();
        let start = Instant::now();
        let mut count = 0;
        for port in PORTS.cycle().skip(first) {
            connect_once(port)?;
            count += 1;
            if start.elapsed() >= time {
                break;
            }
        }
        Ok((count, start.elapsed()))
    };
    let connector = &connector;
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTORS).map(|first| scope.spawn(move || connector(first))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut rate = 0.0;
    for thread in done {
        let Ok(result) = thread else { bail!("a thread of the load ended early") };
        let (count, time) = result?;
        rate += count as f64 / time.as_secs_f64();
    }
    Ok(rate)
}

fn connect_once(port: u16) -> anyhow::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    setsockopt(&socket, sockopt::SendTimeout, &PATIENCE)?;
    let to = SockaddrIn::from(SocketAddrV4::new(SERVER, port));
    connect(socket.as_raw_fd(), &to).with_context(|| format!("connecting to {SERVER}:{port}"))
}

/// Nanoseconds per UDP packet to one of sixteen ports, each a flow of its own, from one thread on one processor: the
/// kernel forwards and delivers a packet before the call that sends it returns. It is the median of the calls, of
/// [`BURST`] packets each, so that what other programs took of the processor's time is not among it.
///
/// # Errors
/// If a packet can't be sent.
pub fn nanoseconds_per_flow(
    sender: &Namespace,
    packets: u16,
    ports: std::ops::Range<u16>,
) -> anyhow::Result<f64> {
    let opened: anyhow::Result<OwnedFd> =
        sender.run(|| Ok(tortie_lab::sys::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW)?))?;
    let socket = opened.context("opening a raw socket")?;
    let _pinned = tortie_lab::probe::pin();
    let mut burst = [[0; PACKET]; BURST];
    burst.iter_mut().for_each(fill);
    let addresses = [Some(SockaddrIn::from(SocketAddrV4::new(SERVER, 0))); BURST];
    let mut sent: u16 = 0;
    let mut calls = Vec::with_capacity(usize::from(packets) / BURST + 1);
    while sent < packets {
        let now = BURST.min(usize::from(packets - sent));
        for (packet, number) in burst.iter_mut().take(now).zip(sent..) {
            packet[20..22].copy_from_slice(&(FIRST_PORT + number).to_be_bytes());
            packet[22..24].copy_from_slice(&(ports.start + (number & 15)).to_be_bytes());
        }
        let slices = burst.each_ref().map(|packet| [IoSlice::new(packet)]);
        let mut headers = MultiHeaders::preallocate(BURST, None);
        let start = Instant::now();
        let results =
            sendmmsg(socket.as_raw_fd(), &mut headers, &slices[..now], addresses, [], MsgFlags::empty())?;
        let done = results.count();
        calls.push(start.elapsed().as_nanos() as f64 / done as f64);
        if done == 0 {
            bail!("no packet of {now} was sent");
        }
        sent += u16::try_from(done)?;
    }
    calls.sort_by(f64::total_cmp);
    calls.get(calls.len() / 2).copied().context("no packet was to be sent")
}

fn fill(packet: &mut [u8; PACKET]) {
    packet[0] = 0x45;
    packet[3] = PACKET as u8;
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&CLIENT.octets());
    packet[16..20].copy_from_slice(&SERVER.octets());
    packet[25] = (PACKET - 20) as u8;
}
