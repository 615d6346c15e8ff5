//! `tortie controllers`: what one process does for a whole cluster, in the foreground until it is told to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tortie_agent::config::Severity;
use tortie_controllers::health::{self, Check};
use tortie_controllers::lease::Timing;
use tortie_controllers::seat::Seat;
use tortie_controllers::settings::VARIABLES;
use tortie_controllers::{Asked, Cluster, Options, Task, run as controllers};
use tortie_store::kubernetes::{Kubernetes, reports};
use tortie_store::{Datastore, open};

/// Where a pod reads the name of its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Where controllers are asked how they are, unless `TORTIE_CONTROLLERS_SOCKET` says otherwise.
const SOCKET: &str = "/run/tortie/controllers.sock";
/// How long a loop of theirs may be silent; a call of a datastore waits for 10 s.
const SILENCE: Duration = Duration::from_secs(60);
/// How long their answer is waited for: for that they ask a datastore.
const ANSWER: Duration = Duration::from_secs(12);

/// The arguments of `tortie controllers`. Everything else is said by environment variables, most under Calico's names: see
/// README.md.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file that names the datastore, in calicoctl's form.
    #[arg(short, long, default_value = crate::settings::DEFAULT_FILE)]
    config: PathBuf,
    /// Ask the controllers that run here how they are, for a pod's probe, instead of running any.
    #[arg(long, value_name = "WHAT")]
    check: Option<What>,
}

/// What a probe asks.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Whether all of it goes on.
    Live,
    /// Whether datastore and Kubernetes API answer.
    Ready,
}

/// Runs until SIGTERM or SIGINT. `log_what` changes the log.
///
/// # Errors
/// Settings that can't work, or a store that can't be opened.
pub fn run(arguments: &Arguments, log_what: &dyn Fn(Severity)) -> anyhow::Result<ExitCode> {
    let Arguments { config, check } = arguments;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let socket = variable("TORTIE_CONTROLLERS_SOCKET").map_or_else(|| SOCKET.into(), PathBuf::from);
    if let Some(asked) = check {
        return told(&socket, *asked);
    }
    let timing = match variable("TORTIE_LEASE_SECONDS") {
        None => Timing::default(),
        Some(text) => match text.parse() {
            Ok(seconds @ 1..=3600) => Timing::of_seconds(seconds),
            _ => bail!("TORTIE_LEASE_SECONDS: found {text:?}, expected a number from 1 to 3600"),
        },
    };
    let store = Arc::clone(crate::settings::client(config, None)?.store());
    // A call must not outlast the time in which this process may act.
    let of_lease = crate::settings::cluster(config, Some(timing.renew / 2))?;
    let is_kubernetes = crate::settings::datastore_type(config)? == open::Kind::Kubernetes.name();
    let cluster = crate::settings::cluster(config, None)?;
    let reports = cluster.clone().filter(|_| is_kubernetes).map(|cluster| ("reports", reporting(cluster)));
    let cluster = match cluster {
        _ if is_kubernetes => Cluster::Same,
        Some(cluster) => Cluster::Beside(Arc::new(cluster)),
        None => Cluster::Nowhere,
    };
    // Whoever asks how the controllers are doesn't want to wait either.
    let quick = of_lease.clone().map(|cluster| Arc::new(cluster) as Arc<dyn Datastore>);
    let asked = match quick {
        Some(cluster) if is_kubernetes => Asked { socket, store: cluster, cluster: None },
        cluster => Asked { socket, store: Arc::clone(&store), cluster },
    };
    let seat = match of_lease {
        Some(cluster) => Seat::Lease {
            cluster,
            namespace: variable("TORTIE_LEASE_NAMESPACE")
                .or_else(|| std::fs::read_to_string(NAMESPACE).ok().map(|text| text.trim().to_owned()))
                .unwrap_or_else(|| "kube-system".to_owned()),
            name: variable("TORTIE_LEASE_NAME").unwrap_or_else(|| "tortie-controllers".to_owned()),
        },
        None => Seat::Key(Arc::clone(&store)),
    };
    let hostname = nix::unistd::gethostname().context("the machine's name")?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{}_{}-{:x}", hostname.to_string_lossy(), std::process::id(), since.as_nanos());
    let variables: BTreeMap<String, String> =
        VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?))).collect();
    tracing::info!(name, lease = seat.describe(), version = env!("CARGO_PKG_VERSION"), "starting");
    let stop = super::agent::stop_on_signal()?;
    let tasks = reports.into_iter().collect();
    let silence = SILENCE;
    let options = Options { store, cluster, seat, name, timing, variables, tasks, asked, silence };
    controllers(options, &stop, &|severity| log_what(of_calico(severity)))?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Tells how the controllers are that answer at a socket: a line for each thing that is looked at, and success if all is well.
fn told(socket: &Path, asked: What) -> anyhow::Result<ExitCode> {
    let check = match asked {
        What::Live => Check::Live,
        What::Ready => Check::Ready,
    };
    let conditions = health::ask(socket, check, ANSWER)
        .with_context(|| format!("no controllers answer at {}", socket.display()))?;
    for (name, condition) in &conditions {
        match condition.ready {
            true => println!("{name}: well"),
            false => println!("{name}: {}", condition.reason),
        }
    }
    let is_well = conditions.values().all(|condition| condition.ready);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tells the authors of a cluster's policies what of them isn't enforced as written.
fn reporting(cluster: Kubernetes) -> Task {
    Arc::new(move |goes_on| reports::run(&cluster, "tortie-controllers", tortie_calc::complaint, goes_on))
}

/// A severity of KubeControllersConfiguration.
fn of_calico(severity: &str) -> Severity {
    match severity {
        "Debug" => Severity::Debug,
        "Warning" => Severity::Warning,
        "Error" | "Fatal" | "Panic" | "None" => Severity::Error,
        _ => Severity::Info,
    }
}
