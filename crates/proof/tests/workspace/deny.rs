//! What may come in from outside stands in deny.toml, which `cargo deny check` reads too; here it is enforced
//! with what every checkout has: cargo and the lock file.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use toml::{Table, Value};

use super::metadata::{Metadata, Package, root};

/// The registry that cargo calls crates.io, wherever it is mirrored.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// deny.toml.
pub struct Deny(Table);

impl Deny {
    pub fn get() -> &'static Self {
        static READ: OnceLock<Deny> = OnceLock::new();
        READ.get_or_init(|| Deny(std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()))
    }

    fn at(&self, section: &str, field: &str) -> &Value {
        let found = self.0.get(section).and_then(|section| section.get(field));
        found.unwrap_or_else(|| panic!("deny.toml lacks {section}.{field}"))
    }

    /// The target triples that the dependency graph is looked at for.
    pub fn targets(&self) -> Vec<String> {
        let targets = self.at("graph", "targets").as_array().unwrap().iter();
        targets.map(|target| target["triple"].as_str().unwrap().to_owned()).collect()
    }

    fn licenses(&self) -> BTreeSet<&str> {
        self.at("licenses", "allow")
            .as_array()
            .unwrap()
            .iter()
            .map(|license| license.as_str().unwrap())
            .collect()
    }

    /// Names and reasons.
    fn banned(&self) -> Vec<(&str, &str)> {
        let banned = self.at("bans", "deny").as_array().unwrap().iter();
        banned.map(|entry| (entry["crate"].as_str().unwrap(), entry["reason"].as_str().unwrap())).collect()
    }
}

#[test]
fn every_package_has_a_license_that_deny_toml_allows() {
    let allowed = Deny::get().licenses();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for Package { name, version, license, .. } in Metadata::get().packages.values() {
        match license.as_deref().map(|text| chosen(text, &allowed)) {
            Some(Some(licenses)) => used.extend(licenses),
            Some(None) => {
                wrong.push(format!("{name} {version}: {license:?} is not allowed by licenses.allow"))
            }
            None => wrong.push(format!("{name} {version}: no license field")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(used.contains("MIT") && used.contains("Apache-2.0"), "no graph was read: {used:?}");
}

#[test]
fn no_banned_package_comes_in_and_no_requirement_is_a_wildcard() {
    let metadata = Metadata::get();
    for (banned, reason) in Deny::get().banned() {
        let found = metadata.packages.values().find(|package| package.name == banned);
        assert!(found.is_none(), "{banned} is banned: {reason}. `cargo tree -i {banned}` says who wants it");
    }
    assert_eq!(Deny::get().at("bans", "wildcards").as_str(), Some("deny"));
    for (name, (_, package)) in metadata.crates() {
        let wild = package.dependencies.iter().find(|of| of.requirement == "*" && !of.is_path);
        assert!(wild.is_none(), "{name} takes any version of {}", wild.unwrap().name);
    }
}

#[test]
fn everything_comes_from_the_one_registry() {
    for field in ["unknown-registry", "unknown-git"] {
        assert_eq!(Deny::get().at("sources", field).as_str(), Some("deny"));
    }
    for Package { name, version, source, .. } in Metadata::get().packages.values() {
        let known = source.as_deref().is_none_or(|source| source == CRATES_IO);
        assert!(known, "{name} {version} comes from {source:?}: expected {CRATES_IO}");
    }
    let lock: Table = std::fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    for package in lock["package"].as_array().unwrap() {
        let source = package.get("source").and_then(Value::as_str);
        assert!(
            source.is_none_or(|source| source == CRATES_IO),
            "Cargo.lock: {:?}: {source:?}",
            package["name"]
        );
        let sealed = source.is_none() || package.get("checksum").is_some();
        assert!(sealed, "Cargo.lock: {:?} has no checksum", package["name"]);
    }
}

/// The licenses that an SPDX expression comes to, choosing what is allowed; none if it can't be fulfilled.
/// `OR` binds weaker than `AND`, that weaker than `WITH`; `/` is the old way to write `OR`.
fn chosen(text: &str, allowed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let found = either(&mut rest, allowed);
    assert!(rest.is_empty(), "{text:?}: {rest:?} is left over");
    found
}

fn either(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let mut found = both(rest, allowed);
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        let other = both(rest, allowed);
        found = found.or(other);
    }
    found
}

fn both(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let mut found = single(rest, allowed);
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        let other = single(rest, allowed);
        found = found.zip(other).map(|(one, other)| one.union(&other).cloned().collect());
    }
    found
}

fn single(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let (first, after) = rest.split_first().unwrap();
    *rest = after;
    if *first == "(" {
        let found = either(rest, allowed);
        assert_eq!(rest.first(), Some(&")"));
        *rest = &rest[1..];
        return found;
    }
    let mut name = (*first).to_owned();
    if let ["WITH", exception, after @ ..] = *rest {
        name = format!("{name} WITH {exception}");
        *rest = after;
    }
    allowed.contains(name.as_str()).then(|| BTreeSet::from([name]))
}

#[test]
fn license_expressions_are_read_as_spdx_says() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
    for (text, fulfilled) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND (GPL-3.0 OR ISC)", true),
        ("GPL-3.0 OR MIT AND GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(chosen(text, &allowed).is_some(), fulfilled, "{text}");
    }
}
