//! Random clusters and edits, small on purpose: few names, few labels, few addresses, so that
//! ties, overlaps, shadowing and reuse happen all the time.

use std::collections::BTreeMap;

use fastrand::Rng;
use tortie_api::core::{EndpointSlice, Namespace, ServiceAccount, SliceEndpoint, SlicePort};
use tortie_api::endpoint::{WorkloadEndpoint, WorkloadEndpointPort};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::meta::{ObjectMeta, StringMap};
use tortie_api::policy::{GlobalNetworkPolicy, NetworkPolicy, Profile, Tier, TierSpec};
use tortie_api::resource::{Converted, Resource};
use tortie_api::set::{GlobalNetworkSet, NetworkSet};
use tortie_api::value::Protocol;

use crate::rules::{Theme, rules, selector};

/// The node whose tables are checked; a few endpoints are on another.
pub const NODE: &str = "node1";

/// Namespaces' names.
pub const NAMESPACES: [&str; 3] = ["shop", "bank", "a-b"];
const TIERS: [&str; 4] = ["default", "sec", "a", "kube-admin"];
const POLICIES: [&str; 5] = ["a", "a-b", "p1", "default.p1", "z"];
const PROFILES: [&str; 3] = ["open", "logged", "missing"];
const SERVICE_ACCOUNTS: [&str; 2] = ["web", "db"];
/// Services' names.
pub const SERVICES: [&str; 2] = ["web", "db"];

/// Labels' names and values; an empty value is one too.
pub const LABELS: [&str; 4] = ["app", "role", "env", "x/y"];
/// See [`LABELS`].
pub const VALUES: [&str; 4] = ["web", "db", "", "a"];

/// The objects of a cluster.
pub type Objects = BTreeMap<ResourceKey, Resource>;

/// One change of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Create or replace.
    Put(Resource),
    /// Delete.
    Delete(ResourceKey),
}

/// A new cluster of some 30 objects.
pub fn cluster(random: &mut Rng, theme: Theme) -> Objects {
    let mut objects = Objects::new();
    let mut put = |resource: Resource| {
        objects.insert(resource.key(), resource);
    };
    for name in NAMESPACES {
        put(namespace(random, name));
        for account in SERVICE_ACCOUNTS {
            put(service_account(random, name, account));
        }
    }
    for name in TIERS {
        if name == "default" || random.bool() {
            put(tier(random, name));
        }
    }
    for name in ["open", "logged"] {
        put(profile(random, theme, name));
    }
    for _ in 0..random.usize(5..9) {
        put(endpoint(random));
    }
    for _ in 0..random.usize(1..4) {
        put(network_set(random));
    }
    for _ in 0..random.usize(1..6) {
        put(slice(random));
    }
    for _ in 0..random.usize(3..12) {
        put(policy(random, theme));
    }
    objects
}

/// A change of a cluster: mostly a new or changed policy or endpoint, sometimes a deletion.
pub fn edit(random: &mut Rng, theme: Theme, objects: &Objects) -> Edit {
    if random.u8(0..4) == 0 {
        let keys: Vec<&ResourceKey> = objects.keys().filter(|key| !is_lasting(key)).collect();
        if let Some(key) = random.choice(keys) {
            return Edit::Delete(key.clone());
        }
    }
    Edit::Put(match random.u8(0..20) {
        0 => {
            let name = pick(random, &NAMESPACES);
            namespace(random, name)
        }
        1 => {
            let (namespace, name) = (pick(random, &NAMESPACES), pick(random, &SERVICE_ACCOUNTS));
            service_account(random, namespace, name)
        }
        2 => {
            let name = pick(random, &TIERS);
            tier(random, name)
        }
        3 => {
            let name = pick(random, &PROFILES);
            profile(random, theme, name)
        }
        4..=5 => network_set(random),
        6 => slice(random),
        7..=11 => endpoint(random),
        _ => policy(random, theme),
    })
}

/// Objects that the API never deletes.
fn is_lasting(key: &ResourceKey) -> bool {
    key.kind == Kind::Tier && matches!(&*key.name, "default" | "kube-admin")
}

/// One of a few.
pub fn pick<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(0..of.len())]
}

/// Labels of an object: each of the few names is there half of the time.
pub fn labels(random: &mut Rng) -> StringMap {
    LABELS
        .iter()
        .filter(|_| random.bool())
        .copied()
        .collect::<Vec<_>>()
        .into_iter()
        .map(|name| (name.to_owned(), pick(random, &VALUES).to_owned()))
        .collect()
}

fn meta(namespace: &str, name: &str, labels: StringMap) -> ObjectMeta {
    ObjectMeta { namespace: namespace.to_owned(), name: name.to_owned(), labels, ..ObjectMeta::default() }
}

fn namespace(random: &mut Rng, name: &str) -> Resource {
    Namespace { metadata: meta("", name, labels(random)), ..Namespace::default() }.into()
}

fn service_account(random: &mut Rng, namespace: &str, name: &str) -> Resource {
    ServiceAccount { metadata: meta(namespace, name, labels(random)), ..ServiceAccount::default() }.into()
}

fn order(random: &mut Rng) -> Option<f64> {
    pick(random, &[None, Some(-1.0), Some(0.0), Some(10.0), Some(10.0), Some(10.5), Some(1e15)])
}

fn tier(random: &mut Rng, name: &str) -> Resource {
    let spec = match name {
        "default" => TierSpec { order: Some(1e6), default_action: Some("Deny".to_owned()) },
        "kube-admin" => TierSpec { order: Some(1e3), default_action: Some("Pass".to_owned()) },
        _ => TierSpec {
            order: order(random),
            default_action: pick(random, &[None, Some("Deny"), Some("Pass"), Some("Pass")])
                .map(str::to_owned),
        },
    };
    Tier { metadata: meta("", name, StringMap::new()), spec, ..Tier::default() }.into()
}

fn profile(random: &mut Rng, theme: Theme, name: &str) -> Resource {
    let mut profile = Profile { metadata: meta("", name, StringMap::new()), ..Profile::default() };
    profile.spec.labels_to_apply = labels(random);
    profile.spec.ingress = rules(random, theme, None);
    profile.spec.egress = rules(random, theme, None);
    profile.into()
}

/// Addresses of endpoints: the last byte is all that differs, so that addresses are used again.
fn addresses(random: &mut Rng) -> Vec<String> {
    let host = random.u8(1..16);
    let v4 = format!("10.0.{}.{host}/32", random.u8(0..2));
    let v6 = format!("fd00::{host:x}/128");
    match random.u8(0..8) {
        0 => vec![v6],
        1..=3 => vec![v4, v6],
        4 => vec![v4, format!("10.0.3.{host}/32")],
        _ => vec![v4],
    }
}

fn endpoint(random: &mut Rng) -> Resource {
    let number = random.u8(0..9);
    let namespace = pick(random, &NAMESPACES);
    let node = if random.u8(0..4) == 0 { "node2" } else { NODE };
    let name = format!("{node}-k8s-pod{number}-eth0");
    let mut endpoint =
        WorkloadEndpoint { metadata: meta(namespace, &name, labels(random)), ..WorkloadEndpoint::default() };
    endpoint.metadata.labels.insert("projectcalico.org/namespace".to_owned(), namespace.to_owned());
    endpoint.metadata.labels.insert("projectcalico.org/orchestrator".to_owned(), "k8s".to_owned());
    let account = pick(random, &["", "web", "db"]);
    let spec = &mut endpoint.spec;
    spec.orchestrator = "k8s".to_owned();
    spec.node = node.to_owned();
    spec.pod = format!("pod{number}");
    spec.endpoint = "eth0".to_owned();
    spec.interface_name = format!("cali{}{number}", &namespace[..1]);
    spec.ip_networks = addresses(random);
    spec.service_account_name = account.to_owned();
    spec.profiles = vec![format!("kns.{namespace}")];
    if !account.is_empty() {
        spec.profiles.push(format!("ksa.{namespace}.{account}"));
        endpoint.metadata.labels.insert("projectcalico.org/serviceaccount".to_owned(), account.to_owned());
    }
    match random.u8(0..6) {
        0 => spec.profiles.insert(0, pick(random, &PROFILES).to_owned()),
        1 => spec.profiles = vec![pick(random, &PROFILES).to_owned()],
        2 => spec.profiles.clear(),
        _ => {}
    }
    for (name, protocol) in [("http", "TCP"), ("dns", "UDP"), ("http", "TCP")] {
        if random.bool() {
            spec.ports.push(WorkloadEndpointPort {
                name: name.to_owned(),
                protocol: Protocol::Name(protocol.into()),
                port: pick(random, &[80, 8080, 53]),
                ..WorkloadEndpointPort::default()
            });
        }
    }
    endpoint.into()
}

/// A CIDR that holds some of the addresses there are.
pub fn net(random: &mut Rng, v6: bool) -> String {
    if v6 {
        pick(random, &["fd00::/64", "fd00::/124", "fd00::8/125", "fd00::3/128", "2001:db8::/32"]).to_owned()
    } else {
        pick(
            random,
            &[
                "10.0.0.0/24",
                "10.0.0.0/28",
                "10.0.0.8/29",
                "10.0.1.0/24",
                "10.0.0.5/32",
                "192.0.2.0/24",
                "10.0.0.0/8",
            ],
        )
        .to_owned()
    }
}

fn network_set(random: &mut Rng) -> Resource {
    let nets = (0..random.usize(1..4))
        .map(|_| {
            let v6 = random.u8(0..3) == 0;
            net(random, v6)
        })
        .collect();
    let name = format!("set{}", random.u8(0..3));
    if random.bool() {
        let mut set =
            GlobalNetworkSet { metadata: meta("", &name, labels(random)), ..GlobalNetworkSet::default() };
        set.spec.nets = nets;
        set.into()
    } else {
        let namespace = pick(random, &NAMESPACES);
        let mut set =
            NetworkSet { metadata: meta(namespace, &name, labels(random)), ..NetworkSet::default() };
        set.spec.nets = nets;
        set.into()
    }
}

/// Some addresses behind a service, or behind none. Two slices may name the same.
fn slice(random: &mut Rng) -> Resource {
    let name = format!("slice{}", random.u8(0..4));
    let service = pick(random, &[SERVICES[0], SERVICES[0], SERVICES[1], ""]);
    let labels = [("kubernetes.io/service-name".to_owned(), service.to_owned())];
    let labels = labels.into_iter().filter(|(_, service)| !service.is_empty()).collect();
    let namespace = pick(random, &NAMESPACES);
    let mut slice = EndpointSlice { metadata: meta(namespace, &name, labels), ..EndpointSlice::default() };
    slice.address_type = "IPv4".to_owned();
    for _ in 0..random.usize(0..5) {
        let address = addresses(random).remove(0);
        let address = address.split('/').next().unwrap_or_default().to_owned();
        slice.endpoints.push(SliceEndpoint { addresses: vec![address], ..SliceEndpoint::default() });
    }
    for _ in 0..random.usize(0..3) {
        slice.ports.push(SlicePort {
            protocol: pick(random, &[None, Some("TCP"), Some("UDP"), Some("SCTP")]).map(str::to_owned),
            port: pick(random, &[None, Some(80), Some(80), Some(8080), Some(53)]),
            ..SlicePort::default()
        });
    }
    slice.into()
}

fn types(random: &mut Rng) -> Vec<String> {
    let types: &[&str] = match random.u8(0..5) {
        0 => &["Ingress"],
        1 => &["Egress"],
        2 => &["Ingress", "Egress"],
        _ => &[],
    };
    types.iter().map(|name| (*name).to_owned()).collect()
}

fn tier_name(random: &mut Rng) -> String {
    // A tier that doesn't exist, now and then.
    pick(random, &["default", "default", "default", "sec", "sec", "a", ""]).to_owned()
}

fn policy(random: &mut Rng, theme: Theme) -> Resource {
    let name = pick(random, &POLICIES);
    if random.u8(0..5) < 3 {
        let namespace = pick(random, &NAMESPACES);
        let mut policy =
            NetworkPolicy { metadata: meta(namespace, name, StringMap::new()), ..NetworkPolicy::default() };
        let spec = &mut policy.spec;
        spec.tier = tier_name(random);
        spec.order = order(random);
        spec.selector = selector(random, 2);
        spec.types = types(random);
        spec.ingress = rules(random, theme, Some(namespace));
        spec.egress = rules(random, theme, Some(namespace));
        if random.u8(0..5) == 0 {
            spec.service_account_selector = selector(random, 1);
        }
        if random.u8(0..6) == 0 {
            // Kubernetes' own policies reach the calculation converted, in the default tier.
            spec.tier = "default".to_owned();
            spec.order = Some(1000.0);
            let key = ResourceKey::namespaced(Kind::KubernetesNetworkPolicy, namespace, name);
            return Resource::KubernetesNetworkPolicy(
                Converted { key, spec: policy.spec, faults: Vec::new() }.into(),
            );
        }
        return policy.into();
    }
    let mut policy =
        GlobalNetworkPolicy { metadata: meta("", name, StringMap::new()), ..GlobalNetworkPolicy::default() };
    let spec = &mut policy.spec;
    spec.tier = tier_name(random);
    spec.order = order(random);
    spec.selector = selector(random, 2);
    spec.types = types(random);
    spec.ingress = rules(random, theme, None);
    spec.egress = rules(random, theme, None);
    if random.u8(0..5) == 0 {
        spec.service_account_selector = selector(random, 1);
    }
    if random.u8(0..4) == 0 {
        spec.namespace_selector = selector(random, 1);
    }
    if random.u8(0..6) == 0 {
        spec.tier = "kube-admin".to_owned();
        let key = ResourceKey::cluster(Kind::KubernetesClusterNetworkPolicy, name);
        return Resource::KubernetesClusterNetworkPolicy(
            Converted { key, spec: policy.spec, faults: Vec::new() }.into(),
        );
    }
    policy.into()
}
