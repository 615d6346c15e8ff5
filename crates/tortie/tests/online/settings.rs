//! FelixConfigurations change what a running agent does, or say what a restart would.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::Value;

use crate::machine::{Machine, connects};

fn configuration(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

/// A setting's value, source, and value after a restart.
fn setting<'a>(status: &'a Value, name: &str) -> (&'a str, &'a str, Option<&'a str>) {
    let settings = status["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(found) = settings.iter().find(|setting| setting["name"] == name) else { return ("", "", None) };
    let text = |field: &str| found[field].as_str();
    (text("value").unwrap(), text("source").unwrap(), text("afterRestart"))
}

#[test]
fn a_stored_endpoint_to_host_action_opens_and_closes_the_host_without_a_restart() {
    const NAME: &str = "defaultEndpointToHostAction";
    let mut machine = Machine::new("host");
    machine.add("web");
    for arguments in [["link", "set", "lo", "up"].as_slice(), &["addr", "add", "192.0.2.1/32", "dev", "lo"]] {
        let mut ip = Command::new("ip");
        assert!(ip.args(["-n", machine.host.name()]).args(arguments).status().unwrap().success());
    }
    let host: SocketAddr = "192.0.2.1:8080".parse().unwrap();
    let namespace = tortie_netlink::Namespace::open(machine.host.path()).unwrap();
    let listener = namespace.run(move || TcpListener::bind(host)).unwrap().unwrap();
    let web = machine.inside("web");
    assert!(!connects(&web, host), "closed unless somebody says otherwise");

    machine.apply(&configuration("default", "{defaultEndpointToHostAction: Accept}"));
    machine.status_when(|status| setting(status, NAME) == ("Accept", "FelixConfiguration default", None));
    assert!(connects(&web, host), "the configuration of all nodes");

    machine.apply(&configuration("node.node1", "{defaultEndpointToHostAction: Drop}"));
    machine.status_when(|status| setting(status, NAME) == ("Drop", "FelixConfiguration node.node1", None));
    assert!(!connects(&web, host), "the node's own configuration is stronger");

    assert!(machine.run(&["delete", "felixconfig", "node.node1"]).status.success());
    machine.status_when(|status| setting(status, NAME).0 == "Accept");
    assert!(connects(&web, host), "the node's own configuration is gone");
    assert_eq!(machine.status()["done"]["installs"], 1, "none of it put the tables in place anew");

    // The next agent closes with what is stored, and the environment is stronger than all of it.
    machine.stop();
    machine.variables = vec![("FELIX_DEFAULTENDPOINTTOHOSTACTION", "DROP")];
    machine.start();
    assert_eq!(setting(&machine.status(), NAME), ("DROP", "environment", None));
    assert!(!connects(&web, host), "the environment is the strongest");
    drop(listener);
}

#[test]
fn a_stored_log_prefix_is_in_the_next_line() {
    let mut machine = Machine::new("prefix");
    machine.add("web");
    let address = machine.add("db");
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db-in, namespace: shop}\n\
         spec:\n  ingress:\n  - {action: Log}\n  - {action: Deny}\n",
    );
    machine.apply(&configuration("default", "{logPrefix: 'told %n'}"));
    let status = machine.status_when(|status| setting(status, "logPrefix").0 == "told %n");
    assert_eq!(status["faults"].as_array().unwrap().len(), 0, "{status:#}");
    assert!(!connects(&machine.inside("web"), format!("{address}:80").parse().unwrap()));
    let log = std::fs::read_to_string(machine.log()).unwrap();
    assert!(log.contains("told shop/db-in NetworkPolicy shop/db-in ingress rule 0"), "{log}");
}

#[test]
fn a_stored_severity_silences_the_log_but_not_what_log_rules_send() {
    let mut machine = Machine::new("severity");
    machine.add("web");
    let address = machine.add("db");
    machine.apply(&configuration("node.node1", "{logSeverityScreen: Warning, logPrefix: quiet}"));
    machine.status_when(|status| setting(status, "logPrefix").0 == "quiet");
    let log = || std::fs::read_to_string(machine.log()).unwrap();
    assert_eq!(setting(&machine.status(), "logSeverityScreen").0, "Warning");
    let infos = log().matches(" INFO tortie").count();
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db-in, namespace: shop}\n\
         spec:\n  ingress:\n  - {action: Log}\n  - {action: Deny}\n",
    );
    machine.apply(&configuration("node.node1", "{logSeverityScreen: Warning, logPrefix: still}"));
    machine.status_when(|status| setting(status, "logPrefix").0 == "still");
    assert!(!connects(&machine.inside("web"), format!("{address}:80").parse().unwrap()));
    assert!(log().contains("still NetworkPolicy shop/db-in ingress rule 0"), "{}", log());
    assert_eq!(log().matches(" INFO tortie").count(), infos, "{}", log());
    machine.apply(&configuration("node.node1", "{logSeverityScreen: Info, logPrefix: loud}"));
    machine.status_when(|status| setting(status, "logPrefix").0 == "loud");
    machine.apply(&configuration("node.node1", "{logPrefix: louder}"));
    machine.status_when(|status| setting(status, "logPrefix").0 == "louder");
    assert!(log().matches(" INFO tortie").count() > infos, "{}", log());
}

#[test]
fn what_needs_a_restart_is_told_and_holds_after_it() {
    let mut machine = Machine::new("restart");
    machine.apply(&configuration("default", "{interfacePrefix: 'cali,tap', prometheusMetricsPort: 19091}"));
    let status = machine.status_when(|status| setting(status, "interfacePrefix").2.is_some());
    assert_eq!(setting(&status, "interfacePrefix"), ("cali", "default", Some("cali,tap")));
    assert_eq!(setting(&status, "prometheusMetricsPort"), ("9091", "default", Some("19091")));
    let log = std::fs::read_to_string(machine.log()).unwrap();
    assert!(log.contains("set, but cali until the agent is restarted"), "{log}");
    let text = String::from_utf8(machine.run(&["status"]).stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("interfacePrefix")).unwrap_or_default();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["interfacePrefix", "cali", "default", "cali,tap"]
    );

    machine.stop();
    machine.start();
    let status = machine.status();
    assert_eq!(setting(&status, "interfacePrefix"), ("cali,tap", "FelixConfiguration default", None));
    let mut list = Command::new("ip");
    list.args(["netns", "exec", machine.host.name(), "nft", "list", "table", "inet", "tortie"]);
    let table = list.output().unwrap();
    assert!(
        String::from_utf8_lossy(&table.stdout).contains("\"tap*\""),
        "the table is of tap interfaces too"
    );
}

#[test]
fn a_stored_value_that_cannot_work_is_a_fault_and_the_agent_starts_without_it() {
    let mut machine = Machine::new("fault");
    // As another version of Calico's tools may have stored it: `apply` refuses it.
    let store = tortie_store::embedded::Options::new(machine.files.path().join("db"));
    let store = tortie_store::embedded::Embedded::open(store).unwrap();
    let put = |name: &str, spec: &str| {
        let key = format!("/calico/resources/v3/projectcalico.org/felixconfigurations/{name}");
        let value = format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{spec}}}"#);
        tortie_store::Datastore::put(&store, &key, value.as_bytes()).unwrap();
    };
    put("default", r#"{"defaultEndpointToHostAction":"ACCEPT","healthPort":9100}"#);
    put("node.node1", r#"{"defaultEndpointToHostAction":"perhaps"}"#);
    put("edge", r#"{"logPrefix":"edge"}"#);
    let faults = |status: &Value| {
        let fault = |fault: &Value| {
            let text = |field: &str| fault[field].as_str().unwrap().to_owned();
            [text("kind"), text("name"), text("effect"), text("error")].join("|")
        };
        status["faults"].as_array().into_iter().flatten().map(fault).collect::<Vec<_>>()
    };
    let expected = [
        "FelixConfiguration|node.node1|gives way to DROP|defaultEndpointToHostAction is \"perhaps\": expected DROP, RETURN or ACCEPT",
        "FelixConfiguration|edge|is passed over|it is neither default nor node.NAME, and has no nodeSelector",
    ];
    machine.status_when(|status| faults(status) == expected);
    machine.stop();
    machine.start();
    let status = machine.status();
    assert_eq!(faults(&status), expected);
    assert_eq!(setting(&status, "defaultEndpointToHostAction"), ("DROP", "default", None));
    assert_eq!(setting(&status, "healthPort"), ("9100", "FelixConfiguration default", None));
    assert_eq!(machine.run(&["status"]).status.code(), Some(1), "scripts see it too");
    let checked = machine.run(&["agent", "--check"]);
    assert_eq!(checked.status.code(), Some(1));
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(
        told.starts_with("FelixConfiguration node.node1: defaultEndpointToHostAction is \"perhaps\""),
        "{told}"
    );
}

#[test]
fn an_address_that_is_taken_holds_up_no_policy_and_is_answered_at_when_it_is_free() {
    let mut machine = Machine::new("taken");
    machine.stop();
    let up = Command::new("ip").args(["-n", machine.host.name(), "link", "set", "lo", "up"]).status();
    assert!(up.unwrap().success());
    let namespace = tortie_netlink::Namespace::open(machine.host.path()).unwrap();
    let taken = namespace.run(|| TcpListener::bind("127.0.0.1:9300")).unwrap().unwrap();
    machine
        .apply(&configuration("default", "{prometheusMetricsHost: 127.0.0.1, prometheusMetricsPort: 9300}"));
    machine.start();
    let status = machine.status_when(|status| !status["faults"].as_array().unwrap().is_empty());
    assert_eq!(status["faults"][0]["name"], "127.0.0.1:9300", "{status:#}");
    drop(taken);
    machine.status_when(|status| status["faults"].as_array().unwrap().is_empty());
}

#[test]
fn a_configuration_with_a_selector_follows_the_nodes_labels() {
    let mut machine = Machine::new("labels");
    machine.apply(&configuration("edge", "{nodeSelector: has(edge), logPrefix: edge, healthPort: 19099}"));
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: node1, labels: {edge: north}}\n",
    );
    let status = machine.status_when(|status| setting(status, "logPrefix").0 == "edge");
    assert_eq!(setting(&status, "logPrefix").1, "FelixConfiguration edge");
    assert_eq!(setting(&status, "healthPort"), ("9099", "default", Some("19099")));
    machine.stop();
    machine.start();
    let status = machine.status();
    assert_eq!(
        setting(&status, "healthPort"),
        ("19099", "FelixConfiguration edge", None),
        "known before any event"
    );
}
