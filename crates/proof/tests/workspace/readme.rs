//! README.md says what there is: every setting that the code reads, and no file that isn't there.

use std::collections::BTreeSet;

use super::files::{Committed, committed};
use super::metadata::root;

/// What the names of settings begin with.
const SETTINGS: [&str; 4] = ["FELIX_", "TORTIE_", "DATASTORE_", "NODENAME"];
/// Where they are read.
const READERS: [&str; 4] =
    ["crates/agent/src/", "crates/cni/src/", "crates/store/src/", "crates/tortie/src/"];

#[test]
fn every_setting_is_in_the_readme() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut read = BTreeSet::new();
    for Committed { path, text } in committed() {
        // The conformance suite's workers are told things by variables of their own.
        if READERS.iter().any(|reader| path.starts_with(reader)) && !path.contains("/conformance/") {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            // A setting's name is a whole string literal.
            let literals = code.split('"').skip(1).step_by(2);
            let names = literals.filter(|text| SETTINGS.iter().any(|of| text.starts_with(of)));
            let names =
                names.filter(|text| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
            read.extend(names.map(str::to_owned));
        }
    }
    assert!(read.contains("TORTIE_SOCKET") && read.contains("FELIX_LOGPREFIX"), "{read:?}");
    let missing: Vec<_> = read.iter().filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "README.md does not tell of {missing:?}");
}

#[test]
fn every_file_that_a_document_links_is_there() {
    for Committed { path, text } in committed() {
        if !path.ends_with(".md") || path.contains("/vectors/") {
            continue;
        }
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let from = root().join(&path);
            let target = from.parent().unwrap().join(link.split('#').next().unwrap_or_default());
            assert!(target.exists(), "{path} links {link}, which is not there");
        }
    }
}
