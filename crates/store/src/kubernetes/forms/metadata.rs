//! Metadata of Kubernetes' own objects, trimmed while it is read: of what the API sends, bookkeeping of field managers is half.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tortie_api::meta::{ObjectMeta, StringMap};
use tortie_api::schema::null_is_default;

use super::Unreadable;
use super::json::{self, Head};

/// What kubectl keeps on each object that it applies: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The metadata that anything of ours reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// The object's name.
    pub name: String,
    /// The prefix of a generated name.
    pub generate_name: String,
    /// Its namespace; empty in collections of cluster scope.
    pub namespace: String,
    /// Its `uid`.
    pub uid: String,
    /// Its version, a number in text.
    pub resource_version: String,
    /// When it was created, RFC 3339.
    pub creation_timestamp: Option<String>,
    /// When its deletion was asked for, RFC 3339.
    pub deletion_timestamp: Option<String>,
    /// Its labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: StringMap,
    /// Its annotations.
    #[serde(deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// The annotation of that name.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    /// The name, version and so on.
    ///
    /// # Errors
    /// If there is no name, or the version is no number.
    pub fn head(&self) -> Result<Head, Unreadable> {
        json::of_metadata(self.namespace.clone(), self.name.clone(), self.uid.clone(), &self.resource_version)
    }

    /// The metadata of the value.
    pub fn kept(mut self) -> ObjectMeta {
        self.annotations.remove(LAST_APPLIED);
        ObjectMeta {
            name: self.name,
            generate_name: self.generate_name,
            namespace: self.namespace,
            uid: self.uid,
            creation_timestamp: self.creation_timestamp,
            labels: self.labels,
            annotations: self.annotations,
            ..ObjectMeta::default()
        }
    }
}

/// An object of a trimmed type.
///
/// # Errors
/// If it doesn't fit the type; with the object's key if that could be read.
pub fn parse<T: DeserializeOwned>(prefix: &str, object: &[u8]) -> Result<T, Unreadable> {
    #[derive(Deserialize)]
    struct Only {
        metadata: Metadata,
    }
    json::parse(object).map_err(|fault| {
        let head = serde_json::from_slice::<Only>(object).ok().and_then(|only| only.metadata.head().ok());
        match head {
            Some(head) => head.known(&head.key(prefix), fault),
            None => fault,
        }
    })
}
