//! Namespaces of a test's own, and the `nft` program run inside them.

pub mod packets;
pub mod tables;
pub mod wiring;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tortie_netlink::OwnedNamespace;

/// A namespace `tt-nft-...` that is removed when the value is dropped.
pub fn namespace(label: &str) -> OwnedNamespace {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OwnedNamespace::create(&format!("tt-nft-{}-{label}-{number}", std::process::id())).unwrap()
}

/// What the command prints; panics with its error output if it fails.
pub fn run(namespace: &OwnedNamespace, program: &str, arguments: &[&str]) -> String {
    run_with_input(namespace, program, arguments, "")
}

/// As [`run`], with standard input.
pub fn run_with_input(namespace: &OwnedNamespace, program: &str, arguments: &[&str], input: &str) -> String {
    namespace
        .run(|| {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}: is it installed?"));
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{program} {arguments:?}: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        })
        .unwrap()
}

/// `nft list ruleset`.
pub fn list_ruleset(namespace: &OwnedNamespace) -> String {
    run(namespace, "nft", &["list", "ruleset"])
}

/// A listing in a form that two tables with the same contents share: elements of a hash come in any order.
pub fn comparable(listing: &str) -> (Vec<String>, Vec<String>) {
    let (objects, chains) = listing.split_at(listing.find("\tchain ").unwrap_or(listing.len()));
    let mut words: Vec<String> = objects
        .split(|c: char| c.is_whitespace() || c == ',')
        .map(String::from)
        .filter(|w| !w.is_empty())
        .collect();
    words.sort();
    (words, chains.lines().map(String::from).collect())
}
