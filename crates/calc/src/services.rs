//! Services: which addresses and ports stand behind each, by its endpoint slices.
//!
//! A slice is known by its own name and says by a label whose it is; a service is there as long as a slice or a set of
//! a rule names it. Slices are kept although no rule speaks of them, because they are told once; their addresses are given
//! memberships while a set of the service is active. `membership` calls [`Services::settle`] before it tells prefixes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};
use tortie_api::core::EndpointSlice;
use tortie_dataplane::policy::{Member, SetId};

use crate::members::{ListId, Lists};
use crate::prefixes::{Owner, Prefixes};
use crate::symbol::{Symbol, Symbols};

/// The label by which a slice says whose it is.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A service's name for symbols.
pub(crate) fn name_of(namespace: &str, service: &str) -> String {
    [namespace, "/", service].concat()
}

/// One slice. Names instead of addresses, and ports without a number, are behind no service for a packet.
struct Slice {
    service: Symbol,
    addresses: Box<[IpAddr]>,
    /// Protocol and port.
    ports: Box<[(u8, u16)]>,
}

/// One service.
#[derive(Default)]
struct Service {
    /// By their own names.
    slices: BTreeSet<Box<str>>,
    /// The active set of its addresses.
    addresses: Option<SetId>,
    /// The active set of its addresses with their ports.
    ports: Option<SetId>,
    /// The prefixes that have a list because of it.
    given: Vec<IpNet>,
}

impl Service {
    fn is_empty(&self) -> bool {
        self.slices.is_empty() && self.addresses.is_none() && self.ports.is_none() && self.given.is_empty()
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Services {
    slices: FxHashMap<Box<str>, Slice>,
    services: FxHashMap<Symbol, Service>,
    touched: FxHashSet<Symbol>,
}

impl Services {
    /// Puts a slice in, or in the place of what was there under its name.
    pub(crate) fn put(&mut self, slice: &EndpointSlice, symbols: &mut Symbols) {
        let namespace = &slice.metadata.namespace;
        let name = name_of(namespace, &slice.metadata.name);
        let Some(service) = slice.metadata.labels.get(SERVICE_LABEL) else {
            return self.remove(&name, symbols);
        };
        let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let ports = slice.ports.iter().filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => 17,
                Some("SCTP") => 132,
                _ => 6,
            };
            Some((protocol, port.port?))
        });
        let read = Slice {
            service: symbols.acquire(&name_of(namespace, service)),
            addresses: addresses.filter_map(|text| text.parse().ok()).collect(),
            ports: ports.collect(),
        };
        self.remove(&name, symbols);
        self.services.entry(read.service).or_default().slices.insert(name.as_str().into());
        self.touched.insert(read.service);
        self.slices.insert(name.into(), read);
    }

    /// Takes a slice out: `namespace/name`.
    pub(crate) fn remove(&mut self, name: &str, symbols: &mut Symbols) {
        let Some(slice) = self.slices.remove(name) else { return };
        if let Some(service) = self.services.get_mut(&slice.service) {
            service.slices.remove(name);
        }
        self.touched.insert(slice.service);
        symbols.release(slice.service);
    }

    /// A set of the service is active from now on.
    pub(crate) fn begin(&mut self, service: Symbol, with_ports: bool, set: SetId) {
        *self.set(service, with_ports) = Some(set);
    }

    /// A set of the service isn't active any more.
    pub(crate) fn end(&mut self, service: Symbol, with_ports: bool) {
        *self.set(service, with_ports) = None;
    }

    fn set(&mut self, service: Symbol, with_ports: bool) -> &mut Option<SetId> {
        self.touched.insert(service);
        let service = self.services.entry(service).or_default();
        if with_ports { &mut service.ports } else { &mut service.addresses }
    }

    /// Gives the addresses of what was touched their lists.
    pub(crate) fn settle(&mut self, prefixes: &mut Prefixes, lists: &mut Lists) {
        for symbol in std::mem::take(&mut self.touched) {
            let Some(service) = self.services.get_mut(&symbol) else { continue };
            let mut members: BTreeMap<IpNet, Vec<Member>> = BTreeMap::new();
            if service.addresses.is_some() || service.ports.is_some() {
                for slice in service.slices.iter().filter_map(|name| self.slices.get(name)) {
                    for address in &slice.addresses {
                        let of = members.entry(IpNet::from(*address)).or_default();
                        of.extend(service.addresses.map(Member::Of));
                        of.extend(service.ports.iter().flat_map(|set| {
                            let port = |(protocol, port): &(u8, u16)| Member::Port {
                                set: *set,
                                protocol: *protocol,
                                port: *port,
                            };
                            slice.ports.iter().map(port)
                        }));
                    }
                }
            }
            let owner = Owner::Service(symbol);
            for prefix in service.given.drain(..).filter(|prefix| !members.contains_key(prefix)) {
                prefixes.set(prefix, owner, ListId::EMPTY, lists);
            }
            for (prefix, mut of) in members {
                of.sort_unstable();
                of.dedup();
                let list = lists.intern(&of);
                prefixes.set(prefix, owner, list, lists);
                service.given.push(prefix);
            }
            if service.is_empty() {
                self.services.remove(&symbol);
            }
        }
    }
}
