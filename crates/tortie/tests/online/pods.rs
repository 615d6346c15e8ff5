//! Pods outlive the agent, and what was taken from them meanwhile comes back with it.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use crate::machine::{Machine, connects};

impl Machine {
    /// Runs a command on the host; its standard output.
    pub fn on_host(&self, words: &str) -> String {
        let mut command = Command::new("ip");
        let output =
            command.args(["netns", "exec", self.host.name()]).args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn interface_of(&self, address: &str) -> String {
        let route = self.on_host(&format!("ip route show {address}"));
        route.split_whitespace().nth(2).unwrap().to_owned()
    }
}

#[test]
fn what_is_gone_of_a_pods_wiring_comes_back_with_the_agent_and_others_routes_stay() {
    let mut machine = Machine::new("mend");
    machine.add("web");
    let db = machine.add("db");
    let moved = machine.add("moved");
    let (allowed, denied): (SocketAddr, SocketAddr) =
        (format!("{db}:80").parse().unwrap(), format!("{db}:81").parse().unwrap());
    let listen = move || [TcpListener::bind(allowed).unwrap(), TcpListener::bind(denied).unwrap()];
    let listeners = machine.inside("db").run(listen).unwrap();
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db-in, namespace: shop}\n\
         spec: {ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]}\n",
    );
    machine.status_when(|status| status["policies"].to_string().contains("shop/db-in"));
    let web = machine.inside("web");
    assert!(connects(&web, allowed));

    machine.stop();
    let (interface, other) = (machine.interface_of(&db), machine.interface_of(&moved));
    let neighbour = machine.on_host(&format!("ip neigh show {db} dev {interface}"));
    assert!(neighbour.contains("PERMANENT"), "{neighbour}");
    let proxy = format!("/proc/sys/net/ipv4/conf/{interface}/proxy_arp");
    // As `ip link set down` and `up` do.
    machine.on_host(&format!("ip route del {db}"));
    machine.on_host(&format!("ip neigh del {db} dev {interface}"));
    machine.on_host(&format!("sysctl -qw net.ipv4.conf.{interface}.proxy_arp=0"));
    // And somebody leads an address elsewhere, on purpose.
    machine.on_host("ip link set lo up");
    machine.on_host(&format!("ip route replace {moved}/32 dev lo"));
    machine.on_host("ip route add 198.51.100.0/24 dev lo");
    assert!(!connects(&web, allowed), "no route leads there");

    machine.start();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !std::fs::read_to_string(machine.log()).unwrap().contains("put back on the host") {
        assert!(std::time::Instant::now() < patience, "{}", std::fs::read_to_string(machine.log()).unwrap());
    }
    assert!(connects(&web, allowed), "{}", std::fs::read_to_string(machine.log()).unwrap());
    assert!(!connects(&web, denied), "policy is in force");
    assert_eq!(machine.on_host(&format!("ip neigh show {db} dev {interface}")), neighbour);
    assert_eq!(machine.on_host(&format!("cat {proxy}")), "1\n");
    assert_eq!(machine.interface_of(&db), interface);
    assert_eq!(machine.interface_of(&moved), "lo", "not {other}: another's route");
    assert!(machine.on_host("ip route").contains("198.51.100.0/24 dev lo"));
    let log = std::fs::read_to_string(machine.log()).unwrap();
    assert_eq!(log.matches("put back on the host").count(), 1, "nothing was missing of the others: {log}");
    drop(listeners);
}
