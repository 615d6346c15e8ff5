//! What a user says: identities, resources, selectors, validation and conversion.
//!
//! The lowest layer. Every type here is a value: nothing knows a socket, a file, a clock or a
//! thread. Objects enter through `decode` (user input) or serde (stored JSON); they leave as
//! [`event::Event`]s to `calc` and as [`resource::Resource`]s to `analysis`.

// So that macros of this crate name it alike from inside and outside.
extern crate self as tortie_api;

pub mod bgp;
pub mod block;
pub mod cluster;
pub mod core;
pub mod crd;
pub mod decode;
pub mod defaults;
pub mod duration;
pub mod endpoint;
pub mod event;
pub mod fault;
pub mod felix;
pub mod first;
pub mod kind;
pub mod kubernetes;
pub mod meta;
pub mod migration;
pub mod node_status;
pub mod policy;
pub mod pool;
pub mod registry;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod set;
pub mod staged;
pub mod validate;
pub mod value;
pub mod yaml;
