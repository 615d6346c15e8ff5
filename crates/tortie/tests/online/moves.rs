//! A running agent moved from a file to etcd: the steps of README.md, under connections and policy that go on.

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::Value;
use tortie_store::Datastore;

use crate::cut::{Pods, letting_in};
use crate::machine::Machine;

fn text(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

impl Machine {
    /// Runs a command that succeeds; all it says.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        text(&output)
    }

    /// All keys and values of the etcd.
    fn in_etcd(&self) -> BTreeMap<String, Value> {
        let list = || self.cluster.as_ref().unwrap().store().list_all("/calico/").unwrap().items;
        let items = self.host.run(list).unwrap().into_iter();
        items.map(|kv| (kv.key, serde_json::from_slice(&kv.value).unwrap_or_default())).collect()
    }

    fn endpoints(&self) -> Vec<Value> {
        let list: Value =
            serde_json::from_str(&self.says(&["get", "workloadendpoints", "-A", "-o", "json"])).unwrap();
        list["items"].as_array().unwrap().iter().map(|item| item["spec"].clone()).collect()
    }
}

#[test]
fn a_running_agent_moves_from_a_file_to_etcd_without_losing_an_address_or_a_connection() {
    let mut machine = Machine::new("move");
    let pods = Pods::add(&mut machine);
    let before = machine.endpoints();
    let file = machine.files.path().join("move.jsonl").display().to_string();

    assert_eq!(machine.says(&["datastore", "lock"]), "Datastore locked.\n");
    let (added, said) = machine.try_add("early");
    assert!(!added && said.contains("not ready"), "{said}");
    assert!(machine.says(&["datastore", "export", "-f", &file]).starts_with("Exported"));
    // Who writes the file's database after the export is noticed before anybody has to live with it.
    let late =
        "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: late, namespace: shop}\n";
    machine.apply(late);
    let compared = machine.run(&["datastore", "compare", "-f", &file]);
    let said = text(&compared);
    assert_eq!(compared.status.code(), Some(1), "{said}");
    assert!(said.contains("networksets/shop/late: not in the file"), "{said}");
    machine.says(&["datastore", "export", "-f", &file]);

    machine.start_etcd(&[]);
    assert!(machine.says(&["datastore", "import", "-f", &file]).contains("are the same"));
    pods.judged_by(80, "on the way");
    let cluster = machine.cluster.take();
    assert!(machine.says(&["datastore", "compare", "-f", &file]).contains("are the same"), "the file's");
    machine.cluster = cluster;
    machine.stop();
    pods.judged_by(80, "between the agents");
    machine.start();
    pods.judged_by(80, "on etcd");
    let (added, said) = machine.call("ADD", "early");
    assert!(!added && said.contains("not ready"), "{said}");
    assert_eq!(machine.says(&["datastore", "unlock"]), "Datastore unlocked.\n");

    assert_eq!(machine.endpoints(), before, "the same pods with the same addresses");
    let (added, said) = machine.call("ADD", "early");
    assert!(added, "{said}");
    let given: Value = serde_json::from_str(&said).unwrap();
    let given = given["ips"][0]["address"].as_str().unwrap().to_owned();
    assert!(!before.iter().any(|pod| pod["ipNetworks"][0] == given.as_str()), "{given} is taken");
    machine.apply(&letting_in(81));
    pods.until_open(81);
    pods.judged_by(81, "and follows what is written there");

    let handle = "/calico/ipam/v2/handle/net.container-web";
    assert!(machine.in_etcd().contains_key(handle));
    let (removed, said) = machine.call("DEL", "web");
    assert!(removed, "{said}");
    let after = machine.in_etcd();
    assert!(!after.contains_key(handle), "a DEL frees the address in etcd");
    let web = before.iter().find(|pod| pod["pod"] == "web").unwrap()["ipNetworks"][0].clone();
    assert!(!machine.endpoints().iter().any(|pod| pod["ipNetworks"][0] == web));
    assert_eq!(machine.add("next").split('/').next(), given_next(&after).as_deref(), "as the block says");
    machine.cluster = None;
    assert_eq!(machine.endpoints(), before, "and the file's database is as it was left");
}

/// The address that comes next: the first of the block's queue.
fn given_next(content: &BTreeMap<String, Value>) -> Option<String> {
    let (_, block) = content.iter().find(|(key, _)| key.contains("/assignment/ipv4/block/"))?;
    let base: std::net::Ipv4Addr = block["cidr"].as_str()?.split('/').next()?.parse().ok()?;
    let ordinal = u32::try_from(block["unallocated"][0].as_u64()?).ok()?;
    Some(std::net::Ipv4Addr::from(u32::from(base) + ordinal).to_string())
}
