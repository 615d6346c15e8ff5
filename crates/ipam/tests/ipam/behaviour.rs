//! What users see of address management: choice of pools, limits, borrowing, order, and the messages.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::support::{Memory, START, done, mk_handle, mk_pool, mk_reservations, mk_view};
use ipnet::IpNet;
use serde_json::json;
use tortie_ipam::backend::run_cached;
use tortie_ipam::cache::Cache;
use tortie_ipam::key::Key;
use tortie_ipam::net::Family;
use tortie_ipam::record::{Config, ReservedEnds};
use tortie_ipam::{
    AssignAddress, AutoAssign, AutoAssigned, ChoiceError, Error, Finding, InUse, Labels, Now, Owner, Pool,
    Release, Repair, Sources, Use, View, assign_address, auto_assign, check, choose_pools, claim_range,
    ensure_block, read_settings, release, release_by_handle, release_owner, release_range, utilization,
    write_settings,
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn later(seconds: u64) -> Now {
    Now(START.0 + seconds * 1_000_000_000)
}

fn assign(memory: &Memory, view: &Arc<View>, request: AutoAssign) -> AutoAssigned {
    done(auto_assign(view.clone(), START, request), memory)
}

/// Addresses without prefix of an assignment that must have no error.
fn addresses(got: AutoAssigned) -> Vec<String> {
    assert_eq!(got.error, None);
    got.v4.into_iter().chain(got.v6).flat_map(|one| one.addresses).map(|net| net.addr().to_string()).collect()
}

fn on(host: &str, count: u32) -> AutoAssign {
    AutoAssign { v4: count, ..AutoAssign::workload(host) }
}

fn small_view(pools: Vec<Pool>) -> Arc<View> {
    mk_view(pools, mk_reservations(&[]))
}

#[test]
fn a_released_address_is_the_last_to_be_given_again() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/29", 29, json!({}))]));
    assert_eq!(addresses(assign(&memory, &view, on("node-a", 3))), ["10.0.0.0", "10.0.0.1", "10.0.0.2"]);
    let releases = vec![Release::address("10.0.0.1".parse().unwrap())];
    assert_eq!(done(release(view.clone(), START, releases), &memory).error, None);
    let rest = ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.1"];
    assert_eq!(addresses(assign(&memory, &view, on("node-a", 6))), rest);
}

#[test]
fn pools_are_chosen_by_node_namespace_use_and_mode() {
    let view = small_view(vec![
        mk_pool("a-disabled", "10.1.0.0/24", 26, json!({ "disabled": true })),
        mk_pool("b-manual", "10.2.0.0/24", 26, json!({ "assignmentMode": "Manual" })),
        mk_pool("c-rack-b", "10.3.0.0/24", 26, json!({ "nodeSelector": "rack == 'b'" })),
        mk_pool("d-blue", "10.4.0.0/24", 26, json!({ "namespaceSelector": "team == 'blue'" })),
        mk_pool("e-tunnel", "10.5.0.0/24", 26, json!({ "allowedUses": ["Tunnel"] })),
        mk_pool("f-any", "10.6.0.0/24", 26, json!({})),
    ]);
    let blue = Labels::from([("team".to_owned(), "blue".to_owned())]);
    let tunnel = |host| AutoAssign { intended_use: Use::Tunnel, ..on(host, 1) };
    let pools = |request: AutoAssign, nets: &[&str]| AutoAssign {
        v4_pools: nets.iter().map(|text| net(text)).collect(),
        ..request
    };
    let table = [
        ("others' selectors don't match", on("node-a", 1), "10.6."),
        ("the first by name that selects the node", on("node-b", 1), "10.3."),
        ("the namespace's", AutoAssign { namespace_labels: blue, ..on("node-a", 1) }, "10.4."),
        ("a tunnel's", tunnel("node-a"), "10.5."),
        ("asked for, in spite of its selectors", pools(on("node-a", 1), &["10.4.0.0/24"]), "10.4."),
        ("asked for, in spite of its mode", pools(on("node-a", 1), &["10.2.0.0/24"]), "10.2."),
        ("the first that is asked for", pools(on("node-c", 1), &["10.6.0.0/24", "10.3.0.0/24"]), "10.6."),
    ];
    for (what, request, prefix) in table {
        let got = addresses(assign(&Memory::default(), &view, request));
        assert!(got[0].starts_with(prefix), "{what}: {got:?}");
    }
}

#[test]
fn errors_are_calicos() {
    let pools = || {
        vec![
            mk_pool(
                "p",
                "10.0.0.0/24",
                26,
                json!({ "nodeSelector": "rack == 'b'", "allowedUses": ["Workload"] }),
            ),
            mk_pool("q", "10.1.0.0/24", 26, json!({ "disabled": true })),
        ]
    };
    let view = small_view(pools());
    let six = AutoAssign { v4: 0, v6: 1, ..AutoAssign::workload("node-b") };
    let asked = |text: &str| AutoAssign { v4_pools: vec![net(text)], ..on("node-b", 1) };
    let tunnel = AutoAssign { intended_use: Use::Tunnel, ..on("node-b", 1) };
    let table = [
        (on("node-x", 1), "resource does not exist: Node(node-x) with error: <nil>"),
        (on("node-a", 1), "no configured Calico pools for node node-a"),
        (six, "cannot find a qualified ippool"),
        (asked("10.1.0.0/24"), "the given pool (10.1.0.0/24) does not exist, or is not enabled"),
        (asked("10.9.0.0/24"), "the given pool (10.9.0.0/24) does not exist, or is not enabled"),
        (asked("fd00::/64"), "provided IPv4 IPPools list contains one or more IPv6 IPPools"),
        (tunnel, "cannot find a qualified ippool, no pools match the required use (Tunnel)"),
    ];
    for (request, message) in table {
        let memory = Memory::default();
        let got = assign(&memory, &view, request);
        assert_eq!(got.error.unwrap().to_string(), message);
        assert_eq!(memory.json().len(), 0, "nothing was written");
    }
    let memory = Memory::default();
    let given = |address: &str, intended_use| AssignAddress {
        address: address.parse().unwrap(),
        host: "node-b".to_owned(),
        handle: None,
        attributes: Default::default(),
        intended_use,
        ends: None,
    };
    let outside = assign_address(view.clone(), START, given("10.1.0.1", None));
    assert_eq!(
        done(outside, &memory).unwrap_err().to_string(),
        "The provided IP address is not in a configured pool\n"
    );
    let unfit = assign_address(view, START, given("10.0.0.1", Some(Use::Tunnel)));
    assert!(matches!(done(unfit, &memory), Err(Error::UseNotAllowed { .. })));
}

#[test]
fn a_host_gets_twenty_blocks_and_then_an_error_with_what_there_was() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/24", 30, json!({}))]));
    let got = assign(&memory, &view, on("node-a", 100));
    assert_eq!(got.error, Some(Error::BlockLimit));
    assert_eq!(got.error.unwrap().to_string(), "cannot allocate new block due to per host block limit");
    let got = got.v4.unwrap();
    assert_eq!(got.addresses.len(), 80);
    assert_eq!(
        got.shortage().unwrap(),
        "Assigned 80 out of 100 requested IPv4 addresses; Need to allocate an IPAM block but could not - limit of 20 \
         blocks reached for this node"
    );
    let fewer = AutoAssign { max_blocks: 1, ..on("node-b", 5) };
    assert_eq!(assign(&memory, &view, fewer).v4.unwrap().addresses.len(), 4);
}

#[test]
fn a_full_pool_gives_what_it_has_and_says_so() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/30", 31, json!({}))]));
    let got = assign(&memory, &view, on("node-a", 6));
    assert_eq!(got.error, None);
    let got = got.v4.unwrap();
    assert_eq!(got.addresses.len(), 4);
    let want = "Assigned 4 out of 6 requested IPv4 addresses; No IPs available in pools: [10.0.0.0/30]";
    assert_eq!(got.shortage().unwrap(), want);
}

#[test]
fn a_host_borrows_unless_affinity_is_strict() {
    let view = small_view(vec![mk_pool("p", "10.0.0.0/30", 30, json!({}))]);
    for (strict, want) in [(false, 1), (true, 0)] {
        let memory = Memory::default();
        let settings = Config { strict_affinity: strict, ..Config::default() };
        done(write_settings(settings), &memory).unwrap();
        addresses(assign(&memory, &view, on("node-a", 1)));
        let got = assign(&memory, &view, on("node-b", 1)).v4.unwrap();
        assert_eq!(got.addresses.len(), want);
        let said = [vec![], vec!["No more free affine blocks and strict affinity enabled".to_owned()]];
        assert_eq!(got.messages, said[usize::from(strict)]);
    }
}

#[test]
fn no_block_is_claimed_where_the_settings_forbid_it() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/24", 30, json!({}))]));
    let settings = Config { strict_affinity: true, auto_allocate_blocks: false, ..Config::default() };
    done(write_settings(settings.clone()), &memory).unwrap();
    assert_eq!(done(read_settings(), &memory), settings);
    assert_eq!(assign(&memory, &view, on("node-a", 1)).error, Some(Error::NoBlock));
    let claimed = claim_range(view.clone(), START, net("10.0.0.0/29"), Owner::host("node-a"));
    assert_eq!(done(claimed, &memory).unwrap().claimed, [net("10.0.0.0/30"), net("10.0.0.4/30")]);
    assert_eq!(addresses(assign(&memory, &view, on("node-a", 1))), ["10.0.0.0"]);
    let faults = [
        (Config { auto_allocate_blocks: false, ..Config::default() }, Error::NoWayToAssign),
        (Config { max_blocks_per_host: 3, ..Config::default() }, Error::LimitNeedsStrictAffinity),
    ];
    for (settings, fault) in faults {
        assert_eq!(done(write_settings(settings), &memory), Err(fault));
    }
}

#[test]
fn reserved_addresses_are_not_given_by_themselves_but_on_request() {
    let pools = vec![mk_pool("p", "10.0.0.0/29", 30, json!({}))];
    let view = mk_view(pools, mk_reservations(&["10.0.0.0/30", "10.0.0.5"]));
    let memory = Memory::default();
    assert_eq!(addresses(assign(&memory, &view, on("node-a", 8))), ["10.0.0.4", "10.0.0.6", "10.0.0.7"]);
    let wanted = AssignAddress {
        address: "10.0.0.5".parse().unwrap(),
        host: "node-a".to_owned(),
        handle: None,
        attributes: Default::default(),
        intended_use: Some(Use::Workload),
        ends: None,
    };
    assert_eq!(done(assign_address(view.clone(), START, wanted), &memory), Ok(()));
    let uses = done(utilization(view), &memory);
    assert_eq!(uses.len(), 1);
    let block = &uses[0].blocks[0];
    assert_eq!((block.cidr, block.capacity, block.free, block.reserved), (net("10.0.0.4/30"), 4, 0, 0));
}

#[test]
fn a_released_address_cools_down_for_as_long_as_the_settings_say() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/31", 31, json!({}))]));
    done(write_settings(Config { ip_cooldown_seconds: 30, ..Config::default() }), &memory).unwrap();
    let request = AutoAssign { handle: Some(mk_handle("h")), ..on("node-a", 2) };
    addresses(assign(&memory, &view, request));
    done(release_by_handle(view.clone(), START, mk_handle("h")), &memory).unwrap();
    let get = |seconds| {
        done(auto_assign(view.clone(), later(seconds), on("node-a", 1)), &memory).v4.unwrap().addresses
    };
    assert_eq!(get(29), []);
    let again = Release::address("10.0.0.0".parse().unwrap());
    let released = done(release(view.clone(), START, vec![again]), &memory);
    assert_eq!(released.unallocated, ["10.0.0.0".parse::<IpAddr>().unwrap()], "it is released already");
    assert_eq!(get(30), [net("10.0.0.0/31").trunc()]);
    assert_eq!(done(check(view.clone(), later(31), None, Repair::Report), &memory), Ok(vec![]));
}

#[test]
fn reserved_ends_are_taken_in_new_blocks_without_a_handle_object() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/24", 29, json!({}))]));
    let ends = ReservedEnds {
        start: 3,
        end: 1,
        handle: "windows-reserved-ipam-handle".to_owned(),
        note: "windows host rsvd".to_owned(),
    };
    let request = AutoAssign { v4_ends: Some(ends), ..on("node-a", 5) };
    let ensured = done(ensure_block(view.clone(), START, request.clone()), &memory).unwrap();
    let block = ensured.v4.unwrap();
    assert_eq!(ensured.v6, None);
    let got = assign(&memory, &view, request).v4.unwrap().addresses;
    let of_block = got.iter().filter(|address| block.contains(*address)).count();
    assert_eq!((got.len(), of_block), (5, 4), "4 of 8 addresses of a block can be given");
    assert_eq!(memory.json().keys().filter(|key| key.contains("/handle/")).count(), 0);
    let nothing = done(ensure_block(view.clone(), START, on("node-b", 1)), &memory).unwrap();
    assert_eq!(nothing.v4, None, "without reserved ends it does nothing");
    assert_eq!(done(check(view, START, None, Repair::Report), &memory), Ok(vec![]));
}

#[test]
fn an_empty_block_is_taken_over_after_a_minute() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/30", 32, json!({}))]));
    for handle in ["1", "2", "3", "4"] {
        addresses(assign(&memory, &view, AutoAssign { handle: Some(mk_handle(handle)), ..on("node-a", 1) }));
    }
    done(release_by_handle(view.clone(), START, mk_handle("3")), &memory).unwrap();
    let owners = |memory: &Memory| memory.json().keys().filter(|key| key.contains("/host/node-b/")).count();
    let borrowed = done(auto_assign(view.clone(), later(59), on("node-b", 1)), &memory);
    assert_eq!((addresses(borrowed).len(), owners(&memory)), (1, 0), "younger: borrowed");
    done(release_by_handle(view.clone(), START, mk_handle("4")), &memory).unwrap();
    let taken = done(auto_assign(view.clone(), later(60), on("node-b", 1)), &memory);
    assert_eq!((addresses(taken).len(), owners(&memory)), (1, 1), "older: taken over");
    assert_eq!(done(check(view, START, None, Repair::Report), &memory), Ok(vec![]));
}

#[test]
fn a_block_is_given_up_when_its_pool_no_longer_selects_the_host() {
    let memory = Memory::default();
    let view = |selector: &str| {
        small_view(vec![
            mk_pool("p", "10.0.0.0/30", 31, json!({ "nodeSelector": selector })),
            mk_pool("q", "10.1.0.0/30", 31, json!({})),
        ])
    };
    let with = |handle: &str| AutoAssign { handle: Some(mk_handle(handle)), ..on("node-a", 1) };
    addresses(assign(&memory, &view("all()"), with("one")));
    done(release_by_handle(view("rack == 'b'"), START, mk_handle("one")), &memory).unwrap();
    assert_eq!(memory.json().len(), 0, "block, claim and handle are gone");
    addresses(assign(&memory, &view("all()"), with("two")));
    done(release_by_handle(view("all()"), START, mk_handle("two")), &memory).unwrap();
    assert_eq!(addresses(assign(&memory, &view("rack == 'b'"), with("three")))[0], "10.1.0.2");
    assert_eq!(memory.json().keys().filter(|key| key.contains("10.0.0.")).count(), 0, "given up by the way");
}

#[test]
fn a_removed_host_leaves_blocks_in_use_to_nobody() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/29", 30, json!({}))]));
    let request = AutoAssign { handle: Some(mk_handle("h")), ..on("node-a", 1) };
    addresses(assign(&memory, &view, request));
    let range = release_range(view.clone(), net("10.0.0.0/29"), Owner::host("node-a"), InUse::Keep);
    assert!(matches!(done(range, &memory), Err(Error::BlockNotEmpty(_))));
    done(release_owner(Owner::host("node-a"), InUse::GiveUp), &memory).unwrap();
    let uses = done(utilization(view.clone()), &memory);
    assert_eq!((uses[0].blocks.len(), &uses[0].blocks[0].owner), (1, &None));
    done(release_by_handle(view.clone(), START, mk_handle("h")), &memory).unwrap();
    assert_eq!(memory.json().len(), 0, "nobody's empty block is deleted");
    let small = release_range(view.clone(), net("10.0.0.0/31"), Owner::host("node-a"), InUse::Keep);
    assert_eq!(
        done(small, &memory).unwrap_err().to_string(),
        "The requested CIDR (10.0.0.0/31) is smaller than the minimum."
    );
}

#[test]
fn a_check_names_addresses_whose_user_is_gone() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/29", 30, json!({}))]));
    for handle in ["alive", "gone"] {
        addresses(assign(&memory, &view, AutoAssign { handle: Some(mk_handle(handle)), ..on("node-a", 1) }));
    }
    let in_use = BTreeSet::from([mk_handle("alive")]);
    let findings = done(check(view.clone(), START, Some(in_use), Repair::Settle), &memory).unwrap();
    let leaked = Finding::Leaked { address: "10.0.0.5".parse().unwrap(), handle: mk_handle("gone") };
    assert_eq!(findings, [leaked]);
    let unpooled = small_view(vec![mk_pool("q", "10.9.0.0/24", 30, json!({}))]);
    let findings = done(check(unpooled.clone(), START, None, Repair::Report), &memory).unwrap();
    assert_eq!(findings, [Finding::BlockWithoutPool(net("10.0.0.4/30"))]);
    let stranded =
        vec![Release::address("10.0.0.5".parse().unwrap()), Release::address("10.0.0.9".parse().unwrap())];
    let released = done(release(unpooled, START, stranded), &memory);
    assert_eq!(released.released.len(), 1, "a block without pool is found by looking at all");
    assert_eq!(released.unallocated, ["10.0.0.9".parse::<IpAddr>().unwrap()]);
}

#[test]
fn fields_that_are_not_known_are_kept() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/29", 30, json!({}))]));
    addresses(assign(&memory, &view, AutoAssign { handle: Some(mk_handle("h")), ..on("node-a", 1) }));
    for (key, mut value) in memory.json() {
        value["newer"] = json!({ "field": 1 });
        if let Some(attributes) = value.get_mut("attributes") {
            attributes[0]["newer"] = json!(2);
        }
        memory.put(&key, &value);
    }
    addresses(assign(&memory, &view, AutoAssign { handle: Some(mk_handle("h")), ..on("node-a", 1) }));
    for (key, value) in memory.json() {
        assert_eq!(value["newer"], json!({ "field": 1 }), "{key}");
        if let Some(attributes) = value.get("attributes") {
            assert_eq!(attributes[0]["newer"], json!(2), "{key}");
        }
    }
}

#[test]
fn with_a_memory_an_address_costs_two_writes_and_no_read() {
    let (memory, view) = (Memory::default(), small_view(vec![mk_pool("p", "10.0.0.0/16", 26, json!({}))]));
    let mut cache = Cache::new();
    for pod in 0..200 {
        memory.reset_counts();
        let handle = Some(mk_handle(&format!("net.{pod}")));
        let machine = auto_assign(view.clone(), START, AutoAssign { handle, ..on("node-a", 1) });
        let got = run_cached(machine, &memory, &mut cache).unwrap();
        assert_eq!(addresses(got).len(), 1);
        if pod % 64 != 0 {
            assert_eq!((memory.reads.get(), memory.lists.get(), memory.writes.get()), (0, 0, 2), "pod {pod}");
        }
    }
    // Somebody else frees an address of the first block; memory believes all three are full but for the last.
    let freed: IpAddr = done(tortie_ipam::addresses_of_handle(mk_handle("net.0")), &memory).unwrap()[0];
    done(release(view.clone(), START, vec![Release::address(freed)]), &memory);
    let fill = auto_assign(view.clone(), START, on("node-a", 4 * 64 - 200));
    run_cached(fill, &memory, &mut cache).unwrap();
    let one = run_cached(auto_assign(view.clone(), START, on("node-a", 1)), &memory, &mut cache).unwrap();
    assert_eq!(addresses(one), [freed.to_string()], "before a new block is claimed the store is asked");
    cache.forget(&Key::Config);
    cache.clear();
}

#[test]
fn a_pods_pools_are_its_own_then_its_namespaces_then_the_networks() {
    let view = small_view(vec![mk_pool("named", "10.0.0.0/24", 26, json!({}))]);
    let annotated = |text: &str| [("cni.projectcalico.org/ipv4pools".to_owned(), text.to_owned())].into();
    let (none, pod, namespace) = (Labels::new(), annotated(r#"["named"]"#), annotated(r#"["10.1.0.0/24"]"#));
    let configuration = ["10.2.0.0/24".to_owned()];
    let choose = |pod: &Labels, namespace: &Labels| {
        choose_pools(&view, Family::V4, Sources { pod, namespace, configuration: &configuration })
    };
    assert_eq!(choose(&pod, &namespace), Ok(vec![net("10.0.0.0/24")]));
    assert_eq!(choose(&none, &namespace), Ok(vec![net("10.1.0.0/24")]));
    assert_eq!(choose(&none, &none), Ok(vec![net("10.2.0.0/24")]));
    assert!(matches!(choose(&annotated("named"), &none), Err(ChoiceError::Annotation { .. })));
    assert_eq!(
        choose(&annotated(r#"["nameless"]"#), &none),
        Err(ChoiceError::Unknown("nameless".to_owned()))
    );
    assert!(matches!(choose(&annotated(r#"["fd00::/64"]"#), &none), Err(ChoiceError::Family { .. })));
}
