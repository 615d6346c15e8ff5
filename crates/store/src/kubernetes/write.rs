//! Writes: one object at a time, each on the condition that it stands as the caller knows it.
//!
//! An object that holds more than our value (a Node, a Pod, a custom resource with finalizers) is read before it is written. What
//! Calico's programs marked as deleted and then left is deleted for them when its key is wanted.

use ::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

use super::forms::{self, Collection, Place, Removal, Written};
use super::{Api, head, held, key_value, no_kinds, path, trouble};
use crate::{Error, Expect, KeyValue, Result, Revision, Write};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What the server says of a write that meets something else than it expects.
enum Outcome {
    Done(Revision),
    /// There is such an object already, or it is another by now.
    Conflict,
    /// There is none.
    Missing,
}

/// An object, as it stands.
struct Standing {
    object: Value,
    read: Option<forms::Read>,
}

impl Api {
    /// The collection and the place of a key that can be written.
    fn target(&self, attempt: &str, key: &str) -> Result<(&'static Collection, Place)> {
        self.place(key).ok_or_else(|| {
            let cause = "the Kubernetes API has no place for this key".to_owned();
            Error::Refused { attempt: attempt.to_owned(), cause }
        })
    }

    async fn standing(
        &self,
        attempt: &str,
        collection: &Collection,
        key: &str,
        place: &Place,
    ) -> Result<Option<Standing>> {
        let Some(bytes) = self.object(attempt, collection, place).await? else { return Ok(None) };
        let object = serde_json::from_slice(&bytes).map_err(|error| {
            Error::unavailable(attempt, format!("an answer that isn't Kubernetes': {error}"))
        })?;
        let read = collection
            .read(&bytes)
            .map_err(|fault| Error::Unreadable { key: key.to_owned(), cause: fault.to_string() })?;
        Ok(Some(Standing { object, read }))
    }

    pub(super) async fn write(&self, write: &Write) -> Result<Revision> {
        let Write { key, value, expect } = write;
        match (value, expect) {
            (Some(value), Expect::Absent) => self.create(key, value).await,
            (Some(value), Expect::Anything) => self.put(key, value).await,
            (Some(value), Expect::At(expected)) => self.update(key, value, Some(*expected)).await,
            (Some(value), Expect::Present) => self.update(key, value, None).await,
            (None, Expect::At(expected)) => self.delete(key, Some(*expected)).await.map(|gone| gone.revision),
            (None, _) => self.delete(key, None).await.map(|gone| gone.revision),
        }
    }

    pub(super) async fn create(&self, key: &str, value: &[u8]) -> Result<Revision> {
        let attempt = format!("create {key}");
        let (collection, place) = self.target(&attempt, key)?;
        loop {
            if collection.creatable() {
                let written = written(&attempt, collection, key, value, None)?;
                match self.send(&attempt, collection, &place, Method::POST, &written).await? {
                    Outcome::Done(revision) => return Ok(revision),
                    Outcome::Missing => return Err(no_kinds(&attempt)),
                    Outcome::Conflict => {}
                }
            }
            // What stands in the way, if it still does.
            let Some(standing) = self.standing(&attempt, collection, key, &place).await? else {
                if collection.creatable() {
                    continue;
                }
                return Err(Error::NotFound { key: key.to_owned() });
            };
            match &standing.read {
                Some(read) if read.deleted => {
                    // Whether it went or another was faster, the next attempt finds out.
                    let _ = self.remove(&attempt, collection, &place, read).await?;
                }
                Some(read) if read.key == key => {
                    return Err(Error::Exists { key: key.to_owned(), found: Revision(read.version) });
                }
                _ if collection.creatable() => {
                    let cause = format!("{} {} holds another key", collection.kind, place.name);
                    return Err(Error::Refused { attempt, cause });
                }
                // Written to what others made.
                _ => {
                    let written = written(&attempt, collection, key, value, Some(&standing.object))?;
                    match self.send(&attempt, collection, &place, Method::PATCH, &written).await? {
                        Outcome::Done(revision) => return Ok(revision),
                        Outcome::Missing => return Err(Error::NotFound { key: key.to_owned() }),
                        Outcome::Conflict => {}
                    }
                }
            }
        }
    }

    /// Writes a key that must stand at `expected`, or at all.
    pub(super) async fn update(
        &self,
        key: &str,
        value: &[u8],
        expected: Option<Revision>,
    ) -> Result<Revision> {
        let attempt = format!("update {key}");
        let (collection, place) = self.target(&attempt, key)?;
        loop {
            // Zero is no version, and stands nowhere.
            let is_known = expected.is_some_and(|expected| expected > Revision::ZERO);
            let is_blind = is_known && !collection.keeps_standing();
            let standing = match is_blind {
                true => None,
                false => self.standing(&attempt, collection, key, &place).await?,
            };
            if !is_blind {
                let read = standing.as_ref().and_then(|standing| standing.read.as_ref());
                let found = read.filter(|read| read.key == key && !read.deleted);
                check(key, found.map(|read| Revision(read.version)), expected)?;
            }
            let mut written = written(
                &attempt,
                collection,
                key,
                value,
                standing.as_ref().map(|standing| &standing.object),
            )?;
            let version =
                expected.or_else(|| standing.as_ref()?.read.as_ref().map(|read| Revision(read.version)));
            if let (Some(version), Written::Object(object) | Written::Patch(object)) = (version, &mut written)
            {
                object["metadata"]["resourceVersion"] = json!(version.to_string());
            }
            let method = match &written {
                Written::Object(_) => Method::PUT,
                Written::Patch(_) => Method::PATCH,
            };
            match self.send(&attempt, collection, &place, method, &written).await? {
                Outcome::Done(revision) => return Ok(revision),
                Outcome::Missing => return Err(Error::NotFound { key: key.to_owned() }),
                // Another was faster.
                Outcome::Conflict => {
                    let found = self.get(key).await?.map(|found| found.revision);
                    check(key, found, expected)?;
                }
            }
        }
    }

    pub(super) async fn put(&self, key: &str, value: &[u8]) -> Result<Revision> {
        loop {
            match self.update(key, value, None).await {
                Err(Error::NotFound { .. }) => {}
                outcome => return outcome,
            }
            match self.create(key, value).await {
                Err(Error::Exists { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    pub(super) async fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue> {
        let attempt = format!("delete {key}");
        let (collection, place) = self.target(&attempt, key)?;
        loop {
            let found = match self.object(&attempt, collection, &place).await? {
                Some(object) => held(collection, key, &object)?,
                None => None,
            };
            check(key, found.as_ref().map(|read| Revision(read.version)), expected)?;
            let Some(read) = found else { return Err(Error::NotFound { key: key.to_owned() }) };
            match self.remove(&attempt, collection, &place, &read).await? {
                Outcome::Done(_) => return Ok(key_value(read)),
                // It is another one by now, or none.
                Outcome::Conflict | Outcome::Missing => {}
            }
        }
    }

    /// Removes what was read.
    async fn remove(
        &self,
        attempt: &str,
        collection: &Collection,
        place: &Place,
        read: &forms::Read,
    ) -> Result<Outcome> {
        match collection.removal() {
            Removal::Delete => {
                let preconditions = json!({ "resourceVersion": read.version.to_string(), "uid": read.uid });
                let options =
                    json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions });
                let body = Some((JSON, Bytes::from(options.to_string())));
                let answer = self.ask(attempt, Method::DELETE, &path(collection, place, ""), body).await?;
                match answer.status {
                    StatusCode::OK | StatusCode::ACCEPTED => Ok(Outcome::Done(Revision(read.version))),
                    StatusCode::NOT_FOUND => Ok(Outcome::Missing),
                    StatusCode::CONFLICT => Ok(Outcome::Conflict),
                    _ => Err(trouble::explain(attempt, &answer)),
                }
            }
            Removal::Patch(mut patch) => {
                patch["metadata"]["resourceVersion"] = json!(read.version.to_string());
                self.send(attempt, collection, place, Method::PATCH, &Written::Patch(patch)).await
            }
            Removal::Refused => {
                let cause = format!("a {} is the cluster's own; kubectl deletes it", collection.kind);
                Err(Error::Refused { attempt: attempt.to_owned(), cause })
            }
        }
    }

    async fn send(
        &self,
        attempt: &str,
        collection: &Collection,
        place: &Place,
        method: Method,
        written: &Written,
    ) -> Result<Outcome> {
        let (path, media, object) = match (written, &method) {
            (Written::Object(object), &Method::POST) => {
                (super::list::path(collection, place.namespace.as_deref()), JSON, object)
            }
            (Written::Object(object), _) => (path(collection, place, ""), JSON, object),
            (Written::Patch(patch), _) => (path(collection, place, "/status"), MERGE_PATCH, patch),
        };
        let creates = method == Method::POST;
        let answer = self.ask(attempt, method, &path, Some((media, Bytes::from(object.to_string())))).await?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => {
                Ok(Outcome::Done(head(attempt, &answer.body)?.revision()))
            }
            StatusCode::CONFLICT => Ok(Outcome::Conflict),
            // The namespace may be what is missing; the server says so.
            StatusCode::NOT_FOUND if creates && trouble::said(&answer.body).1.contains("namespaces") => {
                Err(trouble::explain(attempt, &answer))
            }
            StatusCode::NOT_FOUND => Ok(Outcome::Missing),
            _ => Err(trouble::explain(attempt, &answer)),
        }
    }
}

/// Refuses if what stands at a key isn't what is expected: something, or what was written at `expected`.
fn check(key: &str, found: Option<Revision>, expected: Option<Revision>) -> Result<()> {
    match (found, expected) {
        (None, _) => Err(Error::NotFound { key: key.to_owned() }),
        (Some(found), Some(expected)) if found != expected => {
            Err(Error::Conflict { key: key.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

fn written(
    attempt: &str,
    collection: &Collection,
    key: &str,
    value: &[u8],
    standing: Option<&Value>,
) -> Result<Written> {
    collection
        .write(key, value, standing)
        .map_err(|fault| Error::Refused { attempt: attempt.to_owned(), cause: fault.to_string() })
}
