//! The plugin process: its environment and standard input in, standard output and exit code out.
//!
//! It asks the agent; without one it does the work itself on the store that environment and configuration name. Called as `calico` or `calico-ipam`
//! (or whatever the binary is installed as).

use crate::config::NetworkConfig;
use crate::execute::{Context, Reply, execute};
use crate::request::{Command, Environment, Plugin, Request, version_of};
use crate::transport::{self, Call};
use crate::{ClosedTable, Error, Result};
use std::path::PathBuf;
use tortie_netlink::Namespace;
use tortie_store::open;
use tortie_store::resources::Client;

/// What a process is called with.
#[derive(Debug, Clone)]
pub struct Process {
    /// As which plugin.
    pub plugin: Plugin,
    /// All its environment; `CNI_*`, `TORTIE_SOCKET` and the datastore's settings count.
    pub environment: Environment,
    /// Standard input.
    pub stdin: String,
}

/// Runs a call to its end.
#[must_use]
pub fn run(process: &Process) -> Reply {
    let environment = cni_environment(process);
    let request = match Request::parse(process.plugin, &environment, process.stdin.as_bytes()) {
        Ok(request) => request,
        Err(error) => return Reply::error(&error, said_version(&process.stdin).as_str()),
    };
    if request.command == Command::Version {
        return Reply::of(Some(crate::output::versions()));
    }
    let call = Call { ipam: process.plugin == Plugin::Ipam, environment, stdin: process.stdin.clone() };
    dispatch(process, &request, &call).unwrap_or_else(|error| Reply::error(&error, request.version()))
}

/// What of a process's environment is CNI's.
pub(crate) fn cni_environment(process: &Process) -> Environment {
    let cni = process.environment.iter().filter(|(name, _)| name.starts_with("CNI_"));
    cni.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether the datastore can be used: the `-t` of Calico's plugin.
///
/// # Errors
/// Why not.
pub fn test_datastore(environment: &Environment, stdin: &str) -> Result<()> {
    let config = serde_json::from_str(stdin).unwrap_or_default();
    let config = NetworkConfig::parse(&config)?;
    let client = client(environment, &config)?;
    client.list(tortie_api::kind::Kind::ClusterInformation, None)?;
    Ok(())
}

fn dispatch(process: &Process, request: &Request, call: &Call) -> Result<Reply> {
    let pod = pod_namespace(request)?;
    let socket =
        setting(&process.environment, "TORTIE_SOCKET", &request.config.agent_socket, transport::SOCKET);
    if let Some(mut stream) = transport::connect(&socket)? {
        use std::os::fd::AsFd;
        return transport::ask(&mut stream, call, pod.as_ref().map(AsFd::as_fd));
    }
    let client = client(&process.environment, &request.config)?;
    let node = hostname()?;
    let context = Context {
        client: &client,
        cluster: None,
        gate: &ClosedTable,
        node: &node,
        view: None,
        allocator: None,
        mtu: &|| None,
    };
    Ok(execute(&context, request, pod.as_ref()))
}

/// The container's namespace. For DEL one that is gone is none; `calico-ipam` needs none.
fn pod_namespace(request: &Request) -> Result<Option<Namespace>> {
    let Some(path) = request.netns.as_ref().filter(|_| request.plugin == Plugin::Network) else {
        return Ok(None);
    };
    match Namespace::open(path) {
        Ok(namespace) => Ok(Some(namespace)),
        Err(error) if request.command == Command::Del && error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The datastore. Where both speak, the network configuration is stronger than the environment, as Calico has it; of our own
/// `database` the environment is.
fn client(environment: &Environment, config: &NetworkConfig) -> Result<Client> {
    let store = open::open(|name| {
        let said = || open::from_environment(|name| environment.get(name).cloned(), name);
        match name {
            "TORTIE_DATABASE" => said().or_else(|| Some(config.database.clone())),
            _ => config.datastore(name).or_else(said),
        }
    })?;
    Ok(Client::new(store))
}

fn setting(environment: &Environment, variable: &str, configured: &str, default: &str) -> PathBuf {
    let said = [environment.get(variable).map_or("", String::as_str), configured];
    PathBuf::from(said.into_iter().find(|text| !text.is_empty()).unwrap_or(default))
}

/// The machine's name as Calico takes it: in lower case, without spaces around.
fn hostname() -> Result<String> {
    let name = nix::unistd::gethostname().map_err(|errno| Error::system("read the hostname", errno))?;
    Ok(name.to_string_lossy().trim().to_lowercase())
}

fn said_version(stdin: &str) -> String {
    let config: serde_json::Value = serde_json::from_str(stdin).unwrap_or_default();
    version_of(config["cniVersion"].as_str().unwrap_or_default()).to_owned()
}
