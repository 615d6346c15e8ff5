//! How a command reaches the datastore, and in which words it says that it can't.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::resources::{COMPATIBLE_VERSION, Client};
use tortie_store::{Error, keys};

use super::{Failure, Gate};
use crate::{calicoctl, settings};

/// The arguments of all commands that use the datastore.
#[derive(Debug, Clone, Args)]
pub struct Store {
    /// A file with the settings of the datastore.
    #[arg(short, long, default_value = settings::DEFAULT_FILE)]
    pub config: PathBuf,
    /// The context of the kubeconfig, if not the current one.
    #[arg(long, hide = true)]
    pub context: Option<String>,
    /// Work although the cluster's version is another one.
    #[arg(long, hide = true)]
    pub allow_version_mismatch: bool,
}

/// A datastore that was opened, or why it could not be, which is told when it is needed.
pub struct Opened(Result<Client, String>);

impl Opened {
    /// The datastore.
    ///
    /// # Errors
    /// Why it can't be opened.
    pub fn client(self) -> Result<Client, Failure> {
        self.0.map_err(|message| printed(format!("Failed to create Calico API client: {message}")))
    }

    /// The same, whose writes wait for `gate`.
    pub fn behind(self, gate: &Gate) -> Opened {
        Opened(self.0.map(|client| gate.before(&client)))
    }

    /// The same to write, and makes what an empty one has to have. That this fails fails nothing: the write tells.
    ///
    /// # Errors
    /// As [`Opened::client`].
    pub fn client_to_write(self) -> Result<Client, Failure> {
        let client = self.client()?;
        if let Err(error) = client.ensure_initialized() {
            tracing::info!(%error, "unable to initialize the datastore");
        }
        Ok(client)
    }
}

/// Refuses a file with settings that isn't there, unless nobody asked for it.
///
/// # Errors
/// In calicoctl's words.
pub fn require_file(config: &Path) -> Result<(), Failure> {
    match config == Path::new(settings::DEFAULT_FILE) || config.exists() {
        true => Ok(()),
        false => Err(printed(format!("Error reading config file: {}", config.display()))),
    }
}

/// What calicoctl prints on standard output.
fn printed(message: String) -> Failure {
    if calicoctl::called() { Failure::Printed(message) } else { Failure::Command(message) }
}

impl Store {
    /// Opens the datastore, as a command's first deed: of a cluster of another version not even files are read.
    ///
    /// # Errors
    /// A [`Failure`] in calicoctl's words: the file with the settings isn't there; or the program was called as calicoctl and the
    /// cluster is of another version of Calico's, which `--allow-version-mismatch` overrides.
    pub fn open(&self) -> Result<Opened, Failure> {
        self.open_ahead(Vec::new())
    }

    /// The same for who reads these keys next: where the cluster's version is asked for, they come with it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_ahead(&self, keys: Vec<String>) -> Result<Opened, Failure> {
        require_file(&self.config)?;
        match self.connect() {
            Ok(client) => Ok(Opened(Ok(self.checked(client, keys)?))),
            Err(message) => Ok(Opened(Err(message))),
        }
    }

    /// The same for commands that are not about objects: what went wrong has no words before it, and is an error.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_plainly(&self) -> Result<Client, Failure> {
        require_file(&self.config)?;
        self.checked(self.connect().map_err(Failure::Command)?, Vec::new())
    }

    /// Opens it, whatever version the cluster has.
    ///
    /// # Errors
    /// Why it can't be opened.
    pub fn connect(&self) -> Result<Client, String> {
        settings::client(&self.config, self.context.as_deref()).map_err(|error| format!("{error:#}"))
    }

    fn checked(&self, client: Client, mut next: Vec<String>) -> Result<Client, Failure> {
        if !calicoctl::called() || self.allow_version_mismatch {
            return Ok(client);
        }
        let id = ResourceKey::cluster(Kind::ClusterInformation, "default");
        let client = if next.is_empty() {
            Ok(client)
        } else {
            next.push(keys::resource(&id));
            client.ahead(next)
        };
        let read = client.and_then(|client| match client.get(&id) {
            Ok(information) => Ok((client, Some(information))),
            Err(Error::Missing { .. }) => Ok((client, None)),
            Err(error) => Err(error),
        });
        let (client, information) = match read {
            Ok((client, Some(information))) => (client, information),
            Ok((client, None)) => return Ok(client),
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
