//! A store in memory and builders, for the tests of this crate.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use serde_json::json;
use tortie_ipam::backend::{Backend, RunError, Versioned, Write, run};
use tortie_ipam::machine::{Machine, Revision};
use tortie_ipam::transaction::MOST_KEYS;
use tortie_ipam::{HandleId, Labels, Now, Pool, Reservations, View};

/// 2026-11-23T00:19:55Z.
pub const START: Now = Now(1_795_393_195_000_000_000);

/// Keys, bytes and revisions.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// It writes one key at a time.
    pub is_plain: Cell<bool>,
    pub keys: RefCell<BTreeMap<String, Versioned>>,
    pub revision: Cell<u64>,
    pub reads: Cell<u32>,
    pub lists: Cell<u32>,
    pub writes: Cell<u32>,
}

impl Memory {
    fn next_revision(&self) -> Revision {
        self.writes.set(self.writes.get() + 1);
        self.revision.set(self.revision.get() + 1);
        Revision(self.revision.get())
    }

    fn stands_at(&self, key: &str, revision: Revision) -> bool {
        self.keys.borrow().get(key).is_some_and(|(_, known)| *known == revision)
    }

    /// All keys and values.
    pub fn json(&self) -> BTreeMap<String, serde_json::Value> {
        let value =
            |(key, (value, _)): (&String, &Versioned)| (key.clone(), serde_json::from_slice(value).unwrap());
        self.keys.borrow().iter().map(value).collect()
    }

    pub fn put(&self, key: &str, value: &serde_json::Value) {
        let revision = self.next_revision();
        self.keys.borrow_mut().insert(key.to_owned(), (value.to_string().into_bytes(), revision));
    }

    pub fn reset_counts(&self) {
        self.reads.set(0);
        self.lists.set(0);
        self.writes.set(0);
    }
}

impl Backend for Memory {
    type Error = Infallible;

    fn get(&self, key: &str) -> Result<Option<Versioned>, Infallible> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.keys.borrow().get(key).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Infallible> {
        self.lists.set(self.lists.get() + 1);
        let keys = self.keys.borrow();
        let from = keys.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(from.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, Infallible> {
        self.reads.set(self.reads.get() + 1);
        Ok(keys.iter().map(|key| self.keys.borrow().get(key).cloned()).collect())
    }

    fn has_transactions(&self) -> bool {
        !self.is_plain.get()
    }

    fn write_all(&self, writes: Vec<Write>) -> Result<Option<Vec<Revision>>, Infallible> {
        assert!(!self.is_plain.get(), "it said so");
        assert!(writes.len() <= MOST_KEYS && !writes.is_empty());
        let keys: BTreeSet<&str> = writes.iter().map(|write| write.key.as_str()).collect();
        assert_eq!(keys.len(), writes.len(), "each key once");
        let stands = |key: &str| self.keys.borrow().get(key).map(|(_, revision)| *revision);
        if writes.iter().any(|write| stands(&write.key) != write.expected) {
            return Ok(None);
        }
        let revision = self.next_revision();
        let revisions = vec![revision; writes.len()];
        for Write { key, value, .. } in writes {
            match value {
                Some(value) => drop(self.keys.borrow_mut().insert(key, (value, revision))),
                None => drop(self.keys.borrow_mut().remove(&key)),
            }
        }
        Ok(Some(revisions))
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Option<Revision>, Infallible> {
        if self.keys.borrow().contains_key(key) {
            return Ok(None);
        }
        let revision = self.next_revision();
        self.keys.borrow_mut().insert(key.to_owned(), (value.to_vec(), revision));
        Ok(Some(revision))
    }

    fn update(&self, key: &str, value: &[u8], revision: Revision) -> Result<Option<Revision>, Infallible> {
        if !self.stands_at(key, revision) {
            return Ok(None);
        }
        let revision = self.next_revision();
        self.keys.borrow_mut().insert(key.to_owned(), (value.to_vec(), revision));
        Ok(Some(revision))
    }

    fn delete(&self, key: &str, revision: Revision) -> Result<bool, Infallible> {
        if !self.stands_at(key, revision) {
            return Ok(false);
        }
        self.next_revision();
        self.keys.borrow_mut().remove(key);
        Ok(true)
    }
}

/// Runs an operation to its end.
pub fn done<T>(machine: Machine<T>, memory: &Memory) -> T {
    match run(machine, memory) {
        Ok(result) => result,
        Err(RunError::Value { key, reason }) => panic!("{key}: {reason}"),
        Err(RunError::Store(never)) => match never {},
    }
}

/// A pool from its name, addresses, block size and other fields of its spec.
pub fn mk_pool(name: &str, cidr: &str, block_size: u8, fields: serde_json::Value) -> Pool {
    let mut spec = json!({ "cidr": cidr, "blockSize": block_size });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let object = json!({ "metadata": { "name": name }, "spec": spec });
    Pool::parse(&serde_json::from_value(object).unwrap()).unwrap()
}

pub fn mk_reservations(cidrs: &[&str]) -> Reservations {
    let object = json!({ "metadata": { "name": "reserved" }, "spec": { "reservedCIDRs": cidrs } });
    Reservations::parse([&serde_json::from_value(object).unwrap()]).unwrap()
}

/// A view with hosts `node-a`, `node-b` and `node-c` in racks `a`, `b` and `c`.
pub fn mk_view(pools: Vec<Pool>, reservations: Reservations) -> Arc<View> {
    let label = |rack: &str| (format!("node-{rack}"), Labels::from([("rack".to_owned(), rack.to_owned())]));
    Arc::new(View::new(pools, reservations, ["a", "b", "c"].map(label).into()))
}

pub fn mk_handle(name: &str) -> HandleId {
    HandleId::new(name)
}
