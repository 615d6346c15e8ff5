//! Transactions where they aren't one write: what doesn't fit, and others that are always faster.

use std::convert::Infallible;

use serde_json::json;
use tortie_ipam::backend::{Backend, Together, Versioned, Write, run, transact, transact_all};
use tortie_ipam::cache::Cache;
use tortie_ipam::machine::Revision;
use tortie_ipam::transaction::{Job, Task};
use tortie_ipam::{AutoAssign, Owner, auto_assign, claim_range, release_by_handle};

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
