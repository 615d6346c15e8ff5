//! A datastore that never answers again: the loop that waits for it hangs, and that is heard.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tortie_controllers::health::{Check, Conditions, ask};
use tortie_controllers::lease::Timing;
use tortie_controllers::seat::Seat;
use tortie_controllers::{Asked, Cluster, Options, run};
use tortie_store::embedded::{Embedded, Options as File};
use tortie_store::{Datastore, Error, Layer, keys};

/// The embedded store, except that who asks for pools, as a round that looks for leaks does, may have to wait for ever.
struct Stuck {
    store: Embedded,
    is_stuck: Mutex<bool>,
    changed: Condvar,
}

impl Stuck {
    fn free(&self) {
        *self.is_stuck.lock().unwrap() = false;
        self.changed.notify_all();
    }
}

impl Layer for Stuck {
    fn below(&self) -> &dyn Datastore {
        &self.store
    }

    fn page(&self, list: &tortie_store::List) -> Result<tortie_store::Listing, Error> {
        if list.prefix == keys::kind_prefix(tortie_api::kind::Kind::IPPool) {
            drop(self.changed.wait_while(self.is_stuck.lock().unwrap(), |is_stuck| *is_stuck).unwrap());
        }
        self.store.list(list)
    }
}

fn heard(path: &std::path::Path, check: Check, is_right: impl Fn(&Conditions) -> bool) -> Conditions {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = ask(path, check, Duration::from_secs(10));
        match found {
            Ok(found) if is_right(&found) => return found,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_loop_that_hangs_is_named_while_the_process_is_still_ready_and_forgiven_when_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(File::new(directory.path().join("tortie.db"))).unwrap();
    let store = Arc::new(Stuck { store, is_stuck: Mutex::new(true), changed: Condvar::new() });
    let socket = directory.path().join("one.sock");
    let options = Options {
        store: Arc::clone(&store) as Arc<dyn Datastore>,
        cluster: Cluster::Nowhere,
        seat: Seat::Key(Arc::clone(&store) as Arc<dyn Datastore>),
        name: "one".to_owned(),
        timing: Timing::of_seconds(3),
        variables: BTreeMap::new(),
        tasks: Vec::new(),
        asked: Asked {
            socket: socket.clone(),
            store: Arc::clone(&store) as Arc<dyn Datastore>,
            cluster: None,
        },
        silence: Duration::from_secs(2),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let running = std::thread::spawn(move || run(options, &stopping, &|_| {}));
    let well = |found: &Conditions| found.values().all(|of| of.ready);
    let found = heard(&socket, Check::Live, |found| !well(found));
    assert!(found["Loops"].reason.starts_with("rounds: silent for "), "{found:?}");
    assert!(well(&heard(&socket, Check::Ready, |_| true)), "the datastore answers others");
    store.free();
    heard(&socket, Check::Live, well);
    stop.store(true, Ordering::Relaxed);
    running.join().unwrap().unwrap();
}
