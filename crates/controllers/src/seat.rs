//! Where the record of who leads stands: a Lease of Kubernetes, or a key of the datastore where there is no Kubernetes.
//!
//! Both are written under the version that was read, so of two who take it at once one is refused.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tortie_store::kubernetes::{Kubernetes, Send, Sent};
use tortie_store::{Datastore, Error, Revision};

use crate::lease::Record;

/// The key of the record in a datastore: beside Calico's keys, so that copies of those don't differ by it.
pub const KEY: &str = "/tortie/v1/controllers";

/// Where the record stands.
#[derive(Clone)]
pub enum Seat {
    /// In the Lease of a name in a namespace.
    Lease {
        /// The cluster.
        cluster: Kubernetes,
        /// Its namespace, which must exist.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// At [`KEY`].
    Key(Arc<dyn Datastore>),
}

/// What a record was read as: what has to be there for it to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Version {
    /// Nothing.
    Absent,
    /// The Lease as it was.
    Lease(Value),
    /// The key as it was then.
    Key(Revision),
}

/// The record as a key holds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    holder: String,
    seconds: u32,
    acquired: String,
    renewed: String,
    transitions: u32,
}

impl Seat {
    /// Where it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Seat::Lease { namespace, name, .. } => format!("Lease {namespace}/{name}"),
            Seat::Key(_) => format!("key {KEY}"),
        }
    }

    fn path(namespace: &str, name: &str) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}")
    }

    /// The record, if there is one.
    ///
    /// # Errors
    /// Those of the datastore or API.
    pub fn read(&self) -> Result<(Option<Record>, Version), Error> {
        match self {
            Seat::Lease { cluster, namespace, name } => {
                Ok(match cluster.object_at(&Self::path(namespace, name))? {
                    Some(lease) => (Some(of_lease(&lease)), Version::Lease(lease)),
                    None => (None, Version::Absent),
                })
            }
            Seat::Key(store) => Ok(match store.get(KEY)? {
                // What can't be read is nobody's.
                Some(kv) => (
                    Some(serde_json::from_slice(&kv.value).map(of_stored).unwrap_or_default()),
                    Version::Key(kv.revision),
                ),
                None => (None, Version::Absent),
            }),
        }
    }

    /// Writes the record in the place of what was read. Whether it is written; if not, another one was faster.
    ///
    /// # Errors
    /// Those of the datastore or API.
    pub fn write(&self, record: &Record, version: Version) -> Result<bool, Error> {
        match self {
            Seat::Lease { cluster, namespace, name } => {
                let path = Self::path(namespace, name);
                let (send, path, lease) = match version {
                    Version::Lease(lease) => (Send::Replace, path.as_str(), lease),
                    _ => {
                        let metadata = json!({"name": name, "namespace": namespace});
                        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata});
                        (Send::Create, path.trim_end_matches(&format!("/{name}")), lease)
                    }
                };
                match cluster.send_object(send, path, &into_lease(record, lease))? {
                    Sent::Done(_) => Ok(true),
                    Sent::Conflict => Ok(false),
                    Sent::Missing if send == Send::Create => Err(Error::Refused {
                        attempt: format!("create {}", self.describe()),
                        cause: format!(
                            "there is no namespace {namespace}; TORTIE_LEASE_NAMESPACE names another"
                        ),
                    }),
                    Sent::Missing => Ok(false),
                }
            }
            Seat::Key(store) => {
                let Record { holder, seconds, acquired, renewed, transitions } = record.clone();
                let value = json!(Stored { holder, seconds, acquired, renewed, transitions }).to_string();
                let written = match version {
                    Version::Key(revision) => store.update(KEY, value.as_bytes(), revision),
                    _ => store.create(KEY, value.as_bytes()),
                };
                match written {
                    Ok(_) => Ok(true),
                    Err(Error::Exists { .. } | Error::NotFound { .. } | Error::Conflict { .. }) => Ok(false),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

fn of_stored(stored: Stored) -> Record {
    let Stored { holder, seconds, acquired, renewed, transitions } = stored;
    Record { holder, seconds, acquired, renewed, transitions }
}

fn of_lease(lease: &Value) -> Record {
    let spec = &lease["spec"];
    let text = |name: &str| spec[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| spec[name].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    Record {
        holder: text("holderIdentity"),
        seconds: number("leaseDurationSeconds"),
        acquired: text("acquireTime"),
        renewed: text("renewTime"),
        transitions: number("leaseTransitions"),
    }
}

/// The Lease with another record; what isn't the record's stays, its version included.
fn into_lease(record: &Record, mut lease: Value) -> Value {
    let Record { holder, seconds, acquired, renewed, transitions } = record;
    let spec = &mut lease["spec"];
    spec["holderIdentity"] = json!(holder);
    spec["leaseDurationSeconds"] = json!(seconds);
    spec["acquireTime"] = json!(acquired);
    spec["renewTime"] = json!(renewed);
    spec["leaseTransitions"] = json!(transitions);
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_the_record_and_keeps_what_else_it_says() {
        let record = Record {
            holder: "one".into(),
            seconds: 15,
            acquired: "2026-11-23T00:00:00.000000Z".into(),
            renewed: "2026-11-23T00:00:02.000000Z".into(),
            transitions: 3,
        };
        let before = json!({"metadata": {"name": "x", "resourceVersion": "7", "labels": {"a": "b"}}, "spec": {"strategy": "s"}});
        let lease = into_lease(&record, before);
        assert_eq!(of_lease(&lease), record);
        assert_eq!(lease["metadata"], json!({"name": "x", "resourceVersion": "7", "labels": {"a": "b"}}));
        assert_eq!(lease["spec"]["strategy"], "s");
        assert_eq!(
            of_lease(&json!({"metadata": {}})),
            Record::default(),
            "a Lease that nobody has taken yet"
        );
    }
}
