//! Many threads that want addresses at the same time, on each datastore: nobody gets what another has, and the records
//! agree with what was told.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tortie_ipam::record::Config;
use tortie_ipam::{
    AutoAssign, HandleId, Machine, Now, Pool, Repair, Reservations, View, addresses_of_handle, auto_assign,
    check, release_by_handle, write_settings,
};
use tortie_store::embedded::{Durability, Embedded};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{self, Etcd};
use tortie_store::ipam::{Allocator, run};
use tortie_store::kubernetes::{self, Kubernetes};
use tortie_store::{Datastore, Write};

const NOW: Now = Now(1_800_000_000_000_000_000);
const THREADS: usize = 8;

/// Calico's kinds, as users install them.
const KINDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds.yaml");

fn embedded(directory: &Path) -> Arc<dyn Datastore> {
    let path = directory.join("tortie.db");
    let options = tortie_store::embedded::Options::new(path);
    Arc::new(
        Embedded::open(tortie_store::embedded::Options { durability: Durability::Normal, ..options })
            .unwrap(),
    )
}

fn etcd(server: &Server) -> Arc<dyn Datastore> {
    Arc::new(Etcd::open(etcd::Options::new(vec![server.endpoint()])).unwrap())
}

fn mk_server(directory: &Path) -> Server {
    Server::start(Start { directory: directory.join("etcd"), ..Start::default() }).unwrap()
}

/// A Kubernetes API that knows Calico's kinds.
fn mk_api(directory: &Path) -> kubernetes::server::Server {
    let start = kubernetes::server::Start { directory: directory.join("api"), ..Default::default() };
    let server = kubernetes::server::Server::start(start).unwrap();
    server.kubectl(&["apply", "--server-side", "-f", KINDS], "").unwrap();
    let known = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    server.kubectl(&known, "").unwrap();
    server
}

/// A connection of its own, as each node's and process's is.
fn kubernetes(server: &kubernetes::server::Server) -> Arc<dyn Datastore> {
    Arc::new(Kubernetes::open(server.options().unwrap()).unwrap())
}

fn mk_view() -> Arc<View> {
    let spec = json!({ "metadata": { "name": "pool" }, "spec": { "cidr": "10.0.0.0/16", "blockSize": 26 } });
    let pool = Pool::parse(&serde_json::from_value(spec).unwrap()).unwrap();
    let nodes = ["node-a", "node-b"].map(|node| (node.to_owned(), Default::default()));
    Arc::new(View::new(vec![pool], Reservations::default(), nodes.into()))
}

/// A host may have as many blocks as it needs.
fn without_limits(store: &dyn Datastore) {
    let config = Config { strict_affinity: true, max_blocks_per_host: 1000, ..Config::default() };
    run(store, write_settings(config)).unwrap().unwrap();
}

fn wants(view: &Arc<View>, host: &str, handle: &HandleId) -> Machine<tortie_ipam::AutoAssigned> {
    let attributes = [("pod".to_owned(), handle.to_string()), ("node".to_owned(), host.to_owned())].into();
    let wanted = AutoAssign { handle: Some(handle.clone()), attributes, ..AutoAssign::workload(host) };
    auto_assign(Arc::clone(view), NOW, wanted)
}

/// How a thread has its operations carried out.
enum Way {
    Together(Arc<Allocator>),
    Alone(Arc<dyn Datastore>),
}

impl Way {
    fn run<T: Send + 'static>(&self, machine: Machine<T>) -> T {
        match self {
            Way::Together(allocator) => allocator.run(machine).unwrap(),
            Way::Alone(store) => run(&**store, machine).unwrap(),
        }
    }
}

/// Takes addresses and gives every third back; returns what it still has.
fn work(view: &Arc<View>, host: &str, way: &Way, name: &str, count: usize) -> BTreeMap<HandleId, IpAddr> {
    let mut has = BTreeMap::new();
    for number in 0..count {
        let handle = HandleId::new(&format!("k8s-pod-network.{name}-{number}"));
        let got = way.run(wants(view, host, &handle));
        assert_eq!(got.error, None);
        has.insert(handle, got.v4.unwrap().addresses[0].addr());
        if number % 3 == 2 {
            let back = HandleId::new(&format!("k8s-pod-network.{name}-{}", number - 1));
            way.run(release_by_handle(Arc::clone(view), NOW, back.clone())).unwrap();
            has.remove(&back).unwrap();
        }
    }
    has
}

/// Each thread's host and way; all at the same time. What they have in the end is theirs alone, and stored so.
fn all_at_once(store: &Arc<dyn Datastore>, threads: &[(&str, Way)], count: usize) {
    let view = mk_view();
    without_limits(&**store);
    let all: Vec<BTreeMap<HandleId, IpAddr>> = std::thread::scope(|scope| {
        let started: Vec<_> = threads
            .iter()
            .enumerate()
            .map(|(at, (host, way))| {
                let view = &view;
                scope.spawn(move || work(view, host, way, &at.to_string(), count))
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let all: BTreeMap<HandleId, IpAddr> = all.into_iter().flatten().collect();
    assert_eq!(all.len(), threads.len() * (count - count / 3));
    let mut addresses: Vec<IpAddr> = all.values().copied().collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), all.len(), "no address has two");
    for (handle, address) in &all {
        let stored = run(&**store, addresses_of_handle(handle.clone())).unwrap().unwrap();
        assert_eq!(stored, [*address], "{handle}");
    }
    let in_use = all.into_keys().collect();
    let findings = run(&**store, check(view, NOW, Some(in_use), Repair::Report)).unwrap().unwrap();
    assert_eq!(findings, []);
}

fn together(store: &Arc<dyn Datastore>) -> Vec<(&'static str, Way)> {
    let allocator = Arc::new(Allocator::new(Arc::clone(store)));
    (0..THREADS).map(|_| ("node-a", Way::Together(Arc::clone(&allocator)))).collect()
}

/// Two nodes; one of them twice, as two processes; and operations without an allocator on both.
fn against_each_other(open: &dyn Fn() -> Arc<dyn Datastore>) -> Vec<(&'static str, Way)> {
    let mut threads = Vec::new();
    for host in ["node-a", "node-a", "node-b"] {
        let allocator = Arc::new(Allocator::new(open()));
        threads.extend((0..3).map(|_| (host, Way::Together(Arc::clone(&allocator)))));
    }
    threads.extend(["node-a", "node-b"].map(|host| (host, Way::Alone(open()))));
    threads
}

#[test]
fn eight_threads_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = embedded(directory.path());
    all_at_once(&store, &together(&store), 1_000);
}

#[test]
fn eight_threads_on_etcd() {
    let directory = tempfile::tempdir().unwrap();
    let server = mk_server(directory.path());
    let store = etcd(&server);
    all_at_once(&store, &together(&store), 1_000);
}

#[test]
fn eight_threads_on_the_kubernetes_api() {
    let directory = tempfile::tempdir().unwrap();
    let server = mk_api(directory.path());
    let store = kubernetes(&server);
    all_at_once(&store, &together(&store), 100);
}

#[test]
fn processes_against_each_other_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = embedded(directory.path());
    all_at_once(&store, &against_each_other(&|| Arc::clone(&store)), 60);
}

#[test]
fn processes_against_each_other_on_etcd() {
    let directory = tempfile::tempdir().unwrap();
    let server = mk_server(directory.path());
    let store = etcd(&server);
    all_at_once(&store, &against_each_other(&|| Arc::clone(&store)), 60);
}

#[test]
fn processes_against_each_other_on_the_kubernetes_api() {
    let directory = tempfile::tempdir().unwrap();
    let server = mk_api(directory.path());
    let open = || kubernetes(&server);
    all_at_once(&open(), &against_each_other(&open), 30);
}

#[test]
fn what_belongs_to_an_address_is_written_with_it_or_left_to_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let server = mk_server(directory.path());
    let (store, view) = (etcd(&server), mk_view());
    let allocator = Allocator::new(Arc::clone(&store));
    let take = |number: u32| {
        let handle = HandleId::new(&format!("k8s-pod-network.{number}"));
        let key = format!("/pods/{number}");
        let along = move |got: &tortie_ipam::AutoAssigned| {
            Some(Write::create(&key, got.v4.as_ref()?.addresses[0].to_string().as_bytes()))
        };
        let (got, written) = allocator.run_with(wants(&view, "node-a", &handle), along).unwrap();
        (got.v4.unwrap().addresses[0].to_string(), written, handle)
    };
    take(0);
    let before = store.revision().unwrap().0;
    let (address, written, handle) = take(1);
    assert_eq!(store.revision().unwrap().0, before + 1, "one transaction");
    let found = store.get("/pods/1").unwrap().unwrap();
    assert_eq!((found.value, Some(found.revision)), (address.into_bytes(), written));
    let handle = store.get(&tortie_store::keys::ipam_handle(handle.as_str())).unwrap().unwrap();
    assert_eq!(handle.revision, found.revision);

    store.put("/pods/2", b"another's").unwrap();
    let (address, written, handle) = take(2);
    assert_eq!(written, None);
    assert_eq!(store.get("/pods/2").unwrap().unwrap().value, b"another's");
    let held = run(&*store, addresses_of_handle(handle)).unwrap().unwrap();
    assert_eq!(held.len(), 1, "the address is had all the same");
    assert!(address.starts_with(&held[0].to_string()));
}
