//! The agent's own life: restarts, kills, and changes of policy.

use nix::sys::signal::Signal;
use serde_json::json;
use tortie_lab::flows::{Flows, Plan};
use tortie_lab::raw::Capture;

use crate::stage::{Stage, gate_with};

const ADDRESS: &str = "10.20.0.7";

fn mk_stage() -> (Stage, usize) {
    let mut stage = Stage::new();
    let pod = stage.wire("web", ADDRESS);
    stage.assert_leaks_without_table(pod, ADDRESS);
    stage.agent();
    (stage, pod)
}

#[test]
fn a_restart_neither_opens_nor_closes_anything() {
    let (mut stage, pod) = mk_stage();
    let streams = stage.streams(pod, ADDRESS);
    streams.go_on(50);
    stage.stop_agent(Signal::SIGTERM);
    streams.go_on(100);
    stage.agent();
    streams.go_on(150);
    streams.stop().assert_clean();
}

#[test]
fn a_killed_agent_leaves_nothing_half_done_whenever_it_is_killed() {
    let (mut stage, pod) = mk_stage();
    let streams = stage.streams(pod, ADDRESS);
    for kill in 0..8 {
        // Changes that take some steps each; the agent dies somewhere on the way.
        for change in 0..3 {
            stage.apply("GlobalNetworkPolicy", "", "gate", gate_with(&[1000 + kill * 10 + change]));
            streams.go_on(u32::from(kill % 4));
        }
        stage.stop_agent(Signal::SIGKILL);
        streams.go_on(10);
        stage.agent();
    }
    streams.go_on(50);
    streams.stop().assert_clean();
}

#[test]
fn policies_that_come_and_go_neither_drop_what_is_allowed_nor_pass_what_is_denied() {
    let (stage, pod) = mk_stage();
    let streams = stage.streams(pod, ADDRESS);
    for change in 0..60u16 {
        match change % 3 {
            0 => stage.apply("GlobalNetworkPolicy", "", "gate", gate_with(&[1000 + change])),
            1 => stage.apply(
                "NetworkPolicy",
                "shop",
                &format!("more-{change}"),
                json!({
                    "selector": "all()", "order": change,
                    "ingress": [{ "action": "Allow", "protocol": "TCP", "source": { "nets": [format!("10.{change}.0.0/16")] } }],
                }),
            ),
            _ => stage.apply(
                "GlobalNetworkSet",
                "",
                "set",
                json!({ "nets": [format!("192.168.{}.0/24", 70 + change % 10)] }),
            ),
        }
        streams.go_on(5);
    }
    let done = stage.status_when(|status| status.ready).done;
    assert!(done.commits > 10 && done.failures == 0, "{done:?}");
    streams.stop().assert_clean();
}

#[test]
fn a_change_of_verdict_is_seen_once_and_never_taken_back() {
    let (stage, pod) = mk_stage();
    let outside = &stage.lab.hosts()[1];
    let plan = Plan {
        source: outside.ipv4().into(),
        destination: ADDRESS.parse().unwrap(),
        port: 82,
        every: std::time::Duration::from_millis(1),
        limit: 30_000,
        first_cookie: 9 << 32,
    };
    let mut capture = Capture::at_interfaces(stage.lab.pods()[pod].namespace()).unwrap();
    // The streams beside it end with sentinels, and mustn't notice.
    let streams = stage.streams(pod, ADDRESS);
    let flows = Flows::start(outside.namespace(), plan).unwrap();
    streams.go_on(50);
    let mut changes = Vec::new();
    for ports in [&[82][..], &[], &[82]] {
        let commits = stage.status_when(|_| true).done.commits;
        stage.apply("GlobalNetworkPolicy", "", "gate", gate_with(ports));
        stage.status_when(|status| status.done.commits > commits);
        changes.push(flows.sent());
        streams.go_on(100);
    }
    let sent = flows.stop().unwrap().len();
    streams.stop().assert_clean();
    let arrived: std::collections::BTreeSet<u64> =
        capture.drain().unwrap().iter().map(|packet| packet.cookie).collect();
    let passed: Vec<bool> =
        (0..sent as u64).map(|flow| arrived.contains(&(plan.first_cookie + flow))).collect();
    let turns = passed.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(
        (turns, passed[0], passed[sent - 1]),
        (3, false, true),
        "closed, open, closed, open: {changes:?}"
    );
}
