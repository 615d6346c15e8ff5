//! What wins, what falls back to what, and what is said of it.

use serde_json::json;
use tortie_api::event::Event;
use tortie_api::felix::FelixConfiguration;
use tortie_api::kind::{Kind, ResourceKey};

use super::*;

fn mk_environment(said: &[(&str, &str)]) -> Environment {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Environment::new(said.iter().map(own), "machine")
}

fn mk_configuration(name: &str, spec: serde_json::Value) -> Event {
    let json = json!({"metadata": {"name": name}, "spec": spec});
    let object: FelixConfiguration = serde_json::from_value(json).expect("it fits the type");
    Event::Upsert(object.into())
}

fn mk_stored(events: &[Event]) -> Stored {
    let mut stored = Stored::new("machine");
    assert!(events.iter().all(|event| stored.on_event(event)));
    stored
}

fn told_of<'a>(resolved: &'a Resolved, name: &str) -> (&'a str, Source) {
    let told = resolved.told.iter().find(|told| told.name == name).expect("it is read");
    (&told.value, told.source.clone())
}

#[test]
fn nothing_said_gives_defaults_on_loopback() {
    let Resolved { settings, told, refused } = mk_environment(&[]).resolve(&Stored::default());
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(&*settings.node, "machine");
    assert_eq!(settings.health.as_deref(), Some("localhost:9099"));
    assert_eq!(settings.metrics.as_deref(), Some("localhost:9091"));
    assert_eq!(settings.interface_prefixes, ["cali"]);
    assert_eq!(settings.endpoint_to_host, EndpointToHost::Drop);
    assert!(told.iter().all(|told| told.source == Source::Default), "{told:?}");
}

#[test]
fn every_fault_is_told_at_once_with_name_value_and_what_would_work() {
    let Resolved { refused, .. } = mk_environment(&[
        ("FELIX_DEFAULTENDPOINTTOHOSTACTION", "perhaps"),
        ("FELIX_HEALTHPORT", "99999"),
        ("FELIX_INTERFACEPREFIX", "cali,"),
        ("TORTIE_LOG_TARGET", "nflog:x"),
        ("FELIX_HEALTHENABLED", "maybe"),
    ])
    .resolve(&Stored::default());
    let told: Vec<String> = refused.iter().map(|refused| refused.error.to_string()).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(
        told.iter().any(|fault| fault == "FELIX_HEALTHPORT is \"99999\": expected a port from 0 to 65535"),
        "{told:?}"
    );
    assert!(told.iter().any(|fault| fault.starts_with("TORTIE_LOG_TARGET is \"nflog:x\"")), "{told:?}");
}

#[test]
fn calicos_names_are_heard() {
    let settings = mk_environment(&[
        ("NODENAME", "n1"),
        ("FELIX_DEFAULTENDPOINTTOHOSTACTION", "Return"),
        ("FELIX_PROMETHEUSMETRICSENABLED", "No"),
        ("FELIX_INTERFACEPREFIX", "cali,tap"),
    ])
    .resolve(&Stored::default())
    .settings;
    assert_eq!(&*settings.node, "n1");
    assert_eq!(settings.endpoint_to_host, EndpointToHost::Accept);
    assert_eq!(settings.metrics, None);
    assert_eq!(settings.interface_prefixes, ["cali", "tap"]);
}

#[test]
fn the_environment_beats_the_nodes_configuration_which_beats_that_of_all_nodes() {
    let stored = mk_stored(&[
        mk_configuration(
            "default",
            json!({"logPrefix": "all", "interfacePrefix": "all", "healthPort": 1, "healthEnabled": false}),
        ),
        mk_configuration("node.machine", json!({"logPrefix": "node", "interfacePrefix": "node"})),
        mk_configuration("node.other", json!({"healthPort": 2})),
    ]);
    let resolved =
        mk_environment(&[("FELIX_INTERFACEPREFIX", "env"), ("FELIX_HEALTHENABLED", "")]).resolve(&stored);
    assert_eq!(told_of(&resolved, "interfacePrefix"), ("env", Source::Environment));
    assert_eq!(told_of(&resolved, "logPrefix"), ("node", Source::Node));
    assert_eq!(told_of(&resolved, "healthPort"), ("1", Source::Everyone));
    assert_eq!(
        told_of(&resolved, "healthEnabled"),
        ("false", Source::Everyone),
        "an empty variable says nothing"
    );
    assert_eq!(resolved.settings.log_prefix, "node");
    assert_eq!(resolved.settings.health, None);
}

#[test]
fn a_stored_value_that_cannot_work_gives_way_to_the_default_and_is_told() {
    let stored = mk_stored(&[
        mk_configuration("default", json!({"defaultEndpointToHostAction": "ACCEPT", "healthPort": 70_000})),
        mk_configuration("node.machine", json!({"defaultEndpointToHostAction": "perhaps"})),
    ]);
    let resolved = mk_environment(&[]).resolve(&stored);
    // Not ACCEPT: as Calico's, the default, which is the closed one.
    assert_eq!(resolved.settings.endpoint_to_host, EndpointToHost::Drop);
    let refused: Vec<_> = resolved
        .refused
        .iter()
        .map(|refused| (refused.source.clone(), &*refused.instead, refused.error.to_string()))
        .collect();
    let action = "defaultEndpointToHostAction is \"perhaps\": expected DROP, RETURN or ACCEPT".to_owned();
    let port = "healthPort is \"70000\": expected a port from 0 to 65535".to_owned();
    assert_eq!(refused, [(Source::Node, "DROP", action), (Source::Everyone, "9099", port)]);
}

#[test]
fn a_configuration_that_goes_or_turns_unreadable_says_nothing_any_more() {
    let key = ResourceKey::cluster(Kind::FelixConfiguration, "default");
    let unreadable = Event::Unreadable { key: key.clone(), json: None, error: "broken".to_owned() };
    for end in [Event::Delete(key), unreadable] {
        let said = mk_configuration("default", json!({"logPrefix": "all"}));
        let stored = mk_stored(&[said, end]);
        assert_eq!(
            told_of(&mk_environment(&[]).resolve(&stored), "logPrefix"),
            ("calico-packet", Source::Default)
        );
    }
}

#[test]
fn a_configuration_that_selects_the_node_is_between_those_of_all_and_of_the_node_alone() {
    let selecting = |name: &str, selector: &str, created: &str, prefix: &str| {
        let mut object = FelixConfiguration::default();
        object.metadata.name = name.to_owned();
        object.metadata.creation_timestamp = Some(created.to_owned());
        object.spec.node_selector = selector.to_owned();
        object.spec.log_prefix = Some(prefix.to_owned());
        Event::Upsert(object.into())
    };
    let labels = |labels: serde_json::Value| {
        let json = json!({"metadata": {"name": "machine", "labels": labels}, "spec": {}});
        let node: tortie_api::endpoint::Node = serde_json::from_value(json).expect("it fits the type");
        Event::Upsert(node.into())
    };
    let environment = mk_environment(&[]);
    let mut stored = mk_stored(&[
        mk_configuration("default", json!({"logPrefix": "all"})),
        selecting("younger", "has(edge)", "2026-02-01T00:00:00Z", "younger"),
        selecting("older", "edge == 'north'", "2026-01-01T00:00:00Z", "older"),
        selecting("nobody", "has(core)", "2025-01-01T00:00:00Z", "nobody"),
    ]);
    let prefix = |stored: &Stored| {
        let (value, source) = { environment.resolve(stored).told }
            .into_iter()
            .find(|told| told.name == "logPrefix")
            .map(|told| (told.value, told.source))
            .expect("it is read");
        (value, source.describe("machine"))
    };
    let is = |value: &str, source: &str| (value.to_owned(), format!("FelixConfiguration {source}"));
    assert_eq!(prefix(&stored), is("all", "default"));
    assert!(stored.passed_over().is_empty(), "they are other nodes'");
    assert!(stored.on_event(&labels(json!({"edge": "south"}))));
    assert_eq!(prefix(&stored), is("younger", "younger"));
    assert!(stored.on_event(&labels(json!({"edge": "north"}))));
    assert_eq!(prefix(&stored), is("older", "older"), "of several the oldest counts");
    let younger = ResourceKey::cluster(Kind::FelixConfiguration, "younger");
    let why = "older selects this node too, and is older".to_owned();
    assert_eq!(stored.passed_over(), [(younger, why)]);
    assert!(!stored.on_event(&labels(json!({"edge": "north"}))), "nothing has changed");
    stored.on_event(&mk_configuration("node.machine", json!({"logPrefix": "own"})));
    assert_eq!(prefix(&stored), is("own", "node.machine"));
}

#[test]
fn a_configuration_for_nobody_or_with_an_unreadable_selector_is_told() {
    let stored = mk_stored(&[
        mk_configuration("edge", json!({"nodeSelector": "has(", "logPrefix": "edge"})),
        mk_configuration("stray", json!({"logPrefix": "stray"})),
        mk_configuration("node.other", json!({"logPrefix": "other"})),
    ]);
    let told: Vec<String> =
        stored.passed_over().into_iter().map(|(key, why)| format!("{key} {why}")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("FelixConfiguration(edge) spec.nodeSelector: "), "{told:?}");
    assert_eq!(
        told[1],
        "FelixConfiguration(stray) it is neither default nor node.NAME, and has no nodeSelector"
    );
    let resolved = mk_environment(&[]).resolve(&stored);
    assert_eq!(told_of(&resolved, "logPrefix"), ("calico-packet", Source::Default));
}

#[test]
fn how_connections_leave_pools_is_read_as_calico_writes_it() {
    let leaves = |said: &[(&str, &str)], stored: serde_json::Value| {
        let stored = mk_stored(&[mk_configuration("default", stored)]);
        let resolved = mk_environment(said).resolve(&stored);
        let refused: Vec<String> = resolved.refused.iter().map(|refused| refused.error.to_string()).collect();
        (resolved.settings.network.pools, refused.join("; "))
    };
    let (pools, refused) = leaves(&[], json!({}));
    assert_eq!((pools, &*refused), (Wants::default(), ""));
    let stored = json!({"natOutgoingAddress": "192.0.2.7", "natPortRange": "32000:40000", "natOutgoingExclusions": "IPPoolsAndHostIPs"});
    let (pools, refused) = leaves(&[("FELIX_NATPORTRANGE", "4000")], stored);
    let leaves_as =
        LeavesAs { address: Some(std::net::Ipv4Addr::new(192, 0, 2, 7)), ports: Some((4000, 4000)) };
    assert_eq!((pools.leaves_as, pools.keeps_to_nodes, &*refused), (leaves_as, true, ""));
    let wrong = [
        ("FELIX_NATOUTGOINGADDRESS", "fd00::1"),
        ("FELIX_NATPORTRANGE", "9:1"),
        ("FELIX_NATOUTGOINGEXCLUSIONS", "None"),
    ];
    let (pools, refused) = leaves(&wrong, json!({}));
    assert_eq!(pools, Wants::default());
    assert!(wrong.iter().all(|(name, _)| refused.contains(name)), "{refused}");
}

#[test]
fn what_is_called_not_carried_out_is_a_setting_of_calicos_that_the_agent_does_not_read() {
    let kinds = include_str!("../../../../deploy/crds.yaml");
    let Resolved { told, .. } = mk_environment(&[]).resolve(&Stored::default());
    for field in tortie_calc::settings::fields() {
        assert!(kinds.contains(&format!(" {field}:")), "{field} is no field");
        assert!(told.iter().all(|told| told.name != field), "{field} is read");
    }
}
