//! Ports of a node that lead to a pod: for a host that knows nothing of pods, for pods here and there, for the node and the pod
//! itself; before and after the agent's restart, until DEL.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tortie_lab::Role;
use tortie_netlink::Namespace;

use crate::cluster::{Cluster, addresses, connects, listen, network, seen_through};

const POOLS: &str = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: four}\nspec: {cidr: 10.65.0.0/16}\n---\n\
     apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: six}\nspec: {cidr: 'fd65::/64'}\n";

/// A network configuration as the runtime completes it.
fn with_ports(node: usize, ports: Value) -> Value {
    let mut network = network(node, true);
    network["runtimeConfig"] = json!({ "portMappings": ports });
    network
}

fn hosts(cluster: &Cluster, place: usize) -> [IpAddr; 2] {
    let host = &cluster.lab.hosts()[place];
    [host.ipv4().into(), host.ipv6().into()]
}

/// All ways to the node's port 8080, and who the pod says has come by them.
fn all_ways(cluster: &Cluster, listeners: &[TcpListener], ways: &[(&Namespace, IpAddr, IpAddr)]) {
    for (from, to, seen) in ways {
        let listener = listeners
            .iter()
            .find(|listener| listener.local_addr().unwrap().is_ipv4() == to.is_ipv4())
            .unwrap();
        // Those who only tried are in the queue.
        listener.set_nonblocking(true).unwrap();
        while listener.accept().is_ok() {}
        listener.set_nonblocking(false).unwrap();
        let found = seen_through(listener, from, SocketAddr::new(*to, 8080));
        assert_eq!(found, *seen, "to {to}\n{}", cluster.log(0));
    }
}

fn table(cluster: &Cluster) -> String {
    let output = cluster.lab.hosts()[0].output(Command::new("nft").args(["list", "ruleset"])).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_nodes_port_leads_to_its_pod_from_everywhere_and_the_pod_sees_who_asks() {
    let mut cluster = Cluster::new(2, POOLS);
    cluster.variables.fill(vec![("IP6", "autodetect".to_owned())]);
    cluster.variables[0].push(("FELIX_DEFAULTENDPOINTTOHOSTACTION", "ACCEPT".to_owned()));
    let stranger = cluster.lab.add_host("stranger", Role::Outside).unwrap();
    (0..2).for_each(|node| cluster.start(node));
    let (near, near_at) = cluster.pod(0, "near", true);
    let (far, far_at) = cluster.pod(1, "far", true);
    let web = cluster.lab.add_pod("web").unwrap();
    let node = hosts(&cluster, 0);
    let ports = with_ports(
        0,
        json!([
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 9000, "containerPort": 80, "protocol": "TCP", "hostIP": "127.0.0.1"},
            {"hostPort": 9001, "containerPort": 80, "protocol": "tcp", "hostIP": node[0].to_string()},
        ]),
    );
    let web_at = addresses(&cluster.plugin(0, "ADD", web, &ports).unwrap());
    cluster.plugin(0, "CHECK", web, &ports).unwrap();
    cluster.until("the nodes know each other", || (0..2).all(|node| cluster.led(node).len() == 2));
    let listeners = listen(cluster.inside(web), &web_at, 80);

    let outside = cluster.lab.hosts()[stranger].namespace();
    let here = cluster.lab.hosts()[0].namespace();
    let there = hosts(&cluster, stranger);
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    let mut ways: Vec<(&Namespace, IpAddr, IpAddr)> = Vec::new();
    for family in 0..2 {
        ways.push((outside, node[family], there[family]));
        ways.push((cluster.inside(near), node[family], near_at[family]));
        ways.push((cluster.inside(far), node[family], far_at[family]));
        ways.push((here, node[family], node[family]));
        // Itself, and it answers by way of the node.
        ways.push((cluster.inside(web), node[family], node[family]));
    }
    ways.push((here, loopback, node[0]));
    all_ways(&cluster, &listeners, &ways);
    // Of one address.
    assert!(connects(here, loopback, 9000) && connects(here, node[0], 9001));
    assert!(connects(outside, node[0], 9001));
    assert!(!connects(outside, node[0], 9000), "for the node alone");
    assert!(!connects(outside, node[1], 9001), "of the other address");
    assert!(!connects(outside, node[0], 80), "no port of the node's");
    assert!(!connects(here, "::1".parse().unwrap(), 8080), "the kernel sends nothing from ::1 to elsewhere");
    // The pod's interface takes answers to 127.0.0.1, and nothing else of it.
    let listener = here.run(|| TcpListener::bind(("127.0.0.1", 7000)).unwrap()).unwrap();
    let route = ["ip", "route", "replace", "127.0.0.0/8", "via", "169.254.1.1", "dev", "eth0"];
    cluster
        .inside(web)
        .run(|| {
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            for words in [&["ip", "addr", "flush", "dev", "lo"][..], &route] {
                assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success());
            }
        })
        .unwrap();
    assert!(connects(here, loopback, 7000) && connects(cluster.inside(web), node[0], 8080));
    assert!(!connects(cluster.inside(web), loopback, 7000));
    drop(listener);

    // Policy judges what is behind the port, by who really asks.
    cluster.apply(&format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: web, namespace: shop}}\n\
         spec:\n  types: [Ingress]\n  ingress:\n  - {{action: Allow, protocol: TCP, source: {{nets: ['{}/32']}}, destination: {{ports: [80]}}}}\n\
         \x20 - {{action: Allow, protocol: TCP, source: {{nets: ['{}/128']}}, destination: {{ports: [80]}}}}\n",
        there[0], there[1]
    ));
    cluster.until("policy holds", || !connects(cluster.inside(near), node[0], 8080));
    assert!(!connects(cluster.inside(far), node[1], 8080));
    assert!(connects(outside, node[0], 8080) && connects(outside, node[1], 8080));
    assert!(connects(here, node[0], 8080), "the node's own packets aren't judged");
    cluster.run(&["delete", "networkpolicy", "web", "-n", "shop"]);
    cluster.until("policy is gone", || connects(cluster.inside(far), node[0], 8080));

    // Another pod that wants it is told so, and leaves nothing.
    let late = cluster.lab.add_pod("late").unwrap();
    let same = with_ports(0, json!([{"hostPort": 8080, "containerPort": 81, "protocol": "tcp"}]));
    let refused = cluster.plugin(0, "ADD", late, &same).unwrap_err();
    assert!(refused.contains("host port 8080/tcp is taken by shop/node0-k8s-web-eth0"), "{refused}");
    assert_eq!(cluster.get(&["workloadendpoint", "-n", "shop"])["items"].as_array().unwrap().len(), 3);

    while_the_agent_is_away_and_after(cluster, (web, &ports), (late, &same), &listeners, stranger);
}

/// The agent's restart, a CHECK, DEL, and who wanted the port.
fn while_the_agent_is_away_and_after(
    mut cluster: Cluster,
    (web, ports): (usize, &Value),
    (late, same): (usize, &Value),
    listeners: &[TcpListener],
    stranger: usize,
) {
    let (node, there) = (hosts(&cluster, 0), hosts(&cluster, stranger));
    fn ways(
        cluster: &Cluster,
        stranger: usize,
        node: [IpAddr; 2],
        there: [IpAddr; 2],
    ) -> Vec<(&Namespace, IpAddr, IpAddr)> {
        let hosts = cluster.lab.hosts();
        let loopback = (hosts[0].namespace() as &Namespace, "127.0.0.1".parse().unwrap(), node[0]);
        let outside: &Namespace = hosts[stranger].namespace();
        vec![(outside, node[0], there[0]), (outside, node[1], there[1]), loopback]
    }
    for round in ["killed", "away"] {
        cluster.kill(0);
        all_ways(&cluster, listeners, &ways(&cluster, stranger, node, there));
        if round == "away" {
            let mut flush = Command::new("nft");
            cluster.lab.hosts()[0].output(flush.args(["delete", "table", "inet", "tortie"])).unwrap();
            assert!(!connects(cluster.lab.hosts()[stranger].namespace(), node[0], 8080));
        }
        cluster.start(0);
        all_ways(&cluster, listeners, &ways(&cluster, stranger, node, there));
    }
    cluster.plugin(0, "CHECK", web, ports).unwrap();
    let other = with_ports(0, json!([{"hostPort": 8888, "containerPort": 80, "protocol": "tcp"}]));
    let missing = cluster.plugin(0, "CHECK", web, &other).unwrap_err();
    assert!(missing.contains("host port 8888/tcp does not lead to"), "{missing}");

    let listing = table(&cluster);
    assert!(listing.contains("tcp dport 8080 dnat ip to"), "{listing}");
    cluster.plugin(0, "DEL", web, ports).unwrap();
    cluster.until("the port leads nowhere", || !table(&cluster).contains("8080"));
    let outside = cluster.lab.hosts()[stranger].namespace();
    assert!(!connects(outside, node[0], 8080));
    let late_at = addresses(&cluster.plugin(0, "ADD", late, same).unwrap());
    let listener = &listen(cluster.inside(late), &late_at[..1], 81)[0];
    assert_eq!(seen_through(listener, outside, SocketAddr::new(node[0], 8080)), there[0]);
    // What another plugin of the list leads is none of ours.
    let plain = cluster.pod(0, "plain", true).0;
    assert!(!table(&cluster).contains("8081"));
    for place in [late, plain] {
        cluster.plugin(0, "DEL", place, &network(0, true)).unwrap();
    }
    cluster.until("nothing of it is left", || !table(&cluster).contains("host_port"));
}

#[test]
fn who_goes_on_sending_by_udp_is_led_to_the_pod_that_has_the_port_by_now() {
    let mut cluster = Cluster::new(1, POOLS);
    cluster.variables.fill(vec![("IP6", "autodetect".to_owned())]);
    let stranger = cluster.lab.add_host("stranger", Role::Outside).unwrap();
    cluster.start(0);
    let node = hosts(&cluster, 0);
    let ports = with_ports(0, json!([{"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]));
    let bind = |inside: &Namespace, address: IpAddr, port: u16| {
        let socket = inside.run(|| UdpSocket::bind((address, port)).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    };
    let senders: Vec<UdpSocket> = (0..2)
        .map(|family| {
            bind(cluster.lab.hosts()[stranger].namespace(), hosts(&cluster, stranger)[family], 4000)
        })
        .collect();
    let send = |family: usize| senders[family].send_to(b"?", (node[family], 5353)).unwrap();
    // Before there is a pod the node itself answers, and the connection is remembered.
    for (family, address) in node.into_iter().enumerate() {
        let own = bind(cluster.lab.hosts()[0].namespace(), address, 5353);
        send(family);
        assert_eq!(own.recv_from(&mut [0; 1]).unwrap().1.ip(), hosts(&cluster, stranger)[family]);
    }
    for name in ["first", "second"] {
        let place = cluster.lab.add_pod(name).unwrap();
        let at = addresses(&cluster.plugin(0, "ADD", place, &ports).unwrap());
        for (family, address) in at.into_iter().enumerate() {
            let server = bind(cluster.inside(place), address, 53);
            send(family);
            let (_, from) = server.recv_from(&mut [0; 1]).unwrap();
            assert_eq!(from.ip(), hosts(&cluster, stranger)[family], "{name}");
            server.send_to(b"!", from).unwrap();
            let (_, answered) = senders[family].recv_from(&mut [0; 1]).unwrap();
            assert_eq!(answered, SocketAddr::new(node[family], 5353), "{name}");
        }
        cluster.plugin(0, "DEL", place, &ports).unwrap();
        // It doesn't know that nobody is there, and sends.
        (0..2).for_each(|family| assert_eq!(send(family), 1));
    }
}

#[test]
fn a_mapping_that_cannot_be_is_refused_by_its_field() {
    let mut cluster = Cluster::started(1, POOLS);
    let place = cluster.lab.add_pod("web").unwrap();
    for (mapping, expected) in [
        (json!({"hostPort": 0, "containerPort": 80}), "hostPort 0: expected a number from 1 to 65535"),
        (json!({"hostPort": 80, "containerPort": 65536}), "containerPort 65536: expected a number"),
        (json!({"hostPort": 80, "containerPort": 80, "protocol": "icmp"}), "protocol icmp: expected tcp"),
        (json!({"hostPort": 80, "containerPort": 80, "hostIP": "here"}), "hostIP here: expected an IP"),
    ] {
        let refused = cluster.plugin(0, "ADD", place, &with_ports(0, json!([mapping]))).unwrap_err();
        assert!(refused.contains("runtimeConfig.portMappings") && refused.contains(expected), "{refused}");
    }
    assert_eq!(cluster.get(&["workloadendpoint", "-n", "shop"])["items"], json!([]));
}
