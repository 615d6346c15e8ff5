//! Ports: numbers, ranges, names; services.

use serde_json::{Value, json};
use tortie_api::kind::Kind;

use crate::support::{World, on_db, read};

const ALLOWED: &str = "allow shop/p#0";

fn world(rule: Value) -> World {
    let mut rule = rule;
    rule["action"] = json!("Allow");
    let world = World::new()
        .pod(
            "shop/api",
            "10.0.0.9",
            "app=api",
            json!({"ports": [
                {"name": "http", "protocol": "TCP", "port": 8080},
                {"name": "http", "protocol": "TCP", "port": 8081},
                {"name": "dns", "protocol": "UDP", "port": 53},
            ]}),
        )
        .pod(
            "bank/api",
            "10.0.1.9",
            "app=api",
            json!({"ports": [{"name": "http", "protocol": "TCP", "port": 9000}]}),
        )
        .global("p", json!({"ingress": [rule]}));
    assert_eq!(world.cluster().faults(), []);
    world
}

fn check(rule: Value, cases: &[(&str, bool)]) {
    let world = world(rule.clone());
    for (flow, expected) in cases {
        assert_eq!(world.ingress(flow) == "allow p#0", *expected, "{rule} {flow}: {}", world.ingress(flow));
    }
}

/// `ports`: any of these numbers or ranges (both ends included); of the destination on its side, of the source on its.
#[test]
fn ports_are_numbers_and_ranges() {
    let rule = json!({"protocol": "TCP", "destination": {"ports": [80, "8000:8002", 65535]}});
    check(
        rule,
        &[
            ("shop/web -> shop/db tcp/80", true),
            ("shop/web -> shop/db tcp/7999", false),
            ("shop/web -> shop/db tcp/8000", true),
            ("shop/web -> shop/db tcp/8002", true),
            ("shop/web -> shop/db tcp/8003", false),
            ("shop/web -> shop/db tcp/65535", true),
            ("shop/web -> shop/db tcp/80:81", false),
        ],
    );
    check(
        json!({"protocol": "TCP", "source": {"ports": [80]}}),
        &[("shop/web -> shop/db tcp/80:81", true), ("shop/web -> shop/db tcp/81:80", false)],
    );
}

/// `notPorts`: none of these.
#[test]
fn not_ports_are_left_out() {
    check(
        json!({"protocol": "TCP", "destination": {"ports": ["1:100"], "notPorts": [22, "50:60"]}}),
        &[
            ("shop/web -> shop/db tcp/21", true),
            ("shop/web -> shop/db tcp/22", false),
            ("shop/web -> shop/db tcp/60", false),
            ("shop/web -> shop/db tcp/101", false),
        ],
    );
    check(
        json!({"protocol": "UDP", "source": {"notPorts": [53]}}),
        &[("shop/web -> shop/db udp/53:1", false), ("shop/web -> shop/db udp/54:53", true)],
    );
}

/// A rule with ports matches no packet of a protocol without ports.
#[test]
fn ports_need_a_protocol_that_has_them() {
    check(json!({"destination": {"ports": ["0:65535"]}}), &[("shop/web -> shop/db icmp/8.0", false)]);
}

/// Named ports: the numbers that each endpoint gives to the name, of the rule's protocol; or-ed with numbers.
#[test]
fn a_named_port_is_looked_up_at_each_endpoint() {
    check(
        json!({"protocol": "TCP", "destination": {"ports": ["http", 22]}}),
        &[
            ("shop/web -> shop/api tcp/8080", true),
            ("shop/web -> shop/api tcp/8081", true),
            ("shop/web -> shop/api tcp/9000", false),
            ("shop/web -> bank/api tcp/9000", true),
            ("shop/web -> bank/api tcp/8080", false),
            ("shop/web -> shop/db tcp/8080", false),
            ("shop/web -> shop/db tcp/22", true),
        ],
    );
}

/// A named port of one protocol is none of another.
#[test]
fn a_named_port_has_a_protocol() {
    let rule = |protocol: &str| json!({"protocol": protocol, "destination": {"ports": ["dns"]}});
    check(rule("UDP"), &[("shop/web -> shop/api udp/53", true), ("shop/web -> shop/api tcp/53", false)]);
    check(rule("TCP"), &[("shop/web -> shop/api udp/53", false), ("shop/web -> shop/api tcp/53", false)]);
}

/// A converted ClusterNetworkPolicy asks for a port by its name alone. Calico looks it up among those of TCP.
#[test]
fn a_port_by_its_name_alone_is_one_of_tcp() {
    let rule = json!({"destination": {"ports": ["dns", "http"]}});
    check(rule, &[("shop/web -> shop/api udp/53", false), ("shop/web -> shop/api tcp/8080", true)]);
}

/// Named ports count only at endpoints that the rule's selector of that side selects.
#[test]
fn a_named_port_is_filtered_by_the_selector() {
    check(
        json!({"protocol": "TCP", "destination": {"selector": "app == 'api'", "namespaceSelector": "env == 'dev'", "ports": ["http"]}}),
        &[("shop/web -> bank/api tcp/9000", true), ("shop/web -> shop/api tcp/8080", false)],
    );
    check(
        json!({"protocol": "TCP", "destination": {"selector": "app == 'api'", "ports": ["http", 1]}}),
        &[
            ("shop/web -> shop/api tcp/8080", true),
            ("shop/web -> shop/api tcp/1", true),
            ("shop/web -> shop/db tcp/1", false),
        ],
    );
}

/// Named `notPorts` are looked up under the positive selector: what it doesn't select isn't left out by name.
#[test]
fn a_named_port_can_be_left_out() {
    check(
        json!({"protocol": "TCP", "destination": {"notPorts": ["http"]}}),
        &[("shop/web -> shop/api tcp/8080", false), ("shop/web -> shop/api tcp/1", true)],
    );
    check(
        json!({"protocol": "TCP", "source": {"notPorts": ["http"]}}),
        &[("shop/api -> shop/db tcp/8080:1", false), ("shop/api -> shop/db tcp/1:8080", true)],
    );
}

/// `services` as destination: the addresses, protocols and ports of the service's endpoint slices; in a namespaced
/// policy the own namespace if none is given.
#[test]
fn a_service_is_its_endpoints_and_ports() {
    let slice = |address: &str| {
        read(
            Kind::EndpointSlice,
            json!({
                "metadata": {"name": format!("s-{address}"), "namespace": "shop", "labels": {"kubernetes.io/service-name": "s"}},
                "endpoints": [{"addresses": [address], "conditions": {"ready": false}}],
                "ports": [{"port": 5432}, {"port": 53, "protocol": "UDP"}, {"name": "all"}],
            }),
        )
    };
    let world = World::new()
        .with(slice("10.0.0.2"))
        .with(slice("192.0.2.1"))
        .policy(
            "shop/p",
            json!({"egress": [{"action": "Allow", "destination": {"services": {"name": "s"}}}]}),
        )
        .policy(
            "bank/p",
            json!({"egress": [{"action": "Allow", "destination": {"services": {"name": "s"}}}]}),
        );
    assert_eq!(world.egress("shop/web -> shop/db tcp/5432"), ALLOWED);
    assert_eq!(world.egress("shop/web -> 192.0.2.1 udp/53"), ALLOWED);
    for denied in
        ["shop/web -> shop/db tcp/53", "shop/web -> shop/db tcp/1", "shop/web -> 192.0.2.2 tcp/5432"]
    {
        assert_eq!(world.egress(denied), "deny shop/p#-1", "{denied}");
    }
    assert_eq!(world.egress("bank/teller -> shop/db tcp/5432"), "deny bank/p#-1");
}

/// `services` as source: the addresses alone, whatever the port.
#[test]
fn a_service_as_source_is_its_addresses() {
    let world = World::new()
        .with(read(
            Kind::EndpointSlice,
            json!({
                "metadata": {"name": "s", "namespace": "shop", "labels": {"kubernetes.io/service-name": "s"}},
                "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["some.name"]}],
                "ports": [{"port": 80}],
            }),
        ))
        .policy(
            "shop/p",
            on_db(json!({"action": "Allow", "source": {"services": {"name": "s", "namespace": "shop"}}})),
        );
    assert_eq!(world.ingress("shop/web -> shop/db tcp/9"), ALLOWED);
    assert_eq!(world.ingress("shop/cache -> shop/db tcp/80"), "deny shop/p#-1");
}
