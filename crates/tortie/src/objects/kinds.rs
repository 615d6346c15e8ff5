//! The names of kinds on the command line: calicoctl's, and our own for the kinds of Kubernetes that we keep.

use tortie_api::kind::Kind;

/// The names of a kind beside its own in lower case and its plural; `None` for kinds that commands don't handle.
const KINDS: [(Kind, &[&str]); 26] = [
    (Kind::BGPConfiguration, &["bgpconfig", "bgpconfigs"]),
    (Kind::BGPFilter, &["bgpf", "bgpfs", "bf", "bfs"]),
    (Kind::BGPPeer, &["bgpp", "bgpps", "bp", "bps"]),
    (Kind::CalicoNodeStatus, &["nodestatus", "nodestatuses"]),
    (Kind::ClusterInformation, &["clusterinfo", "clusterinfos"]),
    (Kind::FelixConfiguration, &["felixconfig", "felixconfigs"]),
    (Kind::GlobalNetworkPolicy, &["gnp", "gnps"]),
    (Kind::GlobalNetworkSet, &["gnetsets"]),
    (Kind::HostEndpoint, &["hep", "heps"]),
    (Kind::IPAMConfiguration, &["ipamconfig", "ipamconfigs"]),
    (Kind::IPPool, &["ipp", "ipps", "pool", "pools"]),
    (Kind::IPReservation, &["reservation", "reservations"]),
    (Kind::KubeControllersConfiguration, &["kubecontrollersconfig", "kubecontrollersconfigs"]),
    (Kind::NetworkPolicy, &["policy", "np", "policies", "pol", "pols"]),
    (Kind::NetworkSet, &["netsets"]),
    (Kind::Node, &["no", "nos"]),
    (Kind::Profile, &["pro", "pros"]),
    (Kind::StagedGlobalNetworkPolicy, &["sgnp", "sgnps"]),
    (
        Kind::StagedKubernetesNetworkPolicy,
        &["stagedkubernetespolicy", "sknp", "stagedkubernetespolicies", "skpol", "skpols"],
    ),
    (Kind::StagedNetworkPolicy, &["stagedpolicy", "snp", "stagedpolicies", "spol", "spols"]),
    (Kind::Tier, &["tier"]),
    (Kind::WorkloadEndpoint, &["wep", "weps"]),
    (Kind::Namespace, &["ns"]),
    (Kind::ServiceAccount, &["sa"]),
    (Kind::KubernetesNetworkPolicy, &["knp", "knps"]),
    (Kind::KubernetesClusterNetworkPolicy, &["cnp", "cnps"]),
];

/// The short names of a kind; none for kinds that commands don't handle.
pub fn short_names(kind: Kind) -> &'static [&'static str] {
    KINDS.iter().find(|(known, _)| *known == kind).map_or(&[], |(_, names)| names)
}

/// The kind that a word means, in any case.
pub fn by_name(word: &str) -> Option<Kind> {
    let word = word.to_lowercase();
    KINDS
        .iter()
        .find(|(kind, names)| {
            names.contains(&word.as_str())
                || kind.plural() == word
                || kind.qualified_name().to_lowercase() == word
        })
        .map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_one_kind() {
        let mut seen = std::collections::HashMap::new();
        for (kind, names) in KINDS {
            let own = kind.qualified_name().to_lowercase();
            for name in names.iter().copied().chain([kind.plural(), own.as_str()]) {
                assert_eq!(by_name(name), Some(kind), "{name}");
                assert_eq!(by_name(&name.to_uppercase()), Some(kind), "{name}");
                assert!(seen.insert(name.to_owned(), kind).is_none_or(|other| other == kind), "{name}");
            }
        }
        assert_eq!(by_name("ipamblock"), None);
        assert_eq!(by_name(""), None);
    }
}
