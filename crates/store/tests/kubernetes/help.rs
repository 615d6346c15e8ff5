//! A Kubernetes API for a test, and what is asked of it.

use std::time::{Duration, Instant};

use tortie_store::kubernetes::forms::{Collection, raw};
use tortie_store::kubernetes::server::{Server, Start};
use tortie_store::kubernetes::{Kubernetes, Options};
use tortie_store::{Change, Watch};

/// How long a test waits for what must come. It bounds a hang and measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An API server, with the kind that holds any key, in the namespace `default`.
pub struct Api {
    pub server: Server,
    pub directory: tempfile::TempDir,
}

impl Api {
    pub fn start(arguments: &[&str]) -> Api {
        let directory = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let server =
            Server::start(Start { directory: directory.path().join("api"), arguments, ..Start::default() })
                .unwrap();
        Api { server, directory }
    }

    /// Makes the kind that holds any key known.
    pub fn with_items(self) -> Api {
        self.kubectl(&["apply", "-f", "-"], raw::CRD);
        self.kubectl(
            &["wait", "--for=condition=Established", "--timeout=60s", "crd/items.conformance.tortie.test"],
            "",
        );
        self
    }

    pub fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        self.server.kubectl(arguments, input).unwrap()
    }

    /// All keys there are, as items.
    pub fn items(&self, options: Options) -> Kubernetes {
        Kubernetes::with(options, vec![Collection::raw("default")].leak()).unwrap()
    }

    pub fn store(&self) -> Kubernetes {
        self.items(self.server.options().unwrap())
    }
}

/// Reads until a change of `key` has come; outages on the way are counted.
pub fn read_until(watch: &mut dyn Watch, key: &str) -> (Vec<Change>, usize) {
    let deadline = Instant::now() + PATIENCE;
    let (mut seen, mut outages) = (Vec::<Change>::new(), 0);
    while !seen.iter().any(|change| change.key() == key) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{key} never came; seen: {seen:?}");
        match watch.next(left) {
            Ok(changes) => seen.extend(changes),
            Err(tortie_store::Error::Unavailable { .. }) => outages += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (seen, outages)
}
