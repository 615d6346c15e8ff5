//! What `iptables` of the time before nftables (`iptables-legacy`) has put into the kernel: whether a chain of the filter table has rules.
//!
//! Its tables are no part of netlink. The kernel hands one out as a whole, rules one after the other, by two socket options
//! (`linux/netfilter_ipv4/ip_tables.h`, `linux/netfilter_ipv6/ip6_tables.h`). A chain's head is a rule whose target, ERROR, holds its name;
//! its last rule returns. Asking for a table that isn't there would make it, so `/proc/net` is looked at before.

use std::os::fd::AsFd as _;
use std::{fs, io};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::sys;
use crate::{Error, Result};

const TABLE: &str = "filter";
/// Bytes of a name with its zero, `XT_TABLE_MAXNAMELEN`.
const NAME: usize = 32;
/// `IPT_SO_GET_INFO`, and the same for IPv6.
const GET_INFO: i32 = 64;
/// `IPT_SO_GET_ENTRIES`, and the same for IPv6.
const GET_ENTRIES: i32 = 65;
/// Bytes of `ipt_getinfo`; the last four are the size of the table's rules.
const INFO: usize = 84;
/// Bytes of `ipt_get_entries` before the rules: name, size, padding.
const HEAD: usize = 40;
/// Bytes of a target before its data: size, name, revision.
const TARGET: usize = 32;
/// A table may change between the two questions.
const TRIES: u32 = 10;

/// A family's places: where its names stand, how it is asked, and at which byte of a rule the offset of its target is.
struct Layout {
    names: &'static str,
    family: AddressFamily,
    level: i32,
    target_offset: usize,
}

const IPV4: Layout = Layout {
    names: "/proc/thread-self/net/ip_tables_names",
    family: AddressFamily::Inet,
    level: libc::IPPROTO_IP,
    target_offset: 88,
};
const IPV6: Layout = Layout {
    names: "/proc/thread-self/net/ip6_tables_names",
    family: AddressFamily::Inet6,
    level: libc::IPPROTO_IPV6,
    target_offset: 140,
};

/// Whether a chain of the calling thread's network namespace has rules, in the filter table of IPv6 or of IPv4.
///
/// # Errors
/// [`Error::System`] if the kernel has the table and doesn't hand it out, [`Error::Malformed`] if it isn't of the form known.
pub fn judges(is_v6: bool, chain: &str) -> Result<bool> {
    let layout = if is_v6 { IPV6 } else { IPV4 };
    let failed = |source| Error::system(format!("read table {TABLE} of x_tables"), source);
    let names = match fs::read_to_string(layout.names) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::system(format!("read {}", layout.names), error)),
    };
    if !names.lines().any(|name| name == TABLE) {
        return Ok(false);
    }
    let rules = rules(&layout).map_err(failed)?;
    has_rules(&rules, layout.target_offset, chain).ok_or_else(|| Error::Malformed {
        what: format!("table {TABLE} of x_tables"),
        expected: "rules one after the other, each with its target".to_owned(),
        found: format!("{} bytes that are something else", rules.len()),
    })
}

/// All rules of the table, as the kernel has them.
fn rules(layout: &Layout) -> io::Result<Vec<u8>> {
    let asks = socket(layout.family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
    let mut tries = 0;
    loop {
        let mut info = [0; INFO];
        info[..TABLE.len()].copy_from_slice(TABLE.as_bytes());
        sys::get_option(asks.as_fd(), layout.level, GET_INFO, &mut info)?;
        let size = [info[INFO - 4], info[INFO - 3], info[INFO - 2], info[INFO - 1]];
        let mut answer = vec![0; HEAD + u32::from_ne_bytes(size) as usize];
        answer[..TABLE.len()].copy_from_slice(TABLE.as_bytes());
        answer[NAME..NAME + 4].copy_from_slice(&size);
        match sys::get_option(asks.as_fd(), layout.level, GET_ENTRIES, &mut answer) {
            Ok(()) => return Ok(answer.split_off(HEAD)),
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Whether between a chain's head and the rule that ends it there are others; none if the bytes aren't rules.
fn has_rules(rules: &[u8], target_offset: usize, chain: &str) -> Option<bool> {
    let mut rest = rules;
    let mut behind = None;
    while !rest.is_empty() {
        let half = |at: usize| Some(usize::from(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?)));
        let (target, length) = (half(target_offset)?, half(target_offset + 2)?);
        let target = rest.get(target..length)?;
        match (text(target.get(2..TARGET - 1)?) == b"ERROR", behind) {
            (true, Some(count)) => return Some(count > 1),
            (true, None) => behind = (text(target.get(TARGET..)?) == chain.as_bytes()).then_some(0),
            (false, count) => behind = count.map(|count| count + 1),
        }
        rest = rest.get(length.max(1)..)?;
    }
    Some(behind.is_some_and(|count| count > 1))
}

/// What stands before the zero.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
