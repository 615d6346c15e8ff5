//! What a call does: the same code in the agent and in a plugin process without one.
//!
//! ADD: ready? -> closed -> addresses -> wires -> endpoint stored -> judged. What fails undoes what it did.
//! Both read the store once ([`ahead`]), write it several times and wait for its disk once, beside what the kernel does.
//! DEL: wires gone -> connections forgotten -> endpoint gone -> addresses released; each is tried whatever the others
//! did, and nothing there is success.

mod add;
mod ahead;
mod del;
mod gc;
mod look;
mod pods;

use crate::address::Addresses;
use crate::identity::Identity;
use crate::output::versions;
use crate::request::{Command, NEWEST, Plugin, Request};
use crate::{Error, Gate, Result, address};
use serde_json::Value;
use std::sync::Arc;
use tortie_api::cluster::ClusterInformationSpec;
use tortie_api::endpoint::WorkloadEndpoint;
use tortie_api::endpoint::WorkloadEndpointSpec;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_ipam::View;
use tortie_netlink::Namespace;
use tortie_store::ipam::Allocator;
use tortie_store::resources::Client;

/// What a call is executed with.
pub struct Context<'a> {
    /// The store.
    pub client: &'a Client,
    /// Kubernetes, where the store isn't its API and pods are read there; else what the configuration names.
    pub cluster: Option<&'a Client>,
    /// Closed before, judged after.
    pub gate: &'a dyn Gate,
    /// The node's name if the configuration and its file say none: the agent's own, or the hostname.
    pub node: &'a str,
    /// Pools and nodes as the agent's watch has them; read from the store if none.
    pub view: Option<Arc<View>>,
    /// What assigns addresses in a process that lives on.
    pub allocator: Option<&'a Allocator>,
    /// The MTU of a pod whose configuration names none, bytes; asked for when one is wired. None: the kernel's.
    pub mtu: &'a (dyn Fn() -> Option<u32> + Sync),
}

/// The answer: what goes to standard output, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 0, or 1 with an error on standard output.
    pub exit: u8,
    /// JSON, or nothing.
    pub stdout: String,
}

impl Reply {
    /// A result.
    #[must_use]
    pub fn of(result: Option<Value>) -> Self {
        Reply { exit: 0, stdout: result.map_or_else(String::new, |json| json.to_string()) }
    }

    /// An error, in the configuration's version.
    #[must_use]
    pub fn error(error: &Error, version: &str) -> Self {
        let version = if crate::request::VERSIONS.contains(&version) { version } else { NEWEST };
        Reply { exit: 1, stdout: error.to_json(version).to_string() }
    }
}

/// Executes a call in the calling thread's network namespace, which is the host's. `pod` is the container's network
/// namespace, opened; DEL does without.
#[must_use]
pub fn execute(context: &Context<'_>, request: &Request, pod: Option<&Namespace>) -> Reply {
    let done = ahead::read(context, request).and_then(|client| {
        let context = Context { client: &client, view: context.view.clone(), ..*context };
        let request = pods::completed(&context, request)?;
        dispatch(&context, &request, pod)
    });
    match done {
        Ok(result) => Reply::of(result),
        Err(error) => {
            let (container, code) = (&request.container_id, error.code());
            tracing::warn!(command = ?request.command, container, code, %error, "CNI call failed");
            Reply::error(&error, request.version())
        }
    }
}

fn dispatch(context: &Context<'_>, request: &Request, pod: Option<&Namespace>) -> Result<Option<Value>> {
    match (request.plugin, request.command) {
        (_, Command::Version) => Ok(Some(versions())),
        (Plugin::Network, Command::Add) => {
            needed(pod).and_then(|pod| add::add(context, request, pod)).map(Some)
        }
        (Plugin::Network, Command::Del) => del::del(context, request, pod).map(|()| None),
        (Plugin::Network, Command::Check) => {
            needed(pod).and_then(|pod| look::check(context, request, pod)).map(|()| None)
        }
        (_, Command::Status) => look::status(context, request).map(|()| None),
        (Plugin::Network, Command::Gc) => gc::gc(context, request).map(|()| None),
        (Plugin::Ipam, Command::Add) => add::add_addresses(context, request).map(Some),
        (Plugin::Ipam, Command::Del) => del::release_addresses(context, request).map(|()| None),
        (Plugin::Ipam, Command::Check | Command::Gc) => Ok(None),
    }
}

fn needed(pod: Option<&Namespace>) -> Result<&Namespace> {
    pod.ok_or_else(|| Error::MissingEnvironment { names: vec!["CNI_NETNS"] })
}

impl Context<'_> {
    fn identity(&self, request: &Request) -> Identity {
        Identity::of(request, &self.node_of(request))
    }

    /// The node's name: configuration, then its deprecated field, then the file, then the caller's.
    fn node_of(&self, request: &Request) -> String {
        let config = &request.config;
        for said in [&config.nodename, &config.hostname] {
            if !said.is_empty() {
                return said.clone();
            }
        }
        let file = match config.nodename_file.as_str() {
            "" => crate::config::DEFAULT_NODENAME_FILE,
            file => file,
        };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.trim().is_empty() { self.node.to_owned() } else { text.trim().to_owned() }
    }

    /// Calico's condition for every call that writes.
    fn ready(&self) -> Result<()> {
        let key = ResourceKey::cluster(Kind::ClusterInformation, "default");
        let information = self.client.get_as::<ClusterInformationSpec>(&key)?;
        match information.spec.datastore_ready {
            Some(false) | None => Err(Error::DatastoreNotReady),
            Some(true) => Ok(()),
        }
    }

    fn addresses(&self) -> Addresses<'_> {
        Addresses { client: self.client, allocator: self.allocator }
    }

    /// Returns when what this call has written has outlived what the store promises.
    fn persist(&self) -> Result<()> {
        Ok(self.client.store().persist()?)
    }

    fn view(&self, node: &str) -> Result<Arc<View>> {
        match &self.view {
            Some(view) => Ok(Arc::clone(view)),
            None => address::read_view(self.client, node).map(Arc::new),
        }
    }

    /// The stored endpoint of this identity, whatever container it has.
    fn stored(&self, identity: &Identity) -> Result<Option<WorkloadEndpoint>> {
        match self.client.get_as::<WorkloadEndpointSpec>(&identity.endpoint_key()) {
            Ok(endpoint) => Ok(Some(endpoint)),
            Err(tortie_store::Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
