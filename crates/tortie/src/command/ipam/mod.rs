//! `ipam`: address management as people see and mend it. Figures and words are calicoctl's.

mod check;
mod configure;
mod release;
mod show;
mod split;
mod survey;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use tortie_api::endpoint::NodeSpec;
use tortie_api::pool::{IpPoolSpec, IpReservationSpec};
use tortie_ipam::{Now, Pool, Reservations, View};
use tortie_store::resources::Client;

use crate::objects::Failure;

pub use split::is_locked;

/// The arguments of `ipam`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare address management's records with each other and with what uses addresses.
    Check(check::Arguments),
    /// Release an address, or what a report of `ipam check` found leaked.
    Release(release::Arguments),
    /// Show how full pools and blocks are, who has an address, who borrows, or the settings.
    Show(show::Arguments),
    /// Split a pool into equal parts. The datastore must be locked.
    Split(split::Arguments),
    /// Change the settings.
    Configure(configure::Arguments),
}

/// Does it.
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Release(arguments) => release::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Split(arguments) => split::run(&arguments),
        Command::Configure(arguments) => configure::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

/// A failure of the datastore.
fn failed(error: tortie_store::Error) -> Failure {
    Failure::Command(error.to_string())
}

/// The address that a text is; what is none is told of on standard output, as calicoctl does.
fn address(text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|_| {
        Failure::Printed(format!("Error executing command: invalid IP address specified: {text}"))
    })
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Pools, reservations and the labels of all nodes. A pool that can't be read isn't used.
fn view(client: &Client) -> Result<Arc<View>, Failure> {
    let mut pools = Vec::new();
    for object in client.list_as::<IpPoolSpec>(None).map_err(failed)? {
        match Pool::parse(&object) {
            Ok(pool) => pools.push(pool),
            Err(error) => tracing::warn!(%error, "IP pool not used"),
        }
    }
    let reservations = client.list_as::<IpReservationSpec>(None).map_err(failed)?;
    let reservations =
        Reservations::parse(&reservations).map_err(|error| Failure::Command(error.to_string()))?;
    let nodes = client.list_as::<NodeSpec>(None).map_err(failed)?.into_iter();
    let nodes: BTreeMap<_, _> = nodes.map(|node| (node.metadata.name, node.metadata.labels)).collect();
    Ok(Arc::new(View::new(pools, reservations, nodes)))
}
