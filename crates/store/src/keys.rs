//! Where each object stands: Calico's etcd keys, to and from identities.
//!
//! ```text
//! /calico/resources/v3/projectcalico.org/<plural>/<name>              kinds of cluster scope
//! /calico/resources/v3/projectcalico.org/<plural>/<namespace>/<name>  namespaced kinds
//! /calico/resources/v3/kubernetes.io/...                              the same for Kubernetes' own kinds
//! /calico/ipam/v2/...                                                 blocks, affinities, handles, settings
//! ```
//! Kubernetes' own kinds (namespaces, service accounts) are not in Calico's etcd; ours stand beside Calico's under a group
//! that Calico's programs never list. Keys are compared byte by byte; a name never holds a `/`.

use std::net::IpAddr;

use tortie_api::kind::{Api, Kind, ResourceKey, Scope};

/// All that is Calico's.
pub const ROOT: &str = "/calico/";

/// All resources of all kinds.
pub const RESOURCES: &str = "/calico/resources/v3/";

/// All of IPAM: blocks, affinities, handles and the settings.
pub const IPAM: &str = "/calico/ipam/v2/";

/// The blocks of both families.
pub const IPAM_BLOCKS: &str = "/calico/ipam/v2/assignment/";

/// The handles.
pub const IPAM_HANDLES: &str = "/calico/ipam/v2/handle/";

/// The settings of IPAM.
pub const IPAM_CONFIG: &str = "/calico/ipam/v2/config";

fn group(kind: Kind) -> &'static str {
    match kind.api() {
        Api::Calico => "projectcalico.org",
        Api::Core | Api::Networking | Api::NetworkPolicyApi | Api::Discovery => "kubernetes.io",
    }
}

/// The key of a resource.
pub fn resource(key: &ResourceKey) -> String {
    let ResourceKey { kind, namespace, name } = key;
    match kind.scope() {
        Scope::Cluster => format!("{}{name}", kind_prefix(*kind)),
        Scope::Namespaced => format!("{}{name}", namespace_prefix(*kind, namespace)),
    }
}

/// What the keys of all resources of a kind begin with.
pub fn kind_prefix(kind: Kind) -> String {
    format!("{RESOURCES}{}/{}/", group(kind), kind.plural())
}

/// What the keys of a namespaced kind's resources in one namespace begin with.
pub fn namespace_prefix(kind: Kind, namespace: &str) -> String {
    format!("{}{namespace}/", kind_prefix(kind))
}

/// The identity of the resource at a key; `None` if it is no key of a resource that we know.
pub fn parse_resource(key: &str) -> Option<ResourceKey> {
    let mut parts = key.strip_prefix(RESOURCES)?.split('/');
    let (group_name, plural) = (parts.next()?, parts.next()?);
    let kind =
        Kind::ALL.iter().copied().find(|kind| kind.plural() == plural && group(*kind) == group_name)?;
    let (first, second, none) = (parts.next()?, parts.next(), parts.next());
    if none.is_some() || first.is_empty() || second == Some("") {
        return None;
    }
    match (kind.scope(), second) {
        (Scope::Cluster, None) => Some(ResourceKey::cluster(kind, first)),
        (Scope::Namespaced, Some(name)) => Some(ResourceKey::namespaced(kind, first, name)),
        (Scope::Cluster, Some(_)) | (Scope::Namespaced, None) => None,
    }
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    }
}

/// The key of the block of addresses that begins at `address`, with a prefix `length` in bits.
pub fn ipam_block(address: IpAddr, length: u8) -> String {
    format!("{IPAM_BLOCKS}{}/block/{address}-{length}", family(address))
}

/// The key of a host's affinity to a block.
pub fn ipam_affinity(host: &str, address: IpAddr, length: u8) -> String {
    format!("{}{}/block/{address}-{length}", ipam_affinities(host), family(address))
}

/// What the keys of a host's affinities to blocks begin with.
pub fn ipam_affinities(host: &str) -> String {
    format!("{IPAM}host/{host}/")
}

/// The key of a handle.
pub fn ipam_handle(handle: &str) -> String {
    format!("{IPAM_HANDLES}{handle}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_calicos_and_lead_back_to_the_identity() {
        let table = [
            (ResourceKey::cluster(Kind::Tier, "sec"), "/calico/resources/v3/projectcalico.org/tiers/sec"),
            (
                ResourceKey::namespaced(Kind::NetworkPolicy, "prod", "np-rich"),
                "/calico/resources/v3/projectcalico.org/networkpolicies/prod/np-rich",
            ),
            (
                ResourceKey::namespaced(Kind::WorkloadEndpoint, "prod", "node1-k8s-a--b-eth0"),
                "/calico/resources/v3/projectcalico.org/workloadendpoints/prod/node1-k8s-a--b-eth0",
            ),
            (
                ResourceKey::cluster(Kind::Namespace, "prod"),
                "/calico/resources/v3/kubernetes.io/namespaces/prod",
            ),
            (
                ResourceKey::namespaced(Kind::ServiceAccount, "prod", "web"),
                "/calico/resources/v3/kubernetes.io/serviceaccounts/prod/web",
            ),
        ];
        for (identity, key) in table {
            assert_eq!(resource(&identity), key);
            assert_eq!(parse_resource(key), Some(identity));
        }
    }

    #[test]
    fn what_is_no_key_of_a_resource_has_no_identity() {
        for key in [
            "/calico/resources/v3/projectcalico.org/tiers",
            "/calico/resources/v3/projectcalico.org/tiers/",
            "/calico/resources/v3/projectcalico.org/tiers/a/b",
            "/calico/resources/v3/projectcalico.org/networkpolicies/np",
            "/calico/resources/v3/projectcalico.org/networkpolicies/ns/",
            "/calico/resources/v3/projectcalico.org/networkpolicies/ns/a/b",
            "/calico/resources/v3/projectcalico.org/namespaces/ns",
            "/calico/resources/v3/kubernetes.io/tiers/sec",
            "/calico/resources/v3/projectcalico.org/unknown/x",
            "/calico/ipam/v2/config",
        ] {
            assert_eq!(parse_resource(key), None, "{key}");
        }
    }

    #[test]
    fn ipam_keys_are_calicos() {
        let v4 = IpAddr::from([10, 10, 0, 144]);
        let v6: IpAddr = "fd00:10::da40".parse().expect("an address");
        assert_eq!(ipam_block(v4, 28), "/calico/ipam/v2/assignment/ipv4/block/10.10.0.144-28");
        assert_eq!(
            ipam_affinity("node-b", v6, 122),
            "/calico/ipam/v2/host/node-b/ipv6/block/fd00:10::da40-122"
        );
        assert_eq!(ipam_handle("k8s-pod-network.c1"), "/calico/ipam/v2/handle/k8s-pod-network.c1");
    }
}
