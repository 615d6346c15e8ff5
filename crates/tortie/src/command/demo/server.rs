//! What answers in a pod: `tortie demo --respond tcp/80,udp/443`, a process of its own, so that a kept lab goes on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use tortie_lab::fabric::spawn_in;
use tortie_lab::{Responder, Service};
use tortie_netlink::Namespace;

use super::shop::Serves;

/// What it says when all its sockets are open.
const READY: &str = "ready";

/// A running process that answers; it ends with the value.
#[derive(Debug)]
pub struct Server(Option<Child>);

impl Server {
    /// Starts it inside a namespace; when this returns, it answers.
    pub fn start(namespace: &Namespace, serves: Serves) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
        let services = format!("tcp/{},udp/{}", serves.tcp, serves.udp);
        command.args(["demo", "--respond", &services]).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = spawn_in(namespace, &mut command)?;
        let output = child.stdout.take().context("the responder's output")?;
        let server = Self(Some(child));
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() != READY {
            bail!("the responder in {} did not start: {line:?}", namespace.label());
        }
        Ok(server)
    }

    /// It outlives this process.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take()
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            tracing::warn!(pid = child.id(), %error, "responder not ended");
        }
    }
}

/// The process itself: answers in its own namespace until it is killed.
pub fn respond(services: &[Service]) -> anyhow::Result<ExitCode> {
    let ports =
        |wanted: fn(&Service) -> Option<u16>| services.iter().filter_map(wanted).collect::<Vec<u16>>();
    let tcp = ports(|service| if let Service::Tcp(port) = service { Some(*port) } else { None });
    let udp = ports(|service| if let Service::Udp(port) = service { Some(*port) } else { None });
    let _responder = Responder::start(&Namespace::current()?, &tcp, &udp)?;
    println!("{READY}");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

/// Reads `tcp/80`, `udp/443` or `icmp`.
pub fn read_service(text: &str) -> Result<Service, String> {
    let expected = || format!("found {text:?}, expected tcp/PORT, udp/PORT or icmp");
    let port = |port: &str| port.parse().map_err(|_| expected());
    match text.split_once('/') {
        Some(("tcp", number)) => Ok(Service::Tcp(port(number)?)),
        Some(("udp", number)) => Ok(Service::Udp(port(number)?)),
        None if text == "icmp" => Ok(Service::Icmp),
        _ => Err(expected()),
    }
}
