//! The embedded datastore runs the suite that every datastore runs.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use tortie_store::Datastore;
use tortie_store::conformance::{self, Backend};
use tortie_store::embedded::{Durability, Embedded, Options};

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
        Box::new(open(place))
    }

    fn verify(&self, place: &str) {
        open(place).check().expect("the database is whole");
    }
}

/// Worker processes write with full durability, as users' do; the suite's own process need not outlive a power failure.
fn open(place: &str) -> Embedded {
    let durability = if conformance::is_worker() { Durability::Full } else { Durability::Normal };
    Embedded::open(Options { durability, ..Options::new(Path::new(place)) }).expect("the database opens")
}

fn main() -> ExitCode {
    let directory = tempfile::tempdir().expect("a temporary directory");
    conformance::main(&Files { directory, made: AtomicU32::new(0) })
}
