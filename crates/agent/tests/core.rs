//! The core as the loop drives it, without a kernel, a store or a clock: what it asks for, when, and what it does
//! when that fails.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::{Duration, Instant};

use tortie_agent::core::{Action, Core, Input, Outcome, Ticket, graph_config};
use tortie_api::endpoint::WorkloadEndpoint;
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::meta::ObjectMeta;
use tortie_api::policy::{GlobalNetworkPolicy, Rule};
use tortie_api::resource::Resource;
use tortie_dataplane::flat::{GRACE, Phase, Tables};

const NODE: &str = "node1";

fn mk_core() -> Core {
    Core::new(graph_config(&NODE.into()))
}

/// A core whose (empty) tables are in the kernel.
fn mk_installed(now: Instant) -> Core {
    let mut core = mk_core();
    core.on_input(Input::Event(Event::InSync));
    assert_eq!(core.next(now), Some(Action::Install(Tables::default())));
    core.on_done(now, Outcome::Done);
    assert!(core.is_ready());
    core
}

fn mk_meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: namespace.into(), name: name.into(), ..ObjectMeta::default() }
}

fn mk_endpoint(number: u8) -> Event {
    let name = format!("{NODE}-k8s-pod{number}-eth0");
    let mut endpoint = WorkloadEndpoint { metadata: mk_meta("shop", &name), ..WorkloadEndpoint::default() };
    let spec = &mut endpoint.spec;
    spec.orchestrator = "k8s".into();
    spec.node = NODE.into();
    spec.pod = format!("pod{number}");
    spec.endpoint = "eth0".into();
    spec.interface_name = format!("cali{number}");
    spec.ip_networks = vec![format!("10.0.0.{number}/32")];
    Event::Upsert(endpoint.into())
}

/// A policy of all endpoints with so many rules.
fn mk_policy(rules: usize) -> Event {
    let metadata = mk_meta("", "all");
    let mut policy = GlobalNetworkPolicy { metadata, ..GlobalNetworkPolicy::default() };
    policy.spec.selector = "all()".into();
    policy.spec.ingress = (0..rules)
        .map(|number| {
            let mut rule = Rule { action: "Allow".into(), ..Rule::default() };
            rule.source.nets = vec![format!("10.1.{number}.0/24")];
            rule
        })
        .collect();
    Event::Upsert(Resource::from(policy))
}

/// All that the core asks for now; everything succeeds.
fn carry_out(core: &mut Core, now: Instant) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some(action) = core.next(now) {
        if !matches!(action, Action::Ready(_)) {
            core.on_done(now, Outcome::Done);
        }
        actions.push(action);
    }
    actions
}

/// Names of actions, for assertions on their order.
fn told(actions: &[Action]) -> Vec<String> {
    let tell = |action: &Action| match action {
        Action::Install(_) => "install".to_owned(),
        Action::Apply(step) => format!("{:?}", step.phase),
        Action::Ready(tickets) => format!("ready {:?}", tickets.iter().map(|it| it.0).collect::<Vec<_>>()),
    };
    actions.iter().map(tell).collect()
}

#[test]
fn nothing_is_asked_for_before_the_store_is_in_sync() {
    let (mut core, now) = (mk_core(), Instant::now());
    core.on_input(Input::Event(mk_policy(2)));
    core.on_input(Input::Event(mk_endpoint(1)));
    core.on_input(Input::Wait(Ticket(1)));
    core.on_input(Input::Drift);
    for later in [Duration::ZERO, GRACE, Duration::from_secs(3600)] {
        assert_eq!((core.next(now + later), core.deadline()), (None, None));
    }
    assert!(!core.is_in_sync() && !core.is_ready());
    core.on_input(Input::Event(Event::InSync));
    let Some(Action::Install(tables)) = core.next(now) else { panic!("no install") };
    assert_eq!(tables.endpoints.keys().map(|name| &**name).collect::<Vec<_>>(), ["cali1"]);
    assert!(core.is_in_sync() && !core.is_ready(), "ready before the kernel holds anything");
}

#[test]
fn who_waits_from_the_beginning_is_told_when_the_first_tables_are_in_place() {
    let (mut core, now) = (mk_core(), Instant::now());
    core.on_input(Input::Event(mk_endpoint(1)));
    core.on_input(Input::Wait(Ticket(7)));
    core.on_input(Input::Event(Event::InSync));
    assert_eq!(told(&carry_out(&mut core, now)), ["install", "ready [7]"]);
    assert!(core.is_ready());
}

#[test]
fn who_waits_is_told_after_the_switch_and_before_the_shrink() {
    let now = Instant::now();
    let mut core = mk_installed(now);
    core.on_input(Input::Event(mk_endpoint(1)));
    core.on_input(Input::Event(mk_policy(3)));
    core.on_input(Input::Wait(Ticket(1)));
    assert_eq!(told(&carry_out(&mut core, now)), ["Grow", "Switch", "Grow", "Switch", "ready [1]"]);
    // A change of policy leaves a stack behind that goes later.
    core.on_input(Input::Event(mk_policy(1)));
    core.on_input(Input::Wait(Ticket(2)));
    let second = told(&carry_out(&mut core, now));
    let (last, steps) = second.split_last().unwrap();
    assert_eq!(last, "ready [2]");
    assert!(steps.ends_with(&["Switch".into()]) && !steps.contains(&"Shrink".into()), "{second:?}");
    assert_eq!(core.next(now + GRACE - Duration::from_nanos(1)), None);
    assert!(told(&carry_out(&mut core, now + GRACE)).contains(&"Shrink".into()));
}

#[test]
fn what_comes_while_a_step_is_carried_out_waits_for_the_commit_that_holds_it() {
    let now = Instant::now();
    let mut core = mk_installed(now);
    core.on_input(Input::Event(mk_endpoint(1)));
    core.on_input(Input::Wait(Ticket(1)));
    let Some(Action::Apply(first)) = core.next(now) else { panic!("no step") };
    assert_eq!(first.phase, Phase::Switch);
    // Meanwhile:
    core.on_input(Input::Event(mk_endpoint(2)));
    core.on_input(Input::Wait(Ticket(2)));
    core.on_done(now, Outcome::Done);
    let told = told(&carry_out(&mut core, now));
    let place = |what: &str| told.iter().position(|action| action == what);
    let (first, second) = (place("ready [1]").unwrap(), place("ready [2]").unwrap());
    assert!(first < second, "{told:?}");
    assert!(told[first..second].iter().any(|action| action == "Switch"), "{told:?}: told before its commit");
}

#[test]
fn who_waits_for_nothing_is_told_at_once_and_in_order() {
    let now = Instant::now();
    let mut core = mk_installed(now);
    for ticket in 1..4 {
        core.on_input(Input::Wait(Ticket(ticket)));
    }
    assert_eq!(told(&carry_out(&mut core, now)), ["ready [1, 2, 3]"]);
    assert_eq!(core.next(now), None);
}

#[test]
fn a_shrink_waits_for_the_grace_period_and_for_nothing_else() {
    let now = Instant::now();
    let mut core = mk_installed(now);
    core.on_input(Input::Event(mk_endpoint(1)));
    core.on_input(Input::Event(mk_policy(2)));
    carry_out(&mut core, now);
    while let Some(due) = core.deadline() {
        carry_out(&mut core, due);
    }
    core.on_input(Input::Event(Event::Delete(ResourceKey::cluster(Kind::GlobalNetworkPolicy, "all"))));
    assert_eq!(told(&carry_out(&mut core, now)).last().map(String::as_str), Some("Switch"));
    assert_eq!(core.deadline(), Some(now + GRACE));
    assert_eq!(core.next(now + GRACE - Duration::from_nanos(1)), None);
    // Other commits pass it by.
    core.on_input(Input::Event(mk_endpoint(2)));
    core.on_input(Input::Wait(Ticket(1)));
    assert_eq!(told(&carry_out(&mut core, now + GRACE / 2)).last().map(String::as_str), Some("ready [1]"));
    assert_eq!(told(&carry_out(&mut core, now + GRACE)), ["Shrink"]);
}

#[test]
fn after_a_failure_all_is_installed_anew_with_growing_rests_and_who_waits_is_told_then() {
    let now = Instant::now();
    let mut core = mk_installed(now);
    core.on_input(Input::Event(mk_endpoint(1)));
    core.on_input(Input::Wait(Ticket(1)));
    assert!(matches!(core.next(now), Some(Action::Apply(_))));
    core.on_done(now, Outcome::Failed);
    assert!(!core.is_ready());
    let mut at = now;
    let mut rests = Vec::new();
    for _ in 0..10 {
        let due = core.deadline().unwrap();
        rests.push((due - at).as_millis());
        assert_eq!(core.next(due - Duration::from_nanos(1)), None, "it does not rest");
        // What is heard in between is in the next attempt.
        let Some(Action::Install(tables)) = core.next(due) else { panic!("no install") };
        assert!(tables.endpoints.contains_key("cali1"));
        core.on_done(due, Outcome::Failed);
        at = due;
    }
    assert_eq!(rests, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    let due = core.deadline().unwrap();
    assert_eq!(told(&carry_out(&mut core, due)), ["install", "ready [1]"]);
    assert!(core.is_ready());
    assert_eq!(core.counts().failures, 11);
    // And the next trouble begins with the short rest again.
    core.on_input(Input::Event(mk_endpoint(2)));
    assert!(matches!(core.next(due), Some(Action::Apply(_))));
    core.on_done(due, Outcome::Failed);
    assert_eq!(core.deadline(), Some(due + Duration::from_millis(100)));
}

#[test]
fn a_failed_switch_is_not_followed_by_its_shrink() {
    let now = Instant::now();
    let mut core = mk_installed(now);
    core.on_input(Input::Event(mk_endpoint(1)));
    core.on_input(Input::Event(mk_policy(2)));
    carry_out(&mut core, now);
    let later = now + 10 * GRACE;
    carry_out(&mut core, later);
    core.on_input(Input::Event(mk_policy(1)));
    while let Some(Action::Apply(step)) = core.next(later) {
        let failed = step.phase == Phase::Switch;
        core.on_done(later, if failed { Outcome::Failed } else { Outcome::Done });
    }
    // What the switch would have left behind still judges.
    let due = core.deadline().unwrap();
    assert_eq!(told(&carry_out(&mut core, due.max(later + GRACE))), ["install"]);
}

#[test]
fn drift_is_mended_at_once_even_in_the_rest_after_a_failure() {
    let now = Instant::now();
    let mut core = mk_installed(now);
    core.on_input(Input::Drift);
    assert!(!core.is_ready());
    assert_eq!(told(&carry_out(&mut core, now)), ["install"]);
    core.on_input(Input::Event(mk_endpoint(1)));
    assert!(matches!(core.next(now), Some(Action::Apply(_))));
    core.on_done(now, Outcome::Failed);
    assert_eq!(core.next(now), None);
    core.on_input(Input::Drift);
    assert_eq!(told(&carry_out(&mut core, now)), ["install"]);
    assert_eq!((core.counts().drifts, core.counts().installs), (2, 3));
}

#[test]
fn what_cannot_be_read_is_known_until_it_can_be_read_or_is_gone() {
    let key = ResourceKey::cluster(Kind::GlobalNetworkPolicy, "all");
    let mut core = mk_core();
    let broken = || Event::Unreadable { key: key.clone(), json: None, error: "spec: found 7".to_owned() };
    core.on_input(Input::Event(broken()));
    assert_eq!(core.unreadable().get(&key).map(|it| it.error.as_str()), Some("spec: found 7"));
    core.on_input(Input::Event(mk_policy(1)));
    assert!(core.unreadable().is_empty());
    core.on_input(Input::Event(broken()));
    core.on_input(Input::Event(Event::Delete(key)));
    assert!(core.unreadable().is_empty());
}
