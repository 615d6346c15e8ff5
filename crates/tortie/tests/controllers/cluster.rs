//! On the Kubernetes API, with no more rights than the manifest gives.

use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};

use crate::lab::{Controllers, DEPLOY, Lab, configure, eventually, give, given, pool};

fn names(lab: &Lab) -> Vec<String> {
    let items = lab.client().list(Kind::HostEndpoint, None).unwrap().items;
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_gone_gives_its_addresses_back_and_nodes_get_host_endpoints() {
    let lab = Lab::start();
    let client = lab.client();
    pool(&client);
    lab.nodes(&["n1", "n2"]);
    configure(&client, json!({"leakGracePeriod": "2s", "hostEndpoint": {"autoCreate": "Enabled"}}));
    let web = give(&client, "n1", Some("web"));
    lab.pod("web", "n1", &web);
    // A pod that nobody knows, on a node that is there; one of a node that isn't, and its tunnel's; and a tunnel in use.
    give(&client, "n1", Some("ghost"));
    give(&client, "n9", Some("late"));
    give(&client, "n9", None);
    give(&client, "n2", None);
    let mut own =
        json!({"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": "mine"}});
    own["spec"] = json!({"node": "n2", "interfaceName": "eth0"});
    client.create(own).unwrap();

    let controllers = Controllers::on(&lab, "one");
    eventually(
        "only what is in use is left",
        || given(&client),
        |left| *left == ["k8s-pod-network.web", "vxlan-tunnel-addr-n2"],
    );
    eventually(
        "blocks of a node that is gone are given up",
        || lab.kubectl(&["get", "blockaffinities.crd.projectcalico.org", "-o", "name"], ""),
        |left| !left.contains("n9-") && left.contains("n1-") && left.contains("n2-"),
    );
    eventually(
        "host endpoints are made",
        || names(&lab),
        |names| *names == ["mine", "n1-auto-hep", "n2-auto-hep"],
    );
    let key = ResourceKey::cluster(Kind::HostEndpoint, "n1-auto-hep");
    let made = client.get(&key).unwrap();
    assert_eq!(made["metadata"]["labels"]["rack"], "b12");
    assert_eq!(made["metadata"]["labels"]["projectcalico.org/created-by"], "calico-kube-controllers");
    assert_eq!(made["spec"]["profiles"], json!(["projectcalico-default-allow"]));
    assert_eq!(made["spec"]["interfaceName"], "*");

    // A label that changes goes along.
    lab.kubectl(&["label", "node", "n1", "rack=c1", "--overwrite"], "");
    eventually(
        "its labels are the node's",
        || client.get(&key).unwrap(),
        |made: &Value| made["metadata"]["labels"]["rack"] == "c1",
    );

    // What runs is told.
    let status = eventually(
        "the status is written",
        || {
            client.get(&ResourceKey::cluster(Kind::KubeControllersConfiguration, "default")).unwrap()["status"].clone()
        },
        |status| status["runningConfig"]["controllers"]["node"]["hostEndpoint"]["autoCreate"] == "Enabled",
    );
    assert_eq!(status["environmentVars"], json!({"DATASTORE_TYPE": "kubernetes"}));
    let lease = lab.kubectl(&["-n", "kube-system", "get", "lease", "tortie-controllers", "-o", "json"], "");
    let lease: Value = serde_json::from_str(&lease).unwrap();
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3);

    configure(&client, json!({"leakGracePeriod": "2s"}));
    eventually("switched off, they go", || names(&lab), |names| *names == ["mine"]);

    // What passes the schema and can't be understood is told on the object.
    let bad = "{apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkPolicy, metadata: {name: bad}, spec: {selector: app ==}}";
    lab.kubectl(&["create", "-f", "-"], bad);
    eventually(
        "an event tells of it",
        || lab.kubectl(&["get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}"], ""),
        |reasons: &String| reasons.contains("NotEnforcedAsWritten"),
    );
    assert!(!controllers.log().contains("forbidden"), "{}", controllers.log());
}

#[test]
fn a_right_that_is_missing_is_named() {
    let lab = Lab::start();
    let client = lab.client();
    pool(&client);
    lab.nodes(&["n1"]);
    configure(&client, json!({"leakGracePeriod": "1s"}));
    give(&client, "n1", Some("ghost"));
    // The handles can't be written any more.
    let role = lab.kubectl(&["get", "clusterrole", "tortie-controllers", "-o", "json"], "");
    lab.kubectl(&["replace", "-f", "-"], &role.replace("\"ipamhandles\"", "\"others\""));
    let controllers = Controllers::on(&lab, "one");
    controllers.says("cannot get resource \"ipamhandles\" in API group \"crd.projectcalico.org\"");
    controllers.says("(RBAC)");
    assert_eq!(given(&client), ["k8s-pod-network.ghost"], "half of it isn't done");
    lab.kubectl(&["apply", "-f", &format!("{DEPLOY}/tortie.yaml")], "");
    eventually("with the right it goes", || given(&client), Vec::is_empty);
}

#[test]
fn an_address_that_is_given_anew_is_never_taken_away() {
    let lab = Lab::start();
    let client = lab.client();
    pool(&client);
    lab.nodes(&["n1"]);
    // As short as it can be: whatever has no pod for a moment is a leak.
    configure(&client, json!({"leakGracePeriod": "1ms"}));
    let controllers = Controllers::on(&lab, "one");
    controllers.says("leading as");
    for round in 0..15 {
        let name = format!("p{round}");
        // As with kubelet: the pod is there first, without an address; then it is given one; then it says so.
        lab.kubectl(
            &["create", "-f", "-"],
            &format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: default}}, \
                 spec: {{nodeName: n1, automountServiceAccountToken: false, serviceAccountName: default, containers: [{{name: c, image: x}}]}}}}"
            ),
        );
        let address = give(&client, "n1", Some(&name));
        let annotation = format!("cni.projectcalico.org/podIP={address}/32");
        lab.kubectl(&["annotate", "pod", &name, &annotation], "");
        // And one without a pod beside it, which goes.
        give(&client, "n1", Some(&format!("ghost{round}")));
    }
    let mut pods: Vec<String> = (0..15).map(|round| format!("k8s-pod-network.p{round}")).collect();
    pods.sort();
    eventually("ghosts go, pods stay", || given(&client), |left| *left == pods);
}
