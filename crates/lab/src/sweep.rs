//! Names of what a lab makes, and removal of what a dead process left behind.
//!
//! Everything is called `tt-<pid>-<n>-<what>`. A lab whose process is gone is stale, unless it was kept on
//! purpose (a file of its name under [`KEPT`]). Nothing else is ever touched.

use crate::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tortie_netlink::namespace;

/// One empty file per lab that outlives its process on purpose.
pub const KEPT: &str = "/run/tortie-lab";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The name of one lab: `tt-<pid>-<n>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabId {
    pid: u32,
    number: u32,
}

impl LabId {
    /// A name no other living process and no other lab of this one has.
    #[must_use]
    pub fn unique() -> Self {
        LabId { pid: std::process::id(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Reads the lab's name off the name of one of its namespaces (or the lab's own).
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("tt-")?.splitn(3, '-');
        let mut number = || parts.next()?.parse().ok();
        Some(LabId { pid: number()?, number: number()? })
    }

    /// The name of a namespace of this lab.
    #[must_use]
    pub fn namespace(&self, what: &str) -> String {
        format!("{self}-{what}")
    }

    fn is_alive(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }

    fn is_kept(&self) -> bool {
        Path::new(KEPT).join(self.to_string()).exists()
    }
}

impl std::fmt::Display for LabId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tt-{}-{}", self.pid, self.number)
    }
}

/// Says that a lab is to outlive this process.
pub fn keep(lab: &LabId) -> Result<()> {
    let file = Path::new(KEPT).join(lab.to_string());
    let written = fs::create_dir_all(KEPT).and_then(|()| fs::write(&file, ""));
    written.map_err(|source| Error::system(format!("write {}", file.display()), source))
}

/// Removes the labs of dead processes that were not kept; returns the namespaces that went.
pub fn sweep() -> Result<Vec<String>> {
    remove_where(|lab| !lab.is_alive() && !lab.is_kept())
}

/// Removes one lab whatever its state, e.g. a kept one.
pub fn remove(lab: &LabId) -> Result<Vec<String>> {
    remove_where(|found| found == lab)
}

/// Removes all labs of this process: for a signal handler's thread, before it exits.
pub fn remove_own() -> Result<Vec<String>> {
    remove_where(|lab| lab.pid == std::process::id())
}

fn remove_where(chosen: impl Fn(&LabId) -> bool) -> Result<Vec<String>> {
    let mut names = namespace::named()?;
    names.retain(|name| LabId::of(name).is_some_and(|lab| chosen(&lab)));
    end_processes_in(&names)?;
    for name in &names {
        namespace::remove_named(name)?;
        if let Some(lab) = LabId::of(name) {
            let _ = fs::remove_file(Path::new(KEPT).join(lab.to_string()));
        }
    }
    Ok(names)
}

/// Kills what still runs inside these namespaces (agents of a lab whose process was killed), each by its pid and
/// only while its network namespace is one of these. Never the calling process.
pub(crate) fn end_processes_in(names: &[String]) -> Result<()> {
    let inodes: Vec<_> = names
        .iter()
        .filter_map(|name| fs::metadata(namespace::path_of(name)).ok())
        .map(|metadata| (metadata.dev(), metadata.ino()))
        .collect();
    let entries = fs::read_dir("/proc").map_err(|source| Error::system("list /proc", source))?;
    for pid in entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok()) {
        let inside = fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|metadata| inodes.contains(&(metadata.dev(), metadata.ino())));
        if inside && pid.unsigned_abs() != std::process::id() {
            // It may have ended by itself just now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_names_of_the_labs_form_are_recognised() {
        let lab = LabId::unique();
        assert_eq!(LabId::of(&lab.namespace("pod-web")), Some(lab.clone()));
        assert_eq!(LabId::of(&lab.to_string()), Some(lab));
        for foreign in ["tt-nl-1-2", "tt-1", "tt-1-x", "ttt-1-2", "cni-123", "tt--1-2", ""] {
            assert_eq!(LabId::of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_dead_processes_lab_is_swept_and_a_living_or_kept_one_is_not() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = LabId { pid: child.id(), number: 0 };
        let kept = LabId { pid: child.id(), number: 1 };
        child.wait().unwrap();
        let alive = LabId::unique();
        for lab in [&dead, &kept, &alive] {
            namespace::create_named(&lab.namespace("x")).unwrap();
        }
        keep(&kept).unwrap();
        let gone = sweep().unwrap();
        assert!(gone.contains(&dead.namespace("x")));
        let left = namespace::named().unwrap();
        assert!(left.contains(&kept.namespace("x")) && left.contains(&alive.namespace("x")));
        assert!(!left.contains(&dead.namespace("x")));
        remove(&kept).unwrap();
        remove(&alive).unwrap();
        assert!(!kept.is_kept());
        assert!(!namespace::named().unwrap().iter().any(|name| *name == kept.namespace("x")));
    }
}
