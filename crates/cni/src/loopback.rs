//! The plugin `loopback`, which runtimes call for each container before any network: its `lo` is set up. No agent is asked.

use crate::config::NetworkConfig;
use crate::output::{Attachment, Interface, versions};
use crate::plugin::{Process, cni_environment};
use crate::{Command, Error, Plugin, Reply, Request, Result};
use serde_json::Value;
use tortie_netlink::rtnetlink::LinkRef;
use tortie_netlink::{Namespace, Rtnetlink};

const NAME: &str = "lo";

/// Runs a call to its end.
#[must_use]
pub fn run(process: &Process) -> Reply {
    let environment = cni_environment(process);
    let request = match Request::parse(Plugin::Network, &environment, process.stdin.as_bytes()) {
        Ok(request) => request,
        Err(error) => {
            let config: NetworkConfig = serde_json::from_str(&process.stdin).unwrap_or_default();
            return Reply::error(&error, &config.cni_version);
        }
    };
    match call(&request) {
        Ok(result) => Reply::of(result),
        Err(error) => Reply::error(&error, request.version()),
    }
}

fn call(request: &Request) -> Result<Option<Value>> {
    let inside = || {
        let path = request.netns.as_ref();
        path.ok_or_else(|| Error::MissingEnvironment { names: vec!["CNI_NETNS"] })
            .and_then(|path| Ok(Rtnetlink::open_in(&Namespace::open(path)?)?))
    };
    match request.command {
        Command::Version => Ok(Some(versions())),
        Command::Add => {
            inside()?.set_up(LinkRef::Name(NAME))?;
            // Its addresses aren't told: runtimes take those that are for the container's.
            let interfaces = vec![Interface { name: NAME.to_owned() }];
            let result = Attachment { interfaces, ..Attachment::default() };
            Ok(Some(result.to_json(request.version())))
        }
        Command::Check => {
            let link = inside()?.existing(LinkRef::Name(NAME))?;
            match link.up {
                true => Ok(None),
                false => Err(Error::Check { faults: vec![format!("{NAME} is down")] }),
            }
        }
        // It goes with the container.
        Command::Del | Command::Gc | Command::Status => Ok(None),
    }
}
