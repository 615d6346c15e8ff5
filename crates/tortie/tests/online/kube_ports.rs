//! Host ports of pods as Kubernetes and the runtime say them: led where our plugin was asked for them, not where another one is.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::machine::{Machine, NETWORK, connects};

const NODE: &str = "192.0.2.11";

impl Machine {
    fn pod_with_port(&mut self, name: &str, host_port: u16) {
        self.kubectl(
            &["create", "-f", "-"],
            &format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop}}, \
                 spec: {{nodeName: node1, automountServiceAccountToken: false, \
                 containers: [{{name: c, image: x, ports: [{{containerPort: 80, hostPort: {host_port}}}]}}]}}}}"
            ),
        );
        self.make_pod(name);
    }
}

/// What a runtime passes to a plugin whose configuration declares the capability.
fn asked(host_port: u16) -> String {
    let mut network: Value = serde_json::from_str(NETWORK).unwrap();
    let mapping = json!({"hostPort": host_port, "containerPort": 80, "protocol": "tcp", "hostIP": ""});
    network["runtimeConfig"] = json!({ "portMappings": [mapping] });
    network.to_string()
}

fn listen(machine: &Machine, pod: &str, said: &str) -> TcpListener {
    let said: Value = serde_json::from_str(said).unwrap();
    let address = said["ips"][0]["address"].as_str().unwrap().trim_end_matches("/32").to_owned();
    machine.inside(pod).run(move || TcpListener::bind((address, 80)).unwrap()).unwrap()
}

fn leads_pods_ports_if_asked(mut machine: Machine) {
    machine.on_host(&format!("ip address add {NODE}/32 dev lo"));
    let at = |port: u16| -> SocketAddr { format!("{NODE}:{port}").parse().unwrap() };
    machine.pod_with_port("ours", 8080);
    let (added, said) = machine.call_with("ADD", "ours", &asked(8080));
    assert!(added, "{said}");
    let _ours = listen(&machine, "ours", &said);
    assert!(connects(&machine.host, at(8080)));
    // With `portmap` behind our plugin the runtime passes them there; without it nobody wants them led.
    machine.pod_with_port("others", 8081);
    let (added, said) = machine.call("ADD", "others");
    assert!(added, "{said}");
    let _others = listen(&machine, "others", &said);
    let stored = machine.run(&["get", "workloadendpoint", "-n", "shop", "-o", "json"]);
    let stored = String::from_utf8(stored.stdout).unwrap();
    for port in [8080, 8081] {
        assert!(stored.contains(&format!("\"hostPort\": {port}")), "as Calico's endpoints: {stored}");
    }
    for round in ["running", "restarted"] {
        assert!(connects(&machine.host, at(8080)), "{round}");
        assert!(connects(&machine.inside("others"), at(8080)), "{round}");
        assert!(!connects(&machine.host, at(8081)), "{round}");
        if round == "running" {
            machine.stop();
            machine.start();
        }
    }
    // The pod's object stays for a while; its port doesn't.
    let (deleted, said) = machine.call_with("DEL", "ours", &asked(8080));
    assert!(deleted, "{said}");
    let patience = Instant::now() + Duration::from_secs(60);
    while machine.on_host("nft list table inet tortie").contains("host_port") {
        assert!(Instant::now() < patience, "it still leads somewhere");
    }
    // The same pod's next container, whose configuration doesn't ask.
    let (added, said) = machine.call_as("ADD", "ours", NETWORK, "container-later");
    assert!(added, "{said}");
    let _ours = listen(&machine, "ours", &said);
    assert!(!connects(&machine.host, at(8080)));
}

#[test]
fn a_pods_host_port_leads_to_it_if_our_plugin_was_asked() {
    leads_pods_ports_if_asked(Machine::on_kubernetes("ports"));
}

#[test]
fn a_pods_host_port_leads_to_it_with_endpoints_in_etcd_too() {
    let machine = Machine::on_etcd_beside_kubernetes("ports-etcd");
    // The controllers' copy.
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: kns.shop}\n\
         spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}\n",
    );
    leads_pods_ports_if_asked(machine);
}
