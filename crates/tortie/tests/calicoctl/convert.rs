//! `convert` of objects of Calico's first API. What becomes of each kind is tested where it is made (`tortie_api::first`).

use serde_json::{Value, json};

use crate::fixture::{Fixture, On, failed};

const POOL: &str = "apiVersion: v1\nkind: ipPool\nmetadata:\n  cidr: 10.0.0.0/16\nspec:\n  ipip: {enabled: true, mode: cross-subnet}\n";
const POLICY: &str = "apiVersion: v1\nkind: policy\nmetadata: {name: Allow_DNS}\nspec:\n  selector: role == 'db'\n  egress:\n  - {action: allow, protocol: udp, destination: {ports: [53]}}\n";

#[test]
fn objects_of_the_first_api_become_objects_that_can_be_applied() {
    let fixture = Fixture::on(On::Embedded);
    let yaml = fixture.must(&["convert", "-f", "-"], POOL);
    assert_eq!(
        yaml,
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: 10-0-0-0-16\nspec:\n  allowedUses:\n  - Workload\n  - Tunnel\n  blockSize: 26\n  cidr: 10.0.0.0/16\n  ipipMode: CrossSubnet\n  nodeSelector: all()\n  vxlanMode: Never\n"
    );
    // Several: in documents, in a list, from a file; also with what is Kubernetes'.
    let kubernetes = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {podSelector: {}}\n";
    let peer = "- {apiVersion: v1, kind: bgpPeer, metadata: {scope: global, peerIP: 192.0.2.1}, spec: {asNumber: 64512}}\n";
    let path = fixture.file("all.yaml", &format!("{POOL}---\n{POLICY}---\n{peer}---\n{kubernetes}"));
    let json = fixture.must(&["convert", "-f", path.to_str().unwrap(), "-o", "json"], "");
    let list: Value = serde_json::from_str(&json).unwrap();
    let names: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["metadata"]["name"].as_str().unwrap())
        .collect();
    // The digits are `printf Allow_DNS | sha1sum`'s.
    assert_eq!(names, ["10-0-0-0-16", "default.allow-dns-dfcaf25f", "192-0-2-1", "deny"]);
    assert_eq!(fixture.must(&["apply", "-f", "-"], &json), "Successfully applied 4 resource(s)\n");
    let policy = fixture.json(&["get", "gnp", names[1]]);
    assert_eq!(policy["spec"]["types"], json!(["Egress"]));
    assert_eq!(policy["spec"]["egress"][0]["destination"]["ports"], json!([53]));
}

#[test]
fn what_cannot_be_converted_is_refused_in_calicos_words() {
    let fixture = Fixture::on(On::Embedded);
    for (text, message) in [
        (
            "apiVersion: v1\nkind: tier\nmetadata: {name: a}\n",
            "unknown resource type (tier) and/or version (v1)",
        ),
        (
            "apiVersion: v1\nkind: ipPool\nmetadata: {cidr: 10.0.0.0/28}\n",
            "error with field CIDR = '10.0.0.0/28' (IP pool size is too small (min /26) for use with Calico IPAM)",
        ),
        (
            "apiVersion: v1\nkind: ipPool\nmetadata: {cidr: 10.0.0.0/24}\nspec: {natOutgoing: true}\n",
            "field in document is not recognized or is in the wrong location: natOutgoing",
        ),
    ] {
        let said = fixture.pipe(&["convert", "-f", "-"], text);
        assert_eq!(said, failed("", &format!("failed to execute command: {message}\n")), "{text}");
    }
    // A converted object that the new API refuses is shown if that is asked for.
    let policy = "apiVersion: v1\nkind: profile\nmetadata: {name: '...'}\nspec: {}\n";
    let said = fixture.pipe(&["convert", "-f", "-"], policy);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.starts_with("converted manifest resource(s) failed validation: error with field"),
        "{said:?}"
    );
    assert!(
        said.err
            .ends_with("Re-run the command with '--ignore-validation' flag to see the converted output.\n\n"),
        "{said:?}"
    );
    let shown = fixture.must(&["convert", "-f", "-", "--ignore-validation"], policy);
    assert!(shown.starts_with("apiVersion: projectcalico.org/v3\nkind: Profile\n"), "{shown}");
}
