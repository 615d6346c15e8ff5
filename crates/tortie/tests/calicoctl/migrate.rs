//! A cluster's way from etcd into its Kubernetes API: lock, export, import, and everything is there as it was.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tortie_store::keys;

use crate::fixture::{Fixture, On, failed, mk_pool, ok};

/// One of each kind that is exported and that another doesn't need; two nodes, of which the cluster has the first.
const OBJECTS: &str = r#"
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: etcd-1, labels: {rack: a}}, spec: {bgp: {ipv4Address: 192.0.2.1/24, asNumber: 64513}, orchRefs: [{nodeName: worker-1, orchestrator: k8s}]}}
---
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: etcd-2}, spec: {orchRefs: [{nodeName: gone, orchestrator: k8s}]}}
---
{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: platform, labels: {a: b}}, spec: {order: 10.5}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: isolation}, spec: {tier: platform, order: 7, selector: role == 'db', ingress: [{action: Deny, protocol: TCP, source: {nets: [10.0.0.0/8], ports: ['1:10', 80]}}], types: [Ingress]}}
---
{apiVersion: projectcalico.org/v3, kind: StagedGlobalNetworkPolicy, metadata: {name: staged}, spec: {selector: all()}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: web, namespace: shop, annotations: {note: hello}}, spec: {selector: app == 'web', egress: [{action: Allow}]}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: set, namespace: shop, labels: {a: b}}, spec: {nets: [10.1.0.0/16]}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: set}, spec: {nets: ['fd00::/8']}}
---
{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: eth0, labels: {host: 'yes'}}, spec: {node: worker-1, interfaceName: eth0, expectedIPs: [192.0.2.1]}}
---
{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {name: rack}, spec: {peerIP: 192.0.2.254, asNumber: 64512}}
---
{apiVersion: projectcalico.org/v3, kind: BGPConfiguration, metadata: {name: node.etcd-1}, spec: {logSeverityScreen: Info}}
---
{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec: {logSeverityScreen: Debug, iptablesRefreshInterval: 90s}}
---
{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: node.etcd-1}, spec: {bpfEnabled: false}}
---
{apiVersion: projectcalico.org/v3, kind: IPReservation, metadata: {name: kept}, spec: {reservedCIDRs: [10.10.0.7/32]}}
"#;

const KINDS: [&str; 14] = [
    "ippool",
    "tier",
    "gnp",
    "sgnp",
    "np",
    "networkset",
    "globalnetworkset",
    "hostendpoint",
    "bgppeer",
    "bgpconfiguration",
    "felixconfiguration",
    "ipreservation",
    "clusterinformation",
    "kubecontrollersconfiguration",
];

/// All objects of a kind without what is told by the store alone, by their names.
fn objects(fixture: &Fixture, kind: &str) -> BTreeMap<String, Value> {
    let namespaced = matches!(kind, "np" | "networkset");
    let words = ["get", kind, "-A"];
    let list = fixture.json(if namespaced { &words } else { &words[..2] });
    let items = list["items"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            object["metadata"].as_object_mut().unwrap().remove(field);
        }
        (object["metadata"]["name"].as_str().unwrap().to_owned(), object)
    });
    items.collect()
}

fn addresses(fixture: &Fixture) -> BTreeMap<String, Value> {
    let found = fixture.store().list_all(keys::IPAM).unwrap().items.into_iter();
    found.map(|item| (item.key, serde_json::from_slice(&item.value).unwrap())).collect()
}

/// What was said of the old node, said of the new one.
fn renamed(text: &str) -> String {
    text.replace("etcd-1", "worker-1")
}

#[test]
fn a_cluster_moves_from_etcd_into_its_kubernetes_api() {
    let etcd = Fixture::on(On::Etcd);
    etcd.must(&["apply", "-f", "-"], &(mk_pool("shop", "10.10.0.0/24") + "  blockSize: 28\n"));
    etcd.must(&["apply", "-f", "-"], OBJECTS);
    // Addresses as Calico keeps them: a pod's, and that of the node's tunnel.
    let store = etcd.store();
    let block = json!({
        "cidr": "10.10.0.0/28", "affinity": "host:etcd-1",
        "allocations": [0, 1, null, null, null, null, null, null, null, null, null, null, null, null, null, null],
        "unallocated": [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        "attributes": [
            { "handle_id": "k8s-pod-network.c0", "secondary": { "node": "etcd-1", "pod": "web", "namespace": "shop" } },
            { "handle_id": "vxlan-tunnel-addr-etcd-1", "secondary": { "node": "etcd-1", "type": "vxlanTunnelAddress" } },
        ],
        "deleted": false, "sequenceNumber": 1_800_000_000_000_000_002_u64,
        "sequenceNumberForAllocation": { "0": 1_800_000_000_000_000_000_u64, "1": 1_800_000_000_000_000_001_u64 },
    });
    for (key, value) in [
        (keys::ipam_block([10, 10, 0, 0].into(), 28), block),
        (
            keys::ipam_affinity("etcd-1", [10, 10, 0, 0].into(), 28),
            json!({ "state": "confirmed", "deleted": false }),
        ),
        (
            keys::ipam_handle("k8s-pod-network.c0"),
            json!({ "block": { "10.10.0.0/28": 1 }, "deleted": false }),
        ),
        (
            keys::ipam_handle("vxlan-tunnel-addr-etcd-1"),
            json!({ "block": { "10.10.0.0/28": 1 }, "deleted": false }),
        ),
    ] {
        store.create(&key, value.to_string().as_bytes()).unwrap();
    }
    etcd.must(&["ipam", "configure", "--strictaffinity=true"], "");
    etcd.must(&["datastore", "migrate", "lock"], "");
    let export = etcd.must(&["datastore", "migrate", "export"], "");

    let cluster = Fixture::on(On::Kubernetes);
    cluster.kubectl(&["create", "namespace", "shop"], "");
    cluster.kubectl(
        &["create", "-f", "-"],
        "{apiVersion: v1, kind: Node, metadata: {name: worker-1, labels: {kubernetes.io/os: linux}}}",
    );
    let path = cluster.file("export", &export);
    let path = path.to_str().unwrap();
    let import = &["datastore", "migrate", "import", "-f", path];
    let broken = cluster.file("broken", "kind: Nothing\n");
    let broken = broken.to_str().unwrap();
    assert_eq!(
        cluster.run(&["datastore", "migrate", "import", "-f", broken]),
        failed(
            "",
            &format!(
                "error while reading migration file: Imported file: {broken} is improperly formatted. Try recreating with 'calicoctl export'\n"
            )
        )
    );
    assert_eq!(
        cluster.run(import),
        ok(
            "Datastore locked.\n[WARNING] Attempted to import node Node(gone) from etcd that references a nonexistent Kubernetes node. Skipping that node. Non-Kubernetes nodes are not supported in the Kubernetes datastore and will be skipped.\nSuccessfully applied 17 resource(s)\nImporting IPAM resources\nSuccessfully applied 5 IPAM resource(s)\nDatastore information successfully imported. Please refer to the datastore migration documentation for next steps.\n"
        )
    );
    for kind in KINDS {
        let wanted: BTreeMap<String, Value> =
            serde_json::from_str(&renamed(&serde_json::to_string(&objects(&etcd, kind)).unwrap())).unwrap();
        assert_eq!(objects(&cluster, kind), wanted, "{kind}");
    }
    let wanted: BTreeMap<String, Value> =
        serde_json::from_str(&renamed(&serde_json::to_string(&addresses(&etcd)).unwrap())).unwrap();
    assert_eq!(addresses(&cluster), wanted);
    let node = cluster.json(&["get", "node", "worker-1"]);
    assert_eq!(node["spec"]["bgp"], json!({ "asNumber": 64513, "ipv4Address": "192.0.2.1/24" }));
    assert_eq!(node["metadata"]["labels"], json!({ "kubernetes.io/os": "linux", "rack": "a" }));

    // It is locked until somebody says otherwise, and a second import is refused.
    let again = cluster.run(import);
    assert_eq!(
        again,
        failed(
            "",
            "datastore already has Calico resources: found existing Calico IPPool resource. Clear out all Calico resources by deleting all Calico CRDs.\n"
        )
    );
    let ready = |cluster: &Fixture| {
        cluster.json(&["get", "clusterinfo", "default"])["spec"]["datastoreReady"].clone()
    };
    assert_eq!(ready(&cluster), false);
    assert_eq!(cluster.run(&["datastore", "migrate", "unlock"]), ok("Datastore unlocked.\n"));
    assert_eq!(ready(&cluster), true);
    assert_eq!(cluster.run(&["datastore", "migrate", "lock"]), ok("Datastore locked.\n"));
    assert_eq!(ready(&cluster), false);
    let check = cluster.run(&["ipam", "show", "--ip=10.10.0.0"]);
    assert!(check.out.contains("10.10.0.0"), "{check:?}");
}
