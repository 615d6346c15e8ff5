//! What is read before a datastore is asked: settings, directories, documents; and what is said of what can't be.

use crate::fixture::{Fixture, On, failed, mk_pool, ok};

fn the_file_with_the_settings_is_read_strictly(on: On) {
    let fixture = Fixture::on(on);
    fixture.file("pool.yaml", &mk_pool("a", "10.0.0.0/16"));
    let missing = failed("Error reading config file: none.cfg\n", "");
    for arguments in [
        &["get", "ippool"][..],
        &["apply", "-f", "pool.yaml"],
        &["apply", "-f", "nowhere.yaml"],
        &["delete", "ippool", "a"],
        &["patch", "ippool", "a", "-p", "{}"],
        &["label", "ippool", "a", "b=c"],
        &["ipam", "show"],
        &["datastore", "migrate", "lock"],
    ] {
        assert_eq!(fixture.run(&[arguments, &["-c", "none.cfg"]].concat()), missing, "{arguments:?}");
    }
    for (text, words) in [
        (
            "spec: {etcdEndpoint: x}",
            "failed to parse config as YAML/JSON: error unmarshaling JSON: while decoding JSON: json: unknown field \"etcdEndpoint\"",
        ),
        (
            "a: b: c",
            "failed to parse config as YAML/JSON: error converting YAML to JSON: yaml: mapping values are not allowed in this context",
        ),
        ("kind: CalicoAPIConfig", "invalid config file: unknown APIVersion ''"),
        (
            "apiVersion: projectcalico.org/v3\nkind: Config",
            "invalid config file: expected kind 'CalicoAPIConfig', got 'Config'",
        ),
    ] {
        fixture.file("a.cfg", text);
        let said = format!("Failed to create Calico API client: syntax error in a.cfg: {words}\n");
        assert_eq!(fixture.run(&["get", "ippool", "-c", "a.cfg"]), failed(&said, ""));
    }
}

fn nothing_to_get_is_no_failure_if_that_was_said(on: On) {
    let fixture = Fixture::on(on);
    fixture.file("empty.yaml", "# nothing\n---\n");
    for (output, out) in [("ps", ""), ("yaml", "null\n"), ("json", "null\n"), ("go-template={{len .}}", "0")]
    {
        let arguments = ["get", "-f", "empty.yaml", "--skip-empty", "-o", output];
        assert_eq!(fixture.run(&arguments), ok(out), "{output}");
    }
    assert_eq!(
        fixture.run(&["get", "-f", "empty.yaml"]),
        failed("", "failed to get resources: No resources specified in file empty.yaml\n")
    );
    let none = "resource does not exist: IPPool(x) with error: <nil>\n";
    assert_eq!(fixture.run(&["get", "ippool", "x", "-o", "yaml"]), failed("null\n", none));
    for verb in ["create", "apply", "replace", "delete", "validate"] {
        let arguments = [verb, "-f", "empty.yaml"];
        assert_eq!(
            fixture.run(&arguments),
            failed("", "No resources specified in file empty.yaml\n"),
            "{verb}"
        );
        let skipped = fixture.run(&[&arguments[..], &["--skip-empty"]].concat());
        assert_eq!(skipped, ok("No resources specified\n"), "{verb}");
    }
}

fn directories_are_read_in_order_and_links_to_others_are_not_followed(on: On) {
    let fixture = Fixture::on(on);
    assert_eq!(fixture.run(&["apply", "-f", "."]).err, "No resources specified in directory .\n");
    for (number, name) in
        ["all/b.YAML", "all/a/x.yml", "all/.yaml", "all/c.json", "all/notes.txt"].iter().enumerate()
    {
        let pool = mk_pool(&format!("p{number}"), &format!("10.{number}.0.0/16"));
        fixture.file(name, if name.ends_with("json") { "[]" } else { &pool });
    }
    std::os::unix::fs::symlink(fixture.path().join("all/a"), fixture.path().join("all/link")).unwrap();
    assert_eq!(
        fixture.run(&["validate", "-f", "all"]),
        failed("", "No resources specified in file all/c.json\n"),
        "each file holds something"
    );
    let flat = fixture.run(&["validate", "-f", "all", "--skip-empty"]);
    assert_eq!(flat, ok("Successfully validated 2 'IPPool' resource(s)\n"));
    let deep = fixture.run(&["validate", "-R", "-f", "all", "--skip-empty"]);
    assert_eq!(deep, ok("Successfully validated 3 'IPPool' resource(s)\n"));
}

fn a_file_that_cannot_be_read_is_told_in_the_words_of_gos_libraries(on: On) {
    let fixture = Fixture::on(on);
    let pool = mk_pool("a", "10.0.0.0/16");
    let list = "json: cannot unmarshal object into Go value of type []unstructured.Unstructured";
    for (text, said) in [
        ("a: b: c\n", "error converting YAML to JSON: yaml: mapping values are not allowed in this context"),
        (
            "a:\n\tb: c\n",
            "error converting YAML to JSON: yaml: line 2: found character that cannot start any token",
        ),
        ("a: [1\n", "error converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'"),
        (
            "kind: IPPool\napiVersion: projectcalico.org/v3\nkind: Tier\n",
            "error converting YAML to JSON: yaml: unmarshal errors:\n  line 3: key \"kind\" already set in map",
        ),
        ("metadata: {name: a}\n", &format!("error unmarshaling JSON: while decoding JSON: {list}")),
        (
            "just words\n",
            &format!("error unmarshaling JSON: while decoding JSON: {}", list.replace("object", "string")),
        ),
        ("kind: IPPool\n", "unknown resource type (IPPool) and/or version ()"),
        (
            &format!("{pool}---\nkind: Tier\napiVersion: v7\n"),
            "unknown resource type (Tier) and/or version (v7)",
        ),
    ] {
        let after = fixture.pipe(&["apply", "-f", "-"], text);
        assert_eq!(after, failed("", &format!("failed to execute command: {said}\n")), "{text}");
    }
    // Nothing of a file with a fault is written.
    assert_eq!(fixture.run(&["get", "ippool"]).out, "NAME   CIDR   SELECTOR   \n\n");
}

fn replaced_are_said_to_be_all_that_were_tried(on: On) {
    let fixture = Fixture::on(on);
    fixture.must(&["apply", "-f", "-"], &(mk_pool("a", "10.0.0.0/16") + &mk_pool("b", "10.1.0.0/16")));
    let three = mk_pool("a", "10.0.0.0/16") + &mk_pool("x", "10.2.0.0/16") + &mk_pool("b", "10.1.0.0/16");
    assert_eq!(
        fixture.pipe(&["replace", "-f", "-"], &three),
        failed(
            "Partial success: replaced the first 3 out of 3 'IPPool' resources:\n",
            "hit error: resource does not exist: IPPool(x) with error: <nil>\n"
        )
    );
    let placed = mk_pool("a", "10.0.0.0/16").replace("name: a", "name: a\n  namespace: n");
    let words = "namespace should not be specified for a non-namespaced resource. IPPool is not a namespaced resource";
    assert_eq!(
        fixture.pipe(&["replace", "-f", "-"], &placed),
        failed("", &format!("failed to replace 'IPPool' resource: {words}\n"))
    );
    assert_eq!(
        fixture.pipe(&["create", "-f", "-"], &placed),
        failed("", &format!("failed to create 'IPPool' resource: [{words}]\n"))
    );
}

crate::fixture::on_both! {
    the_file_with_the_settings_is_read_strictly,
    nothing_to_get_is_no_failure_if_that_was_said,
    directories_are_read_in_order_and_links_to_others_are_not_followed,
    a_file_that_cannot_be_read_is_told_in_the_words_of_gos_libraries,
    replaced_are_said_to_be_all_that_were_tried,
}
