//! The one error type of this crate: what was tried on which key, what was expected and what was found.

use tortie_api::kind::ResourceKey;

use crate::Revision;

/// What an operation on a datastore can end in.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// A write was sent and the answer never came: it may have been done. Read, and decide anew.
    #[error("not known whether it was done: {attempt}: {cause}")]
    Unknown {
        /// What was being done, for example `create /calico/...`.
        attempt: String,
        /// Why there is no answer.
        cause: String,
    },
    /// The datastore could be asked and says no. Trying the same again doesn't help.
    #[error("the datastore refuses: {attempt}: {cause}")]
    Refused {
        /// What was being done.
        attempt: String,
        /// The datastore's words, and what to try.
        cause: String,
    },
    /// What was asked for can't be done together with what waits in a [`crate::Batch`]. Do it one by one.
    #[error("what waits to be written together has to be written first")]
    Together,
    /// A setting has a value that means nothing.
    #[error("{name}: found {found:?}, expected {expected}")]
    Setting {
        /// The setting's name, for example `TORTIE_DATABASE_SYNC`.
        name: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// There is no such object. The words are Calico's, `<nil>` included.
    #[error("resource does not exist: {id} with error: <nil>")]
    Missing {
        /// Which object.
        id: ResourceKey,
    },
    /// There is such an object already.
    #[error("resource already exists: {id}")]
    AlreadyExists {
        /// Which object.
        id: ResourceKey,
    },
    /// The object was changed since the caller read it. Read it again and decide anew.
    #[error("update conflict: {id}")]
    UpdateConflict {
        /// Which object.
        id: ResourceKey,
        /// The resource version that the caller gave.
        given: String,
        /// The one that is stored.
        latest: Revision,
    },
    /// The object's kind or name does not allow this.
    #[error("operation {operation} is not supported on {id}{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    NotSupported {
        /// What was to be done, as Calico spells it.
        operation: &'static str,
        /// The object, as Calico names it there.
        id: String,
        /// Why not.
        reason: Option<String>,
    },
    /// The object itself is wrong.
    #[error("{}", invalid(fields))]
    Invalid {
        /// All that is wrong.
        fields: Vec<InvalidField>,
    },
    /// There is only one object of its kind, and it has a name.
    #[error("Cannot create {kind} resource with a name other than \"default\"")]
    Name {
        /// The kind, as Calico spells it there, with its article.
        kind: &'static str,
    },
    /// Address management can't work so, or others were always faster.
    #[error(transparent)]
    Addresses(#[from] tortie_ipam::Error),
    /// What is stored is no object, or not of its kind.
    #[error("failed to parse datastore entry key={key}; {cause}")]
    Unreadable {
        /// Where it is stored.
        key: String,
        /// Why it cannot be read.
        cause: String,
    },
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// The field's path, as Calico names it.
    pub name: String,
    /// What was found, if that helps.
    pub value: Option<String>,
    /// What was expected.
    pub reason: String,
}

impl InvalidField {
    /// A field, what it is and why that is wrong.
    pub fn new(name: &str, value: Option<&str>, reason: impl Into<String>) -> InvalidField {
        InvalidField { name: name.to_owned(), value: value.map(str::to_owned), reason: reason.into() }
    }
}

impl std::fmt::Display for InvalidField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if let Some(value) = &self.value {
            write!(f, " = '{value}'")?;
        }
        write!(f, " ({})", self.reason)
    }
}

fn invalid(fields: &[InvalidField]) -> String {
    match fields {
        [field] => format!("error with field {field}"),
        fields => fields.iter().fold("error with the following fields:\n".to_owned(), |mut text, field| {
            text.push_str(&format!("-  {field}\n"));
            text
        }),
    }
}

/// The result of a datastore's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Invalid`] with one field.
    pub(crate) fn invalid(name: &str, value: Option<&str>, reason: impl Into<String>) -> Error {
        Error::Invalid { fields: vec![InvalidField::new(name, value, reason)] }
    }

    /// An [`Error::Unavailable`] that names the attempt.
    pub(crate) fn unavailable(attempt: impl Into<String>, cause: impl std::fmt::Display) -> Error {
        Error::Unavailable { attempt: attempt.into(), cause: cause.to_string() }
    }
}
