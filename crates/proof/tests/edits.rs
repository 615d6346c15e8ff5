//! What a change of policy costs in the tables: stacks in use are changed in place, by what differs alone, or not at all
//! where a packet under way could meet what neither the policy of before nor that of after says.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use tortie_analysis::{Outcome, Packet, Transport};
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::policy::Direction;
use tortie_api::resource::Resource;
use tortie_dataplane::flat::{Dispatch, Op, Phase, StackId, Step};
use tortie_proof::node::Node;
use tortie_proof::random::NODE;

const ENDPOINTS: usize = 100;

fn mk_event(kind: Kind, namespace: &str, name: &str, labels: Value, spec: Value) -> Event {
    let metadata = match namespace {
        "" => json!({"name": name, "labels": labels}),
        _ => json!({"name": name, "namespace": namespace, "labels": labels}),
    };
    let object = json!({"metadata": metadata, "spec": spec}).to_string();
    Event::Upsert(Resource::from_json(kind, object.as_bytes()).unwrap())
}

fn mk_endpoint(number: usize) -> Event {
    let name = format!("e{number}");
    let spec = json!({
        "orchestrator": "k8s", "node": NODE, "pod": name, "endpoint": "eth0", "interfaceName": format!("cali{number}"),
        "ipNetworks": [format!("10.65.0.{number}/32")],
    });
    mk_event(
        Kind::WorkloadEndpoint,
        "shop",
        &format!("{NODE}-k8s-{name}-eth0"),
        json!({"name": name, "all": ""}),
        spec,
    )
}

fn mk_policy(name: &str, order: u32, selector: &str, ingress: Value) -> Event {
    let spec = json!({"order": order, "selector": selector, "types": ["Ingress"], "ingress": ingress});
    mk_event(Kind::GlobalNetworkPolicy, "", name, json!({}), spec)
}

fn delete(name: &str) -> Event {
    Event::Delete(ResourceKey::cluster(Kind::GlobalNetworkPolicy, name))
}

fn mk_allow(nets: &[&str], port: Option<u16>) -> Value {
    let source = json!({"nets": nets});
    match port {
        Some(port) => {
            json!({"action": "Allow", "protocol": "TCP", "source": source, "destination": {"ports": [port]}})
        }
        None => json!({"action": "Allow", "source": source}),
    }
}

/// A hundred endpoints with ten policies of five rules each of their own.
fn mk_node() -> Node {
    let mut node = Node::new(None);
    node.apply((0..ENDPOINTS).map(mk_endpoint));
    for number in 0..ENDPOINTS * 10 {
        let (endpoint, turn) = (number % ENDPOINTS, number / ENDPOINTS);
        let rules: Vec<Value> = (0..5)
            .map(|place| {
                mk_allow(&[&format!("172.{}.{}.0/24", 16 + turn, (endpoint + place) % 200)], Some(8000))
            })
            .collect();
        let name = format!("standing-{number}");
        node.apply([mk_policy(&name, 100, &format!("name == 'e{endpoint}'"), json!(rules))]);
    }
    steps(&mut node, []);
    node
}

fn steps(node: &mut Node, events: impl IntoIterator<Item = Event>) -> Vec<Step> {
    node.apply(events);
    let mut steps = Vec::new();
    node.commit(|_, _, step| steps.push(step.clone())).unwrap();
    steps
}

fn operations(steps: &[Step]) -> usize {
    steps.iter().map(|step| step.ops.len()).sum()
}

fn stack_of(node: &Node, interface: &str) -> StackId {
    match node.tables().endpoints[interface].ingress_v4 {
        Dispatch::Stack(id) => id,
        ref other => unreachable!("one address, one stack: {other:?}"),
    }
}

fn outcome(node: &Node, source: &str, port: u16) -> Outcome {
    let packet = Packet {
        source: source.parse().unwrap(),
        destination: "10.65.0.7".parse().unwrap(),
        protocol: 6,
        transport: Transport::Ports { source: 40_000, destination: port },
    };
    node.judge("cali7", Direction::Ingress, &packet).unwrap().outcome
}

#[test]
fn a_policy_of_a_hundred_endpoints_is_one_verdict_and_one_default_for_each_and_one_step() {
    let mut node = mk_node();
    let stacks: Vec<StackId> =
        (0..ENDPOINTS).map(|number| stack_of(&node, &format!("cali{number}"))).collect();
    for _ in 0..3 {
        let opening = json!([mk_allow(&["192.0.2.0/24"], Some(20_000))]);
        let coming = steps(&mut node, [mk_policy("opening", 10, "has(all)", opening)]);
        assert_eq!(outcome(&node, "192.0.2.1", 20_000), Outcome::Allow);
        // A verdict and a default for each endpoint, a counter for the end of each endpoint's tier, which is called by
        // another policy; the net, the port and their counter.
        assert_eq!(coming[0].phase, Phase::Switch);
        assert!(operations(&coming) <= 3 * ENDPOINTS + 8, "{} operations", operations(&coming));
        let going = steps(&mut node, [delete("opening")]);
        assert_eq!(outcome(&node, "192.0.2.1", 20_000), Outcome::Deny);
        assert!(operations(&going) <= 3 * ENDPOINTS + 8, "{} operations", operations(&going));
    }
    let after: Vec<StackId> =
        (0..ENDPOINTS).map(|number| stack_of(&node, &format!("cali{number}"))).collect();
    assert_eq!(stacks, after);
}

#[test]
fn policies_that_come_before_all_others_for_ever_find_room_in_the_list() {
    let mut node = mk_node();
    for number in 0..200_u32 {
        let rules = json!([mk_allow(&["192.0.2.0/24"], Some(20_000))]);
        // Between the last one and the first of those that stand: the gap is halved each time.
        let order = 50 + number % 40;
        let change = steps(&mut node, [mk_policy(&format!("p{number:03}"), order, "name == 'e7'", rules)]);
        assert!(operations(&change) <= 16, "{} operations", operations(&change));
        assert_eq!(outcome(&node, "192.0.2.1", 20_000), Outcome::Allow);
    }
}

#[test]
fn a_narrow_key_in_the_place_of_a_wide_one_is_another_stack() {
    // In place, a packet could look for the port's key before it comes, and for the class' after it has gone.
    let mut node = mk_node();
    let wide = mk_policy("p", 10, "name == 'e7'", json!([mk_allow(&["192.0.2.0/24"], None)]));
    let narrow = mk_policy("p", 10, "name == 'e7'", json!([mk_allow(&["192.0.2.0/24"], Some(80))]));
    steps(&mut node, [wide]);
    let before = stack_of(&node, "cali7");
    steps(&mut node, [narrow]);
    assert_ne!(stack_of(&node, "cali7"), before);
    assert_eq!(outcome(&node, "192.0.2.1", 80), Outcome::Allow);
    assert_eq!(outcome(&node, "192.0.2.1", 81), Outcome::Deny);
}

#[test]
fn an_address_that_leaves_its_class_meanwhile_is_never_judged_by_what_stays_behind() {
    // Both sets are one class. Then a policy tells them apart, and allows the first as before: a packet of it may have
    // looked up the class that they had in common, of which the new verdicts deny what stays.
    let mut node = mk_node();
    let mk_set = |name: &str, net: &str, labels: Value| {
        mk_event(Kind::GlobalNetworkSet, "", name, labels, json!({"nets": [net]}))
    };
    let mk_allow = |selector: &str| json!([{"action": "Allow", "protocol": "TCP", "source": {"selector": selector}, "destination": {"ports": [80]}}]);
    node.apply([
        mk_set("moves", "192.0.2.1/32", json!({"app": "web", "role": "front"})),
        mk_set("stays", "192.0.2.2/32", json!({"app": "web"})),
        mk_policy("p", 10, "name == 'e7'", mk_allow("app == 'web'")),
    ]);
    steps(&mut node, []);
    let packet = Packet {
        source: "192.0.2.1".parse().unwrap(),
        destination: "10.65.0.7".parse().unwrap(),
        protocol: 6,
        transport: Transport::Ports { source: 40_000, destination: 80 },
    };
    node.apply([mk_policy("p", 10, "name == 'e7'", mk_allow("role == 'front'"))]);
    let mut met = Vec::new();
    node.commit(|node, before, step| {
        if step.phase == Phase::Switch {
            met.extend(node.outcomes_across(before, ("cali7", Direction::Ingress, &packet)));
        }
    })
    .unwrap();
    assert!(!met.is_empty() && met.iter().all(|outcome| *outcome == Outcome::Allow), "{met:?}");
    assert_eq!(outcome(&node, "192.0.2.1", 80), Outcome::Allow);
    assert_eq!(outcome(&node, "192.0.2.2", 80), Outcome::Deny);
}

#[test]
fn a_stack_whose_users_part_is_not_changed_under_any_of_them() {
    // Three endpoints have one stack; policies of their own part them in one commit.
    let mut node = Node::new(None);
    node.apply((0..3).map(mk_endpoint));
    let standing: Vec<Value> =
        (0..40).map(|net| mk_allow(&[&format!("172.16.{net}.0/24")], Some(8000))).collect();
    steps(&mut node, [mk_policy("all", 100, "has(all)", json!(standing))]);
    let shared = stack_of(&node, "cali0");
    assert!((1..3).all(|number| stack_of(&node, &format!("cali{number}")) == shared));
    let own = |number: usize| {
        let rules = json!([mk_allow(&[&format!("192.0.2.{number}/32")], Some(8000))]);
        mk_policy(&format!("own{number}"), 10, &format!("name == 'e{number}'"), rules)
    };
    let change = steps(&mut node, (0..3).map(own));
    let written = change.iter().filter(|step| step.phase != Phase::Shrink).flat_map(|step| &step.ops);
    let in_shared = written.filter(|op| matches!(op, Op::AddEntry(key, _) if key.stack == shared)).count();
    assert_eq!(in_shared, 0);
    assert!((0..3).all(|number| stack_of(&node, &format!("cali{number}")) != shared));
}

#[test]
fn what_is_more_than_one_transaction_should_take_is_not_made_in_place() {
    let mut node = mk_node();
    // Every class of every endpoint gets an entry that it hadn't.
    let before = stack_of(&node, "cali7");
    let rules = json!([{"action": "Log"}]);
    let change = steps(&mut node, [mk_policy("log", 10, "has(all)", rules)]);
    assert_ne!(stack_of(&node, "cali7"), before);
    let largest = change.iter().filter(|step| step.phase == Phase::Switch).map(|step| step.ops.len()).max();
    assert!(largest <= Some(20_000 + 2 * ENDPOINTS), "{largest:?}");
    assert!(change.iter().flat_map(|step| &step.ops).any(|op| matches!(op, Op::AddStack(..))));
}
