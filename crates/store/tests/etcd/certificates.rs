//! TLS with certificates on both sides, made here by openssl.

use std::path::Path;
use std::process::Command;

use tortie_store::etcd::server::{Certificate, Server, Start};
use tortie_store::etcd::{Endpoint, Etcd, Options, Pem};
use tortie_store::{Datastore, Error};

use super::help::{PATIENCE, mk_server};

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `ca`, `server` and `client`, and `stranger`, whom nobody knows: each a `.crt` and a `.key`.
fn mk_certificates(directory: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["ca", "stranger"] {
        openssl(
            directory,
            &format!("req -x509 {key} -keyout {name}.key -out {name}.crt -days 2 -subj /CN={name}"),
        );
    }
    std::fs::write(
        directory.join("san"),
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
    )
    .unwrap();
    for name in ["server", "client"] {
        openssl(directory, &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        let sign = "x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san";
        openssl(directory, &format!("{sign} -in {name}.csr -out {name}.crt"));
    }
}

#[test]
fn a_client_needs_the_authority_and_a_certificate_and_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    mk_certificates(directory.path());
    let file = |name: &str| directory.path().join(name);
    let certificate =
        Certificate { certificate: file("server.crt"), key: file("server.key"), authority: file("ca.crt") };
    let start = Start { directory: file("etcd"), certificate: Some(certificate), ..Start::default() };
    let server = Server::start(start).unwrap();
    let options = |authority: Option<&str>, client: Option<&str>| Options {
        authority: authority.map(|name| Pem::File(file(name))),
        certificate: client
            .map(|name| (Pem::File(file(&format!("{name}.crt"))), Pem::File(file(&format!("{name}.key"))))),
        ..Options::new(vec![server.endpoint()])
    };
    let good = options(Some("ca.crt"), Some("client"));
    let store = Etcd::open(good.clone()).unwrap();
    let revision = store.create("/k", b"v").unwrap();
    let mut watch = store.watch("/", revision).unwrap();
    store.put("/k", b"w").unwrap();
    assert_eq!(watch.next(PATIENCE).unwrap().len(), 1);
    let text = |name: &str| Pem::Text(std::fs::read_to_string(file(name)).unwrap());
    let inline = Options {
        authority: Some(text("ca.crt")),
        certificate: Some((text("client.crt"), text("client.key"))),
        ..good.clone()
    };
    assert!(Etcd::open(inline).unwrap().get("/k").unwrap().is_some());
    let plain = Endpoint { tls: false, ..server.endpoint() };
    let other = mk_server(&[]);
    let not_tls = Endpoint { tls: true, ..other.server.endpoint() };
    for (options, hint) in [
        (options(None, Some("client")), "ETCD_CA_CERT_FILE"),
        (options(Some("stranger.crt"), Some("client")), "ETCD_CA_CERT_FILE"),
        (options(Some("ca.crt"), None), "ETCD_CERT_FILE"),
        (options(Some("ca.crt"), Some("stranger")), "ETCD_CERT_FILE"),
        (options(Some("none.crt"), None), "none.crt"),
        (options(Some("ca.key"), None), "there is no certificate in it"),
        (Options { endpoints: vec![plain], ..good.clone() }, "https://"),
        (Options { endpoints: vec![not_tls], ..good }, "http://"),
    ] {
        let error = Etcd::open(options).unwrap().get("/k").unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(hint), "expected {hint}: {error}");
    }
}
