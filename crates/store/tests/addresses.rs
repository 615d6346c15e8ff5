//! Objects that address management knows too: its settings under either of their keys, and pools that go.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::pool::IpPoolSpec;
use tortie_ipam::record::Config;
use tortie_ipam::{AutoAssign, HandleId, Now, Pool, Reservations, View};
use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::ipam::run;
use tortie_store::resources::{Client, Labels};
use tortie_store::{Change, Datastore, Error, keys};

const NODE: &str = "node1";
const NOW: Now = Now(1_800_000_000_000_000_000);

struct Fixture {
    client: Client,
    store: Arc<dyn Datastore>,
    _directory: tempfile::TempDir,
}

fn mk_fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tortie.db");
    let store: Arc<dyn Datastore> =
        Arc::new(Embedded::open(Options { durability: Durability::Normal, ..Options::new(path) }).unwrap());
    let client = Client::new(Arc::clone(&store));
    client.ensure_initialized().unwrap();
    Fixture { client, store, _directory: directory }
}

fn mk_object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn mk_settings(spec: Value) -> Value {
    mk_object("IPAMConfiguration", "default", spec)
}

fn settings_id() -> ResourceKey {
    ResourceKey::cluster(Kind::IPAMConfiguration, "default")
}

impl Fixture {
    /// What stands where address management reads its settings.
    fn stored(&self) -> Option<Value> {
        let found = self.store.get(keys::IPAM_CONFIG).unwrap()?;
        Some(serde_json::from_slice(&found.value).unwrap())
    }

    fn pool(&self, name: &str, cidr: &str, block: u8) {
        let spec = json!({"cidr": cidr, "blockSize": block});
        self.client.create(mk_object("IPPool", name, spec)).unwrap();
    }

    /// Takes an address of a pool for a pod.
    fn take(&self, pool: &str, pod: &str) -> String {
        let pools = self.client.list_as::<IpPoolSpec>(None).unwrap();
        let pools: Vec<Pool> = pools.iter().map(|pool| Pool::parse(pool).unwrap()).collect();
        let wanted = pools.iter().find(|found| found.name == pool).unwrap().cidr;
        let view = View::new(pools, Reservations::default(), [(NODE.to_owned(), Default::default())].into());
        let wanted = AutoAssign {
            v4: 1,
            handle: Some(HandleId::new(pod)),
            v4_pools: vec![wanted],
            ..AutoAssign::workload(NODE)
        };
        let got = run(&*self.store, tortie_ipam::auto_assign(Arc::new(view), NOW, wanted)).unwrap();
        assert_eq!(got.error, None);
        got.v4.unwrap().addresses[0].addr().to_string()
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.list_all(prefix).unwrap().items.into_iter().map(|item| item.key).collect()
    }
}

#[test]
fn settings_of_address_management_are_the_same_under_both_keys() {
    let fixture = mk_fixture();
    let Fixture { client, store, .. } = &fixture;
    let created = client.create(mk_settings(json!({"strictAffinity": true, "maxBlocksPerHost": 3}))).unwrap();
    // As Calico's API server, and unlike a bool that was left out: the host may claim blocks.
    let spec = json!({"strictAffinity": true, "maxBlocksPerHost": 3, "autoAllocateBlocks": true});
    assert_eq!(created["spec"], spec);
    let stored = json!({"strict_affinity": true, "auto_allocate_blocks": true, "maxBlocksPerHost": 3});
    assert_eq!(fixture.stored(), Some(stored));
    assert_eq!(run(&**store, tortie_ipam::read_settings()).unwrap().max_blocks_per_host, 3);

    // `calicoctl ipam configure`, of a version that knows more.
    let other = json!({"auto_allocate_blocks": true, "ipCooldownSeconds": 60, "newer": 1});
    store.put(keys::IPAM_CONFIG, other.to_string().as_bytes()).unwrap();
    let spec = json!({"strictAffinity": false, "autoAllocateBlocks": true, "ipCooldownSeconds": 60});
    assert_eq!(client.get(&settings_id()).unwrap()["spec"], spec);
    assert_eq!(client.list(Kind::IPAMConfiguration, None).unwrap().items[0]["spec"], spec);

    client
        .apply(mk_settings(json!({"strictAffinity": true, "autoAllocateBlocks": false})), Labels::Merge)
        .unwrap();
    assert_eq!(
        fixture.stored(),
        Some(json!({"strict_affinity": true, "newer": 1})),
        "what isn't known stays"
    );

    let stale = client.delete(&settings_id(), Some("1")).unwrap_err();
    assert!(matches!(stale, Error::UpdateConflict { .. }), "{stale}");
    assert!(fixture.stored().is_some(), "a refused delete changes nothing");
    client.delete(&settings_id(), None).unwrap();
    assert_eq!(fixture.stored(), None);
    assert_eq!(run(&**store, tortie_ipam::read_settings()).unwrap(), Config::default());
}

#[test]
fn settings_that_cannot_work_are_refused_in_calicos_words_and_change_nothing() {
    let fixture = mk_fixture();
    for (object, message) in [
        (
            mk_settings(json!({"strictAffinity": false, "autoAllocateBlocks": false})),
            "Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time",
        ),
        (
            mk_settings(json!({"strictAffinity": false, "maxBlocksPerHost": 3})),
            "MaxBlocksPerHost requires StrictAffinity to be enabled",
        ),
        (
            mk_object("IPAMConfiguration", "other", json!({"strictAffinity": true})),
            "Cannot create an IPAMConfiguration resource with a name other than \"default\"",
        ),
        (
            mk_object("KubeControllersConfiguration", "other", json!({})),
            "Cannot create a Kube Controllers Configuration resource with a name other than \"default\"",
        ),
    ] {
        assert_eq!(fixture.client.create(object).unwrap_err().to_string(), message);
    }
    fixture.client.create(mk_settings(json!({"strictAffinity": true}))).unwrap();
    let before = fixture.store.revision().unwrap();
    let impossible = mk_settings(json!({"strictAffinity": false, "autoAllocateBlocks": false}));
    fixture.client.update(impossible, Labels::Merge).unwrap_err();
    assert_eq!(fixture.store.revision().unwrap(), before);
}

#[test]
fn a_pool_that_is_deleted_is_disabled_first_and_gives_up_its_blocks_but_no_address_in_use() {
    let fixture = mk_fixture();
    let Fixture { client, store, .. } = &fixture;
    fixture.pool("going", "10.1.0.0/24", 30);
    fixture.pool("staying", "10.2.0.0/24", 30);
    let used = fixture.take("going", "pod-a");
    fixture.take("staying", "pod-b");
    // A block of which nothing is in use any more.
    let taken = [0, 1, 2, 3].map(|number| fixture.take("going", &format!("gone-{number}")));
    for number in 0..4 {
        let view = Arc::new(View::default());
        let handle = HandleId::new(&format!("gone-{number}"));
        run(&**store, tortie_ipam::release_by_handle(view, NOW, handle)).unwrap().unwrap();
    }
    let affinities = || fixture.keys("/calico/ipam/v2/host/");
    let blocks = || fixture.keys(keys::IPAM_BLOCKS);
    assert_eq!((affinities().len(), blocks().len()), (3, 3), "{used} and {taken:?} are in two blocks");

    let id = ResourceKey::cluster(Kind::IPPool, "going");
    let stale = client.delete(&id, Some("1")).unwrap_err();
    assert!(matches!(stale, Error::UpdateConflict { .. }), "{stale}");
    assert_eq!(affinities().len(), 3, "a refused delete gives nothing up");

    let from = store.revision().unwrap();
    client.delete(&id, None).unwrap();
    assert!(matches!(client.get(&id), Err(Error::Missing { .. })));
    assert_eq!(affinities().len(), 1, "{:?}", affinities());
    let left = blocks();
    assert_eq!(left.len(), 2, "the empty block is gone: {left:?}");
    let of_going = left.iter().find(|key| key.contains("/10.1.0.")).unwrap();
    let block: Value = serde_json::from_slice(&store.get(of_going).unwrap().unwrap().value).unwrap();
    assert_eq!(block["affinity"], Value::Null, "{block}");
    let handle = run(&**store, tortie_ipam::addresses_of_handle(HandleId::new("pod-a"))).unwrap().unwrap();
    assert_eq!(handle[0].to_string(), used, "the pod keeps its address");

    // Disabled, then its claims, then the pool itself.
    let mut told = Vec::new();
    let mut watch = store.watch("/", from).unwrap();
    for change in watch.next(Duration::ZERO).unwrap() {
        match change {
            Change::Put(kv) if kv.key == keys::resource(&id) => {
                let object: Value = serde_json::from_slice(&kv.value).unwrap();
                assert_eq!(object["spec"]["disabled"], true);
                told.push("disabled");
            }
            Change::Delete { key, .. } if key == keys::resource(&id) => told.push("deleted"),
            Change::Delete { key, .. } if key.starts_with("/calico/ipam/v2/host/") => told.push("given up"),
            _ => {}
        }
    }
    assert_eq!(told, ["disabled", "given up", "given up", "deleted"]);
}

#[test]
fn a_pool_of_load_balancers_stays_one() {
    let fixture = mk_fixture();
    let uses = |uses: &[&str]| mk_object("IPPool", "lb", json!({"cidr": "10.3.0.0/24", "allowedUses": uses}));
    fixture.client.create(uses(&["LoadBalancer"])).unwrap();
    let refused =
        fixture.client.update(uses(&["Workload", "Tunnel"]), Labels::Merge).unwrap_err().to_string();
    assert_eq!(
        refused,
        "error with field IPPool.Spec.AllowedUses = '[Workload Tunnel]' (IPPool allowed use cannot be changed from LoadBalacer to Workload or Tunnel)"
    );
    fixture.client.update(uses(&["LoadBalancer"]), Labels::Merge).unwrap();
}

#[test]
fn a_node_that_is_deleted_takes_all_that_is_its_own_along() {
    let fixture = mk_fixture();
    let Fixture { client, store, .. } = &fixture;
    fixture.pool("pool", "10.4.0.0/24", 30);
    let (mine, tunnel) = (fixture.take("pool", "pod"), fixture.take("pool", "tunnel"));
    let create = |kind: &str, name: &str, spec: Value| client.create(mk_object(kind, name, spec)).unwrap();
    for node in [NODE, "other"] {
        create("Node", node, json!({"ipv4VXLANTunnelAddr": tunnel, "bgp": {}}));
        create("FelixConfiguration", &format!("node.{node}"), json!({"logPrefix": node}));
        create(
            "BGPPeer",
            &format!("peer-{node}"),
            json!({"node": node, "peerIP": "192.0.2.1", "asNumber": 64512}),
        );
        create("HostEndpoint", &format!("{node}-eth0"), json!({"node": node, "interfaceName": "eth0"}));
        let mut endpoint = mk_object(
            "WorkloadEndpoint",
            &format!("{node}-k8s-pod-eth0"),
            json!({"node": node, "orchestrator": "k8s", "pod": "pod", "endpoint": "eth0",
                "interfaceName": "cali1", "ipNetworks": [format!("{}/32", if node == NODE { &*mine } else { "10.9.9.9" })]}),
        );
        endpoint["metadata"]["namespace"] = json!("shop");
        client.create(endpoint).unwrap();
    }
    let names = || {
        let kinds =
            [Kind::Node, Kind::FelixConfiguration, Kind::BGPPeer, Kind::HostEndpoint, Kind::WorkloadEndpoint];
        let lists = kinds.map(|kind| client.list(kind, None).unwrap().items);
        lists
            .concat()
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 10);
    let id = ResourceKey::cluster(Kind::Node, NODE);
    let before = store.revision().unwrap();
    assert!(matches!(client.delete(&id, Some("1")).unwrap_err(), Error::UpdateConflict { .. }));
    assert_eq!(store.revision().unwrap(), before, "a refused delete takes nothing along");

    client.delete(&id, None).unwrap();
    assert_eq!(names(), ["other", "node.other", "peer-other", "other-eth0", "other-k8s-pod-eth0"]);
    for prefix in ["/calico/ipam/v2/host/", keys::IPAM_BLOCKS, keys::IPAM_HANDLES] {
        assert_eq!(fixture.keys(prefix), [""; 0], "its addresses and blocks are free again");
    }
    assert!(matches!(client.delete(&id, None).unwrap_err(), Error::Missing { .. }));
}
