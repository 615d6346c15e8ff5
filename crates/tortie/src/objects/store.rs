//! How a command reaches the datastore, and in which words it says that it can't.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::Error;
use tortie_store::resources::{COMPATIBLE_VERSION, Client};

use super::Failure;
use crate::{calicoctl, settings};

/// The arguments of all commands that use the datastore.
#[derive(Debug, Clone, Args)]
pub struct Store {
    /// A file with the settings of the datastore.
    #[arg(short, long, default_value = settings::DEFAULT_FILE)]
    pub config: PathBuf,
    /// Accepted for compatibility with calicoctl: the context of a kubeconfig file.
    #[arg(long, hide = true)]
    pub context: Option<String>,
    /// Work although the cluster's version is another one.
    #[arg(long, hide = true)]
    pub allow_version_mismatch: bool,
}

impl Store {
    /// Opens the datastore.
    ///
    /// # Errors
    /// A [`Failure`] in calicoctl's words, also if the program was called as calicoctl and the cluster is of another
    /// version of Calico's, which `--allow-version-mismatch` overrides.
    pub fn open(&self) -> Result<Client, Failure> {
        let client = self.connect().map_err(|message| {
            let message = format!("Failed to create Calico API client: {message}");
            // calicoctl prints this one on standard output.
            if calicoctl::called() { Failure::Printed(message) } else { Failure::Command(message) }
        })?;
        self.checked(client)
    }

    /// The same for commands that are not about objects: what went wrong has no words before it, and is an error.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_plainly(&self) -> Result<Client, Failure> {
        self.checked(self.connect().map_err(Failure::Command)?)
    }

    /// Opens the datastore to write, and makes what an empty one has to have. That this fails fails nothing: the write
    /// tells.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_to_write(&self) -> Result<Client, Failure> {
        let client = self.open()?;
        if let Err(error) = client.ensure_initialized() {
            tracing::info!(%error, "unable to initialize the datastore");
        }
        Ok(client)
    }

    /// Opens it, whatever version the cluster has.
    ///
    /// # Errors
    /// Why it can't be opened.
    pub fn connect(&self) -> Result<Client, String> {
        settings::client(&self.config).map_err(|error| format!("{error:#}"))
    }

    fn checked(&self, client: Client) -> Result<Client, Failure> {
        if !calicoctl::called() || self.allow_version_mismatch {
            return Ok(client);
        }
        let information = match client.get(&ResourceKey::cluster(Kind::ClusterInformation, "default")) {
            Ok(information) => information,
            Err(Error::Missing { .. }) => return Ok(client),
            Err(error) => {
                return Err(Failure::Command(format!(
                    "Unable to get Cluster Information to verify version mismatch: {error}\nUse --allow-version-mismatch to override.\n"
                )));
            }
        };
        let cluster = information.pointer("/spec/calicoVersion").and_then(Value::as_str).unwrap_or_default();
        let (cluster, ours) = (release(cluster), release(COMPATIBLE_VERSION));
        if cluster.is_empty() || cluster == ours {
            return Ok(client);
        }
        Err(Failure::Command(format!(
            "Version mismatch.\nClient Version:   {COMPATIBLE_VERSION}\nCluster Version:  {cluster}\nUse --allow-version-mismatch to override.\n"
        )))
    }
}

/// A version without `v` and without what follows a hyphen.
fn release(version: &str) -> &str {
    let version = version.strip_prefix('v').unwrap_or(version);
    version.split('-').next().unwrap_or_default()
}
