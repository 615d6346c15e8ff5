//! The rules that need the datastore: what must exist, what may not overlap, what may not change, what may not go.
//!
//! The messages are Calico's, word for word.

use std::net::IpAddr;

use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey};

use super::metadata::is_tiered;
use super::{Client, DEFAULT_ALLOW_PROFILE, cluster, initial};
use crate::{Error, InvalidField, Result, keys};

/// The tier of a policy that names none.
pub const DEFAULT_TIER: &str = "default";
const BUILT_IN_TIERS: [&str; 3] = [DEFAULT_TIER, "kube-admin", "kube-baseline"];

/// Whether an object of this name may be created.
pub fn creatable(id: &ResourceKey) -> Result<()> {
    let only = match id.kind {
        Kind::IPAMConfiguration => Some("an IPAMConfiguration"),
        Kind::KubeControllersConfiguration => Some("a Kube Controllers Configuration"),
        Kind::ClusterInformation => Some("a Cluster Information"),
        _ => None,
    };
    if let Some(kind) = only.filter(|_| &*id.name != "default") {
        return Err(Error::Name { kind });
    }
    if initial::is_default_allow(id) { Err(Error::AlreadyExists { id: id.clone() }) } else { Ok(()) }
}

/// Whether an object of this name may be updated.
pub fn updatable(id: &ResourceKey) -> Result<()> {
    if initial::is_default_allow(id) { Err(default_profile("Update", "updated")) } else { Ok(()) }
}

fn default_profile(operation: &'static str, done: &str) -> Error {
    Error::NotSupported {
        operation,
        id: DEFAULT_ALLOW_PROFILE.to_owned(),
        reason: Some(format!(
            "The profile {DEFAULT_ALLOW_PROFILE:?} is a default provided by Calico and cannot be {done}"
        )),
    }
}

/// What has to hold before anything is filled in.
pub fn before_defaults(id: &ResourceKey, object: &Value) -> Result<()> {
    if id.kind != Kind::IPPool {
        return Ok(());
    }
    match text(object, "/spec/cidr") {
        "" => Err(Error::invalid("IPPool.Spec.CIDR", None, "IPPool CIDR must be specified")),
        cidr if Net::parse(cidr).is_none() => {
            Err(Error::invalid("IPPool.Spec.CIDR", Some(cidr), "IPPool CIDR must be a valid subnet"))
        }
        _ => Ok(()),
    }
}

/// What a new object needs.
pub fn on_create(client: &Client, id: &ResourceKey, object: &Value) -> Result<()> {
    cluster::refuse(client, id, cluster::CREATE)?;
    match id.kind {
        kind if is_tiered(kind) => {
            client.get(&ResourceKey::cluster(Kind::Tier, text(object, "/spec/tier"))).map(drop)
        }
        Kind::IPPool => {
            let mut faults = pool_faults(object);
            faults.extend(overlaps(client, id, object)?);
            all(faults)?;
            all(block_sizes(client, object)?.into_iter().collect())
        }
        _ => Ok(()),
    }
}

/// What may not change.
pub fn on_update(id: &ResourceKey, old: &Value, new: &Value) -> Result<()> {
    if id.kind != Kind::IPPool {
        return Ok(());
    }
    let mut faults = Vec::new();
    let (old_cidr, cidr) = (text(old, "/spec/cidr"), text(new, "/spec/cidr"));
    if Net::parse(old_cidr) != Net::parse(cidr) {
        faults.push(InvalidField::new("IPPool.Spec.CIDR", Some(cidr), "IPPool CIDR cannot be modified"));
    }
    let size = |object: &Value| object.pointer("/spec/blockSize").and_then(Value::as_i64);
    // A pool that was stored without a size has the default, and so has its update.
    if size(old).is_some_and(|old| Some(old) != size(new)) {
        faults.push(InvalidField::new(
            "IPPool.Spec.BlockSize",
            size(new).map(|size| size.to_string()).as_deref(),
            "IPPool BlockSize cannot be modified",
        ));
    }
    let uses = |object: &Value| {
        let uses = object.pointer("/spec/allowedUses").and_then(Value::as_array).cloned().unwrap_or_default();
        uses.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let balancer = |use_: &String| use_ == "LoadBalancer";
    if uses(old).iter().any(balancer) && !uses(new).iter().all(balancer) {
        // Calico then tells nothing else.
        return all(vec![InvalidField::new(
            "IPPool.Spec.AllowedUses",
            Some(&format!("[{}]", uses(new).join(" "))),
            "IPPool allowed use cannot be changed from LoadBalacer to Workload or Tunnel",
        )]);
    }
    faults.extend(pool_faults(new));
    all(faults)
}

/// What may not go.
pub fn on_delete(client: &Client, id: &ResourceKey) -> Result<()> {
    cluster::refuse(client, id, cluster::DELETE)?;
    match id.kind {
        Kind::Profile if initial::is_default_allow(id) => Err(default_profile("Delete", "deleted")),
        Kind::Tier if BUILT_IN_TIERS.contains(&&*id.name) => Err(Error::NotSupported {
            operation: "Delete",
            id: id.name.to_string(),
            reason: Some(format!("Cannot delete {} tier", id.name)),
        }),
        Kind::Tier => {
            for kind in [Kind::NetworkPolicy, Kind::GlobalNetworkPolicy] {
                let policies = client.list(kind, None)?;
                if policies.items.iter().any(|policy| text(policy, "/spec/tier") == &*id.name) {
                    return Err(Error::NotSupported {
                        operation: "delete",
                        id: id.name.to_string(),
                        reason: Some("Cannot delete a non-empty tier".to_owned()),
                    });
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn all(fields: Vec<InvalidField>) -> Result<()> {
    if fields.is_empty() { Ok(()) } else { Err(Error::Invalid { fields }) }
}

/// What is wrong with a pool by itself. Its defaults are filled in.
fn pool_faults(object: &Value) -> Vec<InvalidField> {
    let cidr = text(object, "/spec/cidr");
    let Some(net) = Net::parse(cidr) else { return Vec::new() };
    let size = object.pointer("/spec/blockSize").and_then(Value::as_i64).unwrap_or(0);
    let disabled = object.pointer("/spec/disabled").and_then(Value::as_bool).unwrap_or(false);
    let (vxlan, ipip) = (text(object, "/spec/vxlanMode"), text(object, "/spec/ipipMode"));
    let mut faults = Vec::new();
    let mut fault = |name: &str, value: &str, reason: &str| {
        faults.push(InvalidField::new(&format!("IPPool.Spec.{name}"), Some(value), reason));
    };
    if net.v6 && !(116..=128).contains(&size) {
        fault("BlockSize", &size.to_string(), "IPv6 block size must be between 116 and 128");
    }
    if !net.v6 && !(20..=32).contains(&size) {
        fault("BlockSize", &size.to_string(), "IPv4 block size must be between 20 and 32");
    }
    if !disabled && i64::from(net.length) > size {
        fault(
            "CIDR",
            cidr,
            "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
        );
    }
    if vxlan != "Never" && ipip != "Never" {
        fault("VXLANMode", vxlan, "Cannot enable both VXLAN and IPIP on the same IPPool");
    }
    if net.v6 && ipip != "Never" {
        fault("IPIPMode", ipip, "IPIP is not supported on an IPv6 IP pool");
    }
    if net.masked() != net.bits {
        fault("CIDR", cidr, "IPPool CIDR is not strictly masked");
    }
    for (range, name) in [("169.254.0.0/16", "IPv4"), ("fe80::/10", "IPv6")] {
        if Net::parse(range).is_some_and(|range| range.overlaps(&net)) {
            fault("CIDR", cidr, &format!("IPPool CIDR overlaps with {name} Link Local range {range}"));
        }
    }
    faults
}

/// The pools that a new pool overlaps.
fn overlaps(client: &Client, id: &ResourceKey, object: &Value) -> Result<Vec<InvalidField>> {
    let cidr = text(object, "/spec/cidr");
    let Some(net) = Net::parse(cidr) else { return Ok(Vec::new()) };
    let pools = client.list(Kind::IPPool, None)?;
    Ok(pools
        .items
        .iter()
        .filter(|other| text(other, "/metadata/name") != &*id.name)
        .filter(|other| Net::parse(text(other, "/spec/cidr")).is_some_and(|other| other.overlaps(&net)))
        .map(|other| {
            let (name, range) = (text(other, "/metadata/name"), text(other, "/spec/cidr"));
            let reason = format!("IPPool({}) CIDR overlaps with IPPool({name}) CIDR {range}", id.name);
            InvalidField::new("IPPool.Spec.CIDR", Some(cidr), reason)
        })
        .collect())
}

/// Blocks in a new pool's range that have another size.
fn block_sizes(client: &Client, object: &Value) -> Result<Option<InvalidField>> {
    let Some(net) = Net::parse(text(object, "/spec/cidr")) else { return Ok(None) };
    let size = object.pointer("/spec/blockSize").and_then(Value::as_i64).unwrap_or(0);
    let blocks = client.store().list_all(keys::IPAM_BLOCKS)?;
    let clash = blocks
        .items
        .iter()
        .filter_map(|kv| Net::parse(&kv.key.rsplit('/').next()?.replace('-', "/")))
        .any(|block| i64::from(block.length) != size && block.overlaps(&net));
    Ok(clash.then(|| {
        InvalidField::new(
            "IPPool.Spec.BlockSize",
            Some(&size.to_string()),
            "IPPool blocksSize conflicts with existing allocations that use a different blockSize",
        )
    }))
}

/// An address and a prefix length; IPv4 is shifted to the top, so that both families compare alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Net {
    v6: bool,
    bits: u128,
    length: u8,
}

impl Net {
    fn parse(text: &str) -> Option<Net> {
        let (address, length) = text.split_once('/')?;
        let length: u8 = length.parse().ok()?;
        match address.parse().ok()? {
            IpAddr::V4(address) if length <= 32 => {
                Some(Net { v6: false, bits: u128::from(u32::from(address)) << 96, length })
            }
            IpAddr::V6(address) if length <= 128 => Some(Net { v6: true, bits: u128::from(address), length }),
            _ => None,
        }
    }

    fn masked(&self) -> u128 {
        self.cut(self.length)
    }

    fn cut(&self, length: u8) -> u128 {
        self.bits & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
    }

    fn overlaps(&self, other: &Net) -> bool {
        let length = self.length.min(other.length);
        self.v6 == other.v6 && self.cut(length) == other.cut(length)
    }
}
