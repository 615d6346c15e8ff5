//! Links, addresses, routes and neighbours of one network namespace.
//!
//! [`Rtnetlink`] is the socket; each file adds the requests of one kernel object to it. Says and does exactly
//! what it is told: comparing with what should be there is the caller's.

pub mod address;
pub mod link;
pub mod monitor;
pub mod neighbour;
pub mod route;
pub mod vxlan;

pub use address::Address;
pub use link::{Link, LinkChange, LinkRef, Mac, VethEnd, VethPair};
pub use monitor::{LinkEvent, LinkMonitor, NetworkEvent, NetworkMonitor};
pub use neighbour::Neighbour;
pub use route::{Route, RouteFilter, RouteKind, Scope};
pub use vxlan::{Forwarding, Vxlan};

use crate::{Namespace, Protocol, Result, Socket};
use std::net::IpAddr;

/// A blocking rtnetlink socket, bound to the namespace in which it was opened.
#[derive(Debug)]
pub struct Rtnetlink {
    pub(crate) socket: Socket,
}

impl Rtnetlink {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Ok(Rtnetlink { socket: Socket::open(Protocol::Route)? })
    }

    /// Opens a socket in another namespace (a short-lived thread enters it).
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        namespace.run(Self::open)?
    }
}

/// `AF_INET` or `AF_INET6` as the one byte of rtnetlink's headers.
pub(crate) fn family_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => family::IPV4,
        IpAddr::V6(_) => family::IPV6,
    }
}

/// Address families as rtnetlink's headers hold them.
pub(crate) mod family {
    pub const UNSPEC: u8 = libc::AF_UNSPEC as u8;
    pub const IPV4: u8 = libc::AF_INET as u8;
    pub const IPV6: u8 = libc::AF_INET6 as u8;
}
