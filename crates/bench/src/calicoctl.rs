//! `tortie-bench calicoctl`: what a script waits for: the start of a command, and a thousand policies written, written
//! again and read.
//!
//! The program is the one beside this, called `calicoctl`; etcd is a process of this machine, on loopback. A round does all
//! on etcd and on the embedded database in turns. Beside it stand, in the same round, the same objects written to the same
//! etcd one after the other, by nothing but their puts, and the start of a program that does nothing. A command's memory is
//! what the kernel saw resident of its process; the policies are made one by one, because the memory of who started it counts.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tortie_api::kind::Kind;
use tortie_api::yaml;
use tortie_store::embedded::{Embedded, Options};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{self, Etcd};
use tortie_store::resources::Client;
use tortie_store::{Datastore, keys};

use crate::node::durability;
use crate::{figures, sys, town};

/// How much is measured.
#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    /// Policies.
    #[arg(long, default_value_t = 1000)]
    pub policies: usize,
    /// Rounds.
    #[arg(long, default_value_t = 11)]
    pub rounds: usize,
    /// Starts of a command in a round.
    #[arg(long, default_value_t = 20)]
    pub starts: usize,
}

/// A key that is nobody's, below which the puts go that are compared with.
const PUTS: &str = "/tortie-bench/";

/// Measures and prints.
///
/// # Errors
/// If a command fails or says something else than it should.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    println!("calicoctl_durability={}", durability());
    let directory = tempfile::Builder::new().prefix("tortie-bench-").tempdir()?;
    let file = directory.path().join("policies.yaml");
    let mut text = BufWriter::new(File::create(&file)?);
    for (_, policy) in (0..arguments.policies).map(town::standing_policy) {
        write!(text, "---\n{}", yaml::to_string(&policy))?;
    }
    text.into_inner()?;
    let server = Server::start(Start { directory: directory.path().join("etcd"), ..Start::default() })?;
    let stores = [Place::etcd(&directory, &server)?, Place::embedded(&directory)?];
    let mut samples: [Samples; 2] = Default::default();
    let (mut puts, mut nothing) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        for (place, samples) in stores.iter().zip(&mut samples) {
            place.round(arguments, &file, samples)?;
        }
        puts.push(stores[0].puts(arguments.policies)?);
        for _ in 0..arguments.starts {
            nothing.push(timed(&mut Command::new("true"))?.seconds * 1e3);
        }
    }
    for (place, samples) in stores.iter().zip(&samples) {
        samples.print(place.name);
    }
    let puts = figures::median("calicoctl_puts_s", &puts);
    let apply = figures::middle(&samples[0].apply);
    figures::exact("calicoctl_apply_to_puts", apply / puts);
    figures::median("calicoctl_nothing_ms", &nothing);
    Ok(())
}

/// A datastore that commands are called with.
struct Place {
    /// What stands in the names of its figures: nothing for etcd.
    name: &'static str,
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
    client: Client,
}

#[derive(Default)]
struct Samples {
    get: Vec<f64>,
    apply: Vec<f64>,
    again: Vec<f64>,
    list: Vec<f64>,
    memory: f64,
}

impl Samples {
    fn print(&self, place: &str) {
        let name = |figure: &str| format!("calicoctl_{place}{figure}");
        figures::median(&name("get_ms"), &self.get);
        figures::quantile(&name("get_p99_ms"), &self.get, 0.99);
        figures::median(&name("apply_s"), &self.apply);
        figures::median(&name("apply_again_s"), &self.again);
        figures::median(&name("get_all_s"), &self.list);
        figures::exact(&name("peak_mb"), self.memory);
    }
}

impl Place {
    fn etcd(directory: &TempDir, server: &Server) -> anyhow::Result<Self> {
        let endpoints = server.endpoint().to_string();
        let setting = |name: &str| (name == "ETCD_ENDPOINTS").then(|| endpoints.clone());
        let store = Etcd::open(etcd::Options::from_settings(setting)?)?;
        let variables = vec![("DATASTORE_TYPE", "etcdv3".to_owned()), ("ETCD_ENDPOINTS", endpoints)];
        Self::of("", directory, variables, Arc::new(store))
    }

    fn embedded(directory: &TempDir) -> anyhow::Result<Self> {
        let path = directory.path().join("tortie.db").to_string_lossy().into_owned();
        let store = Embedded::open(Options::from_settings(|name| match name {
            "TORTIE_DATABASE" => Some(path.clone()),
            _ => std::env::var(name).ok(),
        })?)?;
        let variables = vec![
            ("DATASTORE_TYPE", "embedded".to_owned()),
            ("TORTIE_DATABASE", path),
            ("TORTIE_DATABASE_SYNC", durability()),
        ];
        Self::of("embedded_", directory, variables, Arc::new(store))
    }

    fn of(
        name: &'static str,
        directory: &TempDir,
        variables: Vec<(&'static str, String)>,
        store: Arc<dyn Datastore>,
    ) -> anyhow::Result<Self> {
        let client = Client::new(store);
        client.ensure_initialized()?;
        let tortie = std::env::current_exe()?.with_file_name("tortie");
        if !tortie.exists() {
            bail!("{} is not there: build it first (make bench does)", tortie.display());
        }
        let program = directory.path().join("calicoctl");
        if !program.exists() {
            symlink(tortie, &program)?;
        }
        Ok(Self { name, program, variables, client })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(arguments);
        command
    }

    /// Writes the policies twice, reads them and one object many times, and deletes them.
    fn round(&self, arguments: &Arguments, file: &Path, samples: &mut Samples) -> anyhow::Result<()> {
        let file = file.to_str().context("the path is text")?;
        let applied =
            format!("Successfully applied {} 'GlobalNetworkPolicy' resource(s)\n", arguments.policies);
        for seconds in [&mut samples.apply, &mut samples.again] {
            let done = timed(&mut self.command(&["apply", "-f", file]))?.says(&applied)?;
            seconds.push(done.seconds);
            samples.memory = samples.memory.max(done.megabytes);
        }
        let all = timed(&mut self.command(&["get", "globalnetworkpolicies", "-o", "yaml"]))?;
        let found = all.output.lines().filter(|line| line.starts_with("  kind: GlobalNetworkPolicy")).count();
        if found != arguments.policies {
            bail!("{} shows {found} policies, expected {}", self.program.display(), arguments.policies);
        }
        samples.list.push(all.seconds);
        samples.memory = samples.memory.max(all.megabytes);
        for _ in 0..arguments.starts {
            let one = timed(&mut self.command(&["get", "tiers", "default", "-o", "yaml"]))?;
            if !one.output.contains("name: default") {
                bail!("unexpected: {}", one.output);
            }
            samples.get.push(one.seconds * 1e3);
        }
        for policy in self.client.store().list_all(&keys::kind_prefix(Kind::GlobalNetworkPolicy))?.items {
            self.client.store().delete(&policy.key, None)?;
        }
        Ok(())
    }

    /// Seconds that nothing but the puts of these objects takes, one after the other.
    fn puts(&self, policies: usize) -> anyhow::Result<f64> {
        let mut taken = Duration::ZERO;
        for (number, (_, policy)) in (0..policies).map(town::standing_policy).enumerate() {
            let (key, value) = (format!("{PUTS}{number}"), policy.to_string().into_bytes());
            let since = Instant::now();
            self.client.store().put(&key, &value)?;
            taken += since.elapsed();
        }
        Ok(taken.as_secs_f64())
    }
}

/// A command that has run.
struct Done {
    seconds: f64,
    megabytes: f64,
    output: String,
}

impl Done {
    fn says(self, expected: &str) -> anyhow::Result<Self> {
        if self.output != expected {
            bail!("unexpected: {}", self.output);
        }
        Ok(self)
    }
}

fn timed(command: &mut Command) -> anyhow::Result<Done> {
    // A file, so that nobody waits for a reader.
    let output = tempfile::NamedTempFile::new()?;
    command.stdin(Stdio::null()).stdout(File::create(output.path())?).stderr(Stdio::inherit());
    let since = Instant::now();
    let (succeeded, bytes) = sys::wait(command.spawn().with_context(|| format!("{command:?}"))?)?;
    let seconds = since.elapsed().as_secs_f64();
    if !succeeded {
        bail!("{command:?} failed");
    }
    Ok(Done { seconds, megabytes: bytes as f64 / 1e6, output: fs::read_to_string(output.path())? })
}
