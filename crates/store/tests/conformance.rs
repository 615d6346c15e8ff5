//! Both datastores run the suite that every datastore runs.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tortie_store::Datastore;
use tortie_store::conformance::{self, Backend};
use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{self, Endpoint, Etcd};

struct Files {
    directory: tempfile::TempDir,
    made: AtomicU32,
}

impl Backend for Files {
    fn fresh(&self) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.directory.path().join(format!("{number}/tortie.db")).display().to_string()
    }

    fn open(&self, place: &str) -> Box<dyn Datastore> {
        open(place)
    }

    fn verify(&self, place: &str) {
        embedded(place).check().expect("the database is whole");
    }
}

/// One etcd for each datastore, on loopback.
struct Servers {
    directory: tempfile::TempDir,
    running: Mutex<Vec<Server>>,
}

impl Backend for Servers {
    fn fresh(&self) -> String {
        let mut running = self.running.lock().expect("nobody panicked");
        let directory = self.directory.path().join(running.len().to_string());
        let server = Server::start(Start { directory, ..Start::default() }).expect("etcd starts");
        let place = server.endpoint().to_string();
        running.push(server);
        place
    }

    fn open(&self, place: &str) -> Box<dyn Datastore> {
        open(place)
    }
}

/// A place is a file, or a server's URL; a worker process knows nothing else.
fn open(place: &str) -> Box<dyn Datastore> {
    if !place.starts_with("http") {
        return Box::new(embedded(place));
    }
    let endpoint = Endpoint::parse(place).expect("a URL");
    Box::new(Etcd::open(etcd::Options::new(vec![endpoint])).expect("there are descriptors"))
}

/// Worker processes write with full durability, as users' do; the suite's own process need not outlive a power failure.
fn embedded(place: &str) -> Embedded {
    let durability = if conformance::is_worker() { Durability::Full } else { Durability::Normal };
    Embedded::open(Options { durability, ..Options::new(Path::new(place)) }).expect("the database opens")
}

fn main() -> ExitCode {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = conformance::main(&Files { directory, made: AtomicU32::new(0) });
    if conformance::is_worker() {
        return files;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!("\nthe same on etcd");
    let servers = conformance::main(&Servers { directory, running: Mutex::default() });
    if files == ExitCode::SUCCESS { servers } else { files }
}
