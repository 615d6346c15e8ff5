//! Every message that the encoder can write, against the running kernel and the `nft` program.

use crate::support::{comparable, list_ruleset, namespace, run, run_with_input};
use tortie_netlink::OwnedNamespace;
use tortie_nft::expression::{Base, Comparison, Expression, Register, Verdict};
use tortie_nft::object::{Chain, Counter, Data, Element, Field, HookPoint, Rule, Set, TableId, Value};
use tortie_nft::{Batch, Client, Error, Features, ForeignChange, Monitor, Place};
use tortie_nft::{NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST};

const R0: Register = Register::word(0);
const R1: Register = Register::word(1);

fn table() -> TableId {
    TableId::inet("t")
}

fn client(namespace: &OwnedNamespace) -> Client {
    namespace.run(Client::open).unwrap().unwrap()
}

fn set(name: &str, key: &[Field], data: Data, interval: bool, size: u32) -> Set {
    Set { name: name.into(), key: key.to_vec(), data, interval, size }
}

fn mark(number: u32) -> Value {
    Value::Bytes(number.to_ne_bytes().to_vec())
}

fn sets() -> Vec<Set> {
    use Field::*;
    vec![
        set("plain", &[Ipv4Address], Data::None, false, 0),
        set("sized", &[InterfaceIndex, Ipv6Address], Data::None, false, 64),
        set("nets", &[Ipv4Address], Data::Value(Mark), true, 0),
        set("ranges", &[InterfaceIndex, Ipv4Address], Data::None, true, 0),
        set("verdicts", &[InterfaceIndex], Data::Verdict, false, 16),
        set("counted", &[Mark, ClassId], Data::Counter, false, 16),
        set("icmp.1", &[Icmp4Type, Icmp4Code], Data::Value(ClassId), false, 16),
        set("icmp6.1", &[Icmp6Type, Icmp6Code], Data::Value(ClassId), false, 16),
        set("ports", &[Protocol, Port], Data::Value(ClassId), false, 16),
    ]
}

fn elements() -> Vec<(&'static str, Vec<Element>)> {
    let end = |key: [u8; 4]| Element { is_end: true, ..Element::exact(key, Value::None) };
    let lo = 1u32.to_ne_bytes();
    let join = |parts: &[&[u8]]| parts.concat();
    vec![
        ("plain", vec![Element::exact([10, 0, 0, 1], Value::None)]),
        ("sized", vec![Element::exact(join(&[&lo, &[0xfd; 16]]), Value::None)]),
        (
            "nets",
            vec![
                Element::exact([10, 0, 0, 0], mark(5)),
                end([10, 1, 0, 0]),
                Element::exact([10, 1, 0, 0], mark(6)),
                end([10, 2, 0, 0]),
                Element::exact([255, 255, 255, 0], mark(7)),
            ],
        ),
        (
            "ranges",
            vec![Element {
                last: Some(join(&[&1u32.to_be_bytes(), &[10, 3, 255, 255]])),
                ..Element::exact(join(&[&1u32.to_be_bytes(), &[10, 3, 0, 0]]), Value::None)
            }],
        ),
        (
            "verdicts",
            vec![
                Element::exact(lo, Value::Verdict(Verdict::Goto("stack".into()))),
                Element::catch_all(Value::Verdict(Verdict::Jump("leaf".into()))),
            ],
        ),
        (
            "counted",
            vec![Element::exact(
                join(&[&3u32.to_ne_bytes(), &0x10001u32.to_ne_bytes()]),
                Value::Counter("path1".into()),
            )],
        ),
        ("icmp.1", vec![Element::exact([8, 0, 0, 0, 0, 0, 0, 0], mark(0x10001))]),
        ("icmp6.1", vec![Element::exact([128, 0, 0, 0, 0, 0, 0, 0], mark(0x3a0001))]),
        (
            "ports",
            vec![Element::exact([6, 0, 0, 0, 0, 80, 0, 0], mark(0x60001)), Element::catch_all(mark(0))],
        ),
    ]
}

fn rules() -> Vec<Rule> {
    use Expression::*;
    let rule = |expressions: Vec<Expression>| Rule { expressions, comment: None };
    let equal = |data: &[u8]| Compare { comparison: Comparison::Equal, from: R0, data: data.to_vec() };
    vec![
        // ct state established,related accept
        rule(vec![
            Ct { key: tortie_nft::expression::Ct::State, to: R0 },
            Bitwise { from: R0, to: R0, mask: 6u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
            Compare { comparison: Comparison::NotEqual, from: R0, data: vec![0; 4] },
            Expression::Verdict(tortie_nft::expression::Verdict::Accept),
        ]),
        // iifname "cali*" iif vmap @verdicts
        rule(vec![
            Meta { key: tortie_nft::expression::Meta::InputInterfaceName, to: R0 },
            equal(b"cali"),
            Meta { key: tortie_nft::expression::Meta::InputInterface, to: R0 },
            Lookup { set: "verdicts".into(), key: R0, to: Some(Register::VERDICT) },
        ]),
        // iif . ip6 saddr @sized return
        rule(vec![
            Meta { key: tortie_nft::expression::Meta::Family, to: R0 },
            equal(&[10]),
            Meta { key: tortie_nft::expression::Meta::InputInterface, to: R0 },
            Payload { base: Base::Network, offset: 8, length: 16, to: R1 },
            Lookup { set: "sized".into(), key: R0, to: None },
            Expression::Verdict(tortie_nft::expression::Verdict::Return),
        ]),
        // meta mark set ip daddr map @nets
        rule(vec![
            Meta { key: tortie_nft::expression::Meta::Family, to: R0 },
            equal(&[2]),
            Payload { base: Base::Network, offset: 16, length: 4, to: R0 },
            Lookup { set: "nets".into(), key: R0, to: Some(R0) },
            SetMeta { key: tortie_nft::expression::Meta::Mark, from: R0 },
        ]),
        // counter name meta mark . meta priority map @counted drop
        Rule {
            expressions: vec![
                Meta { key: tortie_nft::expression::Meta::Mark, to: R0 },
                Meta { key: tortie_nft::expression::Meta::Priority, to: R1 },
                CounterByMap { map: "counted".into(), key: R0 },
                Expression::Verdict(tortie_nft::expression::Verdict::Drop),
            ],
            comment: Some("a word for the reader".into()),
        },
        // counter name meta mark & 0x0003ffff | 0x00030000 . meta priority map @counted
        rule(vec![
            Meta { key: tortie_nft::expression::Meta::Mark, to: R0 },
            Bitwise {
                from: R0,
                to: R0,
                mask: 0xffffu32.to_ne_bytes().to_vec(),
                xor: 0x30000u32.to_ne_bytes().to_vec(),
            },
            Meta { key: tortie_nft::expression::Meta::Priority, to: R1 },
            CounterByMap { map: "counted".into(), key: R0 },
        ]),
        // meta mark set 0x00000000 meta priority set none
        rule(vec![
            Immediate { to: R0, data: vec![0; 4] },
            SetMeta { key: tortie_nft::expression::Meta::Mark, from: R0 },
            SetMeta { key: tortie_nft::expression::Meta::Priority, from: R0 },
        ]),
        // counter name "path1" log group 3 prefix "p" snaplen 64 jump leaf
        rule(vec![
            CounterByName("path1".into()),
            Log { group: 3, prefix: "p".into(), snap_length: 64 },
            Expression::Verdict(tortie_nft::expression::Verdict::Jump("leaf".into())),
        ]),
        // ct mark set 0x00004000
        rule(vec![
            Immediate { to: R0, data: 0x4000u32.to_ne_bytes().to_vec() },
            SetCt { key: tortie_nft::expression::Ct::Mark, from: R0 },
        ]),
        rule(vec![KernelLog { prefix: "k".into() }]),
        // iif . ip saddr @ranges
        rule(vec![
            Meta { key: tortie_nft::expression::Meta::Family, to: R0 },
            equal(&[2]),
            Meta { key: tortie_nft::expression::Meta::InputInterface, to: R0 },
            ToNetworkOrder { from: R0, to: R0 },
            Payload { base: Base::Network, offset: 12, length: 4, to: R1 },
            Lookup { set: "ranges".into(), key: R0, to: None },
        ]),
    ]
}

fn fill(client: &mut Client, flags: u32) {
    let mut batch = Batch::new(&table());
    batch.add_table(flags, "a table of the test");
    batch.add_chain(&Chain::base("forward", HookPoint::Forward, 0));
    batch.add_chain(&Chain::base("raw", HookPoint::Prerouting, -300));
    batch.add_chain(&Chain::nat("out", HookPoint::Postrouting, 100));
    batch.add_chain(&Chain::regular("stack"));
    batch.add_chain(&Chain::regular("leaf"));
    batch.add_counter(&Counter { name: "path1".into(), packets: 7, bytes: 700 });
    for set in sets() {
        batch.add_set(&set);
    }
    for (set, elements) in elements() {
        batch.add_elements(set, &elements);
    }
    for rule in rules() {
        batch.add_rule("forward", &rule, Place::End);
    }
    client.commit(batch).unwrap();
}

fn sorted(mut elements: Vec<Element>) -> Vec<Element> {
    elements.sort();
    elements
}

#[test]
fn what_is_written_is_read_back_equal() {
    let namespace = namespace("equal");
    let mut client = client(&namespace);
    fill(&mut client, 0);
    let found = client.table(&table()).unwrap().unwrap();
    assert_eq!(found.comment.as_deref(), Some("a table of the test"));
    let mut chains = client.chains(&table()).unwrap();
    chains.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(
        chains,
        [
            Chain::base("forward", HookPoint::Forward, 0),
            Chain::regular("leaf"),
            Chain::nat("out", HookPoint::Postrouting, 100),
            Chain::base("raw", HookPoint::Prerouting, -300),
            Chain::regular("stack"),
        ]
    );
    let listed: Vec<Rule> = client.rules(&table()).unwrap().into_iter().map(|listed| listed.rule).collect();
    assert_eq!(listed, rules());
    let listed = client.sets(&table()).unwrap();
    let expected = sets();
    assert_eq!(listed.len(), expected.len());
    for set in expected {
        assert!(listed.iter().any(|found| found.set.as_ref() == Some(&set)), "{set:?} in {listed:#?}");
    }
    for (set, elements) in elements() {
        let found = client.elements(&table(), set).unwrap();
        assert_eq!(sorted(found), sorted(elements), "{set}");
    }
    let counters = client.counters(&table()).unwrap();
    assert_eq!(counters, [Counter { name: "path1".into(), packets: 7, bytes: 700 }]);
}

#[test]
fn elements_and_counters_are_found_by_key_and_missing_ones_are_none() {
    let namespace = namespace("get");
    let mut client = client(&namespace);
    fill(&mut client, 0);
    let (_, counted) = elements().remove(5);
    let missing = Element::exact([9u8; 8], Value::None);
    let wanted: Vec<Element> =
        (0..1000).map(|i| if i % 2 == 0 { counted[0].clone() } else { missing.clone() }).collect();
    let found = client.find_elements(&table(), "counted", &wanted).unwrap();
    assert_eq!(found.len(), 1000);
    assert!(found.iter().enumerate().all(|(i, found)| found.as_ref() == (i % 2 == 0).then_some(&counted[0])));
    let names = ["path1".to_string(), "path2".to_string()];
    let found = client.find_counters(&table(), &names).unwrap();
    assert_eq!(found[0].as_ref().unwrap().packets, 7);
    assert_eq!(found[1], None);
}

#[test]
fn the_nft_program_lists_what_is_written_and_loads_the_listing_again() {
    let (first, second) = (namespace("list"), namespace("load"));
    fill(&mut client(&first), 0);
    let listing = list_ruleset(&first);
    for line in [
        "comment \"a table of the test\"",
        "type mark . classid : counter",
        "0x00000003 . 1:1 : \"path1\"",
        "iif vmap @verdicts",
        "counter name meta mark . meta priority map @counted drop comment \"a word for the reader\"",
        "log prefix \"p\" group 3 snaplen 64 jump leaf",
        "iifname \"cali*\"",
        "\"lo\" : goto stack",
        "10.0.0.0/16 : 0x00000005",
        "elements = { \"lo\" . 10.3.0.0/16 }",
        "iif . ip saddr @ranges",
    ] {
        assert!(listing.contains(line), "{line} is not in\n{listing}");
    }
    run_with_input(&second, "nft", &["-f", "-"], &listing);
    assert_eq!(comparable(&list_ruleset(&second)), comparable(&listing));
}

#[test]
fn a_long_list_of_elements_is_cut_into_messages_that_fit() {
    let namespace = namespace("long");
    let mut client = client(&namespace);
    fill(&mut client, 0);
    let many: Vec<Element> =
        (0..100_000u32).map(|i| Element::exact((0x0b00_0000 + i).to_be_bytes(), Value::None)).collect();
    let mut batch = Batch::new(&table());
    batch.add_elements("plain", &many);
    assert!(batch.len() > 1 << 20);
    client.commit(batch).unwrap();
    assert_eq!(client.elements(&table(), "plain").unwrap().len(), many.len() + 1);
    let mut batch = Batch::new(&table());
    batch.flush_set("plain");
    client.commit(batch).unwrap();
    assert_eq!(client.elements(&table(), "plain").unwrap(), []);
}

#[test]
fn everything_that_can_be_made_can_be_deleted() {
    let namespace = namespace("delete");
    let mut client = client(&namespace);
    fill(&mut client, 0);
    let handle = client.rules(&table()).unwrap()[0].handle;
    let mut batch = Batch::new(&table());
    batch.add_rule("forward", &rules()[6], Place::Replace(handle));
    batch.add_rule("raw", &rules()[7], Place::End);
    client.commit(batch).unwrap();
    let listed = client.rules(&table()).unwrap();
    assert_eq!(listed.iter().find(|listed| listed.chain == "forward").unwrap().rule, rules()[6]);
    let raw = listed.iter().find(|listed| listed.chain == "raw").unwrap().handle;
    let mut batch = Batch::new(&table());
    batch.delete_rule("raw", raw);
    batch.flush_chain("forward");
    for (set, elements) in elements() {
        batch.delete_elements(set, &elements);
    }
    for set in sets() {
        batch.delete_set(&set.name);
    }
    for chain in ["forward", "out", "raw", "stack", "leaf"] {
        batch.delete_chain(chain);
    }
    batch.delete_counter("path1");
    client.commit(batch).unwrap();
    assert_eq!(list_ruleset(&namespace).trim(), "table inet t {\n\tcomment \"a table of the test\"\n}");
    let mut batch = Batch::new(&table());
    batch.delete_table();
    client.commit(batch).unwrap();
    assert_eq!(list_ruleset(&namespace), "");
}

#[test]
fn a_table_that_may_be_missing_is_deleted_with_and_without_destroy() {
    let namespace = namespace("destroy");
    let mut client = client(&namespace);
    let available = client.probe().unwrap().destroy;
    for destroy in [false, available] {
        for present in [false, true] {
            if present {
                fill(&mut client, 0);
            }
            let mut batch = Batch::new(&table()).with_destroy(destroy);
            batch.destroy_table();
            client.commit(batch).unwrap();
            assert_eq!(client.table(&table()).unwrap(), None);
        }
    }
}

#[test]
fn an_element_that_may_be_missing_is_deleted_or_told_as_drift() {
    let namespace = namespace("missing");
    let mut client = client(&namespace);
    fill(&mut client, 0);
    let Features { destroy, .. } = client.probe().unwrap();
    let missing = [Element::exact([9, 9, 9, 9], Value::None)];
    let mut batch = Batch::new(&table()).with_destroy(false);
    batch.destroy_elements("plain", &missing);
    assert!(client.commit(batch).unwrap_err().is_drift());
    if destroy {
        let mut batch = Batch::new(&table()).with_destroy(true);
        batch.destroy_elements("plain", &missing);
        client.commit(batch).unwrap();
    }
}

#[test]
fn an_error_names_the_message_that_was_refused_and_nothing_of_the_transaction_stays() {
    let namespace = namespace("refused");
    let mut client = client(&namespace);
    fill(&mut client, 0);
    let mut batch = Batch::new(&table());
    batch.add_chain(&Chain::regular("new"));
    batch.delete_set("nothing");
    let error = client.commit(batch).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nftables: delete set nothing (table t): No such file or directory (os error 2)"
    );
    assert!(!list_ruleset(&namespace).contains("chain new"));
    let mut batch = Batch::new(&table());
    let many: Vec<Element> =
        (0..17u32).map(|i| Element::exact(i.to_ne_bytes(), Value::Verdict(Verdict::Drop))).collect();
    batch.create_elements("verdicts", &many[2..]);
    batch.create_elements("verdicts", &many[..1]);
    batch.create_elements("verdicts", &many[1..2]);
    let error = client.commit(batch).unwrap_err();
    assert!(error.is_drift() && error.to_string().contains("add elements to set verdicts"), "{error}");
}

#[test]
fn a_transaction_for_an_older_generation_is_refused() {
    let namespace = namespace("generation");
    let mut client = client(&namespace);
    let generation = client.generation().unwrap();
    let mut batch = Batch::at_generation(&table(), generation);
    batch.add_table(0, "first");
    client.commit(batch).unwrap();
    assert_ne!(client.generation().unwrap(), generation);
    let mut batch = Batch::at_generation(&table(), generation);
    batch.delete_table();
    assert!(
        matches!(client.commit(batch), Err(Error::GenerationMoved { expected }) if expected == generation)
    );
    assert!(client.table(&table()).unwrap().is_some());
}

#[test]
fn an_owned_table_survives_a_foreign_flush_and_its_owners_end() {
    let namespace = namespace("owned");
    let mut first = client(&namespace);
    if !first.probe().unwrap().owned_tables {
        panic!("this kernel has no owned tables that persist (6.9); the fallback is tested elsewhere");
    }
    fill(&mut first, NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST);
    run(&namespace, "nft", &["flush", "ruleset"]);
    assert_eq!(first.counters(&table()).unwrap().len(), 1);
    let mut second = client(&namespace);
    let mut batch = Batch::new(&table());
    batch.delete_table();
    assert_eq!(second.commit(batch).unwrap_err().errno(), Some(libc::EPERM));
    drop(first);
    // The next process takes it over.
    let mut batch = Batch::new(&table());
    batch.add_table(NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST, "a table of the test");
    second.commit(batch).unwrap();
    assert_eq!(second.table(&table()).unwrap().unwrap().owner, Some(second.port()));
}

#[test]
fn foreign_changes_are_heard_and_our_own_are_not() {
    let namespace = namespace("monitor");
    let mut client = client(&namespace);
    let ours = client.port();
    let mut monitor = namespace.run(|| Monitor::open(&table(), ours)).unwrap().unwrap();
    fill(&mut client, 0);
    assert_eq!(monitor.poll().unwrap(), None);
    run(&namespace, "nft", &["add", "table", "inet", "other"]);
    assert_eq!(monitor.poll().unwrap(), None);
    run(&namespace, "nft", &["add", "rule", "inet", "t", "forward", "drop"]);
    assert_eq!(monitor.poll().unwrap(), Some(ForeignChange::Edited));
    run(&namespace, "nft", &["flush", "ruleset"]);
    assert_eq!(monitor.poll().unwrap(), Some(ForeignChange::TableDeleted));
}
