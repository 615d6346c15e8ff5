//! Objects of the Kubernetes API that no key stands for: leases, tokens, a node's conditions. As JSON, by their paths.
//!
//! Used by the controllers (who leads) and the agent; everything else comes by the keys of a datastore.

use ::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;

use super::{Kubernetes, trouble};
use crate::{Error, Result};

/// How an object is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// A new one, to its collection's path.
    Create,
    /// In the place of one, to its own path.
    Replace,
    /// A part of one: lists with keys of their own, as conditions, are merged by these.
    Patch,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// The object, as it stands now.
    Done(Value),
    /// There is one already, or it isn't the one of `metadata.resourceVersion` any more.
    Conflict,
    /// There is none, or no such collection.
    Missing,
}

impl Kubernetes {
    /// The object at a path, for example `/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], and [`Error::Refused`] with what the server says.
    pub fn object_at(&self, path: &str) -> Result<Option<Value>> {
        let attempt = format!("get {path}");
        self.block_on(async {
            let answer = self.api.ask(&attempt, Method::GET, path, None).await?;
            match answer.status {
                StatusCode::OK => json(&attempt, &answer.body).map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(trouble::explain(&attempt, &answer)),
            }
        })
    }

    /// Sends an object.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unknown`], and [`Error::Refused`] with what the server says.
    pub fn send_object(&self, send: Send, path: &str, object: &Value) -> Result<Sent> {
        let (verb, method, media) = match send {
            Send::Create => ("create", Method::POST, "application/json"),
            Send::Replace => ("replace", Method::PUT, "application/json"),
            Send::Patch => ("patch", Method::PATCH, "application/strategic-merge-patch+json"),
        };
        let attempt = format!("{verb} {path}");
        self.block_on(async {
            let body = Some((media, Bytes::from(object.to_string())));
            let answer = self.api.ask(&attempt, method, path, body).await?;
            match answer.status {
                StatusCode::OK | StatusCode::CREATED => json(&attempt, &answer.body).map(Sent::Done),
                StatusCode::CONFLICT => Ok(Sent::Conflict),
                StatusCode::NOT_FOUND => Ok(Sent::Missing),
                _ => Err(trouble::explain(&attempt, &answer)),
            }
        })
    }
}

fn json(attempt: &str, body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body)
        .map_err(|error| Error::unavailable(attempt, format!("an answer that isn't Kubernetes': {error}")))
}
