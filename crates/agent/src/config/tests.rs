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

fn told<'a>(resolved: &'a Resolved, name: &str) -> (&'a str, Source) {
    let told = resolved.told.iter().find(|told| told.name == name).expect("it is read");
    (&told.value, told.source)
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
    assert_eq!(told(&resolved, "interfacePrefix"), ("env", Source::Environment));
    assert_eq!(told(&resolved, "logPrefix"), ("node", Source::Node));
    assert_eq!(told(&resolved, "healthPort"), ("1", Source::Everyone));
    assert_eq!(
        told(&resolved, "healthEnabled"),
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
        .map(|refused| (refused.source, &*refused.instead, refused.error.to_string()))
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
            told(&mk_environment(&[]).resolve(&stored), "logPrefix"),
            ("calico-packet", Source::Default)
        );
    }
}

#[test]
fn a_configuration_that_selects_nodes_is_named_as_passed_over_until_it_goes() {
    let mut stored = mk_stored(&[
        mk_configuration("edge", json!({"nodeSelector": "has(edge)", "logPrefix": "edge"})),
        mk_configuration("node.other", json!({"logPrefix": "other"})),
    ]);
    let edge = ResourceKey::cluster(Kind::FelixConfiguration, "edge");
    assert_eq!(stored.passed_over().collect::<Vec<_>>(), [&edge]);
    stored.on_event(&Event::Delete(edge));
    assert_eq!(stored.passed_over().count(), 0);
}
