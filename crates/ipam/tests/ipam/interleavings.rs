//! All interleavings of two operations on a pool of two blocks of four addresses, and a crash of either at each step: no
//! address is given twice, and what a crash leaves behind a release by the same handle or a check gets back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::explore::{Crashes, Operation, State, Status, Store, Way, explore};
use crate::support::{START, mk_handle, mk_pool, mk_reservations, mk_view};
use serde_json::json;
use tortie_ipam::cache::Cache;
use tortie_ipam::key::Key;
use tortie_ipam::machine::{Machine, Request, Step};
use tortie_ipam::record::{Config, Record};
use tortie_ipam::{
    AssignAddress, AutoAssign, AutoAssigned, Error, Finding, HandleId, InUse, Now, Owner, Release, Repair,
    View, assign_address, auto_assign, check, net, release, release_by_handle, release_owner, write_settings,
};

/// What an operation says at its end.
#[derive(Debug, Clone)]
enum Said {
    /// It has these addresses under this handle.
    Has(HandleId, Vec<IpAddr>),
    /// The handle has nothing.
    Released,
    /// It did nothing.
    Failed,
    /// Several that shared a transaction.
    All(Vec<Said>),
}

fn view() -> Arc<View> {
    mk_view(vec![mk_pool("tiny", "10.20.0.0/29", 30, json!({}))], mk_reservations(&[]))
}

fn mk_request(host: &str, handle: &str, count: u32) -> AutoAssign {
    AutoAssign { v4: count, handle: Some(mk_handle(handle)), ..AutoAssign::workload(host) }
}

/// Addresses are given under the handle that is their attribute `for`, so that the result can name it.
fn assigns(host: &str, handle: &str, count: u32) -> Operation<Said> {
    let mut request = mk_request(host, handle, count);
    request.attributes = BTreeMap::from([("host".to_owned(), host.to_owned())]);
    let id = mk_handle(handle);
    let begin = move || auto_assign(view(), START, request.clone());
    match id.as_str() {
        "one" => Operation::new(begin, |got| has("one", got)),
        "two" => Operation::new(begin, |got| has("two", got)),
        other => panic!("no handle {other}"),
    }
}

fn has(handle: &str, got: AutoAssigned) -> Said {
    assert_eq!(got.error, None);
    let addresses = got.v4.unwrap().addresses;
    Said::Has(mk_handle(handle), addresses.into_iter().map(|address| address.addr()).collect())
}

fn releases(handle: &str) -> Operation<Said> {
    let id = mk_handle(handle);
    Operation::new(
        move || release_by_handle(view(), START, id.clone()),
        |result| match result {
            Ok(()) => Said::Released,
            Err(Error::DoesNotExist { .. } | Error::Retries) => Said::Failed,
            Err(other) => panic!("{other}"),
        },
    )
}

/// All assignments in the store.
fn held(store: &Store) -> BTreeMap<IpAddr, HandleId> {
    let mut held = BTreeMap::new();
    for (record, _) in store.live.values() {
        let Record::Block(block) = record else { continue };
        let mut free = BTreeSet::new();
        for ordinal in &block.unallocated {
            assert!(free.insert(*ordinal), "{} is free twice in {}", ordinal, block.cidr);
        }
        for ordinal in 0..net::size(&block.cidr) {
            let taken = block.allocations[ordinal as usize].is_some();
            assert_ne!(taken, free.contains(&ordinal), "{ordinal} of {} is either taken or free", block.cidr);
            if let Some(holder) = block.holder(ordinal) {
                held.insert(net::nth(&block.cidr, ordinal), holder.handle().unwrap());
            }
        }
    }
    held
}

/// Whether an operation may take away what the other was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handles {
    Different,
    Same,
}

/// The addresses that an operation says it has.
fn all_given(status: &Status<Said>) -> Vec<(HandleId, IpAddr)> {
    fn given(said: &Said) -> Vec<(HandleId, IpAddr)> {
        match said {
            Said::Has(handle, addresses) => addresses.iter().map(|one| (handle.clone(), *one)).collect(),
            Said::All(all) => all.iter().flat_map(given).collect(),
            Said::Released | Said::Failed => Vec::new(),
        }
    }
    if let Status::Finished(said) = status { given(said) } else { Vec::new() }
}

/// What holds at each end of two operations, with or without a crash.
fn judge(end: &State<Said>, handles: Handles) {
    let before = held(&end.store);
    let mut given = BTreeSet::new();
    for (handle, address) in end.status.iter().flat_map(all_given) {
        assert!(given.insert(address), "{address} was given twice: {:?}", end.status);
        if handles == Handles::Different {
            assert_eq!(before.get(&address), Some(&handle), "{address} is stored under its handle");
        }
    }
    let crashed = end.status.iter().any(|status| matches!(status, Status::Crashed));
    let mut store = end.store.clone();
    let findings = store.run(check(view(), START, None, Repair::Settle)).unwrap();
    if !crashed {
        let counted_too_many = |one: &Finding| matches!(one, Finding::Counts { counted, held, .. } if *counted >= i64::from(*held));
        assert!(findings.iter().all(counted_too_many), "without a crash all records agree: {findings:?}");
    }
    for finding in &findings {
        if let Finding::Counts { counted, held, .. } = finding {
            assert!(*counted >= i64::from(*held), "a handle never counts too few: {finding:?}");
        }
    }
    assert_eq!(held(&store), before, "a check takes no address away");
    let again = store.run(check(view(), START, None, Repair::Report)).unwrap();
    assert_eq!(again, [], "a check puts everything right at once, after {findings:?}");
    // The user of a crashed operation is gone or tries again: both begin with a release by handle.
    for handle in ["one", "two"] {
        let mut store = end.store.clone();
        let id = mk_handle(handle);
        let known = store.live.contains_key(&Key::Handle(id.clone()));
        let result = store.run(release_by_handle(view(), START, id.clone()));
        assert_eq!(result.is_ok(), known, "release by {handle}");
        assert!(!held(&store).values().any(|holder| *holder == id), "nothing is left under {handle}");
        assert!(!store.live.contains_key(&Key::Handle(id)), "the handle is gone");
        everything_can_be_given(store);
    }
    everything_can_be_given(end.store.clone());
}

/// Two hosts together get all addresses that nobody has.
fn everything_can_be_given(mut store: Store) {
    let later = Now(START.0 + 120_000_000_000);
    let had = held(&store).len();
    let mut got = 0;
    for host in ["node-a", "node-b"] {
        let result = store.run(auto_assign(view(), later, mk_request(host, "three", 8)));
        assert_eq!(result.error, None);
        got += result.v4.unwrap().addresses.len();
    }
    assert_eq!(had + got, 8, "no address is lost");
}

fn try_all(name: &str, store: &Store, operations: [Operation<Said>; 2]) {
    try_with(name, store, operations, Handles::Different);
}

/// Each with its requests one by one, and with all its writes in a transaction.
fn try_with(name: &str, store: &Store, mut operations: [Operation<Said>; 2], handles: Handles) {
    for first in operations[0].ways() {
        for second in operations[1].ways() {
            operations[0].way = *first;
            operations[1].way = *second;
            let tried = explore(store, &operations, Crashes::Everywhere, |end| judge(end, handles));
            println!("{name}, {first:?} and {second:?}: {tried:?}");
            let least = if (first, second) == (&Way::Singly, &Way::Singly) { 5 } else { 2 };
            assert!(tried.crashes > 2 * least && tried.ends > least, "{name}: {tried:?}");
        }
    }
}

fn after<T>(machines: impl IntoIterator<Item = Machine<T>>) -> Store {
    let mut store = Store::default();
    for machine in machines {
        store.run(machine);
    }
    store
}

#[test]
fn two_hosts_that_begin_in_an_empty_pool() {
    try_all("empty pool", &Store::default(), [assigns("node-a", "one", 1), assigns("node-b", "two", 1)]);
}

#[test]
fn two_pods_that_begin_on_one_host() {
    try_all("one host", &Store::default(), [assigns("node-a", "one", 1), assigns("node-a", "two", 1)]);
    // The one's new block is full before he has an address of it.
    try_all("last of a block", &Store::default(), [assigns("node-a", "one", 1), assigns("node-a", "two", 4)]);
}

#[test]
fn two_pods_of_a_host_that_has_a_block() {
    let store = after([auto_assign(view(), START, mk_request("node-a", "zero", 1))]);
    try_all("own block", &store, [assigns("node-a", "one", 1), assigns("node-a", "two", 2)]);
}

#[test]
fn two_hosts_that_want_more_than_there_is() {
    try_all("contended", &Store::default(), [assigns("node-a", "one", 5), assigns("node-b", "two", 5)]);
}

#[test]
fn a_host_that_borrows_while_the_owner_assigns() {
    let store = after(
        [("node-a", 3), ("node-b", 3)]
            .map(|(host, n)| auto_assign(view(), START, mk_request(host, "zero", n))),
    );
    try_all("borrow", &store, [assigns("node-a", "one", 2), assigns("node-b", "two", 1)]);
}

#[test]
fn an_assignment_while_another_pod_leaves() {
    let store = after([auto_assign(view(), START, mk_request("node-a", "two", 4))]);
    try_all("leave", &store, [assigns("node-a", "one", 1), releases("two")]);
}

#[test]
fn an_assignment_and_a_release_of_the_same_handle() {
    let store = after([auto_assign(view(), START, mk_request("node-a", "one", 2))]);
    try_with("same handle", &store, [assigns("node-a", "one", 1), releases("one")], Handles::Same);
}

#[test]
fn an_address_that_is_released_while_its_handle_changes() {
    let store = after([auto_assign(view(), START, mk_request("node-a", "one", 2))]);
    let address: IpAddr = *held(&store).keys().next().unwrap();
    let frees = || {
        let begin = move || release(view(), START, vec![Release::address(address)]);
        Operation::new(begin, |got| if got.error.is_none() { Said::Released } else { Said::Failed })
    };
    let checks = || {
        let begin = || check(view(), START, None, Repair::Settle);
        Operation::new(begin, |result| result.map_or(Said::Failed, |_| Said::Failed))
    };
    try_with("free and assign", &store, [frees(), assigns("node-a", "one", 1)], Handles::Same);
    try_with("free and release", &store, [frees(), releases("one")], Handles::Same);
    try_with("free twice", &store, [frees(), frees()], Handles::Same);
    try_with("free and check", &store, [frees(), checks()], Handles::Same);
    // A handle that counts too many is corrected by the check.
    let mut store = store;
    let mut machine = auto_assign(view(), START, mk_request("node-b", "one", 1));
    let mut outcome = None;
    for _ in 0..20 {
        let Step::Ask(request) = machine.step(outcome.take()) else { break };
        let counts = matches!(&request, Request::Update { key: Key::Handle(_), .. });
        outcome = Some(store.perform(&request));
        if counts {
            break;
        }
    }
    try_with("free and correct", &store, [frees(), checks()], Handles::Same);
    try_with("release and correct", &store, [releases("one"), checks()], Handles::Same);
}

#[test]
fn two_assignments_under_one_handle() {
    let store = after([auto_assign(view(), START, mk_request("node-a", "zero", 1))]);
    try_with("one handle", &store, [assigns("node-a", "one", 1), assigns("node-b", "one", 1)], Handles::Same);
}

#[test]
fn a_pod_that_leaves_twice() {
    let store = after([auto_assign(view(), START, mk_request("node-a", "one", 2))]);
    try_all("twice", &store, [releases("one"), releases("one")]);
}

#[test]
fn one_address_that_two_ask_for() {
    let asks = |host: &'static str, handle: &'static str| {
        let wanted = AssignAddress {
            address: "10.20.0.5".parse().unwrap(),
            host: host.to_owned(),
            handle: Some(mk_handle(handle)),
            attributes: BTreeMap::new(),
            intended_use: None,
            ends: None,
        };
        let begin = move || assign_address(view(), START, wanted.clone());
        match handle {
            "one" => Operation::new(begin, |result| requested("one", result)),
            _ => Operation::new(begin, |result| requested("two", result)),
        }
    };
    fn requested(handle: &str, result: Result<(), Error>) -> Said {
        match result {
            Ok(()) => Said::Has(mk_handle(handle), vec!["10.20.0.5".parse().unwrap()]),
            Err(Error::Exists { .. }) => Said::Failed,
            Err(other) => panic!("{other}"),
        }
    }
    try_all("requested", &Store::default(), [asks("node-a", "one"), asks("node-b", "two")]);
}

#[test]
fn an_assignment_while_the_host_is_removed() {
    let store = after([auto_assign(view(), START, mk_request("node-a", "zero", 1))]);
    let removes = || {
        Operation::new(
            || release_owner(Owner::host("node-a"), InUse::GiveUp),
            |result| result.map_or(Said::Failed, |()| Said::Failed),
        )
    };
    try_all("host removed", &store, [assigns("node-a", "one", 1), removes()]);
    try_all("fresh host removed", &Store::default(), [assigns("node-a", "one", 1), removes()]);
}

#[test]
fn an_assignment_during_a_check() {
    let checks = || {
        let begin = || check(view(), START, None, Repair::Settle);
        Operation::new(begin, |result| result.map_or(Said::Failed, |_| Said::Failed))
    };
    try_all("check", &Store::default(), [assigns("node-a", "one", 1), checks()]);
    // With something to repair: a crash between handle and block.
    let mut store = Store::default();
    let mut machine = auto_assign(view(), START, mk_request("node-a", "one", 1));
    let mut outcome = None;
    while !store.live.contains_key(&Key::Handle(mk_handle("one"))) {
        let Step::Ask(request) = machine.step(outcome.take()) else { panic!("too late") };
        outcome = Some(store.perform(&request));
    }
    try_all("repair", &store, [assigns("node-a", "one", 1), checks()]);
    try_all("repair and release", &store, [releases("one"), checks()]);
}

#[test]
fn two_hosts_that_reclaim_a_third_ones_empty_block() {
    let early = Now(START.0 - 120_000_000_000);
    let mut store = after([
        auto_assign(view(), early, mk_request("node-c", "zero", 1)),
        auto_assign(view(), early, mk_request("node-a", "four", 4)),
    ]);
    store.run(release_by_handle(view(), early, mk_handle("zero"))).unwrap();
    try_all("reclaim", &store, [assigns("node-a", "one", 1), assigns("node-b", "two", 1)]);
    try_all("reclaim from under", &store, [assigns("node-c", "one", 1), assigns("node-b", "two", 1)]);
}

#[test]
fn strict_hosts_never_borrow() {
    let strict = Config { strict_affinity: true, ..Config::default() };
    let mut store = Store::default();
    store.run(write_settings(strict)).unwrap();
    for (host, handle) in [("node-a", "zero"), ("node-b", "four")] {
        store.run(auto_assign(view(), START, mk_request(host, handle, 1)));
    }
    let operations = [assigns("node-a", "one", 4), assigns("node-b", "two", 4)];
    explore(&store, &operations, Crashes::Everywhere, |end| {
        for (record, _) in end.store.live.values() {
            let Record::Block(block) = record else { continue };
            for attribute in block.attributes.list() {
                let host = attribute.owner.get("host").map(|host| Owner::host(host));
                assert!(host.is_none() || host == block.owner(), "{} is no one else's", block.cidr);
            }
        }
    });
}

#[test]
fn hosts_that_trust_a_stale_memory() {
    // Each host remembers its block as it was after its first pod; since then the other borrowed and pods left.
    let mut store = Store::default();
    let mut memories = [Cache::new(), Cache::new()];
    for (host, handle, memory) in [("node-a", "zero", 0), ("node-b", "four", 1)] {
        let machine = auto_assign(view(), START, mk_request(host, handle, 1));
        store.run_cached(machine, &mut memories[memory]);
    }
    store.run(auto_assign(view(), START, mk_request("node-b", "five", 4)));
    store.run(release_by_handle(view(), START, mk_handle("zero"))).unwrap();
    let [of_a, of_b] = memories;
    let assigns = |cache: &Cache, host: &str, handle: &'static str, count: u32| {
        let request = mk_request(host, handle, count);
        let begin = move || auto_assign(view(), START, request.clone());
        match handle {
            "one" => Operation::remembering(cache.clone(), begin, |got| has("one", got)),
            _ => Operation::remembering(cache.clone(), begin, |got| has("two", got)),
        }
    };
    try_all("memory", &store, [assigns(&of_a, "node-a", "one", 2), assigns(&of_b, "node-b", "two", 1)]);
    try_all("same memory", &store, [assigns(&of_a, "node-a", "one", 1), assigns(&of_a, "node-a", "two", 1)]);
}

/// Two pods of `node-a` at the same time.
fn shares(handles: [&'static str; 2]) -> Operation<Said> {
    let begin = move || handles.map(|handle| auto_assign(view(), START, mk_request("node-a", handle, 1)));
    Operation::together(
        move || begin().into(),
        move |got: Vec<AutoAssigned>| {
            Said::All(handles.into_iter().zip(got).map(|(handle, got)| has(handle, got)).collect())
        },
    )
}

#[test]
fn two_pods_that_share_a_transaction_or_a_wave_against_everything_else() {
    let shared = || shares(["one", "four"]);
    let store = after([auto_assign(view(), START, mk_request("node-a", "two", 2))]);
    let removes = || {
        Operation::new(
            || release_owner(Owner::host("node-a"), InUse::GiveUp),
            |result| result.map_or(Said::Failed, |()| Said::Failed),
        )
    };
    let checks = || {
        let begin = || check(view(), START, None, Repair::Settle);
        Operation::new(begin, |result| result.map_or(Said::Failed, |_| Said::Failed))
    };
    try_all("shared in an empty pool", &Store::default(), [shared(), assigns("node-b", "two", 1)]);
    try_all("shared and borrower", &store, [shared(), assigns("node-b", "two", 5)]);
    try_with("shared and same handle", &store, [shared(), releases("one")], Handles::Same);
    try_all("shared and leaver", &store, [shared(), releases("two")]);
    try_all("shared and removal", &store, [shared(), removes()]);
    try_all("shared and check", &store, [shared(), checks()]);
}

#[test]
fn two_processes_of_a_node_that_both_write_waves() {
    let store = after([auto_assign(view(), START, mk_request("node-a", "zero", 1))]);
    try_all("waves", &store, [shares(["one", "four"]), shares(["two", "five"])]);
    // A handle of both, as of a pod that is tried again while its first attempt still runs.
    try_with("waves of one pod", &store, [shares(["one", "four"]), shares(["one", "five"])], Handles::Same);
}

#[test]
fn without_compare_and_swap_the_same_search_finds_an_address_given_twice() {
    let mut store = after([auto_assign(view(), START, mk_request("node-a", "zero", 1))]);
    store.blind = true;
    for way in [Way::Singly, Way::Together] {
        let mut operations = [assigns("node-a", "one", 1), assigns("node-a", "two", 1)];
        operations.iter_mut().for_each(|operation| operation.way = way);
        let mut twice = 0;
        explore(&store, &operations, Crashes::Never, |end| {
            let given = end.status.each_ref().map(all_given);
            twice += u32::from(given[0][0].1 == given[1][0].1);
        });
        assert!(twice > 0, "{way:?}");
    }
}
