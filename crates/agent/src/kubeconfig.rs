//! The plugin's way to the Kubernetes API while no agent answers it: a kubeconfig on the host, with the agent's own token, which
//! Kubernetes renews and which is written anew then.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::monitors::spawn;
use crate::{Error, Result};

/// What every pod has.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How often the token is looked at; it lives for an hour, and is renewed when a fifth of that is left.
const PERIOD: Duration = Duration::from_secs(60);

/// Keeps the file at `path` true for `server`, as long as the process lives. The first is there when this returns.
///
/// # Errors
/// If it can't be written.
pub fn keep(path: &Path, server: String) -> Result<()> {
    let mut written = write(path, &server, Path::new(ACCOUNT))?;
    let path = path.to_owned();
    spawn("kubeconfig", move || {
        loop {
            sleep(PERIOD);
            let token = fs::read(Path::new(ACCOUNT).join("token")).unwrap_or_default();
            if token == written && path.exists() {
                continue;
            }
            match write(&path, &server, Path::new(ACCOUNT)) {
                Ok(token) => written = token,
                Err(error) => tracing::warn!(%error, "the plugin's kubeconfig stays as it was"),
            }
        }
    })?;
    Ok(())
}

/// Returns the token that was written.
fn write(path: &Path, server: &str, account: &Path) -> Result<Vec<u8>> {
    let failed = |path: PathBuf| move |error: std::io::Error| Error::File { path, error };
    let read = |name: &str| {
        let path = account.join(name);
        fs::read(&path).map_err(failed(path))
    };
    let (token, authority) = (read("token")?, read("ca.crt")?);
    let text = format!(
        "# The CNI plugin's, written by the agent of this node.\napiVersion: v1\nkind: Config\ncurrent-context: node\n\
         clusters: [{{name: cluster, cluster: {{server: \"{server}\", certificate-authority-data: {}}}}}]\n\
         users: [{{name: node, user: {{token: \"{}\"}}}}]\ncontexts: [{{name: node, context: {{cluster: cluster, user: node}}}}]\n",
        STANDARD.encode(authority),
        String::from_utf8_lossy(&token).trim(),
    );
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let place = || -> std::io::Result<()> {
        let mut file: File =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    place().map_err(failed(path.to_owned()))?;
    Ok(token)
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
        fs::write(directory.path().join("token"), "secret\n").unwrap();
        fs::write(directory.path().join("ca.crt"), "-----BEGIN").unwrap();
        let path = directory.path().join("kubeconfig");
        write(&path, "https://[fd00::1]:443", directory.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let said = |name: &str| (name == "KUBECONFIG").then(|| path.display().to_string());
        let options = Options::from_settings(said).unwrap();
        assert_eq!(options.server.to_string(), "https://[fd00::1]:443");
        assert_eq!(options.credentials, Credentials::Token("secret".into()));
        let missing = write(&path, "https://h", Path::new("/nowhere")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/token"), "{missing}");
    }
}
