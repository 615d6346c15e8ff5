//! Without Kubernetes: on a file, where endpoints say which pods there are and a key says who leads.

use std::sync::Arc;

use serde_json::json;
use tortie_store::embedded::{Embedded, Options};
use tortie_store::resources::Client;

use crate::lab::{Controllers, configure, eventually, give, given, pool};

#[test]
fn on_a_file_what_no_endpoint_has_goes_and_one_of_two_acts() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("tortie.db");
    let client = Client::new(Arc::new(Embedded::open(Options::new(database.clone())).unwrap()));
    pool(&client);
    configure(&client, json!({"leakGracePeriod": "1s"}));
    client
        .create(json!({"apiVersion": "projectcalico.org/v3", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}}))
        .unwrap();
    let web = give(&client, "n1", Some("web"));
    client
        .create(json!({
            "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
            "metadata": {"name": "n1-k8s-web-eth0", "namespace": "default"},
            "spec": {"node": "n1", "orchestrator": "k8s", "pod": "web", "endpoint": "eth0", "interfaceName": "cali1", "ipNetworks": [format!("{web}/32")]},
        }))
        .unwrap();
    give(&client, "n1", Some("ghost"));
    give(&client, "n9", Some("of a node that is gone"));
    let environment = [("DATASTORE_TYPE", "embedded"), ("TORTIE_DATABASE", database.to_str().unwrap())];
    let mut first = Controllers::start(directory.path(), "first", &environment);
    first.says("leading as");
    let second = Controllers::start(directory.path(), "second", &environment);
    second.says(" leads (key /tortie/v1/controllers)");
    eventually("what nobody has goes", || given(&client), |left| *left == ["k8s-pod-network.web"]);
    first.kill();
    give(&client, "n1", Some("another"));
    second.says("leading as");
    eventually("the other one goes on", || given(&client), |left| *left == ["k8s-pod-network.web"]);
}
