//! Addresses that a cluster's users ask for: by annotations of pods and namespaces, by pools' selectors and uses, by reservations;
//! with the real agent, plugin and API server.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::{Machine, NETWORK, connects};

/// The annotations of Calico, without what they begin with.
type Annotations<'a> = &'a [(&'a str, &'a str)];

impl Machine {
    fn pools(&self, pools: &[(&str, &str, &str)]) {
        let pools: String = pools
            .iter()
            .map(|(name, cidr, more)| {
                format!(
                    "---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{cidr: {cidr}{more}}}\n"
                )
            })
            .collect();
        self.apply(&pools);
    }

    fn annotated_pod(&self, name: &str, annotations: Annotations<'_>) {
        let annotations: String = annotations
            .iter()
            .map(|(name, value)| format!("cni.projectcalico.org/{name}: '{value}', "))
            .collect();
        self.kubectl(
            &["create", "-f", "-"],
            &format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, annotations: {{{annotations}}}}}, \
                 spec: {{nodeName: node1, automountServiceAccountToken: false, containers: [{{name: c, image: x}}]}}}}"
            ),
        );
    }

    /// Makes a pod and calls the plugin with a network configuration until what it says is as wanted, since the agent hears of
    /// pools and labels a moment after they were written. What was attached in between is taken away again.
    fn until(
        &mut self,
        name: &str,
        annotations: Annotations<'_>,
        network: &str,
        wanted: impl Fn(bool, &Value) -> bool,
    ) -> Value {
        self.annotated_pod(name, annotations);
        self.make_pod(name);
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            let (added, said) = self.call_with("ADD", name, network);
            let said: Value = serde_json::from_str(&said).unwrap();
            if wanted(added, &said) {
                return said;
            }
            assert!(Instant::now() < patience, "{name}: {said}");
            self.call_with("DEL", name, network);
        }
    }

    /// The pod's first address once it is in a network.
    fn address_in(
        &mut self,
        name: &str,
        annotations: Annotations<'_>,
        network: &str,
        begins: &str,
    ) -> String {
        let said =
            self.until(name, annotations, network, |added, said| added && first(said).starts_with(begins));
        first(&said).to_owned()
    }

    fn refusal(&mut self, name: &str, annotations: Annotations<'_>, network: &str) -> String {
        let said = self.until(name, annotations, network, |added, _| !added);
        said["msg"].as_str().unwrap().to_owned()
    }
}

fn first(said: &Value) -> &str {
    said["ips"][0]["address"].as_str().unwrap_or_default()
}

fn with(network: &str, field: &str, value: Value) -> String {
    let mut network: Value = serde_json::from_str(network).unwrap();
    network[field] = value;
    network.to_string()
}

#[test]
fn a_pod_gets_the_addresses_that_its_annotations_name() {
    let mut machine = Machine::on_kubernetes("annotated");
    machine.pools(&[
        ("of-config", "10.66.0.0/24", ""),
        ("of-namespace", "10.67.0.0/24", ""),
        ("of-pod", "10.68.0.0/24", ""),
        ("six", "fd68::/112", ""),
    ]);
    let configured = with(
        NETWORK,
        "ipam",
        serde_json::json!({ "type": "calico-ipam", "ipv4_pools": ["of-config"], "ipv6_pools": ["fd68::/112"] }),
    );
    // The configuration's, then the namespace's, then the pod's own.
    machine.address_in("configured", &[], &configured, "10.66.");
    machine.kubectl(
        &["annotate", "namespace", "shop", "cni.projectcalico.org/ipv4pools=[\"of-namespace\"]"],
        "",
    );
    machine.address_in("by-namespace", &[], &configured, "10.67.");
    machine.address_in("nothing-said", &[("ipv4pools", "")], &configured, "10.67.");
    machine.address_in("by-pod", &[("ipv4pools", "[\"10.68.0.0/24\"]")], &configured, "10.68.");
    let both = machine.until(
        "both",
        &[("ipFamilies", "[\"IPv4\",\"IPv6\"]"), ("ipv6pools", "[\"six\"]")],
        &configured,
        |added, said| added && said["ips"].as_array().unwrap().len() == 2,
    );
    assert!(both["ips"][1]["address"].as_str().unwrap().starts_with("fd68::"), "{both}");
    assert!(machine.annotation("both", "podIPs").contains(",fd68::"));
    let nowhere = machine.refusal("nowhere", &[("ipv4pools", "[\"none\"]")], &configured);
    assert!(nowhere.contains("the given pool (none) does not exist, or is not enabled"), "{nowhere}");
    let unknown = machine.refusal("unknown", &[("ipFamilies", "[\"ipx\"]")], &configured);
    assert_eq!(unknown, "error parsing ipFamilies: [\"ipx\"]");

    // These and no others; a later container of the same pod has them again, another pod doesn't get them.
    let held = machine.held();
    let fixed: Annotations<'_> = &[("ipAddrs", "[\"10.68.0.77\",\"fd68::77\"]")];
    assert_eq!(machine.address_in("fixed", fixed, NETWORK, "10.68.0.77"), "10.68.0.77/32");
    assert_eq!(machine.annotation("fixed", "podIPs"), "10.68.0.77/32,fd68::77/128");
    let taken = machine.refusal("taken", &[("ipAddrs", "[\"10.68.0.77\"]")], NETWORK);
    assert!(
        taken.starts_with("error getting IP from IPAM: ") && taken.contains("already assigned"),
        "{taken}"
    );
    let (again, said) = machine.call_as("ADD", "fixed", NETWORK, "container-later");
    assert!(again && said.contains("10.68.0.77/32") && said.contains("fd68::77/128"), "{said}");
    // The old container's end takes nothing from the new one.
    machine.call_as("DEL", "fixed", NETWORK, "container-fixed");
    assert_eq!(machine.held(), held + 2);
    assert_eq!(machine.annotation("fixed", "podIP"), "10.68.0.77/32");
    machine.call_as("DEL", "fixed", NETWORK, "container-later");
    assert_eq!((machine.held(), machine.annotation("fixed", "podIP").as_str()), (held, ""));
    assert_eq!(
        machine.refusal("two", &[("ipAddrs", "[\"10.68.0.8\",\"10.68.0.9\"]")], NETWORK),
        "cannot have more than one IPv4 address for \"cni.projectcalico.org/ipAddrs\" annotation"
    );

    // Without address management, and floating ones, if the operator allows it.
    let free: Annotations<'_> = &[("ipAddrsNoIpam", "[\"192.0.2.9\"]")];
    assert_eq!(machine.refusal("free", free, NETWORK), "requested feature is not enabled: ip_addrs_no_ipam");
    let floating: Annotations<'_> = &[("ipv4pools", "[\"of-pod\"]"), ("floatingIPs", "[\"203.0.113.4\"]")];
    assert_eq!(
        machine.refusal("floating", floating, NETWORK),
        "requested feature is not enabled: floating_ips"
    );
    let allowing = with(
        NETWORK,
        "feature_control",
        serde_json::json!({ "ip_addrs_no_ipam": true, "floating_ips": true }),
    );
    let (added, said) = machine.call_with("ADD", "free", &allowing);
    assert!(added && said.contains("192.0.2.9/32"), "{said}");
    let (added, said) = machine.call_with("ADD", "floating", &allowing);
    assert!(added, "{said}");
    let endpoints = machine.run(&["get", "workloadendpoint", "-n", "shop", "-o", "json"]).stdout;
    let endpoints: Value = serde_json::from_slice(&endpoints).unwrap();
    let of = |pod: &str| {
        endpoints["items"].as_array().unwrap().iter().find(|endpoint| endpoint["spec"]["pod"] == pod).unwrap()
    };
    assert_eq!(of("floating")["spec"]["ipNATs"][0]["externalIP"], "203.0.113.4");
    assert_eq!(of("free")["spec"]["ipNetworks"], serde_json::json!(["192.0.2.9/32"]));
    assert_eq!(machine.held(), held + 1, "the one isn't address management's");
}

#[test]
fn a_floating_address_leads_to_its_pod_for_other_pods_for_the_host_and_for_itself() {
    let mut machine = Machine::on_kubernetes_without_agent("floating");
    machine.apply("apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: {floatingIPs: Enabled}\n");
    machine.start();
    let allowing = with(NETWORK, "feature_control", serde_json::json!({ "floating_ips": true }));
    let floating: Annotations<'_> = &[("floatingIPs", "[\"203.0.113.4\"]")];
    let inside = machine.address_in("floating", floating, &allowing, "10.65.").replace("/32", "");
    machine.address_in("web", &[], NETWORK, "10.65.");
    let at = |address: &str, port: u16| -> SocketAddr { format!("{address}:{port}").parse().unwrap() };
    let own = inside.clone();
    let listeners = machine
        .inside("floating")
        .run(move || [80, 81].map(|port| TcpListener::bind((own.as_str(), port)).unwrap()))
        .unwrap();
    let (web, pod) = (machine.inside("web"), machine.inside("floating"));
    let patience = Instant::now() + Duration::from_secs(60);
    while !connects(&web, at("203.0.113.4", 80)) {
        assert!(Instant::now() < patience, "it leads nowhere");
    }
    let near = web.run(|| TcpStream::connect(at("203.0.113.4", 80)).unwrap()).unwrap();
    let web_address = near.local_addr().unwrap();
    let far = loop {
        let (far, from) = listeners[0].accept().unwrap();
        if from == web_address {
            break far;
        }
    };
    assert_eq!(far.local_addr().unwrap(), at(&inside, 80), "the pod sees its own address, and who asks");
    assert!(connects(&pod, at("203.0.113.4", 80)), "itself");
    // Policy judges what is behind the address.
    machine.kubectl(
        &["apply", "-f", "-"],
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: only, namespace: shop}, spec: {podSelector: {}, ingress: [{ports: [{port: 81}]}]}}",
    );
    let patience = Instant::now() + Duration::from_secs(60);
    while connects(&web, at("203.0.113.4", 80)) {
        assert!(Instant::now() < patience, "policy doesn't hold");
    }
    assert!(connects(&web, at("203.0.113.4", 81)));
    // It goes with its pod.
    let (gone, said) = machine.call_with("DEL", "floating", &allowing);
    assert!(gone, "{said}");
    let patience = Instant::now() + Duration::from_secs(60);
    while machine.on_host("nft list table inet tortie").contains("203.0.113.4") {
        assert!(Instant::now() < patience, "it still leads somewhere");
    }
    drop((listeners, far));
}

#[test]
fn pools_are_for_the_nodes_and_uses_that_they_name_and_reserved_addresses_are_nobodys() {
    let mut machine = Machine::on_kubernetes("pools");
    // The pool that every node could use goes out of use.
    let patched = machine.run(&["patch", "ippool", "pool", "-p", r#"{"spec": {"disabled": true}}"#]);
    assert!(patched.status.success(), "{patched:?}");
    machine.apply("apiVersion: projectcalico.org/v3\nkind: IPReservation\nmetadata: {name: kept}\nspec: {reservedCIDRs: [10.71.0.0/31, 10.71.0.3/32]}\n");
    machine.pools(&[
        ("tunnels", "10.70.0.0/24", ", allowedUses: [Tunnel]"),
        ("of-rack", "10.71.0.0/30", ", blockSize: 30, nodeSelector: rack == 'b'"),
        ("elsewhere", "10.72.0.0/24", ", nodeSelector: rack == 'c'"),
    ]);
    let none = machine.refusal("none", &[], NETWORK);
    assert_eq!(none, "cannot find a qualified ippool, no pools match the required use (Workload)");
    machine.kubectl(&["label", "node", "node1", "rack=b"], "");
    assert_eq!(machine.address_in("only", &[], NETWORK, "10.71."), "10.71.0.2/32");
    let full = machine.refusal("late", &[], NETWORK);
    assert!(full.starts_with("failed to request IPv4 addresses: "), "{full}");
    machine.kubectl(&["label", "node", "node1", "--overwrite", "rack=c"], "");
    machine.address_in("moved", &[], NETWORK, "10.72.");
    let tunnel = machine.refusal("tunnel", &[("ipv4pools", "[\"tunnels\"]")], NETWORK);
    assert!(!tunnel.is_empty());
}
