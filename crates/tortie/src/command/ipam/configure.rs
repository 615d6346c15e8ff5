//! `ipam configure`: the settings of address management.

use clap::Args;
use tortie_store::ipam;

use super::failed;
use crate::objects::{Failure, Store};

/// The arguments of `ipam configure`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie ipam configure --strictaffinity=true --max-blocks-per-host=4
  tortie ipam configure --ip-cooldown-seconds=30")]
pub struct Arguments {
    /// Whether a node's addresses only come from its own blocks: true or false.
    #[arg(long, value_name = "BOOL")]
    strictaffinity: Option<String>,
    /// Blocks that one node may have at most; 0 for the default of 20.
    #[arg(long, value_name = "NUMBER")]
    max_blocks_per_host: Option<String>,
    /// Whether virtual machines of KubeVirt keep their addresses: Enabled or Disabled.
    #[arg(long, value_name = "Enabled|Disabled")]
    kubevirt_ip_persistence: Option<String>,
    /// Seconds for which a released address isn't given again, up to 1200.
    #[arg(long, value_name = "SECONDS", default_value_t = -1, hide_default_value = true, allow_hyphen_values = true)]
    ip_cooldown_seconds: i64,
    #[command(flatten)]
    store: Store,
}

/// Changes what is given.
///
/// # Errors
/// What makes no sense, or could not be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let refuse = |message: &str| Failure::Command(message.to_owned());
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let client = arguments.store.open_plainly()?;
    let strict = match given(&arguments.strictaffinity).as_deref() {
        None => None,
        // What Go takes for a truth value.
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        Some(_) => return Err(refuse("invalid value. Use true or false to set strictaffinity")),
    };
    let most = match given(&arguments.max_blocks_per_host).map(|text| text.parse::<u32>()) {
        None => None,
        Some(Ok(most)) => Some(most),
        Some(Err(_)) => return Err(refuse("invalid value for maxblockhost. Use a valid number")),
    };
    let persistence = given(&arguments.kubevirt_ip_persistence);
    if persistence.as_deref().is_some_and(|text| !matches!(text, "Enabled" | "Disabled")) {
        return Err(refuse("invalid value for --kubevirt-ip-persistence. Use Enabled or Disabled"));
    }
    let cooldown = match arguments.ip_cooldown_seconds {
        -1 => None,
        seconds @ 0..=1200 => Some(seconds as u32),
        _ => return Err(refuse("invalid value for --ip-cooldown-seconds. Use a number from 0 to 1200")),
    };
    if strict.is_none() && most.is_none() && persistence.is_none() && cooldown.is_none() {
        return Err(refuse("at least one configuration option must be specified"));
    }
    let wanted = persistence.clone();
    let machine = tortie_ipam::change_settings(move |config| {
        config.strict_affinity = strict.unwrap_or(config.strict_affinity);
        config.max_blocks_per_host = most.unwrap_or(config.max_blocks_per_host);
        config.ip_cooldown_seconds = cooldown.unwrap_or(config.ip_cooldown_seconds);
        if wanted.is_some() {
            config.vm_address_persistence = wanted.clone();
        }
    });
    ipam::run(&**client.store(), machine)
        .map_err(failed)?
        .map_err(|error| Failure::Command(format!("error: {error}")))?;
    let set = [
        ("StrictAffinity", strict.map(|strict| strict.to_string())),
        ("MaxBlocksPerHost", most.map(|most| most.to_string())),
        ("KubeVirtVMAddressPersistence", persistence),
        ("IPCooldownSeconds", cooldown.map(|cooldown| cooldown.to_string())),
    ];
    for (name, value) in set {
        if let Some(value) = value {
            println!("Successfully set {name} to: {value}");
        }
    }
    Ok(())
}
