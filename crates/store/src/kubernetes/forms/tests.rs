//! The table of collections, places and prefixes.

#![expect(clippy::unwrap_used, reason = "tests")]

use tortie_api::resource::Resource;

use super::*;

/// Whether whoever reads all objects takes what was read for the object at its key.
pub fn is_taken_for_itself(read: &Read) -> bool {
    let id = keys::parse_resource(&read.key).unwrap();
    !Resource::KINDS.contains(&id.kind) || Resource::from_json(id.kind, &read.value).unwrap().key() == id
}

#[test]
fn collections_are_sorted_and_no_key_begins_as_two_of_them() {
    for pair in collections().windows(2) {
        assert!(pair[0].prefix < pair[1].prefix);
        assert!(!pair[1].prefix.starts_with(&pair[0].prefix), "{}", pair[1].prefix);
    }
    let custom: std::collections::BTreeSet<&str> =
        collections().iter().filter(|one| one.api == CUSTOM).map(|one| one.plural).collect();
    assert_eq!(
        custom.into_iter().collect::<Vec<_>>(),
        [
            "bgpconfigurations",
            "bgpfilters",
            "bgppeers",
            "blockaffinities",
            "caliconodestatuses",
            "clusterinformations",
            "felixconfigurations",
            "globalnetworkpolicies",
            "globalnetworksets",
            "hostendpoints",
            "ipamblocks",
            "ipamconfigs",
            "ipamhandles",
            "ippools",
            "ipreservations",
            "kubecontrollersconfigurations",
            "networkpolicies",
            "networksets",
            "stagedglobalnetworkpolicies",
            "stagedkubernetesnetworkpolicies",
            "stagednetworkpolicies",
            "tiers",
        ]
    );
}

#[test]
fn a_prefix_leads_to_the_collections_of_its_keys() {
    let plurals =
        |prefix: &str| under(collections(), prefix).iter().map(|one| one.plural).collect::<Vec<_>>();
    assert_eq!(under(collections(), "").len(), collections().len() - 1);
    assert_eq!(under(collections(), keys::ROOT).len(), collections().len() - 1);
    assert_eq!(under(collections(), keys::RESOURCES).len(), collections().len() - 6);
    assert_eq!(
        plurals(keys::IPAM),
        ["ipamblocks", "ipamconfigs", "ipamhandles", "blockaffinities", "blockaffinities"]
    );
    for (prefix, want) in [
        (keys::IPAM_BLOCKS, vec!["ipamblocks"]),
        ("/calico/ipam/v2/assignment/ipv4/block/", vec!["ipamblocks"]),
        ("/calico/ipam/v2/host/node-1/", vec!["blockaffinities"]),
        ("/calico/ipam/v2/config", vec!["ipamconfigs"]),
        ("/calico/resources/v3/projectcalico.org/networkpolicies/prod/", vec!["networkpolicies"]),
        ("/calico/resources/v3/projectcalico.org/tiers/sec", vec!["tiers"]),
        ("/calico/resources/v3/projectcalico.org/t", vec!["tiers"]),
        ("/calico/resources/v3/projectcalico.org/profiles/", vec![]),
        ("/calico/felix/", vec![]),
        ("/zoo", vec![]),
        ("/a", vec![]),
    ] {
        assert_eq!(plurals(prefix), want, "{prefix}");
    }
}

#[test]
fn keys_stand_where_calicos_kubernetes_driver_puts_them() {
    let crd = "crd.projectcalico.org/v1";
    let table = [
        ("projectcalico.org/tiers/sec", crd, "tiers", "Tier", None, "sec"),
        (
            "projectcalico.org/networkpolicies/prod/default.np",
            crd,
            "networkpolicies",
            "NetworkPolicy",
            Some("prod"),
            "default.np",
        ),
        ("projectcalico.org/ipamconfigurations/default", crd, "ipamconfigs", "IPAMConfig", None, "default"),
        ("projectcalico.org/nodes/node-1", "v1", "nodes", "Node", None, "node-1"),
        (
            "projectcalico.org/workloadendpoints/prod/node--1-k8s-web--0-eth0",
            "v1",
            "pods",
            "Pod",
            Some("prod"),
            "web-0",
        ),
        ("kubernetes.io/namespaces/prod", "v1", "namespaces", "Namespace", None, "prod"),
        (
            "kubernetes.io/serviceaccounts/prod/web",
            "v1",
            "serviceaccounts",
            "ServiceAccount",
            Some("prod"),
            "web",
        ),
        ("kubernetes.io/services/prod/web", "v1", "services", "Service", Some("prod"), "web"),
        (
            "kubernetes.io/kubernetesnetworkpolicies/prod/np",
            "networking.k8s.io/v1",
            "networkpolicies",
            "NetworkPolicy",
            Some("prod"),
            "np",
        ),
        (
            "kubernetes.io/kubernetesclusternetworkpolicies/cnp",
            "policy.networking.k8s.io/v1alpha2",
            "clusternetworkpolicies",
            "ClusterNetworkPolicy",
            None,
            "cnp",
        ),
        (
            "kubernetes.io/endpointslices/prod/web-x",
            "discovery.k8s.io/v1",
            "endpointslices",
            "EndpointSlice",
            Some("prod"),
            "web-x",
        ),
    ];
    let ipam = [
        ("assignment/ipv4/block/10.0.0.0-26", "ipamblocks", "IPAMBlock", "10-0-0-0-26"),
        ("assignment/ipv6/block/fd00::-122", "ipamblocks", "IPAMBlock", "fd00---122"),
        ("handle/k8s-pod-network.AbC", "ipamhandles", "IPAMHandle", "k8s-pod-network.abc"),
        ("host/node-1/ipv4/block/10.0.0.0-26", "blockaffinities", "BlockAffinity", "node-1-10-0-0-0-26"),
        (
            "virtual/load-balancer/ipv6/block/fd00::-122",
            "blockaffinities",
            "BlockAffinity",
            "load-balancer-fd00---122",
        ),
        ("config", "ipamconfigs", "IPAMConfig", "default"),
    ];
    let table = table.map(|(key, api, plural, kind, namespace, name)| {
        (format!("{}{key}", keys::RESOURCES), api, plural, kind, namespace, name)
    });
    let ipam =
        ipam.map(|(key, plural, kind, name)| (format!("{}{key}", keys::IPAM), crd, plural, kind, None, name));
    for (key, api, plural, kind, namespace, name) in table.into_iter().chain(ipam) {
        let collection = of_key(collections(), &key).unwrap();
        assert_eq!(
            (collection.api_version(), collection.plural, collection.kind),
            (api, plural, kind),
            "{key}"
        );
        assert_eq!(collection.namespaced, namespace.is_some(), "{key}");
        let place = Place { namespace: namespace.map(str::to_owned), name: name.to_owned() };
        assert_eq!(collection.place(&key), Some(place), "{key}");
    }
}

#[test]
fn pods_are_told_as_endpoints_and_read_by_who_asks_for_one() {
    let key = "/calico/resources/v3/kubernetes.io/pods/prod/web";
    let pods = of_key(collections(), key).unwrap();
    let place = Place { namespace: Some("prod".into()), name: "web".into() };
    assert_eq!((pods.is_told_elsewhere(), pods.place(key)), (true, Some(place)));
    assert!(under(collections(), keys::RESOURCES).iter().all(|one| !one.is_told_elsewhere()));
    assert_eq!(under(collections(), key).len(), 1);
}

#[test]
fn keys_that_no_object_can_hold_have_no_place() {
    for key in [
        "/calico/resources/v3/projectcalico.org/profiles/kns.prod",
        "/calico/resources/v3/projectcalico.org/ipamblocks/10-0-0-0-26",
        "/calico/resources/v3/projectcalico.org/",
        "/calico/felix/v1/host/n/endpoint/e",
        "/calico/ipam/v2/",
        "",
    ] {
        assert!(of_key(collections(), key).is_none(), "{key}");
    }
    for key in [
        "/calico/resources/v3/projectcalico.org/tiers/",
        "/calico/resources/v3/projectcalico.org/tiers/a/b",
        "/calico/resources/v3/projectcalico.org/networkpolicies/prod",
        "/calico/resources/v3/projectcalico.org/networkpolicies/prod/",
        "/calico/resources/v3/projectcalico.org/networkpolicies/prod/a/b",
        "/calico/resources/v3/projectcalico.org/workloadendpoints/prod/n-cni-c1-eth0",
        "/calico/ipam/v2/assignment/ipv4/block/10.0.0.1-26",
        "/calico/ipam/v2/assignment/ipv6/block/10.0.0.0-26",
        "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0",
        "/calico/ipam/v2/handle/",
        "/calico/ipam/v2/host/node-1",
        "/calico/ipam/v2/configs",
    ] {
        assert_eq!(of_key(collections(), key).unwrap().place(key), None, "{key}");
    }
}

#[test]
fn a_prefix_of_one_namespaces_keys_names_it() {
    let policies = of_key(collections(), "/calico/resources/v3/projectcalico.org/networkpolicies/").unwrap();
    let prefix = |rest: &str| format!("{}{rest}", policies.prefix);
    assert_eq!(policies.namespace_of(&prefix("prod/")), Some("prod".to_owned()));
    assert_eq!(policies.namespace_of(&prefix("prod/np")), Some("prod".to_owned()));
    assert_eq!(policies.namespace_of(&prefix("prod")), None);
    assert_eq!(policies.namespace_of(&prefix("")), None);
    let tiers = of_key(collections(), "/calico/resources/v3/projectcalico.org/tiers/").unwrap();
    assert_eq!(tiers.namespace_of(&format!("{}a/", tiers.prefix)), None);
}

#[test]
fn what_is_kubernetes_own_is_only_read_and_shared_objects_are_never_deleted() {
    for (key, creatable, writable, removal) in [
        ("projectcalico.org/tiers/a", true, true, Removal::Delete),
        ("projectcalico.org/nodes/a", false, true, Removal::Refused),
        ("projectcalico.org/workloadendpoints/p/n-k8s-a-eth0", false, true, Removal::Patch(pod::removal())),
        ("kubernetes.io/namespaces/a", false, false, Removal::Refused),
    ] {
        let key = format!("{}{key}", keys::RESOURCES);
        let collection = of_key(collections(), &key).unwrap();
        assert_eq!(
            (collection.creatable(), collection.writable(), collection.removal()),
            (creatable, writable, removal),
            "{key}"
        );
        assert_eq!(
            collection.write(&key, b"{}", None).is_ok(),
            writable && !key.contains("endpoints"),
            "{key}"
        );
    }
    let key = format!("{}kubernetes.io/namespaces/a", keys::RESOURCES);
    let fault = of_key(collections(), &key).unwrap().write(&key, b"{}", None).unwrap_err();
    assert_eq!(fault.key.as_deref(), Some(key.as_str()));
    assert_eq!(fault.to_string(), "kind: found Namespace, expected a kind that is Calico's to write");
    let error = crate::Error::from(fault).to_string();
    assert!(error.contains(&key) && error.contains("found Namespace"), "{error}");
}
