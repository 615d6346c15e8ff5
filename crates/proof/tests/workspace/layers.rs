//! An arrow goes down only.

use std::collections::{BTreeMap, BTreeSet};

use super::metadata::{Metadata, root, short};

/// Every crate under its layer. A crate that isn't here fails the test: it has no place yet.
const LAYERS: [&[&str]; 6] = [
    &["api"],
    &["dataplane", "ipam"],
    &["calc", "analysis", "classify"],
    &["store", "netlink", "nft"],
    &["cni", "agent", "controllers", "lab"],
    &["tortie", "proof", "bench", "cluster"],
];
/// Arrows inside a layer: one is the other's tool.
const BESIDE: [(&str, &str); 2] = [("nft", "netlink"), ("agent", "cni")];
/// Crates that check each other, or could be exchanged for each other: neither sees the other, at any distance.
const APART: [(&str, &str); 4] =
    [("analysis", "calc"), ("analysis", "classify"), ("analysis", "dataplane"), ("nft", "bpf")];

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&name))
}

#[test]
fn every_arrow_goes_down() {
    let mut wrong = Vec::new();
    for (name, (_, package)) in Metadata::get().crates() {
        let Some(from) = layer(name) else {
            wrong.push(format!("{name} has no layer: put it into LAYERS and into DESIGN.md"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.is_path) {
            let to = short(&dependency.name);
            let down = layer(to).is_some_and(|to| to < from);
            if !down && !BESIDE.contains(&(name, to)) {
                wrong.push(format!(
                    "{name} (L{from}) depends on {to} (L{:?}): an arrow goes down only",
                    layer(to)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_checks_each_other_shares_nothing_but_the_api() {
    let metadata = Metadata::get();
    let crates = metadata.crates();
    let closures: BTreeMap<&str, BTreeSet<&str>> = crates
        .iter()
        .map(|(name, (id, _))| (*name, metadata.closure(id, &[]).into_iter().map(short).collect()))
        .collect();
    for (one, other) in APART {
        for (from, to) in [(one, other), (other, one)] {
            if let Some(seen) = closures.get(from) {
                assert!(
                    !seen.contains(to),
                    "{from} sees {to}: what they have in common can't be checked by the other"
                );
            }
        }
    }
    let own: BTreeSet<&str> =
        closures["analysis"].iter().copied().filter(|name| layer(name).is_some()).collect();
    assert_eq!(own, BTreeSet::from(["analysis", "api"]), "analysis is the oracle: it sees the api alone");
}

#[test]
fn the_drawing_in_design_md_is_the_table_here() {
    let design = std::fs::read_to_string(root().join("DESIGN.md")).unwrap();
    let drawn: Vec<BTreeSet<&str>> = (0..LAYERS.len())
        .map(|number| {
            let mark = format!(" L{number}  ");
            let lines: Vec<&str> = design.lines().filter_map(|line| line.strip_prefix(&mark)).collect();
            assert_eq!(lines.len(), 1, "DESIGN.md must have one line that begins with {mark:?}");
            let names = lines[0].split("   ").next().unwrap_or_default();
            names.split(',').map(str::trim).collect()
        })
        .collect();
    let table: Vec<BTreeSet<&str>> = LAYERS.iter().map(|names| names.iter().copied().collect()).collect();
    assert_eq!(drawn, table);
}

#[test]
fn every_directory_under_crates_is_a_member() {
    let crates = Metadata::get().crates();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            crates.contains_key(name.as_str()),
            "crates/{name} is no crate called {name} or tortie-{name}"
        );
    }
}
