//! `kill -9` between any two steps: the agent's core and its driver in a process of their own, which does one
//! action each time it is told to, and is killed after every possible number of them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tortie_agent::core::{Action, Core, Input, Outcome, graph_config};
use tortie_api::event::Event;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_nft::flat::{Flat, Settings};
use tortie_store::sync::Feed;

use crate::stage::{NODE, Stage, gate_with};
use crate::streams::Streams;

const ADDRESS: &str = "10.20.0.7";
/// Set in the process that drives; where its database is.
const DATABASE: &str = "TT_DRIVER_DATABASE";

/// The process.
struct Driver {
    child: Child,
    orders: ChildStdin,
    told: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts it on the node. It has put the closed table up, or found one that judges.
    fn start(stage: &Stage) -> Driver {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["driver::drives_one_action_at_a_time", "--exact", "--ignored", "--nocapture"])
            .env(DATABASE, stage.directory.path().join("tortie.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = tortie_lab::fabric::spawn_in(stage.node(), &mut command).unwrap();
        let (orders, told) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut driver = Driver { child, orders, told };
        assert_eq!(driver.hear(), "started");
        driver
    }

    /// Has it do one thing (`next`, `hear`); what it did.
    fn order(&mut self, what: &str) -> String {
        writeln!(self.orders, "{what}").unwrap();
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.told.read_line(&mut line).unwrap() > 0, "the driver ended");
            // The test harness talks, too.
            if let Some((_, told)) = line.split_once('@') {
                return told.trim_end().to_owned();
            }
        }
    }

    /// Goes on until there is nothing to do; what was done.
    fn finish(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        loop {
            match self.order("next") {
                told if told == "nothing" => return done,
                told => done.push(told),
            }
        }
    }
}

impl Drop for Driver {
    /// SIGKILL.
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_kill_between_any_two_steps_neither_opens_nor_closes_anything() {
    let mut stage = Stage::new();
    let pod = stage.wire("web", ADDRESS);
    stage.assert_leaks_without_table(pod, ADDRESS);
    assert_eq!(Driver::start(&stage).finish(), ["Install"]);
    let streams = stage.streams(pod, ADDRESS);
    // A port more is one step; in place of others, between which a packet could slip through, a stack is made anew.
    let in_place = kill_after_each(&stage, &streams, |port| gate_with(&[port]));
    assert_eq!(in_place, ["Switch"]);
    let anew = kill_after_each(&stage, &streams, |port| {
        let mut gate = gate_with(&[]);
        let closed = json!({ "action": "Deny", "protocol": "TCP", "destination": { "ports": [port] } });
        let rules = gate["ingress"].as_array_mut().unwrap();
        rules.extend([closed, json!({ "action": "Allow", "protocol": "TCP" })]);
        gate
    });
    let anew: Vec<&str> = anew.iter().map(String::as_str).collect();
    assert!(anew.contains(&"Grow") && anew.ends_with(&["Switch", "Shrink"]), "{anew:?}");
    streams.stop().assert_clean();
}

/// Kills agents in the middle of a change of policy: one after no action, one after the first, and so on. Gives the
/// steps of the whole change.
fn kill_after_each(stage: &Stage, streams: &Streams, change: impl Fn(u16) -> Value) -> Vec<String> {
    let mut killed_after = Vec::new();
    for actions in 0.. {
        stage.apply("GlobalNetworkPolicy", "", "gate", gate_with(&[]));
        let mut driver = Driver::start(stage);
        driver.finish();
        stage.apply("GlobalNetworkPolicy", "", "gate", change(1000 + actions));
        driver.order("hear");
        let done: Vec<String> =
            (0..actions).map(|_| driver.order("next")).take_while(|told| told != "nothing").collect();
        drop(driver);
        streams.go_on(5);
        // The next agent makes an end of it.
        Driver::start(stage).finish();
        let all = done.len() < usize::from(actions);
        killed_after.push(done);
        if all {
            break;
        }
    }
    streams.go_on(20);
    // The last was killed when all was done; between any two of its steps another one was.
    let last = killed_after.last().unwrap().clone();
    assert_eq!(killed_after.len(), last.len() + 2, "{killed_after:?}");
    last
}

#[test]
#[ignore = "is run by the test above as a process to be killed"]
fn drives_one_action_at_a_time() {
    let database = std::env::var(DATABASE).expect("run by the test above");
    let store =
        tortie_store::embedded::Embedded::open(tortie_store::embedded::Options::new(database)).unwrap();
    let client = tortie_store::resources::Client::new(std::sync::Arc::new(store));
    let mut driver = Flat::open(Settings::default()).unwrap();
    driver.install_closed().unwrap();
    let mut core = Core::new(graph_config(&NODE.into()));
    let mut feed = Feed::new(std::sync::Arc::clone(client.store()));
    while !core.is_in_sync() {
        for event in feed.next(std::time::Duration::from_secs(10)).unwrap() {
            core.on_input(Input::Event(event));
        }
    }
    println!("@started");
    for order in std::io::stdin().lines() {
        match order.unwrap().as_str() {
            "hear" => {
                let key = ResourceKey::cluster(Kind::GlobalNetworkPolicy, "gate");
                let heard = client.get_as::<tortie_api::policy::GlobalNetworkPolicySpec>(&key).unwrap();
                core.on_input(Input::Event(Event::Upsert(heard.into())));
                println!("@heard");
            }
            _ => println!("@{}", act(&mut core, &mut driver)),
        }
    }
}

/// Does the next action, after waiting for its time if it has one.
fn act(core: &mut Core, driver: &mut Flat) -> String {
    loop {
        match core.next(Instant::now()) {
            Some(Action::Install(tables)) => {
                driver.install(tables).unwrap();
                core.on_done(Instant::now(), Outcome::Done);
                return "Install".to_owned();
            }
            Some(Action::Apply(step)) => {
                driver.apply(&step).unwrap();
                core.on_done(Instant::now(), Outcome::Done);
                return format!("{:?}", step.phase);
            }
            Some(Action::Ready(_)) => {}
            None => match core.deadline() {
                Some(due) => std::thread::sleep(due.saturating_duration_since(Instant::now())),
                None => return "nothing".to_owned(),
            },
        }
    }
}
