//! Kernel settings under `/proc/sys`.
//!
//! `/proc/sys/net` shows the namespace of the *thread* that opens the file: call these inside
//! [`crate::Namespace::run`] to reach another one. Paths are given with slashes, as an interface's name may hold dots.

use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Reads a setting, e.g. `net/ipv4/ip_forward`; the trailing newline is cut.
pub fn read(name: &str) -> Result<String> {
    let path = path_of(name)?;
    let text = fs::read_to_string(&path)
        .map_err(|source| Error::system(format!("read {}", path.display()), source))?;
    Ok(text.trim_end().to_owned())
}

/// Writes a setting.
pub fn write(name: &str, value: &str) -> Result<()> {
    let path = path_of(name)?;
    fs::write(&path, value)
        .map_err(|source| Error::system(format!("write {value:?} to {}", path.display()), source))
}

/// Writes a setting that this kernel or namespace may not have; `false` when it doesn't.
pub fn write_if_present(name: &str, value: &str) -> Result<bool> {
    match write(name, value) {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn path_of(name: &str) -> Result<PathBuf> {
    if name.starts_with('/') || name.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(Error::Invalid {
            field: "sysctl",
            found: name.into(),
            expected: "a path below /proc/sys, such as net/ipv4/ip_forward",
        });
    }
    Ok(Path::new("/proc/sys").join(name))
}
