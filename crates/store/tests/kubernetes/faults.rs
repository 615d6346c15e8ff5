//! An API server that goes away and comes back, forgets, or doesn't know us any more.

use std::time::Duration;

use tortie_store::kubernetes::Credentials;
use tortie_store::{Datastore, Error, List, Revision};

use crate::help::{Api, PATIENCE, read_until};

#[test]
fn a_watch_outlives_the_server_and_misses_nothing() {
    // With its cache a new server knows nothing of what was before it, and may say so.
    outlives(&[], true);
    outlives(&["--watch-cache=false"], false);
}

fn outlives(arguments: &[&str], may_begin_again: bool) {
    let mut api = Api::start(arguments).with_items();
    let store = api.store();
    let first = store.create("/k/1", b"").unwrap();
    let mut watch = store.watch("/k/", first).unwrap();
    store.create("/k/2", b"").unwrap();
    assert_eq!(read_until(&mut *watch, "/k/2").0.len(), 1);
    api.server.kill();
    let lost = watch.next(PATIENCE);
    assert!(matches!(lost, Err(Error::Unavailable { .. })), "{lost:?}");
    // It is said once.
    assert_eq!(watch.next(Duration::from_millis(600)).unwrap(), []);
    api.server.restart().unwrap();
    let other = api.store();
    other.create("/k/3", b"").unwrap();
    other.delete("/k/1", None).unwrap();
    let mut keys = Vec::new();
    while !keys.contains(&"/k/1".to_owned()) {
        match watch.next(PATIENCE) {
            Ok(changes) => keys.extend(changes.into_iter().map(|change| change.key().to_owned())),
            Err(Error::Unavailable { .. }) => {}
            Err(Error::Compacted { .. }) if may_begin_again => {
                let listed = store.list_all("/k/").unwrap();
                watch = store.watch("/k/", listed.revision).unwrap();
                let there: Vec<&str> = listed.items.iter().map(|item| item.key.as_str()).collect();
                assert_eq!(there, ["/k/2", "/k/3"]);
                keys = vec!["/k/3".to_owned(), "/k/1".to_owned()];
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(keys, ["/k/3", "/k/1"]);
    // The store itself has found it again too.
    assert_eq!(store.list(&List::prefix("/k/")).unwrap().items.len(), 2);
}

#[test]
fn a_read_waits_for_a_server_that_was_there_and_not_for_one_that_never_was() {
    let mut api = Api::start(&[]).with_items();
    let store = api.store();
    let never = api.store();
    store.create("/k", b"1").unwrap();
    api.server.kill();
    let error = never.get("/k").unwrap_err();
    assert!(matches!(&error, Error::Unavailable { cause, .. } if cause.contains("refused")), "{error}");
    let restarted = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            loop {
                // A start may take longer than a call waits.
                match store.get("/k") {
                    Err(Error::Unavailable { .. }) => {}
                    outcome => return outcome,
                }
            }
        });
        api.server.restart().unwrap();
        reader.join().unwrap()
    });
    assert_eq!(restarted.unwrap().unwrap().value, b"1");
}

#[test]
fn what_the_server_has_forgotten_is_told() {
    // Without its cache, or it would still remember.
    let api = Api::start(&["--watch-cache=false"]).with_items();
    let store = api.store();
    let first = store.create("/k/1", b"").unwrap();
    for number in 0..5 {
        store.put("/k/2", format!("{number}").as_bytes()).unwrap();
    }
    let options = tortie_store::etcd::Options::new(vec![api.server.etcd().endpoint()]);
    let etcd = tortie_store::etcd::Etcd::open(options).unwrap();
    etcd.compact(etcd.revision().unwrap()).unwrap();
    let outcome = store.list(&List { at: Some(first), ..List::prefix("/k/") });
    assert!(
        matches!(outcome, Err(Error::Compacted { asked, oldest }) if asked == first && oldest > first),
        "{outcome:?}"
    );
    let outcome = store.watch("/k/", first).and_then(|mut watch| watch.next(PATIENCE));
    assert!(matches!(outcome, Err(Error::Compacted { .. })), "{outcome:?}");
    // What is there can be listed, and watched from there on.
    let now = store.list_all("/k/").unwrap();
    assert_eq!(now.items.len(), 2);
    let mut watch = store.watch("/k/", now.revision).unwrap();
    store.put("/k/3", b"").unwrap();
    assert_eq!(read_until(&mut *watch, "/k/3").0.len(), 1);
}

#[test]
fn a_token_that_is_renewed_in_its_file_is_read_again() {
    let api = Api::start(&[]).with_items();
    let file = api.directory.path().join("token");
    let mut options = api.server.options().unwrap();
    let Credentials::Token(good) = options.credentials.clone() else {
        panic!("the administrator has a token")
    };
    std::fs::write(&file, &good).unwrap();
    options.credentials = Credentials::File(file.clone());
    let store = api.items(options);
    store.create("/k", b"").unwrap();
    std::fs::write(&file, "an old one").unwrap();
    // The one that is known is still good, and used for some seconds.
    assert!(store.get("/k").unwrap().is_some());
    let mut outdated = api.server.options().unwrap();
    outdated.credentials = Credentials::File(file.clone());
    let stranger = api.items(outdated);
    let error = stranger.get("/k").unwrap_err();
    assert!(matches!(&error, Error::Refused { cause, .. } if cause.contains("doesn't know us")), "{error}");
    std::fs::write(&file, format!("{good}\n")).unwrap();
    assert!(stranger.get("/k").unwrap().is_some());
}

#[test]
fn what_a_role_does_not_allow_says_so() {
    let api = Api::start(&[]).with_items();
    api.kubectl(&["create", "serviceaccount", "nobody"], "");
    let token = api.kubectl(&["create", "token", "nobody"], "").trim().to_owned();
    let mut options = api.server.options().unwrap();
    options.credentials = Credentials::Token(token);
    let store = api.items(options);
    let error = store.get("/k").unwrap_err();
    let words = error.to_string();
    assert!(
        matches!(error, Error::Refused { .. }) && words.contains("cannot get resource \"items\""),
        "{words}"
    );
    assert!(words.contains("RBAC"), "{words}");
    let watched = store.watch("/", Revision::ZERO).and_then(|mut watch| watch.next(PATIENCE));
    assert!(matches!(watched, Err(Error::Refused { .. })), "{watched:?}");
}

#[test]
fn a_kind_that_comes_later_is_seen() {
    let api = Api::start(&[]);
    let store = tortie_store::kubernetes::Kubernetes::open(api.server.options().unwrap()).unwrap();
    // Calico's kinds aren't there; Kubernetes' own are.
    let listed = store.list(&List::prefix("/calico/resources/v3/kubernetes.io/namespaces/")).unwrap();
    assert!(listed.items.iter().any(|item| item.key.ends_with("/default")), "{listed:?}");
    let error = store
        .create(
            "/calico/resources/v3/projectcalico.org/tiers/sec",
            br#"{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"sec"},"spec":{}}"#,
        )
        .unwrap_err();
    assert!(error.to_string().contains("doesn't know Calico's kinds"), "{error}");
    let mut watch = store.watch("/calico/resources/v3/projectcalico.org/tiers/", listed.revision).unwrap();
    assert_eq!(watch.next(Duration::from_millis(300)).unwrap(), []);
    api.kubectl(&["apply", "-f", "-"], TIERS);
    api.kubectl(
        &["wait", "--for=condition=Established", "--timeout=60s", "crd/tiers.crd.projectcalico.org"],
        "",
    );
    api.kubectl(
        &["apply", "-f", "-"],
        "{apiVersion: crd.projectcalico.org/v1, kind: Tier, metadata: {name: sec}, spec: {order: 7}}",
    );
    let (seen, _) = read_until(&mut *watch, "/calico/resources/v3/projectcalico.org/tiers/sec");
    assert_eq!(seen.len(), 1);
}

const TIERS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tiers.crd.projectcalico.org}
spec:
  group: crd.projectcalico.org
  scope: Cluster
  names: {kind: Tier, listKind: TierList, plural: tiers, singular: tier}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
"#;
