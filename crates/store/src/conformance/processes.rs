//! Many writers at once, in threads and in processes, and writers that are killed.

use std::collections::BTreeSet;

use super::workers::{self, Worker, describe};
use super::{Backend, Check, assert_rising, read_until};
use crate::{Change, Datastore, Error, List, Revision};

pub const CHECKS: &[Check] = &[
    ("compare-and-swap between threads loses no increment", threads_count),
    ("compare-and-swap between processes loses no increment", processes_count),
    ("of many that create the same key one succeeds", one_creator),
    ("processes may open a new datastore at the same time", opened_together),
    ("all watches see what several processes write: all, once, in one order", watched_processes),
    ("kill -9 of writers loses nothing that was acknowledged", killed_writers),
];

fn number_at(store: &dyn Datastore, key: &str) -> u64 {
    String::from_utf8(store.get(key).unwrap().unwrap().value).unwrap().parse().unwrap()
}

fn threads_count(backend: &dyn Backend) {
    let place = backend.fresh();
    let store = backend.open(&place);
    let start = store.create("/n", b"0").unwrap();
    std::thread::scope(|scope| {
        // Some share an open datastore, some have one of their own.
        for thread in 0..6 {
            let (store, place) = (&store, &place);
            scope.spawn(move || match thread % 2 {
                0 => workers::count(&**store, "/n", 40),
                _ => workers::count(&*backend.open(place), "/n", 40),
            });
        }
    });
    assert_eq!(number_at(&*store, "/n"), 240);
    backend.nature().follows(start, store.revision().unwrap(), 240);
}

fn processes_count(backend: &dyn Backend) {
    let place = backend.fresh();
    let store = backend.open(&place);
    store.create("/n", b"0").unwrap();
    let running: Vec<Worker> = (0..4).map(|_| Worker::start(&format!("count {place} /n 50"))).collect();
    for worker in running {
        worker.finish();
    }
    assert_eq!(number_at(&*store, "/n"), 200);
}

fn one_creator(backend: &dyn Backend) {
    let place = backend.fresh();
    let store = backend.open(&place);
    let start = store.revision().unwrap();
    let created: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    let mut created = 0;
                    for number in 0..50 {
                        match store.create(&format!("/k/{number}"), format!("{thread}").as_bytes()) {
                            Ok(_) => created += 1,
                            Err(Error::Exists { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    created
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(created, 50);
    backend.nature().follows(start, store.revision().unwrap(), 50);
}

fn opened_together(backend: &dyn Backend) {
    for _ in 0..5 {
        let place = backend.fresh();
        let running: Vec<Worker> = (0..6).map(|_| Worker::start(&format!("open {place}"))).collect();
        for worker in running {
            worker.finish();
        }
        let store = backend.open(&place);
        let start = store.revision().unwrap();
        backend.nature().follows(start, store.create("/k", b"").unwrap(), 1);
    }
}

fn watched_processes(backend: &dyn Backend) {
    let place = backend.fresh();
    let store = backend.open(&place);
    let start = store.revision().unwrap();
    let mut here = store.watch("/w/", start).unwrap();
    let mut elsewhere = Worker::start(&format!("watch {place} /w/ /w/end"));
    assert_eq!(elsewhere.line().as_deref(), Some("ready"));
    let writers: Vec<Worker> =
        (0..3).map(|number| Worker::start(&format!("write {place} /w/{number}/ 150"))).collect();
    let acknowledged: BTreeSet<(Revision, String)> = writers
        .into_iter()
        .flat_map(|writer| writer.finish())
        .filter_map(|line| workers::acknowledged(&line))
        .map(|(key, revision)| (revision, key))
        .collect();
    assert_eq!(acknowledged.len(), 450);
    store.put("/w/end", b"").unwrap();
    let seen = read_until(&mut *here, "/w/end");
    assert_rising(&seen);
    let puts: BTreeSet<(Revision, String)> = seen
        .iter()
        .filter(|change| matches!(change, Change::Put(kv) if kv.key != "/w/end"))
        .map(|change| (change.revision(), change.key().to_owned()))
        .collect();
    assert_eq!(puts, acknowledged);
    let deleted = seen.iter().filter(|change| matches!(change, Change::Delete { .. })).count();
    assert_eq!(deleted, 150);
    // The other process, and one that reads it all afterwards, saw the very same.
    let lines: Vec<String> = seen.iter().map(describe).collect();
    assert_eq!(elsewhere.finish(), lines);
    let mut late = store.watch("/w/", start).unwrap();
    assert_eq!(read_until(&mut *late, "/w/end"), seen);
}

fn killed_writers(backend: &dyn Backend) {
    let place = backend.fresh();
    let store = backend.open(&place);
    let mut watch = store.watch("/", store.revision().unwrap()).unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..12 {
        let mut writers: Vec<Worker> =
            (0..3).map(|number| Worker::start(&format!("write {place} /{round}/{number}/ 0"))).collect();
        // Each gets to write a different number before it dies in the middle of whatever it does.
        for (number, writer) in writers.iter_mut().enumerate() {
            for _ in 0..5 + round * 3 + number {
                acknowledged.push(writer.line().unwrap());
            }
        }
        for writer in writers {
            acknowledged.extend(writer.kill());
        }
    }
    let deleting: BTreeSet<&str> =
        acknowledged.iter().filter_map(|line| line.strip_prefix("deleting ")).collect();
    let deleted: BTreeSet<&str> =
        acknowledged.iter().filter_map(|line| line.strip_prefix("delete ")).collect();
    let puts: Vec<(String, Revision)> =
        acknowledged.iter().filter_map(|line| workers::acknowledged(line)).collect();
    assert!(puts.len() > 300, "too little was written to prove anything: {}", puts.len());
    for (key, revision) in &puts {
        match store.get(key).unwrap() {
            Some(kv) => {
                assert_eq!((kv.revision, kv.value.as_slice()), (*revision, key.as_bytes()));
                assert!(!deleted.contains(key.as_str()), "{key} is back");
            }
            None => assert!(deleting.contains(key.as_str()), "{key} was acknowledged and is lost"),
        }
    }
    backend.verify(&place);
    // Whoever watched has seen every write too, told or not.
    store.put("/end", b"").unwrap();
    let seen = read_until(&mut *watch, "/end");
    assert_rising(&seen);
    let seen: BTreeSet<(&str, Revision)> = seen
        .iter()
        .filter(|change| matches!(change, Change::Put(_)))
        .map(|change| (change.key(), change.revision()))
        .collect();
    for (key, revision) in &puts {
        assert!(seen.contains(&(key.as_str(), *revision)), "the watch missed {key} at {revision}");
    }
    let now = store.list(&List::prefix("/")).unwrap();
    assert!(now.items.iter().all(|kv| seen.contains(&(kv.key.as_str(), kv.revision))));
}
