//! A Kubernetes cluster's own API as datastore: Calico's objects as custom resources, pods as workload endpoints.
//!
//! The keys are the ones that stand on etcd; [`forms`] says which object holds each of them. Revisions are the API's resource
//! versions, which it takes from its own etcd: they grow with every write to anything in the cluster. There are no
//! transactions, so [`Datastore::most_writes`] is one, and a write whose answer is lost has to be looked up.
//!
//! ```text
//! Datastore -> forms (key and value <-> object) -> Session (connection, retries, who we are) -> http -> wire (HTTP/2, TLS)
//!     watch -> a task for each collection -> queue
//! ```
//! Our own client and not a library's, because those open a connection for each watch and keep what they read; here one
//! connection serves all, and an object is gone when its value has been passed on.

mod credentials;
mod definitions;
pub mod forms;
mod http;
mod kubeconfig;
mod list;
mod objects;
mod options;
pub mod reports;
pub mod server;
mod session;
mod trouble;
mod watch;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{Method, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use tokio::task::JoinSet;

pub use objects::{Send, Sent};
pub use options::{Credentials, Options, Plugin, SETTINGS};

use crate::datastore::{Read, Write};
use crate::{Datastore, Error, KeyValue, List, Listing, Result, Revision, Watch};
use forms::{Collection, Place};
use http::Answer;
use session::{Repeat, Request, Session};

/// How many requests are under way at once.
const AT_ONCE: usize = 32;

/// An open Kubernetes API. Clones share its connection, as threads may.
#[derive(Clone)]
pub struct Kubernetes {
    api: Arc<Api>,
    /// Where lists go on, by prefix, revision and last key.
    pages: Arc<Mutex<HashMap<list::Seam, list::Next>>>,
}

/// The API, and what of it is ours.
struct Api {
    session: Arc<Session>,
    collections: &'static [Collection],
}

/// What every object says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: Option<String>,
    resource_version: String,
    #[serde(rename = "continue")]
    go_on: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: Metadata,
}

impl Metadata {
    fn revision(&self) -> Revision {
        self.resource_version.parse().unwrap_or_default()
    }
}

impl Kubernetes {
    /// Make ready. Nothing is connected before the first call, which says what is wrong with the settings.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the system has no descriptors left.
    pub fn open(options: Options) -> Result<Kubernetes> {
        Kubernetes::with(options, forms::collections())
    }

    /// The same, of other collections: for the suite that all datastores run.
    ///
    /// # Errors
    /// As [`Kubernetes::open`].
    #[doc(hidden)]
    pub fn with(options: Options, collections: &'static [Collection]) -> Result<Kubernetes> {
        let session = Arc::new(Session::new(options)?);
        Ok(Kubernetes { api: Arc::new(Api { session, collections }), pages: Arc::default() })
    }

    fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.api.session.block_on(work)
    }
}

impl Api {
    /// The collection in which a key stands, and the object that holds it.
    fn place(&self, key: &str) -> Option<(&'static Collection, Place)> {
        let collection = forms::of_key(self.collections, key)?;
        Some((collection, collection.place(key)?))
    }

    async fn ask(
        &self,
        attempt: &str,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Answer> {
        let repeat = if method == Method::GET { Repeat::Harmless } else { Repeat::Never };
        self.session.ask(Request { attempt, method, path, body }, repeat).await
    }

    /// The object in a place, if there is one.
    async fn object(&self, attempt: &str, collection: &Collection, place: &Place) -> Result<Option<Bytes>> {
        let answer = self.ask(attempt, Method::GET, &path(collection, place, ""), None).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(trouble::explain(attempt, &answer)),
        }
    }

    /// What stands at a key.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        let Some((collection, place)) = self.place(key) else { return Ok(None) };
        match self.object(&format!("get {key}"), collection, &place).await? {
            Some(object) => Ok(held(collection, key, &object)?.map(key_value)),
            None => Ok(None),
        }
    }

    /// The API's revision, by a list that costs it little.
    async fn revision(&self) -> Result<Revision> {
        let attempt = "read the revision";
        // Kubernetes' own kinds are always there.
        let core = self.collections.iter().find(|collection| collection.api == forms::CORE);
        let Some(collection) = core.or(self.collections.first()) else { return Ok(Revision::ZERO) };
        let path = format!("{}?limit=1", list::path(collection, collection.namespace_of("").as_deref()));
        let answer = self.ask(attempt, Method::GET, &path, None).await?;
        match answer.status {
            StatusCode::OK => Ok(head(attempt, &answer.body)?.revision()),
            StatusCode::NOT_FOUND => Err(no_kinds(attempt)),
            _ => Err(trouble::explain(attempt, &answer)),
        }
    }
}

/// What an object says of itself.
fn head(attempt: &str, body: &[u8]) -> Result<Metadata> {
    let head: Head = serde_json::from_slice(body)
        .map_err(|error| Error::unavailable(attempt, format!("an answer that isn't Kubernetes': {error}")))?;
    Ok(head.metadata)
}

/// What `key` holds, if that is what the object holds.
fn held(collection: &Collection, key: &str, object: &[u8]) -> Result<Option<forms::Read>> {
    let read = collection
        .read(object)
        .map_err(|fault| Error::Unreadable { key: key.to_owned(), cause: fault.to_string() })?;
    Ok(read.filter(|read| read.key == key && !read.deleted))
}

/// What an object holds. One that can't be read holds itself, so that whoever decodes it says what is wrong with it; one
/// without a key is logged.
fn held_or_raw(collection: &Collection, object: &[u8]) -> Option<KeyValue> {
    let fault = match collection.read(object) {
        Ok(read) => return read.filter(|read| !read.deleted).map(key_value),
        Err(fault) => fault,
    };
    tracing::warn!(kind = collection.kind, key = fault.key, %fault, "an object that can't be read");
    let revision = Revision(fault.version.unwrap_or_default());
    Some(KeyValue { key: fault.key?, value: object.to_vec(), revision, create_revision: Revision::ZERO })
}

fn key_value(read: forms::Read) -> KeyValue {
    let forms::Read { key, value, version, .. } = read;
    // When an object was created isn't told.
    KeyValue { key, value, revision: Revision(version), create_revision: Revision::ZERO }
}

/// The API doesn't know a kind of ours.
fn no_kinds(attempt: &str) -> Error {
    let cause = "this cluster doesn't know Calico's kinds (crd.projectcalico.org); `kubectl apply` the manifest first";
    Error::Refused { attempt: attempt.to_owned(), cause: cause.to_owned() }
}

/// Where an object stands, and behind it for example `/status`.
fn path(collection: &Collection, place: &Place, behind: &str) -> String {
    format!("{}/{}{behind}", list::path(collection, place.namespace.as_deref()), escaped(&place.name))
}

/// A name in a path.
fn escaped(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut path, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte))
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
        path
    })
}

impl Datastore for Kubernetes {
    fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        self.block_on(self.api.get(key))
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>> {
        self.block_on(async {
            let mut found = vec![None; keys.len()];
            let mut under_way = JoinSet::new();
            for (number, key) in keys.iter().cloned().enumerate() {
                if under_way.len() == AT_ONCE {
                    take(&mut under_way, &mut found).await?;
                }
                let api = Arc::clone(&self.api);
                under_way.spawn(async move { (number, api.get(&key).await) });
            }
            while !under_way.is_empty() {
                take(&mut under_way, &mut found).await?;
            }
            Ok(found)
        })
    }

    fn list(&self, list: &List) -> Result<Listing> {
        self.block_on(self.page(list))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>> {
        Ok(Box::new(watch::KubernetesWatch::start(&self.api, prefix, after)?))
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.block_on(self.api.create(key, value))
    }

    fn update(&self, key: &str, value: &[u8], expected: Revision) -> Result<Revision> {
        self.block_on(self.api.update(key, value, Some(expected)))
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.block_on(self.api.put(key, value))
    }

    fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue> {
        self.block_on(self.api.delete(key, expected))
    }

    fn most_writes(&self) -> usize {
        1
    }

    fn knows_pods(&self) -> bool {
        true
    }

    fn write_all(&self, writes: &[Write]) -> Result<Vec<Revision>> {
        let write = match writes {
            [] => return Ok(Vec::new()),
            [write] => write,
            [first, ..] => {
                let attempt = format!("write {} and {} more", first.key, writes.len() - 1);
                let cause = "the Kubernetes API writes one object at a time".to_owned();
                return Err(Error::Refused { attempt, cause });
            }
        };
        Ok(vec![self.block_on(self.api.write(write))?])
    }

    fn write_each(&self, writes: &[Write]) -> Vec<Result<Revision>> {
        let cut_short = || Error::Unknown {
            attempt: "write several keys".to_owned(),
            cause: "it ended early".to_owned(),
        };
        let mut written: Vec<Result<Revision>> = writes.iter().map(|_| Err(cut_short())).collect();
        let done: Result<()> = self.block_on(async {
            let mut under_way = JoinSet::new();
            for (number, write) in writes.iter().cloned().enumerate() {
                if under_way.len() == AT_ONCE {
                    take(&mut under_way, &mut written).await?;
                }
                let api = Arc::clone(&self.api);
                under_way.spawn(async move { (number, Ok(api.write(&write).await)) });
            }
            while !under_way.is_empty() {
                take(&mut under_way, &mut written).await?;
            }
            Ok(())
        });
        if let Err(error) = done {
            tracing::warn!(%error, "some writes are unknown");
        }
        written
    }

    fn revision(&self) -> Result<Revision> {
        self.block_on(self.api.revision())
    }

    /// The API server forgets by itself, after five minutes if it isn't told otherwise.
    fn compact(&self, _: Revision) -> Result<u64> {
        Ok(0)
    }

    fn read_all(&self, reads: &[Read]) -> Result<Vec<Listing>> {
        self.block_on(async {
            let revision = self.api.revision().await?;
            let nothing = || Listing { revision, items: Vec::new(), more: false };
            let mut found: Vec<Listing> = reads.iter().map(|_| nothing()).collect();
            let mut under_way = JoinSet::new();
            for (number, read) in reads.iter().cloned().enumerate() {
                if under_way.len() == AT_ONCE {
                    take(&mut under_way, &mut found).await?;
                }
                let store = self.clone();
                under_way.spawn(async move {
                    let listing = match read {
                        Read::Prefix(prefix) => store.page(&List::prefix(prefix)).await,
                        Read::Key(key) => store.api.get(&key).await.map(|found| Listing {
                            revision,
                            items: found.into_iter().collect(),
                            more: false,
                        }),
                    };
                    (number, listing)
                });
            }
            while !under_way.is_empty() {
                take(&mut under_way, &mut found).await?;
            }
            Ok(found)
        })
    }
}

/// Takes what one of the reads that are under way has found.
async fn take<T: 'static>(under_way: &mut JoinSet<(usize, Result<T>)>, found: &mut [T]) -> Result<()> {
    if let Some(done) = under_way.join_next().await {
        let (number, outcome) = done.map_err(|error| Error::unavailable("read several keys", error))?;
        found[number] = outcome?;
    }
    Ok(())
}

impl Kubernetes {
    fn seams(&self) -> std::sync::MutexGuard<'_, HashMap<list::Seam, list::Next>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
