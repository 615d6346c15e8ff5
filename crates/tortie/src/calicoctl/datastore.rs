//! `calicoctl datastore migrate`: the lock of the cluster, and its contents in the form that Calico's import reads.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::resources::Labels;

use super::export;
use crate::objects::{Failure, Store};
use crate::settings;

/// The arguments of `calicoctl datastore`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Datastore,
}

#[derive(Debug, Subcommand)]
enum Datastore {
    /// Move a cluster to Kubernetes, or lock it.
    Migrate(Migrate),
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
struct Migrate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write all that a cluster in Kubernetes needs to standard output.
    Export(Only),
    /// Read such a file into a cluster in Kubernetes.
    Import(Import),
    /// Lock the cluster: objects can be written, but no pod comes or goes.
    Lock(Only),
    /// Unlock the cluster.
    Unlock(Only),
}

#[derive(Debug, Args)]
struct Only {
    #[command(flatten)]
    store: Store,
}

#[derive(Debug, Args)]
struct Import {
    /// The file to read.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    filename: PathBuf,
    #[command(flatten)]
    store: Store,
}

/// Does it.
pub fn run(arguments: Arguments) -> ExitCode {
    let Datastore::Migrate(Migrate { command }) = arguments.command;
    let done = match command {
        Command::Export(Only { store }) => export::run(&store),
        Command::Import(Import { filename: _, store }) => Err(refuse_import(&store)),
        Command::Lock(Only { store }) => set_ready(&store, false),
        Command::Unlock(Only { store }) => set_ready(&store, true),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

/// An import is always into Kubernetes.
fn refuse_import(store: &Store) -> Failure {
    match settings::datastore_type(&store.config) {
        Ok(found) => Failure::Command(format!(
            "invalid datastore type: {found} to import to for datastore migration. Datastore type must be kubernetes"
        )),
        Err(error) => Failure::Command(format!("{error:#}")),
    }
}

fn set_ready(store: &Store, ready: bool) -> Result<(), Failure> {
    let doing = if ready { "unlocking" } else { "locking" };
    let client = store.open_plainly()?;
    if !ready {
        client.ensure_initialized().map_err(|error| {
            Failure::Command(format!(
                "unable to initialize cluster information for the datastore migration: {error}"
            ))
        })?;
    }
    let mut information =
        client.get(&ResourceKey::cluster(Kind::ClusterInformation, "default")).map_err(|error| {
            Failure::Command(format!("error retrieving ClusterInformation for {doing}: {error}"))
        })?;
    information["spec"]["datastoreReady"] = json!(ready);
    client.update(information, Labels::Replace).map_err(|error| {
        Failure::Command(format!("error updating ClusterInformation for {doing}: {error}"))
    })?;
    println!("Datastore {}.", if ready { "unlocked" } else { "locked" });
    Ok(())
}
