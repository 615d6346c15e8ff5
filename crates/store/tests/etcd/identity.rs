//! Who answers, and who asks: another cluster behind the same address, users and passwords.

use std::sync::Arc;

use tortie_store::resources::Client;
use tortie_store::{Datastore, Error, Watch};

use super::help::{Home, PATIENCE, mk_server};

/// Another life at the same address: nothing of the old data.
fn replace(home: &mut Home) {
    home.server.kill();
    std::fs::remove_dir_all(home.directory.path().join("data")).unwrap();
    home.server.restart().unwrap();
}

fn last(watch: &mut dyn Watch) -> Error {
    loop {
        match watch.next(PATIENCE) {
            Ok(changes) => assert_eq!(changes, []),
            Err(Error::Unavailable { .. }) => {}
            Err(error) => return error,
        }
    }
}

#[test]
fn a_history_that_went_back_is_recognised() {
    let mut home = mk_server(&[]);
    let store = home.open();
    let mut watch = store.watch("/", store.create("/k", b"").unwrap()).unwrap();
    replace(&mut home);
    let error = last(&mut *watch);
    assert!(matches!(error, Error::Replaced { .. }), "{error}");
    for outcome in [store.get("/k").map(drop), store.revision().map(drop), store.put("/k", b"").map(drop)] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Replaced { .. }), "{error}");
    }
    // Opened again it is a datastore like any other.
    assert_eq!(home.open().get("/none").unwrap(), None);
}

#[test]
fn another_cluster_is_recognised_although_it_has_more_history() {
    let mut home = mk_server(&["--initial-cluster-token=one"]);
    let store = home.open();
    store.create("/k", b"").unwrap();
    let address = home.server.endpoint();
    home.server.kill();
    std::fs::remove_dir_all(home.directory.path().join("data")).unwrap();
    home.server.restart_with(&["--initial-cluster-token=two"]).unwrap();
    let new = tortie_store::etcd::Etcd::open(tortie_store::etcd::Options::new(vec![address])).unwrap();
    for number in 0..10 {
        new.create(&format!("/k/{number}"), b"").unwrap();
    }
    let error = store.get("/k").unwrap_err();
    assert!(matches!(error, Error::Replaced { .. }), "{error}");
}

#[test]
fn a_user_needs_its_password_and_its_rights() {
    let home = mk_server(&[]);
    for (path, json) in [
        ("/v3/auth/user/add", r#"{"name":"root","password":"r"}"#),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/user/add", r#"{"name":"calico","password":"secret"}"#),
        ("/v3/auth/role/add", r#"{"name":"calico"}"#),
        // /calico/ to /calico0, in base64.
        (
            "/v3/auth/role/grant",
            r#"{"name":"calico","perm":{"permType":"READWRITE","key":"L2NhbGljby8=","range_end":"L2NhbGljbzA="}}"#,
        ),
        ("/v3/auth/user/grant", r#"{"user":"calico","role":"calico"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        home.gateway(path, json);
    }
    let open = |user: Option<(&str, &str)>| {
        let mut options = home.options();
        options.user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
        tortie_store::etcd::Etcd::open(options).unwrap()
    };
    let store = open(Some(("calico", "secret")));
    let revision = store.create("/calico/k", b"v").unwrap();
    let mut watch = store.watch("/calico/", revision).unwrap();
    store.put("/calico/k", b"w").unwrap();
    assert_eq!(watch.next(PATIENCE).unwrap().len(), 1);
    // What must not all be read together is read by itself.
    let ahead =
        Client::new(Arc::new(store.clone())).ahead(vec!["/calico/k".into(), "/other".into()]).unwrap();
    assert_eq!(ahead.store().get("/calico/k").unwrap().unwrap().value, b"w");
    for (store, key, hint) in [
        (open(None), "/calico/k", "ETCD_USERNAME"),
        (open(Some(("calico", "wrong"))), "/calico/k", "ETCD_PASSWORD"),
        (store, "/other", "begin with /calico/"),
    ] {
        let error = store.get(key).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}
