//! All datastores run the suite that every datastore runs.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tortie_store::Datastore;
use tortie_store::conformance::{self, Backend, Nature};
use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{self, Endpoint, Etcd};
use tortie_store::kubernetes::forms::{Collection, raw};
use tortie_store::kubernetes::{Kubernetes, server};

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

/// One namespace for each datastore, in one Kubernetes API.
struct Cluster {
    server: server::Server,
    made: AtomicU32,
}

impl Cluster {
    fn start(directory: &Path, arguments: &[&str]) -> Cluster {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let start = server::Start { directory: directory.to_owned(), arguments, ..Default::default() };
        let server = server::Server::start(start).expect("kube-apiserver starts");
        server.kubectl(&["apply", "-f", "-"], raw::CRD).expect("the kind is taken");
        let established = ["wait", "--for=condition=Established", "--timeout=60s"];
        let crd = "crd/items.conformance.tortie.test";
        server.kubectl(&[&established[..], &[crd]].concat(), "").expect("the kind is served");
        Cluster { server, made: AtomicU32::new(0) }
    }
}

impl Backend for Cluster {
    fn fresh(&self) -> String {
        let namespace = format!("n{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.server.kubectl(&["create", "namespace", &namespace], "").expect("a namespace is made");
        format!("{}#{namespace}", self.server.kubeconfig().display())
    }

    fn open(&self, place: &str) -> Box<dyn Datastore> {
        open(place)
    }

    fn nature(&self) -> Nature {
        Nature { is_alone: false, tells_creation: false, forgets_when_told: false, rewrites: false }
    }
}

/// A place is a file, a server's URL, or a kubeconfig and a namespace; a worker process knows nothing else.
fn open(place: &str) -> Box<dyn Datastore> {
    if let Some((kubeconfig, namespace)) = place.split_once('#') {
        let options = server::options(Path::new(kubeconfig)).expect("a kubeconfig");
        let collections = vec![Collection::raw(namespace.to_owned().leak())].leak();
        return Box::new(Kubernetes::with(options, collections).expect("there are descriptors"));
    }
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
    let mut outcome = conformance::main(&Files { directory, made: AtomicU32::new(0) });
    if conformance::is_worker() {
        return outcome;
    }
    let mut also = |name: &str, backend: &dyn Backend| {
        println!("\nthe same on {name}");
        if conformance::main(backend) == ExitCode::FAILURE {
            outcome = ExitCode::FAILURE;
        }
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    also("etcd", &Servers { directory, running: Mutex::default() });
    // Lists and watches come out of the server's memory, as they mostly do; and out of its etcd.
    for (name, arguments) in
        [("Kubernetes", &[][..]), ("Kubernetes without its cache", &["--watch-cache=false"])]
    {
        let directory = tempfile::tempdir().expect("a temporary directory");
        also(name, &Cluster::start(directory.path(), arguments));
    }
    outcome
}
