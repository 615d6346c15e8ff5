//! What a datastore tells: the way from `store` into `calc` and `agent`.

use crate::kind::ResourceKey;
use crate::resource::Resource;

/// One change in the datastore, or the word that the first listing is complete.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The object exists and reads so.
    Upsert(Resource),
    /// The object is gone.
    Delete(ResourceKey),
    /// The object exists but can't be read. A policy then denies what it selects.
    Unreadable {
        /// Which object.
        key: ResourceKey,
        /// What of it could still be read: the stored JSON, if it is JSON at all.
        json: Option<serde_json::Value>,
        /// Why it can't be read, for people.
        error: String,
    },
    /// All that existed at the start has been told.
    InSync,
}
