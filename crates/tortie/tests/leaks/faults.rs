//! What goes wrong around the agent: others that flush the table, and policies that can't be read.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::keys;

use crate::stage::Stage;

const ADDRESS: &str = "10.20.0.7";
/// A port that a policy before the broken one lets in, for sentinels.
const OPEN: u16 = 99;

#[test]
fn a_foreign_flush_of_the_ruleset_is_healed_where_the_kernel_cannot_keep_others_away() {
    let mut stage = Stage::new();
    let pod = stage.wire("web", ADDRESS);
    stage.assert_leaks_without_table(pod, ADDRESS);
    stage.start_agent(&[("TORTIE_TABLE_OWNER", "false")]);
    let status = stage.status_when(|status| status.ready);
    assert!(!status.table_owned);
    for flush in 1..4 {
        stage.nft("flush ruleset");
        let status = stage.status_when(|status| status.ready && status.done.drifts >= flush);
        assert!(status.done.installs > flush, "{:?}", status.done);
        let streams = stage.streams(pod, ADDRESS);
        streams.go_on(120);
        streams.stop().assert_clean();
    }
}

#[test]
fn a_foreign_flush_of_the_ruleset_does_not_reach_a_table_that_has_an_owner() {
    let mut stage = Stage::new();
    let pod = stage.wire("web", ADDRESS);
    stage.assert_leaks_without_table(pod, ADDRESS);
    stage.agent();
    assert!(stage.status_when(|status| status.ready).table_owned, "this kernel has no owned tables");
    let streams = stage.streams(pod, ADDRESS);
    for _ in 0..10 {
        stage.nft("flush ruleset");
        streams.go_on(20);
    }
    // Nor when its owner is dead: it persists, but then anybody may flush it, and the next agent mends that.
    let seen = streams.stop();
    seen.assert_clean();
    assert_eq!(stage.status_when(|status| status.ready).done.drifts, 0);
    stage.stop_agent(Signal::SIGKILL);
    stage.nft("flush ruleset");
    stage.agent();
    let streams = stage.streams(pod, ADDRESS);
    streams.go_on(120);
    streams.stop().assert_clean();
}

#[test]
fn a_policy_that_cannot_be_read_denies_what_it_selects_and_is_told_by_status_and_metric() {
    let mut stage = Stage::new();
    let (web, db) = (stage.wire("web", ADDRESS), stage.wire("db", "10.20.0.8"));
    let open = json!({ "selector": "all()", "order": 0, "ingress": [
        { "action": "Allow", "protocol": "UDP", "destination": { "ports": [OPEN] } },
    ] });
    stage.apply("GlobalNetworkPolicy", "", "sentinels", open);
    stage.agent();
    let (code, said) = stage.tortie(&["status"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(metric(&stage, "tortie_not_understood") == 0.0);

    // As a newer version might write it, or somebody's script.
    let key = ResourceKey::namespaced(Kind::NetworkPolicy, "shop", "default.broken");
    let broken = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
        "metadata": { "namespace": "shop", "name": "default.broken", "uid": "1", "creationTimestamp": null },
        "spec": {
            "tier": "default", "order": 1, "types": ["Ingress"],
            "selector": "projectcalico.org/orchestrator == 'k8s'",
            "ingress": [{ "action": "Perhaps" }],
        },
    });
    stage.client.store().create(&keys::resource(&key), broken.to_string().as_bytes()).unwrap();
    let status = stage.status_when(|status| status.faults.len() == 1);
    assert_eq!(
        (status.faults[0].kind.as_str(), status.faults[0].name.as_str()),
        ("NetworkPolicy", "shop/default.broken")
    );
    let (code, said) = stage.tortie(&["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("NOT UNDERSTOOD") && said.contains("shop/default.broken"), "{said}");
    assert!(metric(&stage, "tortie_not_understood") == 1.0);
    assert!(text(&stage).contains("tortie_fault{kind=\"NetworkPolicy\",name=\"shop/default.broken\"} 1"));
    for (pod, address) in [(web, ADDRESS), (db, "10.20.0.8")] {
        let streams = stage.streams(pod, address);
        streams.go_on(120);
        let seen = streams.stop_with(OPEN);
        let passed = seen.allowed.iter().chain(&seen.denied).filter(|(_, arrived)| *arrived).count();
        assert_eq!(passed, 0, "{address} is open although a policy of it can't be read");
    }

    // Whoever mends it is believed at once.
    let mut mended: Value = broken;
    mended["spec"]["ingress"][0]["action"] = json!("Pass");
    stage.client.apply(mended, tortie_store::resources::Labels::Merge).unwrap();
    stage.status_when(|status| status.faults.is_empty() && status.ready);
    assert!(metric(&stage, "tortie_not_understood") == 0.0);
}

/// The agent's metrics as Prometheus gets them, from the node's own loopback.
fn text(stage: &Stage) -> String {
    stage
        .node()
        .run(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9091").unwrap();
            stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
        .unwrap()
}

fn metric(stage: &Stage, name: &str) -> f64 {
    let text = text(stage);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing: {text}")).parse().unwrap()
}
