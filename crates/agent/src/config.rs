//! What the agent is told: environment variables under the names that Calico gives them.
//!
//! Three stages: what was said ([`Said`], text by name), what it means ([`Settings`], checked), and
//! what follows from it (in `run`). All faults are found at once.

use std::path::PathBuf;
use std::sync::Arc;

use tortie_nft::flat::{EndpointToHost, LogTarget, Ownership};

use crate::{Error, Result};

/// Where the agent answers, unless `TORTIE_SOCKET` says otherwise.
pub const SOCKET: &str = "/run/tortie/agent.sock";

/// How to look a variable up: the process's environment, or a test's.
pub type Said<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the agent runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The node's name (`NODENAME`, `FELIX_FELIXHOSTNAME`, `HOSTNAME`, or the machine's own).
    pub node: Arc<str>,
    /// Where commands and CNI plugins ask (`TORTIE_SOCKET`).
    pub socket: PathBuf,
    /// What workload interfaces' names begin with (`FELIX_INTERFACEPREFIX`).
    pub interface_prefixes: Vec<String>,
    /// Packets from a workload to the host, after its policy (`FELIX_DEFAULTENDPOINTTOHOSTACTION`).
    pub endpoint_to_host: EndpointToHost,
    /// Where Log rules send packets (`TORTIE_LOG_TARGET`: `nflog:GROUP` or `kernel`).
    pub log: LogTarget,
    /// What log lines begin with (`FELIX_LOGPREFIX`).
    pub log_prefix: String,
    /// Where to answer `/liveness` and `/readiness` (`FELIX_HEALTHENABLED`, `_HEALTHHOST`, `_HEALTHPORT`).
    pub health: Option<String>,
    /// Where to answer `/metrics` (`FELIX_PROMETHEUSMETRICSENABLED`, `..HOST`, `..PORT`).
    pub metrics: Option<String>,
    /// Whether the table is kept from other processes where the kernel can (`TORTIE_TABLE_OWNER`).
    pub owned: Ownership,
}

impl Settings {
    /// Reads the variables; `hostname` is the machine's own name.
    ///
    /// # Errors
    /// [`Error::Setting`] for each that can't work.
    pub fn resolve(said: Said<'_>, hostname: &str) -> Result<Self, Vec<Error>> {
        let mut faults = Vec::new();
        let mut read = Reader { said, faults: &mut faults };
        let node = read
            .first(&["NODENAME", "FELIX_FELIXHOSTNAME", "HOSTNAME"])
            .unwrap_or_else(|| hostname.to_owned());
        let prefixes = read.text("FELIX_INTERFACEPREFIX", "cali");
        let prefixes: Vec<String> = prefixes.split(',').map(str::to_owned).collect();
        let valid = |prefix: &String| {
            (1..=15).contains(&prefix.len())
                && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !prefixes.iter().all(valid) {
            let expected = "names of 1 to 15 letters, digits, _ or -, separated by commas";
            read.fault("FELIX_INTERFACEPREFIX", &prefixes.join(","), expected);
        }
        let endpoint_to_host = match &*read.text("FELIX_DEFAULTENDPOINTTOHOSTACTION", "DROP").to_uppercase() {
            "DROP" => EndpointToHost::Drop,
            "ACCEPT" | "RETURN" => EndpointToHost::Accept,
            other => {
                read.fault("FELIX_DEFAULTENDPOINTTOHOSTACTION", other, "DROP, RETURN or ACCEPT");
                EndpointToHost::Drop
            }
        };
        let target = read.text("TORTIE_LOG_TARGET", "nflog:9");
        let log = match target.strip_prefix("nflog:").map(str::parse) {
            Some(Ok(group)) => LogTarget::Group(group),
            None if target == "kernel" => LogTarget::Kernel,
            _ => {
                read.fault(
                    "TORTIE_LOG_TARGET",
                    &target,
                    "kernel or nflog:GROUP with a group from 0 to 65535",
                );
                LogTarget::Group(9)
            }
        };
        let owned = match read.flag("TORTIE_TABLE_OWNER", true) {
            true => Ownership::IfAvailable,
            false => Ownership::Never,
        };
        let health = read.address("HEALTH", 9099, true);
        let metrics = read.address("PROMETHEUSMETRICS", 9091, true);
        let settings = Self {
            node: node.into(),
            socket: read.text("TORTIE_SOCKET", SOCKET).into(),
            interface_prefixes: prefixes,
            endpoint_to_host,
            log,
            log_prefix: read.text("FELIX_LOGPREFIX", "calico-packet"),
            health,
            metrics,
            owned,
        };
        if faults.is_empty() { Ok(settings) } else { Err(faults) }
    }
}

/// Looks variables up and notes what can't work.
struct Reader<'a> {
    said: Said<'a>,
    faults: &'a mut Vec<Error>,
}

impl Reader<'_> {
    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| (self.said)(name)).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.first(&[name]).unwrap_or_else(|| default.to_owned())
    }

    fn fault(&mut self, name: &str, found: &str, expected: &'static str) {
        self.faults.push(Error::Setting { name: name.to_owned(), found: found.to_owned(), expected });
    }

    /// As Calico reads booleans, in any case.
    fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(found) = self.first(&[name]) else { return default };
        match &*found.to_lowercase() {
            "true" | "1" | "yes" | "y" | "t" => true,
            "false" | "0" | "no" | "n" | "f" => false,
            _ => {
                self.fault(name, &found, "true, 1, yes, y, t or false, 0, no, n, f");
                default
            }
        }
    }

    /// The address of a service, or `None` if it is switched off. Loopback unless a host is named.
    fn address(&mut self, service: &str, default_port: u16, default: bool) -> Option<String> {
        let enabled = self.flag(&format!("FELIX_{service}ENABLED"), default);
        let host = self.text(&format!("FELIX_{service}HOST"), "localhost");
        let name = format!("FELIX_{service}PORT");
        let port = match self.first(&[&name]) {
            Some(found) => found.parse().unwrap_or_else(|_| {
                self.fault(&name, &found, "a port from 0 to 65535");
                default_port
            }),
            None => default_port,
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        enabled.then(|| format!("{host}:{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(said: &[(&str, &str)]) -> Result<Settings, Vec<Error>> {
        let find = |name: &str| said.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
        Settings::resolve(&find, "machine")
    }

    #[test]
    fn nothing_said_gives_defaults_on_loopback() {
        let settings = resolve(&[]).expect("defaults work");
        assert_eq!(&*settings.node, "machine");
        assert_eq!(settings.health.as_deref(), Some("localhost:9099"));
        assert_eq!(settings.metrics.as_deref(), Some("localhost:9091"));
        assert_eq!(settings.interface_prefixes, ["cali"]);
    }

    #[test]
    fn every_fault_is_told_at_once_with_name_value_and_what_would_work() {
        let faults = resolve(&[
            ("FELIX_DEFAULTENDPOINTTOHOSTACTION", "perhaps"),
            ("FELIX_HEALTHPORT", "99999"),
            ("FELIX_INTERFACEPREFIX", "cali,"),
            ("TORTIE_LOG_TARGET", "nflog:x"),
            ("FELIX_HEALTHENABLED", "maybe"),
        ])
        .expect_err("five faults");
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(
            told.iter().any(|fault| fault.contains("\"99999\"") && fault.contains("0 to 65535")),
            "{told:?}"
        );
    }

    #[test]
    fn calicos_names_are_heard() {
        let settings = resolve(&[
            ("NODENAME", "n1"),
            ("FELIX_DEFAULTENDPOINTTOHOSTACTION", "Return"),
            ("FELIX_PROMETHEUSMETRICSENABLED", "No"),
            ("FELIX_INTERFACEPREFIX", "cali,tap"),
        ])
        .expect("all can work");
        assert_eq!(&*settings.node, "n1");
        assert_eq!(settings.endpoint_to_host, EndpointToHost::Accept);
        assert_eq!(settings.metrics, None);
        assert_eq!(settings.interface_prefixes, ["cali", "tap"]);
    }
}
