//! Watches: what they report, when they wake, and what they ignore.

use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::workers::Worker;
use super::{Backend, Check, PATIENCE, assert_rising, read_until};
use crate::{Change, Error};

pub const CHECKS: &[Check] = &[
    ("a watch reports what comes after a revision, past and future", past_and_future),
    ("a watch reports its prefix only", only_the_prefix),
    ("a watch of a quiet prefix survives a compaction of the rest", quiet_prefix),
    ("a watch with nothing to say returns after its timeout", timeout),
    ("a watch from the future is refused", future),
    ("the descriptor polls readable when another process has written", descriptor),
    ("a watch that is behind by thousands reports all, in order", far_behind),
];

fn past_and_future(backend: &dyn Backend) {
    let (place, nature) = (backend.fresh(), backend.nature());
    let store = backend.open(&place);
    let first = store.create("/k", b"1").unwrap();
    let second = store.put("/k", b"2").unwrap();
    let mut watch = store.watch("/", first).unwrap();
    match read_until(&mut *watch, "/k").as_slice() {
        [Change::Put(kv)] => {
            assert_eq!(
                (kv.value.as_slice(), kv.revision, kv.create_revision),
                (&b"2"[..], second, nature.created(first))
            );
        }
        other => panic!("{other:?}"),
    }
    let other = backend.open(&place);
    other.delete("/k", None).unwrap();
    match read_until(&mut *watch, "/k").as_slice() {
        [Change::Delete { key, revision }] if key == "/k" => nature.follows(second, *revision, 1),
        other => panic!("{other:?}"),
    }
    let created = other.create("/k", b"3").unwrap();
    match read_until(&mut *watch, "/k").as_slice() {
        [Change::Put(kv)] => {
            assert_eq!((kv.revision, kv.create_revision), (created, nature.created(created)))
        }
        other => panic!("{other:?}"),
    }
}

fn only_the_prefix(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let start = store.revision().unwrap();
    for key in ["/a/1", "/b/1", "/a", "/a0", "/a/2", "/A/1", "/a/last"] {
        store.put(key, b"").unwrap();
    }
    let mut watch = store.watch("/a/", start).unwrap();
    let seen = read_until(&mut *watch, "/a/last");
    let keys: Vec<&str> = seen.iter().map(Change::key).collect();
    assert_eq!(keys, ["/a/1", "/a/2", "/a/last"]);
}

fn quiet_prefix(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let mut watch = store.watch("/quiet/", store.revision().unwrap()).unwrap();
    for number in 0..20 {
        store.put("/loud", number.to_string().as_bytes()).unwrap();
    }
    assert_eq!(watch.next(Duration::ZERO).unwrap(), []);
    store.compact(store.revision().unwrap()).unwrap();
    store.put("/quiet/k", b"").unwrap();
    assert_eq!(read_until(&mut *watch, "/quiet/k").len(), 1);
}

fn timeout(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let mut watch = store.watch("/", store.revision().unwrap()).unwrap();
    let start = Instant::now();
    assert_eq!(watch.next(Duration::from_millis(30)).unwrap(), []);
    assert!(start.elapsed() >= Duration::from_millis(30), "it came back too early");
    assert_eq!(watch.next(Duration::ZERO).unwrap(), []);
}

fn future(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let current = store.put("/k", b"").unwrap();
    let nature = backend.nature();
    let asked = nature.ahead(current);
    match store.watch("/", asked).and_then(|mut watch| watch.next(PATIENCE)) {
        Err(Error::Future { asked: a, current: c }) if a == asked => nature.follows(current, c, 0),
        other => panic!("{other:?}"),
    }
}

fn descriptor(backend: &dyn Backend) {
    let place = backend.fresh();
    let store = backend.open(&place);
    let mut watch = store.watch("/", store.revision().unwrap()).unwrap();
    let worker = Worker::start(&format!("write {place} /k/ 1"));
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    // As an event loop does it: poll, then call without waiting. It may wake for nothing, but never sleep over a change.
    while seen.is_empty() {
        let mut fds = [PollFd::new(watch.fd(), PollFlags::POLLIN)];
        let left = deadline.saturating_duration_since(Instant::now());
        let ready = poll(&mut fds, PollTimeout::try_from(left).unwrap()).unwrap();
        assert_eq!(ready, 1, "the descriptor stayed silent");
        seen = watch.next(Duration::ZERO).unwrap();
    }
    assert_eq!(seen[0].key(), "/k/0");
    worker.finish();
}

fn far_behind(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let start = store.revision().unwrap();
    let mut watch = store.watch("/k/", start).unwrap();
    for number in 0..2_500 {
        store.put(&format!("/k/{number}"), b"").unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 2_500 {
        let mut fds = [PollFd::new(watch.fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::try_from(PATIENCE).unwrap()).unwrap(), 1);
        seen.extend(watch.next(Duration::ZERO).unwrap());
    }
    assert_rising(&seen);
    assert_eq!(seen.len(), 2_500);
    assert_eq!(seen[2_499].key(), "/k/2499");
}
