//! A small world to write policy for, and verdicts as short texts.
//!
//! A flow is `FROM -> TO PROTOCOL`, the protocol `tcp/80`, `tcp/4000:80` (source port first),
//! `icmp/8.0` or a number. A verdict is `allow|deny POLICY#RULE` of one side, with what was met before
//! it in front: `log shop/p#0, allow shop/p#1`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};
use tortie_analysis::{
    Answer, By, Cluster, Decision, Enforcement, Flow, HostName, Party, Request, Step, judge,
};
use tortie_api::kind::Kind;
use tortie_api::resource::Resource;

/// Objects to judge by.
pub struct World(pub Vec<Resource>);

/// An object of a kind with metadata and spec.
pub fn object(kind: Kind, name: &str, labels: &str, spec: Value) -> Resource {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let labels: Value = pairs(labels).map(|(key, value)| (key.to_owned(), json!(value))).collect();
    read(kind, json!({"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec}))
}

/// An object of a kind from its JSON.
pub fn read(kind: Kind, json: Value) -> Resource {
    Resource::from_json(kind, json.to_string().as_bytes()).unwrap()
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace().map(|pair| pair.split_once('=').unwrap())
}

impl World {
    /// Namespaces shop (env=prod) and bank (env=dev), service accounts `default` in both, and web (trust=high) in
    /// shop; no policy. Pods web (account web), db and cache in shop, app=NAME; bank/teller.
    pub fn new() -> Self {
        Self(Vec::new())
            .add(Kind::Namespace, "shop", "env=prod", json!({}))
            .add(Kind::Namespace, "bank", "env=dev", json!({}))
            .add(Kind::ServiceAccount, "shop/default", "", json!({}))
            .add(Kind::ServiceAccount, "shop/web", "trust=high", json!({}))
            .add(Kind::ServiceAccount, "bank/default", "trust=low", json!({}))
            .pod("shop/web", "10.0.0.1 fd00::1", "app=web", json!({"serviceAccountName": "web"}))
            .pod("shop/db", "10.0.0.2 fd00::2", "app=db", json!({}))
            .pod("shop/cache", "10.0.0.3", "app=cache", json!({}))
            .pod("bank/teller", "10.0.1.1", "app=web", json!({}))
    }

    /// With an object.
    pub fn add(self, kind: Kind, name: &str, labels: &str, spec: Value) -> Self {
        self.with(object(kind, name, labels, spec))
    }

    /// With an object that is there already.
    pub fn with(mut self, resource: Resource) -> Self {
        self.0.push(resource);
        self
    }

    /// With a workload endpoint on node1; `more` goes over what is given.
    pub fn pod(self, name: &str, addresses: &str, labels: &str, more: Value) -> Self {
        let (namespace, pod) = name.split_once('/').unwrap();
        let account = more.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default").to_owned();
        let mut spec = json!({
            "node": "node1", "orchestrator": "k8s", "pod": pod, "endpoint": "eth0",
            "serviceAccountName": account,
            "interfaceName": format!("cali{pod}"),
            "ipNetworks": addresses.split(' ').collect::<Vec<_>>(),
            "profiles": [format!("kns.{namespace}"), format!("ksa.{namespace}.{account}")],
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.add(Kind::WorkloadEndpoint, &format!("{namespace}/node1-k8s-{pod}-eth0"), labels, spec)
    }

    /// With a NetworkPolicy.
    pub fn policy(self, name: &str, spec: Value) -> Self {
        self.add(Kind::NetworkPolicy, name, "", spec)
    }

    /// With a GlobalNetworkPolicy.
    pub fn global(self, name: &str, spec: Value) -> Self {
        self.add(Kind::GlobalNetworkPolicy, name, "", spec)
    }

    /// With a tier.
    pub fn tier(self, name: &str, spec: Value) -> Self {
        self.add(Kind::Tier, name, "", spec)
    }

    /// The cluster.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.0.iter().cloned())
    }

    /// The cluster of a dataplane that can't do everything.
    pub fn enforced(&self, enforcement: &Enforcement) -> Cluster {
        Cluster::with(self.0.iter().cloned(), enforcement)
    }

    /// The answer for a flow.
    pub fn judge(&self, text: &str) -> Answer {
        let cluster = self.cluster();
        judge(&cluster, &flow(&cluster, text))
    }

    /// The sender's side of a flow.
    pub fn egress(&self, text: &str) -> String {
        side(self.judge(text).egress.as_ref())
    }

    /// The receiver's side of a flow.
    pub fn ingress(&self, text: &str) -> String {
        side(self.judge(text).ingress.as_ref())
    }

    /// The side of the host endpoint that forwards a flow.
    pub fn forward(&self, text: &str) -> String {
        side(self.judge(text).forward.as_ref())
    }
}

/// One rule of ingress in a policy for shop/db.
pub fn on_db(rule: Value) -> Value {
    json!({"selector": "app == 'db'", "ingress": [rule]})
}

/// What a flow's text means. `host:NODE` is a node's first host endpoint, `host:NODE/NAME` one by name.
pub fn flow(cluster: &Cluster, text: &str) -> Flow {
    request(text).resolve(cluster).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A flow's text as a request.
pub fn request(text: &str) -> Request {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [from, "->", to, what, rest @ ..] = words.as_slice() else { panic!("{text}: not a flow") };
    let (protocol, detail) = what.split_once('/').map_or((*what, None), |(name, rest)| (name, Some(rest)));
    let (mut port, mut source_port, mut icmp_type, mut icmp_code) = (None, None, None, None);
    if let Some(detail) = detail {
        if let Some((icmp, code)) = detail.split_once('.') {
            (icmp_type, icmp_code) = (icmp.parse().ok(), code.parse().ok());
        } else if let Some((source, destination)) = detail.split_once(':') {
            (source_port, port) = (source.parse().ok(), destination.parse().ok());
        } else {
            port = detail.parse().ok();
        }
    }
    let host = |text: &str| {
        let (host, hep) = text.split_once('/').map_or((text, None), |(host, hep)| (host, Some(hep)));
        HostName { host: host.to_owned(), hep: hep.map(str::to_owned) }
    };
    let party = |text: &str| match text.strip_prefix("host:") {
        Some(text) => Party::Host(host(text)),
        None => Party::Name(text.to_owned()),
    };
    let (mut ip_version, mut via) = (None, None);
    for word in rest {
        match *word {
            "v4" => ip_version = Some(4),
            "v6" => ip_version = Some(6),
            word => via = Some(host(word.strip_prefix("via:").unwrap())),
        }
    }
    Request {
        id: Value::Null,
        from: party(from),
        to: party(to),
        protocol: protocol.parse().unwrap(),
        port,
        source_port,
        icmp_type,
        icmp_code,
        ip_version,
        via,
    }
}

/// One side as a text.
pub fn side(decision: Option<&Decision>) -> String {
    let Some(Decision { outcome, by: decided, path }) = decision else { return "none".to_owned() };
    let by = |by: &By| format!("{}#{}", by.policy(), by.rule());
    let mut words: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Log(at) => format!("log {}", by(at)),
            Step::Pass(at) => format!("pass {}", by(at)),
        })
        .collect();
    words.push(format!("{} {}", outcome.name(), by(decided)));
    words.join(", ")
}
