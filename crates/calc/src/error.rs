//! Why a policy is not enforced as written, or an object can't be used.

use tortie_api::selector::SelectorError;

/// What is wrong with a part of an object, or not enforced yet. The text names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A selector that can't be read.
    #[error("{field}: selector {found:?} cannot be read: {source}")]
    Selector {
        /// The field.
        field: &'static str,
        /// What stands there.
        found: Box<str>,
        /// What is wrong with it.
        source: SelectorError,
    },
    /// A namespace or service account whose name fits no label.
    #[error("{field}: {found:?} cannot be the value of a label")]
    Name {
        /// The field.
        field: &'static str,
        /// What stands there.
        found: Box<str>,
    },
    /// An address or a prefix that can't be read.
    #[error("{field}: found {found:?}, expected an IP address or a CIDR")]
    Net {
        /// The field.
        field: &'static str,
        /// What stands there.
        found: Box<str>,
    },
    /// An action that isn't one.
    #[error("action: found {found:?}, expected Allow, Deny, Log or Pass")]
    Action {
        /// What stands there.
        found: Box<str>,
    },
    /// A policy type that isn't one.
    #[error("types: found {found:?}, expected Ingress or Egress")]
    Type {
        /// What stands there.
        found: Box<str>,
    },
    /// An IP version that isn't one.
    #[error("ipVersion: found {found}, expected 4 or 6")]
    IpVersion {
        /// What stands there.
        found: i64,
    },
    /// A protocol that isn't known.
    #[error("{field}: unknown protocol {found:?}")]
    Protocol {
        /// The field.
        field: &'static str,
        /// What stands there.
        found: Box<str>,
    },
    /// Ports without a protocol that has them.
    #[error("{field}: ports need a protocol that has ports (TCP, UDP, SCTP, UDPLite)")]
    Ports {
        /// The field.
        field: &'static str,
    },
    /// ICMP fields out of range, or without ICMP.
    #[error("{field}: expected a type from 0 to 255, a code from 0 to 255 and protocol ICMP or ICMPv6")]
    Icmp {
        /// The field.
        field: &'static str,
    },
    /// Something that tables of destination addresses and ports can't tell apart yet.
    #[error("{field}: not enforced yet")]
    NotEnforced {
        /// The field.
        field: &'static str,
    },
    /// What the datastore holds can't be read.
    #[error("{error}")]
    Unreadable {
        /// Why.
        error: Box<str>,
    },
}

/// A [`Fault`] and where in the policy it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// In the policy itself.
    #[error("{0}")]
    Policy(#[from] Fault),
    /// In a rule.
    #[error("{direction} rule {index}: {fault}")]
    Rule {
        /// `ingress` or `egress`.
        direction: &'static str,
        /// From 0.
        index: usize,
        /// What.
        fault: Fault,
    },
}
