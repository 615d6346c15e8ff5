//! Credentials that a program brings (`exec` in a kubeconfig): it runs when it must, and not more often.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tortie_store::kubernetes::{Credentials, Kubernetes};
use tortie_store::{Datastore, Error};

use crate::help::{Api, read_until};

/// A program that notes each run, and answers with what lies in `answer`, which is `next` from its second run on.
struct Program {
    directory: PathBuf,
    good: String,
}

impl Program {
    fn new(api: &Api, name: &str) -> Program {
        let directory = api.directory.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        let Credentials::Token(good) = api.server.options().unwrap().credentials else {
            panic!("the administrator has a token")
        };
        let config = std::fs::read_to_string(api.server.kubeconfig()).unwrap();
        let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, args: [now], interactiveMode: Never}";
        let config = config.replace(&format!("token: {good}"), exec);
        assert!(config.contains("./login"), "{config}");
        std::fs::write(directory.join("config"), config).unwrap();
        let program = "#!/bin/sh\ncd \"${0%/*}\"\necho \"$1 $KUBERNETES_EXEC_INFO\" >> runs\ncat answer\n[ ! -f next ] || cp next answer\n";
        std::fs::write(directory.join("login"), program).unwrap();
        std::fs::set_permissions(directory.join("login"), std::fs::Permissions::from_mode(0o700)).unwrap();
        Program { directory, good }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn store(&self, api: &Api) -> Kubernetes {
        api.items(tortie_store::kubernetes::server::options(&self.file("config")).unwrap())
    }

    fn runs(&self) -> usize {
        let runs = std::fs::read_to_string(self.file("runs")).unwrap_or_default();
        assert!(runs.lines().all(|run| run.starts_with("now {") && run.contains("ExecCredential")), "{runs}");
        runs.lines().count()
    }
}

fn answers(file: &Path, token: &str, until: &str) {
    let answer = format!(
        r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{token}"{until}}}}}"#
    );
    std::fs::write(file, answer).unwrap();
}

#[test]
fn a_program_of_a_kubeconfig_runs_once_for_all_calls_until_its_token_ends() {
    let api = Api::start(&[]).with_items();
    for (name, until) in [("ever", ""), ("long", r#","expirationTimestamp":"2999-01-01T00:00:00Z""#)] {
        let program = Program::new(&api, name);
        answers(&program.file("answer"), &program.good, until);
        let store = program.store(&api);
        let key = |number: usize| format!("/{name}/{number}");
        let first = store.create(&key(0), b"").unwrap();
        let mut watch = store.watch(&format!("/{name}/"), first).unwrap();
        std::thread::scope(|scope| {
            for number in 1..9 {
                let (store, key) = (&store, key(number));
                scope.spawn(move || store.create(&key, b"").unwrap());
            }
        });
        read_until(&mut *watch, &key(8));
        assert_eq!(store.list_all(&format!("/{name}/")).unwrap().items.len(), 9);
        assert_eq!(program.runs(), 1, "{name}");
    }
    // A token that has ended already is good for nothing but the call for which it was brought.
    let program = Program::new(&api, "past");
    answers(&program.file("answer"), &program.good, r#","expirationTimestamp":"2020-01-01T00:00:00Z""#);
    let store = program.store(&api);
    store.create("/past", b"").unwrap();
    let once = program.runs();
    store.get("/past").unwrap();
    assert!(program.runs() > once);
}

#[test]
fn a_program_runs_again_when_the_server_does_not_take_its_token_any_more() {
    let api = Api::start(&[]).with_items();
    let program = Program::new(&api, "renewed");
    answers(&program.file("answer"), "an-old-one", "");
    answers(&program.file("next"), &program.good, "");
    let store = program.store(&api);
    store.create("/k", b"").unwrap();
    store.get("/k").unwrap();
    assert_eq!(program.runs(), 2, "the second token is good for all that follows");

    let program = Program::new(&api, "failing");
    std::fs::write(program.file("login"), "#!/bin/sh\necho 'please log in' >&2\nexit 3\n").unwrap();
    let error = program.store(&api).get("/k").unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, Error::Unavailable { .. }), "{words}");
    for part in ["./login", "users.user.exec", "please log in", "3"] {
        assert!(words.contains(part), "{words}");
    }
}
