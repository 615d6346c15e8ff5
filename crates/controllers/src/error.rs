//! What can go wrong for the controllers.

/// A fault that ends the process, or a round.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The datastore's, or the Kubernetes API's.
    #[error(transparent)]
    Store(#[from] tortie_store::Error),
    /// A setting that can't work. The words are Calico's where it has any.
    #[error("{name}: found {found:?}, expected {expected}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The system gives no thread.
    #[error("start the thread {name}: {source}")]
    Thread {
        /// The thread.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
