//! `tortie controllers`: what one process does for a whole cluster, in the foreground until it is told to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use tortie_agent::config::Severity;
use tortie_controllers::lease::Timing;
use tortie_controllers::seat::Seat;
use tortie_controllers::settings::VARIABLES;
use tortie_controllers::{Cluster, Options, Task, run as controllers};
use tortie_store::kubernetes::{Kubernetes, reports};
use tortie_store::open;

/// Where a pod reads the name of its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The arguments of `tortie controllers`. Everything else is said by environment variables, most under Calico's names: see
/// README.md.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file that names the datastore, in calicoctl's form.
    #[arg(short, long, default_value = crate::settings::DEFAULT_FILE)]
    config: PathBuf,
}

/// Runs until SIGTERM or SIGINT. `log_what` changes the log.
///
/// # Errors
/// Settings that can't work, or a store that can't be opened.
pub fn run(arguments: &Arguments, log_what: &dyn Fn(Severity)) -> anyhow::Result<ExitCode> {
    let Arguments { config } = arguments;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
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
    let options = Options { store, cluster, seat, name, timing, variables, tasks };
    controllers(options, &stop, &|severity| log_what(of_calico(severity)))?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
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
