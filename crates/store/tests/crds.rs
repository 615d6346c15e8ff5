//! The CustomResourceDefinitions (`deploy/crds.yaml`) on a real API server: it takes them, keeps all that Calico's tools write
//! to the field, and refuses what breaks Calico's rules, in Calico's words.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../api/tests/messages/broken.rs"]
mod broken;
#[path = "../../api/tests/messages/rows.rs"]
mod rows;
#[path = "../../api/tests/messages/sample.rs"]
mod sample;
#[path = "../../api/tests/messages/values.rs"]
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tortie_api::crd::{self, Definition};
use tortie_api::decode::decode;
use tortie_api::kind::{Kind, ResourceKey, Scope};
use tortie_api::registry;
use tortie_api::validate::{self, check::Check};
use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::kubernetes::forms;
use tortie_store::kubernetes::{Kubernetes, server};
use tortie_store::resources::Client;
use tortie_store::{Datastore, Error, keys};

use broken::{Condition, broken, each_condition, nested, shown};

const CRDS: &str = include_str!("../../../deploy/crds.yaml");
const SAMPLES: &str = include_str!("../../api/tests/vectors/samples.yaml");
const RESOURCES: &str = include_str!("vectors/etcd.jsonl");
const IPAM: &str = include_str!("../../ipam/tests/ipam/vectors/ipam-steps.jsonl");

struct Cluster {
    server: server::Server,
    store: Kubernetes,
    _directory: tempfile::TempDir,
}

/// An API server that serves these definitions, with namespaces `prod` and `shop`.
fn mk_cluster(crds: &str) -> Cluster {
    let directory = tempfile::tempdir().unwrap();
    let start = server::Start { directory: directory.path().join("cluster"), ..server::Start::default() };
    let server = server::Server::start(start).unwrap();
    server.kubectl(&["apply", "-f", "-"], crds).unwrap();
    for namespace in ["prod", "shop"] {
        server.kubectl(&["create", "namespace", namespace], "").unwrap();
    }
    server.kubectl(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"], "").unwrap();
    let store = Kubernetes::open(server.options().unwrap()).unwrap();
    Cluster { server, store, _directory: directory }
}

fn key(kind: Kind, name: &str) -> String {
    keys::resource(&match kind.scope() {
        Scope::Namespaced => ResourceKey::namespaced(kind, "prod", name),
        Scope::Cluster => ResourceKey::cluster(kind, name),
    })
}

/// The value at a key, without what the API server gives to each object.
fn stored(store: &Kubernetes, key: &str) -> Value {
    without_identity(serde_json::from_slice(&store.get(key).unwrap().unwrap().value).unwrap())
}

fn without_identity(mut value: Value) -> Value {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["uid", "creationTimestamp", "resourceVersion"] {
            metadata.remove(name);
        }
    }
    value
}

/// What a user's text says, as far as it can be read: no defaults, not judged.
fn read(kind: Kind, name: &str, spec: &str) -> Option<Value> {
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: {}\nmetadata: {{name: {name}}}\nspec: {spec}\n",
        kind.name()
    );
    let mut decoded = decode(&text);
    let document = decoded.documents.pop()?;
    let object = document.object.filter(|_| document.faults.is_empty() && decoded.faults.is_empty())?;
    Some(object.json)
}

/// What the API server says of an object; nothing if it takes it, and then it is gone again.
fn refusal(store: &Kubernetes, key: &str, value: &Value) -> Option<String> {
    match store.create(key, value.to_string().as_bytes()) {
        Ok(_) => {
            store.delete(key, None).unwrap();
            None
        }
        Err(Error::Refused { cause, .. }) => Some(cause),
        Err(other) => panic!("{key} {value}: {other}"),
    }
}

#[test]
fn the_file_is_what_is_made_of_the_types_and_holds_what_the_store_writes() {
    assert!(CRDS == crd::yaml(), "deploy/crds.yaml is old: tortie crds > deploy/crds.yaml");
    let ours: BTreeSet<_> = Definition::all()
        .iter()
        .map(|one| (one.plural, one.kind, one.holds.scope() == Scope::Namespaced))
        .collect();
    let custom = forms::collections().iter().filter(|one| one.api_version() == format!("{}/v1", crd::GROUP));
    let stores: BTreeSet<_> = custom.map(|one| (one.plural, one.kind, one.namespaced)).collect();
    assert_eq!(ours, stores);
}

#[test]
fn the_api_server_takes_all_definitions_and_finds_their_schemas_structural() {
    let cluster = mk_cluster(CRDS);
    let list = cluster.server.kubectl(&["get", "crd", "-o", "json"], "").unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), Definition::all().len());
    for item in items {
        let conditions = item["status"]["conditions"].as_array().unwrap();
        for condition in conditions {
            let kind = condition["type"].as_str().unwrap();
            let wanted = if ["Established", "NamesAccepted"].contains(&kind) { "True" } else { "False" };
            assert_eq!(condition["status"], wanted, "{} {condition}", item["metadata"]["name"]);
        }
    }
}

#[test]
fn each_rule_of_calico_is_kept_by_the_api_server_in_calicos_words() {
    let cluster = mk_cluster(CRDS);
    let mut wrong = Vec::new();
    for (kind, name, refused, message, taken) in rows::ROWS {
        let kind = Kind::of("projectcalico.org/v3", kind).unwrap();
        let key = key(kind, name);
        let refused = read(kind, name, refused).unwrap_or_else(|| panic!("{refused}"));
        match refusal(&cluster.store, &key, &refused) {
            Some(said) if said.contains(message) => {}
            said => wrong.push(format!("{refused} should be refused: {message}\n  is: {said:?}")),
        }
        let taken = read(kind, name, taken).unwrap_or_else(|| panic!("{taken}"));
        if let Some(said) = refusal(&cluster.store, &key, &taken) {
            wrong.push(format!("{taken} should be taken\n  is: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let key = key(Kind::IPPool, "p");
    let pool = |cidr: &str, size: u8| {
        let pool = json!({"metadata": {"name": "p"}, "spec": {"cidr": cidr, "blockSize": size}});
        pool.to_string().into_bytes()
    };
    cluster.store.create(&key, &pool("10.0.0.0/16", 26)).unwrap();
    for (value, field) in [(pool("10.1.0.0/16", 26), "cidr"), (pool("10.0.0.0/16", 27), "blockSize")] {
        let (.., message) = validate::IMMUTABLE.iter().find(|(_, name, _)| *name == field).unwrap();
        let said = cluster.store.put(&key, &value).unwrap_err().to_string();
        assert!(said.contains(message), "{said}");
    }
}

/// Parts of the messages of what no schema can say: only Calico's validator, or ours, refuses it. The agent fails closed on it.
const UNSAID: &[&str] = &[
    "because of Tag: selector",
    "because of Tag: interfaceSlice",
    "rule contains both IPv4 and IPv6 CIDRs",
    "rule IP version doesn't match CIDR version",
    "must be of type int32",
    "community used is invalid or not defined",
    "expected 16 bit value",
    "expected 32 bit value",
    "Invalid methods (duplicates)",
];

#[test]
fn values_that_calico_refuses_are_refused_by_the_api_server_as_far_as_schemas_can_say_it() {
    let cluster = mk_cluster(CRDS);
    let mut wrong = Vec::new();
    let (mut unsaid, mut judged) = (BTreeSet::new(), 0);
    for (kind, spec, message) in values::VALUES {
        let kind = Kind::of("projectcalico.org/v3", kind).unwrap();
        let is_ours = Definition::all().iter().any(|one| one.holds == kind);
        // Kinds without a definition, and what no type can read, which a schema's type refuses too.
        let Some(value) = read(kind, "x", spec).filter(|_| is_ours) else { continue };
        judged += 1;
        match (
            refusal(&cluster.store, &key(kind, "x"), &value),
            UNSAID.iter().find(|part| message.contains(**part)),
        ) {
            (Some(_), None) => {}
            (None, Some(part)) => drop(unsaid.insert(*part)),
            (said, _) => wrong.push(format!("{} {value}: {message}\n  is: {said:?}", kind.name())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(unsaid.len(), UNSAID.len());
    assert!(judged > 50, "{judged}");
}

#[test]
fn each_condition_on_a_field_is_kept_by_the_api_server() {
    let cluster = mk_cluster(CRDS);
    let (mut wrong, mut judged) = (Vec::new(), BTreeSet::new());
    let states = [Kind::IPAMBlock, Kind::IPAMHandle, Kind::BlockAffinity];
    for kind in Definition::all().iter().map(|one| one.holds).filter(|kind| !states.contains(kind)) {
        for Condition { of, field, check, path } in each_condition(registry::shape(kind)) {
            let unsaid = |check: &Check| {
                matches!(check, Check::Int32 | Check::Tag("selector" | "regexp" | "interfaceSlice", ..))
            };
            // What controllers say isn't judged.
            let is_status = shown(&path).starts_with("status");
            let list = if let Check::Each(checks) = check { checks } else { &[] };
            if is_status || unsaid(&check) || list.iter().any(unsaid) {
                continue;
            }
            for (value, _) in broken(check) {
                let mut object = nested(&path, &value);
                object["metadata"] = json!({"name": "default"});
                let said = refusal(&cluster.store, &key(kind, "default"), &object);
                if !said.as_ref().is_some_and(|said| said.contains(&shown(&path))) {
                    wrong.push(format!("{kind}: {object} should be refused for {}: {said:?}", shown(&path)));
                }
            }
            judged.insert((of, field));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged.len() > 150, "{}", judged.len());
}

#[test]
fn kubectl_is_told_of_a_mistyped_field_and_what_old_releases_wrote_stays() {
    let cluster = mk_cluster(CRDS);
    let apply = |kind: &str, spec: Value| {
        let object = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        cluster.server.kubectl(&["apply", "-o", "json", "-f", "-"], &object.to_string())
    };
    let said = apply("Tier", json!({"ordre": 1})).unwrap_err().to_string();
    assert!(said.contains("unknown field \"spec.ordre\""), "{said}");
    for (kind, spec) in [
        (
            "IPPool",
            json!({"cidr": "10.0.0.0/16", "ipip": {"enabled": true, "mode": "cross-subnet"}, "nat-outgoing": true}),
        ),
        (
            "FelixConfiguration",
            json!({"iptablesLockFilePath": "/run/xtables.lock", "iptablesLockTimeout": "0s",
                "bpfKubeProxyEndpointSlicesEnabled": true}),
        ),
    ] {
        let kept: Value = serde_json::from_str(&apply(kind, spec.clone()).unwrap()).unwrap();
        for (field, value) in spec.as_object().unwrap() {
            assert_eq!(kept["spec"].get(field), Some(value), "{kind}.{field}");
        }
    }
    let pool = stored(&cluster.store, &key(Kind::IPPool, "x"));
    assert_eq!(
        (&pool["spec"]["ipipMode"], &pool["spec"]["natOutgoing"]),
        (&json!("CrossSubnet"), &json!(true))
    );
}

/// The API server stops rules that take too long; the estimate that it makes of a definition isn't the price of an object.
#[test]
fn a_policy_as_large_as_one_may_be_is_judged_to_its_last_rule() {
    let cluster = mk_cluster(CRDS);
    let nets: Vec<String> = (0..24).map(|net| format!("10.0.{net}.0/24")).collect();
    let side = json!({"selector": format!("a == '{}'", "x".repeat(150)), "nets": nets, "ports": [1, "80:90", "web"]});
    let rule =
        json!({"action": "Allow", "protocol": "TCP", "source": side, "destination": {"notPorts": [7]}});
    let mut policy = json!({"metadata": {"name": "p"}, "spec": {"types": ["Ingress", "Egress"],
        "ingress": vec![rule.clone(); 1024], "egress": vec![rule; 1024]}});
    assert!(policy.to_string().len() > 1_250_000);
    let key = key(Kind::GlobalNetworkPolicy, "p");
    assert_eq!(refusal(&cluster.store, &key, &policy), None);
    policy["spec"]["egress"][1023]["source"]["services"] = json!({"name": "s"});
    let said = refusal(&cluster.store, &key, &policy).unwrap();
    assert!(said.contains("services are not allowed in egress rule source"), "{said}");
}

/// The schema without its conditions: types and fields alone.
fn bare(schema: &mut Value) {
    let number_or_text = schema.get("x-kubernetes-int-or-string").is_some();
    let Some(fields) = schema.as_object_mut() else { return };
    fields.retain(|name, _| {
        ["type", "properties", "items", "additionalProperties", "nullable"].contains(&name.as_str())
            || name.starts_with("x-kubernetes-") && name != "x-kubernetes-validations"
            || name == "anyOf" && number_or_text
    });
    for (name, inner) in fields {
        match name.as_str() {
            "properties" => inner.as_object_mut().unwrap().values_mut().for_each(bare),
            "items" | "additionalProperties" => bare(inner),
            _ => {}
        }
    }
}

#[test]
fn the_api_server_keeps_each_field_of_each_kind() {
    let crds = Definition::all().into_iter().map(|definition| {
        let mut object = definition.object();
        bare(&mut object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
        object
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": crds.collect::<Vec<_>>()});
    let Cluster { store, server: _server, _directory } = mk_cluster(&list.to_string());
    let states = [Kind::IPAMBlock, Kind::IPAMHandle, Kind::BlockAffinity];
    for kind in Definition::all().iter().map(|one| one.holds).filter(|kind| !states.contains(kind)) {
        let mut value = sample::sample(registry::shape(kind), &mut 0);
        value["apiVersion"] = json!(kind.api().version());
        value["kind"] = json!(kind.name());
        value["metadata"] = json!({"name": "default", "labels": {"a": "b"}, "annotations": {"c": "d"}});
        if value["spec"].get("tier").is_some() {
            // The name that the user gave, kept by Calico's client.
            value["metadata"]["annotations"]["projectcalico.org/metadata"] = json!(r#"{"name":"default"}"#);
        }
        if kind.scope() == Scope::Namespaced {
            value["metadata"]["namespace"] = json!("prod");
        }
        let key = key(kind, "default");
        store.create(&key, value.to_string().as_bytes()).unwrap();
        assert_eq!(stored(&store, &key), value, "{key}");
    }
    let attributes = json!([{"handle_id": "h", "secondary": {"a": "b"}, "alternateOwnerAttrs": {"c": "d"},
        "releasedAt": "2026-11-23T00:28:07Z"}]);
    for (key, value) in [
        (
            "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30",
            json!({"cidr": "10.0.0.0/30", "affinity": "host:a", "affinity_claim_time": "2026-11-23T00:28:07Z",
                "allocations": [null, 0, null, 0], "unallocated": [2, 0], "attributes": attributes,
                "sequenceNumber": u32::MAX, "sequenceNumberForAllocation": {"1": 7}, "deleted": false}),
        ),
        ("/calico/ipam/v2/handle/H.1", json!({"block": {"10.0.0.0/30": 2}, "deleted": false})),
        ("/calico/ipam/v2/host/a/ipv4/block/10.0.0.0-30", json!({"state": "confirmed", "deleted": false})),
        ("/calico/ipam/v2/virtual/b/ipv6/block/fd00::-122", json!({"state": "pending", "deleted": false})),
    ] {
        store.create(key, value.to_string().as_bytes()).unwrap();
        assert_eq!(stored(&store, key), value, "{key}");
    }
}

#[test]
fn what_users_write_is_the_same_here_as_on_the_embedded_datastore() {
    let Cluster { store, server: _server, _directory } = mk_cluster(CRDS);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tortie.db");
    let embedded = Embedded::open(Options { durability: Durability::Normal, ..Options::new(path) }).unwrap();
    let clients = [Client::new(Arc::new(embedded)), Client::new(Arc::new(store))];
    let mut seen = BTreeSet::new();
    for document in validate::check(decode(SAMPLES), "prod").documents {
        let object = document.object.unwrap();
        let states = [Kind::IPAMBlock, Kind::IPAMHandle, Kind::BlockAffinity];
        if states.contains(&object.kind) || !Definition::all().iter().any(|one| one.holds == object.kind) {
            continue;
        }
        let id = Client::key_of(&object.json).unwrap();
        let [embedded, kubernetes] = clients.each_ref().map(|client| {
            client.create_beside(object.json.clone()).unwrap();
            without_identity(client.get(&id).unwrap())
        });
        assert_eq!(kubernetes, embedded, "{id}");
        seen.insert(object.kind.name());
    }
    // All but the states of address management.
    assert_eq!(seen.len(), Definition::all().len() - 3, "{seen:?}");
}

#[test]
fn what_calicos_tools_wrote_comes_back_to_the_field() {
    let Cluster { store, server: _server, _directory } = mk_cluster(CRDS);
    let mut seen = 0;
    for line in RESOURCES.lines().chain(IPAM.lines()) {
        let step: Value = serde_json::from_str(line).unwrap();
        for changes in ["puts", "changed"].into_iter().filter_map(|name| step[name].as_object()) {
            // Profiles have no object; nodes and endpoints are Kubernetes' own.
            let ours = |key: &str| {
                !["/profiles/", "/nodes/", "/workloadendpoints/"].iter().any(|part| key.contains(part))
            };
            for (key, value) in changes.iter().filter(|(key, _)| ours(key)) {
                if value.is_null() {
                    store.delete(key, None).unwrap();
                    continue;
                }
                store.put(key, value.to_string().as_bytes()).unwrap();
                let mut want = without_identity(value.clone());
                if want.get("attributes").is_some_and(Value::is_null) {
                    want["attributes"] = json!([]);
                }
                assert_eq!(stored(&store, key), want, "{key}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 38);
}
