//! How the Kubernetes API is reached: Calico's settings under Calico's names, a kubeconfig, or what every pod has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kubeconfig;
use crate::wire::tls::Trust;
use crate::wire::{Endpoint, Pem};
use crate::{Error, Result};

/// What every pod has: the token of its service account and the cluster's authority.
const POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Who we are, beside a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    None,
    /// Who has this token.
    Token(String),
    /// Who has the token in this file, which others renew.
    File(PathBuf),
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// Whom a program names.
    Plugin(Plugin),
}

/// A program that brings credentials (`exec` in a kubeconfig).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// What is started.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it has in its environment beside ours.
    pub environment: Vec<(String, String)>,
    /// The version of the form in which it answers.
    pub version: String,
}

/// How to open the API.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server.
    pub server: Endpoint,
    /// What stands before `/api` in its paths; mostly nothing.
    pub path: String,
    /// Who signed its certificate; the system's authorities if not given.
    pub authority: Option<Pem>,
    /// Whether its certificate isn't looked at.
    pub insecure: bool,
    /// The name that its certificate has to have, if it isn't the server's.
    pub server_name: Option<String>,
    /// Our certificate and its key, if that is who we are.
    pub certificate: Option<(Pem, Pem)>,
    /// Who we are otherwise.
    pub credentials: Credentials,
    /// How long a call waits for an answer, and for a server that went away to come back.
    pub patience: Duration,
}

/// The settings that are understood, as Calico names them in the environment.
pub const SETTINGS: [&str; 8] = [
    "KUBECONFIG",
    "K8S_CURRENT_CONTEXT",
    "K8S_API_ENDPOINT",
    "K8S_CERT_FILE",
    "K8S_KEY_FILE",
    "K8S_CA_FILE",
    "K8S_API_TOKEN",
    "K8S_INSECURE_SKIP_TLS_VERIFY",
];

/// A server's URL: where it is, and what stands before `/api`.
pub fn server(url: &str) -> Option<(Endpoint, String)> {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find('/').map_or(url.len(), |at| begin + at);
    let endpoint = Endpoint::read(&url[..end], |tls| if tls { 443 } else { 80 })?;
    Some((endpoint, url[end..].trim_end_matches('/').to_owned()))
}

impl Options {
    /// The defaults, for this server.
    pub fn new(server: Endpoint, path: String) -> Options {
        Options {
            server,
            path,
            authority: None,
            insecure: false,
            server_name: None,
            certificate: None,
            credentials: Credentials::None,
            patience: Duration::from_secs(10),
        }
    }

    /// The options that [`SETTINGS`] give; `setting` looks one up. An empty value is none. Without any it is the cluster in
    /// which we are a pod, or else kubectl's own settings in the home directory.
    ///
    /// # Errors
    /// [`Error::Setting`], and [`Error::Unavailable`] with the file and field of a kubeconfig that is wrong.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Result<Options> {
        let given = |name: &str| setting(name).filter(|value| !value.is_empty());
        let context = given("K8S_CURRENT_CONTEXT");
        let mut options = match (given("KUBECONFIG"), given("K8S_API_ENDPOINT")) {
            (Some(list), _) => {
                let paths: Vec<PathBuf> =
                    std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
                kubeconfig::read(&paths, context.as_deref())?
            }
            (None, Some(url)) => {
                let expected = "https://HOST:PORT of the Kubernetes API";
                let (endpoint, path) =
                    server(&url).ok_or(Error::Setting { name: "K8S_API_ENDPOINT", found: url, expected })?;
                Options::new(endpoint, path)
            }
            (None, None) => match (of_pod(&setting), home(&setting)) {
                (Some(options), _) => options,
                (None, Some(path)) => kubeconfig::read(&[path], context.as_deref())?,
                (None, None) => {
                    let expected = "a kubeconfig: KUBECONFIG names it; in a pod, and beside ~/.kube/config, it isn't needed";
                    return Err(Error::Setting { name: "KUBECONFIG", found: String::new(), expected });
                }
            },
        };
        if let Some(path) = given("K8S_CA_FILE") {
            options.authority = Some(Pem::File(path.into()));
        }
        match (given("K8S_CERT_FILE"), given("K8S_KEY_FILE")) {
            (Some(certificate), Some(key)) => {
                options.certificate = Some((Pem::File(certificate.into()), Pem::File(key.into())));
            }
            (None, None) => {}
            (Some(_), None) => return Err(alone("K8S_KEY_FILE", "the key of K8S_CERT_FILE")),
            (None, Some(_)) => return Err(alone("K8S_CERT_FILE", "the certificate of K8S_KEY_FILE")),
        }
        if let Some(token) = given("K8S_API_TOKEN") {
            options.credentials = Credentials::Token(token);
        }
        match given("K8S_INSECURE_SKIP_TLS_VERIFY").as_deref() {
            None => {}
            Some("true" | "1") => options.insecure = true,
            Some("false" | "0") => options.insecure = false,
            Some(found) => {
                let (name, found) = ("K8S_INSECURE_SKIP_TLS_VERIFY", found.to_owned());
                return Err(Error::Setting { name, found, expected: "true or false" });
            }
        }
        Ok(options)
    }

    /// Whom we trust, and who we are.
    pub fn trust(&self) -> Trust<'_> {
        Trust {
            authority: self.authority.as_ref(),
            certificate: self.certificate.as_ref(),
            server_name: self.server_name.as_deref(),
            anybody: self.insecure,
        }
    }
}

fn alone(name: &'static str, expected: &'static str) -> Error {
    Error::Setting { name, found: String::new(), expected }
}

/// The cluster in which we are a pod.
fn of_pod(setting: &impl Fn(&str) -> Option<String>) -> Option<Options> {
    let given = |name: &str| setting(name).filter(|value| !value.is_empty());
    let (host, port) = (given("KUBERNETES_SERVICE_HOST")?, given("KUBERNETES_SERVICE_PORT")?);
    let token = Path::new(POD).join("token");
    if !token.exists() {
        return None;
    }
    let mut options = Options::new(Endpoint { tls: true, host, port: port.parse().ok()? }, String::new());
    options.authority = Some(Pem::File(Path::new(POD).join("ca.crt")));
    options.credentials = Credentials::File(token);
    Some(options)
}

/// kubectl's own settings, if they are there.
fn home(setting: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let path = Path::new(&setting("HOME")?).join(".kube/config");
    path.exists().then_some(path)
}
