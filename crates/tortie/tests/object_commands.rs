//! `apply`, `create`, `replace`, `delete` and `get` as a user runs them: the real binary on a database of its own.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A database, and files to apply.
struct Fixture {
    directory: tempfile::TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug, PartialEq)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { directory: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tortie"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("DATASTORE_TYPE")
            .env("TORTIE_DATABASE", self.directory.path().join("db/tortie.db"))
            .env("TORTIE_DATABASE_SYNC", "normal");
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    /// Runs with `input` as standard input.
    fn pipe(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        said(child.wait_with_output().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&said.out).unwrap()
    }
}

fn said(output: Output) -> Said {
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

fn ok(out: &str) -> Said {
    Said { out: out.to_owned(), err: String::new(), code: Some(0) }
}

fn failed(out: &str, err: &str) -> Said {
    Said { out: out.to_owned(), err: err.to_owned(), code: Some(1) }
}

fn mk_pool(name: &str, cidr: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: {name}\nspec:\n  cidr: {cidr}\n{rest}"
    )
}

fn mk_policy(name: &str, metadata: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n{metadata}spec:\n  selector: app == 'web'\n  ingress:\n  - action: Allow\n"
    )
}

#[test]
fn tables_are_calicoctls_byte_for_byte() {
    let fixture = Fixture::new();
    let pools =
        mk_pool("a", "10.0.0.0/16", "  nodeSelector: foo == 'bar'\n") + &mk_pool("b", "10.1.0.0/16", "");
    assert_eq!(
        fixture.pipe(&["apply", "-f", "-"], &pools),
        ok("Successfully applied 2 'IPPool' resource(s)\n")
    );
    assert_eq!(
        fixture.run(&["get", "ippool"]),
        ok(
            "NAME   CIDR          SELECTOR       \na      10.0.0.0/16   foo == 'bar'   \nb      10.1.0.0/16   all()          \n\n"
        )
    );
    // Two names are two tables.
    assert_eq!(
        fixture.run(&["get", "pools", "a", "b"]),
        ok(
            "NAME   CIDR          SELECTOR       \na      10.0.0.0/16   foo == 'bar'   \n\nNAME   CIDR          SELECTOR   \nb      10.1.0.0/16   all()      \n\n"
        )
    );
    assert_eq!(
        fixture.run(&["get", "IPPool", "b", "-o", "wide"]),
        ok(
            "NAME   CIDR          NAT     IPIPMODE   VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR   ASSIGNMENTMODE   \nb      10.1.0.0/16   false   Never      Never       false      false              all()      Automatic        \n\n"
        )
    );
    assert_eq!(
        fixture.run(&["get", "tiers"]),
        ok(
            "NAME            ORDER   \nkube-admin      1000    \ndefault         1e+06   \nkube-baseline   1e+07   \n\n"
        )
    );
    assert_eq!(
        fixture.run(&["get", "pool", "-o", "name"]),
        ok("ippool.projectcalico.org/a\nippool.projectcalico.org/b\n")
    );
    assert_eq!(
        fixture.run(&["get", "pool", "-o", "custom-columns=CIDR,NAME"]).out.lines().next(),
        Some("CIDR          NAME   ")
    );
}

#[test]
fn what_is_found_is_shown_before_what_is_not_and_the_command_fails() {
    let fixture = Fixture::new();
    fixture
        .pipe(&["apply", "-f", "-"], &(mk_pool("a", "10.0.0.0/16", "") + &mk_pool("b", "10.1.0.0/16", "")));
    let Said { out, err, code } = fixture.run(&["get", "ippool", "a", "blah", "b"]);
    assert_eq!(out.matches("NAME ").count(), 2);
    assert_eq!((err.as_str(), code), ("resource does not exist: IPPool(blah) with error: <nil>\n", Some(1)));
    let gone = fixture.run(&["delete", "ippool", "a", "blah", "b"]);
    assert_eq!(
        gone,
        failed(
            "Successfully deleted 2 'IPPool' resource(s)\n",
            "Failed to delete 'IPPool' resource: resource does not exist: IPPool(blah) with error: <nil>\n\n"
        )
    );
    assert_eq!(fixture.run(&["get", "ippool"]), ok("NAME   CIDR   SELECTOR   \n\n"));
    let nothing = fixture.run(&["delete", "ippool", "x", "y"]);
    assert_eq!((nothing.out.as_str(), nothing.code), ("", Some(1)));
    assert_eq!(
        fixture.run(&["delete", "-s", "ippool", "x"]),
        ok("Successfully deleted 1 'IPPool' resource(s)\n")
    );
}

#[test]
fn an_empty_list_as_yaml_has_its_kind_and_a_resource_version() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.run(&["get", "ippool", "-o", "yaml"]),
        ok(
            "apiVersion: projectcalico.org/v3\nitems: []\nkind: IPPoolList\nmetadata:\n  resourceVersion: \"0\"\n"
        )
    );
    assert_eq!(
        fixture.run(&["get", "ippool", "-o", "json"]),
        ok(
            "{\n  \"kind\": \"IPPoolList\",\n  \"apiVersion\": \"projectcalico.org/v3\",\n  \"metadata\": {\n    \"resourceVersion\": \"0\"\n  },\n  \"items\": []\n}\n"
        )
    );
}

#[test]
fn what_get_prints_can_be_applied_and_is_the_same_then() {
    let fixture = Fixture::new();
    let policy = mk_policy("web", "  namespace: shop\n  annotations:\n    note: \"a < b && c\"\n");
    fixture.pipe(&["create", "-f", "-"], &policy);
    for format in ["yaml", "json"] {
        let before = fixture.run(&["get", "np", "web", "-n", "shop", "-o", format]);
        let applied = fixture.pipe(&["replace", "-f", "-"], &before.out);
        assert_eq!(applied, ok("Successfully replaced 1 'NetworkPolicy' resource(s)\n"));
        let after = fixture.run(&["get", "np", "web", "-n", "shop", "-o", format]);
        let without_version = |text: &str| {
            let lines: Vec<&str> = text.lines().filter(|line| !line.contains("esourceVersion")).collect();
            lines.join("\n")
        };
        assert_ne!(before.out, after.out, "the resource version is a new one");
        assert_eq!(without_version(&before.out), without_version(&after.out));
        // What was printed before is out of date now.
        let stale = fixture.pipe(&["apply", "-f", "-"], &before.out);
        assert_eq!(
            stale,
            failed(
                "",
                "failed to apply 'NetworkPolicy' resource: [update conflict: NetworkPolicy(shop/web)]\n"
            )
        );
        let stale = fixture.pipe(&["replace", "-f", "-"], &before.out);
        assert_eq!(stale, failed("", "hit error: update conflict: NetworkPolicy(shop/web)\n"));
        let stale = fixture.pipe(&["delete", "-f", "-"], &before.out);
        assert_eq!(stale.code, Some(1));
        assert!(stale.err.contains("update conflict: NetworkPolicy(shop/web)"), "{stale:?}");
    }
    let list = fixture.run(&["get", "np", "-A", "-o", "yaml"]).out;
    assert_eq!(
        fixture.pipe(&["apply", "-f", "-"], &list),
        ok("Successfully applied 1 'NetworkPolicy' resource(s)\n")
    );
}

#[test]
fn summaries_count_and_name_the_kind_if_there_is_one() {
    let fixture = Fixture::new();
    let two = mk_pool("a", "10.0.0.0/16", "") + &mk_policy("p", "");
    assert_eq!(fixture.pipe(&["create", "-f", "-"], &two), ok("Successfully created 2 resource(s)\n"));
    let pool = mk_pool("a", "10.0.0.0/16", "");
    assert_eq!(
        fixture.pipe(&["create", "-f", "-"], &pool),
        failed("", "failed to create 'IPPool' resource: [resource already exists: IPPool(a)]\n")
    );
    assert_eq!(
        fixture.pipe(&["create", "-f", "-"], &two).err,
        "failed to create any resources: [resource already exists: IPPool(a) resource already exists: NetworkPolicy(default/p)]\n"
    );
    assert_eq!(
        fixture.pipe(&["create", "--skip-exists", "-f", "-"], &two),
        ok("Successfully created 2 resource(s)\n")
    );
    let policies = mk_policy("p", "") + &mk_policy("q", "") + &mk_policy("r", "");
    assert_eq!(
        fixture.pipe(&["create", "-f", "-"], &policies),
        failed(
            "Partial success: created the first 2 out of 3 'NetworkPolicy' resources:\n",
            "hit error: [resource already exists: NetworkPolicy(default/p)]\n"
        )
    );
    assert_eq!(
        fixture.pipe(&["replace", "-f", "-"], &mk_policy("none", "")),
        failed("", "hit error: resource does not exist: NetworkPolicy(default/none) with error: <nil>\n")
    );
}

#[test]
fn faults_come_in_calicos_words_and_with_their_place() {
    let fixture = Fixture::new();
    let tier =
        "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: x\nspec:\n  order: 5\n  bogus: 1\n";
    let path = fixture.file("tier.yaml", tier);
    let said = fixture.run(&["apply", "-f", path.to_str().unwrap()]);
    let mut lines = said.err.lines();
    assert_eq!(lines.next(), Some("field in document is not recognized or is in the wrong location: bogus"));
    let place = format!("  {}:7:3: spec.bogus: ", path.display());
    assert!(lines.next().unwrap().starts_with(&place), "{said:?}");
    assert_eq!(said.code, Some(1));

    let said = fixture.pipe(
        &["apply", "-f", "-"],
        "apiVersion: projectcalico.org/v7\nkind: BGPPeer\nmetadata: {name: x}\n",
    );
    assert!(
        said.err
            .starts_with("failed to execute command: unknown resource type (BGPPeer) and/or version (v7)\n"),
        "{said:?}"
    );
    let said = fixture.pipe(&["apply", "-f", "-"], &mk_pool("p", "10.0.0.0/16", "  disabled: \"maybe\"\n"));
    assert!(
        said.err
            .contains("cannot unmarshal string into Go struct field IPPoolSpec.spec.disabled of type bool"),
        "{said:?}"
    );
    let endpoint = "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata:\n  name: h\nspec:\n  node: n\n  interfaceName: wibblywobblyeth0\n";
    let said = fixture.pipe(&["apply", "-f", "-"], endpoint);
    assert!(
        said.err.starts_with(
            "failed to apply 'HostEndpoint' resource: [error with field InterfaceName = 'wibblywobblyeth0'"
        ),
        "{said:?}"
    );
    assert!(said.err.contains("\n  -:7:18: spec.interfaceName: "), "{said:?}");
    assert_eq!(fixture.run(&["get", "hep"]), ok("NAME   NODE   \n\n"), "nothing was stored");
    let missing = fixture.run(&["apply", "-f", "nowhere.yaml"]);
    assert_eq!(
        missing,
        failed("", "failed to execute command: open nowhere.yaml: no such file or directory\n")
    );
}

#[test]
fn directories_are_read_in_order_and_deeper_only_if_asked() {
    let fixture = Fixture::new();
    fixture.file("d/b.yaml", &mk_pool("b", "10.1.0.0/16", ""));
    fixture.file(
        "d/a.json",
        r#"{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"t"},"spec":{"order":1}}"#,
    );
    fixture.file("d/notes.txt", "not yaml: [");
    fixture.file("d/deep/c.yml", &mk_pool("c", "10.2.0.0/16", ""));
    assert_eq!(fixture.run(&["apply", "-f", "d"]), ok("Successfully applied 2 resource(s)\n"));
    assert_eq!(fixture.run(&["apply", "-R", "-f", "d"]), ok("Successfully applied 3 resource(s)\n"));
    fixture.file("empty/none.yaml", "");
    assert_eq!(
        fixture.run(&["apply", "-f", "empty"]),
        failed("", "No resources specified in file empty/none.yaml\n")
    );
    assert_eq!(fixture.run(&["apply", "--skip-empty", "-f", "empty"]), ok("No resources specified\n"));
}

#[test]
fn namespaces_are_the_files_the_flags_or_default() {
    let fixture = Fixture::new();
    fixture.pipe(&["apply", "-f", "-"], &mk_policy("p", "  namespace: \"\"\n"));
    fixture.pipe(&["apply", "-n", "shop", "-f", "-"], &mk_policy("p", ""));
    assert_eq!(
        fixture.run(&["get", "np", "-A"]),
        ok("NAMESPACE   NAME   TIER      \ndefault     p      default   \nshop        p      default   \n\n")
    );
    assert_eq!(fixture.run(&["get", "np"]), ok("NAME   TIER      \np      default   \n\n"));
    assert_eq!(fixture.run(&["get", "tier", "-n", "x"]), failed("", "Tier is not namespaced\n"));
    let clash = fixture.pipe(&["apply", "-n", "shop", "-f", "-"], &mk_policy("p", "  namespace: prod\n"));
    assert_eq!(
        clash.err,
        "failed to apply 'NetworkPolicy' resource: [resource namespace does not match client namespace. prod != shop]\n"
    );
}

#[test]
fn export_strips_what_belongs_to_the_cluster_if_a_name_is_given() {
    let fixture = Fixture::new();
    fixture.pipe(&["apply", "-f", "-"], &mk_policy("p", "  namespace: shop\n"));
    let one = fixture.json(&["get", "np", "p", "-n", "shop", "--export"]);
    for name in ["uid", "resourceVersion", "namespace", "creationTimestamp"] {
        assert!(one["metadata"].get(name).is_none(), "{name}: {one}");
    }
    let all = fixture.json(&["get", "np", "-n", "shop", "--export"]);
    assert!(all["items"][0]["metadata"].get("uid").is_some());
}

#[test]
fn what_cannot_be_done_is_refused_in_calicoctls_words() {
    let fixture = Fixture::new();
    for (arguments, err) in [
        (&["get", "somekind"][..], "failed to get resources: resource type 'somekind' is not supported\n"),
        (&["get", "tier", "-o", "foo"], "unrecognized output format 'foo'\n"),
        (&["get", "-m", "x"], "unknown shorthand flag: 'm' in -m\n"),
        (&["get", "--unknown-flag"], "unknown flag: --unknown-flag\n"),
        (&["get", "np", "x", "-A"], "cannot use --all-namespace flag for getting a single resource\n"),
        (&["get", "np", ""], "failed to get resources: resource name may not be empty\n"),
    ] {
        assert_eq!(fixture.run(arguments), failed("", err), "{arguments:?}");
    }
    let information =
        "apiVersion: projectcalico.org/v3\nkind: ClusterInformation\nmetadata: {name: default}\nspec: {}\n";
    for (verb, err) in [
        (
            "create",
            "failed to create 'ClusterInformation' resource: [operation create or apply is not supported on ClusterInformation]\n",
        ),
        (
            "apply",
            "failed to apply 'ClusterInformation' resource: [operation apply is not supported on ClusterInformation: resource is readonly]\n",
        ),
    ] {
        assert_eq!(fixture.pipe(&[verb, "-f", "-"], information), failed("", err));
    }
    let kubernetes = mk_policy("knp.default.x", "");
    let created = fixture.pipe(&["create", "-f", "-"], &kubernetes);
    assert!(created.err.contains("is not supported on"), "{created:?}");
    assert!(created.err.contains("kubernetes network policies must be managed through the kubernetes API"));
    let applied = fixture.pipe(&["apply", "-f", "-"], &kubernetes);
    assert!(applied.err.contains("resource does not exist"), "{applied:?}");
    let deleted = fixture.run(&["delete", "np", "knp.default.x"]);
    assert!(deleted.err.contains("kubernetes network policies must be managed"), "{deleted:?}");
}

#[test]
fn the_default_profile_the_cluster_and_its_tiers_are_there_after_the_first_write() {
    let fixture = Fixture::new();
    fixture.pipe(&["apply", "-f", "-"], &mk_policy("p", ""));
    let profiles = fixture.json(&["get", "profile"]);
    assert_eq!(
        profiles["items"][0]["metadata"],
        serde_json::json!({"name": "projectcalico-default-allow", "resourceVersion": "1"})
    );
    let information = fixture.json(&["get", "clusterinfo", "default"]);
    assert_eq!(information["spec"]["clusterGUID"].as_str().unwrap().len(), 32);
    assert_eq!(fixture.json(&["get", "tier"])["items"].as_array().unwrap().len(), 3);
    let policy = fixture.json(&["get", "np", "p"]);
    assert_eq!(policy["metadata"]["labels"]["projectcalico.org/tier"], "default");
    assert_eq!(policy["spec"]["types"], serde_json::json!(["Ingress"]));
}

#[test]
fn kubernetes_namespaces_service_accounts_and_policies_are_kept_too() {
    let fixture = Fixture::new();
    let objects = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {env: prod}}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: shop}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\nspec:\n  podSelector: {}\n";
    assert_eq!(fixture.pipe(&["apply", "-f", "-"], objects), ok("Successfully applied 3 resource(s)\n"));
    assert_eq!(fixture.run(&["get", "ns"]), ok("NAME   \nshop   \n\n"));
    assert_eq!(fixture.run(&["get", "sa", "-n", "shop"]), ok("NAMESPACE   NAME   \nshop        web    \n\n"));
    assert_eq!(fixture.json(&["get", "ns", "shop"])["metadata"]["labels"]["env"], "prod");
    assert_eq!(fixture.json(&["get", "knp", "deny", "-n", "shop"])["apiVersion"], "networking.k8s.io/v1");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    let refused = fixture.pipe(&["apply", "-f", "-"], pod);
    assert!(refused.err.contains("unknown resource type (Pod) and/or version (v1)"), "{refused:?}");
}

#[test]
fn settings_come_from_the_file_and_the_environment_wins() {
    let fixture = Fixture::new();
    let database = fixture.directory.path().join("other/other.db");
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  datastoreType: embedded\n  tortieDatabase: {}\n",
        database.display()
    );
    let path = fixture.file("calicoctl.cfg", &text);
    let config = path.to_str().unwrap();
    let mut by_file = fixture.command(&["get", "tier", "-c", config]);
    by_file.env_remove("TORTIE_DATABASE");
    assert_eq!(said(by_file.output().unwrap()).code, Some(0));
    assert!(database.exists());
    std::fs::remove_file(&database).unwrap();
    fixture.run(&["get", "tier", "-c", config]);
    assert!(!database.exists(), "the environment said another one");
    for (value, words) in [("etcdv3", "ETCD_ENDPOINTS: found \"\""), ("floppy", "expected \"embedded\"")] {
        let mut other = fixture.command(&["get", "tier"]);
        other.env("DATASTORE_TYPE", value);
        let said = said(other.output().unwrap());
        assert!(
            said.err.starts_with("Failed to create Calico API client: ") && said.err.contains(words),
            "{said:?}"
        );
        assert_eq!(said.code, Some(1));
    }
    let missing = fixture.run(&["get", "tier", "-c", "nowhere.cfg"]);
    assert!(missing.err.contains("Error reading config file: nowhere.cfg"), "{missing:?}");
}

#[test]
fn what_is_stored_but_not_enforced_is_warned_of_and_the_command_succeeds() {
    let fixture = Fixture::new();
    let object = |kind: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    };
    let objects = [
        object(
            "NetworkPolicy",
            "ports",
            "{ingress: [{action: Log}, {action: Allow, protocol: TCP, source: {ports: [53]}}]}",
        ),
        // The rule is of a direction that the policy is not for.
        object(
            "NetworkPolicy",
            "fine",
            "{types: [Egress], ingress: [{action: Allow, http: {methods: [GET]}}]}",
        ),
        object("NetworkPolicy", "web", "{egress: [{action: Deny, protocol: UDP, source: {ports: [5]}}]}"),
        object("GlobalNetworkPolicy", "http", "{ingress: [{action: Allow, http: {methods: [GET]}}]}"),
        object(
            "GlobalNetworkPolicy",
            "raw",
            "{doNotTrack: true, applyOnForward: true, ingress: [{action: Deny}]}",
        ),
        object(
            "GlobalNetworkPolicy",
            "nat",
            "{preDNAT: true, applyOnForward: true, ingress: [{action: Deny}]}",
        ),
        object("GlobalNetworkPolicy", "forward", "{applyOnForward: true, ingress: [{action: Deny}]}"),
        object("HostEndpoint", "eth0", "{node: node1, interfaceName: eth0}"),
    ]
    .concat();
    let warnings = "\
Warning: NetworkPolicy(default/ports) denies in its place: ingress rule 1: source.ports: not enforced yet
Warning: NetworkPolicy(default/web) denies in its place: egress rule 0: source.ports: not enforced yet
Warning: GlobalNetworkPolicy(http) denies in its place: ingress rule 0: http: not enforced yet
Warning: GlobalNetworkPolicy(raw) has no effect: doNotTrack: not enforced yet
Warning: GlobalNetworkPolicy(nat) has no effect: preDNAT: not enforced yet
Warning: GlobalNetworkPolicy(forward) applies to workloads alone: applyOnForward: not enforced yet
Warning: HostEndpoint(eth0) leaves the host untouched: host endpoints are not enforced yet
";
    for (verb, past) in [("create", "created"), ("apply", "applied"), ("replace", "replaced")] {
        let said = fixture.pipe(&[verb, "-f", "-"], &objects);
        let expected = Said {
            out: format!("Successfully {past} 8 resource(s)\n"),
            err: warnings.to_owned(),
            code: Some(0),
        };
        assert_eq!(said, expected);
    }
    let said = fixture.pipe(&["delete", "-f", "-"], &objects);
    assert_eq!(said, ok("Successfully deleted 8 resource(s)\n"));
}
