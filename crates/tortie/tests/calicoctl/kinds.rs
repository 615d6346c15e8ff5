//! Each kind on its whole way: YAML in, the value in the store, YAML out, list, label, patch, conflict, delete.

use serde_json::Value;
use std::time::Duration;
use tortie_api::kind::{Kind, ResourceKey, Scope};

use tortie_store::keys;
use tortie_store::{Change, Datastore};

use crate::fixture::{Fixture, On, failed, mk_pool, ok};

/// A kind, a name that it may have, its `spec` as YAML, a patch of it, where that is seen, and what is seen there.
struct Row {
    kind: Kind,
    name: &'static str,
    spec: &'static str,
    patch: &'static str,
    path: &'static str,
    value: &'static str,
}

const fn row(
    kind: Kind,
    name: &'static str,
    spec: &'static str,
    patch: &'static str,
    path: &'static str,
    value: &'static str,
) -> Row {
    Row { kind, name, spec, patch, path, value }
}

const RULE: &str = "{selector: app == 'db', order: 10, ingress: [{action: Allow, protocol: TCP, source: {nets: [10.0.0.0/8]}, destination: {ports: [53, '80:90', web]}}], egress: [{action: Deny, protocol: ICMP, icmp: {type: 8, code: 0}}]}";

const ROWS: [Row; 21] = [
    row(
        Kind::BGPConfiguration,
        "default",
        "{asNumber: 64513, nodeToNodeMeshEnabled: false, logSeverityScreen: Info, listenPort: 179, serviceClusterIPs: [{cidr: 10.96.0.0/12}], communities: [{name: blue, value: '64512:1'}], prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [blue]}]}",
        r#"{"listenPort": 1790}"#,
        "/spec/listenPort",
        "1790",
    ),
    row(
        Kind::BGPFilter,
        "f",
        "{exportV4: [{action: Accept, matchOperator: In, cidr: 10.0.0.0/8}], importV6: [{action: Reject, matchOperator: Equal, cidr: 'fd00::/64'}]}",
        r#"{"exportV4": []}"#,
        "/spec/importV6/0/action",
        "\"Reject\"",
    ),
    row(
        Kind::BGPPeer,
        "p",
        "{peerIP: 192.168.0.1, asNumber: 64512, keepOriginalNextHop: true}",
        r#"{"peerIP": "192.168.0.2"}"#,
        "/spec/peerIP",
        "\"192.168.0.2\"",
    ),
    row(
        Kind::CalicoNodeStatus,
        "s",
        "{node: n1, classes: [Agent, BGP], updatePeriodSeconds: 10}",
        r#"{"updatePeriodSeconds": 20}"#,
        "/spec/updatePeriodSeconds",
        "20",
    ),
    row(
        Kind::FelixConfiguration,
        "default",
        "{logSeverityScreen: Info, ipv6Support: true, iptablesRefreshInterval: 125s, failsafeInboundHostPorts: [{protocol: TCP, port: 22}]}",
        r#"{"logSeverityScreen": "Debug"}"#,
        "/spec/logSeverityScreen",
        "\"Debug\"",
    ),
    row(Kind::GlobalNetworkPolicy, "g", RULE, r#"{"order": 20.5}"#, "/spec/order", "20.5"),
    row(
        Kind::GlobalNetworkSet,
        "g",
        "{nets: [10.0.0.0/8, 192.168.0.1/32]}",
        r#"{"nets": ["10.0.0.0/9"]}"#,
        "/spec/nets",
        "[\"10.0.0.0/9\"]",
    ),
    row(
        Kind::HostEndpoint,
        "h",
        "{node: n1, interfaceName: eth0, expectedIPs: [10.0.0.1], ports: [{name: web, port: 80, protocol: TCP}]}",
        r#"{"interfaceName": "eth1"}"#,
        "/spec/interfaceName",
        "\"eth1\"",
    ),
    row(
        Kind::IPAMConfiguration,
        "default",
        "{strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 4}",
        r#"{"maxBlocksPerHost": 5}"#,
        "/spec/maxBlocksPerHost",
        "5",
    ),
    row(
        Kind::IPPool,
        "p",
        "{cidr: 10.5.0.0/16, blockSize: 27, natOutgoing: true, vxlanMode: CrossSubnet, nodeSelector: all(), allowedUses: [Workload]}",
        r#"{"natOutgoing": false}"#,
        "/spec/vxlanMode",
        "\"CrossSubnet\"",
    ),
    row(
        Kind::IPReservation,
        "r",
        "{reservedCIDRs: [10.5.0.0/30]}",
        r#"{"reservedCIDRs": ["10.5.0.0/29"]}"#,
        "/spec/reservedCIDRs/0",
        "\"10.5.0.0/29\"",
    ),
    row(
        Kind::KubeControllersConfiguration,
        "default",
        "{logSeverityScreen: Info, healthChecks: Enabled, controllers: {node: {reconcilerPeriod: 5m}}}",
        r#"{"healthChecks": "Disabled"}"#,
        "/spec/healthChecks",
        "\"Disabled\"",
    ),
    row(
        Kind::NetworkPolicy,
        "np",
        RULE,
        r#"{"selector": "app == 'web'"}"#,
        "/spec/selector",
        "\"app == 'web'\"",
    ),
    row(Kind::NetworkSet, "ns1", "{nets: [10.0.0.0/8]}", r#"{"nets": []}"#, "/kind", "\"NetworkSet\""),
    row(
        Kind::Node,
        "n1",
        "{bgp: {ipv4Address: 192.168.0.1/24, asNumber: 64512}, orchRefs: [{nodeName: n1, orchestrator: k8s}]}",
        r#"{"bgp": {"asNumber": null}}"#,
        "/spec/bgp",
        "{\"ipv4Address\":\"192.168.0.1/24\"}",
    ),
    row(
        Kind::Profile,
        "p",
        "{labelsToApply: {a: b}, ingress: [{action: Allow}], egress: [{action: Allow}]}",
        r#"{"labelsToApply": {"c": "d"}}"#,
        "/spec/labelsToApply",
        "{\"a\":\"b\",\"c\":\"d\"}",
    ),
    row(Kind::StagedGlobalNetworkPolicy, "s", RULE, r#"{"order": 1}"#, "/spec/stagedAction", "\"Set\""),
    row(
        Kind::StagedKubernetesNetworkPolicy,
        "s",
        "{podSelector: {matchLabels: {a: b}}, policyTypes: [Ingress]}",
        r#"{"podSelector": {"matchLabels": {"a": "c"}}}"#,
        "/spec/podSelector/matchLabels/a",
        "\"c\"",
    ),
    row(
        Kind::StagedNetworkPolicy,
        "s",
        RULE,
        r#"{"order": null}"#,
        "/spec/ingress/0/destination/ports",
        "[53,\"80:90\",\"web\"]",
    ),
    row(Kind::Tier, "t", "{order: 10, defaultAction: Deny}", r#"{"order": 11}"#, "/spec/order", "11"),
    row(
        Kind::WorkloadEndpoint,
        "n1-cni-web-eth0",
        "{node: n1, orchestrator: cni, workload: web, endpoint: eth0, interfaceName: cali1, ipNetworks: [10.0.0.1/32], profiles: [kns.default], containerID: '1234'}",
        r#"{"interfaceName": "cali2"}"#,
        "/spec/interfaceName",
        "\"cali2\"",
    ),
];

fn every_kind_makes_its_whole_way(on: On) {
    let fixture = Fixture::on(on);
    // One store for all kinds, as users have; whatever a kind refers to is there.
    fixture.must(
        &["apply", "-f", "-"],
        "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: n1}\nspec: {}\n",
    );
    fixture.must(&["delete", "node", "n1"], "");
    let store = fixture.store();
    for row in &ROWS {
        travel(&fixture, &*store, row);
    }
}

fn travel(fixture: &Fixture, store: &dyn Datastore, row: &Row) {
    let Row { kind, name, spec, patch, path, value } = row;
    let (word, qualified) = (kind.name(), kind.scope() == Scope::Namespaced);
    let mut yaml = format!("apiVersion: projectcalico.org/v3\nkind: {word}\nmetadata:\n  name: {name}\n");
    if qualified {
        yaml += "  namespace: ns\n";
    }
    yaml += &format!("spec: {spec}\n");
    let n: &[&str] = if qualified { &["-n", "ns"] } else { &[] };
    let id = match qualified {
        true => ResourceKey::namespaced(*kind, "ns", name),
        false => ResourceKey::cluster(*kind, name),
    };
    let with =
        |words: &[&str]| -> Vec<String> { words.iter().chain(n).map(|word| (*word).to_owned()).collect() };
    let run = |words: &[&str], input: &str| {
        let words = with(words);
        let mut said = fixture.pipe(&words.iter().map(String::as_str).collect::<Vec<_>>(), input);
        // What is stored but not enforced yet is warned of, and that is no failure.
        said.err = said
            .err
            .lines()
            .filter(|line| !line.starts_with("Warning: "))
            .map(|line| format!("{line}\n"))
            .collect();
        said
    };
    let stored = || -> Option<Value> {
        store.get(&keys::resource(&id)).unwrap().map(|kv| serde_json::from_slice(&kv.value).unwrap())
    };
    let shown = |format: &str| run(&["get", word, name, "-o", format], "").out;
    let json = || -> Value { serde_json::from_str(&shown("json")).unwrap() };

    let mut watch = store.watch(&keys::resource(&id), store.revision().unwrap()).unwrap();
    // In: create, and not twice.
    assert_eq!(
        run(&["create", "-f", "-"], &yaml),
        ok(&format!("Successfully created 1 '{word}' resource(s)\n")),
        "{word}"
    );
    let full = id.to_string();
    let twice =
        failed("", &format!("failed to create '{word}' resource: [resource already exists: {full}]\n"));
    assert_eq!(run(&["create", "-f", "-"], &yaml), twice, "{word}");
    // In the store: what was written, and never its resource version.
    let value_there = stored().unwrap();
    assert_eq!(value_there["kind"], word, "{word}");
    assert_eq!(value_there["metadata"].get("resourceVersion"), None, "{word}");
    let written: Value = json();
    assert_eq!(written["spec"], value_there["spec"], "{word}");
    // Out and in again is no change but a new version.
    let out = shown("yaml");
    let replaced = run(&["replace", "-f", "-"], &out);
    assert_eq!(replaced, ok(&format!("Successfully replaced 1 '{word}' resource(s)\n")), "{word}");
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains("resourceVersion")).map(str::to_owned).collect()
    };
    assert_eq!(lines(&shown("yaml")), lines(&out), "{word}");
    // What was read before that is too old now.
    let conflict = format!("failed to apply '{word}' resource: [update conflict: {full}]\n");
    assert_eq!(run(&["apply", "-f", "-"], &out), failed("", &conflict), "{word}");
    // Listed as it is got, under each of its names.
    for plural in [word.to_lowercase(), kind.plural().to_owned()] {
        let list: Value = serde_json::from_str(&run(&["get", &plural, "-o", "json"], "").out).unwrap();
        let item = list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == *name);
        assert_eq!(item, Some(&json()), "{plural}");
    }
    assert!(run(&["get", word, "-o", "wide"], "").out.contains(name), "{word}");
    // Patched and labelled.
    let patched = run(&["patch", word, name, "-p", &format!("{{\"spec\": {patch}}}")], "");
    assert_eq!(patched, ok(&format!("Successfully patched 1 '{word}' resource\n")), "{word}");
    assert_eq!(json().pointer(path), Some(&serde_json::from_str(value).unwrap()), "{word} {}", json());
    let labelled = run(&["label", word, name, "a=b"], "");
    assert_eq!(labelled, ok(&format!("Successfully set label a on {word} {name}\n")), "{word}");
    assert_eq!(json()["metadata"]["labels"]["a"], "b", "{word}");
    // Gone: by an old version not, by name yes, and then not again.
    let stale = run(&["delete", "-f", "-"], &out);
    assert!(stale.err.contains(&format!("update conflict: {full}")), "{stale:?}");
    let gone = run(&["delete", word, name], "");
    assert_eq!(gone, ok(&format!("Successfully deleted 1 '{word}' resource(s)\n")), "{word}");
    assert_eq!(stored(), None, "{word}");
    // Who watched saw each write, and nothing else: created, replaced, patched, labelled, gone.
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(Change::Delete { .. })) {
        seen.extend(watch.next(Duration::from_secs(10)).unwrap());
    }
    let puts = seen.iter().filter(|change| matches!(change, Change::Put(_))).count();
    assert_eq!(puts, if *kind == Kind::IPPool { 5 } else { 4 }, "{word}: {seen:?}");
    let missing = format!("resource does not exist: {full} with error: <nil>\n");
    assert_eq!(run(&["get", word, name], "").err, missing, "{word}");
}

/// What Calico's own calicoctl was given, and which bytes were in etcd then.
const STORED: &str = include_str!("../../../store/tests/vectors/etcd.jsonl");

fn what_calicoctl_stored_is_stored_byte_for_byte(on: On) {
    let fixture = Fixture::on(on);
    let store = fixture.store();
    let mut checked = 0;
    for line in STORED.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        if let Some(input) = vector.get("input") {
            fixture.must(&["create", "-f", "-"], &input.to_string());
        } else {
            // An empty datastore is filled by the first write.
            fixture.must(&["apply", "-f", "-"], &mk_pool("first", "10.99.0.0/16"));
            fixture.must(&["delete", "ippool", "first"], "");
        }
        for (key, value) in vector["puts"].as_object().unwrap() {
            let stored = String::from_utf8(store.get(key).unwrap().unwrap().value).unwrap();
            let ours: Value = serde_json::from_str(&stored).unwrap();
            // As Go wrote it, but for what is never twice the same.
            let line = line.replace("&&", "\\u0026\\u0026");
            let mut go = line[line.find(&format!("\"{key}\":")).unwrap() + key.len() + 3..].to_owned();
            for path in ["/metadata/uid", "/metadata/creationTimestamp", "/spec/clusterGUID"] {
                if let Some(theirs) = value.pointer(path).and_then(Value::as_str) {
                    go = go.replace(theirs, ours.pointer(path).unwrap().as_str().unwrap());
                }
            }
            assert_eq!(stored, go[..stored.len()], "{key}");
            assert!(go[stored.len()..].starts_with([',', '}']), "{key} ends too early");
            checked += 1;
        }
    }
    assert_eq!(checked, 12);
    assert_eq!(store.list_all("/").unwrap().items.len(), 12, "nothing else is there");
}

crate::fixture::on_both! {
    every_kind_makes_its_whole_way, what_calicoctl_stored_is_stored_byte_for_byte
}
