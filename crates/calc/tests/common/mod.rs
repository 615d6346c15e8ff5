//! What a consumer of updates sees: it applies them, checks the promises that `calc` makes about
//! their order, and judges packets by them in the plainest way.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(clippy::allow_attributes, dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Value, json};
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::{Action, Direction};
use tortie_api::resource::Resource;
use tortie_calc::{Config, Graph};
use tortie_dataplane::policy::{
    Endpoint, Family, Member, Policy, PolicyId, Ports, Rule, SetId, Side, Stack, TierEnd, Update,
};

/// A graph and what its updates have come to.
pub struct Node {
    pub graph: Graph,
    pub view: View,
}

/// What updates come to.
#[derive(Default)]
pub struct View {
    pub policies: BTreeMap<PolicyId, Arc<Policy>>,
    pub endpoints: BTreeMap<ResourceKey, Arc<Endpoint>>,
    pub addresses: BTreeMap<IpNet, Arc<[Member]>>,
    ids: BTreeMap<PolicyId, ResourceKey>,
}

impl Node {
    /// A graph of a node by that name, in sync from the start.
    pub fn new(name: &str) -> Self {
        let mut graph = Graph::new(Config { node: name.into() });
        graph.apply(&Event::InSync);
        Self { graph, view: View::default() }
    }

    /// Applies changes, flushes, and takes the updates in. Gives them back.
    pub fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Update> {
        self.graph.apply_batch(&events.into_iter().collect::<Vec<_>>());
        self.flush()
    }

    pub fn flush(&mut self) -> Vec<Update> {
        let mut updates = Vec::new();
        self.graph.flush(&mut |update| updates.push(update));
        for update in &updates {
            self.view.apply(update);
        }
        self.view.check();
        updates
    }

    /// Judges a packet to or from an endpoint of this node: action, policy (as `KIND NAME`) and rule.
    pub fn judge(&self, endpoint: &str, direction: Direction, packet: &Packet) -> Verdict {
        self.view.judge(&self.view.endpoint(endpoint), direction, packet)
    }
}

impl View {
    fn endpoint(&self, name: &str) -> Arc<Endpoint> {
        let found = self.endpoints.iter().find(|(key, _)| key.full_name() == name);
        Arc::clone(found.unwrap_or_else(|| panic!("no endpoint {name}")).1)
    }

    /// Takes one update in. Nothing is named before it was told, taken away while it is named, or
    /// told again as it was.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Policy { id, policy } => {
                let key = self.ids.entry(*id).or_insert_with(|| policy.key.clone());
                assert_eq!(*key, policy.key, "an id is never another policy's");
                let before = self.policies.insert(*id, Arc::clone(policy));
                assert_ne!(before.as_ref(), Some(policy), "a policy is told only if it changed");
            }
            Update::PolicyRemoved { id } => {
                assert!(self.policies.remove(id).is_some(), "a policy is removed once");
                let named = self.endpoints.values().any(|endpoint| names(endpoint).contains(id));
                assert!(!named, "a policy is removed after the endpoints that name it");
            }
            Update::Address { prefix, members } => {
                assert_eq!(*prefix, prefix.trunc());
                assert!(members.is_sorted() && members.windows(2).all(|pair| pair[0] != pair[1]));
                let before = if members.is_empty() {
                    self.addresses.remove(prefix).unwrap_or_default()
                } else {
                    self.addresses.insert(*prefix, Arc::clone(members)).unwrap_or_default()
                };
                assert_ne!(before, *members, "an address is told only if it changed: {prefix}");
            }
            Update::Endpoint { key, endpoint } => {
                let unknown: Vec<PolicyId> =
                    names(endpoint).into_iter().filter(|id| !self.policies.contains_key(id)).collect();
                assert_eq!(unknown, [], "policies come before the endpoints that name them");
                let before = self.endpoints.insert(key.clone(), Arc::clone(endpoint));
                assert_ne!(before.as_ref(), Some(endpoint), "an endpoint is told only if it changed");
            }
            Update::EndpointRemoved { key } => {
                assert!(self.endpoints.remove(key).is_some(), "an endpoint is removed once");
            }
        }
    }

    /// What holds after every flush.
    pub fn check(&self) {
        let used: BTreeSet<PolicyId> = self.endpoints.values().flat_map(|endpoint| names(endpoint)).collect();
        for (id, policy) in &self.policies {
            let types = policy.ingress.len() + policy.egress.len();
            assert!(used.contains(id) || types == 0, "{} is told though nobody uses it", policy.key);
        }
        let named: BTreeSet<SetId> = self.policies.values().flat_map(|policy| sets(policy)).collect();
        for (prefix, members) in &self.addresses {
            for member in &**members {
                let (Member::Of(set) | Member::Port { set, .. }) = member;
                assert!(named.contains(set), "{prefix} is in a set that no rule names");
            }
            let around =
                self.addresses.iter().filter(|(other, _)| *other != prefix && other.contains(prefix));
            for (wider, inherited) in around {
                assert!(
                    inherited.iter().all(|member| members.contains(member)),
                    "{prefix} lacks what {wider} has"
                );
            }
        }
    }

    /// The memberships of an address: those of the longest prefix around it.
    pub fn members(&self, address: IpAddr) -> Arc<[Member]> {
        let around = self.addresses.iter().filter(|(prefix, _)| prefix.contains(&address));
        around
            .max_by_key(|(prefix, _)| prefix.prefix_len())
            .map(|(_, members)| Arc::clone(members))
            .unwrap_or_default()
    }

    fn judge(&self, endpoint: &Endpoint, direction: Direction, packet: &Packet) -> Verdict {
        let stack: &Stack = match direction {
            Direction::Ingress => &endpoint.ingress,
            Direction::Egress => &endpoint.egress,
        };
        let verdict = |action, policy: &Policy, rule| Verdict {
            action,
            policy: policy.key.to_string(),
            rule,
            enforced: policy.not_enforced.is_none(),
        };
        'tiers: for tier in &*stack.tiers {
            for id in &*tier.policies {
                let policy = &self.policies[id];
                match self.first(policy, direction, packet) {
                    Some((Action::Pass, _)) => continue 'tiers,
                    Some((action, index)) => return verdict(action, policy, i64::from(index)),
                    None => {}
                }
            }
            if tier.end == TierEnd::Deny {
                return verdict(Action::Deny, &self.policies[&tier.policies[0]], -1);
            }
        }
        for id in &*stack.profiles {
            if let Some((action, index)) = self.first(&self.policies[id], direction, packet) {
                return verdict(action, &self.policies[id], i64::from(index));
            }
        }
        Verdict { action: Action::Deny, policy: "none".into(), rule: -1, enforced: true }
    }

    fn first(&self, policy: &Policy, direction: Direction, packet: &Packet) -> Option<(Action, u32)> {
        let rules = match direction {
            Direction::Ingress => &policy.ingress,
            Direction::Egress => &policy.egress,
        };
        let decides = |rule: &&Rule| rule.action != Action::Log && self.matches(rule, packet);
        rules.iter().find(decides).map(|rule| (rule.action, rule.index))
    }

    fn matches(&self, rule: &Rule, packet: &Packet) -> bool {
        let Rule { index: _, action: _, family, protocol, not_protocol, icmp, not_icmp, source, destination } =
            rule;
        let is_icmp = |wanted: &tortie_dataplane::policy::IcmpMatch| {
            packet.icmp.is_some_and(|(icmp_type, code)| {
                wanted.icmp_type == icmp_type && wanted.code.is_none_or(|wanted| wanted == code)
            })
        };
        family.is_none_or(|family| family == Family::of(&packet.from))
            && protocol.is_none_or(|protocol| protocol == packet.protocol)
            && not_protocol.is_none_or(|protocol| protocol != packet.protocol)
            && icmp.as_ref().is_none_or(is_icmp)
            && !not_icmp.as_ref().is_some_and(is_icmp)
            && self.side_matches(source, packet.from, packet.protocol, None)
            && self.side_matches(destination, packet.to, packet.protocol, packet.port)
    }

    fn side_matches(&self, side: &Side, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        let Side { within, without, ports, not_ports } = side;
        let members = self.members(address);
        let is_in = |set: &SetId| members.contains(&Member::Of(*set));
        let has = |ports: &Ports| {
            port.is_some_and(|port| {
                ports.ranges.iter().any(|range| (range.first..=range.last).contains(&port))
                    || ports
                        .named
                        .iter()
                        .any(|set| members.contains(&Member::Port { set: *set, protocol, port }))
            })
        };
        within.iter().all(is_in)
            && !without.iter().any(is_in)
            && (ports.is_empty() || has(ports))
            && !has(not_ports)
    }
}

fn names(endpoint: &Endpoint) -> Vec<PolicyId> {
    let stack = |stack: &Stack| {
        let tiers = stack.tiers.iter().flat_map(|tier| tier.policies.to_vec());
        tiers.chain(stack.profiles.to_vec()).collect::<Vec<_>>()
    };
    [stack(&endpoint.ingress), stack(&endpoint.egress)].concat()
}

/// The sets of a policy's rules, in the order in which they are named.
fn sets(policy: &Policy) -> Vec<SetId> {
    let side =
        |side: &Side| [&*side.within, &*side.without, &*side.ports.named, &*side.not_ports.named].concat();
    let rules = policy.ingress.iter().chain(&policy.egress);
    rules.flat_map(|rule| [side(&rule.source), side(&rule.destination)].concat()).collect()
}

/// What a view says whatever ids its graph gave: to compare two graphs by.
#[derive(Debug, PartialEq)]
pub struct Meaning {
    policies: BTreeMap<String, String>,
    endpoints: BTreeMap<String, String>,
    addresses: BTreeMap<IpNet, Vec<String>>,
}

impl Meaning {
    pub fn of(view: &View) -> Self {
        let mut policies: Vec<&Arc<Policy>> = view.policies.values().collect();
        policies.sort_by_key(|policy| policy.key.clone());
        let mut numbers: BTreeMap<SetId, u32> = BTreeMap::new();
        for set in policies.iter().flat_map(|policy| sets(policy)) {
            let next = u32::try_from(numbers.len()).unwrap();
            numbers.entry(set).or_insert(next);
        }
        let number = |set: &SetId| SetId(numbers[set]);
        let renumber = |rule: &Rule| {
            let mut rule = rule.clone();
            for side in [&mut rule.source, &mut rule.destination] {
                for list in
                    [&mut side.within, &mut side.without, &mut side.ports.named, &mut side.not_ports.named]
                {
                    *list = list.iter().map(number).collect();
                }
            }
            rule
        };
        let stack = |stack: &Stack| {
            let name = |id: &PolicyId| view.policies[id].key.to_string();
            let names = |ids: &[PolicyId]| ids.iter().map(name).collect::<Vec<_>>();
            let tiers: Vec<_> = stack.tiers.iter().map(|tier| (names(&tier.policies), tier.end)).collect();
            format!("{tiers:?} {:?}", names(&stack.profiles))
        };
        Self {
            policies: policies
                .iter()
                .map(|policy| {
                    let mut policy = Policy::clone(policy);
                    policy.ingress = policy.ingress.iter().map(renumber).collect();
                    policy.egress = policy.egress.iter().map(renumber).collect();
                    (policy.key.to_string(), format!("{policy:?}"))
                })
                .collect(),
            endpoints: view
                .endpoints
                .iter()
                .map(|(key, endpoint)| {
                    let Endpoint { interface, addresses, allowed_sources, ingress, egress } = &**endpoint;
                    let stacks = (stack(ingress), stack(egress));
                    (key.to_string(), format!("{interface} {addresses:?} {allowed_sources:?} {stacks:?}"))
                })
                .collect(),
            addresses: view
                .addresses
                .iter()
                .map(|(prefix, members)| {
                    let mut members: Vec<String> = members
                        .iter()
                        .map(|member| match member {
                            Member::Of(set) => format!("{}", number(set).0),
                            Member::Port { set, protocol, port } => {
                                format!("{} {protocol}/{port}", number(set).0)
                            }
                        })
                        .collect();
                    members.sort();
                    (*prefix, members)
                })
                .collect(),
        }
    }
}

impl Meaning {
    /// The first few things in which two differ.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        fn of<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
            one: &BTreeMap<K, V>,
            other: &BTreeMap<K, V>,
        ) -> Vec<String> {
            let keys: BTreeSet<&K> = one.keys().chain(other.keys()).collect();
            let differing = keys.into_iter().filter(|key| one.get(key) != other.get(key));
            differing.map(|key| format!("{key:?}: {:?} | {:?}", one.get(key), other.get(key))).collect()
        }
        let mut all = of(&self.endpoints, &other.endpoints);
        all.extend(of(&self.addresses, &other.addresses));
        all.extend(of(&self.policies, &other.policies));
        all.truncate(2);
        all
    }
}

/// A packet, as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    pub from: IpAddr,
    pub to: IpAddr,
    pub protocol: u8,
    pub port: Option<u16>,
    pub icmp: Option<(u8, u8)>,
}

impl Packet {
    pub fn tcp(from: &str, to: &str, port: u16) -> Self {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Self { from, to, protocol: 6, port: Some(port), icmp: None }
    }

    pub fn icmp(from: &str, to: &str, protocol: u8, icmp_type: u8, code: u8) -> Self {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Self { from, to, protocol, port: None, icmp: Some((icmp_type, code)) }
    }
}

/// Who decided what.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    pub action: Action,
    /// As `KIND(NAMESPACE/NAME)`.
    pub policy: String,
    pub rule: i64,
    /// Whether it was decided by a policy as written.
    pub enforced: bool,
}

impl Verdict {
    pub fn short(&self) -> String {
        format!("{} {} {}", self.action.name(), self.policy, self.rule)
    }
}

// ---- objects ----

pub fn mk(kind: Kind, namespace: &str, name: &str, labels: Value, spec: Value) -> Event {
    let object = json!({"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec});
    let text = serde_json::to_vec(&object).unwrap();
    Event::Upsert(Resource::from_json(kind, &text).unwrap_or_else(|error| panic!("{object}: {error}")))
}

pub fn mk_namespace(name: &str, labels: Value) -> Event {
    mk(Kind::Namespace, "", name, labels, json!({}))
}

pub fn mk_account(namespace: &str, name: &str, labels: Value) -> Event {
    mk(Kind::ServiceAccount, namespace, name, labels, json!({}))
}

/// A pod of node `n1`, with the profiles of its namespace and of its service account `default`.
pub fn mk_pod(namespace: &str, name: &str, address: &str, labels: Value) -> Event {
    let spec = json!({
        "orchestrator": "k8s", "node": "n1", "pod": name, "endpoint": "eth0", "serviceAccountName": "default",
        "ipNetworks": [address], "interfaceName": format!("cali-{name}"),
        "profiles": [format!("kns.{namespace}"), format!("ksa.{namespace}.default")],
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    });
    mk(Kind::WorkloadEndpoint, namespace, name, labels, spec)
}

pub fn mk_policy(namespace: &str, name: &str, spec: Value) -> Event {
    mk(Kind::NetworkPolicy, namespace, name, json!({}), spec)
}

pub fn mk_global(name: &str, spec: Value) -> Event {
    mk(Kind::GlobalNetworkPolicy, "", name, json!({}), spec)
}

pub fn mk_tier(name: &str, spec: Value) -> Event {
    mk(Kind::Tier, "", name, json!({}), spec)
}

pub fn mk_set(namespace: &str, name: &str, labels: Value, nets: Value) -> Event {
    let kind = if namespace.is_empty() { Kind::GlobalNetworkSet } else { Kind::NetworkSet };
    mk(kind, namespace, name, labels, json!({"nets": nets}))
}
