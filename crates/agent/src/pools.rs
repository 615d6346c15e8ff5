//! The pools that an agent makes where there are none, by Calico's variables.

use serde_json::json;
use tortie_api::kind::Kind;
use tortie_store::resources::Client;

use crate::Result;

/// The variables of a family behind `CALICO_IPV4POOL_` or `CALICO_IPV6POOL_`, and its pool's name.
const FAMILIES: [(&str, &str); 2] =
    [("CALICO_IPV4POOL_", "default-ipv4-ippool"), ("CALICO_IPV6POOL_", "default-ipv6-ippool")];

/// Makes the pools that the environment names, if the store has none of any name and `NO_DEFAULT_POOLS` isn't set. Unlike
/// Calico nothing is made that nobody named.
///
/// # Errors
/// What is wrong with a pool, in the words that a user would hear, and those of the store.
pub fn make(client: &Client, setting: impl Fn(&str) -> Option<String>) -> Result<()> {
    let given = |name: &str| setting(name).filter(|value| !value.is_empty());
    let wanted: Vec<_> = FAMILIES
        .iter()
        .filter_map(|(prefix, name)| Some((*prefix, *name, given(&format!("{prefix}CIDR"))?)))
        .collect();
    if wanted.is_empty() || given("NO_DEFAULT_POOLS").is_some_and(|said| said == "true") {
        return Ok(());
    }
    if !client.list(Kind::IPPool, None)?.items.is_empty() {
        return Ok(());
    }
    for (prefix, name, cidr) in wanted {
        let of = |name: &str| given(&format!("{prefix}{name}"));
        let is_v4 = prefix.contains("IPV4");
        let mut spec = json!({
            "cidr": cidr,
            "vxlanMode": of("VXLAN").unwrap_or_else(|| "Never".to_owned()),
            "ipipMode": of("IPIP").unwrap_or_else(|| "Never".to_owned()),
            "natOutgoing": of("NAT_OUTGOING").map_or(is_v4, |said| said == "true"),
            "nodeSelector": of("NODE_SELECTOR").unwrap_or_else(|| "all()".to_owned()),
            "disableBGPExport": of("DISABLE_BGP_EXPORT").is_some_and(|said| said == "true"),
        });
        if let Some(size) = of("BLOCK_SIZE") {
            // What is no number is refused with the pool's other fields.
            spec["blockSize"] = size.parse::<u8>().map_or_else(|_| json!(size), |size| json!(size));
        }
        let pool = json!({
            "apiVersion": Kind::IPPool.api().version(),
            "kind": Kind::IPPool.name(),
            "metadata": { "name": name },
            "spec": spec,
        });
        match client.create(pool) {
            Ok(_) => tracing::info!(name, cidr, "made the first pool"),
            // Another node was faster.
            Err(tortie_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
