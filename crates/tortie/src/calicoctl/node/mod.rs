//! `calicoctl node`: this machine as a node.

mod checksystem;
mod diags;
mod run;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::objects::Failure;

/// The arguments of `calicoctl node`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show whether the node's agent runs.
    Status,
    /// Collect diagnostics of this node into an archive.
    Diags(Diags),
    /// Check whether this machine's kernel has what a node needs.
    Checksystem(Checksystem),
    /// Start the node's agent: shows how, since it is a service.
    Run(Box<run::Arguments>),
}

#[derive(Debug, Args)]
struct Diags {
    /// The directory with logs.
    #[arg(long, default_value = "/var/log/calico")]
    log_dir: PathBuf,
}

#[derive(Debug, Args)]
struct Checksystem {
    /// The kernel's configuration, if it is in no usual place.
    #[arg(short = 'f', long)]
    kernel_config: Option<PathBuf>,
}

/// Does it.
pub fn run(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Status => need_root().and_then(|()| status::show()),
        Command::Diags(Diags { log_dir }) => need_root().and_then(|()| diags::collect(&log_dir)),
        Command::Checksystem(Checksystem { kernel_config }) => {
            need_root().and_then(|()| checksystem::check(kernel_config))
        }
        Command::Run(arguments) => run::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

fn need_root() -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::Printed("Need super user privileges: Operation not permitted".to_owned()))
}
