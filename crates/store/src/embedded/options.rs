//! How the embedded datastore is opened.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Result};

/// Where the database is if nobody says otherwise.
pub const DEFAULT_PATH: &str = "/var/lib/tortie/tortie.db";

/// What a write has outlived when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power failure: every write waits for the disk. Others may read it before.
    #[default]
    Full,
    /// A crash of the process, but the last writes may be lost with the power. The database stays whole.
    Normal,
}

/// How much history is kept for watches that fell behind and lists that are read in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At least so many revisions.
    pub revisions: u64,
    /// And those younger than this,
    pub age: Duration,
    /// but never more than so many.
    pub most_revisions: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { revisions: 10_000, age: Duration::from_secs(300), most_revisions: 100_000 }
    }
}

/// How to open the embedded datastore.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file. It and its directories are made if they are missing.
    pub path: PathBuf,
    /// What a write has outlived when it returns.
    pub durability: Durability,
    /// How long a write waits for its turn before it fails.
    pub patience: Duration,
    /// How much history is kept.
    pub retention: Retention,
}

impl Options {
    /// The defaults, for the database at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Options {
        Options {
            path: path.into(),
            durability: Durability::default(),
            patience: Duration::from_secs(10),
            retention: Retention::default(),
        }
    }

    /// The options that the settings `TORTIE_DATABASE` (default [`DEFAULT_PATH`]) and `TORTIE_DATABASE_SYNC` (`full` or
    /// `normal`, see [`Durability`]) give; `setting` looks one up, in the environment as a rule. An empty value is none.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Result<Options> {
        let given = |name| setting(name).filter(|value| !value.is_empty());
        let path = given("TORTIE_DATABASE").map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from);
        let durability = match given("TORTIE_DATABASE_SYNC") {
            None => Durability::default(),
            Some(text) if text.eq_ignore_ascii_case("full") => Durability::Full,
            Some(text) if text.eq_ignore_ascii_case("normal") => Durability::Normal,
            Some(found) => {
                let expected = "\"full\" or \"normal\"";
                return Err(Error::Setting { name: "TORTIE_DATABASE_SYNC", found, expected });
            }
        };
        Ok(Options { durability, ..Options::new(path) })
    }
}
