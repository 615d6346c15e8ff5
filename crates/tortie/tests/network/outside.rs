//! Pods and what is in no pool: a host on the fabric that knows nothing of them.

use std::net::{IpAddr, TcpStream};

use ipnet::IpNet;
use tortie_lab::Role;
use tortie_netlink::Rtnetlink;

use crate::cluster::{Cluster, connects, listen, seen_from};

fn pools(leaves: bool) -> String {
    let pool = |name: &str, cidr: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\n\
             spec: {{cidr: '{cidr}', natOutgoing: {leaves}}}\n---\n"
        )
    };
    pool("four", "10.65.0.0/16") + &pool("six", "fd65::/64")
}

#[test]
fn pods_reach_strangers_with_their_nodes_address_and_each_other_with_their_own() {
    let mut cluster = Cluster::new(2, &pools(true));
    cluster.variables.fill(vec![("IP6", "autodetect".to_owned())]);
    let stranger = cluster.lab.add_host("stranger", Role::Outside).unwrap();
    (0..2).for_each(|node| cluster.start(node));
    let (web, web_at) = cluster.pod(0, "web", true);
    let (db, db_at) = cluster.pod(1, "db", true);
    cluster.until("the nodes know each other", || (0..2).all(|node| cluster.led(node).len() == 2));

    let host = |place: usize| -> [IpAddr; 2] {
        let host = &cluster.lab.hosts()[place];
        [host.ipv4().into(), host.ipv6().into()]
    };
    let outside = cluster.lab.hosts()[stranger].namespace();
    let out = listen(outside, &host(stranger), 80);
    for (listener, node) in out.iter().zip(host(0)) {
        assert_eq!(seen_from(listener, cluster.inside(web)), node, "a stranger sees the node");
    }
    for listener in listen(cluster.inside(db), &db_at, 80) {
        let family = listener.local_addr().unwrap().is_ipv4();
        let own = web_at.iter().find(|address| address.is_ipv4() == family).unwrap();
        assert_eq!(seen_from(&listener, cluster.inside(web)), *own, "another pod sees the pod");
    }
    // The node of another pod is in no pool either.
    for (listener, node) in listen(cluster.lab.hosts()[1].namespace(), &host(1), 80).iter().zip(host(0)) {
        assert_eq!(seen_from(listener, cluster.inside(web)), node);
    }

    cluster.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n\
         spec:\n  selector: all()\n  types: [Egress]\n  egress:\n\
         \x20 - {action: Deny, source: {nets: ['10.65.0.0/16']}, protocol: TCP}\n  - {action: Allow}\n",
    );
    cluster.until("policy sees the pod's own address, before it is changed", || {
        !connects(cluster.inside(web), host(stranger)[0], 80)
    });
    assert!(connects(cluster.inside(web), host(stranger)[1], 80));
    cluster.run(&["delete", "networkpolicy", "web", "-n", "shop"]);

    cluster.apply(&pools(false));
    cluster.until("a stranger doesn't know the way back to a pod", || {
        !connects(cluster.inside(web), host(stranger)[0], 80)
    });
    for net in ["10.65.0.0/16", "fd65::/64"] {
        cluster.lab.route_pods(net.parse().unwrap(), 0).unwrap();
    }
    let out = listen(outside, &host(stranger), 81);
    for (listener, own) in out.iter().zip(&web_at) {
        assert_eq!(seen_from(listener, cluster.inside(web)), *own, "and sees the pod when it does");
    }
}

#[test]
fn connections_leave_with_the_address_and_ports_that_are_set_and_nodes_may_see_the_pod() {
    let mut cluster = Cluster::new(2, &pools(true));
    cluster.variables.fill(vec![("IP6", "autodetect".to_owned())]);
    let address: IpAddr = "192.168.77.200".parse().unwrap();
    cluster.variables[0].extend([
        ("FELIX_NATOUTGOINGADDRESS", address.to_string()),
        ("FELIX_NATPORTRANGE", "32000:32009".to_owned()),
        ("FELIX_NATOUTGOINGEXCLUSIONS", "IPPoolsAndHostIPs".to_owned()),
    ]);
    let stranger = cluster.lab.add_host("stranger", Role::Outside).unwrap();
    (0..2).for_each(|node| cluster.start(node));
    let (web, web_at) = cluster.pod(0, "web", true);
    cluster.until("the other node knows the way back", || cluster.led(1).len() == 2);
    // An address that leads back here.
    let mut netlink = Rtnetlink::open_in(cluster.lab.hosts()[0].namespace()).unwrap();
    let own = IpAddr::V4(cluster.lab.hosts()[0].ipv4());
    let fabric = netlink.addresses().unwrap().into_iter().find(|found| found.net.addr() == own).unwrap();
    netlink.add_address(fabric.index, IpNet::from(address)).unwrap();

    let host = |place: usize| -> [IpAddr; 2] {
        let host = &cluster.lab.hosts()[place];
        [host.ipv4().into(), host.ipv6().into()]
    };
    let out = listen(cluster.lab.hosts()[stranger].namespace(), &host(stranger), 80);
    for (listener, seen) in out.iter().zip([address, host(0)[1]]) {
        let to = listener.local_addr().unwrap();
        let stream = cluster.inside(web).run(|| TcpStream::connect(to)).unwrap().unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), seen);
        assert!((32000..=32009).contains(&from.port()), "{from}");
        drop(stream);
    }
    for listener in listen(cluster.lab.hosts()[1].namespace(), &host(1), 80) {
        let family = listener.local_addr().unwrap().is_ipv4();
        let pod = web_at.iter().find(|address| address.is_ipv4() == family).unwrap();
        assert_eq!(seen_from(&listener, cluster.inside(web)), *pod, "a node sees the pod");
    }
}
