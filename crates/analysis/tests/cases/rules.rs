//! The fields of a rule that speak of the packet itself.

use serde_json::{Value, json};

use crate::support::{World, on_db};

/// Whether shop/db's only rule, an Allow with these fields, matches a flow.
fn matches(rule: Value, flow: &str) -> bool {
    let mut rule = rule;
    rule["action"] = json!("Allow");
    let world = World::new().policy("shop/p", on_db(rule));
    assert_eq!(world.cluster().faults(), []);
    match world.ingress(flow).as_str() {
        "allow shop/p#0" => true,
        "deny shop/p#-1" => false,
        other => unreachable!("{other}"),
    }
}

fn check(cases: &[(Value, &str, bool)]) {
    for (rule, what, expected) in cases {
        assert_eq!(matches(rule.clone(), &format!("shop/web -> shop/db {what}")), *expected, "{rule} {what}");
    }
}

/// A rule without fields matches every packet.
#[test]
fn an_empty_rule_matches_everything() {
    check(&[
        (json!({}), "tcp/1", true),
        (json!({}), "icmp/3.1", true),
        (json!({}), "47", true),
        (json!({}), "udp/9 v6", true),
    ]);
}

/// `protocol`: only that protocol, by name (in any case) or number; names and numbers are the same protocol.
#[test]
fn protocol_is_a_name_or_a_number() {
    check(&[
        (json!({"protocol": "TCP"}), "tcp/1", true),
        (json!({"protocol": "tcp"}), "tcp/1", true),
        (json!({"protocol": 6}), "tcp/1", true),
        (json!({"protocol": "UDP"}), "tcp/1", false),
        (json!({"protocol": "UDPLite"}), "136/7", true),
        (json!({"protocol": "SCTP"}), "132/7", true),
        (json!({"protocol": 47}), "47", true),
        (json!({"protocol": 47}), "50", false),
    ]);
}

/// `notProtocol`: any protocol but that.
#[test]
fn not_protocol_leaves_one_out() {
    check(&[
        (json!({"notProtocol": "TCP"}), "tcp/1", false),
        (json!({"notProtocol": 6}), "udp/1", true),
        (json!({"protocol": "UDP", "notProtocol": 17}), "udp/1", false),
    ]);
}

/// `ipVersion`: only packets of that family; both if none is given.
#[test]
fn ip_version_limits_the_family() {
    check(&[
        (json!({"ipVersion": 4}), "tcp/1 v4", true),
        (json!({"ipVersion": 4}), "tcp/1 v6", false),
        (json!({"ipVersion": 6}), "tcp/1 v6", true),
        (json!({"ipVersion": 6}), "tcp/1 v4", false),
    ]);
}

/// The names ICMP and ICMPv6 mean IPv4 and IPv6; numbers and `notProtocol` mean no family.
#[test]
fn the_names_of_icmp_imply_a_family() {
    check(&[
        (json!({"protocol": "ICMP"}), "1/8.0 v4", true),
        (json!({"protocol": "ICMP"}), "1/8.0 v6", false),
        (json!({"protocol": 1}), "1/8.0 v6", true),
        (json!({"protocol": "ICMPv6"}), "58/128.0 v6", true),
        (json!({"protocol": "ICMPv6"}), "58/128.0 v4", false),
        (json!({"protocol": 58}), "58/128.0 v4", true),
        (json!({"notProtocol": "ICMP"}), "tcp/1 v6", true),
        (json!({"notProtocol": "ICMPv6"}), "tcp/1 v4", true),
    ]);
}

/// `icmp`: only that type, and only that code if one is given.
#[test]
fn icmp_is_a_type_and_perhaps_a_code() {
    let rule = |icmp: Value| json!({"protocol": "ICMP", "icmp": icmp});
    check(&[
        (rule(json!({"type": 3})), "icmp/3.4", true),
        (rule(json!({"type": 3})), "icmp/8.0", false),
        (rule(json!({"type": 3, "code": 4})), "icmp/3.4", true),
        (rule(json!({"type": 3, "code": 4})), "icmp/3.1", false),
        (rule(json!({"type": 0})), "icmp/0.0", true),
        (rule(json!({"type": 0})), "icmp/8.0", false),
        (json!({"protocol": "ICMPv6", "icmp": {"type": 128}}), "icmpv6/128.0 v6", true),
    ]);
}

/// `notICMP`: not that type, or not that pair; the protocol must match all the same.
#[test]
fn not_icmp_leaves_out_a_type_or_a_pair() {
    let rule = |icmp: Value| json!({"protocol": "ICMP", "notICMP": icmp});
    check(&[
        (rule(json!({"type": 8})), "icmp/8.0", false),
        (rule(json!({"type": 8})), "icmp/3.1", true),
        (rule(json!({"type": 3, "code": 1})), "icmp/3.1", false),
        (rule(json!({"type": 3, "code": 1})), "icmp/3.2", true),
        (rule(json!({"type": 8})), "tcp/80", false),
        (
            json!({"protocol": "ICMP", "icmp": {"type": 3}, "notICMP": {"type": 3, "code": 0}}),
            "icmp/3.0",
            false,
        ),
    ]);
}

/// `icmp` and `notICMP` without a type say nothing.
#[test]
fn empty_icmp_fields_mean_nothing() {
    check(&[
        (json!({"protocol": "ICMP", "icmp": {}}), "icmp/8.0", true),
        (json!({"protocol": "ICMP", "notICMP": {}}), "icmp/8.0", true),
    ]);
}

/// `http`: judged by a proxy at the application layer; for the packet the rest of the rule counts.
#[test]
fn http_is_not_asked_of_packets() {
    let rule = json!({"protocol": "TCP", "http": {"methods": ["GET"]}});
    check(&[(rule.clone(), "tcp/80", true), (rule, "udp/80", false)]);
}

/// `metadata.annotations`: free text.
#[test]
fn metadata_means_nothing() {
    check(&[(json!({"metadata": {"annotations": {"a": "b"}}}), "tcp/80", true)]);
}

/// All that a rule gives must hold.
#[test]
fn all_fields_must_hold() {
    let rule =
        json!({"protocol": "TCP", "source": {"selector": "app == 'web'"}, "destination": {"ports": [80]}});
    check(&[
        (rule.clone(), "tcp/80", true),
        (rule.clone(), "tcp/81", false),
        (rule.clone(), "udp/80", false),
    ]);
    assert!(!matches(rule, "shop/cache -> shop/db tcp/80"));
}
