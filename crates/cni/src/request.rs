//! A call, read from environment and standard input. Pure.

use crate::config::NetworkConfig;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The versions of the specification that we speak.
pub const VERSIONS: &[&str] = &["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The newest of them, for answers that belong to no configuration.
pub const NEWEST: &str = "1.1.0";

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach it; again is no error.
    Del,
    /// Is it still as it was made?
    Check,
    /// Could an ADD succeed?
    Status,
    /// Remove what belongs to no container.
    Gc,
    /// Which versions?
    Version,
}

/// As which plugin we were called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// The network: `calico`.
    Network,
    /// Addresses only: `calico-ipam`.
    Ipam,
}

/// The environment of a call, by name; the variables that begin with `CNI_`.
pub type Environment = BTreeMap<String, String>;

/// A call that makes sense in itself.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is to be done.
    pub command: Command,
    /// As which plugin.
    pub plugin: Plugin,
    /// The container's id; empty for STATUS, GC and VERSION.
    pub container_id: String,
    /// The path of its network namespace; DEL may have none.
    pub netns: Option<String>,
    /// The interface inside.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// Directories of plugins.
    pub path: Vec<String>,
    /// The configuration.
    pub config: NetworkConfig,
    /// The same as it was given, for other plugins.
    pub raw: Value,
    /// The environment as it was given, for other plugins.
    pub environment: Environment,
}

/// `CNI_ARGS`: `NAME=VALUE;...`; names that aren't known are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CniArgs {
    /// `K8S_POD_NAMESPACE`.
    pub pod_namespace: String,
    /// `K8S_POD_NAME`.
    pub pod_name: String,
    /// `K8S_POD_INFRA_CONTAINER_ID`.
    pub infra_container_id: String,
    /// `IP`: the address that is wanted.
    pub ip: Option<IpAddr>,
}

impl Request {
    /// Reads a call.
    ///
    /// # Errors
    /// With the specification's codes 1, 4, 6 and 7.
    pub fn parse(plugin: Plugin, environment: &Environment, stdin: &[u8]) -> Result<Self> {
        let variable = |name: &str| environment.get(name).cloned().unwrap_or_default();
        let command = command(&variable("CNI_COMMAND"))?;
        let (container_id, netns, ifname) =
            (variable("CNI_CONTAINERID"), variable("CNI_NETNS"), variable("CNI_IFNAME"));
        check_environment(command, &container_id, &netns, &ifname)?;
        let args = CniArgs::parse(&variable("CNI_ARGS"))?;
        let raw: Value = match command {
            // A runtime may ask for versions without a configuration.
            Command::Version => serde_json::from_slice(stdin).unwrap_or_default(),
            _ => serde_json::from_slice(stdin)
                .map_err(|error| Error::Decode { what: "network configuration", cause: error.to_string() })?,
        };
        let config = match command {
            Command::Version => NetworkConfig::parse(&raw).unwrap_or_default(),
            _ => NetworkConfig::parse(&raw)?,
        };
        if command != Command::Version {
            check_config(&config)?;
        }
        Ok(Request {
            command,
            plugin,
            container_id,
            netns: Some(netns).filter(|path| !path.is_empty()),
            ifname,
            args,
            path: variable("CNI_PATH")
                .split(':')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            config,
            raw,
            environment: environment.clone(),
        })
    }

    /// The version in which the answer is written.
    #[must_use]
    pub fn version(&self) -> &str {
        version_of(&self.config.cni_version)
    }
}

/// The version that a configuration means: 0.1.0 when it says none.
#[must_use]
pub fn version_of(said: &str) -> &str {
    if said.is_empty() { "0.1.0" } else { said }
}

fn command(text: &str) -> Result<Command> {
    match text {
        "ADD" => Ok(Command::Add),
        "DEL" => Ok(Command::Del),
        "CHECK" => Ok(Command::Check),
        "STATUS" => Ok(Command::Status),
        "GC" => Ok(Command::Gc),
        "VERSION" => Ok(Command::Version),
        "" => Err(Error::MissingEnvironment { names: vec!["CNI_COMMAND"] }),
        _ => Err(Error::Environment {
            name: "CNI_COMMAND",
            found: text.into(),
            expected: "ADD, DEL, CHECK, STATUS, GC or VERSION",
        }),
    }
}

fn check_environment(command: Command, container_id: &str, netns: &str, ifname: &str) -> Result<()> {
    let (id_and_interface, namespace) = match command {
        Command::Add | Command::Check => (true, true),
        Command::Del => (true, false),
        Command::Status | Command::Gc | Command::Version => (false, false),
    };
    let wanted = [
        ("CNI_CONTAINERID", container_id, id_and_interface),
        ("CNI_NETNS", netns, namespace),
        ("CNI_IFNAME", ifname, id_and_interface),
    ];
    let missing = wanted.iter().filter(|(_, value, needed)| *needed && value.is_empty());
    let names: Vec<_> = missing.map(|(name, _, _)| *name).collect();
    if !names.is_empty() {
        return Err(Error::MissingEnvironment { names });
    }
    if id_and_interface && !is_identifier(container_id) {
        return Err(Error::Environment {
            name: "CNI_CONTAINERID",
            found: container_id.into(),
            expected: "letters, digits, '_', '.', '-', beginning with a letter or digit",
        });
    }
    let bad = |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace();
    if id_and_interface && (ifname.len() > 15 || ifname == "." || ifname == ".." || ifname.bytes().any(bad)) {
        return Err(Error::Environment {
            name: "CNI_IFNAME",
            found: ifname.into(),
            expected: "1 to 15 bytes without '/', ':' and spaces, not '.' or '..'",
        });
    }
    Ok(())
}

fn check_config(config: &NetworkConfig) -> Result<()> {
    if !VERSIONS.contains(&version_of(&config.cni_version)) {
        return Err(Error::Version { found: config.cni_version.clone(), supported: VERSIONS });
    }
    if !is_identifier(&config.name) {
        return Err(Error::Config {
            field: "name",
            found: format!("{:?}", config.name),
            expected: "the network's name: letters, digits, '_', '.', '-', beginning with a letter or digit",
        });
    }
    Ok(())
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter))
}

impl CniArgs {
    fn parse(text: &str) -> Result<Self> {
        let mut args = CniArgs::default();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| Error::Environment {
                name: "CNI_ARGS",
                found: pair.into(),
                expected: "NAME=VALUE pairs with ';' between",
            })?;
            match name {
                "K8S_POD_NAMESPACE" => value.clone_into(&mut args.pod_namespace),
                "K8S_POD_NAME" => value.clone_into(&mut args.pod_name),
                "K8S_POD_INFRA_CONTAINER_ID" => value.clone_into(&mut args.infra_container_id),
                "IP" => {
                    args.ip = Some(value.parse().map_err(|_| Error::Environment {
                        name: "CNI_ARGS",
                        found: pair.into(),
                        expected: "an IP address",
                    })?);
                }
                _ => {}
            }
        }
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn parse(environment: &[(&str, &str)], stdin: &str) -> Result<Request> {
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Request::parse(Plugin::Network, &environment, stdin.as_bytes())
    }

    const ADD: [(&str, &str); 4] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "abc"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
    ];

    #[test]
    fn a_kubernetes_call_is_read_whole() {
        let mut environment = ADD.to_vec();
        environment
            .push(("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;IP=10.0.0.9;X=y"));
        environment.push(("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"));
        let request = parse(&environment, r#"{"cniVersion":"1.0.0","name":"net1","type":"calico"}"#).unwrap();
        assert_eq!((request.args.pod_namespace.as_str(), request.args.pod_name.as_str()), ("shop", "web-1"));
        assert_eq!(request.args.ip, Some("10.0.0.9".parse().unwrap()));
        assert_eq!((request.path.len(), request.version()), (2, "1.0.0"));
    }

    #[test]
    fn each_fault_has_the_specifications_code() {
        let good = r#"{"cniVersion":"0.3.1","name":"net1"}"#;
        let with = |name: &'static str, value: &'static str| {
            let mut environment: Vec<_> = ADD.iter().copied().filter(|(known, _)| *known != name).collect();
            environment.push((name, value));
            environment
        };
        for (environment, stdin, code) in [
            (with("CNI_COMMAND", "NOPE"), good, 4),
            (with("CNI_COMMAND", ""), good, 4),
            (with("CNI_NETNS", ""), good, 4),
            (with("CNI_CONTAINERID", "-abc"), good, 4),
            (with("CNI_IFNAME", "much-too-long-name"), good, 4),
            (with("CNI_ARGS", "novalue"), good, 4),
            (ADD.to_vec(), "{", 6),
            (ADD.to_vec(), r#"{"cniVersion":"9.0.0","name":"net1"}"#, 1),
            (ADD.to_vec(), r#"{"cniVersion":"0.3.1","name":""}"#, 7),
            (ADD.to_vec(), r#"{"cniVersion":"0.3.1","name":"a b"}"#, 7),
        ] {
            let error = parse(&environment, stdin).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
        let error = parse(&[("CNI_COMMAND", "ADD")], good).unwrap_err().to_string();
        assert_eq!(error, "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing");
        assert!(parse(&[("CNI_COMMAND", "VERSION")], "").is_ok());
        assert!(parse(&with("CNI_NETNS", "")[..0], good).is_err());
        let del = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "abc"), ("CNI_IFNAME", "eth0")];
        assert_eq!(parse(&del, good).unwrap().netns, None);
    }
}
