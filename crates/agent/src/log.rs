//! The line that a Log rule writes for a packet.

use std::net::IpAddr;

use tortie_netlink::nflog::Packet;

use crate::ledger::RuleName;

/// Prefix with Calico's specifiers filled in (`%t` the rule's kind and direction, `%k` the policy's
/// kind, `%n` its name with namespace, `%p` the policy's tier and name), then the packet.
pub fn line(prefix: &str, rules: &[RuleName], packet: &Packet) -> String {
    let logged = rules.iter().map(|rule| prefix_of(prefix, rule)).collect::<Vec<_>>().join(" ");
    match headers(&packet.payload) {
        Some(headers) => format!("{logged}: {headers}"),
        None => format!("{logged}: {} bytes that are no IP packet", packet.payload.len()),
    }
}

fn prefix_of(prefix: &str, rule: &RuleName) -> String {
    let text = prefix
        .replace("%t", &format!("{}.{}", rule.direction, rule.rule))
        .replace("%k", &rule.kind)
        .replace("%n", &rule.policy)
        .replace("%p", &format!("{}|{}", rule.tier, rule.policy));
    format!("{text} {} {} {} rule {}", rule.kind, rule.policy, rule.direction, rule.rule)
}

/// Addresses, protocol and ports, from the IP header on.
fn headers(payload: &[u8]) -> Option<String> {
    let (source, destination, protocol, rest) = match payload.first()? >> 4 {
        4 => {
            let address = |at: usize| {
                payload.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(IpAddr::from)
            };
            let length = usize::from(payload.first()? & 0xf) * 4;
            (address(12)?, address(16)?, *payload.get(9)?, payload.get(length..)?)
        }
        6 => {
            let address = |at: usize| {
                payload.get(at..at + 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(IpAddr::from)
            };
            (address(8)?, address(24)?, *payload.get(6)?, payload.get(40..)?)
        }
        _ => return None,
    };
    let word = |at: usize| {
        rest.get(at..at + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok()).map(u16::from_be_bytes)
    };
    let detail = match protocol {
        6 | 17 | 132 | 136 => format!("SPT={} DPT={}", word(0)?, word(2)?),
        1 | 58 => format!("TYPE={} CODE={}", rest.first()?, rest.get(1)?),
        _ => String::new(),
    };
    Some(format!("SRC={source} DST={destination} PROTO={protocol} {detail}").trim_end().to_owned())
}
