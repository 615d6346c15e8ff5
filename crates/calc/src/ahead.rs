//! Reads what is about to be read, for several objects at a time.
//!
//! A cluster's objects lie all over the memory. Read one after the other, each waits for its own
//! parts, one behind the next; read a few words of many at a time, and the processor waits for
//! all of them at once. Nothing is computed here that is needed anywhere.

use std::hint::black_box;

use tortie_api::endpoint::WorkloadEndpoint;
use tortie_api::event::Event;
use tortie_api::kind::Kind;
use tortie_api::resource::Resource;

use crate::item::{Items, Name};

/// How many objects are read ahead at a time.
pub(crate) const WINDOW: usize = 32;

/// Has the parts of workload endpoints brought near that [`crate::Graph::apply`] reads. Of other
/// objects there are not as many.
pub(crate) fn read(events: &[Event], items: &Items) {
    each(events, |endpoint| {
        let (metadata, spec) = (&endpoint.metadata, &endpoint.spec);
        metadata.name.len()
            + metadata.namespace.len()
            + metadata.labels.len()
            + spec.node.len()
            + spec.ip_networks.len()
            + spec.profiles.len()
            + spec.orchestrator.len()
            + spec.service_account_name.len()
            + spec.interface_name.len()
            + spec.ports.len()
    });
    each(events, |endpoint| {
        let (metadata, spec) = (&endpoint.metadata, &endpoint.spec);
        let label =
            |label: Option<(&String, &String)>| label.map_or(0, |(key, value)| key.len() + value.len());
        first(&metadata.name)
            + last(&metadata.name)
            + first(&metadata.namespace)
            + first(&spec.node)
            + first(&spec.orchestrator)
            + spec.ip_networks.first().map_or(0, String::len)
            + spec.profiles.first().map_or(0, String::len)
            + label(metadata.labels.first_key_value())
            + label(metadata.labels.last_key_value())
    });
    each(events, |endpoint| {
        let (metadata, spec) = (&endpoint.metadata, &endpoint.spec);
        let labels: usize = metadata.labels.iter().map(|(key, value)| first(key) + first(value)).sum();
        labels
            + spec.ip_networks.first().map_or(0, |text| first(text))
            + spec.profiles.first().map_or(0, |text| first(text))
    });
    each(events, |endpoint| {
        let metadata = &endpoint.metadata;
        let name = Name::new(Kind::WorkloadEndpoint, &metadata.namespace, &metadata.name);
        usize::from(items.find(name).is_some())
    });
}

fn each(events: &[Event], mut read: impl FnMut(&WorkloadEndpoint) -> usize) {
    let mut all = 0;
    for event in events {
        if let Event::Upsert(Resource::WorkloadEndpoint(endpoint)) = event {
            all ^= read(endpoint);
        }
    }
    black_box(all);
}

fn first(text: &str) -> usize {
    text.as_bytes().first().map_or(0, |byte| usize::from(*byte))
}

fn last(text: &str) -> usize {
    text.as_bytes().last().map_or(0, |byte| usize::from(*byte))
}
