//! Of two processes one acts; when it is killed the other one does.

use serde_json::json;

use crate::lab::{Controllers, Lab, configure, eventually, give, given, pool};

#[test]
fn when_the_leader_is_killed_the_other_one_takes_over() {
    let lab = Lab::start();
    let client = lab.client();
    pool(&client);
    lab.nodes(&["n1"]);
    configure(&client, json!({"leakGracePeriod": "1s"}));
    let mut first = Controllers::on(&lab, "first");
    first.says("leading as");
    let mut second = Controllers::on(&lab, "second");
    second.says(" leads (Lease kube-system/tortie-controllers)");
    give(&client, "n1", Some("ghost"));
    eventually("the first one releases it", || given(&client), Vec::is_empty);
    first.says("released an address");
    assert!(!second.log().contains("leading as"), "{}", second.log());

    first.kill();
    give(&client, "n1", Some("another"));
    second.says("leading as");
    eventually("the second one releases it", || given(&client), Vec::is_empty);
    second.says("released an address");

    // Who ends in order is followed at once: the lease says so.
    second.stop();
    let lease = lab.kubectl(
        &["-n", "kube-system", "get", "lease", "tortie-controllers", "-o", "jsonpath={.spec.holderIdentity}"],
        "",
    );
    assert_eq!(lease, "");
    let third = Controllers::on(&lab, "third");
    third.says("leading as");
}

#[test]
fn a_leader_without_its_api_acts_no_more_and_goes_on_when_it_is_back() {
    let mut lab = Lab::start();
    let client = lab.client();
    pool(&client);
    lab.nodes(&["n1"]);
    configure(&client, json!({"leakGracePeriod": "1s"}));
    let controllers = Controllers::on(&lab, "one");
    controllers.says("leading as");
    lab.server.kill();
    controllers.says("the lead is lost");
    lab.server.restart().unwrap();
    let client = lab.client();
    eventually("the API is back", || client.store().revision().is_ok(), |is_back| *is_back);
    give(&client, "n1", Some("ghost"));
    eventually("it leads and acts again", || given(&client), Vec::is_empty);
}
