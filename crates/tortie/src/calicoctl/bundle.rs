//! A bundle of diagnostics: what commands say and what files hold, in one archive.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory that fills, and becomes an archive.
pub struct Bundle {
    temporary: PathBuf,
    directory: PathBuf,
}

impl Bundle {
    /// A new one, in a directory of its own that only its owner can read.
    ///
    /// # Errors
    /// Why there is none.
    pub fn new(name: &str) -> Result<Bundle, String> {
        let failed = |error: std::io::Error| format!("Error creating temp directory to dump logs: {error}");
        let template = std::env::temp_dir().join("calicoXXXXXX");
        let temporary = nix::unistd::mkdtemp(&template).map_err(|error| failed(error.into()))?;
        let directory = temporary.join(name);
        fs::create_dir(&directory).map_err(failed)?;
        Ok(Bundle { temporary, directory })
    }

    /// Where it is made.
    pub fn place(&self) -> &Path {
        &self.temporary
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &[u8]) {
        if let Err(error) = fs::write(self.directory.join(name), text) {
            println!("Error writing {name}: {error}");
        }
    }

    /// Writes what a command says, with `info` before it for the user. What goes wrong is told and written too.
    pub fn run(&self, info: &str, words: &[&str], name: &str) {
        if !info.is_empty() {
            println!("{info}");
        }
        let Some((program, arguments)) = words.split_first() else { return };
        let said = match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => [output.stdout, output.stderr].concat(),
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                println!(
                    "Failed to run command: {}\nError: {}",
                    words.join(" "),
                    String::from_utf8_lossy(&said)
                );
                said
            }
            Err(error) => {
                println!("Failed to run command: {}\nError: {error}", words.join(" "));
                format!("{error}\n").into_bytes()
            }
        };
        self.write(name, &said);
    }

    /// Copies all files of a directory and of those in it. A link is left out.
    ///
    /// # Errors
    /// The first that can't be copied.
    pub fn copy(&self, from: &Path, name: &str) -> Result<(), String> {
        copy(from, &self.directory.join(name))
    }

    /// Packs everything into `archive`, readable by its owner only.
    ///
    /// # Errors
    /// Why it could not be packed.
    pub fn pack(&self, archive: &Path) -> Result<(), String> {
        let failed = |error: String| format!("Error compressing the diagnostics: {error}");
        let name = self.directory.file_name().unwrap_or_default();
        let output =
            Command::new("tar").arg("-zcf").arg(archive).arg("-C").arg(&self.temporary).arg(name).output();
        let output = output.map_err(|error| failed(format!("tar: {error}")))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        fs::set_permissions(archive, fs::Permissions::from_mode(0o600))
            .map_err(|error| failed(error.to_string()))
    }

    /// Removes what was packed; an archive beside it stays.
    pub fn clear(&self) {
        // Nothing depends on what is left of it.
        drop(fs::remove_dir_all(&self.directory));
        drop(fs::remove_dir(&self.temporary));
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (kind, target) = (entry.file_type().map_err(failed)?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target).map_err(|error| format!("{}: {error}", entry.path().display()))?;
        }
    }
    Ok(())
}
