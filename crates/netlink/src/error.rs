//! The one error type of this crate: what was attempted, and what the kernel or the bytes said.

use std::io;

/// Why a netlink or namespace operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed; nothing is known about the request's effect.
    #[error("{attempt}: {source}")]
    System {
        /// What was tried, with the object's name.
        attempt: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("{attempt}: {}{}", io::Error::from_raw_os_error(*errno), detail(message))]
    Kernel {
        /// What was tried, with the object's name.
        attempt: String,
        /// The positive errno of the answer.
        errno: i32,
        /// The kernel's own words (extended acknowledgement), when it had any.
        message: Option<String>,
        /// Byte offset in the request of the attribute that the kernel disliked.
        offset: Option<u32>,
    },
    /// The kernel had more to say than the receive buffer holds; for a listener: read everything anew.
    #[error("{attempt}: the receive buffer overran, messages are lost: read the state again")]
    Overrun {
        /// What was being read.
        attempt: String,
    },
    /// The kernel's tables changed under each of several dumps.
    #[error("{attempt}: the dump was interrupted {tries} times by changes")]
    DumpInterrupted {
        /// What was being read.
        attempt: String,
        /// How often it was tried.
        tries: u32,
    },
    /// Bytes from the kernel have not the expected shape.
    #[error("{what}: expected {expected}, found {found}")]
    Malformed {
        /// The message or attribute.
        what: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A request is too large for its length field; split it.
    #[error(
        "netlink attribute {kind}: {length} bytes, at most 65535 fit: send the elements in several messages"
    )]
    TooLong {
        /// Attribute type.
        kind: u16,
        /// Its length with header, in bytes.
        length: usize,
    },
    /// A name or value that the kernel could not take.
    #[error("{field}: {found:?}: expected {expected}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What was given.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A closure that ran inside a namespace panicked.
    #[error("the thread in the network namespace {namespace} panicked: {message}")]
    Panicked {
        /// Where it ran.
        namespace: String,
        /// The panic's text.
        message: String,
    },
}

fn detail(message: &Option<String>) -> String {
    message.as_ref().map_or_else(String::new, |text| format!(" ({text})"))
}

impl Error {
    /// The last system error, with what was attempted.
    pub(crate) fn system(attempt: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::System { attempt: attempt.into(), source: source.into() }
    }

    /// The errno behind this error, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::System { source, .. } => source.raw_os_error(),
            Error::Kernel { errno, .. } => Some(*errno),
            Error::Overrun { .. } => Some(libc::ENOBUFS),
            Error::DumpInterrupted { .. }
            | Error::Malformed { .. }
            | Error::TooLong { .. }
            | Error::Invalid { .. }
            | Error::Panicked { .. } => None,
        }
    }

    /// The object does not exist (ENOENT, ENODEV, ESRCH, EADDRNOTAVAIL, ENXIO): for a deletion, success.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.errno(),
            Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENXIO)
        )
    }

    /// The object exists already (EEXIST).
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }
}
