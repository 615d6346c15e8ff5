//! Each rule across fields, on its refused side with its message, and beside it what is taken.
#![expect(clippy::unwrap_used, reason = "tests")]

mod messages;
#[path = "messages/rows.rs"]
mod rows;

use std::collections::BTreeSet;

use serde_json::json;
use tortie_api::decode::decode;
use tortie_api::validate::{self, IMMUTABLE, check, rules};

use messages::messages;
use rows::ROWS;

#[test]
fn each_rule_refuses_with_its_message_and_only_what_it_must() {
    for (kind, name, refused, message, taken) in ROWS {
        let found = messages(kind, name, refused);
        assert!(
            found.iter().any(|found| found.ends_with(&format!("({message})"))),
            "{kind} {refused}\nwanted: {message}\nfound: {found:#?}"
        );
        assert_eq!(messages(kind, name, taken), Vec::<String>::new(), "{kind} {taken}");
    }
}

#[test]
fn there_are_the_82_rules_of_calico_and_a_row_for_each() {
    let count: usize = rules().map(|rule| rule.of.len()).sum();
    assert_eq!(count + IMMUTABLE.len(), 82);
    let tested: BTreeSet<&str> = ROWS.iter().map(|(_, _, _, message, _)| *message).collect();
    let all: BTreeSet<&str> = rules().map(|rule| rule.message).collect();
    assert_eq!(tested, all);
}

#[test]
fn a_pools_cidr_and_block_size_never_change() {
    let pool = |cidr: &str, size: u8| json!({"kind": "IPPool", "spec": {"cidr": cidr, "blockSize": size}});
    let old = pool("10.0.0.0/16", 26);
    assert!(validate::immutable(&old, &pool("10.0.0.0/16", 26)).is_empty());
    let fields = |new| {
        validate::immutable(&old, &new).into_iter().map(|(field, message)| format!("{field}: {message}"))
    };
    assert_eq!(
        fields(pool("10.1.0.0/16", 27)).collect::<Vec<_>>(),
        [
            "spec.cidr: CIDR cannot be changed; follow IP pool migration guide to avoid corruption.",
            "spec.blockSize: Block size cannot be changed; follow IP pool migration guide to avoid corruption."
        ]
    );
}

#[test]
fn lists_and_texts_have_their_limits() {
    let nets = |count: usize| {
        (0..count).map(|net| format!("10.{}.{}.0/24", net / 256, net % 256)).collect::<Vec<_>>().join(", ")
    };
    let rule =
        |fields: &str| format!("{{ingress: [{{action: Allow, protocol: TCP, source: {{{fields}}}}}]}}");
    let ports = |count: usize| (1..=count).map(|port| port.to_string()).collect::<Vec<_>>().join(", ");
    let rules = |count: usize| format!("{{egress: [{}]}}", vec!["{action: Deny}"; count].join(", "));
    let selector = |length: usize| rule(&format!("selector: a == '{}'", "x".repeat(length - 7)));
    for (taken, refused, message) in [
        (
            rule(&format!("nets: [{}]", nets(256))),
            rule(&format!("nets: [{}]", nets(257))),
            "must have at most 256 items",
        ),
        (
            rule(&format!("notPorts: [{}]", ports(50))),
            rule(&format!("notPorts: [{}]", ports(51))),
            "must have at most 50 items",
        ),
        (rules(1024), rules(1025), "must have at most 1024 items"),
        (selector(1024), selector(1025), "may not be more than 1024 bytes"),
    ] {
        assert_eq!(messages("NetworkPolicy", "n", &taken), Vec::<String>::new());
        let found = messages("NetworkPolicy", "n", &refused);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains(message), "{}", &found[0][found[0].len() - 200..]);
    }
}

#[test]
fn names_labels_and_annotations_are_checked() {
    let object = |metadata: &str| {
        format!("apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {metadata}\n")
    };
    let found = |metadata: &str| {
        let mut decoded = check(decode(&object(metadata)), "default");
        decoded.documents.remove(0).faults.into_iter().map(|fault| fault.field).collect::<Vec<_>>()
    };
    for (metadata, fields) in [
        ("{name: a.b-c}", vec![]),
        ("{name: A}", vec!["metadata.name"]),
        ("{labels: {a: b}}", vec!["metadata.name"]),
        ("{name: a, labels: {example.com/a_b: ''}}", vec![]),
        ("{name: a, labels: {'a b': c, d: '-'}}", vec!["metadata.labels.a b", "metadata.labels.d"]),
        ("{name: a, annotations: {'/a': any text at all}}", vec!["metadata.annotations./a"]),
        ("{name: a, labels: {projectcalico.org/namespace: b}}", vec!["metadata.labels"]),
    ] {
        assert_eq!(found(metadata), fields, "{metadata}");
    }
    assert_eq!(messages("Tier", "a.b", "{}").len(), 1);
    assert!(messages("Tier", "x", "{}").is_empty());
    let long = "x".repeat(254);
    assert!(messages("Tier", &long, "{}").first().unwrap().contains("name is too long by 1 bytes"));
}
