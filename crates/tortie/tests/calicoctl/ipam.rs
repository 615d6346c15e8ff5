//! `ipam` and the cluster's lock, on addresses that were given by address management itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tortie_api::pool::IpPoolSpec;
use tortie_ipam::{AutoAssign, HandleId, Now, Pool, Reservations, View};
use tortie_store::resources::Client;
use tortie_store::{ipam, keys};

use crate::fixture::{Fixture, On, failed, mk_pool, ok};

const NOW: Now = Now(1_800_000_000_000_000_000);

/// One pool, and `count` addresses that `node-a` has, each under a handle of its own.
fn with_addresses(on: On, count: u32, block_size: u8, cidr: &str) -> (Fixture, Client) {
    let fixture = Fixture::on(on);
    let pool = mk_pool("shop", cidr) + &format!("  blockSize: {block_size}\n");
    fixture.must(&["apply", "-f", "-"], &pool);
    let client = Client::new(fixture.store());
    for number in 0..count {
        give(&client, &format!("k8s-pod-network.c{number}"), 1, number);
    }
    (fixture, client)
}

fn give(client: &Client, handle: &str, count: u32, number: u32) {
    let pools = client.list_as::<IpPoolSpec>(None).unwrap();
    let pools = pools.iter().map(|pool| Pool::parse(pool).unwrap()).collect();
    let nodes = BTreeMap::from([("node-a".to_owned(), BTreeMap::new())]);
    let view = Arc::new(View::new(pools, Reservations::default(), nodes));
    let attributes =
        [("node", "node-a".to_owned()), ("namespace", "shop".to_owned()), ("pod", format!("p{number}"))];
    let wanted = AutoAssign {
        v4: count,
        handle: Some(HandleId::new(handle)),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
        max_blocks: 1_000,
        ..AutoAssign::workload("node-a")
    };
    let given = ipam::run(&**client.store(), tortie_ipam::auto_assign(view, NOW, wanted)).unwrap();
    assert_eq!(given.error, None);
    assert_eq!(given.v4.unwrap().addresses.len() as u32, count);
}

fn mk_endpoint(name: &str, address: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\nmetadata: {{name: node--a-cni-{name}-eth0, namespace: shop}}\nspec: {{node: node-a, orchestrator: cni, workload: {name}, endpoint: eth0, interfaceName: cali{name}, ipNetworks: [{address}/32]}}\n"
    )
}

fn pools_and_blocks_are_shown_with_calicoctls_figures(on: On) {
    let (fixture, _) = with_addresses(on, 3, 28, "10.10.0.0/24");
    let head = "\
+----------+----------------+-----------+------------+--------------+-----------+-------------+
| GROUPING | CIDR           | IPS TOTAL | IPS IN USE | IPS RESERVED | IPS FREE  | IPS COOLING |
+----------+----------------+-----------+------------+--------------+-----------+-------------+
";
    let pool =
        "| IP Pool  | 10.10.0.0/24   |       256 |     3 (1%) |       0 (0%) | 253 (99%) |      0 (0%) |\n";
    let block =
        "| Block    | 10.10.0.160/28 |        16 |    3 (19%) |       0 (0%) |  13 (81%) |      0 (0%) |\n";
    let foot =
        "+----------+----------------+-----------+------------+--------------+-----------+-------------+\n";
    assert_eq!(fixture.run(&["ipam", "show", "--show-blocks"]), ok(&[head, pool, block, foot].concat()));
    let alone = fixture.run(&["ipam", "show"]);
    assert!(alone.out.contains("| IP Pool  | 10.10.0.0/24 |       256 |     3 (1%) |"), "{alone:?}");
    assert!(!alone.out.contains("Block"));
    fixture.must(
        &["apply", "-f", "-"],
        "apiVersion: projectcalico.org/v3\nkind: IPReservation\nmetadata: {name: r}\nspec: {reservedCIDRs: [10.10.0.160/30, 10.10.0.0/31, 10.10.0.0/32]}\n",
    );
    let reserved = fixture.run(&["ipam", "show", "--show-blocks"]).out;
    assert!(reserved.contains("256 |     3 (1%) |       6 (2%) | 250 (98%) |"), "{reserved}");
    assert!(reserved.contains(" 16 |    3 (19%) |      4 (25%) |  12 (75%) |"), "{reserved}");
}

fn an_address_is_shown_with_its_user_and_released(on: On) {
    let (fixture, client) = with_addresses(on, 1, 28, "10.10.0.0/24");
    assert_eq!(
        fixture.run(&["ipam", "show", "--ip", "10.10.0.160"]),
        ok(
            "IP 10.10.0.160 is in use\nHandle ID: k8s-pod-network.c0\nActive Owner Attributes:\n  namespace: shop\n  node: node-a\n  pod: p0\n"
        )
    );
    assert_eq!(fixture.run(&["ipam", "show", "--ip=10.10.0.161"]), ok("10.10.0.161 is not assigned\n"));
    assert_eq!(fixture.run(&["ipam", "show", "--ip=10.99.0.1"]), ok("10.99.0.1 is not assigned\n"));
    let invalid = "Error executing command: invalid IP address specified: 10.240.0.300\n";
    assert_eq!(fixture.run(&["ipam", "show", "--ip=10.240.0.300"]), failed(invalid, ""));
    assert_eq!(fixture.run(&["ipam", "release", "--ip=10.240.0.300"]), failed(invalid, ""));
    let release = &["ipam", "release", "--ip=10.10.0.160"];
    assert_eq!(fixture.run(release), ok("Successfully released IP address 10.10.0.160\n"));
    assert_eq!(fixture.run(release), failed("", "IP address 10.10.0.160 is not assigned\n"));
    assert_eq!(client.store().get(&keys::ipam_handle("k8s-pod-network.c0")).unwrap(), None);
}

fn settings_are_shown_and_changed(on: On) {
    let (fixture, client) = with_addresses(on, 0, 28, "10.10.0.0/24");
    let table = "\
+------------------------------+-----------------------------------+
| PROPERTY                     | VALUE                             |
+------------------------------+-----------------------------------+
| StrictAffinity               | false                             |
| AutoAllocateBlocks           | true                              |
| MaxBlocksPerHost             | 0                                 |
| KubeVirtVMAddressPersistence | (*ipam.VMAddressPersistence)(nil) |
| IPCooldownSeconds            | 0                                 |
+------------------------------+-----------------------------------+
";
    assert_eq!(fixture.run(&["ipam", "show", "--show-configuration"]), ok(table));
    for (arguments, expected) in [
        (
            &["--strictaffinity=true", "--max-blocks-per-host=4"][..],
            ok("Successfully set StrictAffinity to: true\nSuccessfully set MaxBlocksPerHost to: 4\n"),
        ),
        (&["--ip-cooldown-seconds", "30"], ok("Successfully set IPCooldownSeconds to: 30\n")),
        (&[], failed("", "at least one configuration option must be specified\n")),
        (&["--strictaffinity=maybe"], failed("", "invalid value. Use true or false to set strictaffinity\n")),
        (&["--max-blocks-per-host=many"], failed("", "invalid value for maxblockhost. Use a valid number\n")),
        (
            &["--kubevirt-ip-persistence=On"],
            failed("", "invalid value for --kubevirt-ip-persistence. Use Enabled or Disabled\n"),
        ),
        (
            &["--strictaffinity=false"],
            failed("", "error: MaxBlocksPerHost requires StrictAffinity to be enabled\n"),
        ),
    ] {
        assert_eq!(fixture.run(&[&["ipam", "configure"], arguments].concat()), expected, "{arguments:?}");
    }
    let stored = client.store().get(keys::IPAM_CONFIG).unwrap().unwrap();
    let stored: Value = serde_json::from_slice(&stored.value).unwrap();
    assert_eq!(
        stored,
        json!({"strict_affinity": true, "auto_allocate_blocks": true, "maxBlocksPerHost": 4, "ipCooldownSeconds": 30})
    );
}

fn a_check_finds_what_is_leaked_and_the_report_releases_it(on: On) {
    let (fixture, client) = with_addresses(on, 3, 28, "10.10.0.0/24");
    let endpoints = mk_endpoint("web", "10.10.0.160")
        + &mk_endpoint("odd", "10.10.0.9")
        + &mk_endpoint("far", "10.77.0.1");
    fixture.must(&["apply", "-f", "-"], &endpoints);
    client
        .store()
        .put(&keys::ipam_handle("gone"), br#"{"block":{"10.10.0.0/28":1},"deleted":false}"#)
        .unwrap();
    let check = fixture.run(&["ipam", "check", "--show-problem-ips", "-o", "report.json"]);
    let expected = "\
Checking IPAM for inconsistencies...

Loading all IPAM blocks...
Found 1 IPAM blocks.
 IPAM block 10.10.0.160/28 affinity=host:node-a:
IPAM blocks record 3 allocations.

Loading all IPAM pools...
  10.10.0.0/24
Found 1 active IP pools.

Loading all nodes.
Found 0 node tunnel IPs.

Loading all service load balancer IPs.
Found 0 service load balancer(s).

Loading all workload endpoints.
Found 3 workload IPs.
Workloads and nodes are using 3 IPs.

Loading all handles
Looking for top (up to 20) nodes by allocations...
  node-a has 3 allocations
Node with most allocations has 3; median is 3

Scanning for IPs that are allocated but not actually in use...
  10.10.0.161 leaked; attrs Main:k8s-pod-network.c1 Extra:namespace=shop,node=node-a,pod=p1
  10.10.0.162 leaked; attrs Main:k8s-pod-network.c2 Extra:namespace=shop,node=node-a,pod=p2
Found 2 IPs that are allocated in IPAM but not actually in use.
Scanning for IPs that are in use by a workload or node but not allocated in IPAM...
  10.10.0.9 in use by Workload(shop/node--a-cni-odd-eth0) and in active IPAM pool but has no IPAM allocation.
  10.77.0.1 in use by Workload(shop/node--a-cni-far-eth0) is not in any active IP pool.
Found 1 in-use IPs that are not in active IP pools.
Found 1 in-use IPs that are in active IP pools but have no corresponding IPAM allocation.

Scanning for IPAM handles with no matching IPs...
Found 1 handles with no matching IPs (and 3 handles with matches).
Scanning for IPs with missing handle...
Found 0 handles mentioned in blocks with no matching handle resource.
Validating IPAMBlock structures...
Found 0 invalid IPAMBlocks.
Check complete; found 5 problems.
";
    assert_eq!(check, ok(expected));
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(fixture.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["allocations"]["10.10.0.161"][0]["inUse"], false);
    assert_eq!(report["allocations"]["10.10.0.161"][0]["owners"], Value::Null);
    assert_eq!(
        report["allocations"]["10.10.0.160"][0]["owners"],
        json!(["Workload(shop/node--a-cni-web-eth0)"])
    );
    assert_eq!(
        (&report["leakedHandles"][0]["ID"], &report["leakedHandles"][0]["UID"]),
        (&json!("gone"), &Value::Null)
    );
    let all = fixture.must(&["ipam", "check", "--show-all-ips"], "");
    for line in [
        "  10.10.0.160 allocated; attrs Main:k8s-pod-network.c0",
        "  10.10.0.160 belongs to Workload(",
        "  gone doesn't have any active IPs.",
    ] {
        assert!(all.contains(line), "{line}: {all}");
    }

    let release =
        |more: &[&str]| fixture.run(&[&["ipam", "release", "--from-report=report.json"], more].concat());
    assert_eq!(
        release(&[]),
        failed("", "data store is not locked. Either lock the data store, or re-run with --force\n")
    );
    // An address that is given anew meanwhile is not released: here all of that block's are left alone.
    let forced = release(&["--force"]);
    assert_eq!(
        forced,
        ok(
            "WARNING: Data store is not locked. Ignoring due to --force option\nReleasing 2 old IPs...\nReleased 2 IPs successfully\nDeleting 1 handles...\nKey: '.' = Deleted OK; 'x' = skip, handle missing/changed.\n.\nReleased 1 handles; 0 skipped; 0 errors.\nYou may now unlock the data store.\n"
        )
    );
    let again = release(&["--force"]);
    assert!(again.out.contains("x\nReleased 0 handles; 1 skipped; 0 errors.\n"), "{again:?}");
    assert_eq!(fixture.run(&["ipam", "show", "--ip=10.10.0.161"]), ok("10.10.0.161 is not assigned\n"));
    assert_eq!(fixture.run(&["datastore", "migrate", "lock"]), ok("Datastore locked.\n"));
    let stale = release(&[]);
    assert!(stale.err.starts_with("the provided reports are all stale - "), "{stale:?}");
    let other = std::fs::read_to_string(fixture.path().join("report.json")).unwrap();
    fixture.file("report.json", &other.replace("\"clusterGUID\": \"", "\"clusterGUID\": \"f"));
    assert_eq!(
        release(&["--force"]),
        failed(
            "",
            "cluster does not match the provided report (report.json): mismatched cluster GUID. Refusing to release\n"
        )
    );
}

fn five_thousand_addresses_are_checked_and_shown_as_borrowed(on: On) {
    let (fixture, client) = with_addresses(on, 0, 26, "10.10.0.0/16");
    for number in 0..5 {
        give(&client, &format!("h{number}"), 1_000, number);
    }
    let checked = fixture.must(&["ipam", "check"], "");
    assert!(checked.contains("IPAM blocks record 5000 allocations.\n"), "{checked}");
    assert!(checked.contains("Found 5000 IPs that are allocated in IPAM but not actually in use.\n"));
    assert!(checked.ends_with("Check complete; found 5000 problems.\n"));
    let borrowed = fixture.must(&["ipam", "show", "--show-borrowed"], "");
    assert!(
        borrowed.starts_with("+----+----------------+-------+-------------+------+--------------+\n"),
        "{borrowed}"
    );
    // The first block becomes another node's.
    let block = client.store().list_all(keys::IPAM_BLOCKS).unwrap().items.remove(0);
    let text = String::from_utf8(block.value).unwrap().replace("host:node-a", "host:node-b");
    client.store().put(&block.key, text.as_bytes()).unwrap();
    let borrowed = fixture.must(&["ipam", "show", "--show-borrowed"], "");
    let rows: Vec<&str> = borrowed.lines().filter(|line| line.contains("| node-a")).collect();
    assert_eq!(rows.len(), 64, "{borrowed}");
    assert!(rows[0].contains("| node-b      | pod  | shop/p"), "{}", rows[0]);
}

fn a_pool_is_split_while_the_cluster_is_locked_and_its_blocks_stay(on: On) {
    let (fixture, client) = with_addresses(on, 2, 28, "10.10.0.0/24");
    for (arguments, err) in [
        (&["--name", "shop"][..], "accepts 1 arg(s), received 0\n"),
        (&["2"], "no name or CIDR provided. Provide a name or CIDR to denote the IP pool to split\n"),
        (
            &["two", "--name=shop"],
            "error reading number to split IP pools into. two is not a valid number: strconv.Atoi: parsing \"two\": invalid syntax\n",
        ),
        (
            &["2", "--name=shop"],
            "datastore is not locked. Run the `calicoctl datastore migrate lock` command in order split the IP pools\n",
        ),
    ] {
        assert_eq!(fixture.run(&[&["ipam", "split"], arguments].concat()), failed("", err));
    }
    fixture.must(&["datastore", "migrate", "lock"], "");
    for (arguments, err) in [
        (
            &["3", "--name=shop"][..],
            "error splitting the CIDR 10.10.0.0/24 into 3 CIDRs: number to split CIDR into is not a valid power of 2: 3\n",
        ),
        (
            &["2", "--name=none"],
            "unable to find IP pool with name none: resource does not exist: IPPool(none) with error: <nil>\n",
        ),
        (&["2", "--cidr=10.0.0.0/8"], "unable to find IP pool  covering the specified CIDR 10.0.0.0/8\n"),
    ] {
        assert_eq!(fixture.run(&[&["ipam", "split"], arguments].concat()), failed("", err));
    }
    let blocks = client.store().list_all(keys::IPAM).unwrap().items;
    assert_eq!(
        fixture.run(&["ipam", "split", "--cidr=10.10.0.0/24", "2"]),
        ok(
            "IP Pool shop was successfully split into 2 smaller pools.Created split-shop-0 with CIDR 10.10.0.0/25.\nCreated split-shop-1 with CIDR 10.10.0.128/25.\nPlease refer to the documentation for final steps."
        )
    );
    assert_eq!(client.store().list_all(keys::IPAM).unwrap().items, blocks, "no block was touched");
    let pools = fixture.json(&["get", "ippool"]);
    let names: Vec<&str> = pools["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pool| pool["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["split-shop-0", "split-shop-1"]);
    assert_eq!(
        (&pools["items"][0]["spec"]["blockSize"], pools["items"][0]["spec"].get("disabled")),
        (&json!(28), None)
    );
    assert_eq!(fixture.run(&["datastore", "migrate", "unlock"]), ok("Datastore unlocked.\n"));
}

fn a_cluster_is_exported_for_calicos_import_once_it_is_locked(on: On) {
    let (fixture, _) = with_addresses(on, 1, 28, "10.10.0.0/24");
    let unlocked = "datastore is not locked. Run the `calicoctl datastore migrate lock` command in order to begin migration\n";
    assert_eq!(fixture.run(&["datastore", "migrate", "export"]), failed("", unlocked));
    fixture.must(&["datastore", "migrate", "lock"], "");
    let node = "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: node-a}\nspec: {}\n";
    fixture.must(&["apply", "-f", "-"], node);
    assert_eq!(
        fixture.run(&["datastore", "migrate", "export"]),
        failed(
            "",
            "node node-a missing a 'k8s' orchestrator reference. Unable to export data unless every node has a 'k8s' orchestrator reference\n"
        )
    );
    let reference = r#"{"spec": {"orchRefs": [{"nodeName": "worker-1", "orchestrator": "k8s"}]}}"#;
    fixture.must(&["patch", "node", "node-a", "-p", reference], "");
    let text = fixture.must(&["datastore", "migrate", "export"], "");
    let parts: Vec<&str> = text.split("===\n").collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[0].matches("\n---\n").count(), 17);
    assert!(parts[0].contains("kind: Node\n  metadata:\n    name: worker-1\n"), "{}", parts[0]);
    let cluster: Value = serde_json::from_str(parts[1]).unwrap();
    assert_eq!(cluster["spec"]["datastoreReady"], false);
    let addresses: Value = serde_json::from_str(parts[2]).unwrap();
    assert_eq!(
        addresses["block_affinities"][0]["Key"],
        "/calico/ipam/v2/host/worker-1/ipv4/block/10.10.0.160-28"
    );
    assert_eq!(addresses["blocks"][0]["Value"]["affinity"], "host:worker-1");
    assert_eq!(addresses["blocks"][0]["Value"]["attributes"][0]["secondary"]["node"], "worker-1");
    assert_eq!(addresses["handles"][0]["Key"], "/calico/ipam/v2/handle/k8s-pod-network.c0");
    let kind = if on == On::Etcd { "etcdv3" } else { "embedded" };
    let refused = format!(
        "invalid datastore type: {kind} to import to for datastore migration. Datastore type must be kubernetes\n"
    );
    assert_eq!(fixture.run(&["datastore", "migrate", "import", "-f", "x"]), failed("", &refused));
}

crate::fixture::on_both! {
    pools_and_blocks_are_shown_with_calicoctls_figures, an_address_is_shown_with_its_user_and_released, settings_are_shown_and_changed, a_check_finds_what_is_leaked_and_the_report_releases_it, five_thousand_addresses_are_checked_and_shown_as_borrowed, a_pool_is_split_while_the_cluster_is_locked_and_its_blocks_stay, a_cluster_is_exported_for_calicos_import_once_it_is_locked
}
