//! Network namespaces: open one, run a closure inside it, make and remove named ones.
//!
//! A thread that has entered a namespace never comes back: [`Namespace::run`] starts one for each closure and
//! lets it end. Sockets opened inside stay in the namespace and may be used from anywhere afterwards. Named
//! namespaces are bind mounts under `/run/netns`, as `ip netns` makes them.

use crate::{Error, Result};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

/// Where named namespaces are mounted.
pub const DIRECTORY: &str = "/run/netns";

/// A handle on a network namespace; it lives at least as long as the handle.
#[derive(Debug)]
pub struct Namespace {
    fd: File,
    label: String,
}

impl Namespace {
    /// Opens a namespace file, e.g. `/run/netns/NAME` or `/proc/PID/ns/net`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fd = File::open(path)
            .map_err(|source| Error::system(format!("open network namespace {}", path.display()), source))?;
        Ok(Namespace { fd, label: path.display().to_string() })
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Takes over a descriptor that was received, e.g. over a unix socket.
    #[must_use]
    pub fn from_fd(fd: OwnedFd, label: impl Into<String>) -> Self {
        Namespace { fd: File::from(fd), label: label.into() }
    }

    /// What it was opened as, for messages.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A second handle on the same namespace.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = self
            .fd
            .try_clone()
            .map_err(|source| Error::system(format!("duplicate {}", self.label), source))?;
        Ok(Namespace { fd, label: self.label.clone() })
    }

    /// Both handles are the same namespace.
    pub fn is_same(&self, other: &Namespace) -> Result<bool> {
        let identity = |namespace: &Namespace| {
            let found = namespace.fd.metadata();
            found
                .map(|metadata| (metadata.dev(), metadata.ino()))
                .map_err(|source| Error::system(format!("stat {}", namespace.label), source))
        };
        Ok(identity(self)? == identity(other)?)
    }

    /// Moves the calling thread into this namespace for good. Only for threads that end soon.
    pub fn enter(&self) -> Result<()> {
        setns(&self.fd, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::system(format!("enter network namespace {}", self.label), errno))
    }

    /// Runs `work` on a new thread inside the namespace and returns what it returns. A panic in `work` comes
    /// back as [`Error::Panicked`].
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            worker.join().unwrap_or_else(|panic| {
                Err(Error::Panicked { namespace: self.label.clone(), message: panic_text(panic.as_ref()) })
            })
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A named namespace that is removed when the value is dropped.
#[derive(Debug)]
pub struct OwnedNamespace {
    namespace: Namespace,
    name: String,
}

impl OwnedNamespace {
    /// Makes an empty namespace and mounts it as `/run/netns/NAME`. Its loopback is down.
    pub fn create(name: &str) -> Result<Self> {
        create_named(name)?;
        match Namespace::open(path_of(name)) {
            Ok(namespace) => Ok(OwnedNamespace { namespace, name: name.to_owned() }),
            Err(error) => {
                let _ = remove_named(name);
                Err(error)
            }
        }
    }

    /// The name under `/run/netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The mounted file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Gives up the ownership: the namespace stays after this value is gone.
    #[must_use]
    pub fn keep(mut self) -> String {
        std::mem::take(&mut self.name)
    }
}

impl std::ops::Deref for OwnedNamespace {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for OwnedNamespace {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        if let Err(error) = remove_named(&self.name) {
            tracing::warn!(namespace = self.name, %error, "network namespace not removed");
        }
    }
}

/// The file of a named namespace.
#[must_use]
pub fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes a named namespace that outlives this process; see [`OwnedNamespace`] for one that doesn't.
pub fn create_named(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 200 || name.contains('/') || name.starts_with('.') {
        return Err(Error::Invalid {
            field: "namespace name",
            found: name.into(),
            expected: "1 to 200 characters without '/', not starting with '.'",
        });
    }
    let failed = |errno: nix::Error| Error::system(format!("create network namespace {name}"), errno);
    let _lock = prepare_directory()?;
    let path = path_of(name);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|source| Error::system(format!("create {}", path.display()), source))?;
    let made = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &path, Some("none"), MsFlags::MS_BIND, None::<&str>)
        });
        worker.join().unwrap_or(Err(nix::Error::EIO))
    });
    made.map_err(|errno| {
        let _ = fs::remove_file(&path);
        failed(errno)
    })
}

/// Unmounts and removes a named namespace. It ends when no process, socket or link holds it any more.
pub fn remove_named(name: &str) -> Result<()> {
    let path = path_of(name);
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(errno) => return Err(Error::system(format!("unmount {}", path.display()), errno)),
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::system(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// The names under `/run/netns`, sorted.
pub fn named() -> Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::system(format!("list {DIRECTORY}"), error)),
    };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Makes `/run/netns` a shared mount point as `ip netns` does, so that both see each other's namespaces and
/// neither hides the other's mounts. Returns the lock that serialises this with `ip netns`.
fn prepare_directory() -> Result<Flock<File>> {
    let failed = |source: std::io::Error| Error::system(format!("prepare {DIRECTORY}"), source);
    fs::create_dir_all(DIRECTORY).map_err(failed)?;
    let directory = File::open(DIRECTORY).map_err(failed)?;
    let lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
    let shared =
        || mount(None::<&str>, DIRECTORY, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match shared() {
        Err(nix::Error::EINVAL) => {
            mount(Some(DIRECTORY), DIRECTORY, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
                .and_then(|()| shared())
                .map_err(|errno| failed(errno.into()))?;
        }
        other => other.map_err(|errno| failed(errno.into()))?,
    }
    Ok(lock)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
