//! Servers that die, connections that are cut, history that goes away, disks that are full.

use std::time::Duration;

use tortie_store::{Change, Datastore, Error, List, MOST_WRITES, Revision, Write};

use super::help::{PATIENCE, Way, mk_server, read_until};

#[test]
fn nobody_there_is_told_at_once_with_what_to_try() {
    let mut home = mk_server(&[]);
    home.server.kill();
    let error = home.open().get("/k").unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("refused") && error.contains("ETCD_ENDPOINTS"), "{error}");
}

#[test]
fn the_next_server_answers_when_the_first_does_not() {
    let (dead, alive) = (mk_server(&[]), mk_server(&[]));
    let mut options = dead.options();
    options.endpoints.extend(alive.options().endpoints);
    drop(dead);
    let store = tortie_store::etcd::Etcd::open(options).unwrap();
    store.create("/k", b"v").unwrap();
    assert!(alive.open().get("/k").unwrap().is_some());
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_and_a_watch_repeats_nothing() {
    let mut home = mk_server(&[]);
    let store = home.open();
    let mut watch = store.watch("/k/", store.revision().unwrap()).unwrap();
    let writer = home.open();
    let writing = std::thread::spawn(move || {
        let mut said = Vec::new();
        for number in 0..600 {
            let key = format!("/k/{number:04}");
            match writer.create(&key, b"v") {
                Ok(_) => said.push(key),
                Err(Error::Unknown { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        writer.create("/k/end", b"").unwrap();
        said
    });
    let mut seen: Vec<Change> = Vec::new();
    for kill_behind in [100, 200, 300] {
        while seen.len() < kill_behind {
            match watch.next(PATIENCE) {
                Ok(changes) => seen.extend(changes),
                Err(error) => assert!(matches!(error, Error::Unavailable { .. }), "{error}"),
            }
        }
        home.server.kill();
        home.server.restart().unwrap();
    }
    let acknowledged = writing.join().unwrap();
    seen.extend(read_until(&mut *watch, "/k/end"));
    let listed = store.list_all("/k/").unwrap().items;
    let mut found: Vec<(Revision, &str)> = listed.iter().map(|kv| (kv.revision, kv.key.as_str())).collect();
    found.sort_unstable();
    let told: Vec<(Revision, &str)> = seen.iter().map(|change| (change.revision(), change.key())).collect();
    assert_eq!(told, found, "the watch saw something else than what is there");
    for key in &acknowledged {
        assert!(found.iter().any(|(_, stored)| stored == key), "{key} was acknowledged and is gone");
    }
    assert!(acknowledged.len() > 500, "each kill costs one write, not {}", 600 - acknowledged.len());
}

#[test]
fn a_watch_that_was_cut_off_says_so_once_and_goes_on_where_it_was() {
    let home = mk_server(&[]);
    let way = Way::to(&home.server.endpoint());
    let store =
        tortie_store::etcd::Etcd::open(tortie_store::etcd::Options::new(vec![way.endpoint.clone()])).unwrap();
    let mut watch = store.watch("/k/", store.revision().unwrap()).unwrap();
    let other = home.open();
    other.create("/k/1", b"").unwrap();
    assert_eq!(read_until(&mut *watch, "/k/1").len(), 1);
    way.cut();
    other.create("/k/2", b"").unwrap();
    other.delete("/k/1", None).unwrap();
    let outcome = watch.next(PATIENCE);
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    assert_eq!(watch.next(Duration::from_millis(10)).unwrap(), [], "an outage is told once");
    other.create("/k/3", b"").unwrap();
    way.heal();
    let seen = read_until(&mut *watch, "/k/3");
    let keys: Vec<&str> = seen.iter().map(Change::key).collect();
    assert_eq!(keys, ["/k/2", "/k/1", "/k/3"]);
}

#[test]
fn a_watch_whose_history_was_compacted_while_it_was_cut_off_says_so() {
    let mut home = mk_server(&[]);
    let way = Way::to(&home.server.endpoint());
    let store =
        tortie_store::etcd::Etcd::open(tortie_store::etcd::Options::new(vec![way.endpoint.clone()])).unwrap();
    let mut watch = store.watch("/k/", store.revision().unwrap()).unwrap();
    way.cut();
    home.server.kill();
    home.server.restart().unwrap();
    let other = home.open();
    let first = other.create("/k/1", b"").unwrap();
    let second = other.put("/k/1", b"").unwrap();
    other.compact(second).unwrap();
    way.heal();
    let outcome = loop {
        match watch.next(PATIENCE) {
            Err(Error::Unavailable { .. }) => {}
            outcome => break outcome,
        }
    };
    assert!(
        matches!(outcome, Err(Error::Compacted { asked, oldest }) if asked < first && oldest == second),
        "{outcome:?}"
    );
}

#[test]
fn a_write_that_was_sent_and_not_answered_is_unknown() {
    let home = mk_server(&[]);
    let way = Way::to(&home.server.endpoint());
    let mut options = tortie_store::etcd::Options::new(vec![way.endpoint.clone()]);
    options.patience = Duration::from_millis(300);
    let store = tortie_store::etcd::Etcd::open(options).unwrap();
    store.create("/k", b"").unwrap();
    way.cut();
    let outcome = store.create("/l", b"");
    assert!(matches!(outcome, Err(Error::Unknown { .. })), "{outcome:?}");
    let outcome = store.get("/k");
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    way.heal();
    assert!(store.get("/k").unwrap().is_some());
}

#[test]
fn a_full_etcd_is_explained_still_read_and_goes_on_when_there_is_room() {
    let home = mk_server(&["--quota-backend-bytes=6000000"]);
    let store = home.open();
    let big = vec![b'x'; 200_000];
    let error = (0..100).find_map(|_| store.put("/big", &big).err()).expect("it is never full");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let said = error.to_string();
    for word in ["NOSPACE", "etcdctl compact", "etcdctl defrag", "etcdctl alarm disarm"] {
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(store.get("/big").unwrap().unwrap().value, big);
    let current = store.revision().unwrap();
    home.gateway("/v3/kv/compaction", &format!(r#"{{"revision":{current},"physical":true}}"#));
    home.gateway("/v3/maintenance/defragment", "{}");
    let alarms = home.gateway("/v3/maintenance/alarm", r#"{"action":"GET"}"#);
    let member = alarms.split(r#""memberID":""#).nth(1).unwrap().split('"').next().unwrap();
    let disarm = format!(r#"{{"action":"DEACTIVATE","alarm":"NOSPACE","memberID":"{member}"}}"#);
    home.gateway("/v3/maintenance/alarm", &disarm);
    store.put("/small", b"v").unwrap();
}

#[test]
fn what_etcd_will_never_take_is_refused() {
    let home = mk_server(&[]);
    let store = home.open();
    let error = store.put("/k", &vec![0; 2_000_000]).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(error.to_string().contains("--max-request-bytes"), "{error}");
    let many: Vec<Write> = (0..=MOST_WRITES).map(|number| Write::put(&format!("/{number}"), b"")).collect();
    let error = store.write_all(&many).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(store.list(&List::prefix("")).unwrap().items, []);
}
