//! Host endpoints: failsafe ports, doNotTrack, preDNAT, applyOnForward, normal.

use serde_json::{Value, json};
use tortie_api::kind::Kind;

use crate::support::World;

const IN: &str = "8.8.8.8 -> host:node1/eth0 tcp/80";
const OUT: &str = "host:node1/eth0 -> 8.8.8.8 tcp/80";
const FORWARD: &str = "8.8.8.8 -> shop/web tcp/80 via:node1/eth0";

fn world() -> World {
    World::new().add(
        Kind::HostEndpoint,
        "eth0",
        "role=edge",
        json!({"node": "node1", "interfaceName": "e0", "expectedIPs": ["172.16.0.1"], "ports": [{"name": "web", "protocol": "TCP", "port": 80}]}),
    )
}

fn edge(more: Value) -> Value {
    let mut spec = json!({"selector": "role == 'edge'", "types": ["Ingress", "Egress"]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

/// A host endpoint without policy and profile denies all but the failsafe ports.
#[test]
fn a_host_endpoint_denies_by_default() {
    assert_eq!(world().ingress(IN), "deny __PROFILE__#-1");
    assert_eq!(world().egress(OUT), "deny __PROFILE__#-1");
}

/// Failsafe ports are open whatever policy says: inbound TCP 22, UDP 68, ..; outbound UDP 53, UDP 67, ..
#[test]
fn failsafe_ports_stay_open() {
    let world = world().global("p", edge(json!({"ingress": [{"action": "Deny"}], "egress": [{"action": "Deny"}], "doNotTrack": true, "applyOnForward": true})));
    for (flow, expected) in [
        ("8.8.8.8 -> host:node1 tcp/22", true),
        ("8.8.8.8 -> host:node1 udp/22", false),
        ("8.8.8.8 -> host:node1 udp/68", true),
        ("8.8.8.8 -> host:node1 udp/53", false),
        ("8.8.8.8 -> host:node1 tcp/6443", true),
        ("8.8.8.8 -> host:node1 tcp/5473", true),
    ] {
        assert_eq!(world.ingress(flow) == "allow #-2", expected, "{flow}");
    }
    for (flow, expected) in [
        ("host:node1 -> 8.8.8.8 udp/53", true),
        ("host:node1 -> 8.8.8.8 tcp/53", false),
        ("host:node1 -> 8.8.8.8 udp/67", true),
        ("host:node1 -> 8.8.8.8 tcp/22", false),
        ("host:node1 -> 8.8.8.8 tcp/2379", true),
        ("host:node1 -> 8.8.8.8 tcp/179", true),
    ] {
        assert_eq!(world.egress(flow) == "allow #-2", expected, "{flow}");
    }
    let answer = world.judge("8.8.8.8 -> host:node1 tcp/22");
    assert_eq!(answer.ingress.map(|side| side.by.kind()), Some("failsafe"));
}

/// Normal policies of a host endpoint judge its own packets, those with applyOnForward too; named ports work.
#[test]
fn normal_policies_judge_the_hosts_own_packets() {
    let rule = json!([{"action": "Allow", "protocol": "TCP", "destination": {"ports": ["web"]}}]);
    let world = world()
        .global("a", edge(json!({"order": 1, "ingress": rule})))
        .global("b", edge(json!({"order": 2, "applyOnForward": true, "egress": [{"action": "Allow"}]})));
    assert_eq!(world.ingress(IN), "allow a#0");
    assert_eq!(world.ingress("8.8.8.8 -> host:node1/eth0 tcp/81"), "deny a#-1");
    assert_eq!(world.egress(OUT), "allow b#0");
}

/// Forwarded packets are judged only by policies with applyOnForward; where there is none they pass.
#[test]
fn forwarded_packets_need_apply_on_forward() {
    let normal = world().global("p", edge(json!({"ingress": [{"action": "Deny"}]})));
    assert_eq!(normal.forward(FORWARD), "allow #-2");
    let forward = world().global(
        "p",
        edge(json!({"applyOnForward": true, "ingress": [{"action": "Allow", "protocol": "UDP"}]})),
    );
    assert_eq!(forward.forward(FORWARD), "deny p#-1");
    assert_eq!(forward.forward("8.8.8.8 -> shop/web udp/80 via:node1/eth0"), "allow p#0");
    assert_eq!(forward.judge(FORWARD).verdict.name(), "deny");
}

/// A forwarded packet that all tiers pass on is accepted: profiles are not asked.
#[test]
fn profiles_do_not_judge_forwarded_packets() {
    let world = world().global("p", edge(json!({"applyOnForward": true, "ingress": [{"action": "Pass"}]})));
    assert_eq!(world.forward(FORWARD), "pass p#0, allow #-2");
}

/// A forwarded packet is judged at the host endpoint's ingress, or at its egress if only the sender is known.
#[test]
fn forwarding_has_a_direction() {
    let world = world().global(
        "p",
        edge(
            json!({"applyOnForward": true, "ingress": [{"action": "Allow"}], "egress": [{"action": "Deny"}]}),
        ),
    );
    assert_eq!(world.forward("shop/web -> 8.8.8.8 tcp/1 via:node1"), "deny p#0");
    assert_eq!(world.forward("shop/web -> bank/teller tcp/1 via:node1"), "allow p#0");
    assert_eq!(world.forward("8.8.8.8 -> shop/web tcp/1 via:node1"), "allow p#0");
}

/// doNotTrack policies are asked first; what they don't match goes on, since they have no default action.
#[test]
fn untracked_policies_come_first_and_do_not_end() {
    let world = world()
        .global(
            "u",
            edge(json!({"order": 100, "doNotTrack": true, "applyOnForward": true,
            "ingress": [{"action": "Allow", "protocol": "UDP"}, {"action": "Deny", "protocol": "SCTP"}]})),
        )
        .global(
            "n",
            edge(json!({"order": 1, "ingress": [{"action": "Deny"}], "egress": [{"action": "Allow"}]})),
        );
    assert_eq!(world.ingress("8.8.8.8 -> host:node1 udp/80"), "allow u#0");
    assert_eq!(world.ingress("8.8.8.8 -> host:node1 sctp/80"), "deny u#1");
    assert_eq!(world.ingress(IN), "deny n#0");
    assert_eq!(world.egress(OUT), "allow n#0");
    assert_eq!(world.forward("8.8.8.8 -> shop/web sctp/80 via:node1"), "deny u#1");
    assert_eq!(world.forward(FORWARD), "allow #-2");
}

/// preDNAT policies are asked before normal ones, and an Allow there skips those, for forwarded packets too.
#[test]
fn an_accept_before_dnat_is_final() {
    let world = world()
        .global("d", json!({"selector": "role == 'edge'", "types": ["Ingress"], "preDNAT": true, "applyOnForward": true,
            "ingress": [{"action": "Allow", "protocol": "TCP"}]}))
        .global("n", edge(json!({"applyOnForward": true, "ingress": [{"action": "Deny"}]})));
    assert_eq!(world.ingress(IN), "allow d#0");
    assert_eq!(world.forward(FORWARD), "allow d#0");
    assert_eq!(world.ingress("8.8.8.8 -> host:node1 udp/80"), "deny n#0");
    assert_eq!(world.forward("8.8.8.8 -> shop/web udp/80 via:node1"), "deny n#0");
}

/// The host endpoint of all interfaces (`*`) has no untracked policy.
#[test]
fn all_interfaces_have_no_untracked_policy() {
    let world = World::new()
        .add(Kind::HostEndpoint, "all", "role=edge", json!({"node": "node1", "interfaceName": "*", "expectedIPs": ["172.16.0.1"], "profiles": ["projectcalico-default-allow"]}))
        .global("u", edge(json!({"doNotTrack": true, "applyOnForward": true, "ingress": [{"action": "Deny"}]})));
    assert_eq!(world.ingress("8.8.8.8 -> host:node1 tcp/80"), "allow projectcalico-default-allow#0");
}

/// Workloads know neither doNotTrack nor preDNAT policies.
#[test]
fn workloads_are_not_judged_early() {
    let world = World::new().global("u", json!({"types": ["Ingress"], "doNotTrack": true, "applyOnForward": true, "ingress": [{"action": "Deny"}]}));
    assert_eq!(world.ingress("8.8.8.8 -> shop/web tcp/1"), "allow kns.shop#0");
}

/// Policies of a namespace never apply to a host endpoint; those without one do if they select it.
#[test]
fn hosts_have_global_policies_alone() {
    let world = world()
        .policy("shop/p", json!({"ingress": [{"action": "Allow"}]}))
        .global("q", json!({"namespaceSelector": "all()", "ingress": [{"action": "Allow"}]}))
        .global("r", json!({"selector": "all()", "ingress": [{"action": "Allow", "protocol": "TCP"}]}));
    assert_eq!(world.ingress(IN), "allow r#0");
}

/// Beside a `namespaceSelector`, each `all()` in a policy's selector means what has a namespace, so that even a
/// negative test of namespaces selects no host.
#[test]
fn all_beside_a_namespace_selector_is_no_host() {
    let rule = json!([{"action": "Allow"}]);
    let of = |spec: Value| {
        let mut spec = spec;
        spec["ingress"] = rule.clone();
        world().global("p", spec).ingress(IN)
    };
    assert_eq!(of(json!({"namespaceSelector": "env != 'dev'"})), "allow p#0");
    assert_eq!(of(json!({"selector": "role == 'edge'", "namespaceSelector": "env != 'dev'"})), "allow p#0");
    assert_eq!(of(json!({"selector": "all()", "namespaceSelector": "env != 'dev'"})), "deny __PROFILE__#-1");
    assert_eq!(
        of(json!({"selector": "role == 'x' || all()", "namespaceSelector": "env != 'dev'"})),
        "deny __PROFILE__#-1"
    );
}

/// Beside a `serviceAccountSelector`, each `all()` means what has a service account.
#[test]
fn all_beside_a_service_account_selector_is_no_host() {
    let of = |selector: &str| {
        let spec = json!({"selector": selector, "serviceAccountSelector": "trust != 'low'", "ingress": [{"action": "Allow"}]});
        world().global("p", spec).ingress(IN)
    };
    assert_eq!(of(""), "allow p#0");
    assert_eq!(of("all()"), "deny __PROFILE__#-1");
}

/// Forwarded packets to failsafe ports are not judged by doNotTrack and preDNAT policies (those tables let them
/// through), but by the rest.
#[test]
fn failsafe_ports_are_forwarded_past_what_is_judged_early() {
    let early = world()
        .global("u", edge(json!({"doNotTrack": true, "applyOnForward": true, "ingress": [{"action": "Deny"}]})))
        .global("d", json!({"selector": "role == 'edge'", "types": ["Ingress"], "preDNAT": true, "applyOnForward": true, "ingress": [{"action": "Deny"}]}));
    assert_eq!(early.forward("8.8.8.8 -> shop/web tcp/23 via:node1"), "deny u#0");
    assert_eq!(early.forward("8.8.8.8 -> shop/web tcp/22 via:node1"), "allow #-2");
    let late = world().global("f", edge(json!({"applyOnForward": true, "ingress": [{"action": "Deny"}]})));
    assert_eq!(late.forward("8.8.8.8 -> shop/web tcp/22 via:node1"), "deny f#0");
}
