//! A node that Calico's own programs have set up and left: its pods keep their addresses, wires and packets while our agent takes
//! over, and our plugin goes on where Calico's was.
//!
//! What stands on the node is made here as Calico leaves it, by `ip`, `nft` and kubectl: the veths and routes of its plugin, the
//! annotations, block, claim and handles that it stores, and the rules of its agent, which closes what it doesn't know.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::machine::{Machine, NETWORK, connects};

/// A pod, the interface that Calico names after it, and its address.
const PODS: [(&str, &str, &str); 2] =
    [("web", "cali551b05c3e54", "10.65.0.0"), ("db", "cali2d7243dcff6", "10.65.0.1")];

/// What Calico's agent leaves in the kernel when it ends: the pods that it knows, and nothing for others.
const RULES: &str = "table ip calico {
  chain filter-FORWARD { type filter hook forward priority filter; policy accept; ct state established,related accept; iifname \"cali*\" jump filter-cali-from-wl-dispatch; oifname \"cali*\" jump filter-cali-to-wl-dispatch; }
  chain filter-cali-from-wl-dispatch { iifname { cali551b05c3e54, cali2d7243dcff6 } counter return; counter drop; }
  chain filter-cali-to-wl-dispatch { oifname { cali551b05c3e54, cali2d7243dcff6 } counter return; counter drop; }
}
";

/// The same where its agent used the iptables of the time before nftables.
const LEGACY: &str = "*filter
:cali-from-wl-dispatch -
:cali-to-wl-dispatch -
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i cali+ -j cali-from-wl-dispatch
-A FORWARD -o cali+ -j cali-to-wl-dispatch
-A cali-from-wl-dispatch -i cali551b05c3e54 -j RETURN
-A cali-from-wl-dispatch -i cali2d7243dcff6 -j RETURN
-A cali-from-wl-dispatch -j DROP
-A cali-to-wl-dispatch -o cali551b05c3e54 -j RETURN
-A cali-to-wl-dispatch -o cali2d7243dcff6 -j RETURN
-A cali-to-wl-dispatch -j DROP
COMMIT
";

impl Machine {
    /// The wires of a pod as Calico's plugin makes them.
    fn wire_as_calico(&mut self, pod: &str, interface: &str, address: &str) {
        self.make_pod(pod);
        let inside = format!("{}-{pod}", self.host.name());
        self.on_host(&format!("ip link add {interface} type veth peer name eth0 netns {inside}"));
        self.on_host(&format!("ip link set {interface} address ee:ee:ee:ee:ee:ee"));
        self.on_host(&format!("ip link set {interface} up"));
        for words in [
            "link set lo up",
            &format!("addr add {address}/32 dev eth0"),
            "link set eth0 up",
            "route add 169.254.1.1 dev eth0 scope link",
            "route add default via 169.254.1.1 dev eth0",
        ] {
            self.on_host(&format!("ip -n {inside} {words}"));
        }
        self.on_host(&format!("ip route add {address} dev {interface} scope link"));
        for setting in [
            format!("net.ipv4.conf.{interface}.proxy_arp=1"),
            format!("net.ipv4.neigh.{interface}.proxy_delay=0"),
            format!("net.ipv4.conf.{interface}.forwarding=1"),
        ] {
            self.on_host(&format!("sysctl -qw {setting}"));
        }
    }

    /// What Calico's plugin stores of all pods.
    fn store_as_calico(&self) {
        let allocations: Vec<Value> =
            (0..64).map(|at| if at < PODS.len() { json!(at) } else { Value::Null }).collect();
        let attributes: Vec<Value> = PODS
            .iter()
            .map(|(pod, ..)| {
                json!({
                    "handle_id": format!("k8s-pod-network.container-{pod}"),
                    "secondary": { "namespace": "shop", "node": "node1", "pod": pod, "timestamp": "2026-11-23 00:19:55 +0000 UTC" },
                })
            })
            .collect();
        let kept = json!({ "projectcalico.org/metadata": "{\"creationTimestamp\":null}" });
        let mut objects = vec![
            json!({
                "kind": "IPAMBlock", "metadata": { "name": "10-65-0-0-26", "annotations": kept },
                "spec": {
                    "cidr": "10.65.0.0/26", "affinity": "host:node1", "strictAffinity": false, "deleted": false,
                    "allocations": allocations, "unallocated": (PODS.len()..64).collect::<Vec<_>>(),
                    "attributes": attributes, "sequenceNumber": 1_763_857_195_000_000_002_u64,
                    "sequenceNumberForAllocation": { "0": 1_763_857_195_000_000_000_u64, "1": 1_763_857_195_000_000_001_u64 },
                },
            }),
            json!({
                "kind": "BlockAffinity", "metadata": { "name": "node1-10-65-0-0-26", "annotations": kept },
                "spec": { "cidr": "10.65.0.0/26", "deleted": "false", "node": "node1", "state": "confirmed", "type": "host" },
            }),
        ];
        objects.extend(PODS.iter().map(|(pod, ..)| {
            let handle = format!("k8s-pod-network.container-{pod}");
            json!({
                "kind": "IPAMHandle", "metadata": { "name": handle, "annotations": kept },
                "spec": { "block": { "10.65.0.0/26": 1 }, "deleted": false, "handleID": handle },
            })
        }));
        for mut object in objects {
            object["apiVersion"] = json!("crd.projectcalico.org/v1");
            self.kubectl(&["create", "-f", "-"], &object.to_string());
        }
        for (pod, _, address) in PODS {
            self.create_pod(pod);
            for (name, value) in [
                ("podIP", format!("{address}/32")),
                ("podIPs", format!("{address}/32")),
                ("containerID", format!("container-{pod}")),
            ] {
                self.kubectl(
                    &["-n", "shop", "annotate", "pod", pod, &format!("cni.projectcalico.org/{name}={value}")],
                    "",
                );
            }
        }
        self.kubectl(&["annotate", "node", "node1", "projectcalico.org/IPv4Address=192.0.2.1/24"], "");
    }

    fn routes_of_pods(&self) -> String {
        let routes = self.on_host("ip route show");
        routes.lines().filter(|route| route.contains(" dev cali")).map(|route| format!("{route}\n")).collect()
    }
}

/// Numbered datagrams from one pod to another, a thousand a second, while `work` is done; how many came of how many.
fn while_datagrams_flow<T>(machine: &mut Machine, work: impl FnOnce(&mut Machine) -> T) -> (T, usize, usize) {
    let [(.., web), (.., db)] = PODS;
    let receiver = machine.inside("db").run(|| UdpSocket::bind((db, 7000)).unwrap()).unwrap();
    let sender = machine.inside("web").run(|| UdpSocket::bind((web, 7001)).unwrap()).unwrap();
    sender.connect((db, 7000)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            let mut bytes = [0; 8];
            while receiver.recv(&mut bytes).is_ok() {
                seen.insert(u64::from_be_bytes(bytes));
            }
            seen.len()
        });
        let sending = scope.spawn(|| {
            let mut sent = 0_usize;
            while !is_over.load(Ordering::Relaxed) {
                sender.send(&(sent as u64).to_be_bytes()).unwrap();
                sent += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        // Whatever fails, the threads end.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(machine)));
        is_over.store(true, Ordering::Relaxed);
        let (sent, came) = (sending.join().unwrap(), counting.join().unwrap());
        (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), came, sent)
    })
}

#[test]
fn a_node_of_calicos_is_taken_over_without_a_lost_packet_and_its_pods_keep_all_that_they_have() {
    taken_over("takeover", RULES, "nft -f", "nft delete table ip calico");
}

#[test]
fn a_node_of_calicos_with_iptables_legacy_is_taken_over_without_a_lost_packet_too() {
    let removes = "sh -c iptables-legacy-save|grep${IFS}-v${IFS}cali|iptables-legacy-restore";
    taken_over("legacy", LEGACY, "iptables-legacy-restore", removes);
}

/// A node with Calico's rules, which one command puts there from a file and another takes away.
fn taken_over(name: &str, rules_there: &str, puts: &str, removes: &str) {
    let mut machine = Machine::on_kubernetes_without_agent(name);
    machine.on_host("sysctl -qw net.ipv4.ip_forward=1");
    // A node has a way out; without one it doesn't answer its pods' question for the gateway.
    machine.on_host("ip link add up0 type veth peer name up1");
    machine.on_host("ip link set up1 up");
    machine.on_host("ip addr add 192.0.2.1/24 dev up0");
    machine.on_host("ip link set up0 up");
    machine.on_host("ip route add default via 192.0.2.254");
    for (pod, interface, address) in PODS {
        machine.wire_as_calico(pod, interface, address);
    }
    machine.store_as_calico();
    let rules = machine.files.path().join("rules.nft");
    std::fs::write(&rules, rules_there).unwrap();
    machine.on_host(&format!("{puts} {}", rules.display()));
    machine.kubectl(
        &["apply", "-f", "-"],
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: db-in, namespace: shop}, \
         spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 7000, protocol: UDP}, {port: 80}]}]}}\n",
    );
    let network = NETWORK.replace("\"name\":\"net\"", "\"name\":\"k8s-pod-network\"");
    let db = PODS[1].2;
    let listeners = machine
        .inside("db")
        .run(|| [80, 81].map(|port| std::net::TcpListener::bind((db, port)).unwrap()))
        .unwrap();
    let web = machine.inside("web");
    assert!(connects(&web, format!("{db}:81").parse().unwrap()), "the rules that stand there let it through");
    let (routes, blocks) = (machine.routes_of_pods(), machine.blocks());
    let links = machine.on_host("ip -o link show type veth");

    let (late, came, sent) = while_datagrams_flow(&mut machine, |machine| {
        machine.start();
        // Ours is in force; what Calico's agent left goes, and the agent begins anew once more.
        assert!(!connects(&web, format!("{db}:81").parse().unwrap()), "policy is in force");
        assert!(connects(&web, format!("{db}:80").parse().unwrap()));
        machine.on_host(removes);
        machine.create_pod("late");
        machine.make_pod("late");
        let (added, said) = machine.call_with("ADD", "late", &network);
        assert!(added, "{said}");
        machine.stop();
        machine.start();
        serde_json::from_str::<Value>(&said).unwrap()["ips"][0]["address"].as_str().unwrap().to_owned()
    });
    assert!(sent > 500, "{sent}");
    assert_eq!(came, sent, "a packet was lost");
    assert_eq!(late, "10.65.0.2/32", "from the block that is the node's, the next address in it");

    // Nothing of the pods was touched.
    let after = machine.routes_of_pods();
    for route in routes.lines() {
        assert!(after.lines().any(|other| other == route), "{route} is missing of {after}");
    }
    let now = machine.on_host("ip -o link show type veth");
    assert!(links.lines().all(|link| now.contains(link.split_once(" state ").unwrap().0)), "{links}\n{now}");
    assert_eq!(blocks.len(), machine.blocks().len());
    let before = &blocks[0]["spec"]["attributes"];
    let kept = machine.blocks()[0]["spec"]["attributes"].clone();
    assert_eq!(kept.as_array().unwrap()[..2], before.as_array().unwrap()[..]);
    for (pod, _, address) in PODS {
        assert_eq!(machine.annotation(pod, "podIP"), format!("{address}/32"));
    }

    // Our plugin takes away what Calico's has made.
    drop(listeners);
    for (pod, ..) in PODS {
        let (gone, said) = machine.call_with("DEL", pod, &network);
        assert!(gone, "{said}");
        assert_eq!(machine.annotation(pod, "podIP"), "");
    }
    assert_eq!(machine.held(), 1, "late has its own");
    let handles = machine.kubectl(&["get", "ipamhandles.crd.projectcalico.org", "-o", "name"], "");
    assert_eq!(handles, "ipamhandle.crd.projectcalico.org/k8s-pod-network.container-late\n");
    assert_eq!(machine.routes_of_pods().lines().count(), 1);
}
