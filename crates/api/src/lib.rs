//! What a user says: identities, resources, selectors, validation and conversion.
//!
//! The lowest layer. Every type here is a value: nothing knows a socket, a file, a clock or a
//! thread. Objects enter through `decode` (user input) or serde (stored JSON); they leave as
//! [`event::Event`]s to `calc` and as [`resource::Resource`]s to `analysis`.

// So that macros of this crate name it alike from inside and outside.
extern crate self as tortie_api;

pub mod core;
pub mod endpoint;
pub mod event;
pub mod kind;
pub mod kubernetes;
pub mod meta;
pub mod policy;
pub mod pool;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod set;
pub mod value;
pub mod yaml;
