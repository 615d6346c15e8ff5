//! `uninstall`: what Tortie put on a node goes again: plugin, configuration, routes, tunnels, and at last the table.
//!
//! The runtime's configuration goes first, so that no pod begins meanwhile that would need what goes next. What isn't ours stays:
//! routes by their protocol, programs by their content. Pods and addresses in the store are not touched.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use tortie_agent::config::{Environment, Stored};
use tortie_agent::{Error, ROUTE_PROTOCOL, tunnel_devices};
use tortie_netlink::Rtnetlink;
use tortie_netlink::rtnetlink::{LinkRef, RouteFilter};
use tortie_nft::flat::Settings;
use tortie_nft::{Batch, Client};

use super::install::{NAMES, Places};

const PREFIXES: &str = "FELIX_INTERFACEPREFIX";

/// The arguments of `tortie uninstall`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie uninstall                 on this machine, once its agent is stopped and its pods are gone
  tortie uninstall --with-pods     pods that are there keep their interfaces and are judged by nobody")]
pub struct Arguments {
    #[command(flatten)]
    places: Places,
    /// Go on although pods are there; afterwards no policy holds for them.
    #[arg(long)]
    with_pods: bool,
}

/// Removes what is there; what isn't is no error.
///
/// # Errors
/// If an agent runs here, if pods are there, or if something of ours can't be removed.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { places: Places { bin, conf, name }, with_pods } = arguments;
    let socket = crate::settings::agent_socket();
    if UnixStream::connect(&socket).is_ok() {
        bail!("an agent runs here ({}): it would put back what goes; stop it first", socket.display());
    }
    let mut links = Rtnetlink::open().context("cannot speak with the kernel about links and routes")?;
    let prefixes = prefixes()?;
    let pods =
        links.links()?.iter().filter(|link| prefixes.iter().any(|of| link.name.starts_with(&**of))).count();
    if pods > 0 && !with_pods {
        bail!(
            "pods are wired here ({pods}), and nobody would judge them: drain the node, or say --with-pods"
        );
    }

    let mut gone = Vec::new();
    for file in [conf.join(name), conf.join("tortie-kubeconfig")] {
        if remove(&file)? {
            gone.push(file.display().to_string());
        }
    }
    let program = fs::read("/proc/self/exe").context("cannot read this program")?;
    for file in NAMES.map(|plugin| bin.join(plugin)) {
        if fs::read(&file).is_ok_and(|there| there == program) && remove(&file)? {
            gone.push(file.display().to_string());
        }
    }
    let ours = RouteFilter { protocol: Some(ROUTE_PROTOCOL), ..RouteFilter::default() };
    let mut routes = 0;
    for route in links.routes(ours)? {
        routes += usize::from(links.delete_route(&route)?);
    }
    gone.push(format!("{routes} routes"));
    for tunnel in tunnel_devices() {
        if links.delete_link(LinkRef::Name(tunnel))? {
            gone.push(tunnel.to_owned());
        }
    }
    let table = Settings::default().table;
    let mut client = Client::open().context("cannot speak with the kernel about tables")?;
    if client.table(&table)?.is_some() {
        let mut batch = Batch::new(&table);
        batch.delete_table();
        client.commit(batch)?;
        gone.push(format!("table inet {}", table.name));
    }
    println!("removed {}", gone.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// What workload interfaces' names begin with here. The store isn't asked: it may be gone.
fn prefixes() -> anyhow::Result<Vec<String>> {
    let resolved = Environment::new(std::env::vars(), "").resolve(&Stored::new(""));
    let mut refused = resolved.refused.into_iter().map(|refused| refused.error);
    match refused.find(|error| matches!(error, Error::Setting { name, .. } if name == PREFIXES)) {
        Some(error) => Err(error.into()),
        None => Ok(resolved.settings.interface_prefixes),
    }
}

/// Removes a file; whether it was there.
fn remove(file: &Path) -> anyhow::Result<bool> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", file.display())),
    }
}
