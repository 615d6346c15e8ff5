//! The node in Kubernetes, where there is a cluster: whether its network works, and the plugin's token.
//!
//! Both are parts of the cluster's own objects, whatever datastore Calico's objects are in.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tortie_api::endpoint::NodeSpec;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::kubernetes::{Kubernetes, Send, Sent};
use tortie_store::resources::{Client, Labels, read_timestamp, timestamp};

use crate::Result;
use crate::monitors::spawn;

/// How long a token is asked for, seconds: a day, as Calico's.
const LIFE: u64 = 24 * 3600;

/// A node of a cluster.
#[derive(Clone)]
pub struct Machine {
    cluster: Kubernetes,
    /// Its name there.
    name: String,
}

/// Whether a node's network works, as Kubernetes is told; words and reasons are Calico's, for whoever looks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Up,
    /// The agent stops: pods that are there go on, new ones must wait.
    Down,
}

impl Machine {
    /// The node of this name.
    pub fn new(cluster: Kubernetes, name: String) -> Self {
        Machine { cluster, name }
    }

    /// Its name in Kubernetes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster.
    pub fn cluster(&self) -> &Kubernetes {
        &self.cluster
    }

    /// Sets the node's condition NetworkUnavailable. False if Kubernetes has no such node.
    ///
    /// # Errors
    /// Those of the API.
    pub fn tell(&self, health: Health) -> Result<bool> {
        let path = format!("/api/v1/nodes/{}/status", self.name);
        let now = timestamp(SystemTime::now());
        let sent = self.cluster.send_object(Send::Patch, &path, &condition(health, &now))?;
        Ok(matches!(sent, Sent::Done(_)))
    }

    /// The addresses that the node's object names as its internal ones, in their order.
    ///
    /// # Errors
    /// Those of the API. None if Kubernetes has no such node.
    pub fn addresses(&self) -> Result<Vec<IpAddr>> {
        let Some(node) = self.cluster.object_at(&format!("/api/v1/nodes/{}", self.name))? else {
            return Ok(Vec::new());
        };
        let named = node["status"]["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
        let internal = named.iter().filter(|address| address["type"] == "InternalIP");
        Ok(internal.filter_map(|address| address["address"].as_str()?.parse().ok()).collect())
    }

    /// A token of a service account, and for how long it is good.
    ///
    /// # Errors
    /// Those of the API, and if there is no such account.
    pub fn token(&self, namespace: &str, account: &str) -> Result<(String, Duration)> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let wanted = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": LIFE},
        });
        let refused = |cause: &str| tortie_store::Error::Refused {
            attempt: format!("create a token for the service account {namespace}/{account}"),
            cause: cause.to_owned(),
        };
        let Sent::Done(answer) = self.cluster.send_object(Send::Create, &path, &wanted)? else {
            return Err(refused("there is no such account (CALICO_CNI_SERVICE_ACCOUNT)").into());
        };
        let status = &answer["status"];
        let token = status["token"].as_str().ok_or_else(|| refused("the answer holds none"))?;
        let end = status["expirationTimestamp"].as_str().and_then(read_timestamp);
        let left = end.and_then(|end| end.duration_since(SystemTime::now()).ok());
        Ok((token.to_owned(), left.unwrap_or(Duration::from_secs(LIFE))))
    }
}

/// A node that has been told to be up, as long as the agent runs.
pub struct Up {
    machine: Machine,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// How soon it is tried again to tell that a node is up; doubles up to [`LONGEST`].
const SOON: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(32);

impl Up {
    /// Tells that the node is up, in a thread of its own, until it has been told.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn tell(machine: &Machine) -> Result<Up> {
        let (machine, stopped) = (machine.clone(), Arc::new(AtomicBool::new(false)));
        let (telling, given_up) = (machine.clone(), Arc::clone(&stopped));
        let thread = spawn("node", move || {
            let mut rest = SOON;
            while !given_up.load(Ordering::Relaxed) {
                match telling.tell(Health::Up) {
                    Ok(true) => {
                        return tracing::info!(
                            node = telling.name,
                            "Kubernetes knows that the network works"
                        );
                    }
                    Ok(false) => tracing::warn!(
                        node = telling.name,
                        "Kubernetes has no such node (CALICO_K8S_NODE_REF)"
                    ),
                    Err(error) => {
                        tracing::warn!(%error, "Kubernetes does not know yet that the network works")
                    }
                }
                // In parts, so that an agent that stops doesn't wait for it.
                let mut left = rest;
                while !left.is_zero() && !given_up.load(Ordering::Relaxed) {
                    sleep(left.min(SOON));
                    left = left.saturating_sub(SOON);
                }
                rest = (rest * 2).min(LONGEST);
            }
        })?;
        Ok(Up { machine, stopped, thread })
    }

    /// Tells that the agent stops. What can't be told is logged.
    pub fn down(self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Whatever it is at is told before.
        drop(self.thread.join());
        if let Err(error) = self.machine.tell(Health::Down) {
            tracing::warn!(%error, "Kubernetes does not know that the agent stops");
        }
    }
}

/// Makes the stored node say which node of Kubernetes it is, where those are two objects: the controllers need it to tell a
/// node that is gone from one that was never there.
///
/// # Errors
/// Those of the datastore.
pub fn refer(client: &Client, node: &str, machine: &str) -> Result<()> {
    if client.store().knows_pods() {
        return Ok(());
    }
    let key = ResourceKey::cluster(Kind::Node, node);
    let found = client.get_as::<NodeSpec>(&key)?;
    if found.spec.orch_refs.iter().any(|of| of.orchestrator == "k8s" && of.node_name == machine) {
        return Ok(());
    }
    let mut object = client.get(&key)?;
    let mut references: Vec<Value> = object["spec"]["orchRefs"].as_array().cloned().unwrap_or_default();
    references.retain(|of| of["orchestrator"] != "k8s");
    references.push(json!({"nodeName": machine, "orchestrator": "k8s"}));
    object["spec"]["orchRefs"] = json!(references);
    client.update(object, Labels::Replace)?;
    Ok(())
}

fn condition(health: Health, now: &str) -> Value {
    let (status, reason, message) = match health {
        Health::Up => ("False", "CalicoIsUp", "Calico is running on this node"),
        Health::Down => ("True", "CalicoIsDown", "Calico is shutting down on this node"),
    };
    json!({"status": {"conditions": [{
        "type": "NetworkUnavailable", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": now, "lastHeartbeatTime": now,
    }]}})
}
