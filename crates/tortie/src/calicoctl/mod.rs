//! The binary as `calicoctl`: called by that name it takes calicoctl's commands and arguments, and answers in its words.
//!
//! The commands are tortie's own; here are the grammar and the few commands that are calicoctl's alone.

mod bundle;
mod cluster;
mod convert;
mod datastore;
mod export;
mod grammar;
mod import;
mod node;
mod validate;
mod version;

use std::process::ExitCode;

use clap::{Args, Command as Clap, FromArgMatches as _, Subcommand, ValueEnum};

use crate::command::{apply, create, delete, get, ipam, label, manual, patch, replace};

pub use grammar::unknown_flag;

/// The name.
pub const NAME: &str = "calicoctl";

/// Whether this process was called so.
pub fn called() -> bool {
    crate::called_as().is_some_and(|name| name == NAME)
}

/// What may stand before and behind every command.
#[derive(Debug, Args)]
struct Global {
    /// What is logged to standard error.
    #[arg(short, long, global = true, value_name = "LEVEL", default_value = "panic")]
    log_level: String,
    /// The context of a kubeconfig file to use.
    #[arg(long, global = true)]
    context: Option<String>,
    /// Work although the cluster's version is another one.
    #[arg(long, global = true)]
    allow_version_mismatch: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create objects that must not exist, by file, directory or standard input.
    Create(create::Arguments),
    /// Replace objects that must exist.
    Replace(replace::Arguments),
    /// Create objects, or replace those that exist.
    Apply(apply::Arguments),
    /// Change parts of an object in place.
    Patch(patch::Arguments),
    /// Delete objects by file, or by kind and name.
    Delete(delete::Arguments),
    /// Show objects by file, by kind and name, or all of a kind.
    Get(get::Arguments),
    /// Set or remove a label of an object.
    Label(label::Arguments),
    /// Say what is wrong with objects, without writing them.
    Validate(validate::Arguments),
    /// Show and mend address management.
    Ipam(ipam::Arguments),
    /// Show, check or diagnose this machine as a node.
    Node(node::Arguments),
    /// Collect diagnostics of the cluster.
    Cluster(cluster::Arguments),
    /// Lock a cluster, or move it.
    Datastore(datastore::Arguments),
    /// Show policies of Kubernetes as Calico's.
    Convert(convert::Arguments),
    /// Print what a shell needs to complete commands.
    Completion(manual::Completion),
    /// Show the version of this program and of the cluster.
    Version(version::Arguments),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Panic,
    Fatal,
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
}

/// The grammar.
pub fn command() -> Clap {
    let command = Command::augment_subcommands(Global::augment_args(Clap::new(NAME)));
    grammar::as_cobra(
        command.about("Manages Calico's objects, addresses and nodes.").long_about(None::<&str>),
    )
}

/// Does what the command line says. `log` sets what is logged.
pub fn run(log: &dyn Fn(&str)) -> ExitCode {
    let command = command();
    let words = match grammar::plain_switches(&command, std::env::args().skip(1)) {
        Ok(words) => words,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let whole = [NAME].into_iter().chain(words.iter().map(String::as_str));
    let matches = match command.try_get_matches_from(whole) {
        Ok(matches) => matches,
        Err(error) => return grammar::refuse(&error, &words),
    };
    let read = Global::from_arg_matches(&matches)
        .and_then(|global| Ok((global, Command::from_arg_matches(&matches)?)));
    let (global, command) = match read {
        Ok(read) => read,
        Err(error) => return grammar::refuse(&error, &words),
    };
    match Level::from_str(&global.log_level, true) {
        // What can end a program in Go is an error here.
        Ok(Level::Panic | Level::Fatal | Level::Error) => log("error"),
        Ok(Level::Warn) => log("warn"),
        Ok(Level::Info) => log("info"),
        Ok(Level::Debug) => log("debug"),
        Ok(Level::Trace) => log("trace"),
        Err(_) => {
            eprintln!(
                "unknown log level: {}, expected one of: panic, fatal, error, warn, info, debug",
                global.log_level
            );
            return ExitCode::FAILURE;
        }
    }
    command.run()
}

impl Command {
    fn run(self) -> ExitCode {
        match self {
            Command::Create(arguments) => create::run(&arguments),
            Command::Replace(arguments) => replace::run(&arguments),
            Command::Apply(arguments) => apply::run(&arguments),
            Command::Patch(arguments) => patch::run(arguments),
            Command::Delete(arguments) => delete::run(&arguments),
            Command::Get(arguments) => get::run(&arguments),
            Command::Label(arguments) => label::run(arguments),
            Command::Validate(arguments) => validate::run(&arguments),
            Command::Ipam(arguments) => ipam::run(arguments),
            Command::Node(arguments) => node::run(arguments),
            Command::Cluster(arguments) => cluster::run(arguments),
            Command::Datastore(arguments) => datastore::run(arguments),
            Command::Convert(arguments) => convert::run(&arguments),
            Command::Completion(arguments) => manual::complete(&arguments, command(), NAME),
            Command::Version(arguments) => version::run(&arguments),
        }
    }
}
