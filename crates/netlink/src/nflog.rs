//! Packets that a rule's `log group N` hands to user space.
//!
//! One listener per group and namespace. The kernel drops what isn't read in time ([`crate::Error::Overrun`]),
//! so a flood of logged packets never holds up traffic. Next hop: the agent, which writes the log line.

use crate::attribute::Attributes;
use crate::{Error, Messages, Namespace, Protocol, Received, Result, Socket};
use std::os::fd::{AsFd, BorrowedFd};

const NFNL_SUBSYS_ULOG: u16 = 4;
const NFULNL_MSG_PACKET: u16 = 0;
const NFULNL_MSG_CONFIG: u16 = 1;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULA_PACKET_HDR: u16 = 1;
const NFULA_MARK: u16 = 2;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_IFINDEX_OUTDEV: u16 = 5;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;
const NFGENMSG: usize = 4;

/// A logged packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The rule's `prefix`.
    pub prefix: String,
    /// EtherType, e.g. 0x0800.
    pub ether_type: u16,
    /// Netfilter hook number.
    pub hook: u8,
    /// Index of the interface it came in by.
    pub in_interface: Option<u32>,
    /// Index of the interface it goes out by.
    pub out_interface: Option<u32>,
    /// Packet mark.
    pub mark: u32,
    /// The packet from its IP header on, cut at the copy range.
    pub payload: Vec<u8>,
}

/// A listener on one group.
#[derive(Debug)]
pub struct Nflog {
    socket: Socket,
    group: u16,
}

impl Nflog {
    /// Binds `group` in the calling thread's namespace; each packet is copied up to `copy_range_bytes` and
    /// delivered at once. The kernel says EPERM when another socket has the group.
    pub fn open(group: u16, copy_range_bytes: u32) -> Result<Self> {
        let mut socket = Socket::open(Protocol::Netfilter)?;
        let attempt = format!("bind nflog group {group}");
        let [high, low] = group.to_be_bytes();
        let kind = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
        socket.request(kind, 0, &attempt, |message| {
            message.fixed(&[0, 0, high, low]);
            message.put_u8(NFULA_CFG_CMD, NFULNL_CFG_CMD_BIND);
        })?;
        socket.request(kind, 0, &attempt, |message| {
            message.fixed(&[0, 0, high, low]);
            let [a, b, c, d] = copy_range_bytes.to_be_bytes();
            message.put(NFULA_CFG_MODE, &[a, b, c, d, NFULNL_COPY_PACKET, 0]);
            message.put_be32(NFULA_CFG_QTHRESH, 1);
            message.put_be32(NFULA_CFG_TIMEOUT, 0);
        })?;
        Ok(Nflog { socket, group })
    }

    /// Binds in another namespace.
    pub fn open_in(namespace: &Namespace, group: u16, copy_range_bytes: u32) -> Result<Self> {
        namespace.run(|| Self::open(group, copy_range_bytes))?
    }

    /// The packets that have arrived, oldest first; empty when there are none. [`Error::Overrun`]: some were lost.
    pub fn drain(&mut self) -> Result<Vec<Packet>> {
        let attempt = format!("read nflog group {}", self.group);
        let mut packets = Vec::new();
        while let Received::Datagram(bytes) = self.socket.try_receive(&attempt)? {
            for (header, payload) in Messages::new(bytes) {
                if header.kind == NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET {
                    packets.push(parse(payload)?);
                }
            }
        }
        Ok(packets)
    }
}

impl AsFd for Nflog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn parse(payload: &[u8]) -> Result<Packet> {
    let mut packet = Packet {
        prefix: String::new(),
        ether_type: 0,
        hook: 0,
        in_interface: None,
        out_interface: None,
        mark: 0,
        payload: Vec::new(),
    };
    for attribute in Attributes::after(payload, NFGENMSG) {
        match attribute.kind {
            NFULA_PACKET_HDR => {
                let Some(&[high, low, hook, ..]) = attribute.payload.first_chunk::<4>() else {
                    return Err(Error::Malformed {
                        what: "nflog packet header".into(),
                        expected: "4 bytes".into(),
                        found: format!("{}", attribute.payload.len()),
                    });
                };
                packet.ether_type = u16::from_be_bytes([high, low]);
                packet.hook = hook;
            }
            NFULA_MARK => packet.mark = attribute.be32()?,
            NFULA_IFINDEX_INDEV => packet.in_interface = Some(attribute.be32()?),
            NFULA_IFINDEX_OUTDEV => packet.out_interface = Some(attribute.be32()?),
            NFULA_PAYLOAD => packet.payload = attribute.payload.to_vec(),
            NFULA_PREFIX => attribute.text()?.clone_into(&mut packet.prefix),
            _ => {}
        }
    }
    Ok(packet)
}
