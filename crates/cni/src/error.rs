//! The one error type of this crate, and its form on standard output.

use serde_json::{Value, json};
use std::io;
use tortie_store::Error as Store;

/// Why a call failed. [`Error::code`] is the CNI specification's number.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is of a version that we don't speak.
    #[error("incompatible CNI versions: config is {found:?}, plugin supports {supported:?}")]
    Version {
        /// The configuration's `cniVersion`.
        found: String,
        /// Ours.
        supported: &'static [&'static str],
    },
    /// Environment variables are missing.
    #[error("required env variables [{}] missing", names.join(","))]
    MissingEnvironment {
        /// Their names.
        names: Vec<&'static str>,
    },
    /// An environment variable isn't what it should be.
    #[error("{name} = {found:?}: expected {expected}")]
    Environment {
        /// Its name.
        name: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Standard input can't be read, or isn't JSON of the right shape.
    #[error("failed to decode {what}: {cause}")]
    Decode {
        /// What was read.
        what: &'static str,
        /// Why not.
        cause: String,
    },
    /// The network configuration is wrong.
    #[error("{field}: {found}: expected {expected}")]
    Config {
        /// Which field.
        field: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The agent went away in the middle, or is not ready: the runtime tries again.
    #[error("{attempt}: {cause}")]
    TryAgain {
        /// What was being done.
        attempt: String,
        /// What went wrong.
        cause: String,
    },
    /// STATUS: no ADD can succeed now.
    #[error("{0}")]
    NotAvailable(String),
    /// CHECK: the pod is not as it was made.
    #[error("{}", faults.join("; "))]
    Check {
        /// All that differs.
        faults: Vec<String>,
    },
    /// `DatastoreReady` is false.
    #[error("Calico is currently not ready to process requests")]
    DatastoreNotReady,
    /// Addresses couldn't be had; the words are Calico's.
    #[error("{0}")]
    Addresses(String),
    /// Another plugin (IPAM) failed.
    #[error("{plugin}: {message}")]
    Delegate {
        /// Its type.
        plugin: String,
        /// What it said.
        message: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] tortie_netlink::Error),
    /// The datastore.
    #[error(transparent)]
    Store(#[from] tortie_store::Error),
    /// A file, process or socket.
    #[error("{attempt}: {source}")]
    System {
        /// What was tried.
        attempt: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The policy table could not be closed, or the agent says why the pod must not talk.
    #[error("the pod is not let in: {0}")]
    Gate(String),
    /// Several steps of a teardown failed; all were tried.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Error>),
}

impl Error {
    pub(crate) fn system(attempt: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::System { attempt: attempt.into(), source: source.into() }
    }

    /// One error of what a teardown met, or none.
    pub(crate) fn of_teardown(mut faults: Vec<Error>) -> Result<(), Error> {
        match faults.len() {
            0 => Ok(()),
            1 => Err(faults.remove(0)),
            _ => Err(Error::Several(faults)),
        }
    }

    /// The error code: the specification's where it has one, 999 (as Calico) for everything else.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Error::Version { .. } => 1,
            Error::MissingEnvironment { .. } | Error::Environment { .. } => 4,
            Error::Decode { .. } => 6,
            Error::Config { .. } => 7,
            Error::TryAgain { .. } | Error::Store(Store::Unavailable { .. } | Store::Unknown { .. }) => 11,
            Error::Several(faults) if faults.iter().all(|fault| fault.code() == 11) => 11,
            Error::NotAvailable(_) => 50,
            _ => 999,
        }
    }

    /// The JSON for standard output.
    #[must_use]
    pub fn to_json(&self, version: &str) -> Value {
        json!({ "cniVersion": version, "code": self.code(), "msg": self.to_string() })
    }
}
