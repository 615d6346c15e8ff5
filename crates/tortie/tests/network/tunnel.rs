//! Pools in VXLAN: always, and to nodes of other subnets.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use tortie_lab::Role;
use tortie_netlink::Rtnetlink;
use tortie_netlink::rtnetlink::{Forwarding, LinkRef, Mac, Route, Vxlan};

use crate::cluster::{Cluster, OURS, connects, listen, seen_from};
use crate::stream::Stream;

const DEVICE: &str = "vxlan.calico";
const DEVICE6: &str = "vxlan-v6.calico";

fn pools(mode: &str) -> String {
    let pool = |name: &str, cidr: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\n\
             spec: {{cidr: '{cidr}', vxlanMode: {mode}}}\n---\n"
        )
    };
    pool("four", "10.65.0.0/16") + &pool("six", "fd65::/64")
}

fn netlink(cluster: &Cluster, node: usize) -> Rtnetlink {
    Rtnetlink::open_in(cluster.lab.hosts()[node].namespace()).unwrap()
}

/// How many of our routes a node has over a device.
fn over(cluster: &Cluster, node: usize, device: &str) -> Vec<Route> {
    let Some(link) = netlink(cluster, node).link(LinkRef::Name(device)).unwrap() else { return Vec::new() };
    let routes = cluster.routes(node).into_iter();
    routes.filter(|route| route.protocol == OURS && route.interface == Some(link.index)).collect()
}

#[test]
fn pods_reach_each_other_in_vxlan_over_both_families_and_the_node_by_its_device() {
    let mut cluster = Cluster::new(2, &pools("Always"));
    cluster.variables.fill(vec![("IP6", "autodetect".to_owned())]);
    (0..2).for_each(|node| cluster.start(node));
    let (web, web_at) = cluster.pod(0, "web", true);
    let (db, db_at) = cluster.pod(1, "db", true);
    for (node, device) in [(0, DEVICE), (0, DEVICE6), (1, DEVICE), (1, DEVICE6)] {
        cluster.until(&format!("node{node} leads over {device}"), || over(&cluster, node, device).len() == 1);
    }
    let listeners = listen(cluster.inside(db), &db_at, 5432);
    for listener in &listeners {
        let family = listener.local_addr().unwrap().is_ipv4();
        let own = web_at.iter().find(|address| address.is_ipv4() == family).unwrap();
        assert_eq!(seen_from(listener, cluster.inside(web)), *own);
    }
    // As Calico: name, MAC address of the node's name, MTU, and what the node sends has the device's address.
    let (link, vxlan) = netlink(&cluster, 0).vxlan(DEVICE).unwrap().unwrap();
    let vxlan = vxlan.unwrap();
    // printf node0 | sha1sum
    assert_eq!((link.mac.unwrap().to_string(), link.mtu), ("66:50:0d:81:aa:fe".to_owned(), 1450));
    assert_eq!((vxlan.id, vxlan.port, vxlan.learning), (4096, 4789, false));
    assert_eq!(netlink(&cluster, 0).link(LinkRef::Name(DEVICE6)).unwrap().unwrap().mtu, 1430);
    let inside = |pod: usize| Rtnetlink::open_in(cluster.inside(pod)).unwrap();
    assert_eq!(inside(web).link(LinkRef::Name("eth0")).unwrap().unwrap().mtu, 1430, "what passes both");
    let spec = cluster.get(&["node", "node0"])["spec"].clone();
    let own: IpAddr = spec["ipv4VXLANTunnelAddr"].as_str().unwrap().parse().unwrap();
    let db4 = listeners.iter().find(|listener| listener.local_addr().unwrap().is_ipv4()).unwrap();
    assert_eq!(seen_from(db4, cluster.lab.hosts()[0].namespace()), own);
    let shown = cluster.run(&["ipam", "show", &format!("--ip={own}")]);
    assert!(shown.contains("vxlan-tunnel-addr-node0") && shown.contains("vxlanTunnelAddress"), "{shown}");

    // Pools that need no device any more, and the way without it.
    cluster.apply(&pools("Never"));
    for node in [0, 1] {
        cluster.until("the devices are gone", || {
            let mut netlink = netlink(&cluster, node);
            [DEVICE, DEVICE6].iter().all(|name| netlink.link(LinkRef::Name(name)).unwrap().is_none())
        });
    }
    for address in &db_at {
        assert!(connects(cluster.inside(web), *address, 5432), "{address} by plain routes");
    }
    cluster.until("the addresses are given back", || {
        let spec = cluster.get(&["node", "node0"])["spec"].clone();
        spec.get("ipv4VXLANTunnelAddr").is_none() && spec.get("ipv6VXLANTunnelAddr").is_none()
    });
    let shown = cluster.run(&["ipam", "show", &format!("--ip={own}")]);
    assert!(shown.contains("is not assigned"), "{shown}");
}

#[test]
fn across_subnets_there_is_vxlan_and_on_one_there_is_not() {
    let mut cluster = Cluster::new(3, &pools("CrossSubnet"));
    // .11 and .13 are on one subnet, .12 is on another, as they are told.
    for (node, address) in ["192.168.77.11/24", "192.168.77.12/32", "192.168.77.13/24"].iter().enumerate() {
        cluster.variables[node] = vec![("IP", (*address).to_owned())];
    }
    (0..3).for_each(|node| cluster.start(node));
    let at: Vec<_> = (0..3).map(|node| cluster.pod(node, &format!("pod{node}"), false)).collect();
    cluster.until("the second node leads to both in VXLAN", || over(&cluster, 1, DEVICE).len() == 2);
    for node in [0, 2] {
        cluster.until("the others lead to each other without", || cluster.led(node).len() == 2);
    }
    let _listeners: Vec<_> = at.iter().map(|(pod, at)| listen(cluster.inside(*pod), at, 80)).collect();
    for (from, _) in &at {
        for (_, to) in &at {
            cluster.until("every pod reaches every pod", || connects(cluster.inside(*from), to[0], 80));
        }
    }
}

#[test]
fn in_vxlan_too_a_killed_agent_loses_no_packet_and_comes_back_to_what_has_changed() {
    let mut cluster = Cluster::started(3, &pools("Always"));
    let (web, web_at) = cluster.pod(0, "web", false);
    let (db, db_at) = cluster.pod(1, "db", false);
    cluster.pod(2, "log", false);
    for node in 0..3 {
        cluster.until("all are known to all", || over(&cluster, node, DEVICE).len() == 2);
    }
    let stream = Stream::start(cluster.inside(web), cluster.inside(db), db_at[0]);
    stream.go_on_for(50);
    let device = |node: usize| netlink(&cluster, node).index_of(DEVICE).unwrap();
    let before = [device(0), device(1)];
    for node in [0, 1] {
        cluster.kill(node);
    }
    cluster.run(&["delete", "node", "node2"]);
    for node in [0, 1] {
        cluster.start(node);
        cluster.until("what went meanwhile is gone", || {
            let mut netlink = netlink(&cluster, node);
            over(&cluster, node, DEVICE).len() == 1 && netlink.forwarding(before[node]).unwrap().len() == 1
        });
    }
    let device = |node: usize| netlink(&cluster, node).index_of(DEVICE).unwrap();
    assert_eq!([device(0), device(1)], before, "the devices are the same ones");
    stream.go_on_for(50);
    let (sent, came, from) = stream.stop();
    assert_eq!((came, from), (sent, vec![web_at[0]]), "every datagram came, from the pod itself");

    // A device that somebody deletes comes back, with all that leads through it.
    netlink(&cluster, 0).delete_link(LinkRef::Name(DEVICE)).unwrap();
    cluster.until("it is back", || over(&cluster, 0, DEVICE).len() == 1);
    let _listeners = listen(cluster.inside(db), &db_at, 80);
    assert!(connects(cluster.inside(web), db_at[0], 80));
}

/// Makes a node's tunnel anew as Calico's agent does, in the words of `ip` and `bridge`; it leads to what ours led to.
fn make_as_calico(cluster: &Cluster, node: usize, other: usize) {
    let on_node = |words: &str| {
        let mut words = words.split(' ');
        let mut command = Command::new(words.next().unwrap());
        let output = cluster.lab.hosts()[node].output(command.args(words)).unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |node: usize, field: &str| {
        cluster.get(&["node", &format!("node{node}")])["spec"][field].as_str().unwrap().to_owned()
    };
    let [own, gateway] = [node, other].map(|node| text(node, "ipv4VXLANTunnelAddr"));
    let [mac, far] =
        [node, other].map(|node| netlink(cluster, node).vxlan(DEVICE).unwrap().unwrap().0.mac.unwrap());
    let [here, there] = [node, other].map(|node| cluster.lab.hosts()[node].ipv4());
    let blocks: Vec<_> = over(cluster, node, DEVICE).into_iter().map(|route| route.destination).collect();
    assert_eq!(blocks.len(), 1);
    on_node(&format!("ip link delete {DEVICE}"));
    on_node(&format!(
        "ip link add {DEVICE} address {mac} mtu 1450 type vxlan id 4096 dev eth0 local {here} dstport 4789 nolearning"
    ));
    on_node(&format!("ip addr add {own}/32 dev {DEVICE}"));
    on_node(&format!("ip link set {DEVICE} up"));
    on_node(&format!("ip neigh add {gateway} lladdr {far} dev {DEVICE} nud permanent"));
    on_node(&format!("bridge fdb add {far} dev {DEVICE} dst {there} self permanent"));
    on_node(&format!("ip route add {} via {gateway} dev {DEVICE} proto 80 onlink", blocks[0]));
}

#[test]
fn a_tunnel_that_calico_has_left_is_taken_over_without_a_lost_datagram() {
    let mut cluster = Cluster::started(2, &pools("Always"));
    let (web, web_at) = cluster.pod(0, "web", false);
    let (db, db_at) = cluster.pod(1, "db", false);
    for node in [0, 1] {
        cluster.until("each leads to the other", || over(&cluster, node, DEVICE).len() == 1);
    }
    [0, 1].into_iter().for_each(|node| cluster.kill(node));
    make_as_calico(&cluster, 0, 1);
    make_as_calico(&cluster, 1, 0);
    let device = |cluster: &Cluster, node: usize| netlink(cluster, node).index_of(DEVICE).unwrap();
    let before = [device(&cluster, 0), device(&cluster, 1)];
    let routes: Vec<_> = (0..2).map(|node| over(&cluster, node, DEVICE)).collect();

    let stream = Stream::start(cluster.inside(web), cluster.inside(db), db_at[0]);
    stream.go_on_for(50);
    [0, 1].into_iter().for_each(|node| cluster.start(node));
    // What is new is led to by both, so they are at work.
    let (place, late) = cluster.pod(1, "late", false);
    let _listeners = listen(cluster.inside(place), &late, 80);
    cluster.until("a new pod is reached", || connects(cluster.inside(web), late[0], 80));
    stream.go_on_for(50);
    let (sent, came, from) = stream.stop();
    assert_eq!((came, from), (sent, vec![web_at[0]]), "every datagram came, from the pod itself");
    assert_eq!([device(&cluster, 0), device(&cluster, 1)], before, "the devices are the same ones");
    assert_eq!((0..2).map(|node| over(&cluster, node, DEVICE)).collect::<Vec<_>>(), routes);
}

#[test]
fn a_workload_may_not_send_what_only_nodes_send() {
    let mut cluster = Cluster::new(
        1,
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: four}\n\
         spec: {cidr: 10.65.0.0/16, natOutgoing: true, vxlanMode: Always}\n",
    );
    let stranger = cluster.lab.add_host("stranger", Role::Outside).unwrap();
    cluster.start(0);
    let (web, _) = cluster.pod(0, "web", false);
    let address = cluster.lab.hosts()[stranger].ipv4();
    let bind = |port: u16| UdpSocket::bind((address, port)).unwrap();
    let [wrapped, other] = cluster.lab.hosts()[stranger].namespace().run(|| [4789, 4790].map(bind)).unwrap();
    let sender = cluster.inside(web).run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    wrapped.set_nonblocking(true).unwrap();
    for port in [4789, 4790] {
        sender.send_to(b"frame", (address, port)).unwrap();
    }
    // It was sent later, on the same way.
    assert_eq!(other.recv(&mut [0; 16]).unwrap(), 5);
    assert_eq!(wrapped.recv(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    cluster.kill(0);
    cluster.variables[0] = vec![("FELIX_ALLOWVXLANPACKETSFROMWORKLOADS", "true".to_owned())];
    cluster.start(0);
    for port in [4789, 4790] {
        sender.send_to(b"frame", (address, port)).unwrap();
    }
    assert_eq!(other.recv(&mut [0; 16]).unwrap(), 5);
    assert_eq!(wrapped.recv(&mut [0; 16]).unwrap(), 5, "unless an operator allows it");
}

#[test]
fn a_stranger_who_speaks_for_a_pod_in_vxlan_is_not_heard_and_a_node_is() {
    let mut cluster = Cluster::new(1, &pools("Always"));
    let stranger = cluster.lab.add_host("stranger", Role::Outside).unwrap();
    cluster.start(0);
    let (web, web_at) = cluster.pod(0, "web", false);
    cluster.until("the node has its device", || netlink(&cluster, 0).vxlan(DEVICE).unwrap().is_some());
    let spec = cluster.get(&["node", "node0"])["spec"].clone();
    let node: IpAddr = spec["ipv4VXLANTunnelAddr"].as_str().unwrap().parse().unwrap();
    let mac = netlink(&cluster, 0).vxlan(DEVICE).unwrap().unwrap().0.mac.unwrap();

    // A device like a node's, with an address like a pod's.
    let mut theirs = netlink(&cluster, stranger);
    let parent = theirs.index_of("eth0").unwrap();
    let address = cluster.lab.hosts()[stranger].ipv4();
    let vxlan =
        Vxlan { id: 4096, port: 4789, local: Some(address.into()), parent: Some(parent), learning: false };
    theirs.create_vxlan("vx0", Mac([2, 0, 0, 0, 0, 9]), 1450, &vxlan).unwrap();
    theirs.set_up(LinkRef::Name("vx0")).unwrap();
    let index = theirs.index_of("vx0").unwrap();
    theirs.add_address(index, "10.65.200.1/32".parse().unwrap()).unwrap();
    theirs.replace_forwarding(index, Forwarding { mac, host: cluster.lab.hosts()[0].ipv4().into() }).unwrap();
    theirs.replace_neighbour(index, node, mac).unwrap();
    let to_pod = Route::via(web_at[0].into(), node, index);
    theirs.add_route(&Route { onlink: true, ..to_pod }).unwrap();

    let receiver = cluster.inside(web).run(|| UdpSocket::bind((web_at[0], 7000)).unwrap()).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let outside = cluster.lab.hosts()[stranger].namespace();
    let sender = outside.run(|| UdpSocket::bind("10.65.200.1:0").unwrap()).unwrap();
    sender.send_to(b"stranger", (web_at[0], 7000)).unwrap();
    cluster.apply(&format!(
        "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: stranger}}\n\
         spec: {{bgp: {{ipv4Address: {address}/24}}}}\n"
    ));
    let mut bytes = [0; 16];
    cluster.until("it is a node now, and is heard", || {
        sender.send_to(b"node", (web_at[0], 7000)).unwrap();
        let mut bytes = [0; 16];
        match receiver.peek(&mut bytes) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                false
            }
        }
    });
    let length = receiver.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"node", "what came first was not heard");
}
