//! kubeconfigs: what they say, and what is said of one that can't work.

use std::path::Path;

use tortie_store::Error;
use tortie_store::etcd::Pem;
use tortie_store::kubernetes::{Credentials, Options, Plugin};

fn options(settings: &[(&str, &str)]) -> Result<Options, Error> {
    let find = |name: &str| settings.iter().find(|(known, _)| *known == name);
    Options::from_settings(|name| find(name).map(|(_, value)| (*value).to_owned()))
}

fn read(directory: &Path, text: &str) -> Result<Options, Error> {
    let path = directory.join("config");
    std::fs::write(&path, text).unwrap();
    options(&[("KUBECONFIG", path.to_str().unwrap())])
}

#[test]
fn kubectls_settings_are_understood() {
    let directory = tempfile::tempdir().unwrap();
    let options = read(
        directory.path(),
        "apiVersion: v1
kind: Config
current-context: two
preferences: {}
clusters:
- name: one
  cluster: {server: 'https://one:1'}
- name: two
  cluster:
    server: https://[fd00::1]:6443/k8s/clusters/c-1/
    certificate-authority: pki/ca.crt
    tls-server-name: kubernetes
users:
- name: admin
  user:
    client-certificate-data: LS0tLS0=
    client-key: /keys/admin.key
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: ./login
      args: [--as, admin]
      env: [{name: REGION, value: eu}]
      interactiveMode: Never
contexts:
- name: two
  context: {cluster: two, user: admin, namespace: shop}
",
    )
    .unwrap();
    assert_eq!(options.server.to_string(), "https://[fd00::1]:6443");
    assert_eq!(options.path, "/k8s/clusters/c-1");
    assert_eq!(options.authority, Some(Pem::File(directory.path().join("pki/ca.crt"))));
    assert_eq!(options.server_name.as_deref(), Some("kubernetes"));
    assert_eq!(options.certificate, Some((Pem::Text("-----".into()), Pem::File("/keys/admin.key".into()))));
    let plugin = Plugin {
        program: directory.path().join("./login"),
        arguments: vec!["--as".into(), "admin".into()],
        environment: vec![("REGION".into(), "eu".into())],
        version: "client.authentication.k8s.io/v1".into(),
    };
    assert_eq!(options.credentials, Credentials::Plugin(plugin));
}

#[test]
fn of_several_files_the_first_that_says_something_counts() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
        directory.path().join(name).display().to_string()
    };
    let one = write("one", "current-context: a\nusers: [{name: u, user: {token: first}}]\n");
    let two = write(
        "two",
        "current-context: b\nclusters: [{name: c, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {token: second}}]\n\
         contexts: [{name: a, context: {cluster: c, user: u}}, {name: b, context: {cluster: none}}]\n",
    );
    let gone = directory.path().join("gone").display().to_string();
    let list = format!("{one}:{gone}:{two}");
    let found = options(&[("KUBECONFIG", &list)]).unwrap();
    assert_eq!((found.server.port, found.credentials), (443, Credentials::Token("first".into())));
    let error = options(&[("KUBECONFIG", &list), ("K8S_CURRENT_CONTEXT", "b")]).unwrap_err().to_string();
    assert!(error.contains("context.cluster: found \"none\", expected a name in clusters"), "{error}");
}

#[test]
fn calicos_settings_are_stronger_than_the_file() {
    let found = options(&[
        ("K8S_API_ENDPOINT", "https://h:6443"),
        ("K8S_CA_FILE", "/ca"),
        ("K8S_CERT_FILE", "/c"),
        ("K8S_KEY_FILE", "/k"),
        ("K8S_API_TOKEN", "t"),
        ("K8S_INSECURE_SKIP_TLS_VERIFY", "true"),
    ]);
    let found = found.unwrap();
    assert_eq!((found.server.to_string().as_str(), found.insecure), ("https://h:6443", true));
    assert_eq!(found.authority, Some(Pem::File("/ca".into())));
    assert_eq!(found.certificate, Some((Pem::File("/c".into()), Pem::File("/k".into()))));
    assert_eq!(found.credentials, Credentials::Token("t".into()));
}

#[test]
fn what_cannot_work_is_named_by_file_and_field() {
    let directory = tempfile::tempdir().unwrap();
    let whole = |cluster: &str, user: &str| {
        format!(
            "current-context: x\nclusters: [{{name: c, cluster: {cluster}}}]\nusers: [{{name: u, user: {user}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n"
        )
    };
    let server = "{server: 'https://h'}";
    for (text, said) in [
        ("- a\n".to_owned(), "it is no kubeconfig: expected a map"),
        ("a: [".to_owned(), "yaml"),
        ("clusters: []\n".to_owned(), "current-context: found nothing, expected the name of a context"),
        ("current-context: x\n".to_owned(), "current-context: found \"x\", expected a name in contexts"),
        ("current-context: x\ncontexts: x\n".to_owned(), "contexts: expected a list (line 1)"),
        (
            "current-context: x\ncontexts: [{name: x}]\n".to_owned(),
            "contexts[0].context: found nothing, expected a map (line 2)",
        ),
        (
            "current-context: x\ncontexts: [{name: x, context: {user: u}}]\n".to_owned(),
            "contexts[0].context.cluster: found nothing",
        ),
        (whole("{}", "{}"), "clusters[0].cluster.server: found nothing, expected a text (line 2)"),
        (
            whole("{server: 'ftp://h'}", "{}"),
            "clusters[0].cluster.server: found \"ftp://h\", expected https://HOST:PORT",
        ),
        (
            whole("{server: 'https://h', insecure-skip-tls-verify: maybe}", "{}"),
            "insecure-skip-tls-verify: found \"maybe\"",
        ),
        (
            whole("{server: 'https://h', certificate-authority-data: '%'}", "{}"),
            "certificate-authority-data: expected a certificate",
        ),
        (whole(server, "{client-key: k}"), "users[0].user.client-certificate: found nothing"),
        (whole(server, "{client-certificate: k}"), "users[0].user.client-key: found nothing"),
        (whole(server, "{token: [a]}"), "users[0].user.token: found a map or list, expected a text"),
        (whole(server, "{exec: {command: x}}"), "users[0].user.exec.apiVersion: found nothing"),
        (
            whole(server, "{auth-provider: {name: gcp}}"),
            "users[0].user.auth-provider: found an auth-provider",
        ),
    ] {
        let error = read(directory.path(), &text).unwrap_err().to_string();
        let file = directory.path().join("config").display().to_string();
        assert!(error.contains(&file) && error.contains(said), "{text}: {error}");
    }
    for (settings, said) in [
        (&[][..], "KUBECONFIG: found \"\", expected a kubeconfig"),
        (&[("K8S_API_ENDPOINT", "h:x")], "K8S_API_ENDPOINT: found \"h:x\""),
        (&[("K8S_API_ENDPOINT", "https://h"), ("K8S_KEY_FILE", "/k")], "K8S_CERT_FILE: found \"\""),
        (
            &[("K8S_API_ENDPOINT", "https://h"), ("K8S_INSECURE_SKIP_TLS_VERIFY", "x")],
            "K8S_INSECURE_SKIP_TLS_VERIFY",
        ),
        (&[("KUBECONFIG", "/nowhere/config")], "/nowhere/config"),
    ] {
        let error = options(settings).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
