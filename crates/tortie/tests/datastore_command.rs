//! `tortie datastore`: everything out to a file and in again, byte for byte; and the manual pages.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::{Datastore, keys};

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn store(&self, name: &str) -> Embedded {
        let options = Options { durability: Durability::Normal, ..Options::new(self.path(name)) };
        Embedded::open(options).unwrap()
    }

    /// Runs `tortie` on a database.
    fn run(&self, database: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tortie"));
        command.args(arguments).current_dir(self.directory.path()).env_remove("DATASTORE_TYPE");
        command
            .env("TORTIE_DATABASE", self.path(database))
            .env("TORTIE_DATABASE_SYNC", "normal")
            .output()
            .unwrap()
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn contents(store: &Embedded) -> Vec<(String, Vec<u8>)> {
    let items = store.list_all(keys::ROOT).unwrap().items.into_iter();
    items.map(|item| (item.key, item.value)).collect()
}

fn stocked(fixture: &Fixture, name: &str) -> Embedded {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
    let applied = fixture.run(name, &["apply", "-f", examples.to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    let store = fixture.store(name);
    // What no version knows, and what is no text.
    store.put("/calico/resources/v3/projectcalico.org/novelties/x", br#"{"b": 1,  "a": "\u00e9"}"#).unwrap();
    store.put("/calico/felix/v2/odd", &[0xff, 0x00, b'"']).unwrap();
    store
}

#[test]
fn what_is_exported_is_imported_byte_for_byte() {
    let fixture = Fixture::new();
    let old = stocked(&fixture, "old.db");
    let exported = fixture.run("old.db", &["datastore", "export", "-f", "all.jsonl"]);
    let count = contents(&old).len();
    let revision = old.revision().unwrap();
    assert_eq!(text(exported.stderr), format!("Exported {count} keys at revision {revision}\n"));
    let imported = fixture.run("new.db", &["datastore", "import", "-f", "all.jsonl"]);
    assert_eq!(text(imported.stdout), format!("Imported {count} keys: datastore and file are the same\n"));
    let new = fixture.store("new.db");
    assert_eq!(contents(&new), contents(&old));

    let twice = fixture.run("new.db", &["datastore", "import", "-f", "all.jsonl"]);
    assert_eq!(
        (twice.status.code(), text(twice.stderr)),
        (
            Some(1),
            format!(
                "Error: the datastore holds {count} keys already; --overwrite makes it what the file is\n"
            )
        )
    );
    new.put("/calico/felix/v2/odd", b"changed").unwrap();
    new.put("/calico/felix/v2/more", b"{}").unwrap();
    new.delete("/calico/resources/v3/projectcalico.org/novelties/x", None).unwrap();
    let compared = fixture.run("new.db", &["datastore", "compare", "-f", "all.jsonl"]);
    assert_eq!(
        (compared.status.code(), text(compared.stdout), text(compared.stderr)),
        (
            Some(1),
            "/calico/resources/v3/projectcalico.org/novelties/x: not in the datastore\n/calico/felix/v2/more: not in the file\n/calico/felix/v2/odd: another value\n".to_owned(),
            "3 keys differ\n".to_owned()
        )
    );
    let again = fixture.run("new.db", &["datastore", "import", "-f", "all.jsonl", "--overwrite"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(contents(&new), contents(&old));
}

#[test]
fn a_file_that_is_not_whole_is_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    drop(stocked(&fixture, "old.db"));
    let whole = text(fixture.run("old.db", &["datastore", "export"]).stdout);
    let lines: Vec<&str> = whole.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    for (file, words) in [
        (cut.as_str(), ": the file is not whole"),
        ("{}\n", "line 1: expected the head of an export"),
        ("", "line 1: expected the head of an export"),
        (
            "{\"format\":\"tortie-datastore/1\",\"revision\":1,\"keys\":1}\n{\"key\":\"/other\",\"value\":\"\"}\n",
            "expected one below /calico/",
        ),
        (
            "{\"format\":\"tortie-datastore/1\",\"revision\":1,\"keys\":1}\n{\"key\":\"/calico/x\"}\n",
            "expected either value or hex",
        ),
    ] {
        std::fs::write(fixture.path("file"), file).unwrap();
        let said = fixture.run("new.db", &["datastore", "import", "-f", "file"]);
        assert_eq!(said.status.code(), Some(1));
        let error = text(said.stderr);
        assert!(error.contains(words), "{error}");
    }
    assert!(!fixture.path("new.db").exists());
}

#[test]
fn every_command_of_both_names_has_a_manual_page() {
    let fixture = Fixture::new();
    assert!(fixture.run("none.db", &["man", "pages"]).status.success());
    for name in
        ["tortie", "tortie-apply", "tortie-ipam-show", "calicoctl", "calicoctl-datastore-migrate-lock"]
    {
        assert!(fixture.path(&format!("pages/{name}.1")).exists(), "{name}");
    }
    let completion = fixture.run("none.db", &["completion", "fish"]);
    assert!(text(completion.stdout).contains("complete -c tortie"));
}
