//! Whether the process lives, and whether it is ready: asked at a socket, by `tortie controllers --check` in a pod's probes.
//!
//! It *lives* while each of its loops goes on ([`crate::pulse`]), whatever the datastore does: a restart wouldn't mend that. It
//! is *ready* while datastore and Kubernetes API answer, asked anew for each answer; also if another one leads. A socket
//! needs no port, which in the node's network would be one of the node's, and tells nothing of a process that is gone.
//!
//! A question is `live` or `ready` and a newline; the answer is [`Conditions`] in JSON, in the form of Calico's status file.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tortie_api::cluster::KubeControllersConfigurationSpec;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::resources::Client;
use tortie_store::{Datastore, Error as StoreError};

use crate::pulse::Pulses;
use crate::settings::merge;
use crate::{Error, Result};

/// How long somebody who has connected may take to ask.
const PATIENCE: Duration = Duration::from_secs(1);

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Whether it lives.
    Live,
    /// Whether it is ready.
    Ready,
}

impl Check {
    fn word(self) -> &'static str {
        match self {
            Check::Live => "live",
            Check::Ready => "ready",
        }
    }
}

/// What one thing that is looked at comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Condition {
    /// Whether it is well.
    pub ready: bool,
    /// Why not.
    pub reason: String,
}

/// What all that is looked at comes to, by name: `Loops`; or `CalicoDatastore` and, where that is another one, `KubeAPIServer`.
pub type Conditions = BTreeMap<String, Condition>;

/// What answers.
pub struct Health {
    /// The loops.
    pub pulses: Pulses,
    /// Where Calico's objects are.
    pub client: Client,
    /// Kubernetes' API, where that isn't the same.
    pub cluster: Option<Arc<dyn Datastore>>,
    /// The variables, which are stronger than what the datastore says of `healthChecks`.
    pub variables: BTreeMap<String, String>,
    /// Whether nothing is looked at: then all is well as long as somebody answers.
    pub is_off: AtomicBool,
}

impl Health {
    fn conditions(&self, check: Check) -> Conditions {
        let found = match check {
            Check::Live => BTreeMap::from([("Loops".to_owned(), self.loops())]),
            Check::Ready => self.reached(),
        };
        match self.is_off.load(Ordering::Relaxed) {
            true => BTreeMap::from([("HealthChecks".to_owned(), well())]),
            false => found,
        }
    }

    fn loops(&self) -> Condition {
        let silent = self.pulses.silent().into_iter();
        let silent: Vec<String> =
            silent.map(|(name, silence)| format!("{name}: silent for {} s", silence.as_secs())).collect();
        Condition { ready: silent.is_empty(), reason: silent.join("; ") }
    }

    fn reached(&self) -> Conditions {
        let mut found = BTreeMap::from([("CalicoDatastore".to_owned(), condition(self.settings()))]);
        if let Some(cluster) = &self.cluster {
            found.insert("KubeAPIServer".to_owned(), condition(cluster.revision().map(drop)));
        }
        found
    }

    /// Reads the controllers' own object, by which one who doesn't lead hears whether health is looked at.
    fn settings(&self) -> Result<(), StoreError> {
        let key = ResourceKey::cluster(Kind::KubeControllersConfiguration, "default");
        let spec = match self.client.get_as::<KubeControllersConfigurationSpec>(&key) {
            Ok(object) => object.spec,
            Err(StoreError::Missing { .. }) => KubeControllersConfigurationSpec::default(),
            Err(error) => return Err(error),
        };
        // What the variables say was read before: they work.
        if let Ok((settings, _)) = merge(&self.variables, false, &spec) {
            self.is_off.store(!settings.health, Ordering::Relaxed);
        }
        Ok(())
    }

    fn answer(&self, stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut asked = String::new();
        BufReader::new((&stream).take(16)).read_line(&mut asked)?;
        let Some(check) = [Check::Live, Check::Ready].into_iter().find(|check| check.word() == asked.trim())
        else {
            return Ok(());
        };
        (&stream).write_all(&serde_json::to_vec(&self.conditions(check))?)
    }
}

fn well() -> Condition {
    Condition { ready: true, reason: String::new() }
}

fn condition(outcome: Result<(), StoreError>) -> Condition {
    outcome.map_or_else(|error| Condition { ready: false, reason: error.to_string() }, |()| well())
}

/// Answers at a socket, which is made with its directory, as long as the process runs. Where it can't be made that is logged.
///
/// # Errors
/// If there is no thread for it.
pub fn serve(path: &Path, health: Arc<Health>) -> Result<()> {
    let listener = match listen(path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "nobody can ask whether the controllers are well");
            return Ok(());
        }
    };
    let thread = |name: &'static str| std::thread::Builder::new().name(name.to_owned());
    let run = move || {
        for stream in listener.incoming().filter_map(io::Result::ok) {
            let health = Arc::clone(&health);
            // A datastore that takes its time keeps nobody else from asking.
            let answering = thread("answer").spawn(move || {
                if let Err(error) = health.answer(stream) {
                    tracing::debug!(%error, "who asked how the controllers are didn't hear it");
                }
            });
            if let Err(error) = answering {
                tracing::warn!(%error, "no thread to tell how the controllers are");
            }
        }
    };
    thread("health").spawn(run).map(drop).map_err(|source| Error::Thread { name: "health", source })
}

/// A socket for this user alone, in the place of one at which nobody answers.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "other controllers answer there"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Asks at a socket, and waits for the answer for as long as `patience`.
///
/// # Errors
/// Nobody answers there, or not in time.
pub fn ask(path: &Path, check: Check, patience: Duration) -> io::Result<Conditions> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    writeln!(stream, "{}", check.word())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
