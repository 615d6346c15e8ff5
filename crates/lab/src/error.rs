//! The one error type of this crate.

use std::io;
use std::time::Duration;

/// Why the lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A link, route or namespace.
    #[error(transparent)]
    Netlink(#[from] tortie_netlink::Error),
    /// A socket or process.
    #[error("{attempt}: {source}")]
    System {
        /// What was tried.
        attempt: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The always-allowed packet did not come through, so nothing can be said about what went before it.
    #[error(
        "the sentinel {path} did not come back within {bound:?}: the path is closed to established traffic"
    )]
    SentinelLost {
        /// From where to where.
        path: String,
        /// How long it was waited for.
        bound: Duration,
    },
    /// A name or address that the lab can't use.
    #[error("{field}: {found}: expected {expected}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What was given.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A traffic thread panicked.
    #[error("the thread of {what} panicked")]
    Panicked {
        /// Which one.
        what: String,
    },
}

impl Error {
    pub(crate) fn system(attempt: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::System { attempt: attempt.into(), source: source.into() }
    }
}
