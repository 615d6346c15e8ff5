//! Commands on etcd, as a user of Calico has it: `calicoctl.cfg` or the environment name the servers.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

use serde_json::Value;
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Etcd, Options};
use tortie_store::{Datastore, List};

/// A server, and a directory with a `calicoctl.cfg` that names it.
struct Fixture {
    directory: tempfile::TempDir,
    server: Server,
}

const TIERS: &str = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: one\nspec:\n  order: 1\n---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: two\n  labels: {a: b}\nspec:\n  order: 2\n";

impl Fixture {
    fn new() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let start = Start { directory: directory.path().join("etcd"), ..Start::default() };
        let server = Server::start(start).unwrap();
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  datastoreType: \"etcdv3\"\n  etcdEndpoints: \"{}\"\n",
            server.endpoint()
        );
        std::fs::write(directory.path().join("calicoctl.cfg"), text).unwrap();
        std::fs::write(directory.path().join("tiers.yaml"), TIERS).unwrap();
        Fixture { directory, server }
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tortie"));
        command.args(arguments).current_dir(self.directory.path()).env_clear();
        command.envs(environment.iter().copied()).output().unwrap()
    }

    fn store(&self) -> Etcd {
        Etcd::open(Options::new(vec![self.server.endpoint()])).unwrap()
    }
}

fn said(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

fn ok(out: &str) -> (String, String, Option<i32>) {
    (out.to_owned(), String::new(), Some(0))
}

#[test]
fn calicos_file_names_the_servers_and_calicos_keys_are_written() {
    let fixture = Fixture::new();
    let config = ["--config", "calicoctl.cfg"];
    let run = |arguments: &[&str]| said(&fixture.run(&[arguments, &config].concat(), &[]));
    assert_eq!(run(&["apply", "-f", "tiers.yaml"]), ok("Successfully applied 2 'Tier' resource(s)\n"));
    let store = fixture.store();
    let key = "/calico/resources/v3/projectcalico.org/tiers/two";
    let stored = store.get(key).unwrap().unwrap();
    let mut value: Value = serde_json::from_slice(&stored.value).unwrap();
    for field in ["uid", "creationTimestamp"] {
        assert!(value["metadata"].as_object_mut().unwrap().remove(field).is_some(), "{value}");
    }
    assert_eq!(
        value.to_string(),
        r#"{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"labels":{"a":"b"},"name":"two"},"spec":{"defaultAction":"Deny","order":2},"status":{}}"#
    );
    // A field that this version doesn't know, written by another client.
    let mut newer: Value = serde_json::from_slice(&stored.value).unwrap();
    newer["spec"]["future"] = true.into();
    store.put(key, newer.to_string().as_bytes()).unwrap();
    let (out, _, code) = run(&["get", "tier", "two", "-o", "json"]);
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    let revision = store.get(key).unwrap().unwrap().revision;
    assert_eq!(shown["metadata"]["resourceVersion"], revision.to_string(), "etcd's revision is the version");
    assert_eq!(shown["spec"]["future"], true);
    assert_eq!(run(&["delete", "tier", "one"]), ok("Successfully deleted 1 'Tier' resource(s)\n"));
    let tiers = store.list(&List::prefix("/calico/resources/v3/projectcalico.org/tiers/")).unwrap().items;
    let names: Vec<&str> = tiers.iter().map(|kv| kv.key.rsplit('/').next().unwrap()).collect();
    assert!(names.contains(&"two") && !names.contains(&"one"), "{names:?}");
}

#[test]
fn the_environment_names_them_too_and_is_stronger() {
    let fixture = Fixture::new();
    let url = fixture.server.endpoint().to_string();
    for environment in [
        &[("ETCD_ENDPOINTS", url.as_str())][..],
        &[("DATASTORE_TYPE", "etcdv3"), ("CALICO_ETCD_ENDPOINTS", &url)],
    ] {
        let output = fixture.run(&["apply", "-f", "tiers.yaml"], environment);
        assert_eq!(said(&output), ok("Successfully applied 2 'Tier' resource(s)\n"));
    }
    let database = fixture.directory.path().join("tortie.db").display().to_string();
    let environment = [("DATASTORE_TYPE", "embedded"), ("TORTIE_DATABASE", &database)];
    let arguments = ["apply", "-f", "tiers.yaml", "-c", "calicoctl.cfg"];
    let revision = fixture.store().revision().unwrap();
    assert_eq!(said(&fixture.run(&arguments, &environment)).2, Some(0));
    assert_eq!(fixture.store().revision().unwrap(), revision, "the environment said embedded");
}

#[test]
fn what_keeps_a_command_from_its_datastore_is_said_with_what_to_try() {
    let mut fixture = Fixture::new();
    fixture.server.kill();
    for (environment, hint) in [
        (&[("CALICO_ETCD_ENDPOINTS", "ftp://a")][..], "ETCD_ENDPOINTS: found \"ftp://a\""),
        (&[("ETCD_CERT_FILE", "/x")], "ETCD_KEY_FILE: found \"\""),
        (
            &[("DATASTORE_TYPE", "etcd")],
            "DATASTORE_TYPE: found \"etcd\", expected \"embedded\", \"etcdv3\" or \"kubernetes\"",
        ),
        (&[], "refused (os error 111); does etcd run there? ETCD_ENDPOINTS says where"),
    ] {
        let output = fixture.run(&["get", "tiers", "-c", "calicoctl.cfg"], environment);
        let (out, err, code) = said(&output);
        assert_eq!((out.as_str(), code), ("", Some(1)), "{err}");
        assert!(err.contains(hint), "expected {hint}: {err}");
    }
}

#[test]
fn an_apply_whose_etcd_is_killed_says_how_far_it_came_and_a_second_run_finishes() {
    const COUNT: usize = 1_000;
    let mut fixture = Fixture::new();
    let text: String = (0..COUNT)
        .map(|number| {
            format!(
                "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: p{number}\nspec:\n  selector: all()\n"
            )
        })
        .collect();
    std::fs::write(fixture.directory.path().join("many.yaml"), text).unwrap();
    let arguments = ["apply", "-f", "many.yaml", "-c", "calicoctl.cfg"];
    let policies = "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/";
    let mut watch = fixture.store().watch(policies, tortie_store::Revision(1)).unwrap();
    let (out, err, code) = std::thread::scope(|scope| {
        let command = scope.spawn(|| said(&fixture.run(&arguments, &[])));
        let mut seen = 0;
        while seen < 100 {
            seen += watch.next(std::time::Duration::from_secs(60)).unwrap().len();
        }
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(fixture.server.id().cast_signed()),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        command.join().unwrap()
    });
    assert_eq!(code, Some(1), "{out} {err}");
    let told = [&*out, &*err].concat();
    assert!(told.contains("not tried: "), "{told}");
    fixture.server.kill();
    fixture.server.restart().unwrap();
    let done = fixture.store().list_all(policies).unwrap().items.len();
    let sure: usize = told.split("applied: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // What was being written when etcd went is there as a whole, or not at all.
    let perhaps = if told.contains(" may be or not, all 100 or none; ") { sure + 100 } else { sure };
    assert!([sure, perhaps].contains(&done) && done < COUNT, "{done} are there: {told}");
    let again = said(&fixture.run(&arguments, &[]));
    assert_eq!(again, ok(&format!("Successfully applied {COUNT} 'GlobalNetworkPolicy' resource(s)\n")));
    assert_eq!(fixture.store().list_all(policies).unwrap().items.len(), COUNT);
}
