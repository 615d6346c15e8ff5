//! Items: all that a rule's selector can pick. Workload endpoints of every node, host endpoints,
//! network sets; in one index, as in Calico.
//!
//! An item is kept small (about 300 bytes): its labels, its prefixes, its named ports,
//! and the number of its list of memberships. What of a local endpoint is needed beside that is
//! in `local`. This file reads objects into items and holds them; `membership` works out lists.

use std::hash::Hasher as _;

use hashbrown::HashTable;
use ipnet::IpNet;
use rustc_hash::FxHasher;
use tortie_api::endpoint::{
    EndpointPort, HostEndpoint, HostEndpointSpec, WorkloadEndpoint, WorkloadEndpointPort,
};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::meta::StringMap;
use tortie_api::selector::{
    NAMESPACE_LABEL, NAMESPACE_LABEL_PREFIX, SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_LABEL_PREFIX,
};
use tortie_api::set::{GlobalNetworkSet, GlobalNetworkSetSpec, NetworkSet, NetworkSetSpec};

use crate::error::Fault;
use crate::inheritance::GroupId;
use crate::label::Labels;
use crate::members::ListId;
use crate::parse;
use crate::symbol::{Symbol, fold, spread};

/// The label that holds an endpoint's orchestrator.
const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

/// Prefixes of an item, without doubles: nearly always one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Prefixes {
    /// None.
    #[default]
    None,
    /// One.
    One(IpNet),
    /// Two or more, sorted.
    Several(Box<[IpNet]>),
}

impl Prefixes {
    fn new(nets: Vec<IpNet>) -> Self {
        match nets.as_slice() {
            [] => Self::None,
            [net] => Self::One(*net),
            _ => Self::Several(nets.into()),
        }
    }

    /// All of them.
    pub(crate) fn as_slice(&self) -> &[IpNet] {
        match self {
            Self::None => &[],
            Self::One(net) => std::slice::from_ref(net),
            Self::Several(nets) => nets,
        }
    }
}

/// A named port of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NamedPort {
    pub(crate) name: Symbol,
    pub(crate) protocol: u8,
    pub(crate) port: u16,
}

/// What a rule's selector can pick.
#[derive(Debug)]
pub(crate) struct Item {
    kind: Kind,
    /// `namespace/name`.
    name: Box<str>,
    pub(crate) own: Labels,
    pub(crate) prefixes: Prefixes,
    pub(crate) ports: Option<Box<Box<[NamedPort]>>>,
    pub(crate) group: GroupId,
    /// What its prefixes have been told to be in.
    pub(crate) list: ListId,
    /// Of its name.
    hash: u32,
    /// Whether its labels changed since the list was worked out.
    pub(crate) dirty: bool,
}

impl Item {
    /// An item that nobody has looked at yet.
    pub(crate) fn new(
        key: Name<'_>,
        own: Labels,
        prefixes: Prefixes,
        ports: Vec<NamedPort>,
        group: GroupId,
    ) -> Self {
        let mut name = String::with_capacity(key.namespace.len() + 1 + key.name.len());
        name.push_str(key.namespace);
        name.push('/');
        name.push_str(key.name);
        let ports = (!ports.is_empty()).then(|| Box::new(ports.into_boxed_slice()));
        Self {
            kind: key.kind,
            name: name.into(),
            own,
            prefixes,
            ports,
            group,
            list: ListId::EMPTY,
            hash: key.hash,
            dirty: false,
        }
    }

    /// The named ports.
    pub(crate) fn ports(&self) -> &[NamedPort] {
        self.ports.as_ref().map_or(&[], |ports| ports)
    }

    /// What it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    fn is(&self, key: Name<'_>) -> bool {
        self.kind == key.kind
            && self.name.len() == key.namespace.len() + 1 + key.name.len()
            && self.name.starts_with(key.namespace)
            && self.name.ends_with(key.name)
    }
}

/// An item's identity, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(crate) kind: Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    hash: u32,
}

impl<'a> Name<'a> {
    /// Of an object of a kind; the namespace is empty for one of cluster scope.
    pub(crate) fn new(kind: Kind, namespace: &'a str, name: &'a str) -> Self {
        let mut hasher = FxHasher::default();
        hasher.write(name.as_bytes());
        hasher.write(namespace.as_bytes());
        hasher.write_u8(kind as u8);
        Self { kind, namespace, name, hash: fold(hasher.finish()) }
    }

    /// From a key.
    pub(crate) fn of(key: &'a ResourceKey) -> Self {
        Self::new(key.kind, &key.namespace, &key.name)
    }
}

/// All items, by number and by name.
#[derive(Default)]
pub(crate) struct Items {
    /// The numbers, with what their names hash to: a table that grows reads no names.
    by_name: HashTable<(u32, u32)>,
    entries: Vec<Option<Item>>,
    free: Vec<u32>,
}

impl Items {
    /// The number of an item.
    pub(crate) fn find(&self, key: Name<'_>) -> Option<u32> {
        let is = |(index, hash): &(u32, u32)| {
            *hash == key.hash && self.get(*index).is_some_and(|item| item.is(key))
        };
        self.by_name.find(spread(key.hash), is).map(|(index, _)| *index)
    }

    /// A number for an item to come.
    pub(crate) fn reserve(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 items fit in memory")
        })
    }

    /// Puts an item that isn't there yet under a reserved number.
    pub(crate) fn insert(&mut self, index: u32, item: Item) {
        let hash = item.hash;
        self.entries[index as usize] = Some(item);
        self.by_name.insert_unique(spread(hash), (index, hash), |(_, hash)| spread(*hash));
    }

    /// Takes an item out.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Item> {
        let item = self.entries.get_mut(index as usize)?.take()?;
        if let Ok(occupied) = self.by_name.find_entry(spread(item.hash), |(other, _)| *other == index) {
            occupied.remove();
        }
        self.free.push(index);
        Some(item)
    }

    /// An item by number.
    pub(crate) fn get(&self, index: u32) -> Option<&Item> {
        self.entries.get(index as usize)?.as_ref()
    }

    /// An item by number.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Item> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    /// All items with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Item)> {
        (0u32..).zip(&self.entries).filter_map(|(index, item)| item.as_ref().map(|item| (index, item)))
    }

    /// One more than the highest number.
    pub(crate) fn bound(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("item numbers are 32 bits wide")
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// What an object says, before its texts are symbols.
pub(crate) struct Reading<'a> {
    pub(crate) key: Name<'a>,
    pub(crate) labels: &'a StringMap,
    /// Whether labels that speak for a namespace or a service account are left out.
    pub(crate) is_workload: bool,
    /// Labels that the item's place forces on it: (name, value), sorted by name.
    pub(crate) forced: [Option<(&'static str, &'a str)>; 3],
    pub(crate) profiles: Profiles<'a>,
    pub(crate) prefixes: Prefixes,
    pub(crate) ports: Vec<(&'a str, u8, u16)>,
}

/// The profiles of an item.
pub(crate) enum Profiles<'a> {
    /// As listed.
    Listed(&'a [String]),
    /// The one of a namespace.
    Namespace(&'a str),
}

impl<'a> Reading<'a> {
    /// Reads a workload endpoint, local or not. `None` if it has no address: then it is none yet.
    pub(crate) fn workload(endpoint: &'a WorkloadEndpoint) -> Result<Option<Self>, Fault> {
        let spec = &endpoint.spec;
        if spec.ip_networks.is_empty() {
            return Ok(None);
        }
        let namespace = &*endpoint.metadata.namespace;
        let some = |label, value: &'a str| (!value.is_empty()).then_some((label, value));
        let mut ports = Vec::new();
        for WorkloadEndpointPort { name, protocol, port, host_port: _, host_ip: _ } in &spec.ports {
            if let (false, Some(protocol)) = (name.is_empty(), protocol.number()) {
                ports.push((name.as_str(), protocol, *port));
            }
        }
        Ok(Some(Self {
            key: Name::new(Kind::WorkloadEndpoint, namespace, &endpoint.metadata.name),
            labels: &endpoint.metadata.labels,
            is_workload: true,
            forced: [
                some(NAMESPACE_LABEL, namespace),
                some(ORCHESTRATOR_LABEL, &spec.orchestrator),
                some(SERVICE_ACCOUNT_LABEL, &spec.service_account_name),
            ],
            profiles: Profiles::Listed(&spec.profiles),
            prefixes: read_prefixes("spec.ipNetworks", &spec.ip_networks)?,
            ports,
        }))
    }

    /// Reads a host endpoint.
    pub(crate) fn host(endpoint: &'a HostEndpoint) -> Result<Self, Fault> {
        let HostEndpointSpec { node: _, interface_name: _, expected_ips, profiles, ports: named } =
            &endpoint.spec;
        let mut ports = Vec::new();
        for EndpointPort { name, protocol, port } in named {
            if let (false, Some(protocol)) = (name.is_empty(), protocol.number()) {
                ports.push((name.as_str(), protocol, *port));
            }
        }
        Ok(Self {
            key: Name::new(Kind::HostEndpoint, "", &endpoint.metadata.name),
            labels: &endpoint.metadata.labels,
            is_workload: false,
            forced: [None; 3],
            profiles: Profiles::Listed(profiles),
            prefixes: read_prefixes("spec.expectedIPs", expected_ips)?,
            ports,
        })
    }

    /// Reads a network set, which has its namespace's profile.
    pub(crate) fn set(set: &'a NetworkSet) -> Result<Self, Fault> {
        let NetworkSetSpec { nets } = &set.spec;
        let namespace = &*set.metadata.namespace;
        Ok(Self {
            key: Name::new(Kind::NetworkSet, namespace, &set.metadata.name),
            labels: &set.metadata.labels,
            is_workload: false,
            forced: [Some((NAMESPACE_LABEL, namespace)), None, None],
            profiles: Profiles::Namespace(namespace),
            prefixes: read_prefixes("spec.nets", nets)?,
            ports: Vec::new(),
        })
    }

    /// Reads a network set without a namespace.
    pub(crate) fn global_set(set: &'a GlobalNetworkSet) -> Result<Self, Fault> {
        let GlobalNetworkSetSpec { nets } = &set.spec;
        Ok(Self {
            key: Name::new(Kind::GlobalNetworkSet, "", &set.metadata.name),
            labels: &set.metadata.labels,
            is_workload: false,
            forced: [None; 3],
            profiles: Profiles::Listed(&[]),
            prefixes: read_prefixes("spec.nets", nets)?,
            ports: Vec::new(),
        })
    }

    /// The labels that count as its own.
    pub(crate) fn own_labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let Self { is_workload, forced, .. } = *self;
        self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).filter(move |(key, _)| {
            if !key.starts_with('p') {
                return true;
            }
            let reserved = is_workload
                && (key.starts_with(NAMESPACE_LABEL_PREFIX) || key.starts_with(SERVICE_ACCOUNT_LABEL_PREFIX));
            let is_forced = forced.iter().flatten().any(|(label, _)| label == key);
            !reserved && !is_forced
        })
    }
}

fn read_prefixes(field: &'static str, texts: &[String]) -> Result<Prefixes, Fault> {
    match texts {
        [text] => Ok(Prefixes::One(parse::net(field, text)?)),
        _ => Ok(Prefixes::new(parse::nets(field, texts)?)),
    }
}
