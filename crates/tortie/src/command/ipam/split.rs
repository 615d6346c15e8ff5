//! `ipam split`: a pool becomes several of equal size, with the same blocks and addresses in them.

use clap::Args;
use ipnet::IpNet;
use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_api::validate;
use tortie_store::resources::{Client, Labels};

use crate::objects::{Failure, Refusal, Store};

/// The arguments of `ipam split`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  calicoctl datastore migrate lock
  calicoctl ipam split 2 --name shop-ipv4
  calicoctl datastore migrate unlock")]
pub struct Arguments {
    /// Into how many: a power of two.
    #[arg(value_name = "NUMBER", num_args = 0..)]
    number: Vec<String>,
    /// The pool, by its addresses.
    #[arg(long)]
    cidr: Option<String>,
    /// The pool, by its name.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    store: Store,
}

/// Splits the pool.
///
/// # Errors
/// What stands against it. Nothing is written then, unless the datastore fails in between.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { number, cidr, name, store } = arguments;
    let [number] = &number[..] else {
        return Err(Failure::Command(format!("accepts 1 arg(s), received {}", number.len())));
    };
    let parts: i64 = number.parse().map_err(|_| {
        Failure::Command(format!(
            "error reading number to split IP pools into. {number} is not a valid number: strconv.Atoi: parsing {number:?}: invalid syntax"
        ))
    })?;
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let (cidr, name) = (given(cidr), given(name));
    if cidr.is_empty() && name.is_empty() {
        return Err(Failure::Command(
            "no name or CIDR provided. Provide a name or CIDR to denote the IP pool to split".to_owned(),
        ));
    }
    let client = store.open_plainly()?;
    let text = split(&client, &cidr, &name, parts).map_err(Failure::Command)?;
    print!("{text}");
    Ok(())
}

fn split(client: &Client, cidr: &str, name: &str, parts: i64) -> Result<String, String> {
    if !is_locked(client).map_err(|error| format!("error while checking if datastore was locked: {error}"))? {
        return Err("datastore is not locked. Run the `calicoctl datastore migrate lock` command in order split the IP pools".to_owned());
    }
    let mut pool = find(client, cidr, name)?;
    let old_name = pool["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let old_cidr = pool["spec"]["cidr"].as_str().unwrap_or_default().to_owned();
    let cut = cut(&old_cidr, parts)
        .map_err(|error| format!("error splitting the CIDR {old_cidr} into {parts} CIDRs: {error}"))?;
    let mut children = Vec::new();
    for (number, net) in cut.iter().enumerate() {
        let mut child = pool.clone();
        let stem: String =
            if old_name.len() > 245 { old_name.chars().take(245).collect() } else { old_name.clone() };
        let metadata = &mut child["metadata"];
        *metadata = json!({
            "name": format!("split-{stem}-{number}"),
            "labels": metadata["labels"].take(),
            "annotations": metadata["annotations"].take(),
        });
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.retain(|_, value| !value.is_null());
        }
        child["spec"]["cidr"] = json!(net.to_string());
        child["spec"]["disabled"] = json!(false);
        let faults = validate::validate_json(Kind::IPPool, &child);
        if !faults.is_empty() {
            let fault = Refusal::of_faults("", &faults).message;
            return Err(format!("error using unsafe create to make split pool with cidr {net}: {fault}"));
        }
        children.push(child);
    }
    // Nobody takes new blocks from it while its parts come into being.
    pool["spec"]["disabled"] = json!(true);
    client.update(pool, Labels::Replace).map_err(|_| format!("error disabling IP pool {cidr}"))?;
    let mut out = format!("IP Pool {old_name} was successfully split into {parts} smaller pools.");
    for (child, net) in children.into_iter().zip(&cut) {
        let created = client.create_beside(child).map_err(|error| {
            format!("error using unsafe create to make split pool with cidr {net}: {error}")
        })?;
        out += &format!(
            "Created {} with CIDR {net}.\n",
            created["metadata"]["name"].as_str().unwrap_or_default()
        );
    }
    client
        .delete_alone(&ResourceKey::cluster(Kind::IPPool, &old_name))
        .map_err(|error| format!("error removing the IP pool that was split {old_name}: {error}"))?;
    Ok(out + "Please refer to the documentation for final steps.")
}

/// Whether the cluster is locked by `datastore migrate lock`.
///
/// # Errors
/// Why that isn't known.
pub fn is_locked(client: &Client) -> Result<bool, String> {
    let information = client
        .get(&ResourceKey::cluster(Kind::ClusterInformation, "default"))
        .map_err(|error| format!("error retrieving ClusterInformation: {error}"))?;
    Ok(information.pointer("/spec/datastoreReady") == Some(&Value::Bool(false)))
}

fn find(client: &Client, cidr: &str, name: &str) -> Result<Value, String> {
    if !name.is_empty() {
        return client
            .get(&ResourceKey::cluster(Kind::IPPool, name))
            .map_err(|error| format!("unable to find IP pool with name {name}: {error}"));
    }
    let pools = client
        .list(Kind::IPPool, None)
        .map_err(|_| format!("unable to list IP pools to find the pool specified by {cidr}"))?;
    let mut found = pools.items.into_iter().filter(|pool| pool["spec"]["cidr"] == *cidr);
    found.next().ok_or_else(|| format!("unable to find IP pool {name} covering the specified CIDR {cidr}"))
}

/// The parts of a net, in order.
fn cut(text: &str, parts: i64) -> Result<Vec<IpNet>, String> {
    let power = u32::try_from(parts).ok().filter(|parts| *parts > 1 && parts.is_power_of_two());
    let Some(power) = power.map(u32::trailing_zeros) else {
        return Err(format!("number to split CIDR into is not a valid power of 2: {parts}"));
    };
    let net: IpNet =
        text.parse().map_err(|_| format!("error reading CIDR {text} before attempting to split it"))?;
    let length = u32::from(net.prefix_len()) + power;
    let cut = u8::try_from(length).ok().and_then(|length| net.trunc().subnets(length).ok());
    Ok(cut
        .ok_or_else(|| format!("the CIDR {text} is not large enough to be split into {parts} parts"))?
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_net_is_cut_into_equal_parts() {
        let nets = |text: &str, parts| {
            cut(text, parts).map(|nets| nets.iter().map(IpNet::to_string).collect::<Vec<_>>())
        };
        assert_eq!(nets("10.0.0.0/16", 2), Ok(vec!["10.0.0.0/17".to_owned(), "10.0.128.0/17".to_owned()]));
        assert_eq!(nets("fd00::/48", 4).map(|nets| nets[3].clone()), Ok("fd00:0:0:c000::/50".to_owned()));
        for parts in [0, 1, 3, -2] {
            assert_eq!(
                nets("10.0.0.0/16", parts),
                Err(format!("number to split CIDR into is not a valid power of 2: {parts}"))
            );
        }
        assert_eq!(
            nets("10.0.0.0/31", 4),
            Err("the CIDR 10.0.0.0/31 is not large enough to be split into 4 parts".to_owned())
        );
    }
}
