//! The other processes of the suite: the same test program, started again with a role in its environment.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{Backend, read_until};
use crate::{Change, Datastore, Error, Revision};

/// The environment variable that holds a worker's role and its arguments, separated by spaces.
const ROLE: &str = "TORTIE_CONFORMANCE_WORKER";

/// A running worker; killed when dropped.
pub struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Start a worker with `role`, as [`run`] knows them.
    pub fn start(role: &str) -> Worker {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Worker { child, lines }
    }

    /// The next line that it prints, or `None` when it has ended.
    pub fn line(&mut self) -> Option<String> {
        self.lines.next().map(|line| line.unwrap())
    }

    /// All that it still prints; it must end well.
    pub fn finish(mut self) -> Vec<String> {
        let lines: Vec<String> = std::iter::from_fn(|| self.line()).collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "a worker failed: {status}; it printed {lines:?}");
        lines
    }

    /// Kill it with SIGKILL, and return what it had still printed.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.line()).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already, and there is nothing to do if it can't be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// This process's role, if it is a worker.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Work, if this process is a worker.
pub fn run(backend: &dyn Backend) -> bool {
    let Some(role) = role() else { return false };
    let words: Vec<&str> = role.split(' ').collect();
    match words.as_slice() {
        ["open", place] => drop(backend.open(place).revision().unwrap()),
        ["count", place, key, times] => count(&*backend.open(place), key, times.parse().unwrap()),
        ["write", place, prefix, times] => write(&*backend.open(place), prefix, times.parse().unwrap()),
        ["watch", place, prefix, until] => watch(&*backend.open(place), prefix, until),
        _ => panic!("unknown role {role:?}"),
    }
    true
}

/// Add one to the number at `key`, `times` times, by compare-and-swap.
pub fn count(store: &dyn Datastore, key: &str, times: usize) {
    for _ in 0..times {
        loop {
            let now = store.get(key).unwrap().unwrap();
            let number: u64 = String::from_utf8(now.value).unwrap().parse().unwrap();
            match store.update(key, (number + 1).to_string().as_bytes(), now.revision) {
                Ok(_) => break,
                Err(Error::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Write `PREFIX0`, `PREFIX1`, ...: `times` of them, or for ever if 0. Every third is deleted again. A line is printed
/// after each write was acknowledged: `put KEY REVISION` or `delete KEY`.
fn write(store: &dyn Datastore, prefix: &str, times: usize) {
    let mut out = std::io::stdout().lock();
    for number in (0..).take_while(|number| times == 0 || *number < times) {
        let key = format!("{prefix}{number}");
        let revision = store.create(&key, key.as_bytes()).unwrap();
        writeln!(out, "put {key} {revision}").unwrap();
        if number % 3 == 2 {
            // Said before and after, or a kill between the two would look like a lost write.
            writeln!(out, "deleting {key}").unwrap();
            store.delete(&key, Some(revision)).unwrap();
            writeln!(out, "delete {key}").unwrap();
        }
    }
}

/// Print `ready`, then what a watch from here on sees until `until` has changed.
fn watch(store: &dyn Datastore, prefix: &str, until: &str) {
    let mut watch = store.watch(prefix, store.revision().unwrap()).unwrap();
    println!("ready");
    for change in read_until(&mut *watch, until) {
        println!("{}", describe(&change));
    }
}

/// A change as one line.
pub fn describe(change: &Change) -> String {
    match change {
        Change::Put(kv) => {
            format!("{} put {} {}", kv.revision, kv.key, String::from_utf8_lossy(&kv.value))
        }
        Change::Delete { key, revision } => format!("{revision} delete {key}"),
    }
}

/// The revision in a line of [`write`].
pub fn acknowledged(line: &str) -> Option<(String, Revision)> {
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("put"), Some(key), Some(revision)) => Some((key.to_owned(), revision.parse().ok()?)),
        _ => None,
    }
}
