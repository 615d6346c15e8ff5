//! Link notifications: what appears, changes and goes, without waiting.
//!
//! Subscribe first, list links second: then nothing is missed. After [`Error::Overrun`](crate::Error) list
//! again. The descriptor (`as_fd`) is for the caller's poll loop.

use super::link::{Link, parse};
use crate::{Messages, Namespace, Protocol, Received, Result, Socket};
use std::os::fd::{AsFd, BorrowedFd};

const RTNLGRP_LINK: u32 = 1;

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A link appeared or changed.
    Changed(Link),
    /// A link went, or moved to another namespace.
    Gone(Link),
}

/// A subscription to one namespace's links.
#[derive(Debug)]
pub struct LinkMonitor {
    socket: Socket,
}

impl LinkMonitor {
    /// Subscribes in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        let socket = Socket::open(Protocol::Route)?;
        socket.join(RTNLGRP_LINK)?;
        Ok(LinkMonitor { socket })
    }

    /// Subscribes in another namespace.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        namespace.run(Self::open)?
    }

    /// The events that have arrived, oldest first; empty when there are none.
    pub fn drain(&mut self) -> Result<Vec<LinkEvent>> {
        let mut events = Vec::new();
        while let Received::Datagram(bytes) = self.socket.try_receive("read link events")? {
            for (header, payload) in Messages::new(bytes) {
                match header.kind {
                    libc::RTM_NEWLINK => events.push(LinkEvent::Changed(parse(payload)?)),
                    libc::RTM_DELLINK => events.push(LinkEvent::Gone(parse(payload)?)),
                    _ => {}
                }
            }
        }
        Ok(events)
    }
}

impl AsFd for LinkMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
