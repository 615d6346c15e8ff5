//! `patch`, `label`, `validate` and `convert`; the commands that tortie has too are tested under its own name.

use crate::fixture::{Fixture, On, Said, failed, mk_pool, ok};

fn stocked(on: On) -> Fixture {
    let fixture = Fixture::on(on);
    fixture.must(&["apply", "-f", "-"], &mk_pool("a", "10.0.0.0/16"));
    fixture
}

fn a_patch_changes_the_fields_that_it_names(on: On) {
    let fixture = stocked(on);
    let patch = |text: &str| fixture.run(&["patch", "ippool", "a", "--patch", text]);
    let done = ok("Successfully patched 1 'IPPool' resource\n");
    assert_eq!(patch(r#"{"spec": {"disabled": true, "nodeSelector": "rack == 'b'"}}"#), done);
    let pool = fixture.json(&["get", "ippool", "a"]);
    assert_eq!((&pool["spec"]["disabled"], &pool["spec"]["cidr"]), (&true.into(), &"10.0.0.0/16".into()));
    assert_eq!(patch(r#"{"metadata": {"labels": {"x": "1"}}, "spec": {"disabled": null}}"#), done);
    let after = fixture.json(&["get", "ippool", "a"]);
    assert_eq!(after["spec"].get("disabled"), None);
    assert_eq!(after["spec"]["nodeSelector"], "rack == 'b'");
    assert_eq!(after["metadata"]["labels"]["x"], "1");
    assert_eq!(after["metadata"]["uid"], pool["metadata"]["uid"]);
    for kind in ["--type=merge", "--type=json", "-tstrategic"] {
        assert_eq!(
            fixture.run(&["patch", "ippool", "a", kind, "-p", r#"{"spec": {"natOutgoing": true}}"#]),
            done
        );
    }
}

fn a_patch_that_cannot_be_is_refused_and_changes_nothing(on: On) {
    let fixture = stocked(on);
    let before = fixture.run(&["get", "ippool", "a", "-o", "yaml"]);
    for (name, patch, err) in [
        ("a", "spec: {}", "hit error: permorming strategic merge patch: invalid JSON document\n"),
        (
            "a",
            r#"{"spec": {"nosuch": 1}}"#,
            "field in document is not recognized or is in the wrong location: nosuch\n",
        ),
        (
            "a",
            r#"{"metadata": {"resourceVersion": "1"}}"#,
            "hit error: updating existing resource: update conflict: IPPool(a)\n",
        ),
        ("b", "{}", "hit error: resource does not exist: IPPool(b) with error: <nil>\n"),
        ("", "{}", "resource name may not be empty\n"),
    ] {
        assert_eq!(fixture.run(&["patch", "ippool", name, "-p", patch]), failed("", err), "{patch}");
    }
    let cidr = fixture.run(&["patch", "ippool", "a", "-p", r#"{"spec": {"cidr": "10.0.1.0/33"}}"#]);
    assert!(
        cidr.err.starts_with(
            "hit error: updating existing resource: error with the following fields:\n-  CIDR = '10.0.1.0/33'"
        ),
        "{cidr:?}"
    );
    let type_fault = fixture.run(&["patch", "ippool", "a", "-p", r#"{"spec": {"disabled": "maybe"}}"#]);
    assert_eq!(
        type_fault.err,
        "hit error: creating resource from patched data: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go struct field IPPoolSpec.spec.disabled of type bool\n"
    );
    assert_eq!(
        fixture.run(&["patch", "what", "a", "-p", "{}"]),
        failed("", "resource type 'what' is not supported\n")
    );
    assert_eq!(fixture.run(&["get", "ippool", "a", "-o", "yaml"]), before);
}

fn labels_are_set_changed_only_if_asked_and_removed(on: On) {
    let fixture = stocked(on);
    for (words, expected) in [
        (&["a", "rack=b12"][..], ok("Successfully set label rack on ippool a\n")),
        (&["a", "rack=b12"], ok("Successfully updated label rack on ippool a\n")),
        (
            &["a", "rack=b13"],
            failed(
                "",
                "failed to update label of ippool a, key rack is already present. please use '--overwrite' to set a new value\n",
            ),
        ),
        (&["a", "rack=b13", "--overwrite"], ok("Successfully updated label rack on ippool a\n")),
        (&["--overwrite", "a", "empty="], ok("Successfully set label empty on ippool a\n")),
        (&["a", "rack", "--remove"], ok("Successfully removed label rack from ippool a\n")),
        (
            &["a", "rack", "--remove"],
            failed("", "cannot remove label of ippool a, key rack does not exist\n"),
        ),
        (&["b", "x=y"], failed("", "ippool b not found\n")),
        (&["a", "not a label=y"], failed("", "failed to update ippool a, label not changed\n")),
    ] {
        assert_eq!(fixture.run(&[&["label", "ippool"], words].concat()), expected, "{words:?}");
    }
    let labels = &fixture.json(&["get", "ippool", "a"])["metadata"]["labels"];
    assert_eq!(*labels, serde_json::json!({ "empty": "" }));
    assert_eq!(
        fixture.run(&["label", "what", "a", "x=y"]),
        failed("", "failed to get what a, error resource type 'what' is not supported\n")
    );
}

fn validate_says_what_apply_would_and_needs_no_datastore(on: On) {
    let fixture = Fixture::on(on);
    let validate = |text: &str| {
        let said = fixture.pipe(&["validate", "-f", "-"], text);
        assert!(!fixture.path().join("tortie.db").exists(), "no datastore was opened");
        said
    };
    assert_eq!(validate(&mk_pool("a", "10.0.0.0/16")), ok("Successfully validated 1 'IPPool' resource(s)\n"));
    let faulty = mk_pool("a", "10.0.0.0/33");
    let Said { out, err, code } = validate(&faulty);
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(
        err.starts_with("failed to validate 'IPPool' resource: [error with the following fields:\n"),
        "{err}"
    );
    let said = validate(&(mk_pool("a", "10.0.0.0/16") + &mk_pool("b", "10.2.0.0/16") + &faulty));
    assert_eq!(said.out, "Partial success: validated the first 2 out of 3 'IPPool' resources:\n");
    assert!(said.err.starts_with("hit error: [error with the following fields:\n"), "{said:?}");
    assert_eq!(fixture.run(&["validate", "-f", "nowhere"]).code, Some(1));
}

fn policies_of_kubernetes_become_objects_that_can_be_applied(on: On) {
    let fixture = Fixture::on(on);
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\nspec:\n  podSelector: {matchLabels: {role: db}}\n  policyTypes: [Ingress]\n";
    let yaml = fixture.must(&["convert", "-f", "-"], policy);
    assert_eq!(
        yaml,
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata:\n  name: deny\n  namespace: shop\nspec:\n  order: 1000\n  selector: projectcalico.org/orchestrator == 'k8s' && role == 'db'\n  tier: default\n  types:\n  - Ingress\n"
    );
    let json = fixture.must(&["convert", "-o", "json", "-f", "-"], policy);
    assert_eq!(
        fixture.must(&["apply", "-f", "-"], &json),
        "Successfully applied 1 'NetworkPolicy' resource(s)\n"
    );
    assert_eq!(
        fixture.pipe(&["convert", "-f", "-"], &mk_pool("a", "10.0.0.0/16")),
        failed("", "failed to execute command: conversion for the resource type 'IPPool' is not supported\n")
    );
    // Several, also those of a list, become Kubernetes' list of anything, which is taken as a list of policies.
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}---\n{policy}",
        policy.replace('\n', "\n  ").trim_end().to_owned() + "\n"
    );
    let yaml = fixture.must(
        &["convert", "-f", "-"],
        &list.replace("name: deny, namespace: shop}\n  spec", "name: other, namespace: shop}\n  spec"),
    );
    assert!(
        yaml.starts_with("apiVersion: v1\nitems:\n- apiVersion: projectcalico.org/v3\n")
            && yaml.ends_with("kind: List\nmetadata: {}\n"),
        "{yaml}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&fixture.must(&["convert", "-o", "json", "-f", "-"], &list)).unwrap();
    assert_eq!((json["kind"].as_str(), json["items"].as_array().unwrap().len()), (Some("List"), 2));
    assert_eq!(
        fixture.run(&["convert", "-f", "-", "-o", "xml"]),
        failed("", "unrecognized output format 'xml'\n")
    );
}

fn the_clusters_own_record_can_be_read_only(on: On) {
    let fixture = Fixture::on(on);
    let information =
        "apiVersion: projectcalico.org/v3\nkind: ClusterInformation\nmetadata: {name: default}\nspec: {}\n";
    let tried = "Partial success: replaced the first 1 out of 1 'ClusterInformation' resources:\n";
    let replace =
        |err: &str| assert_eq!(fixture.pipe(&["replace", "-f", "-"], information), failed(tried, err));
    // There is none as long as nothing was written.
    assert_eq!(
        fixture.run(&["get", "clusterinfo", "default"]),
        failed("", "resource does not exist: ClusterInformation(default) with error: <nil>\n")
    );
    fixture.must(&["apply", "-f", "-"], &mk_pool("a", "10.0.0.0/16"));
    replace("hit error: operation apply or replace is not supported on ClusterInformation\n");
    for (arguments, err) in [
        (
            &["patch", "clusterinfo", "default", "-p", "{}"][..],
            "hit error: updating existing resource: operation apply or replace is not supported on ClusterInformation\n",
        ),
        (
            &["label", "clusterinfo", "default", "a=b"],
            "failed to update clusterinfo default, label not changed\n",
        ),
        (
            &["delete", "clusterinfo", "default"],
            "Failed to delete 'ClusterInformation' resource: operation delete is not supported on ClusterInformation\n\n",
        ),
    ] {
        assert_eq!(fixture.run(arguments), failed("", err));
    }
}

fn policies_that_old_releases_renamed_get_their_own_names_back(on: On) {
    let fixture = Fixture::on(on);
    let policy = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec: {order: 7}\n";
    fixture.must(&["apply", "-f", "-"], policy);
    let store = fixture.store();
    let key = "/calico/resources/v3/projectcalico.org/networkpolicies/shop/";
    let stored = store.delete(&format!("{key}web"), None).unwrap();
    let stored = String::from_utf8(stored.value).unwrap().replacen("\"web\"", "\"default.web\"", 1);
    store.put(&format!("{key}default.web"), stored.as_bytes()).unwrap();
    // Until then it is shown, changed and found by the name that its user gave, and stays where it is.
    let listed = fixture.must(&["get", "np", "-n", "shop"], "");
    assert!(listed.contains("\nshop        web ") || listed.contains("\nweb "), "{listed}");
    assert_eq!(fixture.json(&["get", "np", "web", "-n", "shop"])["metadata"]["name"], "web");
    fixture.must(&["patch", "np", "web", "-n", "shop", "-p", r#"{"spec": {"order": 8}}"#], "");
    let value: serde_json::Value =
        serde_json::from_slice(&store.get(&format!("{key}default.web")).unwrap().unwrap().value).unwrap();
    assert_eq!((&value["metadata"]["name"], &value["spec"]["order"]), (&"default.web".into(), &8.into()));
    assert_eq!(store.get(&format!("{key}web")).unwrap(), None);
    fixture.must(&["patch", "np", "web", "-n", "shop", "-p", r#"{"spec": {"order": 7}}"#], "");
    let migrate = &["datastore", "migrate-policy-names"];
    assert_eq!(fixture.run(migrate), ok("Policy name migration complete, migrated 1 policies.\n"));
    let names: Vec<String> = store.list_all(key).unwrap().items.into_iter().map(|item| item.key).collect();
    assert_eq!(names, [format!("{key}web")]);
    assert_eq!(fixture.json(&["get", "np", "web", "-n", "shop"])["spec"]["order"], 7);
    assert_eq!(fixture.run(migrate), ok("Policy name migration complete, migrated 0 policies.\n"));
    // One of the old form goes by its user's name too.
    store.put(&format!("{key}default.other"), stored.replace("web", "other").as_bytes()).unwrap();
    fixture.must(&["delete", "np", "other", "-n", "shop"], "");
    assert_eq!(store.get(&format!("{key}default.other")).unwrap(), None);
}

crate::fixture::on_both! {
    a_patch_changes_the_fields_that_it_names, a_patch_that_cannot_be_is_refused_and_changes_nothing, labels_are_set_changed_only_if_asked_and_removed, validate_says_what_apply_would_and_needs_no_datastore, policies_of_kubernetes_become_objects_that_can_be_applied, the_clusters_own_record_can_be_read_only, policies_that_old_releases_renamed_get_their_own_names_back
}
