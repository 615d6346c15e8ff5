//! One long-lived netlink socket to nf_tables: commits, reads, the generation.
//!
//! The kernel works a transaction through inside `send`, so when that returns every error is already queued and is
//! taken without waiting; no message asks for an acknowledgement (a thousand of them overrun the socket).
//! Reads come in two forms: listings, which may lie while somebody writes ([`Client::stable`] repeats them until
//! the generation stood still), and gets by key, which do not.

use crate::batch::{Batch, describe};
use crate::kernel::*;
use crate::object::{Chain, Counter, Element, ListedRule, ListedSet, Table, TableId};
use crate::{Error, Result};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use tortie_netlink::socket::{ERROR_KIND, acknowledge};
use tortie_netlink::{Attributes, Encoder, Messages, Protocol, Received, Socket};

/// How often a listing is repeated until the tables stand still.
const STABLE_TRIES: u32 = 10;
/// Gets by key that are on their way at once: their answers must fit the receive buffer.
const GETS_AT_ONCE: usize = 400;
/// Bytes of `struct nfgenmsg`.
const GENERIC: usize = 4;

/// A connection to the nf_tables of one network namespace.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
}

/// What the running kernel can do beyond 6.1; each has a fallback, which a test forces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// `NFT_MSG_DESTROY*`: deletions of what may be missing (6.3).
    pub destroy: bool,
    /// Tables that other processes can't change and that outlive their owner (6.9).
    pub owned_tables: bool,
}

impl Features {
    /// Nothing beyond 6.1.
    pub const NONE: Features = Features { destroy: false, owned_tables: false };
}

impl Client {
    /// Opens a socket in the calling thread's network namespace; it may be used from any thread afterwards.
    pub fn open() -> Result<Self> {
        Ok(Client { socket: Socket::open(Protocol::Netfilter)? })
    }

    /// Finds out what the kernel can do, by committing to a scratch table that is gone afterwards.
    pub fn probe(&mut self) -> Result<Features> {
        let scratch = TableId::inet(&format!("tortie-probe-{}", self.socket.port()));
        let mut batch = Batch::new(&scratch).with_destroy(true);
        batch.destroy_table();
        let destroy = self.answers(batch)?;
        let mut batch = Batch::new(&scratch);
        batch.add_table(NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST, "probe");
        batch.delete_table();
        let owned_tables = self.answers(batch)?;
        Ok(Features { destroy, owned_tables })
    }

    /// Whether the kernel takes the transaction; an unknown message or flag is `false`.
    fn answers(&mut self, batch: Batch) -> Result<bool> {
        match self.commit(batch) {
            Ok(()) => Ok(true),
            Err(Error::Refused { errno: libc::EOPNOTSUPP | libc::EINVAL, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The socket's port, by which notifications tell our own changes from others'.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Applies a transaction, whole or not at all. The first error says which message was refused.
    pub fn commit(&mut self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let generation = batch.generation();
        let bytes = batch.finish()?;
        self.socket.send(&bytes, "commit an nftables transaction")?;
        let mut first = None;
        while let Received::Datagram(datagram) = self.socket.try_receive("read a transaction's errors")? {
            for (header, body) in Messages::new(datagram) {
                if header.kind != ERROR_KIND || first.is_some() {
                    continue;
                }
                if let Err(error) = acknowledge(header, body, "") {
                    first = Some((header.sequence, error));
                }
            }
        }
        match first {
            None => Ok(()),
            Some((0, tortie_netlink::Error::Kernel { errno: libc::ERESTART, .. }))
                if generation.is_some() =>
            {
                Err(Error::GenerationMoved { expected: generation.unwrap_or(0) })
            }
            Some((sequence, tortie_netlink::Error::Kernel { errno, message, .. })) => {
                Err(Error::Refused { action: describe(&bytes, sequence), errno, message })
            }
            Some((_, error)) => Err(error.into()),
        }
    }

    /// The number of the tables' current state; every commit in the namespace, ours or not, counts it up.
    pub fn generation(&mut self) -> Result<u32> {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
        let replies =
            self.socket.get(kind, 0, "get the nftables generation", |encoder| encoder.fixed(&[0; 4]))?;
        for (_, body) in replies.iter() {
            if let Some(id) = Attributes::after(body, GENERIC).find_kind(NFTA_GEN_ID) {
                return Ok(id.be32()?);
            }
        }
        Err(unreadable("the nftables generation", "an id", "none"))
    }

    /// Runs `read` until the generation is the same before and after, ten times at most; returns it too.
    pub fn stable<T>(
        &mut self,
        what: &str,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<(u32, T)> {
        for _ in 0..STABLE_TRIES {
            let before = self.generation()?;
            let result = read(self);
            if self.generation()? == before {
                return Ok((before, result?));
            }
        }
        Err(Error::Unstable { what: what.into(), tries: STABLE_TRIES })
    }

    /// The table, if it is there.
    pub fn table(&mut self, id: &TableId) -> Result<Option<Table>> {
        let found =
            self.list(NFT_MSG_GETTABLE, id, &format!("list tables to find {id}"), |_| {}, Table::read)?;
        Ok(found.into_iter().find(|(name, _)| *name == id.name).map(|(_, table)| table))
    }

    /// All chains of the table.
    pub fn chains(&mut self, id: &TableId) -> Result<Vec<Chain>> {
        self.of_table(NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE, id, "chains", Chain::read)
    }

    /// All rules of the table, in the order of their chains.
    pub fn rules(&mut self, id: &TableId) -> Result<Vec<ListedRule>> {
        self.of_table(NFT_MSG_GETRULE, NFTA_RULE_TABLE, id, "rules", ListedRule::read)
    }

    /// The rules of one chain, in order; none if the chain is not there.
    pub fn rules_of(&mut self, id: &TableId, chain: &str) -> Result<Vec<ListedRule>> {
        let attempt = format!("list rules of chain {chain} (table {id})");
        let fill = |encoder: &mut Encoder| {
            encoder.put_text(NFTA_RULE_TABLE, &id.name);
            encoder.put_text(NFTA_RULE_CHAIN, chain);
        };
        let found = self.list(NFT_MSG_GETRULE, id, &attempt, fill, ListedRule::read)?;
        let ours = found.into_iter().filter(|(table, rule)| *table == id.name && rule.chain == chain);
        Ok(ours.map(|(_, rule)| rule).collect())
    }

    /// All sets and maps of the table, without elements.
    pub fn sets(&mut self, id: &TableId) -> Result<Vec<ListedSet>> {
        self.of_table(NFT_MSG_GETSET, NFTA_SET_TABLE, id, "sets", ListedSet::read)
    }

    /// All named counters of the table with their values: about 0.4 ms for 2,000.
    pub fn counters(&mut self, id: &TableId) -> Result<Vec<Counter>> {
        let attempt = format!("list counters of {id}");
        let found = self.list(
            NFT_MSG_GETOBJ,
            id,
            &attempt,
            |encoder| {
                encoder.put_text(NFTA_OBJ_TABLE, &id.name);
                encoder.put_be32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
            },
            Counter::read,
        )?;
        Ok(found.into_iter().filter(|(table, _)| *table == id.name).map(|(_, counter)| counter).collect())
    }

    /// The named counters' values; `None` for one that is not there. In the order of `names`.
    pub fn find_counters(&mut self, id: &TableId, names: &[String]) -> Result<Vec<Option<Counter>>> {
        self.gets(
            id,
            NFT_MSG_GETOBJ,
            names,
            |encoder, name| {
                encoder.put_text(NFTA_OBJ_TABLE, &id.name);
                encoder.put_text(NFTA_OBJ_NAME, name);
                encoder.put_be32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
            },
            |attributes| Counter::read(attributes).map(|(_, counter)| counter),
        )
    }

    /// All elements of a set or map. Lies while somebody writes: use it inside [`Client::stable`].
    pub fn elements(&mut self, id: &TableId, set: &str) -> Result<Vec<Element>> {
        let attempt = format!("list elements of set {set} (table {id})");
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM;
        let replies = self.socket.dump(kind, &attempt, |encoder| {
            encoder.fixed(&[id.family as u8, 0, 0, 0]);
            encoder.put_text(NFTA_SET_ELEM_LIST_TABLE, &id.name);
            encoder.put_text(NFTA_SET_ELEM_LIST_SET, set);
        })?;
        let mut elements = Vec::new();
        for (_, body) in replies.iter() {
            let Some(list) = Attributes::after(body, GENERIC).find_kind(NFTA_SET_ELEM_LIST_ELEMENTS) else {
                continue;
            };
            for element in Element::read_list(list.nested()) {
                elements
                    .push(element.ok_or_else(|| unreadable(&attempt, "elements of our types", "another"))?);
            }
        }
        Ok(elements)
    }

    /// The elements with the keys of `wanted`, as the kernel has them now; `None` for one that is not there.
    pub fn find_elements(
        &mut self,
        id: &TableId,
        set: &str,
        wanted: &[Element],
    ) -> Result<Vec<Option<Element>>> {
        self.gets(
            id,
            NFT_MSG_GETSETELEM,
            wanted,
            |encoder, element| {
                encoder.put_text(NFTA_SET_ELEM_LIST_TABLE, &id.name);
                encoder.put_text(NFTA_SET_ELEM_LIST_SET, set);
                encoder.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |encoder| element.write(encoder, false));
            },
            |attributes| {
                let list = attributes.find_kind(NFTA_SET_ELEM_LIST_ELEMENTS)?;
                Element::read_list(list.nested()).next().flatten()
            },
        )
    }

    /// Gets many objects, some hundred requests at a time; a missing one is `None`.
    fn gets<W, T>(
        &mut self,
        id: &TableId,
        kind: u16,
        wanted: &[W],
        fill: impl Fn(&mut Encoder, &W),
        read: impl Fn(Attributes<'_>) -> Option<T>,
    ) -> Result<Vec<Option<T>>> {
        let attempt = "get objects by key";
        let mut found = Vec::with_capacity(wanted.len());
        for slice in wanted.chunks(GETS_AT_ONCE) {
            let mut encoder = Encoder::default();
            let mut places = HashMap::new();
            for (place, item) in slice.iter().enumerate() {
                let sequence = self.socket.next_sequence();
                places.insert(sequence, place);
                encoder.message(NFNL_SUBSYS_NFTABLES << 8 | kind, 0, sequence, |encoder| {
                    encoder.fixed(&[id.family as u8, 0, 0, 0]);
                    fill(encoder, item);
                });
            }
            self.socket.send(&encoder.finish()?, attempt)?;
            let start = found.len();
            found.resize_with(start + slice.len(), || None);
            // Without acknowledgements each request has exactly one answer: the object or an error.
            while !places.is_empty() {
                for (header, body) in Messages::new(self.socket.receive(attempt)?) {
                    let Some(place) = places.remove(&header.sequence) else { continue };
                    if header.kind != ERROR_KIND {
                        found[start + place] = read(Attributes::after(body, GENERIC));
                        continue;
                    }
                    match acknowledge(header, body, attempt) {
                        Err(error) if error.is_not_found() => {}
                        answer => answer?,
                    }
                }
            }
        }
        Ok(found)
    }

    fn of_table<T>(
        &mut self,
        kind: u16,
        table_attribute: u16,
        id: &TableId,
        what: &str,
        read: impl Fn(Attributes<'_>) -> Option<(String, T)>,
    ) -> Result<Vec<T>> {
        let attempt = format!("list {what} of {id}");
        let fill = |encoder: &mut Encoder| encoder.put_text(table_attribute, &id.name);
        let found = self.list(kind, id, &attempt, fill, read)?;
        // The chain listing ignores the table's name and gives the family's chains.
        Ok(found.into_iter().filter(|(table, _)| *table == id.name).map(|(_, item)| item).collect())
    }

    fn list<T>(
        &mut self,
        kind: u16,
        id: &TableId,
        attempt: &str,
        fill: impl Fn(&mut Encoder),
        read: impl Fn(Attributes<'_>) -> Option<(String, T)>,
    ) -> Result<Vec<(String, T)>> {
        let replies = self.socket.dump(NFNL_SUBSYS_NFTABLES << 8 | kind, attempt, |encoder| {
            encoder.fixed(&[id.family as u8, 0, 0, 0]);
            fill(encoder);
        });
        let replies = match replies {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            other => other?,
        };
        Ok(replies.iter().filter_map(|(_, body)| read(Attributes::after(body, GENERIC))).collect())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn unreadable(what: &str, expected: &str, found: &str) -> Error {
    Error::Unreadable { what: what.into(), expected: expected.into(), found: found.into() }
}
