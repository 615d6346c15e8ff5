//! One writer, one key at a time: what each call answers, and which keys a list has.

use super::{Backend, Check};
use crate::{Error, Expect, KeyValue, List, Listing, Read, Revision, Write};

pub const CHECKS: &[Check] = &[
    ("several writes are made together or not at all", together),
    ("several writes are made each by itself", each),
    ("many keys and prefixes are read at once", read_at_once),
    ("a key is created, read, updated and deleted", create_read_update_delete),
    ("a write that cannot be done says why and changes nothing", refusals),
    ("writing the same value again is a new revision", rewriting),
    ("values are bytes of any kind and length", values_are_bytes),
    ("a list has the keys of its prefix and no others, sorted", prefixes),
    ("what was written is there when opened again", reopened),
    ("what waits for the disk later is read by all at once", deferred),
];

fn create_read_update_delete(backend: &dyn Backend) {
    let (store, nature) = (backend.open(&backend.fresh()), backend.nature());
    let start = store.revision().unwrap();
    assert_eq!(store.get("/k").unwrap(), None);
    let created = store.create("/k", b"one").unwrap();
    nature.follows(start, created, 1);
    let kv = |value: &[u8], revision, create_revision| KeyValue {
        key: "/k".into(),
        value: value.into(),
        revision,
        create_revision: nature.created(create_revision),
    };
    assert_eq!(store.get("/k").unwrap(), Some(kv(b"one", created, created)));
    let updated = store.update("/k", b"two", created).unwrap();
    nature.follows(created, updated, 1);
    assert_eq!(store.get("/k").unwrap(), Some(kv(b"two", updated, created)));
    let put = store.put("/k", b"three").unwrap();
    assert_eq!(store.delete("/k", Some(put)).unwrap(), kv(b"three", put, created));
    assert_eq!(store.get("/k").unwrap(), None);
    nature.follows(start, store.revision().unwrap(), 4);
    let again = store.put("/k", b"four").unwrap();
    assert_eq!(store.get("/k").unwrap(), Some(kv(b"four", again, again)));
    assert_eq!(store.delete("/k", None).unwrap(), kv(b"four", again, again));
}

fn each(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    assert!(store.write_each(&[]).is_empty());
    let (one, two) = (store.create("/one", b"1").unwrap(), store.create("/two", b"2").unwrap());
    let mut writes: Vec<Write> = (0..40).map(|at| Write::create(&format!("/new/{at:02}"), b"n")).collect();
    writes.insert(7, Write::create("/one", b"x"));
    writes.insert(23, Write::update("/two", b"two", two));
    writes.push(Write::delete("/gone", None));
    let mut written = store.write_each(&writes);
    assert!(matches!(written.remove(42), Err(Error::NotFound { key }) if key == "/gone"));
    assert!(
        matches!(written.remove(7), Err(Error::Exists { key, found }) if (key.as_str(), found) == ("/one", one))
    );
    writes.remove(42);
    writes.remove(7);
    for (write, written) in writes.iter().zip(written) {
        let stands = store.get(&write.key).unwrap().unwrap();
        assert_eq!((Some(stands.value), stands.revision), (write.value.clone(), written.unwrap()));
    }
    assert_eq!(store.get("/one").unwrap().unwrap().value, b"1");
}

fn refusals(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let first = store.create("/k", b"one").unwrap();
    let second = store.update("/k", b"two", first).unwrap();
    let before = store.revision().unwrap();
    match store.create("/k", b"x") {
        Err(Error::Exists { key, found }) => assert_eq!((key.as_str(), found), ("/k", second)),
        other => panic!("{other:?}"),
    }
    for outcome in [
        store.update("/k", b"x", first).map(|_| ()),
        store.delete("/k", Some(first)).map(|_| ()),
        store.update("/k", b"x", Revision(second.0 + 1)).map(|_| ()),
        store.update("/k", b"x", Revision::ZERO).map(|_| ()),
    ] {
        match outcome {
            Err(Error::Conflict { key, expected, found }) => {
                assert_eq!((key.as_str(), found), ("/k", second));
                assert_ne!(expected, second);
            }
            other => panic!("{other:?}"),
        }
    }
    for outcome in [
        store.update("/none", b"x", first).map(|_| ()),
        store.delete("/none", None).map(|_| ()),
        store.delete("/none", Some(first)).map(|_| ()),
    ] {
        assert!(matches!(&outcome, Err(Error::NotFound { key }) if key == "/none"), "{outcome:?}");
    }
    backend.nature().untouched(&*store, before);
    assert_eq!(store.get("/k").unwrap().unwrap().value, b"two");
    store.delete("/k", None).unwrap();
    assert!(matches!(store.update("/k", b"x", second), Err(Error::NotFound { .. })));
    assert!(matches!(store.delete("/k", None), Err(Error::NotFound { .. })));
}

fn rewriting(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let first = store.put("/k", b"same").unwrap();
    let second = store.put("/k", b"same").unwrap();
    let third = store.update("/k", b"same", second).unwrap();
    let nature = backend.nature();
    nature.follows(first, second, u64::from(nature.rewrites));
    nature.follows(second, third, u64::from(nature.rewrites));
    assert_eq!(store.get("/k").unwrap().unwrap().create_revision, nature.created(first));
}

fn values_are_bytes(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let all: Vec<u8> = (0..=255).collect();
    let big = vec![7; 1_000_000];
    for (key, value) in
        [("/empty", &[][..]), ("/all", &all), ("/big", &big), ("/json", "{\"a\":\"\u{e4}\0\"}".as_bytes())]
    {
        store.create(key, value).unwrap();
        assert_eq!(store.get(key).unwrap().unwrap().value, value, "{key}");
    }
    assert_eq!(store.list(&List::prefix("/")).unwrap().items.len(), 4);
}

fn prefixes(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let keys = [
        "/a",
        "/a/",
        "/a/%",
        "/a/_",
        "/a/b",
        "/a/b/c",
        "/a/b/c/d",
        "/a/b0",
        "/a/bc",
        "/a/B",
        "/a/\u{10ffff}",
        "/a/\u{10ffff}x",
        "/a/\u{e4}",
        "/a/\u{d7ff}",
        "/a/\u{e000}",
        "/a0",
        "/b",
        "b",
    ];
    for key in keys {
        store.create(key, key.as_bytes()).unwrap();
    }
    store.create("/a/gone", b"").unwrap();
    store.delete("/a/gone", None).unwrap();
    for prefix in
        ["", "/", "/a", "/a/", "/a/b", "/a/b/", "/a/_", "/a/%", "/a/\u{10ffff}", "/a/\u{d7ff}", "/c", "b"]
    {
        let mut expected: Vec<&str> = keys.iter().copied().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        let listing = store.list(&List::prefix(prefix)).unwrap();
        assert!(!listing.more);
        backend.nature().untouched(&*store, listing.revision);
        let found: Vec<&str> = listing.items.iter().map(|kv| kv.key.as_str()).collect();
        assert_eq!(found, expected, "prefix {prefix:?}");
        assert!(listing.items.iter().all(|kv| kv.value == kv.key.as_bytes()));
    }
}

fn reopened(backend: &dyn Backend) {
    let place = backend.fresh();
    let store = backend.open(&place);
    let revision = store.create("/k", b"v").unwrap();
    store.create("/gone", b"v").unwrap();
    store.delete("/gone", None).unwrap();
    let current = store.revision().unwrap();
    // The newest entry of the history goes away; the revision must not go back with it.
    store.compact(current).unwrap();
    drop(store);
    let store = backend.open(&place);
    backend.nature().untouched(&*store, current);
    assert_eq!(store.get("/k").unwrap().unwrap().revision, revision);
    backend.nature().follows(current, store.create("/gone", b"v").unwrap(), 1);
}

fn deferred(backend: &dyn Backend) {
    let place = backend.fresh();
    let (store, other) = (backend.open(&place), backend.open(&place));
    // A datastore without has nothing to show here: each of its writes waits.
    let Some(hasty) = store.deferred() else { return };
    let first = hasty.create("/k/1", b"one").unwrap();
    let second = store.create("/k/2", b"two").unwrap();
    assert!(first < second, "they are one datastore");
    for reader in [&*store, &*other, &*hasty] {
        assert_eq!(reader.list(&List::prefix("/k/")).unwrap().items.len(), 2);
    }
    assert!(matches!(hasty.create("/k/2", b"x"), Err(Error::Exists { .. })));
    hasty.delete("/k/1", Some(first)).unwrap();
    store.persist().unwrap();
    hasty.persist().unwrap();
    drop((store, hasty, other));
    let found = backend.open(&place).list(&List::prefix("/k/")).unwrap().items;
    assert_eq!(found.iter().map(|kv| kv.value.as_slice()).collect::<Vec<_>>(), [b"two"]);
}

fn read_at_once(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    let nature = backend.nature();
    let written: Vec<Revision> =
        ["/a", "/b", "/c"].iter().map(|key| store.create(key, key.as_bytes()).unwrap()).collect();
    let keys = ["/a", "/b", "/none", "/c", "/gone"].map(str::to_owned);
    let read = store.get_all(&keys).unwrap();
    let seen: Vec<Option<(&[u8], Revision)>> =
        read.iter().map(|kv| kv.as_ref().map(|kv| (kv.value.as_slice(), kv.revision))).collect();
    let expected: [Option<(&[u8], Revision)>; 5] =
        [Some((b"/a", written[0])), Some((b"/b", written[1])), None, Some((b"/c", written[2])), None];
    assert_eq!(seen, expected);
    let reads = [Read::Key("/b".into()), Read::Prefix("/".into()), Read::Key("/none".into())];
    let read = store.read_all(&reads).unwrap();
    assert!(read.iter().all(|listing| !listing.more));
    read.iter().for_each(|listing| nature.untouched(&*store, listing.revision));
    let names =
        |listing: &Listing| listing.items.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(read.iter().map(names).collect::<Vec<_>>(), ["/b", "/a /b /c", ""]);
    assert_eq!(read[1].items, store.list_all("").unwrap().items);
    assert_eq!(store.read_all(&[]).unwrap(), []);
    let keys: Vec<String> = (0..1_000).map(|number| format!("/many/{number:03}")).collect();
    for number in 0..30 {
        store.create(&keys[number * 30], b"v").unwrap();
    }
    let found = store.get_all(&keys).unwrap();
    assert_eq!(found.iter().flatten().count(), 30);
    assert!(found.iter().flatten().enumerate().all(|(number, kv)| kv.key == keys[number * 30]));
}

fn together(backend: &dyn Backend) {
    let store = backend.open(&backend.fresh());
    assert_eq!(store.write_all(&[]).unwrap(), []);
    let one = store.write_one(Write::create("/one", b"1")).unwrap();
    assert_eq!(store.get("/one").unwrap().unwrap().revision, one);
    assert!(matches!(store.write_one(Write::create("/one", b"1")), Err(Error::Exists { .. })));
    store.delete("/one", Some(one)).unwrap();
    if store.most_writes() == 1 {
        let two = [Write::create("/a", b"1"), Write::create("/b", b"1")];
        assert!(store.write_all(&two).is_err(), "it says that it writes one at a time");
        assert_eq!(store.list(&List::prefix("/")).unwrap().items, []);
        return;
    }
    let first = store.create("/a", b"1").unwrap();
    let gone = store.create("/gone", b"1").unwrap();
    let done = store.write_all(&[
        Write::update("/a", b"2", first),
        Write::create("/b", b"1"),
        Write::put("/c", b"1"),
        Write::delete("/gone", Some(gone)),
    ]);
    let done = done.unwrap();
    assert_eq!(done.len(), 4);
    let keys = ["/a", "/b", "/none", "/c", "/gone"].map(str::to_owned);
    let read = store.get_all(&keys).unwrap();
    let seen: Vec<Option<(&[u8], Revision)>> =
        read.iter().map(|kv| kv.as_ref().map(|kv| (kv.value.as_slice(), kv.revision))).collect();
    let expected: [Option<(&[u8], Revision)>; 5] =
        [Some((b"2", done[0])), Some((b"1", done[1])), None, Some((b"1", done[2])), None];
    assert_eq!(seen, expected);
    let before = store.revision().unwrap();
    let fine = Write::put("/new", b"x");
    for (write, expected) in [
        (Write::create("/a", b"x"), "/a already exists"),
        (Write::update("/a", b"x", first), "/a was changed by someone else"),
        (Write::update("/none", b"x", first), "/none does not exist"),
        (Write::update("/none", b"x", Revision::ZERO), "/none does not exist"),
        (Write::delete("/none", None), "/none does not exist"),
        (Write { key: "/none".into(), value: None, expect: Expect::Anything }, "/none does not exist"),
        (Write::delete("/a", Some(first)), "/a was changed by someone else"),
    ] {
        let error = store.write_all(&[fine.clone(), write]).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(store.revision().unwrap(), before, "half a transaction was written");
    assert_eq!(store.get("/new").unwrap(), None);
    let many: Vec<Write> =
        (0..store.most_writes()).map(|number| Write::create(&format!("/many/{number:03}"), b"v")).collect();
    store.write_all(&many).unwrap();
    let keys: Vec<String> = (0..1_000).map(|number| format!("/many/{number:03}")).collect();
    let found = store.get_all(&keys).unwrap();
    assert_eq!(found.iter().flatten().count(), many.len());
    assert!(found[many.len() - 1].is_some() && found[many.len()].is_none());
}
