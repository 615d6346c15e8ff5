//! What Calico's validator asks beyond its own schemas, in CEL, as far as that can say it at a price that the API server pays.
//!
//! Not here, because they would look at each of some hundred thousand texts: that a rule's networks are of one family.
//! The agent takes such a rule as it stands.

/// A rule about types, by their names in Go.
pub struct Beyond {
    /// The types.
    pub of: &'static [&'static str],
    /// The condition, with the abbreviations of [`super::cel`].
    pub cel: &'static str,
    /// What is said of an object that breaks it.
    pub message: &'static str,
}

const POLICIES: &[&str] = &[
    "NetworkPolicySpec",
    "StagedNetworkPolicySpec",
    "GlobalNetworkPolicySpec",
    "StagedGlobalNetworkPolicySpec",
];
const GLOBAL: &[&str] = &["GlobalNetworkPolicySpec", "StagedGlobalNetworkPolicySpec"];

/// The rules.
pub const RULES: &[Beyond] = &[
    Beyond {
        of: &["Rule"],
        cel: "!(has(self.source) && (full(source.ports) || full(source.notPorts)) || has(self.destination) && (full(destination.ports) || full(destination.notPorts))) || speaks(protocol, TCP, 6) || speaks(protocol, UDP, 17) || speaks(protocol, SCTP, 132) || speaks(protocol, UDPLite, 136) || speaks(protocol, tcp, 6) || speaks(protocol, udp, 17) || speaks(protocol, sctp, 132) || speaks(protocol, udplite, 136)",
        message: "rules that specify ports must set protocol to TCP or UDP or SCTP",
    },
    Beyond {
        of: &["EntityRule"],
        cel: "!mentions(namespaceSelector, global) || self.namespaceSelector.replace(' ', '') == 'global()'",
        message: "global() cannot be combined with other selectors",
    },
    Beyond {
        of: POLICIES,
        cel: "!has(self.types) || size(self.types) < 2 || self.types[0] != self.types[1]",
        message: "type specified more than once",
    },
    Beyond {
        of: POLICIES,
        cel: "!has(self.egress) || self.egress.all(rule, !has(rule.http))",
        message: "HTTP is not allowed in egress rules",
    },
    Beyond {
        of: POLICIES,
        cel: "!has(self.ingress) || self.ingress.all(rule, !has(rule.destination) || !has(rule.destination.services))",
        message: "services are not allowed in ingress rule destination",
    },
    Beyond {
        of: POLICIES,
        cel: "!has(self.egress) || self.egress.all(rule, !has(rule.source) || !has(rule.source.services))",
        message: "services are not allowed in egress rule source",
    },
    Beyond {
        of: GLOBAL,
        cel: "!has(self.ingress) || self.ingress.all(rule, !has(rule.source) || !has(rule.source.services) || (has(rule.source.services.namespace) && size(rule.source.services.namespace) > 0))",
        message: "services in ingress rules must specify a namespace",
    },
    Beyond {
        of: GLOBAL,
        cel: "!has(self.egress) || self.egress.all(rule, !has(rule.destination) || !has(rule.destination.services) || (has(rule.destination.services.namespace) && size(rule.destination.services.namespace) > 0))",
        message: "services in egress rules must specify a namespace",
    },
    Beyond {
        of: &["HTTPPath"],
        cel: "full(exact) != full(prefix)",
        message: "exactly one of 'exact' and 'prefix' must be set",
    },
    Beyond {
        of: &["BGPPeerSpec"],
        cel: "!full(reachableBy) || !full(peerIP) || self.reachableBy.contains(':') == (self.peerIP.contains('[') || (isIP(self.peerIP) && self.peerIP.contains(':')))",
        message: "ReachableBy and PeerIP address family mismatched",
    },
];
