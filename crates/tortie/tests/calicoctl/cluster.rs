//! calicoctl on a cluster's Kubernetes API: what the cluster itself says is shown, and refused where it isn't ours to write.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture::{Fixture, On, failed, mk_pool, ok};

const KINDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds.yaml");

/// A namespace with a service account and a pod that has an address, on a node.
fn with_shop() -> Fixture {
    let fixture = Fixture::on(On::Kubernetes);
    fixture.kubectl(&["apply", "--server-side", "-f", KINDS], "");
    fixture.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], "");
    fixture.kubectl(
        &["create", "-f", "-"],
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}\n---\n\
         {apiVersion: v1, kind: ServiceAccount, metadata: {name: web.front, namespace: shop, labels: {tier: front}}}\n---\n\
         {apiVersion: v1, kind: Node, metadata: {name: worker-1, annotations: {projectcalico.org/IPv4Address: 192.0.2.1/24}}}\n---\n\
         {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}, annotations: \
         {cni.projectcalico.org/podIP: 10.65.0.2/32, cni.projectcalico.org/podIPs: 10.65.0.2/32, cni.projectcalico.org/containerID: c0ffee}}, \
         spec: {nodeName: worker-1, serviceAccountName: web.front, automountServiceAccountToken: false, containers: [{name: c, image: x}]}}\n",
    );
    fixture
}

#[test]
fn what_a_cluster_says_is_shown_as_calicos_objects() {
    let fixture = with_shop();
    fixture.kubectl(&["-n", "shop", "get", "serviceaccount", "web.front"], "");
    let profile = |name: &str| {
        let mut profile = fixture.json(&["get", "profile", name]);
        let metadata = profile["metadata"].as_object_mut().unwrap();
        assert!(metadata.remove("uid").is_some() && metadata.remove("creationTimestamp").is_some());
        let version = metadata.remove("resourceVersion").unwrap();
        (profile, version.as_str().unwrap().to_owned())
    };
    let (namespace, version) = profile("kns.shop");
    assert_eq!(
        namespace,
        json!({
            "kind": "Profile", "apiVersion": "projectcalico.org/v3", "metadata": { "name": "kns.shop" },
            "spec": {
                "ingress": [{ "action": "Allow" }], "egress": [{ "action": "Allow" }],
                "labelsToApply": {
                    "pcns.team": "a", "pcns.kubernetes.io/metadata.name": "shop", "pcns.projectcalico.org/name": "shop",
                },
            },
        })
    );
    assert!(version.strip_suffix('/').unwrap().parse::<u64>().is_ok(), "{version}");
    let (account, version) = profile("ksa.shop.web.front");
    assert_eq!(
        account["spec"],
        json!({ "labelsToApply": { "pcsa.tier": "front", "pcsa.projectcalico.org/name": "web.front" } })
    );
    assert!(version.strip_prefix('/').unwrap().parse::<u64>().is_ok(), "{version}");
    let table = fixture.must(&["get", "profile"], "");
    let names: Vec<&str> = table.lines().map(str::trim_end).collect();
    assert_eq!(names[..2], ["NAME", "projectcalico-default-allow"]);
    assert!(names.contains(&"kns.shop") && names.contains(&"ksa.shop.web.front"), "{table}");
    assert_eq!(
        fixture.run(&["get", "profile", "kns.nowhere"]),
        failed("", "resource does not exist: Profile(kns.nowhere) with error: <nil>\n")
    );

    assert_eq!(
        fixture.must(&["get", "wep", "-n", "shop", "-o", "wide"], ""),
        "NAMESPACE   NAME                     WORKLOAD   NODE       NETWORKS       INTERFACE         PROFILES                      NATS   \n\
         shop        worker--1-k8s-web-eth0   web        worker-1   10.65.0.2/32   cali551b05c3e54   kns.shop,ksa.shop.web.front          \n\n"
    );
    assert_eq!(
        fixture.must(&["get", "node", "-o", "wide"], ""),
        "NAME       ASN       IPV4           IPV6   \nworker-1   (64512)   192.0.2.1/24          \n\n"
    );
}

#[test]
fn what_is_the_clusters_own_is_refused_in_calicos_words() {
    let fixture = with_shop();
    let profile = |name: &str| {
        format!("{{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {{name: {name}}}, spec: {{}}}}")
    };
    let node = |name: &str, number: u32| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: Node, metadata: {{name: {name}}}, spec: {{bgp: {{ipv4Address: 192.0.2.1/24, asNumber: {number}}}}}}}"
        )
    };
    for (command, text, err) in [
        (
            "create",
            profile("mine"),
            "failed to create 'Profile' resource: [operation Create is not supported on Profile(mine)]\n",
        ),
        (
            "apply",
            profile("mine"),
            "failed to apply 'Profile' resource: [operation Update is not supported on Profile(mine)]\n",
        ),
        (
            "apply",
            profile("kns.shop"),
            "failed to apply 'Profile' resource: [operation Update is not supported on Profile(kns.shop)]\n",
        ),
        (
            "create",
            node("other", 1),
            "failed to create 'Node' resource: [operation Create is not supported on Node(other)]\n",
        ),
        (
            "apply",
            node("other", 1),
            "failed to apply 'Node' resource: [resource does not exist: Node(other) with error: <nil>]\n",
        ),
    ] {
        assert_eq!(fixture.pipe(&[command, "-f", "-"], &text), failed("", err), "{command} {text}");
    }
    for (kind, name) in [("profile", "kns.shop"), ("node", "worker-1")] {
        let said = fixture.run(&["delete", kind, name]);
        let id = if kind == "node" { "Node(worker-1)" } else { "Profile(kns.shop)" };
        assert!(said.err.contains(&format!("operation Delete is not supported on {id}")), "{said:?}");
    }
    // What a node has of Calico's can be written, and nothing else of it changes.
    assert_eq!(
        fixture.pipe(&["apply", "-f", "-"], &node("worker-1", 64513)),
        ok("Successfully applied 1 'Node' resource(s)\n")
    );
    let annotation = "jsonpath={.metadata.annotations.projectcalico\\.org/ASNumber}";
    assert_eq!(fixture.kubectl(&["get", "node", "worker-1", "-o", annotation], ""), "64513");
}

#[test]
fn every_kind_is_shown_in_every_form() {
    let fixture = with_shop();
    for kind in [
        "bgpconfiguration",
        "bgpfilter",
        "bgppeer",
        "caliconodestatus",
        "clusterinformation",
        "felixconfiguration",
        "globalnetworkpolicy",
        "globalnetworkset",
        "hostendpoint",
        "ipamconfiguration",
        "ippool",
        "ipreservation",
        "kubecontrollersconfiguration",
        "networkpolicy",
        "networkset",
        "node",
        "profile",
        "stagedglobalnetworkpolicy",
        "stagedkubernetesnetworkpolicy",
        "stagednetworkpolicy",
        "tier",
        "workloadendpoint",
    ] {
        for form in ["ps", "wide"] {
            let said = fixture.run(&["get", kind, "-o", form]);
            assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{kind} {form}: {said:?}");
        }
        let said = fixture.run(&["get", kind, "-o", "json"]);
        assert_eq!(said.code, Some(0), "{kind}: {said:?}");
        let list: Value = serde_json::from_str(&said.out).unwrap();
        assert!(list["items"].is_array(), "{kind}: {list}");
    }
}

#[test]
fn a_field_that_a_newer_release_has_stored_is_kept_by_commands_that_do_not_know_it() {
    let fixture = with_shop();
    fixture.must(&["apply", "-f", "-"], &mk_pool("a", "10.0.0.0/16"));
    // As the definitions of a newer release would have it.
    let field = r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/fromTheFuture", "value": {"type": "string"}}]"#;
    fixture.kubectl(&["patch", "crd", "ippools.crd.projectcalico.org", "--type=json", "-p", field], "");
    let pool = "ippools.crd.projectcalico.org";
    let stored = || {
        fixture.kubectl(&["get", pool, "a", "-o", "jsonpath={.spec.fromTheFuture},{.spec.natOutgoing}"], "")
    };
    let patience = Instant::now() + Duration::from_secs(60);
    while !stored().starts_with("kept,") {
        assert!(Instant::now() < patience, "the API server doesn't take the new definition");
        fixture.kubectl(
            &["patch", pool, "a", "--type=merge", "-p", r#"{"spec": {"fromTheFuture": "kept"}}"#],
            "",
        );
    }
    fixture.must(&["patch", "ippool", "a", "-p", r#"{"spec": {"natOutgoing": true}}"#], "");
    assert_eq!(stored(), "kept,true");
    fixture.must(&["label", "ippool", "a", "rack=b"], "");
    assert_eq!(stored(), "kept,true");
    assert_eq!(fixture.json(&["get", "ippool", "a"])["spec"]["fromTheFuture"], "kept");
}
