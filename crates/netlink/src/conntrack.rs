//! Connection tracking: forget all connections of an address, and count them.
//!
//! Entries of an address go before the address is given to someone else, or the newcomer would inherit what was
//! allowed to its predecessor. The kernel deletes what a filter matches (CTA_FILTER in a deletion, Linux 6.11): it goes
//! through its hash table without a word to us, which takes it a tenth of the time of a list. An older kernel only filters
//! lists (Linux 5.8); each match is then deleted by its own tuple and id, so an entry that was replaced meanwhile stays.

use crate::attribute::Attributes;
use crate::message::NLM_F_ACK;
use crate::socket::{ERROR_KIND, acknowledge};
use crate::{Encoder, Error, Messages, Namespace, Protocol, Received, Result, Socket};
use std::net::IpAddr;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const IPCTNL_MSG_CT_GET_STATS: u16 = 5;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// Bits of the filter flags: compare the source, the destination.
const FILTER_IP_SRC: u32 = 1;
const FILTER_IP_DST: u32 = 2;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const NFGENMSG: usize = 4;
/// A message of this version says of which family a deletion is.
const WITH_FAMILY: u8 = 1;
/// An address may be the source or the destination of the original direction, or (under DNAT) the one who answers, or
/// (under SNAT) the one who is answered.
const SIDES: [(u16, u32); 4] = [
    (CTA_TUPLE_ORIG, FILTER_IP_SRC),
    (CTA_TUPLE_ORIG, FILTER_IP_DST),
    (CTA_TUPLE_REPLY, FILTER_IP_SRC),
    (CTA_TUPLE_REPLY, FILTER_IP_DST),
];
/// Up to so many connections one dump of all is cheaper than four for each address: whatever it yields, the kernel goes
/// through its whole hash table, which takes milliseconds.
const FEW: u32 = 20_000;
/// Deletions sent in one datagram; their answers fit the receive buffer many times over.
const DELETIONS_PER_BATCH: usize = 256;

/// A ctnetlink socket.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
    /// Whether the kernel is believed to delete by a filter.
    by_filter: bool,
}

/// One tracked connection, as far as this crate reads it: the original direction before address translation,
/// and what answers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Who opened it.
    pub source: IpAddr,
    /// Whom it was addressed to.
    pub destination: IpAddr,
    /// Who answers (differs from `destination` under DNAT).
    pub reply_source: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port; 0 for protocols without ports.
    pub source_port: u16,
    /// Destination port; 0 for protocols without ports.
    pub destination_port: u16,
}

impl Conntrack {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Ok(Conntrack { socket: Socket::open(Protocol::Netfilter)?, by_filter: true })
    }

    /// Opens a socket in another namespace.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        namespace.run(Self::open)?
    }

    /// For the rest of its life it deletes as on kernels before 6.11.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.by_filter = false;
        self
    }

    /// How many connections the namespace tracks.
    pub fn count(&mut self) -> Result<u32> {
        let replies =
            self.socket.get(kind(IPCTNL_MSG_CT_GET_STATS), 0, "count tracked connections", |message| {
                message.fixed(&[0; NFGENMSG]);
            })?;
        let first = replies.iter().next().map(|(_, payload)| Attributes::after(payload, NFGENMSG));
        let entries = first.and_then(|attributes| attributes.find_kind(CTA_STATS_GLOBAL_ENTRIES));
        entries.map_or(Ok(0), |entries| entries.be32())
    }

    /// All connections that the address takes part in, on either side.
    pub fn of_address(&mut self, address: IpAddr) -> Result<Vec<Connection>> {
        let mut found = Vec::new();
        for entry in self.entries(address)? {
            found.extend(entry.connection()?);
        }
        Ok(found)
    }

    /// Forgets all connections that one of the addresses takes part in.
    pub fn delete_addresses(&mut self, addresses: &[IpAddr]) -> Result<()> {
        let tracked = self.count()?;
        if tracked == 0 || addresses.is_empty() {
            return Ok(());
        }
        if self.by_filter {
            match self.delete_filtered(addresses) {
                // It takes the filter for a tuple that isn't whole, or says that it can't.
                Err(Error::Kernel { errno: libc::EINVAL | libc::EOPNOTSUPP, .. }) => self.by_filter = false,
                done => return done,
            }
        }
        let all = if tracked <= FEW { Some(self.all()?) } else { None };
        for address in addresses {
            let entries = match &all {
                Some(all) => all.iter().filter(|entry| entry.concerns(*address)).cloned().collect(),
                None => self.entries(*address)?,
            };
            for batch in entries.chunks(DELETIONS_PER_BATCH) {
                self.delete(*address, batch)?;
            }
        }
        Ok(())
    }

    /// Forgets all connections of which `forget` says so. The kernel lists all that it tracks: some 100 ms for 100,000.
    pub fn delete_if(&mut self, forget: impl Fn(&Connection) -> bool) -> Result<()> {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for entry in self.all()? {
            match entry.connection()?.filter(&forget) {
                Some(Connection { source: IpAddr::V4(_), .. }) => four.push(entry),
                Some(Connection { source: IpAddr::V6(_), .. }) => six.push(entry),
                None => {}
            }
        }
        for (family, entries) in [(IpAddr::from([0; 4]), four), (IpAddr::from([0; 16]), six)] {
            for batch in entries.chunks(DELETIONS_PER_BATCH) {
                self.delete(family, batch)?;
            }
        }
        Ok(())
    }

    fn delete_filtered(&mut self, addresses: &[IpAddr]) -> Result<()> {
        for address in addresses {
            for (tuple, side) in SIDES {
                let attempt = format!("forget the connections of {address}");
                self.socket.request(kind(IPCTNL_MSG_CT_DELETE), 0, &attempt, |message| {
                    message.fixed(&[crate::rtnetlink::family_of(*address), WITH_FAMILY, 0, 0]);
                    put_filter(message, *address, tuple, side);
                })?;
            }
        }
        Ok(())
    }

    /// All entries of both families, in one dump.
    fn all(&mut self) -> Result<Vec<Entry>> {
        let replies = self.socket.dump(kind(IPCTNL_MSG_CT_GET), "list tracked connections", |message| {
            message.fixed(&[0; NFGENMSG]);
        })?;
        Ok(replies.iter().filter_map(|(_, payload)| Entry::read(payload)).collect())
    }

    /// Those of an address in four dumps, each entry once.
    fn entries(&mut self, address: IpAddr) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        for (tuple, side) in SIDES {
            let replies =
                self.socket.dump(kind(IPCTNL_MSG_CT_GET), "list tracked connections", |message| {
                    put_header(message, address);
                    put_filter(message, address, tuple, side);
                })?;
            for (_, payload) in replies.iter() {
                entries.extend(Entry::read(payload));
            }
        }
        entries
            .sort_by(|left, right| left.id.cmp(&right.id).then_with(|| left.original.cmp(&right.original)));
        entries.dedup();
        Ok(entries)
    }

    fn delete(&mut self, address: IpAddr, entries: &[Entry]) -> Result<()> {
        let attempt = format!("forget the connections of {address}");
        let mut encoder = Encoder::default();
        let mut last = 0;
        for entry in entries {
            last = self.socket.next_sequence();
            encoder.message(kind(IPCTNL_MSG_CT_DELETE), NLM_F_ACK, last, |message| {
                put_header(message, address);
                message.nested(CTA_TUPLE_ORIG, |tuple| tuple.raw(&entry.original));
                message.put(CTA_ID, &entry.id);
                if let Some(zone) = entry.zone {
                    message.put(CTA_ZONE, &zone);
                }
            });
        }
        self.socket.send(&encoder.finish()?, &attempt)?;
        let mut finished = entries.is_empty();
        while !finished {
            let Received::Datagram(bytes) = self.socket.try_receive(&attempt)? else { break };
            for (header, payload) in Messages::new(bytes).filter(|(header, _)| header.kind == ERROR_KIND) {
                finished |= header.sequence == last;
                match acknowledge(header, payload, &attempt) {
                    // It ended by itself.
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// What is needed to delete an entry, as the kernel wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    id: [u8; 4],
    original: Vec<u8>,
    reply: Vec<u8>,
    zone: Option<[u8; 2]>,
}

impl Entry {
    fn read(payload: &[u8]) -> Option<Self> {
        let attributes = Attributes::after(payload, NFGENMSG);
        Some(Entry {
            id: attributes.find_kind(CTA_ID)?.bytes().ok()?,
            original: attributes.find_kind(CTA_TUPLE_ORIG)?.payload.to_vec(),
            reply: attributes.find_kind(CTA_TUPLE_REPLY)?.payload.to_vec(),
            zone: attributes.find_kind(CTA_ZONE).and_then(|zone| zone.bytes().ok()),
        })
    }

    /// Whether the address is on a side of it, in either direction.
    fn concerns(&self, address: IpAddr) -> bool {
        [&self.original, &self.reply].into_iter().any(|tuple| {
            let ip = Attributes::new(tuple).find_kind(CTA_TUPLE_IP);
            // CTA_IP_*: nothing else stands in there.
            ip.is_some_and(|ip| ip.nested().any(|side| side.address().is_ok_and(|found| found == address)))
        })
    }

    fn connection(&self) -> Result<Option<Connection>> {
        let original = Attributes::new(&self.original);
        let Some(protocol) = original.find_kind(CTA_TUPLE_PROTO) else { return Ok(None) };
        let port = |kind| protocol.nested().find_kind(kind).map_or(Ok(0), |port| port.be16());
        let ends = |tuple: &[u8], kinds: [u16; 2]| -> Result<Option<IpAddr>> {
            let Some(ip) = Attributes::new(tuple).find_kind(CTA_TUPLE_IP) else { return Ok(None) };
            let mut ip = ip.nested();
            ip.find(|attribute| kinds.contains(&attribute.kind))
                .map(|attribute| attribute.address())
                .transpose()
        };
        let source = ends(&self.original, [CTA_IP_V4_SRC, CTA_IP_V6_SRC])?;
        let destination = ends(&self.original, [CTA_IP_V4_DST, CTA_IP_V6_DST])?;
        let reply_source = ends(&self.reply, [CTA_IP_V4_SRC, CTA_IP_V6_SRC])?;
        let (Some(source), Some(destination), Some(reply_source)) = (source, destination, reply_source)
        else {
            return Ok(None);
        };
        Ok(Some(Connection {
            source,
            destination,
            reply_source,
            protocol: protocol.nested().find_kind(CTA_PROTO_NUM).map_or(Ok(0), |number| number.u8())?,
            source_port: port(CTA_PROTO_SRC_PORT)?,
            destination_port: port(CTA_PROTO_DST_PORT)?,
        }))
    }
}

fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_CTNETLINK << 8 | message
}

fn put_header(message: &mut Encoder, address: IpAddr) {
    message.fixed(&[crate::rtnetlink::family_of(address), 0, 0, 0]);
}

fn put_filter(message: &mut Encoder, address: IpAddr, tuple: u16, side: u32) {
    let attribute = match (address, side) {
        (IpAddr::V4(_), FILTER_IP_SRC) => CTA_IP_V4_SRC,
        (IpAddr::V4(_), _) => CTA_IP_V4_DST,
        (IpAddr::V6(_), FILTER_IP_SRC) => CTA_IP_V6_SRC,
        (IpAddr::V6(_), _) => CTA_IP_V6_DST,
    };
    message.nested(tuple, |tuple| tuple.nested(CTA_TUPLE_IP, |ip| ip.put_address(attribute, address)));
    let (original, reply) = if tuple == CTA_TUPLE_ORIG { (side, 0) } else { (0, side) };
    message.nested(CTA_FILTER, |filter| {
        filter.put_u32(CTA_FILTER_ORIG_FLAGS, original);
        filter.put_u32(CTA_FILTER_REPLY_FLAGS, reply);
    });
}

/// Whether this kernel can track connections at all (no module or not built in: a clear error instead).
pub fn probe() -> Result<()> {
    match Conntrack::open()?.count() {
        Ok(_) => Ok(()),
        Err(Error::Kernel { errno: libc::EINVAL | libc::EOPNOTSUPP, .. }) => Err(Error::Invalid {
            field: "kernel",
            found: "no connection tracking over netlink".into(),
            expected: "CONFIG_NF_CT_NETLINK",
        }),
        Err(error) => Err(error),
    }
}
