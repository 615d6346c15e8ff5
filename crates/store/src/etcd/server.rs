//! An etcd of one's own, for tests and the demo: a process on this machine's loopback, killed when it is dropped.
//!
//! Only what is started here is ever stopped, by its process id.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Endpoint;
use crate::{Error, Result};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often ports are chosen anew because somebody else was faster.
const ATTEMPTS: usize = 5;

/// A certificate with its key and the authority that signed it, all in PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signed it, and the certificates that clients must show.
    pub authority: PathBuf,
}

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Where its data and its log lie; nobody else's.
    pub directory: PathBuf,
    /// What is started; `etcd` of the search path if not given.
    pub program: Option<PathBuf>,
    /// TLS, with certificates on both sides.
    pub certificate: Option<Certificate>,
    /// Whether what the terminal sends to this process (Ctrl-C) does not reach it.
    pub apart: bool,
    /// More arguments, for example `--quota-backend-bytes=16777216`.
    pub arguments: Vec<String>,
}

/// A running etcd.
#[derive(Debug)]
pub struct Server {
    start: Start,
    child: Child,
    kept: bool,
    client: u16,
    peer: u16,
}

impl Server {
    /// Start it with what lies in the directory, and wait until it answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with etcd's last words.
    pub fn start(start: Start) -> Result<Server> {
        let mut attempts = 0;
        loop {
            let (client, peer) = free_ports()?;
            attempts += 1;
            match run(&start, client, peer) {
                Ok(child) => return Ok(Server { start, child, kept: false, client, peer }),
                Err(Error::Unavailable { cause, .. }) if cause.contains("in use") && attempts < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> Endpoint {
        endpoint(&self.start, self.client)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// It outlives this process.
    pub fn keep(mut self) {
        self.kept = true;
    }

    /// Kill it with SIGKILL. What it has acknowledged stays in the directory.
    pub fn kill(&mut self) {
        // It may have ended already, and there is nothing to do if it can't be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Start it again after [`Server::kill`], with the same data and ports.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with etcd's last words.
    pub fn restart(&mut self) -> Result<()> {
        self.child = run(&self.start, self.client, self.peer)?;
        Ok(())
    }

    /// [`Server::restart`] with other arguments than before.
    ///
    /// # Errors
    /// The same.
    pub fn restart_with(&mut self, arguments: &[&str]) -> Result<()> {
        self.start.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.restart()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.kept {
            self.kill();
        }
    }
}

fn endpoint(start: &Start, port: u16) -> Endpoint {
    Endpoint { tls: start.certificate.is_some(), host: Ipv4Addr::LOCALHOST.to_string(), port }
}

fn free_ports() -> Result<(u16, u16)> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let ports = (|| {
        let (client, peer) = (listen()?, listen()?);
        Ok((client.local_addr()?.port(), peer.local_addr()?.port()))
    })();
    ports.map_err(|error: std::io::Error| Error::unavailable("find a port for etcd", error))
}

fn run(start: &Start, client: u16, peer: u16) -> Result<Child> {
    let Start { directory, program, certificate, apart, arguments } = start;
    let failed = |error: std::io::Error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let hint = if missing { "; Debian's package etcd-server brings it" } else { "" };
        Error::unavailable("start etcd", format!("{error}{hint}"))
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let url = endpoint(start, client).to_string();
    let peers = format!("http://{}:{peer}", Ipv4Addr::LOCALHOST);
    let mut command = Command::new(program.as_deref().unwrap_or(Path::new("etcd")));
    // Its settings may stand in the environment, for another one.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("--data-dir").arg(directory.join("data"));
    command.args(["--name", "own", "--listen-client-urls", &url, "--advertise-client-urls", &url]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("own={peers}")]);
    // There is nobody to wait for in an election.
    command.args(["--heartbeat-interval", "10", "--election-timeout", "100"]);
    if let Some(Certificate { certificate, key, authority }) = certificate {
        command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
        command.arg("--trusted-ca-file").arg(authority).arg("--client-cert-auth");
    }
    let notify = directory.join("ready");
    // One of an earlier start.
    drop(std::fs::remove_file(&notify));
    let ready = UnixDatagram::bind(&notify).map_err(failed)?;
    let log = File::create(log_file(directory)).map_err(failed)?;
    command.args(arguments).env("NOTIFY_SOCKET", notify);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    if *apart {
        command.process_group(0);
    }
    let mut child = command.spawn().map_err(failed)?;
    match wait(&mut child, &ready) {
        Ok(()) => Ok(child),
        Err(error) => {
            drop(child.kill());
            drop(child.wait());
            let log = std::fs::read_to_string(log_file(directory)).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            Err(Error::unavailable(
                "start etcd",
                format!("{error}. Its last words, the last one first:\n{}", last.join("\n")),
            ))
        }
    }
}

fn log_file(directory: &Path) -> PathBuf {
    directory.join("etcd.log")
}

/// Wait until etcd says that it is ready, as it says to systemd.
fn wait(child: &mut Child, ready: &UnixDatagram) -> std::io::Result<()> {
    let since = Instant::now();
    ready.set_read_timeout(Some(Duration::from_millis(100)))?;
    while since.elapsed() < PATIENCE {
        let mut word = [0; 64];
        match ready.recv(&mut word) {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if let Some(status) = child.try_wait()? {
            return Err(std::io::Error::other(format!("it ended: {status}")));
        }
    }
    Err(std::io::Error::other(format!("not ready within {} s", PATIENCE.as_secs())))
}
