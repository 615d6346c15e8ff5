//! The states of address management as custom resources: blocks, handles, claims and the settings.
//!
//! Their names are made of their keys (a long host's name is cut and hashed), the spec says it whole. A claim carries labels
//! by which Calico lists the claims of one host.

use std::str::FromStr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use sha3::{Digest, Sha3_256};

use super::json::{self, Head};
use super::{Collection, Place, Read, Unreadable, custom, names};

/// The fields of a block in the order in which Calico writes them to etcd.
const BLOCK: [&str; 9] = [
    "cidr",
    "affinity",
    "affinity_claim_time",
    "allocations",
    "unallocated",
    "attributes",
    "sequenceNumber",
    "sequenceNumberForAllocation",
    "deleted",
];

/// The settings on etcd and on the resource.
const SETTINGS: [(&str, &str); 5] = [
    ("strict_affinity", "strictAffinity"),
    ("auto_allocate_blocks", "autoAllocateBlocks"),
    ("maxBlocksPerHost", "maxBlocksPerHost"),
    ("kubeVirtVMAddressPersistence", "kubeVirtVMAddressPersistence"),
    ("ipCooldownSeconds", "ipCooldownSeconds"),
];

/// The longest name of an object, less one.
const LONGEST: usize = 252;

/// The name of the block at `ipv4/block/10.0.0.0-26`.
pub fn block_name(rest: &str) -> Option<String> {
    net_of(rest).map(|net| names::of_net(&net))
}

/// The name of the claim at `HOST/ipv4/block/10.0.0.0-26`.
pub fn claim_name(rest: &str) -> Option<String> {
    let (host, net) = claim_parts(rest)?;
    let net = names::of_net(&net);
    let name = format!("{host}-{net}");
    if name.len() <= LONGEST {
        return Some(name);
    }
    let digits: String = <sha2::Sha256 as sha2::Digest>::digest(format!("{host}+{net}"))
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let kept = host.get(..LONGEST - net.len() - 13)?;
    Some(format!("{kept}-{net}-{}", &digits[..11]))
}

fn claim_parts(rest: &str) -> Option<(&str, IpNet)> {
    let (host, rest) = rest.split_once('/')?;
    Some((names::simple(host)?, net_of(rest)?))
}

/// The network of `ipv4/block/10.0.0.0-26`.
fn net_of(rest: &str) -> Option<IpNet> {
    let (family, net) = rest.split_once("/block/")?;
    let (address, length) = net.rsplit_once('-')?;
    let net = IpNet::from_str(&format!("{address}/{length}")).ok()?;
    (family == family_of(&net) && net == net.trunc()).then_some(net)
}

fn family_of(net: &IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    }
}

/// The end of the key of something that is about `net`.
fn key_of(net: &IpNet) -> String {
    format!("{}/block/{}-{}", family_of(net), net.addr(), net.prefix_len())
}

fn net(spec: &Map<String, Value>) -> Result<IpNet, Unreadable> {
    let text = json::required(spec, "spec.cidr", "a network")?;
    let net = IpNet::from_str(text)
        .map_err(|_| Unreadable::at("spec.cidr", format!("{text:?}"), "a network as 10.0.0.0/26"))?;
    Ok(net.trunc())
}

fn parts(object: &[u8]) -> Result<(Head, Map<String, Value>), Unreadable> {
    let object: Value = json::parse(object)?;
    let head = json::head(&object)?;
    let mut object = json::map(object)?;
    let spec = json::take_map(&mut object, "spec")?;
    Ok((head, spec))
}

fn flag(spec: &mut Map<String, Value>, path: &str) -> Result<bool, Unreadable> {
    match spec.remove(path.rsplit('.').next().unwrap_or(path)) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(other) => Err(Unreadable::at(path, other, "true or false")),
    }
}

fn read(key: String, head: Head, value: Vec<u8>, deleted: bool) -> Read {
    Read { key, value, version: head.version, uid: head.uid, deleted }
}

/// What an `IPAMBlock` holds.
///
/// # Errors
/// If it has no network.
pub fn read_block(prefix: &str, object: &[u8]) -> Result<Read, Unreadable> {
    let (head, mut spec) = parts(object)?;
    let net = net(&spec)?;
    let key = format!("{prefix}{}", key_of(&net));
    let deleted = flag(&mut spec, "spec.deleted").map_err(|fault| head.known(&key, fault))?;
    spec.remove("strictAffinity");
    if let Some(time) = spec.remove("affinityClaimTime") {
        spec.insert("affinity_claim_time".to_owned(), time);
    }
    for (name, empty) in [
        ("allocations", json!([])),
        ("unallocated", json!([])),
        ("attributes", json!([])),
        ("sequenceNumber", json!(0)),
        ("sequenceNumberForAllocation", json!({})),
    ] {
        spec.entry(name).or_insert(empty);
    }
    spec.insert("cidr".to_owned(), json!(net.to_string()));
    spec.insert("deleted".to_owned(), json!(deleted));
    let value = json::ordered(&spec, &BLOCK);
    Ok(read(key, head, value, deleted))
}

/// What an `IPAMHandle` holds. Its name is the handle in small letters; the spec has it as it is.
///
/// # Errors
/// If it names no handle.
pub fn read_handle(prefix: &str, object: &[u8]) -> Result<Read, Unreadable> {
    let (head, mut spec) = parts(object)?;
    let key = format!("{prefix}{}", json::required(&spec, "spec.handleID", "a handle")?);
    spec.remove("handleID");
    let deleted = flag(&mut spec, "spec.deleted").map_err(|fault| head.known(&key, fault))?;
    spec.entry("block").or_insert_with(|| json!({}));
    spec.insert("deleted".to_owned(), json!(deleted));
    let value = json::ordered(&spec, &["block", "deleted"]);
    Ok(read(key, head, value, deleted))
}

/// What a `BlockAffinity` holds, if it is a claim of this sort of owner.
///
/// # Errors
/// If it doesn't say whose it is or for which network, or marks its deletion in other words than a boolean's.
pub fn read_claim(prefix: &str, owner: &str, object: &[u8]) -> Result<Option<Read>, Unreadable> {
    let (head, mut spec) = parts(object)?;
    // Old releases knew hosts only and didn't say so.
    let sort = Some(json::text(&spec, "spec.type")?).filter(|sort| !sort.is_empty()).unwrap_or("host");
    if sort != owner {
        return Ok(None);
    }
    let (host, net) = (json::required(&spec, "spec.node", "the owner's name")?, net(&spec)?);
    let key = format!("{prefix}{host}/{}", key_of(&net));
    let deleted = match spec.get("deleted") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(deleted)) => *deleted,
        Some(Value::String(text))
            if ["", "0", "f", "F", "false", "False", "FALSE"].contains(&text.as_str()) =>
        {
            false
        }
        Some(Value::String(text)) if ["1", "t", "T", "true", "True", "TRUE"].contains(&text.as_str()) => true,
        Some(other) => {
            return Err(head.known(&key, Unreadable::at("spec.deleted", other, "\"true\" or \"false\"")));
        }
    };
    for name in ["type", "node", "cidr"] {
        spec.remove(name);
    }
    spec.entry("state").or_insert_with(|| json!(""));
    spec.insert("deleted".to_owned(), json!(deleted));
    let value = json::ordered(&spec, &["state", "deleted"]);
    Ok(Some(read(key, head, value, deleted)))
}

/// What the `IPAMConfig` named `default` holds.
///
/// # Errors
/// If it has another name.
pub fn read_settings(prefix: &str, object: &[u8]) -> Result<Read, Unreadable> {
    let (head, mut spec) = parts(object)?;
    if head.name != "default" {
        return Err(Unreadable::at("metadata.name", format!("{:?}", head.name), "\"default\""));
    }
    let unset = |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || *value == 0;
    for (stored, here) in SETTINGS {
        if let Some(value) = spec.remove(here).filter(|value| !unset(value)) {
            spec.insert(stored.to_owned(), value);
        }
    }
    let value = json::ordered(&spec, &SETTINGS.map(|(stored, _)| stored));
    Ok(read(prefix.to_owned(), head, value, false))
}

/// The resource around a spec. `kept` is the metadata that Calico's annotation keeps.
fn resource(
    collection: &Collection,
    place: &Place,
    spec: Map<String, Value>,
    labels: Map<String, Value>,
    standing: Option<&Value>,
) -> Value {
    let mut metadata = custom::standing_metadata(place, standing);
    let mut kept = json!({});
    if !labels.is_empty() {
        kept["labels"] = Value::Object(labels.clone());
        let all = metadata.entry("labels").or_insert_with(|| json!({}));
        labels.into_iter().for_each(|(name, value)| all[name] = value);
    }
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    annotations[custom::METADATA] = json!(custom::metadata_text(&kept));
    json!({
        "apiVersion": collection.api_version(),
        "kind": collection.kind,
        "metadata": metadata,
        "spec": spec,
    })
}

/// The `IPAMBlock` that holds a value.
///
/// # Errors
/// If the value is no map.
pub fn write_block(
    collection: &Collection,
    place: &Place,
    value: &[u8],
    standing: Option<&Value>,
) -> Result<Value, Unreadable> {
    let mut spec = json::map(json::parse(value)?)?;
    if let Some(time) = spec.remove("affinity_claim_time") {
        spec.insert("affinityClaimTime".to_owned(), time);
    }
    // A block that nothing was taken from has no attributes on etcd; the schema wants a list.
    for name in ["allocations", "unallocated", "attributes"] {
        let list = spec.entry(name).or_insert(Value::Null);
        if list.is_null() {
            *list = json!([]);
        }
    }
    spec.retain(|_, value| !value.is_null());
    if spec.get("deleted").is_some_and(|deleted| *deleted == false) {
        spec.remove("deleted");
    }
    spec.entry("sequenceNumber").or_insert_with(|| json!(0));
    spec.insert("strictAffinity".to_owned(), json!(false));
    Ok(resource(collection, place, spec, Map::new(), standing))
}

/// The `IPAMHandle` that holds a value.
///
/// # Errors
/// If the value is no map.
pub fn write_handle(
    collection: &Collection,
    place: &Place,
    id: &str,
    value: &[u8],
    standing: Option<&Value>,
) -> Result<Value, Unreadable> {
    let mut spec = json::map(json::parse(value)?)?;
    spec.insert("handleID".to_owned(), json!(id));
    let block = spec.entry("block").or_insert(Value::Null);
    if block.is_null() {
        *block = json!({});
    }
    if spec.get("deleted").is_some_and(|deleted| *deleted == false) {
        spec.remove("deleted");
    }
    Ok(resource(collection, place, spec, Map::new(), standing))
}

/// The `BlockAffinity` that holds a value: `owner` is the sort of owner, and the key behind it.
///
/// # Errors
/// If the value is no map, or its mark of deletion no boolean.
pub fn write_claim(
    collection: &Collection,
    place: &Place,
    (owner, rest): (&str, &str),
    value: &[u8],
    standing: Option<&Value>,
) -> Result<Value, Unreadable> {
    let mut spec = json::map(json::parse(value)?)?;
    let Some((host, net)) = claim_parts(rest) else {
        return Err(Unreadable::at("key", format!("{rest:?}"), "HOST/ipv4/block/ADDRESS-LENGTH"));
    };
    let deleted = flag(&mut spec, "deleted")?;
    for (name, text) in [
        ("node", host.to_owned()),
        ("type", owner.to_owned()),
        ("cidr", net.to_string()),
        ("deleted", deleted.to_string()),
    ] {
        spec.insert(name.to_owned(), json!(text));
    }
    spec.entry("state").or_insert_with(|| json!(""));
    let labels = [
        ("projectcalico.org/hostname-hash", host_label(host)),
        ("projectcalico.org/affinity-type", owner.to_owned()),
        ("projectcalico.org/ip-version", if net.addr().is_ipv4() { "4" } else { "6" }.to_owned()),
    ];
    let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    Ok(resource(collection, place, spec, labels, standing))
}

/// The `IPAMConfig` that holds a value. What it has beside the settings stays.
///
/// # Errors
/// If the value is no map.
pub fn write_settings(
    collection: &Collection,
    place: &Place,
    value: &[u8],
    standing: Option<&Value>,
) -> Result<Value, Unreadable> {
    let mut given = json::map(json::parse(value)?)?;
    let mut spec = Map::new();
    for (stored, here) in SETTINGS {
        if let Some(value) = given.remove(stored) {
            spec.insert(here.to_owned(), value);
        }
    }
    spec.extend(given);
    for name in ["strictAffinity", "autoAllocateBlocks"] {
        spec.entry(name).or_insert_with(|| json!(false));
    }
    let Some(standing) = standing else {
        return Ok(resource(collection, place, spec, Map::new(), None));
    };
    // The same resource is the object of kind IPAMConfiguration, whose metadata stays.
    let mut object = standing.clone();
    object["spec"] = Value::Object(spec);
    object["metadata"] = Value::Object(custom::standing_metadata(place, Some(standing)));
    Ok(object)
}

/// The label of a host: its name may be longer than a label, so it is hashed, and written by RFC 4648's base 32.
fn host_label(host: &str) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut text, mut buffer, mut bits) = (String::with_capacity(52), 0_u16, 0);
    for byte in Sha3_256::digest(host) {
        buffer = buffer << 8 | u16::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(DIGITS[usize::from(buffer >> bits & 31)]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(DIGITS[usize::from(buffer << (5 - bits) & 31)]));
    }
    text
}

#[cfg(test)]
mod tests;
