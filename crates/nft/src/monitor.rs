//! Hears of changes that others make to our table: a `flush ruleset`, a deleted table, an edited rule.
//!
//! A listener makes every commit in the namespace dearer (bulk loads by a factor, measured), so the driver opens one
//! only where the kernel cannot protect the table by ownership. Next hop: the agent's loop, which restores.

use crate::kernel::*;
use crate::object::TableId;
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd};
use tortie_netlink::{Attributes, Messages, Protocol, Received, Socket};

/// Bytes of `struct nfgenmsg`.
const GENERIC: usize = 4;

/// What somebody else did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForeignChange {
    /// Something in our table was added, changed or deleted: read it and repair.
    Edited,
    /// Our table is gone: install it again at once.
    TableDeleted,
    /// Notifications were lost: check whether the table is there, then read it.
    Unknown,
}

/// A listener on the notifications of nf_tables.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    table: TableId,
    ours: u32,
}

impl Monitor {
    /// Listens in the calling thread's network namespace for changes of `table` by sockets other than `ours`
    /// ([`crate::Client::port`]).
    pub fn open(table: &TableId, ours: u32) -> Result<Self> {
        let socket = Socket::open(Protocol::Netfilter)?;
        socket.join(NFNLGRP_NFTABLES)?;
        Ok(Monitor { socket, table: table.clone(), ours })
    }

    /// The gravest of the changes that are waiting, without blocking; `None`: nobody touched our table.
    pub fn poll(&mut self) -> Result<Option<ForeignChange>> {
        let mut gravest = None;
        loop {
            match self.socket.try_receive("read nftables notifications") {
                Ok(Received::Nothing) => return Ok(gravest),
                Ok(Received::Datagram(datagram)) => {
                    for (header, body) in Messages::new(datagram) {
                        if header.port != self.ours {
                            gravest = gravest.max(judge(&self.table, header.kind, body));
                        }
                    }
                }
                Err(tortie_netlink::Error::Overrun { .. }) => gravest = Some(ForeignChange::Unknown),
                Err(error) => return Err(Error::Netlink(error)),
            }
        }
    }
}

fn judge(table: &TableId, kind: u16, body: &[u8]) -> Option<ForeignChange> {
    if kind >> 8 != NFNL_SUBSYS_NFTABLES || body.first() != Some(&(table.family as u8)) {
        return None;
    }
    let kind = kind & 0xff;
    if kind == NFT_MSG_NEWGEN {
        return None;
    }
    // Every object's first attribute is the name of its table.
    let name = Attributes::after(body, GENERIC).find_kind(NFTA_TABLE_NAME)?;
    if name.text().ok()? != table.name {
        return None;
    }
    Some(if kind == NFT_MSG_DELTABLE { ForeignChange::TableDeleted } else { ForeignChange::Edited })
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
