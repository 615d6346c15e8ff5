//! Nodes on one subnet: plain routes.

use std::net::IpAddr;

use tortie_netlink::Rtnetlink;
use tortie_netlink::rtnetlink::{Route, RouteKind};

use crate::cluster::{Cluster, OURS, connects, listen, seen_from};
use crate::stream::Stream;

const POOLS: &str = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: four}\n\
    spec: {cidr: 10.65.0.0/16}\n---\n\
    apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: six}\nspec: {cidr: 'fd65::/64'}\n";

fn node(cluster: &Cluster, place: usize) -> IpAddr {
    cluster.lab.hosts()[place].ipv4().into()
}

#[test]
fn pods_of_two_nodes_reach_each_other_and_policy_sees_who_they_are() {
    let mut cluster = Cluster::new(2, POOLS);
    cluster.variables.fill(vec![("IP6", "autodetect".to_owned())]);
    (0..2).for_each(|node| cluster.start(node));
    let (web, web_at) = cluster.pod(0, "web", true);
    let (db, db_at) = cluster.pod(1, "db", true);
    let spec = cluster.get(&["node", "node1"])["spec"].clone();
    assert_eq!(
        (&spec["bgp"]["ipv4Address"], &spec["bgp"]["ipv6Address"]),
        (&"192.168.77.12/24".into(), &"fd77::c/64".into())
    );
    let listeners = listen(cluster.inside(db), &db_at, 5432);
    cluster.until("both nodes have both families' ways", || (0..2).all(|node| cluster.led(node).len() == 2));
    for listener in &listeners {
        let family = listener.local_addr().unwrap().is_ipv4();
        let own = web_at.iter().find(|address| address.is_ipv4() == family).unwrap();
        assert_eq!(seen_from(listener, cluster.inside(web)), *own, "nobody has changed the source");
    }
    // What no pod has of a node's own block does not leave it.
    let blackholes = |node: usize| {
        let routes = cluster.routes(node);
        routes.iter().filter(|route| route.kind == RouteKind::Blackhole && route.protocol == OURS).count()
    };
    assert_eq!((blackholes(0), blackholes(1)), (2, 2));

    cluster.apply(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: db, namespace: shop}\n\
         spec:\n  selector: all()\n  ingress:\n\
         \x20 - {action: Allow, source: {selector: \"name == 'other'\"}}\n",
    );
    cluster.until("db is closed to web", || !connects(cluster.inside(web), db_at[0], 5432));
    let rules = web_at.iter().map(|address| {
        format!("  - {{action: Allow, source: {{nets: ['{}']}}}}\n", ipnet::IpNet::from(*address))
    });
    cluster.apply(&format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: db, namespace: shop}}\n\
         spec:\n  selector: all()\n  ingress:\n{}",
        rules.collect::<String>()
    ));
    cluster.until("db is open to web's own addresses", || {
        db_at.iter().all(|address| connects(cluster.inside(web), *address, 5432))
    });
}

#[test]
fn routes_follow_nodes_that_move_and_go_and_foreign_ones_are_left_alone() {
    let mut cluster = Cluster::started(3, POOLS);
    let (web, _) = cluster.pod(0, "web", false);
    let (db, db_at) = cluster.pod(1, "db", false);
    cluster.pod(2, "log", false);
    let _listeners = listen(cluster.inside(db), &db_at, 80);
    cluster.until("all are known to all", || (0..3).all(|node| cluster.led(node).len() == 2));
    assert!(connects(cluster.inside(web), db_at[0], 80));

    // Somebody's own route, and one to a block that nobody has.
    let mut netlink = Rtnetlink::open_in(cluster.lab.hosts()[0].namespace()).unwrap();
    let eth0 = netlink.index_of("eth0").unwrap();
    let foreign = |net: &str| Route::via(net.parse().unwrap(), node(&cluster, 2), eth0);
    let foreign = [foreign("10.65.99.0/26"), foreign("172.16.0.0/12")];
    foreign.iter().for_each(|route| netlink.add_route(route).unwrap());

    // The second node gets another address: its interface, then its object.
    let mut there = Rtnetlink::open_in(cluster.lab.hosts()[1].namespace()).unwrap();
    let far_eth0 = there.index_of("eth0").unwrap();
    there.add_address(far_eth0, "192.168.77.200/24".parse().unwrap()).unwrap();
    cluster.run(&[
        "patch",
        "node",
        "node1",
        "-p",
        r#"{"spec": {"bgp": {"ipv4Address": "192.168.77.200/24"}}}"#,
    ]);
    let moved: IpAddr = "192.168.77.200".parse().unwrap();
    cluster.until("the others lead there", || {
        [0, 2].iter().all(|node| cluster.led(*node).iter().any(|(_, gateway)| *gateway == moved))
    });
    assert!(connects(cluster.inside(web), db_at[0], 80));

    // Our route, deleted by another, comes back.
    let ours = cluster.routes(0).into_iter().find(|route| route.gateway == Some(moved)).unwrap();
    assert!(netlink.delete_route(&ours).unwrap());
    cluster.until("it is back", || cluster.routes(0).contains(&ours));

    cluster.kill(2);
    cluster.run(&["delete", "node", "node2"]);
    cluster.until("nothing leads to the node that is gone", || {
        [0, 1].iter().all(|node| cluster.led(*node).len() == 1)
    });
    let routes = cluster.routes(0);
    assert!(foreign.iter().all(|route| routes.contains(route)), "{routes:#?}");
}

#[test]
fn a_killed_agent_loses_no_packet_and_comes_back_to_the_routes_as_they_should_be_by_then() {
    let mut cluster = Cluster::started(3, POOLS);
    let (web, web_at) = cluster.pod(0, "web", false);
    let (db, db_at) = cluster.pod(1, "db", false);
    cluster.pod(2, "log", false);
    cluster.until("all are known to all", || (0..3).all(|node| cluster.led(node).len() == 2));
    let stream = Stream::start(cluster.inside(web), cluster.inside(db), db_at[0]);
    stream.go_on_for(50);
    for node in [0, 1] {
        cluster.kill(node);
    }
    let before = cluster.routes(0);
    cluster.run(&["delete", "node", "node2"]);
    assert_eq!(cluster.routes(0), before, "nobody is there to change them");
    for node in [0, 1] {
        cluster.start(node);
        cluster.until("what went meanwhile is gone", || cluster.led(node).len() == 1);
    }
    stream.go_on_for(100);
    let (sent, came, from) = stream.stop();
    assert_eq!((came, from), (sent, vec![web_at[0]]), "every datagram came, from the pod itself");
}

#[test]
fn an_address_that_a_node_has_borrowed_is_reached_there() {
    let mut cluster = Cluster::started(
        3,
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: small}\n\
         spec: {cidr: 10.65.0.0/28, blockSize: 28}\n",
    );
    let pods: Vec<_> = (0..3).map(|node| cluster.pod(node, &format!("pod{node}"), false)).collect();
    let single = |pod: usize| ipnet::IpNet::from(pods[pod].1[0]).to_string();
    // The one block is the first node's, so the others' pods have addresses of his.
    cluster.until("the owner leads to the borrowers", || {
        cluster.led(0) == [(single(1), node(&cluster, 1)), (single(2), node(&cluster, 2))]
    });
    cluster.until("a borrower leads to the block's owner and to the other", || {
        let block = ("10.65.0.0/28".to_owned(), node(&cluster, 0));
        cluster.led(1) == [block, (single(2), node(&cluster, 2))] && cluster.led(2).len() == 2
    });
    let _listeners: Vec<_> = pods.iter().map(|(pod, at)| listen(cluster.inside(*pod), at, 80)).collect();
    for (from, _) in &pods {
        for (_, to) in &pods {
            assert!(connects(cluster.inside(*from), to[0], 80));
        }
    }
}
