//! The definitions of Calico's kinds, put into a cluster: for who moves into one that has never seen them.

use std::time::{Duration, Instant};

use ::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Kubernetes, escaped, head, trouble};
use crate::{Error, Result};

const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const JSON: &str = "application/json";

/// How long the API server may take until it serves a kind that was defined, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(50);

impl Kubernetes {
    /// Create these CustomResourceDefinitions, or replace those that are there, and wait until the cluster serves their kinds.
    ///
    /// # Errors
    /// The API's words, with the definition's name.
    pub fn define(&self, definitions: &[Value]) -> Result<()> {
        self.block_on(async {
            for definition in definitions {
                self.define_one(definition).await?;
            }
            let deadline = Instant::now() + PATIENCE;
            for definition in definitions {
                self.await_definition(name(definition), deadline).await?;
            }
            Ok(())
        })
    }

    async fn define_one(&self, definition: &Value) -> Result<()> {
        let name = name(definition);
        let attempt = format!("create the definition {name}");
        loop {
            let body = Some((JSON, Bytes::from(definition.to_string())));
            let answer = self.api.ask(&attempt, Method::POST, PATH, body).await?;
            match answer.status {
                StatusCode::CREATED | StatusCode::OK => return Ok(()),
                StatusCode::CONFLICT => {}
                _ => return Err(trouble::explain(&attempt, &answer)),
            }
            let path = format!("{PATH}/{}", escaped(name));
            let found = self.api.ask(&attempt, Method::GET, &path, None).await?;
            match found.status {
                StatusCode::OK => {}
                // It has gone meanwhile.
                StatusCode::NOT_FOUND => continue,
                _ => return Err(trouble::explain(&attempt, &found)),
            }
            let mut replacement = definition.clone();
            replacement["metadata"]["resourceVersion"] = json!(head(&attempt, &found.body)?.resource_version);
            let body = Some((JSON, Bytes::from(replacement.to_string())));
            let answer = self.api.ask(&attempt, Method::PUT, &path, body).await?;
            match answer.status {
                StatusCode::OK => return Ok(()),
                // Another was faster, or it has gone.
                StatusCode::CONFLICT | StatusCode::NOT_FOUND => {}
                _ => return Err(trouble::explain(&attempt, &answer)),
            }
        }
    }

    async fn await_definition(&self, name: &str, deadline: Instant) -> Result<()> {
        let attempt = format!("wait for the definition {name}");
        let path = format!("{PATH}/{}", escaped(name));
        loop {
            let answer = self.api.ask(&attempt, Method::GET, &path, None).await?;
            if answer.status != StatusCode::OK {
                return Err(trouble::explain(&attempt, &answer));
            }
            let found: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let conditions = found.pointer("/status/conditions").and_then(Value::as_array);
            let is = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
            if conditions.is_some_and(|conditions| conditions.iter().any(is)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::unavailable(attempt, "the API server doesn't establish it"));
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }
}

fn name(definition: &Value) -> &str {
    definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}
