//! The commands, one file each.

mod agent;
pub mod apply;
mod controllers;
mod convert;
mod crds;
pub mod create;
mod datastore;
pub mod delete;
mod demo;
mod explain;
pub mod get;
pub mod input;
mod install;
pub mod ipam;
pub mod label;
pub mod manual;
pub mod patch;
pub mod replace;
mod selector;
mod status;
mod trace;
mod uninstall;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory as _, Subcommand, ValueEnum};
use tortie_agent::config::Severity;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the node agent: policy of this machine's workloads in the kernel.
    Agent(agent::Arguments),
    /// Runs what one process does for a whole cluster: addresses of what is gone, host endpoints, copies of Kubernetes' objects.
    Controllers(controllers::Arguments),
    /// Creates objects, or updates those that exist.
    Apply(apply::Arguments),
    /// Creates objects that must not exist.
    Create(create::Arguments),
    /// Updates objects that must exist.
    Replace(replace::Arguments),
    /// Deletes objects by file, or by kind and name.
    Delete(delete::Arguments),
    /// Changes parts of an object in place.
    Patch(patch::Arguments),
    /// Sets or removes a label of an object.
    Label(label::Arguments),
    /// Shows and mends address management.
    Ipam(ipam::Arguments),
    /// Writes everything in a datastore to a file, and back.
    Datastore(datastore::Arguments),
    /// Prints what a shell needs to complete commands.
    Completion(manual::Completion),
    /// Writes manual pages of all commands, of tortie and calicoctl.
    Man(manual::Man),
    /// Shows objects by file, by kind and name, or all of a kind.
    Get(get::Arguments),
    /// Shows policies of Kubernetes as the policies of Calico's that they are enforced as.
    Convert(convert::Arguments),
    /// Prints the CustomResourceDefinitions of Calico's kinds, for `kubectl apply -f -`.
    Crds,
    /// Shows all of it on this machine: pods, policy and real packets in network namespaces.
    Demo(demo::Arguments),
    /// Installs the CNI plugin and its configuration on this machine.
    Install(install::Arguments),
    /// Removes from this machine what Tortie put there: plugin, configuration, routes, tunnels, table.
    Uninstall(uninstall::Arguments),
    /// Says what policy does with a flow, and why.
    Explain(explain::Arguments),
    /// Reads a selector: its canonical form, its id, and whether it matches labels.
    Selector(selector::Arguments),
    /// Shows what the agent of this machine holds, and what its rules counted.
    Status(status::Arguments),
    /// Shows what each hop from the store to the kernel makes of a policy.
    Trace(trace::Arguments),
    /// Says everything that is wrong with files of objects. No store is needed.
    Validate(validate::Arguments),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, for the user to read.
    pub fn run(self, log_what: &dyn Fn(Severity)) -> anyhow::Result<ExitCode> {
        match self {
            Self::Agent(arguments) => agent::run(arguments, log_what),
            Self::Controllers(arguments) => controllers::run(&arguments, log_what),
            Self::Apply(arguments) => Ok(apply::run(&arguments)),
            Self::Create(arguments) => Ok(create::run(&arguments)),
            Self::Replace(arguments) => Ok(replace::run(&arguments)),
            Self::Delete(arguments) => Ok(delete::run(&arguments)),
            Self::Patch(arguments) => Ok(patch::run(arguments)),
            Self::Label(arguments) => Ok(label::run(arguments)),
            Self::Ipam(arguments) => Ok(ipam::run(arguments)),
            Self::Datastore(arguments) => datastore::run(arguments),
            Self::Completion(arguments) => {
                Ok(manual::complete(&arguments, crate::Arguments::command(), "tortie"))
            }
            Self::Man(arguments) => {
                manual::write(&arguments, vec![crate::Arguments::command(), crate::calicoctl::command()])
            }
            Self::Get(arguments) => Ok(get::run(&arguments)),
            Self::Convert(arguments) => convert::run(arguments),
            Self::Crds => crds::run(),
            Self::Demo(arguments) => demo::run(&arguments),
            Self::Install(arguments) => install::run(&arguments),
            Self::Uninstall(arguments) => uninstall::run(&arguments),
            Self::Explain(arguments) => explain::run(arguments),
            Self::Selector(arguments) => selector::run(arguments),
            Self::Status(arguments) => status::run(arguments),
            Self::Trace(arguments) => trace::run(arguments),
            Self::Validate(arguments) => validate::run(arguments),
        }
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}
