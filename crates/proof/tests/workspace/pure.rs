//! Above the I/O line nothing knows a socket, a file, a clock, a thread or a runtime.

use super::files::{Committed, committed};
use super::metadata::Metadata;

/// The crates above the line.
const PURE: [&str; 6] = ["api", "dataplane", "ipam", "calc", "analysis", "classify"];
/// What they may name in their Cargo.toml: each is data or arithmetic.
const ALLOWED: [&str; 12] = [
    "base64",
    "granit-parser",
    "hashbrown",
    "ipnet",
    "regex-lite",
    "roaring",
    "rustc-hash",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "thiserror",
];
/// What must not come in behind those either.
const IMPURE: [&str; 11] = [
    "libc",
    "nix",
    "rustix",
    "rusqlite",
    "tokio",
    "mio",
    "socket2",
    "inotify",
    "getrandom",
    "rand",
    "tracing-subscriber",
];
/// cpufeatures asks the system which instructions the processor has (for sha1 and sha2), and nothing else.
const ASKS_THE_PROCESSOR: [&str; 1] = ["cpufeatures"];
/// What their sources must not say outside tests.
const EFFECTS: [&str; 14] = [
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "std::io::stdin",
    "std::io::stdout",
    "Instant::now",
    "SystemTime::now",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::os::",
    "println!",
];

#[test]
fn pure_crates_are_built_from_data_and_arithmetic() {
    let metadata = Metadata::get();
    let crates = metadata.crates();
    let mut wrong = Vec::new();
    for name in PURE {
        let (id, package) = crates[name];
        let direct =
            package.dependencies.iter().filter(|dependency| !dependency.is_dev && !dependency.is_path);
        for dependency in direct.filter(|dependency| !ALLOWED.contains(&&*dependency.name)) {
            wrong.push(format!("{name} depends on {}: is it pure? Then add it to ALLOWED", dependency.name));
        }
        for found in metadata.closure(id, &ASKS_THE_PROCESSOR) {
            if IMPURE.contains(&found) {
                wrong.push(format!("{name} is built from {found}, which reaches the system"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_sources_touch_no_file_socket_clock_or_thread() {
    let mut wrong = Vec::new();
    let mut read = 0;
    for Committed { path, text } in committed() {
        let pure = PURE.iter().any(|name| path.starts_with(&format!("crates/{name}/src/")));
        if !pure || !path.ends_with(".rs") {
            continue;
        }
        read += 1;
        // Unit tests stand at the end of a file; what they do is theirs.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in
            code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for effect in EFFECTS.iter().filter(|effect| line.contains(**effect)) {
                wrong.push(format!("{path}:{}: {effect}", number + 1));
            }
        }
    }
    assert!(read > 50, "only {read} pure sources found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
