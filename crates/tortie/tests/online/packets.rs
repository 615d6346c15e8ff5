//! What `status`, `explain` and the log say of real packets that policy judges.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use crate::machine::{Machine, connects};

fn explain(machine: &Machine, arguments: &[&str]) -> Value {
    let output = machine.run(&[&["explain", "-o", "json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packets(status: &Value, policy: &str, rule: i64) -> u64 {
    let policies = status["policies"].as_array().unwrap();
    let named = policies.iter().filter(|found| found["name"] == policy);
    let rules = named.flat_map(|found| found["rules"].as_array().unwrap().clone());
    rules.filter(|found| found["rule"] == rule).filter_map(|found| found["packets"].as_u64()).sum()
}

#[test]
fn a_policy_blocks_real_packets_and_status_explain_and_log_say_which_rule() {
    let mut machine = Machine::new("on");
    machine.add("web");
    let address = machine.add("db");
    let target: SocketAddr = format!("{address}:5432").parse().unwrap();
    let listener = machine.inside("db").run(move || TcpListener::bind(target)).unwrap().unwrap();
    let web = machine.inside("web");
    assert!(connects(&web, target), "without policy the namespace's profile allows all");

    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db-in, namespace: shop}\n\
         spec:\n  ingress:\n  - {action: Log}\n  - {action: Deny, protocol: TCP, destination: {ports: [5432]}}\n\
         \x20 - {action: Allow}\n",
    );
    let told = explain(&machine, &["--from", "shop/web", "--to", "shop/db", "--port", "tcp/5432"]);
    assert_eq!(told["verdict"], "deny");
    assert_eq!(told["agree"], true, "{told}");
    assert_eq!((&told["ingress"]["policy"], &told["ingress"]["rule"]), (&"shop/db-in".into(), &1.into()));
    assert_eq!(told["tables"]["ingress"]["rule"]["policy"], "shop/db-in");

    let before = packets(&machine.status(), "shop/db-in", 1);
    assert!(!connects(&web, target), "the policy is in force");
    let after = packets(&machine.status(), "shop/db-in", 1);
    assert!(after > before, "the rule that denied has counted: {before} -> {after}");
    let log = std::fs::read_to_string(machine.log()).unwrap();
    assert!(log.contains("NetworkPolicy shop/db-in ingress rule 0") && log.contains("DPT=5432"), "{log}");

    let told = explain(&machine, &["--from", "shop/web", "--to", "shop/db", "--port", "tcp/80"]);
    assert_eq!((&told["verdict"], &told["agree"]), (&"allow".into(), &true.into()));
    drop(listener);
}

#[test]
fn an_agent_that_is_killed_leaves_its_policy_and_comes_back_to_it() {
    let mut machine = Machine::new("kill");
    machine.add("web");
    let address = machine.add("db");
    let denied: SocketAddr = format!("{address}:81").parse().unwrap();
    let allowed: SocketAddr = format!("{address}:80").parse().unwrap();
    let listen = move || [TcpListener::bind(denied).unwrap(), TcpListener::bind(allowed).unwrap()];
    let listeners = machine.inside("db").run(listen).unwrap();
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db-in, namespace: shop}\n\
         spec:\n  ingress:\n  - {action: Allow, protocol: TCP, destination: {ports: [80]}}\n",
    );
    explain(&machine, &["--from", "shop/web", "--to", "shop/db", "--port", "tcp/80"]);
    let web = machine.inside("web");
    let both = |when: &str| {
        assert!(connects(&web, allowed), "{when}");
        assert!(!connects(&web, denied), "{when}");
    };
    both("with the agent");
    machine.stop();
    both("without the agent");
    machine.start();
    both("with the next agent");
    drop(listeners);
}

#[test]
fn trace_shows_a_policy_at_every_hop_from_the_store_to_the_kernels_counters() {
    let mut machine = Machine::new("trace");
    machine.add("web");
    let address = machine.add("db");
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db-in, namespace: shop}\n\
         spec: {ingress: [{action: Deny, protocol: TCP, destination: {ports: [5432]}}]}\n---\n\
         apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: elsewhere}\n\
         spec: {selector: has(elsewhere), ingress: [{action: Deny}]}\n",
    );
    machine.status_when(|status| status["policies"].to_string().contains("shop/db-in"));
    assert!(!connects(&machine.inside("web"), format!("{address}:5432").parse().unwrap()));
    let hops = |name: &str| -> Vec<(String, String)> {
        let output = machine.run(&["trace", "policy", name, "-o", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let hops: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        hops.iter().map(|hop| (hop["at"].as_str().unwrap().to_owned(), hop["holds"].to_string())).collect()
    };
    let traced = hops("shop/db-in");
    let expected = [
        ("store", "networkpolicies/shop/db-in at revision"),
        ("api", "NetworkPolicy(shop/db-in)"),
        ("calc", "action: Deny"),
        ("agent", "in force: true"),
        ("classify", "eth0 ingress: 1 of the 2 that are asked in order"),
        ("nft", "verdicts by its rules"),
        ("kernel", "ingress rule 0: "),
    ];
    assert_eq!(traced.len(), expected.len(), "{traced:#?}");
    for ((at, holds), (wanted, contains)) in traced.iter().zip(expected) {
        assert!(at == wanted && holds.contains(contains), "{wanted}, {contains:?}: {traced:#?}");
    }
    assert!(!traced[6].1.contains("rule 0: 0 packets"), "{traced:#?}");
    let unused = hops("elsewhere");
    assert_eq!(unused.len(), 3, "{unused:#?}");
    assert!(unused[2].1.contains("it selects no workload endpoint of this node"), "{unused:#?}");
    let text = String::from_utf8(machine.run(&["trace", "policy", "shop/db-in"]).stdout).unwrap();
    assert!(text.starts_with("1 store      /calico/resources/v3/"), "{text}");
    let missing = machine.run(&["trace", "policy", "shop/none"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&missing.stderr), "Error: no policy shop/none is stored\n");
}
