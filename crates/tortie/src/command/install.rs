//! `install`: the CNI plugin and its configuration on a node, as a DaemonSet's first container does it.
//!
//! Runtimes read the configuration's directory all the time, so the binary is there before the configuration is, and each
//! takes its place in one step.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

/// The names under which the plugin is called.
pub const NAMES: [&str; 3] = ["calico", "calico-ipam", "loopback"];

/// What a node without a configuration of its own gets.
const NETWORK: &str = include_str!("../../../../packaging/10-tortie.conflist");

/// Where on a node the plugin and its configuration are.
#[derive(Debug, Args)]
pub struct Places {
    /// The directory of CNI plugins.
    #[arg(long, default_value = "/opt/cni/bin")]
    pub bin: PathBuf,
    /// The directory of network configurations.
    #[arg(long, default_value = "/etc/cni/net.d")]
    pub conf: PathBuf,
    /// The configuration's file name; `CNI_CONF_NAME` says so too.
    #[arg(long, env = "CNI_CONF_NAME", default_value = "10-tortie.conflist")]
    pub name: String,
}

/// The arguments of `tortie install`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tortie install                                                       on this machine
  tortie install --bin /host/opt/cni/bin --conf /host/etc/cni/net.d    from a container")]
pub struct Arguments {
    #[command(flatten)]
    places: Places,
    /// The configuration, instead of a plain one; `__KUBERNETES_NODE_NAME__`, `__CNI_MTU__` and others of Calico's are filled in.
    #[arg(long, env = "CNI_NETWORK_CONFIG", hide_env_values = true)]
    network: Option<String>,
    /// A directory of certificates and keys for the plugin, which are put beside the configuration, in `calico-tls`.
    #[arg(long, env = "SECRETS_MOUNT_DIR")]
    secrets: Option<PathBuf>,
}

/// Installs the plugin.
///
/// # Errors
/// If a file can't be written, or the configuration is none.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { places: Places { bin, conf, name }, network, secrets } = arguments;
    if name.contains('/') || !(name.ends_with(".conflist") || name.ends_with(".conf")) {
        bail!("--name: found {name:?}, expected a file name that ends in .conflist");
    }
    let network = filled(network.as_deref().unwrap_or(NETWORK), |name| std::env::var(name).ok());
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&network) {
        bail!("CNI_NETWORK_CONFIG: found no JSON: {error}");
    }
    let program = fs::read("/proc/self/exe").context("cannot read this program")?;
    for plugin in NAMES {
        // Any that is there will do.
        if plugin == "loopback" && bin.join(plugin).exists() {
            continue;
        }
        place(&bin.join(plugin), &program, 0o755)?;
    }
    if let Some(secrets) = secrets {
        copy(secrets, &conf.join("calico-tls"))?;
    }
    place(&conf.join(name), network.as_bytes(), 0o644)?;
    println!("installed {} as {} and {}", bin.display(), NAMES.join(", "), conf.join(name).display());
    Ok(ExitCode::SUCCESS)
}

/// Copies the files of a directory, for their owner alone.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", from.display()))?.path();
        // What Kubernetes keeps beside a secret's files begins with dots.
        let Some(name) =
            path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'))
        else {
            continue;
        };
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        place(&to.join(name), &content, 0o600)?;
    }
    Ok(())
}

/// Writes a file beside its place and moves it there; one that is the same stays.
fn place(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        if fs::read(path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Puts in what Calico's installer knows.
fn filled(network: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let known = [
        ("__KUBERNETES_NODE_NAME__", "KUBERNETES_NODE_NAME", ""),
        ("__CNI_MTU__", "CNI_MTU", "0"),
        ("__LOG_LEVEL__", "LOG_LEVEL", "warn"),
        ("__KUBERNETES_SERVICE_HOST__", "KUBERNETES_SERVICE_HOST", ""),
        ("__KUBERNETES_SERVICE_PORT__", "KUBERNETES_SERVICE_PORT", ""),
        ("__ETCD_ENDPOINTS__", "ETCD_ENDPOINTS", ""),
        ("__ETCD_CA_CERT_FILE__", "ETCD_CA_CERT_FILE", ""),
        ("__ETCD_CERT_FILE__", "ETCD_CERT_FILE", ""),
        ("__ETCD_KEY_FILE__", "ETCD_KEY_FILE", ""),
        ("__KUBECONFIG_FILEPATH__", "CNI_KUBECONFIG", "/etc/cni/net.d/tortie-kubeconfig"),
    ];
    known.iter().fold(network.to_owned(), |text, (mark, name, default)| {
        text.replace(mark, &variable(name).unwrap_or_else(|| (*default).to_owned()))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn calicos_marks_are_filled_in() {
        let text = r#"{"nodename": "__KUBERNETES_NODE_NAME__", "mtu": __CNI_MTU__}"#;
        let name = |name: &str| (name == "KUBERNETES_NODE_NAME").then(|| "n1".to_owned());
        assert_eq!(filled(text, name), r#"{"nodename": "n1", "mtu": 0}"#);
    }

    #[test]
    fn secrets_are_put_beside_the_configuration_for_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("net.d/calico-tls"));
        fs::create_dir_all(from.join("..data")).unwrap();
        fs::write(from.join("etcd-key"), "secret").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("etcd-key")).unwrap(), b"secret");
        assert_eq!(fs::metadata(to.join("etcd-key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
        let error = copy(Path::new("/nowhere"), &to).unwrap_err().to_string();
        assert!(error.contains("/nowhere"), "{error}");
    }

    #[test]
    fn a_file_takes_its_place_and_one_that_is_the_same_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        place(&path, b"one", 0o755).unwrap();
        let first = fs::metadata(&path).unwrap();
        assert_eq!(first.permissions().mode() & 0o777, 0o755);
        place(&path, b"one", 0o755).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first.modified().unwrap());
        place(&path, b"two", 0o755).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path().join("a")).unwrap().count(), 1);
    }
}
