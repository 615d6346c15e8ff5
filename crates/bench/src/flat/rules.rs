//! The rules that are measured, as values: the same for both shapes.
//!
//! The receiver has N ingress rules that match none of its packets, in policies of five (three with source selectors,
//! two with nets); the sender has ten such egress rules. After them both have one policy that denies one port to the
//! other side, allows it some UDP ports, and allows the ports that the load uses, whoever asks.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The sender.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 65, 0, 2);
/// The receiver.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 65, 0, 3);
/// The sender's interface on the host.
pub const CLIENT_INTERFACE: &str = "caliclient";
/// The receiver's interface on the host.
pub const SERVER_INTERFACE: &str = "caliserver";
/// Rules of the sender that match nothing.
pub const SENDER_RULES: usize = 10;
/// Rules of a policy.
pub const PER_POLICY: usize = 5;
/// The load's ports, which are open to everyone.
pub const PORTS: std::ops::Range<u16> = 5000..5016;
/// As many UDP ports, which are open to the other side by its label.
pub const LABEL_PORTS: std::ops::Range<u16> = 6000..6016;
/// A port that the last policy denies to the other side.
pub const DENIED_PORT: u16 = 9;
/// Endpoints of other nodes.
const REMOTE: u32 = 5_000;
/// Selectors, and as many nets.
pub const SELECTORS: usize = 500;

/// What a rule says of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// It has the label `app` with this number.
    Selector(usize),
    /// It is within this net.
    Net(Ipv4Net),
}

/// A rule that allows TCP to one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// From or to whom.
    pub other: Other,
    /// The destination port.
    pub port: u16,
}

/// Rules, none of which matches what is sent; no two are equal.
pub fn rules(count: usize) -> Vec<Rule> {
    let rule = |number: usize| {
        let (selectors, nets) = (number / PER_POLICY * 3, number / PER_POLICY * 2);
        let (other, round) = match number % PER_POLICY {
            place @ 0..=2 => {
                (Other::Selector((selectors + place) % SELECTORS), (selectors + place) / SELECTORS)
            }
            place => {
                let net = nets + place - 3;
                (Other::Net(distant(net % SELECTORS)), net / SELECTORS)
            }
        };
        Rule { other, port: 10_000 + u16::try_from(round).unwrap_or(u16::MAX - 10_000) }
    };
    (0..count).map(rule).collect()
}

/// A net that nobody here is in.
fn distant(number: usize) -> Ipv4Net {
    let number = u32::try_from(number).unwrap_or(0);
    Ipv4Net::new(Ipv4Addr::from(0xac10_0000 + (number << 8)), 24).expect("24 is at most 32")
}

/// Addresses of other nodes' endpoints, and the number of their label `app`.
pub fn remote() -> impl Iterator<Item = (Ipv4Addr, usize)> {
    (0..REMOTE).map(|number| (Ipv4Addr::from(0x0a64_0000 + number), number as usize % SELECTORS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_rules_differ_and_none_names_the_load() {
        let rules = rules(10_000);
        let distinct: std::collections::HashSet<String> =
            rules.iter().map(|rule| format!("{rule:?}")).collect();
        assert_eq!(distinct.len(), 10_000);
        assert!(rules.iter().all(|rule| !PORTS.contains(&rule.port) && !LABEL_PORTS.contains(&rule.port)));
        let holds = |rule: &Rule| matches!(rule.other, Other::Net(net) if net.contains(&CLIENT));
        assert!(!rules.iter().any(holds));
    }
}
