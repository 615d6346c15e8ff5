//! Objects that address management knows too: its settings, and pools that go.
//!
//! The settings stand twice in Calico's store: as IPAMConfiguration `default`, and where address management reads them
//! (`calicoctl ipam configure` writes there). Here both are one: a write of the object is a write of the settings, and
//! what is shown of the object is what address management does.

use ipnet::IpNet;
use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_ipam::record::Config;

use super::{Client, Labels};
use crate::{Result, ipam};

/// Whether the settings can work.
///
/// # Errors
/// [`crate::Error::Addresses`] in Calico's words.
pub fn check(id: &ResourceKey, object: &Value) -> Result<()> {
    if id.kind != Kind::IPAMConfiguration {
        return Ok(());
    }
    let mut config = Config::default();
    change(&mut config, object);
    Ok(tortie_ipam::check_settings(&config)?)
}

/// Makes the settings what a stored object says.
///
/// # Errors
/// Those of the datastore.
pub fn written(client: &Client, id: &ResourceKey, object: &Value) -> Result<()> {
    if id.kind != Kind::IPAMConfiguration {
        return Ok(());
    }
    let object = object.clone();
    let machine = tortie_ipam::change_settings(move |config| change(config, &object));
    Ok(ipam::run(&**client.store(), machine)??)
}

/// The object as address management takes it.
///
/// # Errors
/// Those of the datastore.
pub fn shown(client: &Client, id: &ResourceKey, mut object: Value) -> Result<Value> {
    if id.kind != Kind::IPAMConfiguration {
        return Ok(object);
    }
    let config = ipam::run(&**client.store(), tortie_ipam::read_settings())?;
    let spec = &mut object["spec"];
    spec["strictAffinity"] = json!(config.strict_affinity);
    spec["autoAllocateBlocks"] = json!(config.auto_allocate_blocks);
    let optional = [
        ("maxBlocksPerHost", json!(config.max_blocks_per_host), config.max_blocks_per_host > 0),
        (
            "kubeVirtVMAddressPersistence",
            json!(config.vm_address_persistence),
            config.vm_address_persistence.is_some(),
        ),
        ("ipCooldownSeconds", json!(config.ip_cooldown_seconds), config.ip_cooldown_seconds > 0),
    ];
    if let Some(spec) = spec.as_object_mut() {
        for (name, value, set) in optional {
            if set {
                spec.insert(name.to_owned(), value);
            } else {
                spec.remove(name);
            }
        }
    }
    Ok(object)
}

/// What has to be done before an object goes, which must have resource version `expected` if one is given. Returns
/// the version that it must have afterwards.
///
/// # Errors
/// Those of the datastore and of an update.
pub fn before_delete(client: &Client, id: &ResourceKey, expected: Option<String>) -> Result<Option<String>> {
    match id.kind {
        Kind::IPAMConfiguration => {
            let stored = client.get(id)?;
            let version = stored["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            if expected.is_none() || expected == version {
                ipam::run(&**client.store(), tortie_ipam::reset_settings())??;
            }
            Ok(expected.or(version))
        }
        Kind::IPPool => {
            let mut pool = client.get(id)?;
            let expected = if pool["spec"]["disabled"] == true {
                expected
            } else {
                // Nobody takes addresses from it any more.
                pool["spec"]["disabled"] = json!(true);
                pool["metadata"]["resourceVersion"] = json!(expected.unwrap_or_default());
                client.update(pool.clone(), Labels::Replace)?;
                None
            };
            give_up(client, &pool)?;
            Ok(expected)
        }
        _ => Ok(expected),
    }
}

/// What has to be done when an object is gone.
///
/// # Errors
/// Those of the datastore.
pub fn after_delete(client: &Client, id: &ResourceKey, object: &Value) -> Result<()> {
    match id.kind {
        // Whoever had read the pool before it was disabled may have claimed a block since.
        Kind::IPPool => give_up(client, object),
        _ => Ok(()),
    }
}

/// Gives up the blocks of a pool. Addresses in use stay assigned.
fn give_up(client: &Client, pool: &Value) -> Result<()> {
    let Some(Ok(net)) = pool.pointer("/spec/cidr").and_then(Value::as_str).map(str::parse::<IpNet>) else {
        return Ok(());
    };
    Ok(ipam::run(&**client.store(), tortie_ipam::release_pool(net))??)
}

fn change(config: &mut Config, object: &Value) {
    let field = |name: &str| object.pointer(&format!("/spec/{name}"));
    let flag = |name: &str| field(name).and_then(Value::as_bool).unwrap_or_default();
    let number = |name: &str| {
        field(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
    };
    config.strict_affinity = flag("strictAffinity");
    config.auto_allocate_blocks = flag("autoAllocateBlocks");
    config.max_blocks_per_host = number("maxBlocksPerHost");
    config.ip_cooldown_seconds = number("ipCooldownSeconds");
    config.vm_address_persistence =
        field("kubeVirtVMAddressPersistence").and_then(Value::as_str).map(str::to_owned);
}
