//! Transactions where they aren't one write: what doesn't fit, and others that are always faster.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;

use serde_json::json;
use tortie_ipam::backend::{Backend, Together, Versioned, Write, run, transact, transact_all};
use tortie_ipam::cache::Cache;
use tortie_ipam::machine::Revision;
use tortie_ipam::transaction::{Job, Task};
use tortie_ipam::{AutoAssign, AutoAssigned, Owner, auto_assign, claim_range, release_by_handle};

use crate::support::{Memory, START, mk_handle, mk_pool, mk_reservations, mk_view};

fn mk_request(handle: &str) -> AutoAssign {
    AutoAssign { handle: Some(mk_handle(handle)), ..AutoAssign::workload("node-a") }
}

#[test]
fn an_address_is_one_write_and_with_a_memory_no_read() {
    let view = mk_view(vec![mk_pool("p", "10.0.0.0/24", 26, json!({}))], mk_reservations(&[]));
    let (memory, plain, mut cache) = (Memory::default(), Memory::default(), Cache::new());
    for number in 0..64 {
        memory.reset_counts();
        let machine = || auto_assign(view.clone(), START, mk_request(&format!("net.{number}")));
        let got = transact(machine(), &memory, &mut cache).unwrap();
        assert_eq!(got, run(machine(), &plain).unwrap());
        assert_eq!(memory.writes.get(), 1, "address {number}");
        assert!(number == 0 || memory.reads.get() + memory.lists.get() == 0, "address {number}");
    }
    assert_eq!(memory.json(), plain.json(), "the same records as one by one");
    memory.reset_counts();
    transact(release_by_handle(view, START, mk_handle("net.7")), &memory, &mut cache).unwrap().unwrap();
    assert_eq!(memory.writes.get(), 1);
}

#[test]
fn what_does_not_fit_is_written_in_its_order_with_the_same_end() {
    let view = mk_view(vec![mk_pool("p", "10.0.0.0/24", 32, json!({}))], mk_reservations(&[]));
    let (together, plain) = (Memory::default(), Memory::default());
    let claims = || claim_range(view.clone(), START, "10.0.0.0/25".parse().unwrap(), Owner::host("node-a"));
    let got = transact(claims(), &together, &mut Cache::new()).unwrap().unwrap();
    assert_eq!(got.claimed.len(), 128);
    run(claims(), &plain).unwrap().unwrap();
    assert_eq!(together.json(), plain.json());
    assert!(together.writes.get() > 1 && together.writes.get() < plain.writes.get());

    // With another it is done apart, and nothing is written before that is known.
    let before = together.json();
    let rest = claim_range(view.clone(), START, "10.0.0.128/25".parse().unwrap(), Owner::host("node-a"));
    let (mut rest, mut one) =
        (Task::new(rest), Task::new(auto_assign(view.clone(), START, mk_request("one"))));
    let mut jobs: [&mut dyn Job; 2] = [&mut one, &mut rest];
    assert_eq!(transact_all(&mut jobs, &together, &mut Cache::new()).unwrap(), Together::Apart);
    assert_eq!(together.json(), before);
}

/// A store in which somebody else is always faster when many keys are written.
struct Contended(Memory);

impl Backend for Contended {
    type Error = Infallible;

    fn get(&self, key: &str) -> Result<Option<Versioned>, Infallible> {
        self.0.get(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Infallible> {
        self.0.list(prefix)
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, Infallible> {
        self.0.get_all(keys)
    }

    fn write_all(&self, _: Vec<Write>) -> Result<Option<Vec<Revision>>, Infallible> {
        Ok(None)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Option<Revision>, Infallible> {
        self.0.create(key, value)
    }

    fn update(&self, key: &str, value: &[u8], revision: Revision) -> Result<Option<Revision>, Infallible> {
        self.0.update(key, value, revision)
    }

    fn delete(&self, key: &str, revision: Revision) -> Result<bool, Infallible> {
        self.0.delete(key, revision)
    }
}

#[test]
fn who_is_always_refused_writes_one_by_one() {
    let view = mk_view(vec![mk_pool("p", "10.0.0.0/24", 26, json!({}))], mk_reservations(&[]));
    let (contended, plain) = (Contended(Memory::default()), Memory::default());
    let machine = |handle: &str| auto_assign(view.clone(), START, mk_request(handle));
    let (mut one, mut two) = (Task::new(machine("one")), Task::new(machine("two")));
    let mut jobs: [&mut dyn Job; 2] = [&mut one, &mut two];
    assert_eq!(transact_all(&mut jobs, &contended, &mut Cache::new()).unwrap(), Together::Apart);
    assert_eq!(contended.0.json(), plain.json(), "nothing is written");

    let got = transact(machine("one"), &contended, &mut Cache::new()).unwrap();
    assert_eq!(got, run(machine("one"), &plain).unwrap());
    assert_eq!(contended.0.json(), plain.json());
}

/// A store that writes one key at a time, in which the block is changed when it is about to be written so often.
struct Changing {
    memory: Memory,
    left: Cell<u32>,
    writes: RefCell<Vec<String>>,
}

impl Changing {
    fn new(left: u32) -> Changing {
        let memory = Memory::default();
        memory.is_plain.set(true);
        Changing { memory, left: Cell::new(left), writes: RefCell::default() }
    }

    fn note(&self, what: &str, key: &str) {
        self.writes.borrow_mut().push(format!("{what} {}", key.trim_start_matches("/calico/ipam/v2/")));
    }
}

impl Backend for Changing {
    type Error = Infallible;

    fn get(&self, key: &str) -> Result<Option<Versioned>, Infallible> {
        self.memory.get(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Infallible> {
        self.memory.list(prefix)
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, Infallible> {
        self.memory.get_all(keys)
    }

    fn has_transactions(&self) -> bool {
        false
    }

    fn write_all(&self, _: Vec<Write>) -> Result<Option<Vec<Revision>>, Infallible> {
        panic!("it said that it can't")
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Option<Revision>, Infallible> {
        self.note("+", key);
        self.memory.create(key, value)
    }

    fn update(&self, key: &str, value: &[u8], revision: Revision) -> Result<Option<Revision>, Infallible> {
        self.note("=", key);
        if key.contains("assignment") && self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            let (value, _) = self.memory.get(key)?.unwrap();
            self.memory.put(key, &serde_json::from_slice(&value).unwrap());
        }
        self.memory.update(key, value, revision)
    }

    fn delete(&self, key: &str, revision: Revision) -> Result<bool, Infallible> {
        self.note("-", key);
        self.memory.delete(key, revision)
    }
}

/// Takes an address by itself, then one for each of `handles` together.
fn take_together(store: &Changing, handles: &[&str]) -> (Together, Vec<AutoAssigned>) {
    let view = mk_view(vec![mk_pool("p", "10.0.0.0/24", 26, json!({}))], mk_reservations(&[]));
    let mut cache = Cache::new();
    let left = store.left.replace(0);
    transact(auto_assign(view.clone(), START, mk_request("first")), store, &mut cache).unwrap();
    store.left.set(left);
    store.writes.borrow_mut().clear();
    let task = |handle: &&str| Task::new(auto_assign(view.clone(), START, mk_request(handle)));
    let mut tasks: Vec<Task<AutoAssigned>> = handles.iter().map(task).collect();
    let mut jobs: Vec<&mut dyn Job> = tasks.iter_mut().map(|task| task as &mut dyn Job).collect();
    let done = transact_all(&mut jobs, store, &mut cache).unwrap();
    (done, tasks.into_iter().filter_map(Task::into_result).collect())
}

#[test]
fn without_transactions_addresses_that_are_wanted_together_write_their_block_once() {
    let store = Changing::new(0);
    let (done, got) = take_together(&store, &["a", "b", "c"]);
    assert_eq!((done, got.len()), (Together::Done, 3));
    let block = "= assignment/ipv4/block/10.0.0.128-26";
    assert_eq!(*store.writes.borrow(), ["+ handle/a", "+ handle/b", "+ handle/c", block]);
    let alone = Memory::default();
    let view = mk_view(vec![mk_pool("p", "10.0.0.0/24", 26, json!({}))], mk_reservations(&[]));
    for handle in ["first", "a", "b", "c"] {
        run(auto_assign(view.clone(), START, mk_request(handle)), &alone).unwrap();
    }
    assert_eq!(store.memory.json(), alone.json(), "the same records as one by one");
}

#[test]
fn without_transactions_handles_are_taken_back_when_their_block_was_changed() {
    let store = Changing::new(1);
    let (done, got) = take_together(&store, &["a", "b"]);
    assert_eq!((done, got.len()), (Together::Done, 2));
    let block = "= assignment/ipv4/block/10.0.0.128-26";
    let once = ["+ handle/a", "+ handle/b", block];
    let expected = [&once[..], &["- handle/a", "- handle/b"], &once[..]].concat();
    assert_eq!(*store.writes.borrow(), expected);
    // Always: what is left is what was there.
    let store = Changing::new(u32::MAX);
    let (done, _) = take_together(&store, &["a", "b"]);
    assert_eq!(done, Together::Apart);
    let handles: Vec<String> = store.memory.json().into_keys().filter(|key| key.contains("handle")).collect();
    assert_eq!(handles, ["/calico/ipam/v2/handle/first"]);
}

#[test]
fn without_transactions_what_is_no_new_address_in_a_known_block_is_done_apart() {
    let store = Changing::new(0);
    let view = mk_view(vec![mk_pool("p", "10.0.0.0/24", 26, json!({}))], mk_reservations(&[]));
    // The first block of a node needs a claim; a release deletes a handle.
    let mut first = ["a", "b"].map(|handle| Task::new(auto_assign(view.clone(), START, mk_request(handle))));
    let mut jobs: Vec<&mut dyn Job> = first.iter_mut().map(|task| task as &mut dyn Job).collect();
    assert_eq!(transact_all(&mut jobs, &store, &mut Cache::new()).unwrap(), Together::Apart);
    assert!(store.memory.json().is_empty());
    take_together(&store, &["a", "b"]);
    let before = store.memory.json();
    let mut last =
        ["a", "b"].map(|handle| Task::new(release_by_handle(view.clone(), START, mk_handle(handle))));
    let mut jobs: Vec<&mut dyn Job> = last.iter_mut().map(|task| task as &mut dyn Job).collect();
    assert_eq!(transact_all(&mut jobs, &store, &mut Cache::new()).unwrap(), Together::Apart);
    assert_eq!(store.memory.json(), before);
}
