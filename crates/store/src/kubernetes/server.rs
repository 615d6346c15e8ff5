//! A Kubernetes API of one's own, for tests and benchmarks: etcd and kube-apiserver on this machine's loopback, as a rule, killed when
//! dropped. `kube-lab/` builds them; only what is started here is ever stopped, by its process id.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ::http::{Method, StatusCode};

use super::Options;
use super::session::{Repeat, Request, Session};
use crate::etcd::server as etcd;
use crate::{Error, Result};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often a port is chosen anew because somebody else was faster.
const ATTEMPTS: usize = 5;

/// The token that the administrator shows.
const TOKEN: &str = "the-administrators";

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Where its data, keys and logs lie; nobody else's.
    pub directory: PathBuf,
    /// More arguments for kube-apiserver, for example `--watch-cache=false`.
    pub arguments: Vec<String>,
    /// Where it listens if others than this machine's (network namespace's) processes are to reach it.
    pub address: Option<Ipv4Addr>,
}

impl Start {
    fn address(&self) -> Ipv4Addr {
        self.address.unwrap_or(Ipv4Addr::LOCALHOST)
    }
}

/// A running API server with its etcd.
#[derive(Debug)]
pub struct Server {
    start: Start,
    etcd: etcd::Server,
    child: Child,
    port: u16,
}

/// Where `kube-lab/build-kube.sh` puts its programs.
pub fn programs() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || variable("HOME").unwrap_or_else(|| OsString::from("/root"));
    let cache =
        || variable("XDG_CACHE_HOME").map_or_else(|| Path::new(&home()).join(".cache"), PathBuf::from);
    variable("TORTIE_KUBE").map_or_else(|| cache().join("tortie-kube"), PathBuf::from)
}

impl Server {
    /// Start it with what lies in the directory, and wait until it is ready.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the server's last words.
    pub fn start(start: Start) -> Result<Server> {
        let failed = |error: std::io::Error| Error::unavailable("start kube-apiserver", error);
        let directory = &start.directory;
        std::fs::create_dir_all(directory).map_err(failed)?;
        let etcd = etcd::Server::start(etcd::Start {
            directory: directory.join("etcd"),
            program: Some(programs().join("etcd")),
            arguments: vec!["--unsafe-no-fsync".to_owned(), "--log-level=warn".to_owned()],
            ..etcd::Start::default()
        })?;
        std::fs::write(directory.join("tokens.csv"), format!("{TOKEN},admin,1,system:masters\n"))
            .map_err(failed)?;
        let key = directory.join("sa.key");
        if !key.exists() {
            let made = Command::new("openssl")
                .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
                .arg(&key)
                .output()
                .map_err(|error| Error::unavailable("make a key with openssl", error))?;
            if !made.status.success() {
                return Err(Error::unavailable(
                    "make a key with openssl",
                    String::from_utf8_lossy(&made.stderr),
                ));
            }
        }
        let mut port = free_port(start.address())?;
        let child = run(&start, &etcd, port)?;
        let mut server = Server { start, etcd, child, port };
        for _ in 0..ATTEMPTS {
            match server.wait() {
                Err(Error::Unavailable { cause, .. }) if cause.contains("in use") => {}
                outcome => return outcome.map(|()| server),
            }
            port = free_port(server.start.address())?;
            server.child = run(&server.start, &server.etcd, port)?;
            server.port = port;
        }
        server.wait().map(|()| server)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.start.directory.join("kubeconfig")
    }

    /// The administrator's settings.
    ///
    /// # Errors
    /// Those of reading [`Server::kubeconfig`].
    pub fn options(&self) -> Result<Options> {
        options(&self.kubeconfig())
    }

    /// Its etcd.
    pub fn etcd(&self) -> &etcd::Server {
        &self.etcd
    }

    /// kubectl, as administrator, with something to read.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with what it says on stderr.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let attempt = || format!("kubectl {}", arguments.join(" "));
        let run = || -> std::io::Result<Output> {
            let mut child = Command::new(programs().join("kubectl"))
                .arg("--kubeconfig")
                .arg(self.kubeconfig())
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        };
        let output = run().map_err(|error| Error::unavailable(attempt(), error))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Error::unavailable(attempt(), String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    /// Kill the API server with SIGKILL. Its etcd goes on.
    pub fn kill(&mut self) {
        // It may have ended already, and there is nothing to do if it can't be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Start it again after [`Server::kill`], and wait until it is ready.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the server's last words.
    pub fn restart(&mut self) -> Result<()> {
        self.child = run(&self.start, &self.etcd, self.port)?;
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        let certificate = self.start.directory.join("certificates/apiserver.crt");
        let since = Instant::now();
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: own\n\
             clusters: [{{name: own, cluster: {{server: \"https://{}:{}\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: admin, user: {{token: {TOKEN}}}}}]\n\
             contexts: [{{name: own, context: {{cluster: own, user: admin}}}}]\n",
            self.start.address(),
            self.port,
            certificate.display(),
        );
        std::fs::write(self.kubeconfig(), kubeconfig)
            .map_err(|error| Error::unavailable("write a kubeconfig", error))?;
        loop {
            let cause = match certificate.exists() {
                true => match ready(self.options()?) {
                    Ok(()) => return Ok(()),
                    Err(error) => error.to_string(),
                },
                false => "it has no certificate yet".to_owned(),
            };
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || since.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(log(&self.start.directory)).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                let cause = format!("{cause}. Its last words, the last one first:\n{}", last.join("\n"));
                return Err(Error::unavailable("start kube-apiserver", cause));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The settings in a kubeconfig.
///
/// # Errors
/// [`Error::Unavailable`] with the file and the field.
pub fn options(kubeconfig: &Path) -> Result<Options> {
    super::kubeconfig::read(&[kubeconfig.to_owned()], None)
}

fn free_port(address: Ipv4Addr) -> Result<u16> {
    let listener = TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.port())
        .map_err(|error| Error::unavailable("find a port for kube-apiserver", error))
}

fn log(directory: &Path) -> PathBuf {
    directory.join("kube-apiserver.log")
}

fn ready(mut options: Options) -> Result<()> {
    options.patience = Duration::from_secs(2);
    let session = Session::new(options)?;
    let request =
        Request { attempt: "ask whether it is ready", method: Method::GET, path: "/readyz", body: None };
    let answer = session.block_on(session.ask(request, Repeat::Harmless))?;
    match answer.status {
        StatusCode::OK => Ok(()),
        status => Err(Error::unavailable("ask whether it is ready", status)),
    }
}

fn run(start: &Start, etcd: &etcd::Server, port: u16) -> Result<Child> {
    let program = programs().join("kube-apiserver");
    let failed = |error: std::io::Error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let hint = if missing { "; kube-lab/build-kube.sh builds it" } else { "" };
        Error::unavailable(format!("start {}", program.display()), format!("{error}{hint}"))
    };
    let Start { directory, arguments, .. } = start;
    let address = start.address();
    let log = File::create(log(directory)).map_err(failed)?;
    let mut command = Command::new(&program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(["--etcd-servers", &etcd.endpoint().to_string(), "--endpoint-reconciler-type=none"]);
    command.arg(format!("--bind-address={address}")).arg(format!("--advertise-address={address}"));
    command.arg("--secure-port");
    command.arg(port.to_string()).arg("--cert-dir").arg(directory.join("certificates"));
    command.arg("--token-auth-file").arg(directory.join("tokens.csv"));
    for flag in ["--service-account-key-file", "--service-account-signing-key-file"] {
        command.arg(flag).arg(directory.join("sa.key"));
    }
    command
        .args(["--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=Node,RBAC"]);
    command.args(["--service-cluster-ip-range=10.96.0.0/16", "--profiling=false"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(failed)
}
