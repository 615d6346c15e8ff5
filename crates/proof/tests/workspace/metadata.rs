//! What cargo knows about the workspace, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// A package of the dependency graph.
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    /// None for the workspace's own.
    pub source: Option<String>,
    pub dependencies: Vec<Dependency>,
}

/// A line under `[dependencies]`, `[dev-dependencies]` or `[build-dependencies]`.
pub struct Dependency {
    pub name: String,
    pub requirement: String,
    pub is_path: bool,
    pub is_dev: bool,
}

/// The workspace and all that it is built from, on the targets that deny.toml names.
pub struct Metadata {
    /// By cargo's package id.
    pub packages: BTreeMap<String, Package>,
    pub members: BTreeSet<String>,
    /// From package to the packages that it is built from (not those of its tests).
    pub built_from: BTreeMap<String, Vec<String>>,
}

impl Metadata {
    pub fn get() -> &'static Self {
        static READ: OnceLock<Metadata> = OnceLock::new();
        READ.get_or_init(Self::read)
    }

    fn read() -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["metadata", "--offline", "--locked", "--format-version", "1"]);
        for target in super::deny::Deny::get().targets() {
            cargo.args(["--filter-platform", &target]);
        }
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let nodes = json["resolve"]["nodes"].as_array().unwrap();
        let built_from: BTreeMap<_, _> =
            nodes.iter().map(|node| (text(&node["id"]), built_from(node))).collect();
        let packages = json["packages"].as_array().unwrap().iter();
        // Packages that no target needs are not in the graph.
        let packages = packages.filter(|package| built_from.contains_key(&text(&package["id"])));
        Self {
            packages: packages.map(|package| (text(&package["id"]), read_package(package))).collect(),
            members: json["workspace_members"].as_array().unwrap().iter().map(text).collect(),
            built_from,
        }
    }

    /// The workspace's own packages, by the name of their directory under `crates`.
    pub fn crates(&self) -> BTreeMap<&str, (&str, &Package)> {
        let members = self.members.iter().map(|id| (id.as_str(), &self.packages[id]));
        members.map(|(id, package)| (short(&package.name), (id, package))).collect()
    }

    /// Names of all packages that one is built from, except those found only through `stop`.
    pub fn closure(&self, id: &str, stop: &[&str]) -> BTreeSet<&str> {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![id]);
        while let Some(id) = waiting.pop() {
            let name = self.packages[id].name.as_str();
            if seen.insert(name) && !stop.contains(&name) {
                waiting.extend(self.built_from[id].iter().map(String::as_str));
            }
        }
        seen
    }
}

/// `tortie-api` is drawn as `api`.
pub fn short(name: &str) -> &str {
    name.strip_prefix("tortie-").unwrap_or(name)
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn built_from(node: &Value) -> Vec<String> {
    let dependencies = node["deps"].as_array().unwrap().iter();
    let built = dependencies.filter(|dependency| {
        let kinds = dependency["dep_kinds"].as_array().unwrap();
        kinds.iter().any(|kind| kind["kind"] != "dev")
    });
    built.map(|dependency| text(&dependency["pkg"])).collect()
}

fn read_package(package: &Value) -> Package {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    let dependencies = dependencies.map(|dependency| Dependency {
        name: text(&dependency["name"]),
        requirement: text(&dependency["req"]),
        is_path: dependency["path"].is_string(),
        is_dev: dependency["kind"] == "dev",
    });
    Package {
        name: text(&package["name"]),
        version: text(&package["version"]),
        license: package["license"].as_str().map(str::to_owned),
        source: package["source"].as_str().map(str::to_owned),
        dependencies: dependencies.collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
