//! Input as calicoctl takes it, and the words in which it refuses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};
use tortie_api::decode::{Decoded, decode};
use tortie_api::fault::Fault;
use tortie_api::kind::Kind;

fn one(text: &str) -> Value {
    let objects = decode(text).into_objects().unwrap_or_else(|faults| panic!("{text}\n{}", lines(&faults)));
    assert_eq!(objects.len(), 1, "{text}");
    objects[0].json.clone()
}

fn faults(text: &str) -> Vec<Fault> {
    match decode(text).into_objects() {
        Ok(objects) => {
            panic!("{text}\nwas taken as {:?}", objects.iter().map(|object| &object.json).collect::<Vec<_>>())
        }
        Err(faults) => faults,
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}

#[test]
fn scalars_of_yaml_1_1_are_retyped_by_the_field_that_wants_a_text() {
    for (written, stored) in [
        ("n", "false"),
        ("NO", "false"),
        ("y", "true"),
        ("on", "true"),
        ("012", "10"),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("1e3", "1000"),
        ("1.50", "1.5"),
        ("'012'", "012"),
        ("\"no\"", "no"),
        ("2026-11-23", "2026-11-23"),
    ] {
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {{name: a, namespace: {written}}}\nspec: {{nets: [{written}]}}\n"
        );
        let object = one(&text);
        assert_eq!(object["metadata"]["namespace"], stored, "{written}");
        assert_eq!(object["spec"]["nets"], json!([stored]), "{written}");
    }
}

#[test]
fn numbers_and_bools_are_refused_in_labels() {
    for (written, what) in [("123", "number"), ("1.5", "number"), ("yes", "bool")] {
        let faults = faults(&format!(
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata:\n  name: a\n  labels:\n    x: {written}\n"
        ));
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].message.ends_with(&format!(
                "cannot unmarshal {what} into Go struct field ObjectMeta.metadata.labels of type string"
            )),
            "{}",
            faults[0]
        );
        assert_eq!((faults[0].line, faults[0].column, &*faults[0].field), (6, 8, "metadata.labels.x"));
        assert_eq!((&*faults[0].found, &*faults[0].expected), (written, "a text"));
    }
}

#[test]
fn field_names_are_found_in_any_case_and_come_out_as_the_api_spells_them() {
    let object = one(
        "apiversion: projectcalico.org/v3\nKind: GlobalNetworkPolicy\nMetadata: {Name: a}\nSpec:\n  Ingress:\n  - ACTION: Allow\n    protocol: icmp\n    ICMP: {Type: 8}\n",
    );
    assert_eq!(
        object,
        json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "a"},
            "spec": {"ingress": [{"action": "Allow", "protocol": "ICMP", "icmp": {"type": 8}}]}})
    );
}

#[test]
fn every_fault_of_a_text_is_found_with_its_place() {
    let faults = faults(
        "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: a
  unknown: 1
spec:
  order: high
  ingress:
  - action: Allow
    protocol: 300
    source:
      selectors: x
      ports: [1, '2:1', 70000]
---
apiVersion: projectcalico.org/v7
kind: BGPPeer
metadata: {name: b}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: c}
spec:
  cidr: [10.0.0.0/8]
  disabled: \"yes\"
  blockSize: 26.5
",
    );
    let found: Vec<_> = faults
        .iter()
        .map(|fault| {
            (fault.line, fault.column, &*fault.field, fault.message.rsplit("JSON: ").next().unwrap())
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                5,
                3,
                "metadata.unknown",
                "field in document is not recognized or is in the wrong location: unknown"
            ),
            (
                7,
                10,
                "spec.order",
                "json: cannot unmarshal string into Go struct field NetworkPolicySpec.spec.order of type float64"
            ),
            (
                10,
                15,
                "spec.ingress[0].protocol",
                "json: cannot unmarshal number 300 into Go struct field Rule.spec.ingress.protocol of type uint8"
            ),
            (
                12,
                7,
                "spec.ingress[0].source.selectors",
                "field in document is not recognized or is in the wrong location: selectors"
            ),
            (
                13,
                18,
                "spec.ingress[0].source.ports[1]",
                "minimum port number (2) is greater than maximum port number (1) in port range"
            ),
            (
                13,
                25,
                "spec.ingress[0].source.ports[2]",
                "json: cannot unmarshal number 70000 into Go struct field EntityRule.spec.ingress.source.ports of type uint16"
            ),
            (16, 7, "", "unknown resource type (BGPPeer) and/or version (v7)"),
            (
                23,
                9,
                "spec.cidr",
                "json: cannot unmarshal array into Go struct field IPPoolSpec.spec.cidr of type string"
            ),
            (
                24,
                13,
                "spec.disabled",
                "json: cannot unmarshal string into Go struct field IPPoolSpec.spec.disabled of type bool"
            ),
            (
                25,
                14,
                "spec.blockSize",
                "json: cannot unmarshal number 26.5 into Go struct field IPPoolSpec.spec.blockSize of type int"
            ),
        ]
    );
    assert_eq!(faults[3].expected.split(": ").nth(1).unwrap().split(", ").next(), Some("selector"));
}

#[test]
fn an_as_number_of_more_than_32_bits_is_refused_in_the_words_that_users_know() {
    let faults = faults(
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: a}\nspec: {peerIP: 10.0.0.1, asNumber: 4294967296}\n",
    );
    assert!(
        faults[0].message.contains(
            "cannot unmarshal number into Go struct field BGPPeerSpec.spec.asNumber of type string"
        )
    );
}

#[test]
fn lists_are_opened_and_their_faults_say_which_item() {
    let item =
        |name: &str| format!("{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: {name}}}}}");
    for text in [
        format!("apiVersion: v1\nkind: List\nitems: [{}, {}]\n", item("a"), item("b")),
        format!("[{}, {}]", item("a"), item("b")),
        format!("{}\n---\n{}\n", item("a"), item("b")),
        "apiVersion: projectcalico.org/v3\nkind: TierList\nmetadata: {resourceVersion: \"1\"}\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n".to_owned(),
    ] {
        let keys: Vec<_> = decode(&text).into_objects().unwrap().iter().map(|object| object.key().to_string()).collect();
        assert_eq!(keys, ["Tier(a)", "Tier(b)"], "{text}");
    }
    let faults = faults(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: a}, spec: {x: 1}}\n",
    );
    assert_eq!(faults[0].field, "items[0].spec.x");
}

#[test]
fn json_is_taken_like_yaml() {
    let object = one(
        r#"{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"a"},"spec":{"order":100.0}}"#,
    );
    assert_eq!(
        object,
        json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "a"}, "spec": {"order": 100}, "status": {}})
    );
}

#[test]
fn durations_and_protocols_are_normalised_and_zero_values_left_out_as_go_does() {
    let object = one(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: {routeRefreshInterval: 125s, bpfEnabled: false, failsafeInboundHostPorts: []}\n",
    );
    assert_eq!(
        object["spec"],
        json!({"routeRefreshInterval": "2m5s", "bpfEnabled": false, "failsafeInboundHostPorts": []})
    );
    let object = one(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: a, labels: {}}\nspec: {cidr: 10.0.0.0/8, disabled: false, natOutgoing: true, nodeSelector: }\n",
    );
    assert_eq!(object["metadata"], json!({"name": "a"}));
    assert_eq!(object["spec"], json!({"cidr": "10.0.0.0/8", "natOutgoing": true}));
}

#[test]
fn kubernetes_objects_keep_what_policy_does_not_read() {
    let object = one(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec: {nodeName: node1, containers: [{name: c, image: d, ports: [{containerPort: 80}]}], tolerations: [{key: x}]}\n",
    );
    assert_eq!(
        object["spec"],
        json!({"nodeName": "node1", "containers": [{"name": "c", "image": "d", "ports": [{"containerPort": 80}]}], "tolerations": [{"key": "x"}]})
    );
}

#[test]
fn a_syntax_error_does_not_hide_the_documents_before_it() {
    let Decoded { documents, faults } =
        decode("apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\n---\na: b: c\n");
    assert_eq!(documents.len(), 1);
    assert_eq!(
        (documents[0].subject.as_str(), documents[0].object.as_ref().unwrap().kind),
        ("Tier(a)", Kind::Tier)
    );
    assert_eq!((faults.len(), faults[0].line), (1, 5));
    assert!(faults[0].message.starts_with("error converting YAML to JSON: yaml: line 5:"), "{}", faults[0]);
}

#[test]
fn a_status_is_refused_where_the_kind_has_none() {
    let text = |kind: &str| {
        format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: a}}\nstatus: {{}}\n")
    };
    assert_eq!(one(&text("Tier"))["status"], json!({}));
    let kubernetes = text("NetworkPolicy").replace("projectcalico.org/v3", "networking.k8s.io/v1");
    assert_eq!(one(&kubernetes).get("status"), None);
    let faults = faults(&text("GlobalNetworkSet"));
    assert_eq!(faults.len(), 1);
    assert_eq!(
        (faults[0].line, &*faults[0].message),
        (4, "field in document is not recognized or is in the wrong location: status")
    );
}
