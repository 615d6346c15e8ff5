//! Netlink sockets, links, routes, neighbours, connection tracking and network namespaces.
//!
//! Blocking, hand-written, no runtime: one request, one answer. It says what the kernel holds and does what it
//! is told; what *should* be there is decided above (`tortie-cni`, `tortie-agent`). `tortie-nft` builds its
//! transactions with [`Encoder`] and sends them through [`Socket`].
//!
//! ```text
//! Encoder -> Socket -> kernel -> Replies -> Attributes
//!    ^ rtnetlink::{link,address,route,neighbour}, conntrack, nflog
//! ```

pub mod attribute;
pub mod conntrack;
pub mod error;
pub mod message;
pub mod namespace;
pub mod nflog;
pub mod rtnetlink;
pub mod socket;
pub mod sys;
pub mod sysctl;
pub mod xtables;

pub use attribute::{Attribute, Attributes};
pub use conntrack::Conntrack;
pub use error::Error;
pub use message::{Encoder, Header, Messages};
pub use namespace::{Namespace, OwnedNamespace};
pub use nflog::Nflog;
pub use rtnetlink::Rtnetlink;
pub use socket::{Protocol, Received, Replies, Socket};

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
