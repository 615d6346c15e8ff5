//! The past: lists at an old revision, pages, compaction; against a model that keeps everything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Backend, Check, Dice, Nature, read_until};
use crate::{Change, Datastore, Error, KeyValue, Layer, List, Listing, Revision};

pub const CHECKS: &[Check] = &[
    ("every past state and every range of changes is as a model has it", model),
    ("pages of a list are of one revision, whatever is written meanwhile", pages),
    ("list_all is of one revision, and begins again if a compaction takes its history away", list_all),
    ("after a compaction the old is refused, the rest goes on", compaction),
];

/// All states that a datastore has had, and all changes.
#[derive(Default)]
struct Model {
    states: BTreeMap<Revision, BTreeMap<String, KeyValue>>,
    changes: Vec<Change>,
}

impl Model {
    fn note(&mut self, change: Change) {
        let mut state = self.states.last_key_value().map(|(_, state)| state.clone()).unwrap_or_default();
        match &change {
            Change::Put(kv) => drop(state.insert(kv.key.clone(), kv.clone())),
            Change::Delete { key, .. } => drop(state.remove(key)),
        }
        self.states.insert(change.revision(), state);
        self.changes.push(change);
    }

    fn state(&self, at: Revision, prefix: &str) -> Vec<KeyValue> {
        let state = self.states.range(..=at).next_back().unwrap().1;
        state.values().filter(|kv| kv.key.starts_with(prefix)).cloned().collect()
    }

    fn current(&self) -> BTreeMap<String, KeyValue> {
        self.states.last_key_value().unwrap().1.clone()
    }
}

/// A random write to datastore and model.
fn step(store: &dyn Datastore, nature: Nature, model: &mut Model, dice: &mut Dice) {
    let key = format!("/{}/{}", ["a", "b"][dice.roll(2)], dice.roll(6));
    // Never the same twice: not every datastore takes that for a write.
    let value = format!("{}, {}", model.changes.len(), dice.roll(1000)).into_bytes();
    let now = model.current().get(&key).cloned();
    let change = match (now, dice.roll(3)) {
        (None, _) => {
            let revision = store.create(&key, &value).unwrap();
            Change::Put(KeyValue { key, value, revision, create_revision: nature.created(revision) })
        }
        (Some(kv), 0) => {
            assert_eq!(store.delete(&key, Some(kv.revision)).unwrap(), kv);
            // Where others write too this is not before it, and before the next of ours.
            let revision = match nature.is_alone {
                true => Revision(model.states.last_key_value().unwrap().0.0 + 1),
                false => store.revision().unwrap(),
            };
            Change::Delete { key, revision }
        }
        (Some(kv), 1) => {
            let revision = store.update(&key, &value, kv.revision).unwrap();
            Change::Put(KeyValue { key, value, revision, create_revision: kv.create_revision })
        }
        (Some(kv), _) => {
            let revision = store.put(&key, &value).unwrap();
            Change::Put(KeyValue { key, value, revision, create_revision: kv.create_revision })
        }
    };
    model.note(change);
}

/// Whether these are the same changes, as far as it is known when a deletion was.
fn same(nature: Nature, seen: &[Change], expected: &[Change]) -> bool {
    let is_same = |(seen, expected): (&Change, &Change)| match (seen, expected) {
        (Change::Delete { key, revision }, Change::Delete { key: other, revision: upto })
            if !nature.is_alone =>
        {
            key == other && revision <= upto
        }
        (seen, expected) => seen == expected,
    };
    seen.len() == expected.len() && seen.iter().zip(expected).all(is_same)
}

fn model(backend: &dyn Backend) {
    let (store, nature) = (&*backend.open(&backend.fresh()), backend.nature());
    let mut model = Model::default();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let start = store.put("/start", b"").unwrap();
    model.note(Change::Put(store.get("/start").unwrap().unwrap()));
    let mut oldest = start;
    for round in 0..5 {
        for _ in 0..40 {
            step(store, nature, &mut model, &mut dice);
        }
        let current = store.revision().unwrap();
        let known: Vec<Revision> = model.states.range(oldest..).map(|(at, _)| *at).collect();
        for at in known.into_iter().chain([current]) {
            for prefix in ["", "/a/", "/b/", "/start"] {
                let list = List { at: Some(at), ..List::prefix(prefix) };
                let listing = store.list(&list).unwrap();
                assert_eq!(listing.items, model.state(at, prefix), "{prefix:?} at {at}, round {round}");
            }
            let expected: Vec<Change> = model
                .changes
                .iter()
                .filter(|change| change.revision() > at && change.key().starts_with("/a/"))
                .cloned()
                .collect();
            if let Some(last) = expected.last() {
                let mut watch = store.watch("/a/", at).unwrap();
                let mut seen = Vec::new();
                while seen.len() < expected.len() {
                    seen.extend(read_until(&mut *watch, last.key()));
                }
                assert!(
                    same(nature, &seen, &expected),
                    "after {at}, round {round}: {seen:?}, not {expected:?}"
                );
            }
        }
        // Not all of it, so that the next round walks over the seam.
        let upto = Revision(oldest.0 + u64::try_from(dice.roll(50)).unwrap()).min(current);
        store.compact(upto).unwrap();
        oldest = oldest.max(upto);
        assert_eq!(store.list(&List::prefix("")).unwrap().items, model.state(current, ""));
    }
}

fn pages(backend: &dyn Backend) {
    let store = &*backend.open(&backend.fresh());
    for number in 0..50 {
        store.create(&format!("/k/{number:02}"), b"old").unwrap();
    }
    store.create("/l", b"").unwrap();
    let expected = store.list(&List::prefix("/k/")).unwrap();
    let mut list = List { limit: Some(7), ..List::prefix("/k/") };
    let mut revision = None;
    let mut items = Vec::new();
    loop {
        let page = store.list(&list).unwrap();
        backend.nature().follows(expected.revision, page.revision, 0);
        assert_eq!(page.revision, *revision.get_or_insert(page.revision));
        assert_eq!(page.more, items.len() + page.items.len() < 50, "after {} items", items.len());
        assert_eq!(page.items.len(), if page.more { 7 } else { 1 });
        items.extend(page.items);
        if !page.more {
            break;
        }
        list.at = Some(page.revision);
        list.after = Some(items.last().unwrap().key.clone());
        // Behind the page, in it and before it: changed, deleted, created, deleted and created anew.
        let here = items.len();
        store.put(&format!("/k/{:02}", 49 - here % 20), b"new").unwrap();
        store.delete(&format!("/k/{:02}", here - 2), None).unwrap();
        store.delete(&format!("/k/{here:02}"), None).unwrap();
        store.create(&format!("/k/{here:02}"), b"new").unwrap();
        store.create(&format!("/k/{here:02}x"), b"new").unwrap();
    }
    assert_eq!(items, expected.items);
    let exact = store.list(&List { limit: Some(1), ..List::prefix("/l") }).unwrap();
    assert!(!exact.more, "a page that is just full says that there is more");
}

/// A datastore that gives small pages, and after some of them is written to and compacted.
struct Restless<'a> {
    store: &'a dyn Datastore,
    pages: AtomicUsize,
}

impl Layer for Restless<'_> {
    fn below(&self) -> &dyn Datastore {
        self.store
    }

    fn page(&self, list: &List) -> crate::Result<Listing> {
        let page = self.store.list(&List { limit: Some(7), ..list.clone() })?;
        // After the second page of the first pass, and of the next.
        if matches!(self.pages.fetch_add(1, Ordering::Relaxed), 1 | 3) {
            self.store.delete("/k/03", None)?;
            self.store.create("/k/03", b"new")?;
            self.store.delete("/k/29", None)?;
            self.store.create("/k/29", b"new")?;
            self.store.compact(self.store.revision()?)?;
        }
        Ok(page)
    }
}

fn list_all(backend: &dyn Backend) {
    let store = &*backend.open(&backend.fresh());
    if !backend.nature().forgets_when_told {
        for number in 0..30 {
            store.create(&format!("/k/{number:02}"), b"v").unwrap();
        }
        assert_eq!(store.list_all("/k/").unwrap().items.len(), 30);
        return;
    }
    for number in 0..30 {
        store.create(&format!("/k/{number:02}"), b"v").unwrap();
    }
    let restless = Restless { store, pages: AtomicUsize::new(0) };
    let listing = restless.list_all("/k/").unwrap();
    assert!(!listing.more);
    assert_eq!(listing.revision, store.revision().unwrap());
    assert_eq!(listing.items, store.list(&List::prefix("/k/")).unwrap().items);
    assert_eq!(listing.items.len(), 30);
    let pages = restless.pages.load(Ordering::Relaxed);
    assert_eq!(pages, 2 + 2 + 5, "two passes were cut off after two pages, the third had five");
}

fn compaction(backend: &dyn Backend) {
    let store = &*backend.open(&backend.fresh());
    if !backend.nature().forgets_when_told {
        let current = store.create("/k", b"1").unwrap();
        assert_eq!(store.compact(current).unwrap(), 0);
        let ahead = List { at: Some(backend.nature().ahead(current)), ..List::prefix("/") };
        assert!(matches!(store.list(&ahead), Err(Error::Future { .. })));
        return;
    }
    let first = store.create("/k", b"1").unwrap();
    store.create("/other", b"1").unwrap();
    let mut lagging = store.watch("/", first).unwrap();
    let second = store.put("/k", b"2").unwrap();
    let third = store.put("/k", b"3").unwrap();
    store.delete("/other", None).unwrap();
    assert!(store.compact(third).unwrap() >= 2, "two versions of /k are obsolete");
    for asked in [Revision::ZERO, first, second] {
        let outcome = store.list(&List { at: Some(asked), ..List::prefix("/") });
        assert!(
            matches!(outcome, Err(Error::Compacted { asked: a, oldest }) if a == asked && oldest == third),
            "{outcome:?}"
        );
        let outcome = store.watch("/", asked).and_then(|mut watch| watch.next(super::PATIENCE));
        assert!(matches!(outcome, Err(Error::Compacted { oldest, .. }) if oldest == third), "{outcome:?}");
    }
    let outcome = lagging.next(super::PATIENCE);
    assert!(matches!(outcome, Err(Error::Compacted { .. })), "a watch that missed changes said {outcome:?}");
    // At the seam itself all is there.
    let at_seam = store.list(&List { at: Some(third), ..List::prefix("/") }).unwrap();
    let values: Vec<(&str, &[u8])> =
        at_seam.items.iter().map(|kv| (kv.key.as_str(), kv.value.as_slice())).collect();
    assert_eq!(values, [("/k", &b"3"[..]), ("/other", b"1")]);
    let mut watch = store.watch("/", third).unwrap();
    let seen = read_until(&mut *watch, "/other");
    assert!(matches!(seen.as_slice(), [Change::Delete { .. }]), "{seen:?}");
    // Once more, to the end, and again: nothing is left to drop, and everything still stands.
    let current = store.revision().unwrap();
    store.compact(current).unwrap();
    assert_eq!(store.compact(current).unwrap(), 0);
    assert_eq!(store.compact(first).unwrap(), 0);
    assert_eq!(store.list(&List::prefix("/")).unwrap().items.len(), 1);
    let outcome = store.compact(Revision(current.0 + 1));
    assert!(matches!(outcome, Err(Error::Future { .. })), "{outcome:?}");
    let outcome = store.list(&List { at: Some(Revision(current.0 + 1)), ..List::prefix("/") });
    assert!(matches!(outcome, Err(Error::Future { .. })), "{outcome:?}");
}
