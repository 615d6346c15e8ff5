//! The one error type of this crate: which message of a transaction the kernel refused, and why.

use std::io;

/// Why the kernel's tables could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed, or a request outside a transaction was refused.
    #[error(transparent)]
    Netlink(#[from] tortie_netlink::Error),
    /// The kernel refused one message, and with it the whole transaction: nothing changed.
    #[error("nftables: {action}: {}{}{}", io::Error::from_raw_os_error(*errno), words(message), hint(*errno))]
    Refused {
        /// The message that failed, in words, with the object's name.
        action: String,
        /// The positive errno of the answer.
        errno: i32,
        /// The kernel's own words, when it had any.
        message: Option<String>,
    },
    /// Somebody changed the tables since `expected` was read: read again and plan anew.
    #[error(
        "nftables: the generation is no longer {expected}: someone else changed the tables; read them again"
    )]
    GenerationMoved {
        /// The generation that the transaction was made for.
        expected: u32,
    },
    /// The tables changed under each of several reads.
    #[error("nftables: {what}: the tables changed under each of {tries} reads")]
    Unstable {
        /// What was being read.
        what: String,
        /// How often it was tried.
        tries: u32,
    },
    /// A table has our name and not our mark; it is left alone.
    #[error(
        "nftables: table {table}: expected the comment {expected:?}, found {found:?}: it is not ours, remove or rename it"
    )]
    Foreign {
        /// Family and name.
        table: String,
        /// The comment that our tables carry.
        expected: String,
        /// The comment that it has.
        found: String,
    },
    /// Transactions were not sent because one before them was refused; told of only by a fault of ours.
    #[error("nftables: the rest was not sent, because the kernel refused what stood before it")]
    Stopped,
    /// Something of ours in the kernel can't be read as what this version writes.
    #[error("nftables: {what}: expected {expected}, found {found}")]
    Unreadable {
        /// Which object.
        what: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The contents that were asked for can't be expressed in the table.
    #[error("nftables: {what}: expected {expected}, found {found}")]
    Inexpressible {
        /// Which value of the input.
        what: String,
        /// What can be expressed.
        expected: String,
        /// What was asked for.
        found: String,
    },
}

impl Error {
    /// The errno behind this error, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Netlink(error) => error.errno(),
            Error::Refused { errno, .. } => Some(*errno),
            Error::GenerationMoved { .. } => Some(libc::ERESTART),
            Error::Unstable { .. }
            | Error::Foreign { .. }
            | Error::Unreadable { .. }
            | Error::Inexpressible { .. }
            | Error::Stopped => None,
        }
    }

    /// What is in the kernel is not what this process believes (an object is missing, there already, or in use):
    /// read it, plan again, and try again.
    #[must_use]
    pub fn is_drift(&self) -> bool {
        matches!(self, Error::GenerationMoved { .. })
            || matches!(self.errno(), Some(libc::ENOENT | libc::EEXIST | libc::EBUSY | libc::ENFILE))
    }
}

fn words(message: &Option<String>) -> String {
    message.as_ref().map_or_else(String::new, |text| format!(" ({text})"))
}

fn hint(errno: i32) -> &'static str {
    match errno {
        libc::ENFILE => ": the set's size is exhausted",
        libc::EMLINK => ": too many nested jumps, or the chain or counter is still referred to",
        libc::EBUSY => ": it is still referred to",
        libc::EPERM => ": CAP_NET_ADMIN is missing, or another process owns the table",
        libc::EOPNOTSUPP => ": the kernel does not have this feature",
        _ => "",
    }
}
