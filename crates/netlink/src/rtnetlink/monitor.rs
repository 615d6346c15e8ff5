//! Notifications of links, and of what routes depend on: what appears, changes and goes, without waiting.
//!
//! Subscribe first, list links second: then nothing is missed. After [`Error::Overrun`](crate::Error) list
//! again. The descriptor (`as_fd`) is for the caller's poll loop.

use super::link::{Link, parse};
use super::{Address, Route, address, route};
use crate::{Messages, Namespace, Protocol, Received, Result, Socket};
use std::os::fd::{AsFd, BorrowedFd};

const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;

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

/// Something that the ways out of this namespace depend on has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    /// A link appeared, changed or went.
    Link(Link),
    /// An address came, changed or went.
    Address(Address),
    /// A route was deleted. (Routes that go with their link are not told, but the link is.)
    RouteGone(Route),
}

/// A subscription to one namespace's links, addresses and routes.
#[derive(Debug)]
pub struct NetworkMonitor {
    socket: Socket,
}

impl NetworkMonitor {
    /// Subscribes in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        let socket = Socket::open(Protocol::Route)?;
        for group in
            [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE]
        {
            socket.join(group)?;
        }
        Ok(NetworkMonitor { socket })
    }

    /// The events that have arrived, oldest first; empty when there are none.
    pub fn drain(&mut self) -> Result<Vec<NetworkEvent>> {
        let mut events = Vec::new();
        while let Received::Datagram(bytes) = self.socket.try_receive("read network events")? {
            for (header, payload) in Messages::new(bytes) {
                match header.kind {
                    libc::RTM_NEWLINK | libc::RTM_DELLINK => events.push(NetworkEvent::Link(parse(payload)?)),
                    libc::RTM_NEWADDR | libc::RTM_DELADDR => {
                        events.extend(address::parse(payload)?.map(NetworkEvent::Address));
                    }
                    libc::RTM_DELROUTE => {
                        events.extend(route::parse(payload)?.map(NetworkEvent::RouteGone));
                    }
                    _ => {}
                }
            }
        }
        Ok(events)
    }
}

impl AsFd for NetworkMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
