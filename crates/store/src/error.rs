//! The one error type of this crate: what was tried on which key, what was expected and what was found.

use crate::Revision;

/// What an operation on a datastore can end in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A create met an object. Read it, or use an update.
    #[error("{key} already exists, at revision {found}")]
    Exists {
        /// The key that was to be created.
        key: String,
        /// The revision of what is there.
        found: Revision,
    },
    /// An update or delete met nothing.
    #[error("{key} does not exist")]
    NotFound {
        /// The key that is not there.
        key: String,
    },
    /// A compare-and-swap met another revision. Read again and decide anew.
    #[error("{key} was changed by someone else: expected revision {expected}, found {found}")]
    Conflict {
        /// The key that was to be written.
        key: String,
        /// The revision that the caller had read.
        expected: Revision,
        /// The revision that is there.
        found: Revision,
    },
    /// The history that was asked for is gone. List again and go on from there.
    #[error("revision {asked} is compacted; the oldest that can be read is {oldest}")]
    Compacted {
        /// The revision that was asked for.
        asked: Revision,
        /// The oldest revision that can still be listed, and from which can be watched.
        oldest: Revision,
    },
    /// A revision was asked for that has not been reached: it comes from another datastore, or from before a restore.
    #[error("revision {asked} lies in the future; the datastore is at {current}")]
    Future {
        /// The revision that was asked for.
        asked: Revision,
        /// The datastore's current revision.
        current: Revision,
    },
    /// The file behind an open datastore was removed or replaced. Open again and list again.
    #[error("the database {path} was removed or replaced while it was open")]
    Replaced {
        /// The path of the database.
        path: String,
    },
    /// The datastore was written by a newer version.
    #[error(
        "the database {path} has schema version {found}, this program knows {known}: it was written by a newer version"
    )]
    Schema {
        /// The path of the database.
        path: String,
        /// The version found in the file.
        found: i64,
        /// The newest version that this program reads.
        known: i64,
    },
    /// The datastore cannot be reached or does not answer in time. Trying again may help.
    #[error("datastore unavailable: {attempt}: {cause}")]
    Unavailable {
        /// What was being done, for example `open /var/lib/tortie/tortie.db`.
        attempt: String,
        /// Why it failed.
        cause: String,
    },
}

/// The result of a datastore's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Unavailable`] that names the attempt.
    pub(crate) fn unavailable(attempt: impl Into<String>, cause: impl std::fmt::Display) -> Error {
        Error::Unavailable { attempt: attempt.into(), cause: cause.to_string() }
    }
}
