//! `tortie agent`: the node agent, in the foreground until it is told to stop.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use tabwriter::TabWriter;
use tortie_agent::config::{Environment, Severity, Stored};
use tortie_agent::kubernetes::Machine;
use tortie_agent::run::Ended;
use tortie_store::resources::Client;

/// How long the agent waits for Kubernetes when it says something of its node; an agent that stops has five seconds.
const NODE_PATIENCE: Duration = Duration::from_secs(2);

/// The arguments of `tortie agent`. Everything else is said by environment variables under
/// Calico's names: see README.md.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only check the settings and show what they come to.
    #[arg(long)]
    check: bool,
    /// The file that names the datastore, in calicoctl's form.
    #[arg(short, long, default_value = crate::settings::DEFAULT_FILE)]
    config: PathBuf,
}

/// Runs until SIGTERM or SIGINT. What is in the kernel stays there and goes on judging. `log_what` changes the log.
///
/// # Errors
/// Settings that can't work, a store that can't be opened, or a kernel that refuses.
pub fn run(arguments: Arguments, log_what: &dyn Fn(Severity)) -> anyhow::Result<ExitCode> {
    let Arguments { check, config } = arguments;
    let hostname = nix::unistd::gethostname().context("the machine's name")?;
    let hostname = hostname.to_string_lossy().to_lowercase();
    let environment = Environment::new(std::env::vars(), &hostname);
    let machine = crate::settings::cluster(&config, Some(NODE_PATIENCE))?.map(|cluster| {
        let name = environment.get("CALICO_K8S_NODE_REF").unwrap_or_else(|| environment.node());
        Machine::new(cluster, name.to_owned())
    });
    let refused = environment.refused(machine.is_some());
    if !refused.is_empty() {
        refused.iter().for_each(|error| eprintln!("{error}"));
        bail!("{} settings cannot work", refused.len());
    }
    let client = crate::settings::client(&config, None)?;
    if check {
        return show(&environment, &client);
    }
    tracing::info!(node = environment.node(), version = env!("CARGO_PKG_VERSION"), "starting");
    let stop = stop_on_signal()?;
    match tortie_agent::run::run(&environment, client.store(), machine, &stop, log_what)? {
        Ended::Stopped => {
            tracing::info!("stopped; what is in the kernel goes on judging");
            Ok(ExitCode::SUCCESS)
        }
        Ended::Anew => begin_anew(),
    }
}

/// Makes this process a new agent. Whoever started it doesn't notice: nobody waits before the next start, as after a failure.
fn begin_anew() -> anyhow::Result<ExitCode> {
    tracing::info!("beginning anew: the store says settings that only a start takes up");
    let mut arguments = std::env::args_os();
    let mut program = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    Err(program.args(arguments).exec()).context("begin anew")
}

/// Prints what each setting comes to and who says so, then what the store says that can't work.
fn show(environment: &Environment, client: &Client) -> anyhow::Result<ExitCode> {
    let resolved = environment.resolve(&Stored::read(client, environment.node())?);
    let mut table = TabWriter::new(std::io::stdout()).minwidth(5).padding(3);
    writeln!(table, "SETTING\tVALUE\tFROM\nnode\t{}\t", environment.node())?;
    for told in &resolved.told {
        writeln!(table, "{}\t{}\t{}", told.name, told.value, told.source.describe(environment.node()))?;
    }
    table.flush()?;
    for refused in &resolved.refused {
        let from = refused.source.describe(environment.node());
        eprintln!("{from}: {}; it is {} instead", refused.error, refused.instead);
    }
    Ok(if resolved.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A flag that SIGTERM and SIGINT raise. They are blocked in every thread but the one that waits for them.
pub fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block().context("block signals")?;
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Ok(signal) = signals.wait() {
            tracing::info!(%signal, "stopping");
            raised.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(stop)
}
