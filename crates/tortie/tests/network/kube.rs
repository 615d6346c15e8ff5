//! Two nodes on one Kubernetes API: no file in common, each node's agent and plugin speak with the API server alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tortie_lab::Role;
use tortie_store::kubernetes::server::{Server, Start};

use crate::cluster::{Cluster, addresses, connects, listen, network, seen_from};

/// Calico's kinds, as users install them.
const KINDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crds.yaml");

const POOL: &str =
    "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: pool}\nspec: {cidr: 10.65.0.0/16}\n";

impl Cluster {
    /// Nodes `node0`, `node1`... of a Kubernetes whose API server is a machine of its own on the same network.
    fn on_kubernetes(nodes: usize) -> Self {
        let mut cluster = Self::empty(nodes);
        let place = cluster.lab.add_host("api", Role::Outside).unwrap();
        let host = &cluster.lab.hosts()[place];
        let start =
            Start { directory: cluster.files().join("api"), address: Some(host.ipv4()), ..Start::default() };
        let server = host.namespace().run(|| Server::start(start)).unwrap().unwrap();
        cluster.api = Some(server);
        cluster.kubectl(&["apply", "--server-side", "-f", KINDS], "");
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], "");
        (0..nodes).for_each(|node| cluster.join(node));
        cluster.kubectl(
            &["create", "-f", "-"],
            "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n\
             {apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}\n",
        );
        cluster.apply(POOL);
        (0..nodes).for_each(|node| cluster.start(node));
        cluster
    }

    /// kubectl, on the API server's machine.
    fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let host = self.lab.hosts().last().unwrap().namespace();
        host.run(|| self.api.as_ref().unwrap().kubectl(arguments, input)).unwrap().unwrap()
    }

    /// Makes a node known, as its kubelet would.
    fn join(&self, node: usize) {
        let node = format!("{{apiVersion: v1, kind: Node, metadata: {{name: node{node}}}}}");
        self.kubectl(&["create", "-f", "-"], &node);
    }

    /// Makes pods known, as the scheduler would.
    fn create_pods<'a>(&self, pods: impl IntoIterator<Item = (usize, &'a str)>) {
        let pod = |(node, name): (usize, &str)| {
            format!(
                "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}, \
                 spec: {{nodeName: node{node}, automountServiceAccountToken: false, containers: [{{name: c, image: x}}]}}}}\n"
            )
        };
        self.kubectl(&["create", "-f", "-"], &pods.into_iter().map(pod).collect::<String>());
    }
}

#[test]
fn pods_on_two_nodes_of_a_kubernetes_reach_each_other_and_are_judged_by_labels_of_the_other_nodes() {
    let mut cluster = Cluster::on_kubernetes(2);
    cluster.create_pods([(0, "web"), (0, "other"), (1, "db")]);
    let (web, web_at) = cluster.pod(0, "web", false);
    let (other, _) = cluster.pod(0, "other", false);
    let (db, db_at) = cluster.pod(1, "db", false);
    let listeners = listen(cluster.inside(db), &db_at, 5432);
    let gateway = |node: usize| -> IpAddr { cluster.lab.hosts()[node].ipv4().into() };
    let leads_to_the_other = |node: usize| {
        let led = cluster.led(node);
        led.len() == 1 && led[0].1 == gateway(1 - node) && led[0].0.ends_with("/26")
    };
    cluster.until("each leads to the other's block", || (0..2).all(leads_to_the_other));
    assert_eq!(seen_from(&listeners[0], cluster.inside(web)), web_at[0], "nobody has changed the source");
    let reaches = |from: usize| connects(cluster.inside(from), db_at[0], 5432);
    assert!(reaches(other), "without a policy");

    cluster.kubectl(
        &["apply", "-f", "-"],
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: db, namespace: shop}, \
         spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}}",
    );
    cluster.until("db is closed to another pod of the other node", || !reaches(other));
    assert!(reaches(web));
    cluster.kubectl(&["-n", "shop", "label", "pod", "other", "--overwrite", "app=web"], "");
    cluster.until("a label there opens it", || reaches(other));
    cluster.kubectl(&["-n", "shop", "label", "pod", "web", "--overwrite", "app=other"], "");
    cluster.until("and one closes it", || !reaches(web));
    assert!(reaches(other));

    // A node that goes, and comes back with what it had.
    cluster.kill(1);
    cluster.kubectl(&["delete", "node", "node1"], "");
    cluster.until("nothing leads to a node that is gone", || cluster.led(0).is_empty());
    cluster.join(1);
    cluster.start(1);
    let gateway = |node: usize| -> IpAddr { cluster.lab.hosts()[node].ipv4().into() };
    cluster.until("it is led to again", || cluster.led(0).iter().any(|(_, to)| *to == gateway(1)));
    let reaches = |from: usize| connects(cluster.inside(from), db_at[0], 5432);
    cluster.until("its pod is there again", || reaches(other));
    assert!(!reaches(web));
}

#[test]
fn pods_that_two_nodes_start_side_by_side_have_addresses_of_their_own() {
    let mut cluster = Cluster::on_kubernetes(2);
    let names: Vec<String> = (0..20).map(|number| format!("pod{number}")).collect();
    cluster.create_pods(names.iter().enumerate().map(|(number, name)| (number % 2, name.as_str())));
    let places: Vec<usize> = names.iter().map(|name| cluster.lab.add_pod(name).unwrap()).collect();
    let cluster = &cluster;
    let said: Vec<String> = std::thread::scope(|scope| {
        let start = |(number, place): (usize, &usize)| {
            let (node, place) = (number % 2, *place);
            scope.spawn(move || cluster.plugin(node, "ADD", place, &network(node, false)).unwrap())
        };
        let started: Vec<_> = places.iter().enumerate().map(start).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let given: Vec<IpAddr> = said.iter().flat_map(|said| addresses(said)).collect();
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 20, "{given:?}");
    // Each pod's object says what the runtime was told, and each node has its addresses of blocks of its own.
    let told = "jsonpath={range .items[*]}{.metadata.name}={.metadata.annotations.cni\\.projectcalico\\.org/podIP} {end}";
    let told = cluster.kubectl(&["-n", "shop", "get", "pods", "-o", told], "");
    for (name, address) in names.iter().zip(&given) {
        assert!(told.contains(&format!("{name}={address}/32 ")), "{told}");
    }
    let blocks = "jsonpath={range .items[*]}{.spec.affinity} {.spec.cidr} {end}";
    let blocks = cluster.kubectl(&["get", "ipamblocks.crd.projectcalico.org", "-o", blocks], "");
    let blocks: Vec<&str> = blocks.split_whitespace().collect();
    for (number, address) in given.iter().enumerate() {
        let own = format!("host:node{}", number % 2);
        let of_own = blocks
            .chunks(2)
            .any(|block| block[0] == own && block[1].parse::<ipnet::IpNet>().unwrap().contains(address));
        assert!(of_own, "{address} of {own}: {blocks:?}");
    }
    let check = cluster.run(&["ipam", "check"]);
    assert!(check.contains("found 0 problems"), "{check}");
    // All reach one, wherever they are.
    let last = listen(cluster.inside(places[19]), &given[19..], 80);
    for place in &places[..19] {
        cluster.until("every pod reaches it", || connects(cluster.inside(*place), given[19], 80));
    }
    drop(last);
    // What goes is free, whoever goes at the same time.
    std::thread::scope(|scope| {
        for (number, place) in places.iter().enumerate() {
            scope.spawn(move || {
                cluster.plugin(number % 2, "DEL", *place, &network(number % 2, false)).unwrap()
            });
        }
    });
    let handles = cluster.kubectl(&["get", "ipamhandles.crd.projectcalico.org", "-o", "name"], "");
    assert_eq!(handles, "", "no pod holds anything");
}
