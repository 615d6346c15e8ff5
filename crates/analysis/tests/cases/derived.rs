//! What objects imply: labels of places, pods as endpoints.

use serde_json::{Value, json};
use tortie_api::kind::Kind;

use crate::support::{World, read};

const TO_X: &str = "8.8.8.8 -> shop/x tcp/8080";

fn selected(world: World, selector: &str) -> bool {
    let world = world.global("p", json!({"selector": selector}));
    assert_eq!(world.cluster().faults(), []);
    world.ingress(TO_X) == "deny p#-1"
}

/// An endpoint has labels of its namespace, orchestrator and service account, whatever it says of itself, and its
/// own `pcns.` and `pcsa.` labels don't count.
#[test]
fn an_endpoint_cannot_pretend_to_be_elsewhere() {
    let world = || {
        World::new().pod(
            "shop/x",
            "10.0.0.50",
            "projectcalico.org/namespace=bank pcns.env=dev pcsa.trust=low projectcalico.org/serviceaccount=root",
            json!({"serviceAccountName": "web"}),
        )
    };
    for selector in [
        "projectcalico.org/namespace == 'shop'",
        "projectcalico.org/orchestrator == 'k8s'",
        "projectcalico.org/serviceaccount == 'web'",
        "pcns.env == 'prod'",
        "pcsa.trust == 'high'",
    ] {
        assert!(selected(world(), selector), "{selector}");
    }
}

fn pod(status: Value, more: Value) -> World {
    let mut spec = json!({
        "nodeName": "node-1", "serviceAccountName": "web",
        "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 1}]}],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    World::new().with(read(
        Kind::Pod,
        json!({"metadata": {"name": "x", "namespace": "shop", "labels": {"app": "x"}}, "spec": spec, "status": status}),
    ))
}

/// A pod without workload endpoint is one: its labels, addresses, account, and the profiles of both.
#[test]
fn a_pod_is_an_endpoint() {
    let running = json!({"phase": "Running", "podIP": "10.0.0.60", "podIPs": [{"ip": "10.0.0.60"}, {"ip": "fd00::60"}]});
    let world = pod(running.clone(), json!({}));
    assert_eq!(world.ingress(TO_X), "allow kns.shop#0");
    assert_eq!(world.ingress("2001:db8::1 -> shop/x tcp/8080"), "allow kns.shop#0");
    assert_eq!(world.ingress("8.8.8.8 -> shop/node--1-k8s-x-eth0 tcp/1"), "allow kns.shop#0");
    for selector in [
        "app == 'x'",
        "pcns.env == 'prod'",
        "pcsa.trust == 'high'",
        "projectcalico.org/orchestrator == 'k8s'",
    ] {
        assert!(selected(pod(running.clone(), json!({})), selector), "{selector}");
    }
    let named = pod(running, json!({})).global(
        "p",
        json!({"ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": ["http"]}}]}),
    );
    assert_eq!(named.ingress(TO_X), "allow p#0");
    assert_eq!(named.ingress("8.8.8.8 -> shop/x tcp/1"), "deny p#-1");
}

/// A pod in the host's network, one that is done, or one without address is no endpoint.
#[test]
fn not_every_pod_is_an_endpoint() {
    let count = |world: World| world.cluster().endpoints().count();
    let running = json!({"phase": "Running", "podIP": "10.0.0.60"});
    let known = count(World::new());
    assert_eq!(count(pod(running.clone(), json!({}))), known + 1);
    assert_eq!(count(pod(running, json!({"hostNetwork": true}))), known);
    assert_eq!(count(pod(json!({"phase": "Succeeded", "podIP": "10.0.0.60"}), json!({}))), known);
    assert_eq!(count(pod(json!({"phase": "Pending"}), json!({}))), known);
}

/// Where there is a workload endpoint of a pod, the pod itself adds nothing.
#[test]
fn a_workload_endpoint_stands_for_its_pod() {
    let world = pod(json!({"phase": "Running", "podIP": "10.0.0.60"}), json!({})).pod(
        "shop/x",
        "10.0.0.61",
        "app=y",
        json!({}),
    );
    let cluster = world.cluster();
    assert!(cluster.owner("10.0.0.60".parse().expect("an address")).is_none());
    assert!(cluster.owner("10.0.0.61".parse().expect("an address")).is_some());
}

/// The ports of an init container count only if it stays (`restartPolicy: Always`).
#[test]
fn a_sidecar_has_named_ports() {
    let named = |restart: Value| {
        let init = json!([{"name": "i", "restartPolicy": restart, "ports": [{"name": "side", "containerPort": 9000, "protocol": "UDP"}]}]);
        let world = pod(json!({"phase": "Running", "podIP": "10.0.0.60"}), json!({"initContainers": init}))
            .global("p", json!({"ingress": [{"action": "Allow", "protocol": "UDP", "destination": {"ports": ["side"]}}]}));
        world.ingress("8.8.8.8 -> shop/x udp/9000")
    };
    assert_eq!(named(json!("Always")), "allow p#0");
    assert_eq!(named(json!(null)), "deny p#-1");
}

/// A workload endpoint without address is not judged.
#[test]
fn an_endpoint_without_address_is_none() {
    let world = World::new().pod("shop/x", "10.0.0.50", "", json!({"ipNetworks": []}));
    assert_eq!(world.cluster().endpoints().count(), World::new().cluster().endpoints().count());
}
