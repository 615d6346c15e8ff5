//! An ADD that relies on what earlier ones have read: as good as one that reads, whatever has changed since.

use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_netlink::rtnetlink::LinkRef;
use tortie_netlink::{OwnedNamespace, Rtnetlink};
use tortie_store::resources::Labels;
use tortie_store::{Read, Seen, keys};

use crate::host::{Call, Host, OpenGate, interfaces, mk_namespace};

/// Another pod.
fn other<'a>(pod: &'a OwnedNamespace, name: &'a str) -> Call<'a> {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}");
    Call { container: name, args, ..Call::add(pod) }
}

fn change(host: &Host, kind: Kind, name: &str, edit: impl Fn(&mut Value)) {
    let mut object = host.client.get(&ResourceKey::cluster(kind, name)).unwrap();
    edit(&mut object);
    host.client.update(object, Labels::Replace).unwrap();
}

/// What the host's memory says of a key that every ADD reads.
fn remembered(host: &Host) -> Option<Vec<Seen>> {
    host.memory
        .recall(&[Read::Key(keys::IPAM_CONFIG.to_owned()), Read::Prefix(keys::kind_prefix(Kind::IPPool))])
}

#[test]
fn what_is_remembered_is_not_read_again_and_what_the_write_refuses_is() {
    let (host, pods) = (Host::new(), [(); 3].map(|()| mk_namespace()));
    assert_eq!(remembered(&host), None);
    let (reply, first) = host.call(&other(&pods[0], "web-1"));
    assert_eq!(reply.exit, 0, "{first}");
    let learnt = remembered(&host).unwrap();
    let (reply, second) = host.call(&other(&pods[1], "web-2"));
    assert_eq!(reply.exit, 0, "{second}");
    assert_ne!(first["ips"], second["ips"]);
    assert_eq!(remembered(&host).unwrap(), learnt, "the second ADD has read something");
    change(&host, Kind::IPPool, "pool4", |pool| pool["metadata"]["annotations"] = json!({"a": "b"}));
    let (reply, third) = host.call(&other(&pods[2], "web-3"));
    assert_eq!(reply.exit, 0, "{third}");
    assert_ne!(remembered(&host).unwrap(), learnt, "the third ADD has read nothing");
    assert_eq!((host.interfaces().len(), host.endpoints().len(), host.used()), (3, 3, 6));
    for (pod, name) in pods.iter().zip(["web-1", "web-2", "web-3"]) {
        assert_eq!(host.call(&other(pod, name).command("DEL")).0.exit, 0);
    }
    assert_eq!((host.interfaces().len(), host.endpoints().len(), host.used()), (0, 0, 0));
    assert_eq!(host.handles(), Vec::<String>::new());
}

#[test]
fn what_has_changed_decides_and_what_was_guessed_leaves_nothing() {
    let (host, first, pod) = (Host::new(), mk_namespace(), mk_namespace());
    assert_eq!(host.call(&other(&first, "web-1")).0.exit, 0);
    let refused = |words: &str| {
        let (reply, error) = host.call(&other(&pod, "web-2"));
        assert_eq!(reply.exit, 1, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((host.interfaces().len(), host.endpoints().len(), host.used()), (1, 1, 2));
        assert_eq!((host.handles().len(), interfaces(&pod).len()), (1, 0));
    };
    host.set_ready(false);
    refused("Calico is currently not ready");
    host.set_ready(true);
    change(&host, Kind::IPPool, "pool6", |pool| pool["spec"]["disabled"] = json!(true));
    refused("cannot find a qualified ippool");
    change(&host, Kind::IPPool, "pool6", |pool| pool["spec"]["disabled"] = json!(false));
    host.client.delete(&ResourceKey::cluster(Kind::Node, "node-1"), None).unwrap();
    host.create("Node", "node-1", json!({}));
    assert_eq!(host.call(&other(&pod, "web-2")).0.exit, 0);
}

#[test]
fn an_endpoint_that_stands_keeps_its_addresses_though_its_interface_is_gone() {
    let (host, pods) = (Host::new(), [(); 2].map(|()| mk_namespace()));
    let (_, before) = host.call(&other(&pods[0], "web-1"));
    let (_, other_before) = host.call(&other(&pods[1], "web-2"));
    let name = before["interfaces"][0]["name"].as_str().unwrap();
    Rtnetlink::open_in(&host.namespace).unwrap().delete_link(LinkRef::Name(name)).unwrap();
    let gate = OpenGate::default();
    let (reply, again) = host.call_with(&other(&pods[0], "web-1"), &gate);
    assert_eq!(reply.exit, 0, "{again}");
    assert_eq!(again["ips"], before["ips"]);
    assert_eq!(host.interfaces().len(), 2);
    assert_eq!((host.endpoints().len(), host.handles().len(), host.used()), (2, 2, 4));
    // Its interface is there: nothing is guessed, and nothing is made anew.
    let index = |name: &str| {
        let mut links = Rtnetlink::open_in(&host.namespace).unwrap();
        links.link(LinkRef::Name(name)).unwrap().unwrap().index
    };
    let other_name = other_before["interfaces"][0]["name"].as_str().unwrap();
    let stood = index(other_name);
    assert_eq!(host.call(&other(&pods[1], "web-2")).1["ips"], other_before["ips"]);
    assert_eq!(index(other_name), stood);
}
