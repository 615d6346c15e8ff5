//! A host in a namespace of its own with a store, and pods to attach.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tortie_api::endpoint::WorkloadEndpoint;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_cni::{Context, Gate, Judging, Plugin, Reply, Request, execute};
use tortie_netlink::rtnetlink::LinkRef;
use tortie_netlink::{OwnedNamespace, Rtnetlink};
use tortie_store::embedded::{Embedded, Options};
use tortie_store::ipam::Allocator;
use tortie_store::resources::{Client, Labels};

static NEXT: AtomicU32 = AtomicU32::new(1000);

/// A namespace that the lab's sweeper would remove if we were killed.
pub fn mk_namespace() -> OwnedNamespace {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OwnedNamespace::create(&format!("tt-{}-{number}-cni", std::process::id())).unwrap()
}

/// A host: namespace and store.
pub struct Host {
    pub namespace: OwnedNamespace,
    pub client: Client,
    /// As in an agent; a plugin's process has none.
    pub allocator: Allocator,
    pub directory: tempfile::TempDir,
}

/// A gate without policy that writes down its calls, and may refuse.
#[derive(Default)]
pub struct OpenGate {
    pub calls: Mutex<Vec<String>>,
    pub refuses: bool,
}

impl Gate for OpenGate {
    fn close(&self) -> Result<(), String> {
        self.calls.lock().unwrap().push("close".into());
        Ok(())
    }

    fn judge(&self, endpoint: WorkloadEndpoint) -> Result<Judging<'_>, String> {
        let (interface, name) = (endpoint.spec.interface_name, endpoint.metadata.name);
        assert!(stands(&interface), "{interface} is judged before it is there");
        assert!(!endpoint.metadata.resource_version.is_empty(), "{name} is judged before it is stored");
        self.calls.lock().unwrap().push(format!("judge {}/{name} {interface}", endpoint.metadata.namespace));
        Ok(Box::new(move || {
            self.calls.lock().unwrap().push(format!("judged {interface}"));
            if self.refuses { Err("refused on purpose".into()) } else { Ok(()) }
        }))
    }

    fn gone(&self, endpoint: &ResourceKey, interface: &str) {
        assert!(!stands(interface), "{interface} is said to be gone while packets may come from it");
        self.calls.lock().unwrap().push(format!("gone {} {interface}", endpoint.full_name()));
    }
}

fn stands(interface: &str) -> bool {
    Rtnetlink::open().unwrap().link(LinkRef::Name(interface)).unwrap().is_some()
}

/// A node `node-1` and pools of 64 IPv4 and 64 IPv6 addresses.
pub fn furnish(client: &Client) {
    client.ensure_initialized().unwrap();
    create(client, "Node", "node-1", json!({}));
    create(client, "IPPool", "pool4", json!({ "cidr": "10.20.0.0/26" }));
    create(client, "IPPool", "pool6", json!({ "cidr": "fd20::/122" }));
}

fn create(client: &Client, kind: &str, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": { "name": name }, "spec": spec,
    });
    client.create(object).unwrap();
}

impl Host {
    /// A furnished store.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(Options::new(directory.path().join("tortie.db"))).unwrap();
        let client = Client::new(Arc::new(store));
        furnish(&client);
        let store = client.store();
        let allocator = Allocator::new(store.deferred().unwrap_or_else(|| Arc::clone(store)));
        Host { namespace: mk_namespace(), client, allocator, directory }
    }

    pub fn create(&self, kind: &str, name: &str, spec: Value) {
        create(&self.client, kind, name, spec);
    }

    /// Runs a call with an open gate; the JSON printed.
    pub fn call(&self, call: &Call<'_>) -> (Reply, Value) {
        self.call_with(call, &OpenGate::default())
    }

    pub fn call_with(&self, call: &Call<'_>, gate: &OpenGate) -> (Reply, Value) {
        let config = call.config.to_string();
        let request = match Request::parse(call.plugin, &call.environment(), config.as_bytes()) {
            Ok(request) => request,
            Err(error) => return (Reply::error(&error, "1.0.0"), error.to_json("1.0.0")),
        };
        let pod = call.pod.map(|pod| pod.try_clone().unwrap());
        let client = self.client.clone();
        let reply = self
            .namespace
            .run(move || {
                let allocator = Some(&self.allocator);
                let context = Context {
                    client: &client,
                    cluster: None,
                    gate,
                    node: "node-1",
                    view: None,
                    allocator,
                    mtu: &|| None,
                };
                execute(&context, &request, pod.as_ref())
            })
            .unwrap();
        let json = serde_json::from_str(&reply.stdout).unwrap_or(Value::Null);
        (reply, json)
    }

    pub fn set_ready(&self, ready: bool) {
        let key = ResourceKey::cluster(Kind::ClusterInformation, "default");
        let mut information = self.client.get(&key).unwrap();
        information["spec"]["datastoreReady"] = json!(ready);
        self.client.update(information, Labels::Merge).unwrap();
    }

    pub fn endpoints(&self) -> Vec<Value> {
        self.client.list(Kind::WorkloadEndpoint, None).unwrap().items
    }

    /// Keys of handles.
    pub fn handles(&self) -> Vec<String> {
        let prefix = tortie_store::keys::ipam_handle("");
        let items = self.client.store().list_all(&prefix).unwrap().items;
        items.iter().map(|item| item.key[prefix.len()..].to_owned()).collect()
    }

    /// Addresses in use in all blocks.
    pub fn used(&self) -> usize {
        let blocks = self.client.store().list_all("/calico/ipam/v2/assignment/").unwrap().items;
        let count = |value: &[u8]| {
            let block: Value = serde_json::from_slice(value).unwrap();
            block["allocations"].as_array().unwrap().iter().filter(|one| !one.is_null()).count()
        };
        blocks.iter().map(|block| count(&block.value)).sum()
    }

    /// Names of interfaces but loopback.
    pub fn interfaces(&self) -> Vec<String> {
        interfaces(&self.namespace)
    }
}

pub fn interfaces(namespace: &OwnedNamespace) -> Vec<String> {
    let links = tortie_netlink::Rtnetlink::open_in(namespace).unwrap().links().unwrap();
    links.into_iter().map(|link| link.name).filter(|name| name != "lo").collect()
}

/// A call to make.
#[derive(Clone)]
pub struct Call<'a> {
    pub command: &'a str,
    pub container: &'a str,
    pub args: String,
    pub pod: Option<&'a OwnedNamespace>,
    pub plugin: Plugin,
    pub config: Value,
}

impl<'a> Call<'a> {
    /// An ADD of container `c1`, pod shop/web-1, dual stack.
    pub fn add(pod: &'a OwnedNamespace) -> Self {
        Call {
            command: "ADD",
            container: "c1",
            args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1".into(),
            pod: Some(pod),
            plugin: Plugin::Network,
            config: json!({
                "cniVersion": "1.0.0", "name": "net1", "type": "calico", "mtu": 1400,
                "ipam": { "type": "calico-ipam", "assign_ipv6": "true" },
                "args": { "cni": { "labels": [{ "key": "app", "value": "web" }] } },
            }),
        }
    }

    pub fn command(&self, command: &'a str) -> Self {
        Call { command, ..self.clone() }
    }

    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::from([
            ("CNI_COMMAND".to_owned(), self.command.to_owned()),
            ("CNI_CONTAINERID".to_owned(), self.container.to_owned()),
            ("CNI_IFNAME".to_owned(), "eth0".to_owned()),
            ("CNI_ARGS".to_owned(), self.args.clone()),
            ("CNI_PATH".to_owned(), "/usr/lib/cni:/opt/cni/bin".to_owned()),
        ]);
        if let Some(pod) = self.pod {
            environment.insert("CNI_NETNS".into(), pod.path().display().to_string());
        }
        environment
    }
}
