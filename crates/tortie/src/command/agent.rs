//! `tortie agent`: the node agent, in the foreground until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use tortie_agent::config::Settings;

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

/// Runs until SIGTERM or SIGINT. What is in the kernel stays there and goes on judging.
///
/// # Errors
/// Settings that can't work, a store that can't be opened, or a kernel that refuses.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { check, config } = arguments;
    let hostname = nix::unistd::gethostname().context("the machine's name")?;
    let hostname = hostname.to_string_lossy().to_lowercase();
    let settings = match Settings::resolve(&|name| std::env::var(name).ok(), &hostname) {
        Ok(settings) => settings,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            bail!("{} settings cannot work", faults.len());
        }
    };
    if check {
        println!("{settings:#?}");
        return Ok(ExitCode::SUCCESS);
    }
    tracing::info!(?settings, version = env!("CARGO_PKG_VERSION"), "starting");
    let client = crate::settings::client(&config)?;
    let stop = stop_on_signal()?;
    tortie_agent::run::run(&settings, client.store(), &stop)?;
    tracing::info!("stopped; what is in the kernel goes on judging");
    Ok(ExitCode::SUCCESS)
}

/// A flag that SIGTERM and SIGINT raise. They are blocked in every thread but the one that waits for them.
fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
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
