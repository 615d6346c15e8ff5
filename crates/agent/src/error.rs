//! What keeps the agent from starting or going on.

use std::path::PathBuf;

/// Any failure of the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The datastore.
    #[error("datastore: {0}")]
    Store(#[from] tortie_store::Error),
    /// The kernel's tables.
    #[error("nftables: {0}")]
    Nft(#[from] tortie_nft::Error),
    /// Links, routes or namespaces.
    #[error("netlink: {0}")]
    Netlink(#[from] tortie_netlink::Error),
    /// The node's own address from a pool.
    #[error("addresses: {0}")]
    Addresses(String),
    /// A setting that can't work.
    #[error("{name} is {found:?}: expected {expected}")]
    Setting {
        /// The environment variable or field.
        name: String,
        /// What it is set to.
        found: String,
        /// What would work.
        expected: &'static str,
    },
    /// The socket that commands and CNI plugins ask at.
    #[error("socket {}: {source}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file.
    #[error("{}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A thread or descriptor of the process itself.
    #[error("{attempt}: {source}")]
    Process {
        /// What was tried.
        attempt: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Another agent answers at the socket.
    #[error("an agent is running already: it answers at {}", path.display())]
    Running {
        /// The socket's path.
        path: PathBuf,
    },
}

impl Error {
    /// Whether the same may succeed when it is tried again: a datastore can't be reached, or others were faster.
    pub fn passes(&self) -> bool {
        use tortie_store::Error::{Conflict, Unavailable, Unknown, UpdateConflict};
        let Error::Store(error) = self else { return false };
        matches!(error, Unavailable { .. } | Unknown { .. } | Conflict { .. } | UpdateConflict { .. })
    }
}

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;
