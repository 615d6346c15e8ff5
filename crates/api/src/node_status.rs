//! A request for a host's status, and the host's answer: CalicoNodeStatus.

use crate::go_struct;
use crate::meta::{Object, specs};

/// A request for a host's status, and the answer.
pub type CalicoNodeStatus = Object<CalicoNodeStatusSpec>;

specs! {
    CalicoNodeStatusSpec => CalicoNodeStatus, CalicoNodeStatusStatus;
}

go_struct! {
    /// What is asked.
    CalicoNodeStatusSpec {
        /// The host.
        node: String = "node",
        /// `Agent`, `BGP` and `Routes`.
        classes: Vec<String> = "classes",
        /// Seconds between two answers; 0 for none any more, 10 if unset.
        update_period_seconds: Option<u32> = "updatePeriodSeconds",
    }

    /// What the host answers.
    CalicoNodeStatusStatus {
        /// When, RFC 3339.
        last_updated: Option<String> = "lastUpdated",
        /// Of its BGP daemons.
        agent: CalicoNodeAgentStatus = "agent",
        /// Of its BGP sessions.
        bgp: CalicoNodeBgpStatus = "bgp",
        /// Of its routes.
        routes: CalicoNodeBgpRouteStatus = "routes",
    }

    /// The host's BGP daemons.
    CalicoNodeAgentStatus {
        /// The one for IPv4.
        bird_v4: BgpDaemonStatus = "birdV4",
        /// The one for IPv6.
        bird_v6: BgpDaemonStatus = "birdV6",
    }

    /// The host's BGP sessions.
    CalicoNodeBgpStatus as "CalicoNodeBGPStatus" {
        /// Sessions for IPv4 that stand.
        number_established_v4: i64 = "numberEstablishedV4",
        /// Sessions for IPv4 that don't.
        number_not_established_v4: i64 = "numberNotEstablishedV4",
        /// Sessions for IPv6 that stand.
        number_established_v6: i64 = "numberEstablishedV6",
        /// Sessions for IPv6 that don't.
        number_not_established_v6: i64 = "numberNotEstablishedV6",
        /// Peers for IPv4.
        peers_v4: Vec<CalicoNodePeer> = "peersV4",
        /// Peers for IPv6.
        peers_v6: Vec<CalicoNodePeer> = "peersV6",
    }

    /// The host's routes.
    CalicoNodeBgpRouteStatus as "CalicoNodeBGPRouteStatus" {
        /// For IPv4.
        routes_v4: Vec<CalicoNodeRoute> = "routesV4",
        /// For IPv6.
        routes_v6: Vec<CalicoNodeRoute> = "routesV6",
    }

    /// A BGP daemon.
    BgpDaemonStatus as "BGPDaemonStatus" {
        /// `Ready` or `NotReady`.
        state: String = "state",
        /// Its version.
        version: String = "version",
        /// Its router id.
        router_id: String = "routerID",
        /// When it started.
        last_boot_time: String = "lastBootTime",
        /// When it last read its configuration.
        last_reconfiguration_time: String = "lastReconfigurationTime",
    }

    /// A BGP peer.
    CalicoNodePeer {
        /// Its address.
        peer_ip: String = "peerIP",
        /// `NodeMesh`, `NodePeer` or `GlobalPeer`.
        peer_type: String = "type",
        /// The session's state, as RFC 4271 names it.
        state: String = "state",
        /// Since when.
        since: String = "since",
    }

    /// A route.
    CalicoNodeRoute {
        /// `FIB` or `RIB`.
        route_type: String = "type",
        /// Where it leads.
        destination: String = "destination",
        /// Through whom.
        gateway: String = "gateway",
        /// Through which interface.
        interface: String = "interface",
        /// From whom it was learned.
        learned_from: CalicoNodeRouteLearnedFrom = "learnedFrom",
    }

    /// From whom a route was learned.
    CalicoNodeRouteLearnedFrom {
        /// `Kernel`, `Static`, `Direct`, `NodeMesh` or `BGPPeer`.
        source_type: String = "sourceType",
        /// The peer's address.
        peer_ip: String = "peerIP",
    }
}
