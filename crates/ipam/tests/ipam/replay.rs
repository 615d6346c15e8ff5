//! Replays IPAM calls that were recorded from Calico's own code: results and changed keys must be Calico's. Times and
//! sequence numbers differ from run to run; a sequence number must differ by the same amount for all of a block's life.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::support::{Memory, START, done};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tortie_ipam::key::Key;
use tortie_ipam::record::Record;
use tortie_ipam::{
    AssignAddress, AutoAssign, HandleId, Labels, Now, Pool, Release, Reservations, Use, View,
    addresses_of_handle, assign_address, assignment_of, auto_assign, release, release_by_handle,
};

const RESOURCES: &str = "/calico/resources/v3/projectcalico.org/";

#[test]
fn recorded_calls_have_calicos_results_and_keys() {
    let mut replay = Replay::default();
    let mut compared = 0;
    for line in include_str!("vectors/ipam-steps.jsonl").lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        compared += u32::from(replay.step(&step));
    }
    assert_eq!(compared, 17, "steps that are calls of address management");
}

#[test]
fn recorded_records_are_written_byte_for_byte_as_calico_writes_them() {
    #[derive(serde::Deserialize)]
    struct Step<'a> {
        #[serde(borrow)]
        changed: BTreeMap<String, &'a RawValue>,
    }
    let mut compared = 0;
    for line in include_str!("vectors/ipam-steps.jsonl").lines() {
        let step: Step<'_> = serde_json::from_str(line).unwrap();
        for (name, value) in step.changed {
            let Some(key) = Key::parse(&name) else { continue };
            assert_eq!(key.to_string(), name);
            let record = Record::decode(&key, value.get().as_bytes()).unwrap();
            assert_eq!(String::from_utf8(record.encode()).unwrap(), value.get(), "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 22, "records");
}

#[derive(Default)]
struct Replay {
    memory: Memory,
    pools: Vec<Pool>,
    nodes: BTreeMap<String, Labels>,
    /// By block: how far Calico's sequence numbers are from ours.
    offsets: HashMap<String, i128>,
}

impl Replay {
    /// Whether it was a call of address management.
    fn step(&mut self, step: &Value) -> bool {
        let (number, args) = (&step["step"], &step["args"]);
        let before = self.memory.json();
        let result = match step["call"].as_str().unwrap() {
            "AutoAssign" => self.auto_assign(args),
            "AssignIP" => self.assign_address(args),
            "ReleaseIPs" => self.release(args),
            "ReleaseByHandle" => {
                let handle = HandleId::new(args.as_str().unwrap());
                done(release_by_handle(self.view(), self.now(), handle), &self.memory)
                    .map_or_else(error, |()| json!({}))
            }
            "IPsByHandle" => {
                let handle = HandleId::new(args.as_str().unwrap());
                match done(addresses_of_handle(handle), &self.memory) {
                    Ok(addresses) => json!({ "result": addresses }),
                    Err(fault) => json!({ "result": [], "error": fault.to_string() }),
                }
            }
            "GetAssignmentAttributes" => {
                let found =
                    done(assignment_of(self.view(), args.as_str().unwrap().parse().unwrap()), &self.memory);
                found.map_or_else(error, |found| {
                    let handle = found.handle.unwrap();
                    json!({ "result": { "handle_id": handle.as_str(), "secondary": found.attributes } })
                })
            }
            "EnsureInitialized" | "Nodes().Create" | "IPPools().Create" => {
                self.learn(&step["changed"]);
                return false;
            }
            other => panic!("step {number}: no replay of {other}"),
        };
        assert_eq!(result["error"], step["error"], "step {number}: error");
        assert_eq!(result["result"], step["result"], "step {number}: result");
        let after = self.memory.json();
        let changed: BTreeMap<String, Value> =
            after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(owned).collect();
        let deleted: Vec<&String> = before.keys().filter(|key| !after.contains_key(*key)).collect();
        let want: BTreeMap<String, Value> = step["changed"].as_object().unwrap().iter().map(owned).collect();
        assert_eq!(
            json!(deleted),
            step.get("deleted").cloned().unwrap_or(json!([])),
            "step {number}: deleted keys"
        );
        let keys = |map: &BTreeMap<String, Value>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&changed), keys(&want), "step {number}: changed keys");
        for (key, value) in changed {
            let offset = self.offset(&key, &value, &want[&key]);
            let (ours, calicos) = (normal(value, offset), normal(want[&key].clone(), 0));
            assert_eq!(ours, calicos, "step {number}: {key}");
        }
        true
    }

    fn offset(&mut self, key: &str, ours: &Value, calicos: &Value) -> i128 {
        let number = |value: &Value| value["sequenceNumber"].as_u64().map_or(0, i128::from);
        *self.offsets.entry(key.to_owned()).or_insert(number(calicos) - number(ours))
    }

    fn learn(&mut self, changed: &Value) {
        for (key, object) in changed.as_object().unwrap() {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            if key.starts_with(&format!("{RESOURCES}ippools/")) {
                self.pools.push(Pool::parse(&serde_json::from_value(object.clone()).unwrap()).unwrap());
            } else if key.starts_with(&format!("{RESOURCES}nodes/")) {
                let labels = serde_json::from_value(object["metadata"]["labels"].clone()).unwrap();
                self.nodes.insert(name, labels);
            }
        }
    }

    fn view(&self) -> Arc<View> {
        Arc::new(View::new(self.pools.clone(), Reservations::default(), self.nodes.clone()))
    }

    fn now(&self) -> Now {
        Now(START.0 + self.memory.revision.get())
    }

    fn auto_assign(&self, args: &Value) -> Value {
        let AutoAssign { max_blocks, v4_ends, v6_ends, .. } = AutoAssign::workload("");
        let wanted = AutoAssign {
            v4: args["Num4"].as_u64().unwrap() as u32,
            v6: args["Num6"].as_u64().unwrap() as u32,
            host: text(&args["Hostname"]),
            handle: handle(&args["HandleID"]),
            attributes: serde_json::from_value::<Option<_>>(args["Attrs"].clone())
                .unwrap()
                .unwrap_or_default(),
            v4_pools: serde_json::from_value::<Option<_>>(args["IPv4Pools"].clone())
                .unwrap()
                .unwrap_or_default(),
            v6_pools: serde_json::from_value::<Option<_>>(args["IPv6Pools"].clone())
                .unwrap()
                .unwrap_or_default(),
            namespace_labels: Labels::new(),
            intended_use: intended(&args["IntendedUse"]).unwrap(),
            max_blocks,
            v4_ends,
            v6_ends,
        };
        let got = done(auto_assign(self.view(), self.now(), wanted), &self.memory);
        assert_eq!(got.error, None);
        let family = |one: Option<tortie_ipam::Assignments>| one.map(|one| json!({ "ips": one.addresses }));
        json!({ "result": { "v4": family(got.v4), "v6": family(got.v6) } })
    }

    fn assign_address(&self, args: &Value) -> Value {
        let wanted = AssignAddress {
            address: text(&args["IP"]).parse().unwrap(),
            host: text(&args["Hostname"]),
            handle: handle(&args["HandleID"]),
            attributes: serde_json::from_value(args["Attrs"].clone()).unwrap(),
            intended_use: intended(&args["IntendedUse"]),
            ends: None,
        };
        done(assign_address(self.view(), self.now(), wanted), &self.memory).map_or_else(error, |()| json!({}))
    }

    fn release(&self, args: &Value) -> Value {
        let one = |option: &Value| Release {
            address: text(&option["Address"]).parse().unwrap(),
            handle: handle(&option["Handle"]).filter(|handle| !handle.as_str().is_empty()),
            sequence_number: option["SequenceNumber"].as_u64(),
        };
        let releases = args.as_array().unwrap().iter().map(one).collect();
        let got = done(release(self.view(), self.now(), releases), &self.memory);
        let released = |one: &Release| {
            let handle = one.handle.as_ref().map_or("", HandleId::as_str);
            json!({ "Address": one.address, "Handle": handle, "SequenceNumber": one.sequence_number })
        };
        let released: Vec<Value> = got.released.iter().map(released).collect();
        let mut result = json!({ "result": { "released": released, "unallocated": got.unallocated } });
        if let Some(fault) = got.error {
            result["error"] = json!(fault.to_string());
        }
        result
    }
}

fn error(fault: tortie_ipam::Error) -> Value {
    json!({ "error": fault.to_string() })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn handle(value: &Value) -> Option<HandleId> {
    value.as_str().map(HandleId::new)
}

fn intended(value: &Value) -> Option<Use> {
    match value.as_str().unwrap() {
        "" => None,
        "Workload" => Some(Use::Workload),
        other => panic!("no replay of use {other}"),
    }
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// A record without times, with sequence numbers moved by `offset`.
fn normal(mut record: Value, offset: i128) -> Value {
    if let Some(time) = record.get_mut("affinity_claim_time") {
        *time = json!("a time");
    }
    let moved = |number: &Value| json!((i128::from(number.as_u64().unwrap()) + offset).to_string());
    if record.get("sequenceNumber").is_some() {
        record["sequenceNumber"] = moved(&record["sequenceNumber"]);
        for (_, number) in record["sequenceNumberForAllocation"].as_object_mut().unwrap() {
            *number = moved(number);
        }
    }
    record
}
