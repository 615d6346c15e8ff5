//! The plugin's way to the Kubernetes API while no agent answers it: a kubeconfig on the host with a token that is renewed.
//!
//! The token is that of an account of the plugin's own, with fewer rights than the agent has, if `CALICO_CNI_SERVICE_ACCOUNT`
//! names one; else the agent's, which Kubernetes renews.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::kubernetes::Machine;
use crate::monitors::spawn;
use crate::{Error, Result};

/// What every pod has.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How often it is looked whether there is a new token, and how soon a refused one is asked for again.
const PERIOD: Duration = Duration::from_secs(60);

/// Where tokens come from.
enum Tokens {
    /// The agent's own; others renew it when a fifth of its hour is left.
    Own,
    /// That account's; it is renewed when half of its time is over.
    Of { machine: Machine, namespace: String, account: String, due: Instant },
}

/// What a kubeconfig is made with.
pub struct Wanted {
    /// Where it is.
    pub path: PathBuf,
    /// The server's URL.
    pub server: String,
    /// The cluster and the plugin's own account in the agent's namespace.
    pub account: Option<(Machine, String)>,
}

/// Keeps a kubeconfig true as long as the process lives. The first is there when this returns.
///
/// # Errors
/// If it can't be written, or there is no token for it.
pub fn keep(wanted: Wanted) -> Result<()> {
    let Wanted { path, server, account } = wanted;
    let directory = Path::new(ACCOUNT);
    let mut tokens = match account {
        None => Tokens::Own,
        Some((machine, account)) => {
            let namespace = read(directory, "namespace")?;
            Tokens::Of { machine, namespace: namespace.trim().to_owned(), account, due: Instant::now() }
        }
    };
    let mut token = String::new();
    match tokens.next() {
        Ok(first) => {
            token = first.unwrap_or_default();
            write(&path, &server, &token, directory)?;
        }
        // The one of before is good for hours.
        Err(error) if path.exists() => tracing::warn!(%error, "the plugin's kubeconfig stays as it was"),
        Err(error) => return Err(error),
    }
    spawn("kubeconfig", move || {
        loop {
            sleep(PERIOD);
            let kept = tokens.next().and_then(|next| {
                if next.as_ref().is_none_or(|next| *next == token) && (path.exists() || token.is_empty()) {
                    return Ok(());
                }
                token = next.unwrap_or_else(|| std::mem::take(&mut token));
                write(&path, &server, &token, directory)
            });
            if let Err(error) = kept {
                tracing::warn!(%error, "the plugin's kubeconfig stays as it was");
            }
        }
    })?;
    Ok(())
}

impl Tokens {
    /// The token, if it is to be written now.
    fn next(&mut self) -> Result<Option<String>> {
        match self {
            Tokens::Own => read(Path::new(ACCOUNT), "token").map(Some),
            Tokens::Of { due, .. } if Instant::now() < *due => Ok(None),
            Tokens::Of { machine, namespace, account, due } => {
                let (token, left) = machine.token(namespace, account)?;
                *due = Instant::now() + left / 2;
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
