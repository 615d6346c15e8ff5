//! `calicoctl cluster diags`: all objects, address management and the agent's state in one archive.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tortie_api::kind::Kind;

use super::bundle::Bundle;
use crate::objects::{self, Failure, Store};
use crate::output::{self, Shown};
use crate::packed::Packed;

const ARCHIVE: &str = "calico-diagnostics.tar.gz";

/// The arguments of `calicoctl cluster`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Collect diagnostics of the cluster into calico-diagnostics.tar.gz.
    Diags(Diags),
}

#[derive(Debug, Args)]
struct Diags {
    /// Leave the collected files beside the archive.
    #[arg(long)]
    skip_temp_dir_cleanup: bool,
    #[command(flatten)]
    pods: Pods,
    #[command(flatten)]
    store: Store,
}

/// What chooses logs of Kubernetes' pods.
#[derive(Debug, Args)]
struct Pods {
    /// Logs of this time: without effect where there is no Kubernetes.
    #[arg(long, hide = true)]
    since: Option<String>,
    /// So many logs of each kind of pod: without effect where there is no Kubernetes.
    #[arg(long, default_value_t = 5, hide = true)]
    max_logs: u32,
    /// So many at a time: without effect where there is no Kubernetes.
    #[arg(long, default_value_t = 10, hide = true)]
    max_parallelism: u32,
    /// First from these nodes: without effect where there is no Kubernetes.
    #[arg(long, hide = true)]
    focus_nodes: Option<String>,
    /// All of these nodes: without effect where there is no Kubernetes.
    #[arg(long, hide = true)]
    problem_nodes: Option<String>,
    /// All of the nodes of these pods: without effect where there is no Kubernetes.
    #[arg(long, hide = true)]
    problem_pods: Option<String>,
    /// All of these nodes, to compare: without effect where there is no Kubernetes.
    #[arg(long, hide = true)]
    comparison_nodes: Option<String>,
    /// All of so many nodes: without effect where there is no Kubernetes.
    #[arg(long, default_value_t = 0, hide = true)]
    sample_nodes: u32,
    /// How long a command of the collection may be silent: nothing that is collected without Kubernetes waits.
    #[arg(long, default_value = "5m", hide = true)]
    command_timeout: String,
    /// How long the whole may take: nothing that is collected without Kubernetes waits.
    #[arg(long, default_value = "10m", hide = true)]
    overall_timeout: String,
}

impl Pods {
    /// The flags that were given for nothing.
    fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        let Pods {
            since,
            max_logs: _,
            max_parallelism: _,
            focus_nodes,
            problem_nodes,
            problem_pods,
            comparison_nodes,
            sample_nodes,
            command_timeout: _,
            overall_timeout: _,
        } = self;
        let given = [
            ("--since", since.is_some()),
            ("--focus-nodes", focus_nodes.is_some()),
            ("--problem-nodes", problem_nodes.is_some()),
            ("--problem-pods", problem_pods.is_some()),
            ("--comparison-nodes", comparison_nodes.is_some()),
            ("--sample-nodes", *sample_nodes != 0),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag)
    }
}

/// Collects.
pub fn run(arguments: Arguments) -> ExitCode {
    let Command::Diags(diags) = arguments.command;
    match collect(&diags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

fn collect(diags: &Diags) -> Result<(), Failure> {
    let Diags { skip_temp_dir_cleanup, pods, store } = diags;
    let client = store.connect().map_err(Failure::Command)?;
    let bundle = Bundle::new("calico-diagnostics").map_err(Failure::Command)?;
    println!("==== Begin collecting diagnostics. ====");
    for kind in Kind::ALL.iter().copied().filter(|kind| objects::is_handled(*kind)) {
        println!("Collecting {} ...", kind.plural());
        match client.list(kind, None) {
            Ok(found) => {
                for error in &found.unreadable {
                    println!("{error}");
                }
                let shown = Shown::List {
                    kind,
                    revision: found.revision,
                    items: found.items.into_iter().map(Packed::from).collect(),
                };
                bundle.write(
                    &format!("{}.yaml", kind.plural()),
                    output::to_text(output::write_yaml, &[shown]).as_bytes(),
                );
            }
            Err(error) => println!("Failed to list {}: {error}", kind.plural()),
        }
    }
    let config = store.config.to_string_lossy().into_owned();
    // By its own name: this is tortie.
    let program = std::env::current_exe().map_err(|error| Failure::Command(error.to_string()))?;
    let program = program.to_string_lossy().into_owned();
    let ipam = |words: &[&str], name: &str| {
        bundle.run("", &[&[program.as_str(), "ipam"], words, &["-c", &config]].concat(), name);
    };
    println!("Collecting IPAM diagnostics ...");
    ipam(&["show", "--show-blocks"], "ipam-blocks.txt");
    ipam(&["show", "--show-borrowed"], "ipam-borrowed.txt");
    ipam(&["show", "--show-configuration"], "ipam-configuration.txt");
    ipam(&["check", "--show-all-ips"], "ipam-check.txt");
    bundle.run("Collecting the agent's status ...", &[&program, "status"], "agent-status.txt");
    println!("Not collected: logs of pods and what other nodes hold, since there is no Kubernetes to ask.");
    for flag in pods.without_effect() {
        println!("{flag} has no effect.");
    }
    let archive = PathBuf::from(ARCHIVE);
    bundle.pack(&archive).map_err(Failure::Command)?;
    match skip_temp_dir_cleanup {
        true => println!("The collected files are in {}", bundle.place().display()),
        false => bundle.clear(),
    }
    println!("==== Completed collecting diagnostics. ====");
    println!("Diagnostic bundle available at ./{ARCHIVE}");
    Ok(())
}
