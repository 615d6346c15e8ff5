//! Network sets: labelled lists of CIDRs that rule selectors can match.

use crate::go_struct;
use crate::meta::{Object, specs};

/// A network set of one namespace.
pub type NetworkSet = Object<NetworkSetSpec>;
/// A network set without a namespace.
pub type GlobalNetworkSet = Object<GlobalNetworkSetSpec>;

specs! {
    NetworkSetSpec => NetworkSet;
    GlobalNetworkSetSpec => GlobalNetworkSet;
}

go_struct! {
    /// CIDRs of one namespace.
    NetworkSetSpec {
        /// CIDRs or bare addresses of both families; overlaps are fine.
        nets: Vec<String> = "nets",
    }

    /// CIDRs.
    GlobalNetworkSetSpec {
        /// CIDRs or bare addresses of both families; overlaps are fine.
        nets: Vec<String> = "nets",
    }
}
