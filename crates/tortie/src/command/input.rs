//! Files of objects as commands take them: a file, a directory, or standard input.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A text and the name under which it is shown.
pub struct Input {
    /// The file's path, or `-`.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// Reads a file, standard input (`-`), or all files of a directory that end in `.yaml`, `.yml`
/// or `.json`, by name; with `recursive` those of directories in it too.
///
/// # Errors
/// If something can't be read.
pub fn read(path: &Path, recursive: bool) -> anyhow::Result<Vec<Input>> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(vec![Input { name: "-".to_owned(), text }]);
    }
    let mut files = Vec::new();
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_dir() {
        collect(path, recursive, &mut files)?;
    } else {
        files.push(path.to_owned());
    }
    files
        .into_iter()
        .map(|file| {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            Ok(Input { name: file.display().to_string(), text })
        })
        .collect()
}

fn collect(directory: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || format!("cannot read directory {}", directory.display());
    let mut entries = fs::read_dir(directory)
        .with_context(context)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(context)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A link to a directory isn't followed: what Kubernetes mounts would be found twice.
        if entry.file_type().with_context(context)?.is_dir() {
            if recursive {
                collect(&path, recursive, files)?;
            }
        } else if is_manifest(&path) && !path.is_dir() {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a file's name ends as those of YAML and JSON do, in any case of the letters.
fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
}
