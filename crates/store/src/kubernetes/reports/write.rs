//! Reports as objects of the API: an event, which counts up where there is one already, and a condition of a status.

use std::time::SystemTime;

use ::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use tortie_api::kind::Kind;

use super::super::{Kubernetes, escaped, forms, path, trouble};
use super::Report;
use crate::resources::metadata::timestamp;
use crate::{Error, Result, keys};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Who tells, in the form that the API wants.
const CONTROLLER: &str = "projectcalico.org/tortie";
/// Where events of objects without a namespace stand.
const NO_NAMESPACE: &str = "default";
/// How long a note may be, in bytes, and what an event's name may take of the object's.
const MOST_NOTE: usize = 1_024;
const MOST_NAME: usize = 200;
/// The condition of a ClusterNetworkPolicy that says whether it is enforced as it is written.
const ACCEPTED: &str = "Accepted";
/// How often a status that others write is tried.
const ATTEMPTS: usize = 5;

impl Kubernetes {
    /// Writes a report; of an object that is gone there is none.
    ///
    /// # Errors
    /// The API's words.
    pub fn write_report(&self, report: &Report, instance: &str, now: SystemTime) -> Result<()> {
        self.block_on(async {
            let Report { key, note } = report;
            let store_key = keys::resource(key);
            let attempt = format!("report on {key}");
            let Some((collection, place)) = self.api.place(&store_key) else { return Ok(()) };
            for _ in 0..ATTEMPTS {
                let Some(bytes) = self.api.object(&attempt, collection, &place).await? else { return Ok(()) };
                let object: Value = serde_json::from_slice(&bytes).map_err(|error| {
                    Error::unavailable(&attempt, format!("an answer that isn't Kubernetes': {error}"))
                })?;
                if let Some(note) = note {
                    let event = event(collection, &object, note, instance, now);
                    self.write_event(&attempt, &event, now).await?;
                }
                if key.kind != Kind::KubernetesClusterNetworkPolicy {
                    return Ok(());
                }
                let Some(patch) = status(&object, note.as_deref(), now) else { return Ok(()) };
                let body = Some((MERGE_PATCH, Bytes::from(patch.to_string())));
                let path = path(collection, &place, "/status");
                let answer = self.api.ask(&attempt, Method::PATCH, &path, body).await?;
                match answer.status {
                    StatusCode::OK | StatusCode::NOT_FOUND => return Ok(()),
                    // Another has written the status meanwhile.
                    StatusCode::CONFLICT => {}
                    _ => return Err(trouble::explain(&attempt, &answer)),
                }
            }
            Err(Error::unavailable(attempt, "others write its status all the time"))
        })
    }

    /// Creates an event, or counts up the one that is there.
    async fn write_event(&self, attempt: &str, event: &Value, now: SystemTime) -> Result<()> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let path =
            format!("/apis/events.k8s.io/v1/namespaces/{}/events", escaped(text("/metadata/namespace")));
        let body = Some((JSON, Bytes::from(event.to_string())));
        let answer = self.api.ask(attempt, Method::POST, &path, body).await?;
        match answer.status {
            StatusCode::CREATED | StatusCode::OK => return Ok(()),
            StatusCode::CONFLICT => {}
            // What was created in a namespace that goes goes too.
            StatusCode::FORBIDDEN if trouble::said(&answer.body).1.contains("being terminated") => {
                return Ok(());
            }
            StatusCode::NOT_FOUND if trouble::said(&answer.body).1.contains("namespaces") => return Ok(()),
            _ => return Err(trouble::explain(attempt, &answer)),
        }
        let path = format!("{path}/{}", escaped(text("/metadata/name")));
        let found = self.api.ask(attempt, Method::GET, &path, None).await?;
        let found: Value = serde_json::from_slice(&found.body).unwrap_or_default();
        let count = found.pointer("/series/count").and_then(Value::as_i64).unwrap_or(1) + 1;
        let patch = json!({ "series": { "count": count, "lastObservedTime": precise(now) } });
        let body = Some((MERGE_PATCH, Bytes::from(patch.to_string())));
        let answer = self.api.ask(attempt, Method::PATCH, &path, body).await?;
        match answer.status {
            // It has ended meanwhile, and is made again in an hour.
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(trouble::explain(attempt, &answer)),
        }
    }
}

/// The event on an object: one for each object and note, whoever writes it and however often.
fn event(
    collection: &forms::Collection,
    object: &Value,
    note: &str,
    instance: &str,
    now: SystemTime,
) -> Value {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    let namespace = Some(text("namespace")).filter(|namespace| !namespace.is_empty());
    let sum = Sha1::digest(format!("{}\n{note}", text("uid")));
    let digits: String = sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name = cut(text("name"), MOST_NAME).trim_end_matches(['.', '-']);
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": format!("{name}.{digits}"), "namespace": namespace.unwrap_or(NO_NAMESPACE) },
        "eventTime": precise(now), "type": "Warning", "reason": "NotEnforcedAsWritten", "action": "Enforce",
        "note": cut(note, MOST_NOTE), "reportingController": CONTROLLER, "reportingInstance": cut(instance, 128),
        "regarding": {
            "apiVersion": collection.api_version(), "kind": collection.kind, "name": text("name"),
            "namespace": namespace.unwrap_or_default(), "uid": text("uid"),
            "resourceVersion": text("resourceVersion"),
        },
    })
}

/// What makes a status say what it should, beside what others say in it; `None` if it does.
fn status(object: &Value, note: Option<&str>, now: SystemTime) -> Option<Value> {
    let (is, reason) = if note.is_none() { ("True", "Enforced") } else { ("False", "NotEnforcedAsWritten") };
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    let mut conditions =
        object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut wanted = json!({
        "type": ACCEPTED, "status": is, "reason": reason, "message": note.unwrap_or_default(),
        "observedGeneration": generation, "lastTransitionTime": timestamp(now),
    });
    match conditions.iter_mut().find(|condition| condition["type"] == ACCEPTED) {
        Some(found) => {
            if found["status"] == wanted["status"] {
                wanted["lastTransitionTime"] = found["lastTransitionTime"].clone();
            }
            if *found == wanted {
                return None;
            }
            *found = wanted;
        }
        None => conditions.push(wanted),
    }
    let version = &object["metadata"]["resourceVersion"];
    Some(json!({ "metadata": { "resourceVersion": version }, "status": { "conditions": conditions } }))
}

/// A text of at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rfind(|at| text.is_char_boundary(*at)).unwrap_or_default();
    &text[..end]
}

/// A time in microseconds, as events have it.
fn precise(time: SystemTime) -> String {
    let part = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_micros();
    format!("{}.{part:06}Z", timestamp(time).trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_keeps_what_others_say_and_says_each_thing_once() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
        let mut object = json!({ "metadata": { "generation": 3, "resourceVersion": "7" } });
        let first = status(&object, None, now).expect("nothing is said yet");
        assert_eq!(first["status"]["conditions"][0]["status"], "True");
        assert_eq!(first["metadata"]["resourceVersion"], "7");
        object["status"] = first["status"].clone();
        let others = json!({ "type": "Other", "status": "Unknown" });
        object["status"]["conditions"].as_array_mut().expect("a list").insert(0, others.clone());
        assert_eq!(status(&object, None, now), None);
        let later = now + std::time::Duration::from_secs(1);
        let worse = status(&object, Some("why"), later).expect("it has changed");
        let conditions = &worse["status"]["conditions"];
        assert_eq!(conditions[0], others);
        assert_eq!(
            conditions[1],
            json!({
                "type": "Accepted", "status": "False", "reason": "NotEnforcedAsWritten", "message": "why",
                "observedGeneration": 3, "lastTransitionTime": "1970-01-02T00:00:01Z",
            })
        );
    }

    #[test]
    fn long_notes_are_cut_between_letters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("", 3), "");
    }
}
