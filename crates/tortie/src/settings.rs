//! Which datastore the commands use: what the environment and `calicoctl.cfg` say, and what that means.
//!
//! The names are Calico's; the environment wins over the file. Next hop: [`tortie_store::open`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tortie_api::yaml::tree::{self, Data, Node};
use tortie_store::kubernetes::{Kubernetes, Options};
use tortie_store::open;
use tortie_store::resources::Client;

/// Fields that the file may have too; they say nothing here.
const OTHERS: [&str; 5] =
    ["k8sDisableNodePoll", "k8sUsePodCIDR", "kubeconfigInline", "k8sClientQPS", "calicoAPIGroup"];

/// Where the settings are looked for if nobody says otherwise.
pub const DEFAULT_FILE: &str = "/etc/calico/calicoctl.cfg";

/// The fields of `spec` in the file, and the variables that say the same.
const FIELDS: [(&str, &str); 21] = [
    ("datastoreType", "DATASTORE_TYPE"),
    ("etcdEndpoints", "ETCD_ENDPOINTS"),
    ("etcdDiscoverySrv", "ETCD_DISCOVERY_SRV"),
    ("etcdUsername", "ETCD_USERNAME"),
    ("etcdPassword", "ETCD_PASSWORD"),
    ("etcdKeyFile", "ETCD_KEY_FILE"),
    ("etcdCertFile", "ETCD_CERT_FILE"),
    ("etcdCACertFile", "ETCD_CA_CERT_FILE"),
    ("etcdKey", "ETCD_KEY"),
    ("etcdCert", "ETCD_CERT"),
    ("etcdCACert", "ETCD_CA_CERT"),
    ("kubeconfig", "KUBECONFIG"),
    ("k8sCurrentContext", "K8S_CURRENT_CONTEXT"),
    ("k8sAPIEndpoint", "K8S_API_ENDPOINT"),
    ("k8sKeyFile", "K8S_KEY_FILE"),
    ("k8sCertFile", "K8S_CERT_FILE"),
    ("k8sCAFile", "K8S_CA_FILE"),
    ("k8sAPIToken", "K8S_API_TOKEN"),
    ("k8sInsecureSkipTLSVerify", "K8S_INSECURE_SKIP_TLS_VERIFY"),
    ("tortieDatabase", "TORTIE_DATABASE"),
    ("tortieDatabaseSync", "TORTIE_DATABASE_SYNC"),
];

/// The type of datastore that the settings name.
///
/// # Errors
/// What of the settings makes no sense.
pub fn datastore_type(file: &Path) -> anyhow::Result<String> {
    let said = said(file)?;
    if let Some(found) = setting(&said, "DATASTORE_TYPE") {
        return Ok(found);
    }
    Ok(open::kind(|name| setting(&said, name))?.name().to_owned())
}

/// Opens the datastore that the settings name, by this context of a kubeconfig if one is given. A missing file is an error only if it is not the default one.
///
/// # Errors
/// What of the settings makes no sense, or why the datastore can't be opened.
pub fn client(file: &Path, context: Option<&str>) -> anyhow::Result<Client> {
    let said = said(file)?;
    Ok(Client::new(open::open(|name| in_context(&said, context, name))?))
}

/// The API of the cluster that the settings name, as [`client`] opens it where the datastore is one.
///
/// # Errors
/// As [`client`].
pub fn kubernetes(file: &Path, context: Option<&str>) -> anyhow::Result<Kubernetes> {
    let said = said(file)?;
    Ok(open::kubernetes(|name| in_context(&said, context, name))?)
}

/// A setting, where a context of the kubeconfig may have been named.
fn in_context(said: &BTreeMap<String, String>, context: Option<&str>, name: &str) -> Option<String> {
    match (name, context) {
        ("K8S_CURRENT_CONTEXT", Some(context)) => Some(context.to_owned()),
        _ => setting(said, name),
    }
}

/// The Kubernetes cluster that the settings name, whatever datastore they name; `None` if they name none. `patience` is how
/// long a call waits.
///
/// # Errors
/// What of the settings makes no sense.
pub fn cluster(file: &Path, patience: Option<Duration>) -> anyhow::Result<Option<Kubernetes>> {
    let said = said(file)?;
    let names = ["KUBECONFIG", "K8S_API_ENDPOINT", "KUBERNETES_SERVICE_HOST"];
    let is_kubernetes = open::kind(|name| setting(&said, name))? == open::Kind::Kubernetes;
    if !is_kubernetes && !names.iter().any(|name| setting(&said, name).is_some()) {
        return Ok(None);
    }
    let mut options = Options::from_settings(|name| setting(&said, name))?;
    options.patience = patience.unwrap_or(options.patience);
    Ok(Some(Kubernetes::open(options)?))
}

/// What a file says, which need not be there if it is the default one.
fn said(file: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => read(&text).with_context(|| format!("syntax error in {}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file == Path::new(DEFAULT_FILE) => {
            Ok(BTreeMap::new())
        }
        Err(error) => bail!("open {}: {error}", file.display()),
    }
}

/// A setting by the name of its variable: the environment's, or the file's.
fn setting(said: &BTreeMap<String, String>, name: &str) -> Option<String> {
    open::from_environment(|name| std::env::var(name).ok(), name).or_else(|| said.get(name).cloned())
}

/// Where the agent of this machine answers.
pub fn agent_socket() -> PathBuf {
    std::env::var_os("TORTIE_SOCKET").map_or_else(|| tortie_agent::config::SOCKET.into(), PathBuf::from)
}

/// What a file says, under the names of the variables.
fn read(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let (documents, errors) = tree::read(text);
    if let Some(error) = errors.first() {
        bail!("failed to parse config as YAML/JSON: error converting YAML to JSON: {error}");
    }
    let Some(document) = documents.first() else { return Ok(BTreeMap::new()) };
    let spec = field(document, "spec");
    let unknown = unknown(document, |name| ["apiVersion", "kind", "metadata", "spec"].contains(&name))
        .or_else(|| {
            unknown(spec?, |name| {
                FIELDS.iter().map(|(field, _)| field).chain(&OTHERS).any(|field| *field == name)
            })
        });
    if let Some(unknown) = unknown {
        bail!(
            "failed to parse config as YAML/JSON: error unmarshaling JSON: while decoding JSON: json: unknown field {unknown:?}"
        );
    }
    match word(document, "apiVersion").unwrap_or_default() {
        "projectcalico.org/v3" => {}
        version => bail!("invalid config file: unknown APIVersion '{version}'"),
    }
    match word(document, "kind").unwrap_or_default() {
        "CalicoAPIConfig" => {}
        kind => bail!("invalid config file: expected kind 'CalicoAPIConfig', got '{kind}'"),
    }
    Ok(FIELDS
        .iter()
        .filter_map(|(name, variable)| Some(((*variable).to_owned(), word(spec?, name)?.to_owned())))
        .collect())
}

/// The first field of a map that isn't known.
fn unknown(node: &Node, known: impl Fn(&str) -> bool) -> Option<&str> {
    let Data::Map(entries) = &node.data else { return None };
    entries.iter().map(|entry| entry.key.as_str()).find(|name| !known(name))
}

fn field<'node>(node: &'node Node, name: &str) -> Option<&'node Node> {
    let Data::Map(entries) = &node.data else { return None };
    entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
}

fn word<'node>(node: &'node Node, name: &str) -> Option<&'node str> {
    match &field(node, name)?.data {
        Data::Plain(text, _) | Data::Text(text) => Some(text),
        Data::List(_) | Data::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_file_says_what_the_variables_say() {
        let text = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  datastoreType: \"embedded\"\n  tortieDatabase: /x/y.db\n  etcdEndpoints: http://h:2379\n";
        let said = read(text).unwrap();
        assert_eq!(said["DATASTORE_TYPE"], "embedded");
        assert_eq!(said["TORTIE_DATABASE"], "/x/y.db");
        assert_eq!(said["ETCD_ENDPOINTS"], "http://h:2379");
        assert_eq!(said.len(), 3);
    }

    #[test]
    fn every_setting_of_a_datastore_has_a_field() {
        for name in open::settings() {
            assert!(FIELDS.iter().any(|(_, variable)| *variable == name), "{name}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        for (text, words) in [
            ("kind: Config\napiVersion: v1\n", "invalid config file: unknown APIVersion 'v1'"),
            (
                "kind: Config\napiVersion: projectcalico.org/v3\n",
                "invalid config file: expected kind 'CalicoAPIConfig', got 'Config'",
            ),
            (
                "kind: CalicoAPIConfig\napiVersion: projectcalico.org/v3\nspec: {etcdEndpoint: x}\n",
                "failed to parse config as YAML/JSON: error unmarshaling JSON: while decoding JSON: json: unknown field \"etcdEndpoint\"",
            ),
            (
                "a: b: c",
                "failed to parse config as YAML/JSON: error converting YAML to JSON: yaml: mapping values are not allowed in this context",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), words);
        }
    }
}
