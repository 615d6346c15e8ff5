//! What one machine does with a packet.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::json;
use tortie_analysis::{Answer, Node, Packet, ToHost, judge_at, predict};
use tortie_analysis::{Outcome, Transport};

use crate::support::{World, on_db, side};

fn world() -> World {
    World::new()
        .pod("shop/far", "10.0.2.1", "app=far", json!({"node": "node2"}))
        .policy("shop/p", on_db(json!({"action": "Deny"})))
}

fn node(to_host: ToHost) -> Node {
    Node { name: "node1".to_owned(), addresses: vec!["172.16.0.1".parse().unwrap()], to_host }
}

fn at(world: &World, node: &Node, source: &str, destination: &str) -> Answer {
    let packet = Packet::with_ports(source.parse().unwrap(), destination.parse().unwrap(), 6, (40000, 80));
    judge_at(&world.cluster(), node, &packet)
}

fn sides(answer: &Answer) -> (String, String) {
    (side(answer.egress.as_ref()), side(answer.ingress.as_ref()))
}

/// A host reaches its own workloads whatever their ingress says, so that health checks work.
#[test]
fn a_host_reaches_its_own_workloads() {
    let answer = at(&world(), &node(ToHost::Drop), "172.16.0.1", "10.0.0.2");
    assert_eq!(sides(&answer), ("none".to_owned(), "allow #-2".to_owned()));
    let other = at(&world(), &node(ToHost::Drop), "172.16.0.2", "10.0.0.2");
    assert_eq!(sides(&other), ("none".to_owned(), "deny shop/p#0".to_owned()));
}

/// `DefaultEndpointToHostAction`: Drop (the default), Return or Accept, after the workload's egress.
#[test]
fn a_workload_reaches_its_host_if_the_host_says_so() {
    for (to_host, verdict) in [
        (ToHost::default(), Outcome::Deny),
        (ToHost::Return, Outcome::Allow),
        (ToHost::Accept, Outcome::Allow),
    ] {
        let answer = at(&world(), &node(to_host), "10.0.0.1", "172.16.0.1");
        assert_eq!(answer.egress.as_ref().map(|side| side.outcome), Some(Outcome::Allow));
        assert_eq!(answer.verdict, verdict, "{to_host:?}");
    }
    let shut = world().policy("shop/e", json!({"egress": [{"action": "Deny"}]}));
    let answer = at(&shut, &node(ToHost::Accept), "10.0.0.1", "172.16.0.1");
    assert_eq!(sides(&answer).0, "deny shop/e#0");
    assert_eq!(answer.verdict, Outcome::Deny);
}

/// Both sides of a pair on one machine are judged there; a side elsewhere is judged elsewhere.
#[test]
fn a_machine_judges_the_workloads_that_it_runs() {
    let node = node(ToHost::Drop);
    assert_eq!(
        sides(&at(&world(), &node, "10.0.0.1", "10.0.0.2")),
        ("allow kns.shop#0".to_owned(), "deny shop/p#0".to_owned())
    );
    assert_eq!(
        sides(&at(&world(), &node, "10.0.0.1", "10.0.2.1")),
        ("allow kns.shop#0".to_owned(), "none".to_owned())
    );
    assert_eq!(
        sides(&at(&world(), &node, "10.0.2.1", "10.0.0.2")),
        ("none".to_owned(), "deny shop/p#0".to_owned())
    );
    let neither = at(&world(), &node, "8.8.8.8", "10.0.2.1");
    assert_eq!(neither.verdict, Outcome::Allow);
}

/// A matrix has a cell for each pair and probe, and says for each blocked one who blocked it.
#[test]
fn a_matrix_is_predicted_cell_by_cell() {
    let cluster = world().cluster();
    let [web, db, v6] = ["10.0.0.1", "10.0.0.2", "fd00::2"].map(|text| text.parse().unwrap());
    let probes =
        [(6, Transport::Ports { source: 1, destination: 2 }), (1, Transport::Icmp { icmp_type: 8, code: 0 })];
    let cells = predict(&cluster, [(web, db), (db, web), (web, v6)], &probes);
    let blocked: Vec<_> = cells.iter().map(|cell| side(cell.answer.denied_by())).collect();
    assert_eq!(blocked, ["deny shop/p#0", "deny shop/p#0", "none", "none"]);
}
