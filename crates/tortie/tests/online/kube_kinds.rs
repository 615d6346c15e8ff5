//! What only Calico has, and the cluster's administrator: kinds beside NetworkPolicy, all by kubectl on a real API, judged by
//! connections before and after a change.

use std::time::{Duration, Instant};

use crate::cut::Pods;
use crate::kube::in_force;
use crate::machine::Machine;

/// Two pods, `web` and `db`, the addresses of both, and no policy yet.
fn two_pods(name: &str) -> (Machine, Pods, [String; 2]) {
    let mut machine = Machine::on_kubernetes(name);
    machine.create_pod("web");
    machine.create_pod("db");
    let pods = Pods::wired(&mut machine);
    both_open(&pods, "without a policy");
    let addresses = ["web", "db"].map(|pod| machine.annotation(pod, "podIP").replace("/32", ""));
    (machine, pods, addresses)
}

fn both_open(pods: &Pods, when: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !(pods.is_open(80) && pods.is_open(81)) {
        assert!(Instant::now() < patience, "{when}: both ports are to be open");
    }
}

impl Machine {
    fn say(&self, yaml: &str) {
        self.kubectl(&["apply", "-f", "-"], yaml);
    }

    /// An object of Calico's kind, by its name (of the namespace `shop` where it belongs to one), metadata and the rest.
    fn say_calicos(&self, kind: &str, name: &str, rest: &str) {
        let namespace = if kind.contains("Global") || kind == "Tier" { "" } else { ", namespace: shop" };
        self.say(&format!(
            "{{apiVersion: crd.projectcalico.org/v1, kind: {kind}, metadata: {{name: {name}{namespace}}}, {rest}}}"
        ));
    }

    fn forget(&self, kind: &str, names: &[&str]) {
        let kind = format!("{kind}.crd.projectcalico.org");
        self.kubectl(&[&["-n", "shop", "delete", &kind], names].concat(), "");
    }
}

/// Ingress of `db`: this port and no other, for whom `source` says.
fn only(port: u16, source: &str) -> String {
    format!("{{action: Allow, protocol: TCP, source: {source}, destination: {{ports: [{port}]}}}}")
}

#[test]
fn tiers_and_policies_decide_in_their_order_and_in_the_next_one() {
    let (machine, pods, _) = two_pods("tiers");
    machine.say_calicos("Tier", "early", "spec: {order: 100}");
    machine.say_calicos("Tier", "late", "spec: {order: 200}");
    let policy = |tier: &str, name: &str, order: u32, port: u16| {
        let rules = only(port, "{}");
        machine.say_calicos(
            "GlobalNetworkPolicy",
            &format!("{tier}.{name}"),
            &format!("spec: {{tier: {tier}, order: {order}, selector: app == 'db', ingress: [{rules}, {{action: Deny}}]}}"),
        );
    };
    policy("early", "first", 10, 80);
    policy("early", "second", 20, 81);
    policy("late", "only", 1, 80);
    in_force(&pods, 80);
    policy("early", "first", 30, 80);
    in_force(&pods, 81);
    // Now the other tier goes first.
    machine.say_calicos("Tier", "early", "spec: {order: 300}");
    in_force(&pods, 80);
    machine.forget("globalnetworkpolicies", &["late.only"]);
    in_force(&pods, 81);
    machine.forget("globalnetworkpolicies", &["early.first", "early.second"]);
    both_open(&pods, "with empty tiers");
}

#[test]
fn accounts_sets_and_services_are_followed_when_they_change() {
    let (machine, pods, [web, db]) = two_pods("followed");
    // The labels of a service account.
    let rules = [(80, "front"), (81, "back")]
        .map(|(port, role)| only(port, &format!("{{serviceAccounts: {{selector: role == '{role}'}}}}")));
    machine.say_calicos(
        "NetworkPolicy",
        "accounts",
        &format!("spec: {{selector: app == 'db', ingress: [{}]}}", rules.join(", ")),
    );
    let label = |role: &str| {
        let role = format!("role={role}");
        machine.kubectl(&["-n", "shop", "label", "serviceaccount", "default", "--overwrite", &role], "");
    };
    label("front");
    in_force(&pods, 80);
    label("back");
    in_force(&pods, 81);
    machine.forget("networkpolicies", &["accounts"]);
    both_open(&pods, "without the policy");

    // The networks of sets, a namespace's and the cluster's.
    let set = |kind: &str, name: &str, net: &str| {
        machine.say(&format!(
            "{{apiVersion: crd.projectcalico.org/v1, kind: {kind}, metadata: {{name: {name}, labels: {{set: {name}}}{}}}, spec: {{nets: [{net}]}}}}",
            if kind == "NetworkSet" { ", namespace: shop" } else { "" },
        ));
    };
    set("NetworkSet", "near", &format!("{web}/32"));
    set("GlobalNetworkSet", "far", "192.0.2.0/24");
    let rules =
        [(80, "near"), (81, "far")].map(|(port, set)| only(port, &format!("{{selector: set == '{set}'}}")));
    machine.say_calicos(
        "GlobalNetworkPolicy",
        "sets",
        &format!("spec: {{selector: app == 'db', ingress: [{}]}}", rules.join(", ")),
    );
    in_force(&pods, 80);
    set("NetworkSet", "near", "192.0.2.1/32");
    set("GlobalNetworkSet", "far", &format!("{web}/32"));
    in_force(&pods, 81);
    machine.forget("globalnetworkpolicies", &["sets"]);
    both_open(&pods, "without the policy");

    // The endpoints of a service.
    let slice = |port: u16| {
        machine.say(&format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, \
             metadata: {{name: db-1, namespace: shop, labels: {{kubernetes.io/service-name: db}}}}, \
             addressType: IPv4, ports: [{{name: '', protocol: TCP, port: {port}}}], endpoints: [{{addresses: ['{db}'], conditions: {{ready: true}}}}]}}"
        ));
    };
    slice(80);
    machine.say_calicos(
        "NetworkPolicy",
        "services",
        "spec: {selector: app == 'web', types: [Egress], egress: [{action: Allow, destination: {services: {name: db}}}]}",
    );
    in_force(&pods, 80);
    slice(81);
    in_force(&pods, 81);
    machine.kubectl(&["-n", "shop", "delete", "endpointslice", "db-1"], "");
    let patience = Instant::now() + Duration::from_secs(60);
    while pods.is_open(81) {
        assert!(Instant::now() < patience, "a service without endpoints is nowhere");
    }
}

#[test]
fn what_is_staged_drops_nothing_until_it_is_a_policy() {
    let (mut machine, pods, _) = two_pods("staged");
    let deny = "spec: {selector: app == 'db', ingress: [{action: Deny}]}";
    machine.say_calicos("StagedNetworkPolicy", "own", deny);
    machine.say_calicos("StagedGlobalNetworkPolicy", "global", deny);
    machine.say_calicos(
        "StagedKubernetesNetworkPolicy",
        "kubernetes",
        "spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}",
    );
    // An agent is ready when it has taken in all there is.
    machine.stop();
    machine.start();
    assert!(pods.is_open(80) && pods.is_open(81), "what is staged judges nobody");
    machine.say(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: kubernetes, namespace: shop}, \
         spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}]}}",
    );
    in_force(&pods, 80);
    // The same words, when they are a policy.
    machine.say_calicos("NetworkPolicy", "own", deny);
    let patience = Instant::now() + Duration::from_secs(60);
    while pods.is_open(80) {
        assert!(Instant::now() < patience, "a policy denies");
    }
}

/// As network-policy-api's, without its schema, which keeps nothing from being stored that it describes.
const CLUSTER_POLICIES: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: clusternetworkpolicies.policy.networking.k8s.io
  annotations: {api-approved.kubernetes.io: 'unapproved, for a test'}
spec:
  group: policy.networking.k8s.io
  scope: Cluster
  names: {kind: ClusterNetworkPolicy, listKind: ClusterNetworkPolicyList, plural: clusternetworkpolicies, singular: clusternetworkpolicy}
  versions:
  - name: v1alpha2
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[test]
fn what_the_administrator_says_of_the_cluster_goes_before_and_after_the_namespaces_own() {
    let (machine, pods, _) = two_pods("admin");
    machine.say(CLUSTER_POLICIES);
    let definition = "crd/clusternetworkpolicies.policy.networking.k8s.io";
    machine.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", definition], "");
    let policy = |tier: &str, action: &str, port: u16, app: &str| {
        machine.say(&format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: {}}}, \
             spec: {{tier: {tier}, priority: 10, subject: {{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: db}}}}}}}}, \
             ingress: [{{action: {action}, from: [{{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: {app}}}}}}}}}], \
             protocols: [{{tcp: {{destinationPort: {{number: {port}}}}}}}]}}]}}}}",
            tier.to_lowercase(),
        ));
    };
    // Before the namespace's own: what it allows is denied all the same.
    policy("Admin", "Deny", 81, "web");
    in_force(&pods, 80);
    machine.say(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: all, namespace: shop}, \
         spec: {podSelector: {}, ingress: [{}]}}",
    );
    policy("Admin", "Deny", 80, "web");
    in_force(&pods, 81);
    policy("Admin", "Deny", 80, "nobody");
    both_open(&pods, "the administrator means somebody else");
    // After it: what the namespace judges isn't judged again.
    policy("Baseline", "Deny", 80, "web");
    policy("Admin", "Deny", 81, "web");
    in_force(&pods, 80);
    machine.kubectl(&["-n", "shop", "delete", "networkpolicy", "all"], "");
    policy("Admin", "Deny", 81, "nobody");
    in_force(&pods, 81);
    let path = "clusternetworkpolicies.policy.networking.k8s.io";
    machine.kubectl(&["delete", path, "baseline", "admin"], "");
    both_open(&pods, "without the administrator's");
}
