//! `calicoctl datastore migrate`: the lock of the cluster, and its contents in the form that Calico's import reads.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::resources::{Client, Labels};
use tortie_store::{KeyValue, keys};

use super::{export, import};
use crate::objects::{Failure, Store};

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
    /// Store policies that old releases stored under another name under their own.
    MigratePolicyNames(Only),
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
    /// Read such a file into a cluster's Kubernetes API that holds nothing of Calico's yet, and leave it locked.
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
    /// The file to read, or - for standard input.
    #[arg(short, long)]
    filename: Option<PathBuf>,
    #[command(flatten)]
    store: Store,
}

/// Does it.
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Datastore::MigratePolicyNames(Only { store }) => rename_policies(&store),
        Datastore::Migrate(Migrate { command }) => match command {
            Command::Export(Only { store }) => export::run(&store),
            Command::Import(Import { filename, store }) => import::run(filename.as_deref(), &store),
            Command::Lock(Only { store }) => set_ready(&store, false),
            Command::Unlock(Only { store }) => set_ready(&store, true),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

fn set_ready(store: &Store, ready: bool) -> Result<(), Failure> {
    mark(&store.open_plainly()?, ready)
}

/// Locks a cluster, or unlocks it.
pub fn mark(client: &Client, ready: bool) -> Result<(), Failure> {
    let doing = if ready { "unlocking" } else { "locking" };
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

/// Gives each policy whose key has another name than the policy itself the key of its own name.
fn rename_policies(store: &Store) -> Result<(), Failure> {
    const POLICIES: [Kind; 4] = [
        Kind::NetworkPolicy,
        Kind::GlobalNetworkPolicy,
        Kind::StagedNetworkPolicy,
        Kind::StagedGlobalNetworkPolicy,
    ];
    let client = store.open_plainly()?;
    let mut count = 0;
    for kind in POLICIES {
        let listed = client.store().list_all(&keys::kind_prefix(kind));
        let listed = listed.map_err(|error| Failure::Command(format!("list {}: {error}", kind.name())))?;
        for stored in listed.items {
            count += usize::from(
                rename_policy(&client, stored).map_err(|error| Failure::Command(error.to_string()))?,
            );
        }
    }
    println!("Policy name migration complete, migrated {count} policies.");
    Ok(())
}

/// Whether the policy had another name.
fn rename_policy(client: &Client, stored: KeyValue) -> tortie_store::Result<bool> {
    let Some(id) = keys::parse_resource(&stored.key) else { return Ok(false) };
    let unreadable = |error: serde_json::Error| tortie_store::Error::Unreadable {
        key: stored.key.clone(),
        cause: error.to_string(),
    };
    let mut policy: Value = serde_json::from_slice(&stored.value).map_err(unreadable)?;
    // The name that the user gave is kept in an annotation.
    let original =
        policy.pointer("/metadata/annotations/projectcalico.org~1metadata").and_then(Value::as_str);
    let original: Option<Value> = original.and_then(|text| serde_json::from_str(text).ok());
    let name = original.as_ref().and_then(|original| original["name"].as_str()).unwrap_or_default();
    if name.is_empty() || name == &*id.name {
        return Ok(false);
    }
    policy["metadata"]["name"] = json!(name);
    let new = ResourceKey { name: name.into(), ..id.clone() };
    match client.store().create(&keys::resource(&new), &tortie_store::json::to_bytes(id.kind, &policy)) {
        // An earlier run may have been stopped in between.
        Ok(_) | Err(tortie_store::Error::Exists { .. }) => {}
        Err(error) => return Err(error),
    }
    client.store().delete(&stored.key, Some(stored.revision))?;
    Ok(true)
}
