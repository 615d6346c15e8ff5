//! The plugin's way to the Kubernetes API while no agent answers it: a kubeconfig on the host with a token that is renewed.
//!
//! The token is that of an account of the plugin's own, with fewer rights than the agent has, if `CALICO_CNI_SERVICE_ACCOUNT`
//! names one; else the agent's, which Kubernetes renews.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::Environment;
use crate::kubernetes::Machine;
use crate::monitors::spawn;
use crate::{Error, Result};

/// What every pod has.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// When what is done, see [`Wanted::timing`].
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How often it is looked whether there is a new token, and how soon a refused one is asked for again.
    pub look: Duration,
    /// How long a token of an account of its own is used at most; half its time, if that is less.
    pub renew: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { look: Duration::from_secs(60), renew: Duration::from_secs(24 * 3600) }
    }
}

/// How soon it is tried again while the API can't be reached.
const SOON: Duration = Duration::from_millis(500);

/// Where tokens come from.
enum Tokens {
    /// The agent's own; others renew it when a fifth of its hour is left.
    Own,
    /// That account's.
    Of { machine: Machine, namespace: Option<String>, account: String, renew: Duration, due: Instant },
}

/// What a kubeconfig is made with.
pub struct Wanted {
    /// Where it is.
    pub path: PathBuf,
    /// The server's URL.
    pub server: String,
    /// The cluster and the plugin's own account in the agent's namespace.
    pub account: Option<(Machine, String)>,
    /// Where the agent's pod has the files of its own account.
    pub files: PathBuf,
    /// When what is done.
    pub timing: Timing,
}

impl Wanted {
    /// What the environment says of it, in a pod of this node; `None` if nothing.
    pub fn of(environment: &Environment, machine: Option<&Machine>) -> Option<Wanted> {
        let host = environment.get("KUBERNETES_SERVICE_HOST")?;
        let port = environment.get("KUBERNETES_SERVICE_PORT")?;
        let server = if host.contains(':') {
            format!("https://[{host}]:{port}")
        } else {
            format!("https://{host}:{port}")
        };
        let account = environment.get("CALICO_CNI_SERVICE_ACCOUNT").map(str::to_owned);
        Some(Wanted {
            path: environment.get("CNI_KUBECONFIG")?.into(),
            server,
            account: machine.cloned().zip(account),
            files: ACCOUNT.into(),
            timing: Timing::default(),
        })
    }
}

/// A kubeconfig that is kept true until this is dropped.
#[derive(Debug)]
pub struct Kept(Arc<()>);

/// Keeps a kubeconfig true, in a thread. `failed` hears of it if there can be no first one; an API that can't be reached is
/// waited for.
///
/// # Errors
/// If there is no thread for it.
pub fn keep(wanted: Wanted, failed: impl FnOnce(Error) + Send + 'static) -> Result<Kept> {
    let Wanted { path, server, account, files, timing } = wanted;
    let mut tokens = match account {
        None => Tokens::Own,
        Some((machine, account)) => {
            let (renew, due) = (timing.renew, Instant::now());
            Tokens::Of { machine, namespace: None, account, renew, due }
        }
    };
    let kept = Kept(Arc::new(()));
    let is_wanted = Arc::downgrade(&kept.0);
    spawn("kubeconfig", move || {
        let (mut token, mut said) = (String::new(), None);
        while is_wanted.strong_count() > 0 {
            let done = tokens.next(&files).and_then(|next| {
                if next.as_ref().is_none_or(|next| *next == token) && (path.exists() || token.is_empty()) {
                    return Ok(());
                }
                token = next.unwrap_or_else(|| std::mem::take(&mut token));
                write(&path, &server, &token, &files)
            });
            match done {
                Ok(()) => {
                    said = None;
                    sleep(timing.look);
                }
                Err(error) if error.passes() || path.exists() => {
                    let words = error.to_string();
                    if said.as_ref() != Some(&words) {
                        tracing::warn!(error = words, "the plugin's kubeconfig stays as it was");
                        said = Some(words);
                    }
                    sleep(if error.passes() { SOON } else { timing.look });
                }
                Err(error) => return failed(error),
            }
        }
    })?;
    Ok(kept)
}

impl Tokens {
    /// The token, if it is to be written now.
    fn next(&mut self, files: &Path) -> Result<Option<String>> {
        match self {
            Tokens::Own => read(files, "token").map(Some),
            Tokens::Of { due, .. } if Instant::now() < *due => Ok(None),
            Tokens::Of { machine, namespace, account, renew, due } => {
                let namespace = match namespace {
                    Some(known) => known,
                    None => namespace.insert(read(files, "namespace")?.trim().to_owned()),
                };
                let (token, left) = machine.token(namespace, account)?;
                *due = Instant::now() + (left / 2).min(*renew);
                Ok(Some(token))
            }
        }
    }
}

fn failed(path: PathBuf) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::File { path, error }
}

fn read(directory: &Path, name: &str) -> Result<String> {
    let path = directory.join(name);
    fs::read_to_string(&path).map_err(failed(path))
}

fn write(path: &Path, server: &str, token: &str, account: &Path) -> Result<()> {
    let authority = read(account, "ca.crt")?;
    let text = format!(
        "# The CNI plugin's, written by the agent of this node.\napiVersion: v1\nkind: Config\ncurrent-context: node\n\
         clusters: [{{name: cluster, cluster: {{server: \"{server}\", certificate-authority-data: {}}}}}]\n\
         users: [{{name: node, user: {{token: \"{}\"}}}}]\ncontexts: [{{name: node, context: {{cluster: cluster, user: node}}}}]\n",
        STANDARD.encode(authority),
        token.trim(),
    );
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let place = || -> std::io::Result<()> {
        let mut file: File =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    place().map_err(failed(path.to_owned()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt as _;

    use tortie_store::kubernetes::{Credentials, Options};

    use super::*;

    #[test]
    fn what_is_written_is_understood() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.crt"), "-----BEGIN").unwrap();
        let path = directory.path().join("kubeconfig");
        write(&path, "https://[fd00::1]:443", "secret\n", directory.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let said = |name: &str| (name == "KUBECONFIG").then(|| path.display().to_string());
        let options = Options::from_settings(said).unwrap();
        assert_eq!(options.server.to_string(), "https://[fd00::1]:443");
        assert_eq!(options.credentials, Credentials::Token("secret".into()));
        let missing = write(&path, "https://h", "t", Path::new("/nowhere")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/ca.crt"), "{missing}");
    }
}
