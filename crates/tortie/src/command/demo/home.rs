//! Where a demo keeps its files: the database, the agent's socket and log, the YAML, a link called `calico`.
//!
//! One directory per lab, with the lab's name, removed with the value. A directory whose lab is gone is a dead
//! process's and goes when the next demo starts.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tortie_lab::sweep::{self, LabId};

use super::shop;

/// The directory of all demos.
const HOMES: &str = "/run/tortie-demo";

/// The files of one demo.
#[derive(Debug)]
pub struct Home {
    root: PathBuf,
    kept: bool,
}

impl Home {
    /// Makes the directory and writes the YAML.
    pub fn create(lab: &LabId) -> anyhow::Result<Self> {
        let home = Self { root: Path::new(HOMES).join(lab.to_string()), kept: false };
        let write = || -> io::Result<()> {
            for (directory, files) in [(home.ground(), shop::GROUND), (home.policy(), shop::POLICY)] {
                fs::create_dir_all(&directory)?;
                for (name, text) in files {
                    fs::write(directory.join(name), text)?;
                }
            }
            fs::create_dir_all(home.plugins())?;
            symlink(std::env::current_exe()?, home.plugins().join("calico"))
        };
        write().with_context(|| format!("write {}", home.root.display()))?;
        Ok(home)
    }

    /// Removes the directories whose labs are gone.
    pub fn sweep() -> anyhow::Result<()> {
        let standing = tortie_netlink::namespace::named()?;
        for (lab, root) in Self::all()? {
            let prefix = lab.namespace("");
            if !standing.iter().any(|name| name.starts_with(&prefix)) {
                fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
            }
        }
        Self::remove_parent();
        Ok(())
    }

    /// Removes the demo that was kept under this name, or all if the name is empty; returns their names.
    pub fn remove_kept(name: &str) -> anyhow::Result<Vec<String>> {
        let mut removed = Vec::new();
        let named = |lab: &LabId| name.is_empty() || name == lab.to_string();
        for (lab, root) in Self::all()?.into_iter().filter(|(lab, _)| named(lab)) {
            if Path::new(sweep::KEPT).join(lab.to_string()).exists() {
                sweep::remove(&lab)?;
                fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
                removed.push(lab.to_string());
            }
        }
        Self::remove_parent();
        // It isn't empty while another lab is kept.
        drop(fs::remove_dir(sweep::KEPT));
        Ok(removed)
    }

    fn all() -> anyhow::Result<Vec<(LabId, PathBuf)>> {
        let entries = match fs::read_dir(HOMES) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("list {HOMES}")),
        };
        let known = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            Some((LabId::of(entry.file_name().to_str()?)?, entry.path()))
        };
        Ok(entries.filter_map(known).collect())
    }

    /// The directory of all demos goes with the last.
    fn remove_parent() {
        // It isn't empty while another demo runs.
        drop(fs::remove_dir(HOMES));
    }

    /// It outlives this process.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Pools and namespaces.
    pub fn ground(&self) -> PathBuf {
        self.root.join("ground")
    }

    /// Policies and network sets.
    pub fn policy(&self) -> PathBuf {
        self.root.join("policy")
    }

    /// Where the CNI plugin is found under its name.
    pub fn plugins(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// `TORTIE_DATABASE`.
    pub fn database(&self) -> PathBuf {
        self.root.join("tortie.db")
    }

    /// What etcd keeps, if it is the store.
    pub fn etcd(&self) -> PathBuf {
        self.root.join("etcd")
    }

    /// `TORTIE_SOCKET`.
    pub fn socket(&self) -> PathBuf {
        self.root.join("agent.sock")
    }

    /// What the agent has to say.
    pub fn log(&self) -> PathBuf {
        self.root.join("agent.log")
    }

    /// A file with this text, open for reading: a program's standard input.
    pub fn input(&self, name: &str, text: &str) -> anyhow::Result<File> {
        let path = self.root.join(name);
        let opened = fs::write(&path, text).and_then(|()| File::open(&path));
        opened.with_context(|| format!("write {}", path.display()))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::warn!(directory = %self.root.display(), %error, "not removed");
        }
        Self::remove_parent();
    }
}
