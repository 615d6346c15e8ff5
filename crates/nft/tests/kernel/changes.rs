//! Steps, drift, growth, restart: what is in the kernel is what was asked for, at every moment.

use crate::install::{mk_tables, open, open_with};
use crate::support::packets::{Body, Catcher, Packet, SENTINEL, Sender};
use crate::support::tables::*;
use crate::support::wiring::Wiring;
use crate::support::{list_ruleset, run};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use tortie_api::policy::Direction;
use tortie_dataplane::flat::*;
use tortie_dataplane::policy::Family;
use tortie_nft::flat::{Closed, Cursor, Flat, Ownership, Settings};
use tortie_nft::object::{TableId, Value};
use tortie_nft::{Client, ForeignChange};

fn step(phase: Phase, ops: Vec<Op>) -> Step {
    Step { phase, ops }
}

/// The whole comparison, and the one in slices, both of which must find nothing.
fn assert_no_drift(flat: &mut Flat) {
    let drift = flat.check().unwrap();
    assert!(drift.is_none(), "{drift:#?}");
    let mut cursor = Cursor::default();
    loop {
        let drift = flat.check_slice(&mut cursor, 3).unwrap();
        assert!(drift.is_none(), "{drift:#?}");
        if cursor == Cursor::default() {
            return;
        }
    }
}

/// Waits for the old generations' end, which comes by the clock.
pub fn retire(flat: &mut Flat) {
    while flat.next_retirement().is_some() {
        flat.retire().unwrap();
    }
}

/// A random change that the classifier might make, and that `tables` allow.
fn random_step(random: &mut fastrand::Rng, tables: &Tables) -> Step {
    let address = |random: &mut fastrand::Rng| -> IpAddr {
        let low = random.u8(1..20);
        if random.bool() { IpAddr::from([10, 65, 0, low]) } else { format!("fd65::{low}").parse().unwrap() }
    };
    let class = ClassId(random.u16(1..9));
    // The last has no room beside an L4 class.
    let stack = StackId([1, 2, 3, 4, 5, 6, 9000][random.usize(..7)]);
    let of = if random.u8(..3) == 0 { ClassId::ANY } else { class };
    let path = PathId(random.u32(1..9));
    let verdict = if random.bool() { allow(path.0) } else { deny(path.0) };
    let l4_key = match random.u8(..3) {
        0 => L4Key::Class(l4(6, random.u16(1..9))),
        1 => L4Key::Protocol(17),
        _ => L4Key::Any,
    };
    let port = random.u16(1..9) * 1000;
    let op = match random.u8(..18) {
        0 | 1 => Op::AddPath(path, mk_path(path.0, path.0 > 6)),
        2 => Op::AddEntry(EntryKey { stack, class: of, l4: l4_key }, verdict),
        3 => Op::AddEntry(EntryKey { stack, class: of, l4: L4Key::Class(l4(6, random.u16(1..9))) }, verdict),
        4 => {
            let place = random.usize(..tables.entries.len().max(1));
            Op::RemoveEntry(tables.entries.keys().nth(place).copied().unwrap_or(EntryKey {
                stack,
                class,
                l4: l4_key,
            }))
        }
        5 | 6 => Op::SetAddress(address(random), class),
        7 => Op::RemoveAddress(address(random)),
        8 => Op::SetL4(L4Match::PortRange { protocol: 6, first: port, last: port + 999 }, l4(6, class.0)),
        9 => Op::RemoveL4(L4Match::PortRange { protocol: 6, first: port, last: port + 999 }),
        10 => Op::SetL4(L4Match::Port { protocol: 17, port }, l4(17, class.0)),
        11 => {
            // Adjacent intervals that come, split and go.
            let low = random.u8(..4) * 64;
            let net = |first: u8, last: u8| AddressRange {
                first: IpAddr::from([10, 66, 0, first]),
                last: IpAddr::from([10, 66, 0, last]),
            };
            let (whole, left, right) = (net(low, low + 63), net(low, low + 31), net(low + 32, low + 63));
            let ops = if tables.nets.contains_key(&whole) {
                vec![Op::RemoveNet(whole), Op::AddNet(left, class), Op::AddNet(right, ClassId(9))]
            } else if tables.nets.contains_key(&left) {
                vec![Op::RemoveNet(left), Op::RemoveNet(right), Op::AddNet(whole, class)]
            } else {
                vec![Op::AddNet(whole, class)]
            };
            return step(Phase::Switch, ops);
        }
        12 => {
            let interface = if random.bool() { "cali1" } else { "cali2" };
            let stacks = (random.u16(1..7), random.u16(1..7));
            Op::SetEndpoint(interface.into(), mk_endpoint(&[address(random)], stacks, stacks))
        }
        13 => Op::RemoveEndpoint("cali2".into()),
        14..=16 => Op::AddEntry(
            EntryKey { stack, class: ClassId::ANY, l4: L4Key::Class(l4(6, random.u16(1..9))) },
            verdict,
        ),
        _ => {
            let levels = if random.bool() { LEVELS } else { PORTS_ONLY };
            Op::AddStack(stack, StackChain { levels, ..mk_stack(Direction::Ingress, Family::V4, verdict) })
        }
    };
    step(Phase::Grow, vec![op])
}

/// Whether the classifier could have asked for it: things exist before they are led to.
fn is_sensible(tables: &Tables, step: &Step) -> bool {
    step.ops.iter().all(|op| match op {
        Op::AddPath(id, _) => !tables.paths.contains_key(id),
        Op::AddStack(_, stack) => tables.paths.contains_key(&stack.default.path),
        Op::AddEntry(key, verdict) => {
            tables.stacks.contains_key(&key.stack)
                && tables.paths.contains_key(&verdict.path)
                && (key.class, key.l4) != (ClassId::ANY, L4Key::Any)
        }
        Op::SetEndpoint(_, ports) => {
            [&ports.ingress_v4, &ports.ingress_v6, &ports.egress_v4, &ports.egress_v6].into_iter().all(
                |dispatch| match dispatch {
                    Dispatch::Stack(stack) => {
                        tables.stacks.get(stack).is_some_and(|stack| stack.direction == Direction::Ingress)
                    }
                    Dispatch::ByAddress(_) | Dispatch::Drop => true,
                },
            )
        }
        _ => true,
    })
}

/// Keys and counters of what is open to everyone: TCP ports that a stack allows and no class changes.
fn open_to_everyone(tables: &Tables) -> BTreeSet<(Vec<u8>, String)> {
    let entries = tables.entries.iter().filter_map(|(key, verdict)| {
        let L4Key::Class(port) = key.l4 else { return None };
        let alone = !tables
            .entries
            .keys()
            .any(|other| other.stack == key.stack && other.l4 == key.l4 && other.class != ClassId::ANY);
        let open = key.class == ClassId::ANY
            && alone
            && verdict.outcome == Outcome::Allow
            && tables.paths[&verdict.path].logged.is_empty()
            && tables.stacks[&key.stack].levels == PORTS_ONLY
            && key.stack.0 < 8192;
        let word = u32::from(key.stack.0) << 19 | 1 << 16 | u32::from(port.index);
        open.then(|| (word.to_ne_bytes().to_vec(), format!("path{}.1", verdict.path.0)))
    });
    entries.collect()
}

#[test]
fn after_any_change_nothing_differs_from_what_was_asked_for() {
    let (namespace, mut flat) = open("random");
    let mut client = namespace.run(Client::open).unwrap().unwrap();
    let mut most_open = 0;
    let mut model = Tables::default();
    flat.install(model.clone()).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut done = 0;
    while done < 600 {
        let step = random_step(&mut random, &model);
        // The dispatch of this test leads to one direction's names only.
        if !is_sensible(&model, &step) || step.ops.iter().any(|op| matches!(op, Op::SetEndpoint(..))) {
            continue;
        }
        let applied = flat.apply(&step).unwrap();
        assert!(!applied.regenerated, "{step:?}");
        step.ops.iter().for_each(|op| model.apply(op));
        assert_eq!(flat.tables(), &model);
        let drift = flat.check().unwrap();
        assert!(drift.is_none(), "{step:?}: {drift:#?}");
        let open = client.elements(&TableId::inet("tortie"), "open_l4.1").unwrap().into_iter();
        let open: BTreeSet<_> = open
            .map(|element| match element.value {
                Value::Counter(name) => (element.key, name),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(open, open_to_everyone(&model), "{step:?}");
        most_open = most_open.max(open.len());
        done += 1;
    }
    assert!(most_open > 2, "{most_open} of {:?} {:?}", model.entries.keys(), model.stacks);
    assert_no_drift(&mut flat);
    // And all of it goes again.
    let mut ops: Vec<Op> = model.endpoints.keys().cloned().map(Op::RemoveEndpoint).collect();
    ops.extend(model.stacks.keys().copied().map(Op::RemoveStack));
    ops.extend(model.paths.keys().copied().map(Op::RemovePath));
    ops.extend(model.addresses.keys().copied().map(Op::RemoveAddress));
    ops.extend(model.nets.keys().copied().map(Op::RemoveNet));
    ops.extend(model.l4.keys().copied().map(Op::RemoveL4));
    assert!(ops.len() > 20);
    flat.apply(&step(Phase::Shrink, ops)).unwrap();
    assert_eq!(flat.tables(), &Tables::default());
    assert_no_drift(&mut flat);
}

#[test]
fn endpoints_change_their_stacks_and_addresses_and_nothing_of_the_old_stays() {
    let (namespace, mut flat) = open("endpoints");
    let mut tables = mk_tables();
    flat.install(tables.clone()).unwrap();
    assert_no_drift(&mut flat);
    let mut ports = (*tables.endpoints["cali1"]).clone();
    ports.addresses = ["10.65.0.77".parse().unwrap()].into();
    ports.allowed_sources = ["10.70.0.0/20".parse().unwrap()].into();
    ports.egress_v4 = Dispatch::ByAddress([("10.65.0.77".parse().unwrap(), StackId(3))].into());
    ports.ingress_v6 = Dispatch::Drop;
    for op in [
        Op::SetEndpoint("cali1".into(), Arc::new(ports)),
        Op::RemoveEndpoint("cali2".into()),
        Op::SetEndpoint("calinone".into(), Arc::clone(&tables.endpoints["cali2"])),
    ] {
        flat.apply(&step(Phase::Switch, vec![op.clone()])).unwrap();
        tables.apply(&op);
        assert_eq!(flat.tables(), &tables);
        assert_no_drift(&mut flat);
    }
    let listing = list_ruleset(&namespace);
    assert!(!listing.contains("fd65::1") && !listing.contains("10.65.0.1 "), "{listing}");
    // The interface that was missing comes.
    run(&namespace, "ip", &["link", "set", "cali2", "name", "calinone"]);
    flat.interface_changed("calinone").unwrap();
    assert!(list_ruleset(&namespace).contains("\"calinone\" . 10.65.0.1"));
    assert_no_drift(&mut flat);
}

#[test]
fn what_others_change_is_found_and_repaired() {
    let commands: [&[&str]; 9] = [
        &["delete", "element", "inet", "tortie", "address4.1", "{ 10.65.0.2 }"],
        &["add", "element", "inet", "tortie", "address4.1", "{ 10.9.9.9 : 5 }"],
        &["delete", "element", "inet", "tortie", "egress_stack4.1", "{ * : jump egress_unknown.1 }"],
        &["add", "element", "inet", "tortie", "net4.1", "{ 10.8.0.0/16 : 5 }"],
        &["insert", "rule", "inet", "tortie", "ingress1.1", "return"],
        &["flush", "chain", "inet", "tortie", "forward"],
        &["add", "chain", "inet", "tortie", "more.1"],
        &["add", "counter", "inet", "tortie", "path9.1"],
        &["delete", "table", "inet", "tortie"],
    ];
    for command in commands {
        let (namespace, mut flat) = open("drift");
        flat.install(mk_tables()).unwrap();
        let mut monitor = namespace.run(|| flat.monitor()).unwrap().unwrap();
        run(&namespace, "nft", command);
        let heard = monitor.poll().unwrap();
        let gone = command[..2] == ["delete", "table"];
        assert_eq!(heard, Some(if gone { ForeignChange::TableDeleted } else { ForeignChange::Edited }));
        assert!(!flat.check().unwrap().is_none(), "{command:?}");
        let mut cursor = Cursor::default();
        let mut found = 0;
        loop {
            let Ok(drift) = flat.check_slice(&mut cursor, 3) else {
                found += 1;
                break;
            };
            found += drift.missing + drift.different + drift.surplus;
            if cursor == Cursor::default() {
                break;
            }
        }
        assert!(found > 0, "{command:?} in slices");
        flat.repair().unwrap();
        retire(&mut flat);
        assert_no_drift(&mut flat);
        assert_eq!(monitor.poll().unwrap(), None);
    }
}

#[test]
fn a_step_on_a_table_that_others_removed_installs_it_anew() {
    let (namespace, mut flat) = open("flush");
    let mut tables = mk_tables();
    flat.install(tables.clone()).unwrap();
    run(&namespace, "nft", &["flush", "ruleset"]);
    let op = Op::SetAddress("10.65.0.50".parse().unwrap(), ClassId(7));
    let applied = flat.apply(&step(Phase::Grow, vec![op.clone()])).unwrap();
    assert!(applied.regenerated);
    tables.apply(&op);
    assert_eq!(flat.tables(), &tables);
    assert_no_drift(&mut flat);
}

#[test]
fn an_owned_table_is_not_flushed_by_others() {
    let (namespace, mut flat) = open_with("owned", Settings::default());
    assert!(flat.is_owned(), "kernel 6.9 and later; the fallback is what the other tests force");
    flat.install(mk_tables()).unwrap();
    run(&namespace, "nft", &["flush", "ruleset"]);
    assert_no_drift(&mut flat);
}

#[test]
fn the_next_process_leaves_the_table_judging_until_its_own_generation_stands() {
    for owned in [Ownership::IfAvailable, Ownership::Never] {
        let settings = Settings { owned, ..Settings::default() };
        let (namespace, mut first) = open_with("restart", settings.clone());
        first.install(mk_tables()).unwrap();
        drop(first);
        let before = list_ruleset(&namespace);
        let mut second = namespace.run(|| Flat::open(settings).unwrap()).unwrap();
        assert_eq!(second.install_closed().unwrap(), Closed::Judging);
        let words = |listing: &str| -> Vec<String> {
            let mut words: Vec<String> = listing.split_whitespace().map(String::from).collect();
            words.retain(|word| !["flags", "owner", "#", "progname", "kernel"].contains(&word.as_str()));
            words.sort();
            words
        };
        let after = list_ruleset(&namespace);
        assert!(words(&after).len() >= words(&before).len());
        assert!(after.contains("goto workload.1") && after.contains("chain ingress1.1"));
        second.install(mk_tables()).unwrap();
        retire(&mut second);
        let after = list_ruleset(&namespace);
        assert!(after.contains("goto workload.2") && !after.contains("judge.1"), "{after}");
        assert_no_drift(&mut second);
    }
}

#[test]
fn a_full_map_grows_by_a_new_generation_and_counts_go_on() {
    let wiring = Wiring::new("grow", 2);
    let [a, b] = &wiring.pods[..] else { panic!("two pods") };
    let settings = Settings { smallest_map: 16, ..Settings::default() };
    let mut flat = wiring.router.run(|| Flat::open(settings).unwrap()).unwrap();
    flat.install(mk_open_tables(&wiring)).unwrap();
    let (mut sender, mut catcher) = (Sender::open(&a.namespace), Catcher::open(&b.namespace));
    let mut sent = 0;
    let mut regenerated = 0;
    for round in 0..8u8 {
        let number = sender.send(&Packet::new(a.v4, b.v4, Body::Udp(SENTINEL)));
        catcher.until(number);
        sent += 1;
        let ops =
            (0..32u8).map(|low| Op::SetAddress(IpAddr::from([10, 99, round, low]), ClassId(3))).collect();
        regenerated += u32::from(flat.apply(&step(Phase::Grow, ops)).unwrap().regenerated);
        assert_eq!(flat.counts().unwrap()[&PathId(2)].packets, sent);
        if round % 2 == 0 {
            retire(&mut flat);
            assert_eq!(flat.counts().unwrap()[&PathId(2)].packets, sent);
        }
    }
    assert!((2..=6).contains(&regenerated), "{regenerated}");
    retire(&mut flat);
    assert_no_drift(&mut flat);
    // A path that goes says what it counted in all its generations.
    let ops = vec![
        Op::AddPath(PathId(5), mk_path(5, false)),
        Op::AddStack(StackId(5), mk_stack(Direction::Ingress, Family::V4, allow(5))),
        Op::SetEndpoint("cali2".into(), mk_endpoint(&[b.v4, b.v6], (5, 4), (1, 3))),
    ];
    flat.apply(&step(Phase::Switch, ops)).unwrap();
    let applied = flat
        .apply(&step(Phase::Shrink, vec![Op::RemoveStack(StackId(2)), Op::RemovePath(PathId(2))]))
        .unwrap_err();
    assert!(applied.is_drift() || applied.errno().is_some(), "cali1 still leads to stack 2: {applied}");
}

/// Everybody may send to everybody: egress path 1, ingress path 2.
fn mk_open_tables(wiring: &Wiring) -> Tables {
    let mut tables = Tables::default();
    for path in [1, 2] {
        tables.paths.insert(PathId(path), mk_path(path, false));
    }
    for (id, direction, family, verdict) in [
        (1, Direction::Egress, Family::V4, allow(1)),
        (2, Direction::Ingress, Family::V4, allow(2)),
        (3, Direction::Egress, Family::V6, allow(1)),
        (4, Direction::Ingress, Family::V6, allow(2)),
    ] {
        tables.stacks.insert(StackId(id), mk_stack(direction, family, verdict));
    }
    for pod in &wiring.pods {
        let ports = mk_endpoint(&[pod.v4, pod.v6], (2, 4), (1, 3));
        tables.endpoints.insert(pod.interface.as_str().into(), ports);
    }
    tables
}

/// Sends new flows from pod 1 to pod 2 while `work` runs; what was sent and what came. A sentinel follows each few, and
/// is waited for: a flood would overrun the processor's queue, which all namespaces share.
fn under_traffic(wiring: &Wiring, work: impl FnOnce() + Send) -> (BTreeSet<u16>, BTreeSet<u16>) {
    let [a, b] = &wiring.pods[..] else { panic!("two pods") };
    let mut catcher = Catcher::open(&b.namespace);
    let mut sender = Sender::open(&a.namespace);
    let (mut sent, mut seen) = (BTreeSet::new(), BTreeSet::new());
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        while !working.is_finished() {
            for _ in 0..20 {
                sent.insert(sender.send(&Packet::new(a.v4, b.v4, Body::Udp(9))));
            }
            let sentinel = sender.send(&Packet::new(a.v4, b.v4, Body::Udp(SENTINEL)));
            seen.extend(catcher.until(sentinel));
            // Numbers are given again after 32,768.
            if sent.len() > 20_000 {
                working.join().unwrap();
                return;
            }
        }
    });
    (sent, seen)
}

#[test]
fn switches_of_stack_class_and_generation_lose_no_packet_and_let_none_through() {
    for passes in [true, false] {
        let wiring = Wiring::new("hitless", 2);
        let [a, b] = &wiring.pods[..] else { panic!("two pods") };
        let mut flat = wiring.router.run(|| Flat::open(Settings::default()).unwrap()).unwrap();
        let mut tables = mk_open_tables(&wiring);
        // Two ingress stacks that say the same by different ways; the sentinel may always pass.
        let verdict = if passes { allow(2) } else { deny(2) };
        tables.l4.insert(L4Match::Port { protocol: 17, port: SENTINEL }, l4(17, 1));
        tables.l4.insert(L4Match::Port { protocol: 17, port: 9 }, l4(17, 2));
        for id in [2, 5] {
            let other = if passes { deny(1) } else { allow(1) };
            tables.stacks.insert(StackId(id), mk_stack(Direction::Ingress, Family::V4, other));
            for class in [11, 12] {
                tables.entries.insert(entry(id, ClassId(class), L4Key::Class(l4(17, 2))), verdict);
                tables.entries.insert(entry(id, ClassId(class), L4Key::Class(l4(17, 1))), allow(2));
            }
        }
        tables.addresses.insert(a.v4, ClassId(11));
        flat.install(tables).unwrap();
        let (sent, seen) = under_traffic(&wiring, || {
            for round in 0..300u16 {
                let stack = if round % 2 == 0 { 5 } else { 2 };
                let ports = mk_endpoint(&[b.v4, b.v6], (stack, 4), (1, 3));
                let ops = vec![
                    Op::SetEndpoint("cali2".into(), ports),
                    Op::SetAddress(a.v4, ClassId(11 + round % 2)),
                ];
                flat.apply(&step(Phase::Switch, ops)).unwrap();
                if round % 20 == 0 {
                    flat.repair().unwrap();
                }
                flat.retire().unwrap();
            }
        });
        assert!(sent.len() > 300, "{} packets are too few to tell", sent.len());
        if passes {
            let lost: Vec<_> = sent.difference(&seen).collect();
            assert!(lost.is_empty(), "{} of {} lost", lost.len(), sent.len());
        } else {
            let through: Vec<_> = sent.intersection(&seen).collect();
            assert!(through.is_empty(), "{} of {} let through", through.len(), sent.len());
        }
    }
}

#[test]
fn a_large_generation_goes_in_parts_and_changes_are_made_between_them() {
    let (_namespace, mut flat) = open("parts");
    let mut tables = mk_tables();
    for path in 100..20_100 {
        tables.paths.insert(PathId(path), mk_path(path, false));
    }
    flat.install(tables.clone()).unwrap();
    flat.install(tables).unwrap();
    let mut parts = 0;
    while flat.next_retirement().is_some() {
        if flat.retire().unwrap() > 0 {
            parts += 1;
            let address: IpAddr = format!("10.65.1.{}", parts % 250).parse().unwrap();
            flat.apply(&step(Phase::Switch, vec![Op::SetAddress(address, ClassId(7))])).unwrap();
        }
    }
    // Rules and maps, then counters, some 3,000 at a time.
    assert!((5..20).contains(&parts), "{parts} parts");
    assert!(flat.check().unwrap().is_none());
}
