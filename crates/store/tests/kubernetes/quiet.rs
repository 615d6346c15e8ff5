//! A kind of which nothing happens: its watch moves on with the cluster, and is never listed again.

use std::time::{Duration, Instant};

use serde_json::Value;
use tortie_store::Datastore;
use tortie_store::kubernetes::Kubernetes;

use crate::help::{Api, PATIENCE, read_until};

const ACCOUNTS: &str = "/calico/resources/v3/kubernetes.io/serviceaccounts/";

/// What the server was asked of service accounts by us (as it writes it down itself): the verb, and the revision.
fn asked(log: &std::path::Path) -> Vec<(String, u64)> {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let ours = log.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        if !event["userAgent"].as_str()?.starts_with("tortie") {
            return None;
        }
        // A watch is told of at its begin and its end.
        if event["verb"] == "watch" && event["stage"] != "ResponseStarted" {
            return None;
        }
        let revision = event["requestURI"].as_str()?.split("resourceVersion=").nth(1);
        let revision = revision.and_then(|text| text.split('&').next()?.parse().ok()).unwrap_or(0);
        Some((event["verb"].as_str()?.to_owned(), revision))
    });
    ours.collect()
}

#[test]
fn a_quiet_kinds_position_moves_on_by_bookmarks_and_it_is_not_listed_again() {
    let audit = tempfile::tempdir().unwrap();
    let (policy, log) = (audit.path().join("policy"), audit.path().join("log"));
    std::fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
         - {level: Metadata, resources: [{group: '', resources: [serviceaccounts]}]}\n\
         - {level: None}\n",
    )
    .unwrap();
    // Each watch ends after some seconds, and is told where it stands two seconds before.
    let api = Api::start(&[
        "--min-request-timeout=4",
        &format!("--audit-policy-file={}", policy.display()),
        &format!("--audit-log-path={}", log.display()),
    ]);
    let store = Kubernetes::open(api.server.options().unwrap()).unwrap();
    let listed = store.list_all(ACCOUNTS).unwrap();
    let mut watch = store.watch(ACCOUNTS, listed.revision).unwrap();
    // Something else happens, and somebody asks the server for the newest of the kind: so it knows that this is still the same.
    api.kubectl(&["create", "configmap", "other"], "");
    let of_other =
        api.kubectl(&["get", "configmap", "other", "-o", "jsonpath={.metadata.resourceVersion}"], "");
    let of_other: u64 = of_other.parse().unwrap();
    assert!(of_other > listed.revision.0);
    api.kubectl(&["get", "serviceaccounts", "-A"], "");
    let deadline = Instant::now() + PATIENCE;
    let watches =
        || asked(&log).into_iter().filter(|(verb, _)| verb == "watch").map(|(_, at)| at).collect::<Vec<_>>();
    while !watches().iter().any(|at| *at >= of_other) {
        assert_eq!(watch.next(Duration::from_millis(100)).unwrap(), [], "nothing happens");
        assert!(Instant::now() < deadline, "no watch from {of_other} on: {:?}", asked(&log));
    }
    assert_eq!(watches()[0], listed.revision.0, "the first one began at the list");
    // What is forgotten by now isn't needed.
    let options = tortie_store::etcd::Options::new(vec![api.server.etcd().endpoint()]);
    let etcd = tortie_store::etcd::Etcd::open(options).unwrap();
    etcd.compact(tortie_store::Revision(of_other)).unwrap();
    api.kubectl(&["create", "serviceaccount", "late"], "");
    let (seen, outages) = read_until(&mut *watch, &format!("{ACCOUNTS}default/late"));
    assert_eq!((seen.len(), outages), (1, 0), "{seen:?}");
    let lists = asked(&log).into_iter().filter(|(verb, _)| verb == "list").count();
    assert_eq!(lists, 1, "listed once, at the beginning: {:?}", asked(&log));
}
