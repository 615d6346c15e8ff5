//! How etcd is reached: Calico's settings under Calico's names, read once.

use std::time::Duration;

use super::dns;
use crate::wire::tls::Trust;
pub use crate::wire::{Endpoint, Pem};
use crate::{Error, Result};

impl Endpoint {
    /// `http://HOST:PORT`, `https://HOST:PORT`, or `HOST:PORT` for the first; without a port it is etcd's 2379.
    pub fn parse(text: &str) -> Option<Endpoint> {
        Endpoint::read(text, |_| 2379)
    }
}

/// How to open etcd.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers, in the order in which they are tried; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Who we are, if the cluster asks for a name and a password.
    pub user: Option<(String, String)>,
    /// Who signed the servers' certificates; the system's authorities if not given.
    pub authority: Option<Pem>,
    /// Our certificate and its key, if the cluster asks for one.
    pub certificate: Option<(Pem, Pem)>,
    /// How long a call waits for an answer, and for a server that went away to come back.
    pub patience: Duration,
}

/// The settings that are understood, as Calico names them in the environment.
pub const SETTINGS: [&str; 10] = [
    "ETCD_ENDPOINTS",
    "ETCD_DISCOVERY_SRV",
    "ETCD_USERNAME",
    "ETCD_PASSWORD",
    "ETCD_KEY_FILE",
    "ETCD_CERT_FILE",
    "ETCD_CA_CERT_FILE",
    "ETCD_KEY",
    "ETCD_CERT",
    "ETCD_CA_CERT",
];

impl Options {
    /// The defaults, for these servers.
    pub fn new(endpoints: Vec<Endpoint>) -> Options {
        Options {
            endpoints,
            user: None,
            authority: None,
            certificate: None,
            patience: Duration::from_secs(10),
        }
    }

    /// The options that [`SETTINGS`] give; `setting` looks one up. An empty value is none.
    ///
    /// # Errors
    /// [`Error::Setting`], and [`Error::Unavailable`] if the servers are looked up and nobody knows them.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Result<Options> {
        let given = |name| setting(name).filter(|value| !value.is_empty());
        let mut options = Options::new(endpoints(given("ETCD_ENDPOINTS"), given("ETCD_DISCOVERY_SRV"))?);
        let pem = |file: &'static str, text: &'static str| match (given(file), given(text)) {
            (Some(path), None) => Ok(Some(Pem::File(path.into()))),
            (None, Some(text)) => Ok(Some(Pem::Text(text))),
            (None, None) => Ok(None),
            (Some(found), Some(_)) => {
                Err(Error::Setting { name: file, found, expected: "either the file or its text, not both" })
            }
        };
        options.authority = pem("ETCD_CA_CERT_FILE", "ETCD_CA_CERT")?;
        let key = pem("ETCD_KEY_FILE", "ETCD_KEY")?;
        options.certificate = match (pem("ETCD_CERT_FILE", "ETCD_CERT")?, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(alone("ETCD_KEY_FILE", "the key of ETCD_CERT_FILE")),
            (None, Some(_)) => return Err(alone("ETCD_CERT_FILE", "the certificate of ETCD_KEY_FILE")),
        };
        options.user = match (given("ETCD_USERNAME"), given("ETCD_PASSWORD")) {
            (Some(user), password) => Some((user, password.unwrap_or_default())),
            (None, None) => None,
            (None, Some(_)) => return Err(alone("ETCD_USERNAME", "the name that goes with ETCD_PASSWORD")),
        };
        Ok(options)
    }

    /// Whom we trust, and who we are.
    pub fn trust(&self) -> Trust<'_> {
        Trust {
            authority: self.authority.as_ref(),
            certificate: self.certificate.as_ref(),
            server_name: None,
            anybody: false,
        }
    }

    /// The servers in one line, for messages.
    pub fn servers(&self) -> String {
        self.endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(",")
    }
}

fn alone(name: &'static str, expected: &'static str) -> Error {
    Error::Setting { name, found: String::new(), expected }
}

fn endpoints(list: Option<String>, domain: Option<String>) -> Result<Vec<Endpoint>> {
    const NAME: &str = "ETCD_ENDPOINTS";
    const EXPECTED: &str = "http(s)://HOST:PORT, several separated by commas";
    match (&list, domain) {
        (None, Some(domain)) => return dns::discover(&domain),
        (Some(_), Some(found)) => {
            let expected = "nothing beside ETCD_ENDPOINTS: either says where etcd is";
            return Err(Error::Setting { name: "ETCD_DISCOVERY_SRV", found, expected });
        }
        (_, None) => {}
    }
    let refused = |found: &str| Error::Setting { name: NAME, found: found.to_owned(), expected: EXPECTED };
    let list = list.ok_or_else(|| refused(""))?;
    let words = list.split(',').filter(|word| !word.trim().is_empty());
    let endpoints: Vec<Endpoint> =
        words.map(|word| Endpoint::parse(word).ok_or_else(|| refused(word))).collect::<Result<_>>()?;
    if endpoints.is_empty() { Err(refused(&list)) } else { Ok(endpoints) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn from(settings: &[(&str, &str)]) -> Result<Options> {
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Options::from_settings(|name| {
            settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn endpoints_are_urls_with_names_and_addresses() {
        for (text, shown) in [
            ("http://127.0.0.1:2379", Some("http://127.0.0.1:2379")),
            ("https://etcd.example:4001/", Some("https://etcd.example:4001")),
            (" https://[fd00::1]:2379", Some("https://[fd00::1]:2379")),
            ("https://[fd00::1]", Some("https://[fd00::1]:2379")),
            ("etcd:2379", Some("http://etcd:2379")),
            ("http://etcd", Some("http://etcd:2379")),
            ("unix:///run/etcd", None),
            ("http://etcd:port", None),
            ("http://a b:1", None),
            ("http://:2379", None),
            ("http://[fd00::1]x:2379", None),
        ] {
            let endpoint = Endpoint::parse(text).map(|endpoint| endpoint.to_string());
            assert_eq!(endpoint.as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn calicos_settings_are_read() {
        let options = from(&[
            ("ETCD_ENDPOINTS", "https://a:1, https://b:2,"),
            ("ETCD_CA_CERT_FILE", "/ca"),
            ("ETCD_CERT", "-----"),
            ("ETCD_KEY_FILE", "/key"),
            ("ETCD_USERNAME", "calico"),
            ("ETCD_PASSWORD", "secret"),
        ]);
        let options = options.unwrap();
        assert_eq!(options.servers(), "https://a:1,https://b:2");
        assert_eq!(options.authority, Some(Pem::File("/ca".into())));
        assert_eq!(options.certificate, Some((Pem::Text("-----".into()), Pem::File("/key".into()))));
        assert_eq!(options.user, Some(("calico".into(), "secret".into())));
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let servers = ("ETCD_ENDPOINTS", "http://a:1");
        for (settings, said) in [
            (&[][..], "ETCD_ENDPOINTS: found \"\""),
            (&[("ETCD_ENDPOINTS", "ftp://a")], "ETCD_ENDPOINTS: found \"ftp://a\""),
            (&[("ETCD_ENDPOINTS", ",")], "ETCD_ENDPOINTS: found \",\""),
            (&[servers, ("ETCD_KEY", "k")], "ETCD_CERT_FILE: found \"\", expected the certificate"),
            (&[servers, ("ETCD_CERT", "k")], "ETCD_KEY_FILE: found \"\", expected the key"),
            (
                &[servers, ("ETCD_CA_CERT", "k"), ("ETCD_CA_CERT_FILE", "/f")],
                "ETCD_CA_CERT_FILE: found \"/f\"",
            ),
            (&[servers, ("ETCD_PASSWORD", "k")], "ETCD_USERNAME"),
            (
                &[servers, ("ETCD_DISCOVERY_SRV", "example.org")],
                "ETCD_DISCOVERY_SRV: found \"example.org\", expected nothing beside ETCD_ENDPOINTS",
            ),
        ] {
            let error = from(settings).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
