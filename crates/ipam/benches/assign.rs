//! How many addresses one node can assign and release in a second, over a store in memory that keeps bytes.
//!
//! Prints one `name=value` a line: medians of the rounds, with the 95 % interval of the median.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use tortie_ipam::backend::{Backend, Versioned, Write, run, run_cached, transact};
use tortie_ipam::cache::Cache;
use tortie_ipam::machine::Revision;
use tortie_ipam::record::Config;
use tortie_ipam::{
    AutoAssign, HandleId, Labels, Now, Pool, Reservations, View, auto_assign, release_by_handle,
    write_settings,
};

const ROUNDS: usize = 41;
/// Ten blocks of 64.
const PODS: usize = 640;

#[derive(Default)]
struct Memory {
    keys: RefCell<HashMap<String, Versioned>>,
    revision: Cell<u64>,
}

impl Memory {
    fn next_revision(&self) -> Revision {
        self.revision.set(self.revision.get() + 1);
        Revision(self.revision.get())
    }
}

impl Backend for Memory {
    type Error = Infallible;

    fn get(&self, key: &str) -> Result<Option<Versioned>, Infallible> {
        Ok(self.keys.borrow().get(key).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Infallible> {
        let keys = self.keys.borrow();
        let of_prefix = keys.iter().filter(|(key, _)| key.starts_with(prefix));
        let sorted: BTreeMap<_, _> = of_prefix.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(sorted.into_iter().collect())
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, Infallible> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn write_all(&self, writes: Vec<Write>) -> Result<Option<Vec<Revision>>, Infallible> {
        let stands = |key: &str| self.keys.borrow().get(key).map(|(_, revision)| *revision);
        if writes.iter().any(|write| stands(&write.key) != write.expected) {
            return Ok(None);
        }
        let revisions = writes.into_iter().map(|Write { key, value, .. }| {
            let revision = self.next_revision();
            match value {
                Some(value) => drop(self.keys.borrow_mut().insert(key, (value, revision))),
                None => drop(self.keys.borrow_mut().remove(&key)),
            }
            revision
        });
        Ok(Some(revisions.collect()))
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Option<Revision>, Infallible> {
        if self.keys.borrow().contains_key(key) {
            return Ok(None);
        }
        let revision = self.next_revision();
        self.keys.borrow_mut().insert(key.to_owned(), (value.to_vec(), revision));
        Ok(Some(revision))
    }

    fn update(&self, key: &str, value: &[u8], read: Revision) -> Result<Option<Revision>, Infallible> {
        let revision = self.next_revision();
        match self.keys.borrow_mut().get_mut(key) {
            Some(stored) if stored.1 == read => {
                stored.0.clear();
                stored.0.extend_from_slice(value);
                stored.1 = revision;
                Ok(Some(revision))
            }
            _ => Ok(None),
        }
    }

    fn delete(&self, key: &str, read: Revision) -> Result<bool, Infallible> {
        let mut keys = self.keys.borrow_mut();
        let stands = keys.get(key).is_some_and(|(_, revision)| *revision == read);
        if stands {
            keys.remove(key);
        }
        Ok(stands)
    }
}

fn main() {
    let spec = serde_json::json!({ "metadata": { "name": "pool" }, "spec": { "cidr": "10.0.0.0/16" } });
    let pool = Pool::parse(&serde_json::from_value(spec).expect("a pool")).expect("a pool");
    let nodes = [("node-a".to_owned(), Labels::new())].into();
    let view = Arc::new(View::new(vec![pool], Reservations::default(), nodes));
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let memory = Memory::default();
        let limitless = Config { strict_affinity: true, max_blocks_per_host: 1000, ..Config::default() };
        run(write_settings(limitless), &memory).expect("memory doesn't fail").expect("valid settings");
        let mut cache = Cache::new();
        let mut time = |name, operation: &mut dyn FnMut(usize)| {
            let begin = Instant::now();
            (0..PODS).for_each(operation);
            rates.entry(name).or_default().push(PODS as f64 / begin.elapsed().as_secs_f64());
        };
        let now = |pod: usize| Now(1_795_393_195_000_000_000 + pod as u64);
        let request = |pod: usize| AutoAssign {
            handle: Some(HandleId::new(&format!("k8s-pod-network.{pod:064x}"))),
            attributes: [
                ("pod", format!("pod-{pod}")),
                ("namespace", "default".into()),
                ("node", "node-a".into()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
            ..AutoAssign::workload("node-a")
        };
        time("ipam_assign_cached_per_s", &mut |pod| {
            let machine = auto_assign(view.clone(), now(pod), request(pod));
            let got = run_cached(machine, &memory, &mut cache).expect("memory doesn't fail");
            assert_eq!(got.v4.map(|one| one.addresses.len()), Some(1));
        });
        let release = |pod: usize| {
            let handle = request(pod).handle.expect("pods have handles");
            release_by_handle(view.clone(), now(pod), handle)
        };
        time("ipam_transact_release_per_s", &mut |pod| {
            let done = transact(release(pod), &memory, &mut cache).expect("memory doesn't fail");
            done.expect("the handle is there");
        });
        time("ipam_transact_per_s", &mut |pod| {
            let machine = auto_assign(view.clone(), now(pod), request(pod));
            let got = transact(machine, &memory, &mut cache).expect("memory doesn't fail");
            assert_eq!(got.v4.map(|one| one.addresses.len()), Some(1));
        });
        time("ipam_release_by_handle_per_s", &mut |pod| {
            run(release(pod), &memory).expect("memory doesn't fail").expect("the handle is there");
        });
        time("ipam_assign_uncached_per_s", &mut |pod| {
            let machine = auto_assign(view.clone(), now(pod), request(pod));
            let got = run(machine, &memory).expect("memory doesn't fail");
            assert_eq!(got.v4.map(|one| one.addresses.len()), Some(1));
        });
    }
    for (name, mut rates) in rates {
        rates.sort_by(f64::total_cmp);
        // Order statistics 14 and 28 of 41 bracket the median in 95 % of runs.
        println!("{name}={:.0}", rates[20]);
        println!("{name}_low={:.0}", rates[13]);
        println!("{name}_high={:.0}", rates[27]);
    }
}
