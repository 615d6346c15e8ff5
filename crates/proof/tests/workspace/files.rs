//! What committed files may say and how long sources may be.

use std::process::Command;

use super::metadata::root;

/// A committed text file.
pub struct Committed {
    /// From the root.
    pub path: String,
    pub text: String,
}

/// All committed text files. The repository's own list, so that a build directory or an editor's file never counts.
pub fn committed() -> Vec<Committed> {
    // Whoever owns the checkout: only a list is asked for.
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).unwrap();
    let paths = paths.split('\0').filter(|path| !path.is_empty());
    // A file that is deleted but not committed as such yet has no text.
    let read = paths.filter_map(|path| {
        let text = String::from_utf8(std::fs::read(root().join(path)).ok()?).ok()?;
        Some(Committed { path: path.to_owned(), text })
    });
    let files: Vec<_> = read.collect();
    assert!(files.len() > 100, "only {} files", files.len());
    files
}

/// What tells of the machine on which the code was written, in two halves so that this file doesn't say it.
const MACHINE: [(&str, &str); 7] = [
    ("/wo", "rk/"),
    ("/tm", "p/wt"),
    ("/tm", "p/brief"),
    ("/tm", "p/target"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("wo", "rk/shared"),
];
/// Marks of a registry that only some machines reach.
const PRIVATE: [(&str, &str); 6] = [
    ("artifact", "ory"),
    (".in", "ternal/"),
    (".co", "rp/"),
    ("replace-", "with ="),
    ("sparse+", "http"),
    ("registry", ".local"),
];

#[test]
fn no_file_tells_of_the_machine_it_was_written_on() {
    let mut wrong = Vec::new();
    for Committed { path, text } in committed() {
        // Recorded answers hold whatever was recorded.
        if path.contains("/vectors/") {
            continue;
        }
        let prose = path.ends_with(".md") || path.ends_with(".yaml");
        for (number, line) in text.lines().enumerate() {
            let told = MACHINE.iter().chain(&PRIVATE).map(|(one, two)| format!("{one}{two}"));
            let told = told.chain(prose.then(|| ["/tm", "p/"].concat()));
            wrong.extend(
                told.filter(|told| line.contains(told)).map(|told| format!("{path}:{}: {told}", number + 1)),
            );
        }
    }
    assert!(wrong.is_empty(), "paths and hosts that only one machine has: {wrong:#?}");
}

/// The longest a source may be, in lines.
const LIMIT: usize = 500;
/// Sources that are longer, how long they may be, and why they aren't split.
const LONGER: &[(&str, usize, &str)] = &[
    (
        "crates/api/tests/messages/rows.rs",
        550,
        "one table: each validation rule with what it refuses and what it takes",
    ),
    ("crates/ipam/src/assign.rs", 590, "one machine: its states, and the step from each"),
];

#[test]
fn a_source_says_one_thing_in_at_most_500_lines() {
    let mut wrong = Vec::new();
    let files = committed();
    for Committed { path, text } in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = text.lines().count();
        match LONGER.iter().find(|(longer, ..)| longer == path) {
            None if lines > LIMIT => {
                wrong.push(format!("{path} has {lines} lines: split it, or say why not in LONGER"))
            }
            Some((_, limit, why)) if lines > *limit => {
                wrong.push(format!("{path} has {lines} lines, {limit} were granted: {why}"));
            }
            Some(_) if lines <= LIMIT => {
                wrong.push(format!("{path} has {lines} lines: take it out of LONGER"))
            }
            _ => {}
        }
    }
    for (longer, ..) in LONGER {
        if !files.iter().any(|file| file.path == *longer) {
            wrong.push(format!("{longer} is not there: take it out of LONGER"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_source_begins_with_what_it_is() {
    let files = committed();
    let sources = files.iter().filter(|file| file.path.starts_with("crates/") && file.path.ends_with(".rs"));
    let headless: Vec<_> =
        sources.filter(|file| !file.text.starts_with("//!")).map(|file| &file.path).collect();
    assert!(headless.is_empty(), "without a module head (`//!`): {headless:#?}");
}
