//! `calicoctl node run`: Calico starts a container here. The agent is a service of the machine: with `--dryrun` its
//! command is shown with the settings that the arguments mean, else the service is named.

use std::net::IpAddr;

use clap::Args;

use crate::objects::{Failure, Store};

/// The arguments of `calicoctl node run`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The node's IPv4 address for routing, or autodetect.
    #[arg(long, default_value = "", hide_default_value = true)]
    ip: String,
    /// The node's IPv6 address for routing, or autodetect.
    #[arg(long, default_value = "", hide_default_value = true)]
    ip6: String,
    /// The node's AS number.
    #[arg(long = "as", value_name = "NUMBER")]
    as_number: Option<String>,
    /// The node's name; the machine's if there is none.
    #[arg(long)]
    name: Option<String>,
    /// How the IPv4 address is found.
    #[arg(long, default_value = "first-found")]
    ip_autodetection_method: String,
    /// How the IPv6 address is found.
    #[arg(long, default_value = "first-found")]
    ip6_autodetection_method: String,
    /// Accepted for compatibility with calicoctl: the directory with logs.
    #[arg(long, default_value = "/var/log/calico", hide = true)]
    log_dir: String,
    /// Accepted for compatibility with calicoctl: the container's image.
    #[arg(long, default_value = "quay.io/calico/node:latest", hide = true)]
    node_image: String,
    /// What announces routes: bird or none.
    #[arg(long, default_value = "bird")]
    backend: String,
    /// Only show the command.
    #[arg(long)]
    dryrun: bool,
    /// Show the command for an init system.
    #[arg(long)]
    init_system: bool,
    /// Make no pools.
    #[arg(long)]
    no_default_ippools: bool,
    /// Accepted for compatibility with calicoctl: a file with Felix's settings.
    #[arg(long, hide = true)]
    felix_config: Option<String>,
    #[command(flatten)]
    store: Store,
}

/// Shows the command, or names the service.
///
/// # Errors
/// What of the arguments makes no sense; without `--dryrun`, which service to start.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let environment = environment(arguments)?;
    let settings: String = environment.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    let command = format!("{settings}tortie agent --config {}", arguments.store.config.display());
    if !arguments.dryrun {
        return Err(Failure::Command(format!(
            "The node's agent is a service of this machine, not a container. Start it with:\n\n  systemctl enable --now tortie\n\nIts settings are in /etc/tortie/agent.env:\n\n{}",
            environment.iter().map(|(name, value)| format!("  {name}={value}\n")).collect::<String>()
        )));
    }
    println!("Use the following command to start the node's agent:\n\n{command}\n");
    if arguments.init_system {
        println!("Use the following command to stop the node's agent:\n\nsystemctl stop tortie\n");
    } else {
        println!(
            "If you are running it in an init system, use the --init-system flag\nto display the appropriate start and stop commands."
        );
    }
    Ok(())
}

/// The variables that the arguments mean.
fn environment(arguments: &Arguments) -> Result<Vec<(&'static str, String)>, Failure> {
    let refuse = |message: String| Err(Failure::Command(message));
    for (text, flag, is_v4) in [(&arguments.ip, "--ip", true), (&arguments.ip6, "--ip6", false)] {
        if text.is_empty() || text == "autodetect" {
            continue;
        }
        match text.parse::<IpAddr>() {
            Ok(address) if address.is_ipv4() == is_v4 => {}
            Ok(_) => return refuse(format!("Error executing command: {flag} is wrong IP version")),
            Err(_) => {
                let message = format!("Error executing command: invalid IP address specified: {text}");
                return Err(Failure::Printed(message));
            }
        }
    }
    if !matches!(arguments.backend.as_str(), "bird" | "none") {
        return refuse(format!("Error executing command: unknown backend '{}'", arguments.backend));
    }
    let as_number = match arguments.as_number.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(as_number(text).ok_or_else(|| {
            Failure::Printed(format!("Error executing command: invalid AS Number specified: {text}"))
        })?),
    };
    let name = match arguments.name.clone().filter(|name| !name.is_empty()) {
        Some(name) => name,
        None => match nix::unistd::gethostname() {
            Ok(name) => name.to_string_lossy().to_lowercase(),
            Err(_) => return refuse("Error executing command: unable to determine node name".to_owned()),
        },
    };
    let mut variables = vec![("NODENAME", name), ("CALICO_NETWORKING_BACKEND", arguments.backend.clone())];
    if arguments.no_default_ippools {
        variables.push(("NO_DEFAULT_POOLS", "true".to_owned()));
    }
    let optional = [
        ("IP_AUTODETECTION_METHOD", &arguments.ip_autodetection_method),
        ("IP6_AUTODETECTION_METHOD", &arguments.ip6_autodetection_method),
        ("IP", &arguments.ip),
        ("IP6", &arguments.ip6),
    ];
    let set = optional.into_iter().filter(|(_, value)| !value.is_empty() && *value != "first-found");
    variables.extend(set.map(|(name, value)| (name, value.clone())));
    variables.extend(as_number.map(|number| ("AS", number.to_string())));
    Ok(variables)
}

/// An AS number, plain or as two parts with a dot.
fn as_number(text: &str) -> Option<u32> {
    match text.split_once('.') {
        None => text.parse().ok(),
        Some((high, low)) => {
            Some(u32::from(high.parse::<u16>().ok()?) << 16 | u32::from(low.parse::<u16>().ok()?))
        }
    }
}
