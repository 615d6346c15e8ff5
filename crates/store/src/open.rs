//! Opening the datastore that settings name, for commands, agent and CNI plugin alike.

use std::sync::Arc;

use crate::{Datastore, Error, Result, embedded, etcd, kubernetes};

/// The settings that are read, by the names that they have in the environment. Most are Calico's.
pub fn settings() -> impl Iterator<Item = &'static str> {
    ["DATASTORE_TYPE", "TORTIE_DATABASE", "TORTIE_DATABASE_SYNC"]
        .into_iter()
        .chain(etcd::SETTINGS)
        .chain(kubernetes::SETTINGS)
}

/// A kind of datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`embedded`].
    Embedded,
    /// [`etcd`].
    Etcd,
    /// [`kubernetes`].
    Kubernetes,
}

impl Kind {
    /// The name in `DATASTORE_TYPE`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Embedded => "embedded",
            Kind::Etcd => "etcdv3",
            Kind::Kubernetes => "kubernetes",
        }
    }
}

/// What `DATASTORE_TYPE` says. Without it, who names etcd's servers means etcd, and who names nothing the embedded one.
///
/// # Errors
/// [`Error::Setting`].
pub fn kind(setting: impl Fn(&str) -> Option<String>) -> Result<Kind> {
    let given = |name| setting(name).filter(|value| !value.is_empty());
    match given("DATASTORE_TYPE").as_deref() {
        Some("embedded") => Ok(Kind::Embedded),
        Some("etcdv3") => Ok(Kind::Etcd),
        Some("kubernetes") => Ok(Kind::Kubernetes),
        Some(found) => {
            let expected = "\"embedded\", \"etcdv3\" or \"kubernetes\"";
            Err(Error::Setting { name: "DATASTORE_TYPE", found: found.to_owned(), expected })
        }
        None if given("ETCD_ENDPOINTS").or_else(|| given("ETCD_DISCOVERY_SRV")).is_some() => Ok(Kind::Etcd),
        None => Ok(Kind::Embedded),
    }
}

/// Open what [`settings`] name; `setting` looks one up. An empty value is none.
///
/// # Errors
/// [`Error::Setting`], and those of the backend. Servers are not asked before the first call.
pub fn open(setting: impl Fn(&str) -> Option<String>) -> Result<Arc<dyn Datastore>> {
    Ok(match kind(&setting)? {
        Kind::Embedded => Arc::new(embedded::Embedded::open(embedded::Options::from_settings(setting)?)?),
        Kind::Etcd => Arc::new(etcd::Etcd::open(etcd::Options::from_settings(setting)?)?),
        Kind::Kubernetes => Arc::new(kubernetes(setting)?),
    })
}

/// The same where it is known to be a cluster's API.
///
/// # Errors
/// As [`open`].
pub fn kubernetes(setting: impl Fn(&str) -> Option<String>) -> Result<kubernetes::Kubernetes> {
    kubernetes::Kubernetes::open(kubernetes::Options::from_settings(setting)?)
}

/// A setting of the environment as Calico reads it: under its name behind `CALICO_`, or its name alone. An empty value is none.
pub fn from_environment(lookup: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    let given = |name: &str| lookup(name).filter(|value| !value.is_empty());
    given(&format!("CALICO_{name}")).or_else(|| given(name))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(settings: &[(&str, &str)]) -> Result<Kind> {
        let find = |name: &str| settings.iter().find(|(known, _)| *known == name);
        kind(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_type_is_what_is_said_or_what_the_servers_say() {
        let servers = ("ETCD_ENDPOINTS", "http://a:1");
        assert_eq!(of(&[]).unwrap(), Kind::Embedded);
        assert_eq!(of(&[servers]).unwrap(), Kind::Etcd);
        assert_eq!(of(&[servers, ("DATASTORE_TYPE", "embedded")]).unwrap(), Kind::Embedded);
        assert_eq!(of(&[("DATASTORE_TYPE", "etcdv3")]).unwrap(), Kind::Etcd);
        assert_eq!(of(&[servers, ("DATASTORE_TYPE", "kubernetes")]).unwrap(), Kind::Kubernetes);
        let error = of(&[("DATASTORE_TYPE", "consul")]).unwrap_err().to_string();
        let expected = "expected \"embedded\", \"etcdv3\" or \"kubernetes\"";
        assert_eq!(error, format!("DATASTORE_TYPE: found \"consul\", {expected}"));
    }

    #[test]
    fn calicos_prefix_is_stronger() {
        let environment = |name: &str| match name {
            "CALICO_ETCD_ENDPOINTS" => Some("http://a:1".to_owned()),
            "ETCD_ENDPOINTS" | "ETCD_USERNAME" => Some("b".to_owned()),
            "CALICO_ETCD_USERNAME" => Some(String::new()),
            _ => None,
        };
        assert_eq!(from_environment(environment, "ETCD_ENDPOINTS").as_deref(), Some("http://a:1"));
        assert_eq!(from_environment(environment, "ETCD_USERNAME").as_deref(), Some("b"));
        assert_eq!(from_environment(environment, "ETCD_PASSWORD"), None);
    }
}
