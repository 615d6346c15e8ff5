//! The plugin on etcd, without an agent, by Calico's network configuration: it leaves there what it leaves in a file.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tortie_cni::plugin::run;
use tortie_netlink::rtnetlink::LinkRef;
use tortie_store::Datastore;
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Etcd, Options};
use tortie_store::resources::Client;

use crate::host::{Call, Host, furnish, interfaces, mk_namespace};
use crate::plugin::process;

/// All keys and values, without what differs from run to run.
fn content(store: &dyn Datastore) -> BTreeMap<String, Value> {
    const CHANCE: [&str; 8] = [
        "uid",
        "creationTimestamp",
        "sequenceNumber",
        "sequenceNumberForAllocation",
        "affinity_claim_time",
        "timestamp",
        "clusterGUID",
        "mac",
    ];
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !CHANCE.contains(&name.as_str()));
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let items = store.list_all("").unwrap().items.into_iter();
    let stripped = items.map(|kv| {
        let mut value: Value = serde_json::from_slice(&kv.value).unwrap_or(Value::Null);
        strip(&mut value);
        (kv.key, value)
    });
    stripped.collect()
}

#[test]
fn without_an_agent_the_plugin_writes_to_etcd_what_it_writes_to_a_file() {
    // The server is the host's: it listens on that namespace's loopback, and all who speak with it do from there.
    let (host, pod) = (Host::new(), mk_namespace());
    tortie_netlink::Rtnetlink::open_in(&host.namespace).unwrap().set_up(LinkRef::Name("lo")).unwrap();
    let inside = |work: &(dyn Fn() -> i32 + Sync)| host.namespace.run(work).unwrap();
    let start = Start { directory: host.directory.path().join("etcd"), ..Start::default() };
    let server = host.namespace.run(|| Server::start(start)).unwrap().unwrap();
    let store = || Etcd::open(Options::new(vec![server.endpoint()])).unwrap();
    host.namespace.run(|| furnish(&Client::new(std::sync::Arc::new(store())))).unwrap();
    let on_etcd = || host.namespace.run(|| content(&store())).unwrap();
    let before = on_etcd();
    assert_eq!(before, content(&**host.client.store()), "the two begin alike");

    let mut call = Call::add(&pod);
    call.config["nodename"] = json!("node-1");
    let embedded = [process(&host, &call), process(&host, &call.command("DEL"))];
    call.config["datastore_type"] = json!("etcdv3");
    call.config["etcd_endpoints"] = json!(server.endpoint().to_string());
    let etcd = [process(&host, &call), process(&host, &call.command("DEL"))];

    let call = |process| {
        inside(&|| {
            let reply = run(process);
            println!("{}", reply.stdout);
            i32::from(reply.exit)
        })
    };
    assert_eq!(call(&embedded[0]), 0);
    let in_file = content(&**host.client.store());
    assert_eq!(call(&embedded[1]), 0);
    assert_eq!(call(&etcd[0]), 0);
    assert_eq!(interfaces(&pod), ["eth0"]);
    let added = on_etcd();
    let pairs = |content: &BTreeMap<String, Value>| -> Vec<String> {
        content.iter().map(|(key, value)| format!("{key} {value}")).collect()
    };
    assert_eq!(pairs(&added), pairs(&in_file));
    let new: Vec<&String> = added.keys().filter(|key| !before.contains_key(*key)).collect();
    for part in
        ["/workloadendpoints/shop/", "/ipam/v2/handle/net1.c1", "/ipv4/block/10.20", "/ipam/v2/host/node-1/"]
    {
        assert!(new.iter().any(|key| key.contains(part)), "no {part} in {new:?}");
    }
    assert_eq!(call(&etcd[1]), 0);
    assert_eq!((interfaces(&host.namespace).len(), host.used()), (0, 0));
    assert_eq!(pairs(&on_etcd()), pairs(&content(&**host.client.store())), "and after DEL");

    drop(server);
    let reply = host.namespace.run(|| run(&etcd[0])).unwrap();
    let error: Value = serde_json::from_str(&reply.stdout).unwrap();
    assert_eq!(reply.exit, 1);
    assert!(error["msg"].as_str().unwrap().contains("does etcd run there?"), "{error}");
    assert_eq!(interfaces(&pod), Vec::<String>::new(), "a pod without an address has no interface");
}
